"""From judged runs to proposals, from a person's decisions to a new version of the data."""

import csv
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.cli import main
from polymode.errors import ConfigError, DataNotFoundError, RecordError, WriteError
from polymode.evaluation import evaluate
from polymode.relabel import Criteria, DataFields, Proposal, accept, propose, read_proposals, write_proposals
from polymode.tasks import open_task
from polymode.types import Completion, Example, Reference

ANY = Criteria(min_share=0, min_confidence=0)
DATA = [
    {"question": "Headache?", "references": ["flu"], "source": "a"},
    {"question": " Rash? ", "references": [["measles", "rubeola"]], "source": "b"},
    {"question": "Pain?", "references": ["gout", "sprain"], "source": "c"},
]


def write_lines(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def row(id_: str, *given: tuple[str, float | None, str]) -> dict[str, Any]:
    """A line of judged.jsonl from (answer, confidence, verdict)."""
    marks = {"+": "correct", "-": "wrong", "?": "unscored"}
    return {
        "id": id_,
        "status": "clean",
        "answers": [text for text, _, _ in given],
        "confidences": [q for _, q, _ in given],
        "verdicts": [marks[mark] for _, _, mark in given],
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "questions.jsonl", *DATA)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """A run folder with these judged lines, and, when questions are given, completions that name them."""

    def write(name: str, *rows: dict[str, Any], asked: dict[str, str] | None = None) -> Path:
        folder = tmp_path / name
        write_lines(folder / runs.JUDGED, *rows)
        if asked is not None:
            write_lines(folder / runs.COMPLETIONS, *({"id": i, "question": q} for i, q in asked.items()))
        return folder

    return write


# --- propose ---------------------------------------------------------------------------------------------------------


def test_share_and_mean_confidence_over_the_samples_of_all_runs(data: Path, run) -> None:
    # covid: 3 of 4 samples, confidences 0.8, 0.6 and 0.7: share 0.75, mean 0.7, score 0.525. The repeat in the first
    # sample counts once, at its first place. cold: 1 of 4, score 0.25 x 0.1 = 0.025.
    first = run(
        "a",
        row("record-1", ("flu", 0.2, "+"), ("Covid", 0.8, "-"), ("covid!", 0.1, "-")),
        row("record-1", ("covid", 0.6, "-"), ("cold", 0.1, "-")),
        row("record-1"),
    )
    second = run("b", row("record-1", ("covid", 0.7, "-")))
    found = propose([first, second], data, criteria=ANY)
    assert [(p.answer, p.n_given, p.n_samples) for p in found.proposals] == [("covid", 3, 4), ("cold", 1, 4)]
    covid, cold = found.proposals
    assert (covid.share, covid.confidence, covid.score) == (0.75, pytest.approx(0.7), pytest.approx(0.525))
    assert cold.score == pytest.approx(0.025)
    assert (covid.id, covid.question, covid.references) == ("record-1", "Headache?", ("flu",))
    assert (covid.runs, cold.runs) == ((str(first), str(second)), (str(first),))
    assert (covid.accepted, covid.alias_of) == (None, None)
    assert (found.n_questions, found.n_found, found.n_not_in_data) == (1, 2, 0)


def test_what_was_right_once_or_could_not_be_judged_is_not_proposed(data: Path, run) -> None:
    folder = run(
        "a",
        row("record-1", ("influenza", 0.9, "-"), ("cold", 0.9, "-"), ("covid", 0.9, "-")),
        row("record-1", ("influenza", 0.9, "+"), ("cold", 0.9, "?"), ("covid", 0.9, "-")),
    )
    assert [p.answer for p in propose([folder], data).proposals] == ["covid"]


def test_what_is_a_reference_by_now_is_not_proposed(data: Path, run) -> None:
    folder = run("a", row("record-2", ("The Rubeola", 0.9, "-"), ("scarlet fever", 0.9, "-")))
    assert [p.answer for p in propose([folder], data).proposals] == ["scarlet fever"]


@pytest.mark.parametrize(
    ("criteria", "answers"),
    [
        (Criteria(min_share=0.5, min_confidence=0.5), ["a"]),
        (Criteria(min_share=0.5, min_confidence=0), ["a", "b"]),
        (Criteria(min_share=0, min_confidence=0.5), ["a", "c"]),
        (Criteria(min_share=0, min_confidence=0), ["a", "c", "b"]),
        (Criteria(min_share=0, min_confidence=0, top=2), ["a", "c"]),
        (Criteria(min_share=0.67, min_confidence=0), ["a"]),
    ],
)
def test_conditions(data: Path, run, criteria: Criteria, answers: list[str]) -> None:
    # Scores: a 1 x 0.6, b 2/3 x 0.2 = 0.13, c 1/3 x 0.8 = 0.27.
    folder = run(
        "a",
        row("record-1", ("a", 0.6, "-"), ("b", 0.2, "-")),
        row("record-1", ("a", 0.6, "-"), ("c", 0.8, "-")),
        row("record-1", ("a", 0.6, "-"), ("b", 0.2, "-")),
    )
    found = propose([folder], data, criteria=criteria)
    assert [p.answer for p in found.proposals] == answers
    assert found.n_found == (3 if criteria.top == 2 else len(answers))


def test_questions_with_more_references_are_left_out_and_counted(data: Path, run) -> None:
    folder = run("a", row("record-3", ("bruise", 0.9, "-")), row("record-1", ("covid", 0.8, "-")))
    found = propose([folder], data)
    assert ([p.answer for p in found.proposals], found.n_with_more) == (["covid"], 1)
    found = propose([folder], data, criteria=Criteria(max_references=0))
    assert ([p.answer for p in found.proposals], found.n_with_more) == (["bruise", "covid"], 0)


def test_questions_are_found_by_their_text_where_the_run_says_it(data: Path, run) -> None:
    asked = {"test-7": "Rash?", "test-8": "Unknown?"}
    folder = run("a", row("test-7", ("x", 0.9, "-")), row("test-8", ("y", 0.9, "-")), asked=asked)
    found = propose([folder], data)
    assert [(p.id, p.question, p.answer) for p in found.proposals] == [("record-2", "Rash?", "x")]
    assert (found.n_questions, found.n_not_in_data) == (1, 1)


def test_by_id_where_it_does_not(tmp_path: Path, run) -> None:
    path = write_lines(tmp_path / "q.jsonl", {"nr": 7, "item": {"q": "Rash?", "a": "measles"}})
    folder = run("a", row("7", ("x", 0.9, "-")), row("8", ("y", 0.9, "-")))
    found = propose([folder], path, named=DataFields(question="item.q", references="item.a", id="nr"))
    assert [(p.id, p.references, p.answer) for p in found.proposals] == [("7", ("measles",), "x")]
    with pytest.raises(DataNotFoundError, match="no question of the runs stands in .*: give the data that the runs"):
        propose([folder], path, named=DataFields(question="item.q", references="item.a"))


def test_without_confidences_the_share_counts_when_asked(data: Path, run) -> None:
    folder = run("a", row("record-1", ("covid", None, "-")), row("record-1"))
    with pytest.raises(ConfigError, match="the runs state no confidences: with min_confidence = 0 the share alone"):
        propose([folder], data)
    [found] = propose([folder], data, criteria=Criteria(min_confidence=0)).proposals
    assert (found.confidence, found.score) == (None, 0.5)


def test_programs_are_compared_exactly(data: Path, run) -> None:
    folder = run("a", row("record-1", ("f(x)", 0.9, "-"), ("f x", 0.9, "-")))
    criteria = Criteria(equality="exact")
    assert [p.answer for p in propose([folder], data, criteria=criteria).proposals] == ["f(x)", "f x"]


def test_a_real_evaluation_is_read(data: Path, tmp_path: Path) -> None:
    example = Example("x", "Headache?", (Reference("flu"),))
    text = "<answer1>flu</answer1><confidence1>0.3</confidence1><answer2>covid</answer2><confidence2>0.6</confidence2>"
    completions = [Completion(example, text, 2, True, sample=sample) for sample in range(2)]
    runs.write_jsonl(tmp_path / "run" / runs.COMPLETIONS, map(runs.completion_to_row, completions))
    evaluate(completions, n_boot=0).write(tmp_path / "run")
    [found] = propose([tmp_path / "run"], data).proposals
    assert (found.answer, found.share, found.confidence) == ("covid", 1.0, pytest.approx(0.6))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"id": "1"}, "judged.jsonl, line 1: verdicts is missing; judge again with polymode evaluate"),
        (
            {**row("record-1", ("a", 0.1, "-")), "verdicts": []},
            "line 1: verdicts = [] is not allowed: give one entry per answer, 1",
        ),
    ],
)
def test_a_line_that_is_no_judged_completion_is_named(data: Path, run, line: dict, said: str) -> None:
    with pytest.raises(RecordError) as caught:
        propose([run("a", line)], data)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "named", [{"min_share": 1.1}, {"min_confidence": -0.1}, {"top": 0}, {"max_references": -1}, {"equality": "same"}]
)
def test_conditions_that_make_no_sense_are_refused(named: dict) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(named))} = .* is not"):
        Criteria(**named)


# --- the file in between ---------------------------------------------------------------------------------------------


@pytest.fixture
def proposals(data: Path, run) -> tuple[Proposal, ...]:
    """covid for the first question, roseola for the second."""
    folder = run("runs", row("record-1", ("covid", 0.9, "-")), row("record-2", ("roseola", 0.8, "-")))
    return propose([folder], data).proposals


def test_proposals_come_back_as_they_were_written(proposals, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    assert write_proposals(path, proposals) == 2
    assert read_proposals(path) == proposals
    assert lines(path)[0]["accepted"] is None


def test_decisions_are_not_written_over(proposals, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write_proposals(path, proposals)
    write_proposals(path, proposals)  # nobody has decided yet
    runs.write_jsonl(path, [replace(proposals[0], accepted=False)])
    with pytest.raises(ConfigError, match="p.jsonl holds decisions already, which would be lost: name another file"):
        write_proposals(path, proposals)
    assert len(read_proposals(path)) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"acepted": True}, "p.jsonl, line 1: unknown field 'acepted'; make the proposals anew"),
        ({"accepted": "yes"}, "line 1: accepted = 'yes' is not allowed: give true or false"),
        ({"alias_of": 3}, "alias_of = 3 is not allowed: give a text"),
        ({"answer": None}, "answer = None is not allowed: give a text"),
        ({"references": "flu"}, "references = 'flu' is not allowed: give a list"),
        ({"n_samples": -1}, "n_samples = -1 is not allowed: give 0 or more"),
        ({"score": "high"}, "score = 'high' is not allowed: give a number"),
    ],
)
def test_a_line_that_was_edited_wrongly_is_named(proposals, tmp_path: Path, change: dict, said: str) -> None:
    path = write_lines(tmp_path / "p.jsonl", {**runs.to_json(proposals[0]), **change})
    with pytest.raises(RecordError) as caught:
        read_proposals(path)
    assert said in str(caught.value)


def test_a_line_that_lacks_a_field_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="line 1: id is missing; make the proposals anew with polymode relabel"):
        read_proposals(write_lines(tmp_path / "p.jsonl", {"accepted": True}))
    with pytest.raises(DataNotFoundError, match="none.jsonl cannot be read .*: check the path"):
        read_proposals(tmp_path / "none.jsonl")


# --- accept ----------------------------------------------------------------------------------------------------------


def at_noon() -> datetime:
    return datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_accepted_answers_become_references_with_their_origin(proposals, data: Path, tmp_path: Path) -> None:
    original, out = data.read_bytes(), tmp_path / "new" / "questions-2.jsonl"
    chosen = [replace(proposals[0], accepted=True), replace(proposals[1], accepted=False)]
    done = accept(chosen, data, out, by="ann", clock=at_noon)
    assert done == (1, 0, 1, 1, 0)
    first, *others = lines(out)
    assert first == {
        "question": "Headache?",
        "references": ["flu", "covid"],
        "source": "a",
        "relabelled": [
            {
                "answer": "covid",
                "alias_of": None,
                "by": "ann",
                "at": "2026-03-01T12:00:00+00:00",
                "runs": [str(tmp_path / "runs")],
                "score": 0.9,
                "share": 1.0,
                "confidence": 0.9,
                "n_samples": 1,
                "original": proposals[0].data,
            }
        ],
    }
    assert others == DATA[1:]
    assert data.read_bytes() == original
    task = open_task("records", data=out, validation=0, test=0)
    held = {example.id: [ref.text for ref in example.references] for example in task.examples("train")}
    assert held["record-1"] == ["flu", "covid"]


def test_an_answer_in_other_words_becomes_an_alias(proposals, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.jsonl"
    words = [replace(p, accepted=True, alias_of=p.references[0], accepted_by="bob") for p in proposals]
    assert accept(words, data, out, by="ann")[:3] == (0, 2, 2)
    assert [record["references"] for record in lines(out)] == [
        [["flu", "covid"]],
        [["measles", "rubeola", "roseola"]],
        ["gout", "sprain"],
    ]
    assert lines(out)[0]["relabelled"][0]["by"] == "bob"
    with pytest.raises(
        RecordError, match="line 1: alias_of = 'gout' is no reference of the question: use one of 'flu'"
    ):
        accept([replace(words[0], alias_of="gout")], data, out, by="ann")


def test_every_form_of_a_reference_keeps_its_form(tmp_path: Path, run) -> None:
    forms = [{"text": "flu", "weight": 0.5, "note": "kept"}, {"text": "flu", "aliases": ["influenza"]}, "flu"]
    path = write_lines(
        tmp_path / "q.jsonl", *({"question": f"{n}?", "references": form} for n, form in enumerate(forms))
    )
    folder = run("a", *(row(f"record-{n}", ("grippe", 0.9, "-")) for n in (1, 2, 3)))
    words = [replace(p, accepted=True, alias_of="flu") for p in propose([folder], path).proposals]
    accept(words, path, tmp_path / "new.jsonl", by="ann")
    assert [record["references"] for record in lines(tmp_path / "new.jsonl")] == [
        [{"text": "flu", "weight": 0.5, "note": "kept", "aliases": ["grippe"]}],
        [{"text": "flu", "aliases": ["influenza", "grippe"]}],
        [["flu", "grippe"]],
    ]
    further = [replace(words[0], alias_of=None)]
    with pytest.raises(RecordError, match="line 1: its references have weights, which a further one makes untrue"):
        accept(further, path, tmp_path / "other.jsonl", by="ann")


def test_a_flat_list_of_aliases_stays_one_reference(tmp_path: Path, run) -> None:
    path = write_lines(tmp_path / "q.jsonl", {"question": "Headache?", "references": ["flu", "influenza"]})
    named = DataFields(strings="aliases")
    [found] = propose([run("a", row("record-1", ("covid", 0.9, "-")))], path, named=named).proposals
    accept([replace(found, accepted=True)], path, tmp_path / "new.jsonl", by="ann", named=named)
    [record] = lines(tmp_path / "new.jsonl")
    assert record["references"] == [["flu", "influenza"], "covid"]
    task = open_task("records", data=tmp_path / "new.jsonl", strings="aliases", validation=0, test=0)
    [example] = task.examples("train")
    assert [ref.names for ref in example.references] == [("flu", "influenza"), ("covid",)]


def test_a_csv_and_a_field_inside_an_object_are_read(tmp_path: Path, run) -> None:
    path = tmp_path / "q.csv"
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([["question", "references", "n"], ["Headache?", "flu", "1"]])
    [found] = propose([run("a", row("record-1", ("covid", 0.9, "-")))], path).proposals
    accept([replace(found, accepted=True)], path, tmp_path / "new.jsonl", by="ann")
    [record] = lines(tmp_path / "new.jsonl")
    assert (record["references"], record["n"]) == (["flu", "covid"], "1")

    nested = write_lines(tmp_path / "n.jsonl", {"item": {"q": "Headache?", "a": ["flu"], "more": 1}})
    named = DataFields(question="item.q", references="item.a")
    [found] = propose([run("b", row("record-1", ("covid", 0.9, "-")))], nested, named=named).proposals
    accept([replace(found, accepted=True)], nested, tmp_path / "new.jsonl", by="ann", named=named)
    assert lines(tmp_path / "new.jsonl")[0]["item"] == {"q": "Headache?", "a": ["flu", "covid"], "more": 1}


def test_a_second_round_keeps_what_the_first_noted(proposals, data: Path, tmp_path: Path, run) -> None:
    out, third = tmp_path / "new.jsonl", tmp_path / "newer.jsonl"
    accept([replace(proposals[0], accepted=True)], data, out, by="ann")
    folder = run("later", row("record-1", ("covid", 0.9, "-"), ("sinusitis", 0.9, "-")))
    [found] = propose([folder], out, criteria=Criteria(max_references=0)).proposals  # covid is known by now
    accept([replace(found, accepted=True)], out, third, by="bob")
    first, *_ = lines(third)
    assert first["references"] == ["flu", "covid", "sinusitis"]
    assert [(note["answer"], note["by"]) for note in first["relabelled"]] == [("covid", "ann"), ("sinusitis", "bob")]


def test_a_question_that_stands_twice_is_changed_twice(tmp_path: Path, run) -> None:
    path = write_lines(tmp_path / "q.jsonl", DATA[0], DATA[0])
    [found] = propose([run("a", row("record-2", ("covid", 0.9, "-")))], path).proposals
    assert accept([replace(found, accepted=True)], path, tmp_path / "new.jsonl", by="ann").n_records == 2
    assert [record["references"] for record in lines(tmp_path / "new.jsonl")] == [["flu", "covid"]] * 2


def test_the_original_is_never_written(proposals, data: Path, tmp_path: Path) -> None:
    chosen, original = [replace(proposals[0], accepted=True)], data.read_bytes()
    (tmp_path / "link.jsonl").symlink_to(data)
    os.link(data, tmp_path / "hard.jsonl")
    for out in (data, tmp_path / "x" / ".." / data.name, tmp_path / "link.jsonl", tmp_path / "hard.jsonl"):
        with pytest.raises(ConfigError, match="is the original, which is never changed: name another file"):
            accept(chosen, data, out, by="ann")
    assert data.read_bytes() == original


@pytest.mark.parametrize(
    ("change", "by", "out", "said"),
    [
        ({"accepted": None}, "ann", "new.jsonl", 'no proposal is accepted: write "accepted": true into the lines'),
        ({}, " ", "new.jsonl", "by is empty: say who accepted the proposals"),
        ({}, "ann", "new.csv", "the new version is JSONL, name it so (.jsonl)"),
        ({"data": "0" * 64}, "ann", "new.jsonl", "the proposals were made for another version of"),
        ({"question": "Head?"}, "ann", "new.jsonl", "question 'Head?' stands in the proposals but not in"),
        (
            {"answer": "The Flu"},
            "ann",
            "new.jsonl",
            "line 1: the accepted answer 'The Flu' is a reference already; set",
        ),
        ({"answer": " "}, "ann", "new.jsonl", "line 1: the accepted answer '' is empty; set accepted to false"),
    ],
)
def test_what_cannot_be_accepted(
    proposals, data: Path, tmp_path: Path, change: dict, by: str, out: str, said: str
) -> None:
    with pytest.raises((ConfigError, RecordError)) as caught:
        accept([replace(proposals[0], **{"accepted": True, **change})], data, tmp_path / out, by=by)
    assert said in str(caught.value)
    assert not (tmp_path / out).exists()


def test_a_new_version_is_written_whole_or_not_at_all(proposals, data: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(WriteError):
        accept([replace(proposals[0], accepted=True)], data, tmp_path / "taken" / "new.jsonl", by="ann")


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_from_runs_to_a_new_version(
    data: Path, run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    folder = run("a", row("record-1", ("covid\x1b[31m", 0.9, "-")), row("record-3", ("bruise", 0.9, "-")))
    assert main(["relabel", str(folder), "--data", str(data)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and max(map(len, shown.splitlines()[:2])) <= 100
    head, line, _, notes, where, then = shown.splitlines()
    assert head.split() == ["score", "share", "conf", "question", "references", "proposed"]
    assert line.split() == ["0.90", "1.00", "0.90", "Headache?", "flu", "covid", "[31m"]
    assert notes == "2 questions; 1 left out, as they have more references"
    path = folder / "proposals.jsonl"
    assert where == f"proposals: {path}"
    assert then.startswith('write "accepted": true into the lines that are right, then: polymode relabel --accept ')

    [proposal] = lines(path)
    write_lines(path, {**proposal, "answer": "covid", "accepted": True})
    out = tmp_path / "questions-2.jsonl"
    given = ["--accept", str(path), "--by", "ann", "--data", str(data), "--out", str(out)]
    assert main(["relabel", *given]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "1 further references and 0 aliases in 1 records; 0 proposals refused, 0 undecided",
        f"data: {out}",
    ]
    assert lines(out)[0]["references"] == ["flu", "covid"]


def test_nothing_to_propose_is_said(data: Path, run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("a", row("record-1", ("flu", 0.9, "+")))
    assert main(["relabel", str(folder), "--data", str(data)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "1 questions; nothing to propose"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["x"], "--data is missing: name the records that the runs' questions came from"),
        (["--data", "q.jsonl"], "RUNS is missing: name the runs whose answers are examined"),
        (["x", "--data", "none.jsonl"], "data file 'none.jsonl' does not exist: check the path"),
        (["x", "--data", "q.jsonl", "--min-share", "2"], "min_share = 2.0 is not allowed: give a number from 0 to 1"),
        (["--data", "q.jsonl", "--accept", "p.jsonl"], "--out is missing: name the file for the new version"),
        (
            ["x", "--data", "q.jsonl", "--accept", "p", "--out", "o"],
            "runs are given with --accept, which uses none",
        ),
        (
            ["--data", "q", "--accept", "p.jsonl", "--out", "p.jsonl"],
            "--out p.jsonl is the proposals file: name another",
        ),
        (["--data", "q", "--accept", "p.jsonl", "--out", "o.jsonl"], "proposals p.jsonl cannot be read"),
    ],
)
def test_a_user_error_is_one_line(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["relabel", *args]) == 2
    assert said in capsys.readouterr().err
