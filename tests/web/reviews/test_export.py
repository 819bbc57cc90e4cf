"""What reviewers said, read again by the task `records` and by `polymode calibrate`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymode import runs
from polymode.calibrate import calibrate, read_judged
from polymode.calibrate.fit import notes_on
from polymode.cli import main
from polymode.errors import ConfigError, DataNotFoundError, RecordError, WriteError
from polymode.parsing import parse_answers
from polymode.policy import Conditions, Policy, decide
from polymode.policy.calibration import Calibration
from polymode.tasks import open_task
from polymode.types import Verdict
from polymode.web.reviews import export_judged, export_records
from polymode.web.reviews.export import judged_rows
from polymode.web.reviews.queue import ReviewQueue

RIGHT, WRONG, UNSCORED = Verdict.CORRECT, Verdict.WRONG, Verdict.UNSCORED
Add = Callable[..., int]


@pytest.fixture
def review(file: Path, clock, add: Add) -> Callable[..., ReviewQueue]:
    """Adds a question and resolves it at once."""
    queue = ReviewQueue(file, clock=clock)

    def resolve(question: str, pairs: tuple, verdicts: str, *missing: str, same_as: dict | None = None, **named: str):
        clock.pass_(1)
        item_id = add(queue, question, pairs, **named)
        queue.claim("ann", item_id)
        marks = {n: {"+": RIGHT, "-": WRONG, "?": UNSCORED}[mark] for n, mark in enumerate(verdicts)}
        queue.resolve(item_id, "ann", verdicts=marks, missing=missing, same_as=same_as)
        return queue

    return resolve


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- records ---------------------------------------------------------------------------------------------------------


def test_records_hold_what_is_right_and_the_task_reads_them(review, tmp_path: Path) -> None:
    out = tmp_path / "new" / "reviewed.jsonl"
    review("Headache?", (("flu", 0.5), ("cold", 0.3)), "+-", "covid", model_id="m", policy_id="p")
    queue = review("Rash?", (("measles", 0.4), ("Masern", 0.3)), "++", same_as={1: 0})
    review("Pain?", (("flu", 0.2), ("cold", 0.1)), "--")
    assert export_records(queue, out) == (2, 1)  # nobody knows what Pain is
    first, second = lines(out)
    assert first == {
        "id": "review-1",
        "question": "Headache?",
        "references": [{"text": "flu", "aliases": []}, {"text": "covid", "aliases": []}],
        "risk": "normal",
        "meta": {
            "reviews": [
                {"item": 1, "reviewer": "ann", "at": "2026-03-01T12:00:01+00:00", "model_id": "m", "policy_id": "p"}
            ]
        },
    }
    assert second["references"] == [{"text": "measles", "aliases": ["Masern"]}]
    task = open_task("records", data=out, id_field="id", validation=0, test=0)
    examples = {example.id: example for example in task.examples("train")}
    assert [ref.names for ref in examples["review-1"].references] == [("flu",), ("covid",)]
    assert [ref.names for ref in examples["review-2"].references] == [("measles", "Masern")]


def test_a_question_reviewed_twice_is_one_record_and_the_last_word_counts(review, tmp_path: Path) -> None:
    review("Headache?", (("flu", 0.5), ("cold", 0.3)), "++")
    review("Headache? ", (("The Flu", 0.5), ("covid", 0.3)), "-+")
    queue = review("Headache?", (("Covid!", 0.5), ("corona", 0.3)), "++", same_as={1: 0})
    assert export_records(queue, tmp_path / "out.jsonl") == (1, 0)
    [row] = lines(tmp_path / "out.jsonl")
    assert row["references"] == [{"text": "cold", "aliases": []}, {"text": "covid", "aliases": ["corona"]}]
    assert [taken["item"] for taken in row["meta"]["reviews"]] == [1, 2, 3]


def test_two_references_become_one_when_a_later_review_says_that_they_are(review, tmp_path: Path) -> None:
    review("Rash?", (("measles", 0.5), ("x", 0.4), ("Masern", 0.3)), "+++")
    queue = review("Rash?", (("measles", 0.5), ("Masern", 0.3)), "++", same_as={1: 0})
    export_records(queue, tmp_path / "out.jsonl")
    [row] = lines(tmp_path / "out.jsonl")
    assert row["references"] == [{"text": "measles", "aliases": ["Masern"]}, {"text": "x", "aliases": []}]


def test_unscored_answers_say_nothing_and_dismissed_items_are_left_out(review, tmp_path: Path) -> None:
    queue = review("Headache?", (("flu", 0.5), ("cold", 0.3)), "+?")
    review("Nonsense", (("flu", 0.5), ("cold", 0.3)), "++")
    queue.reopen(2, "ann")
    queue.claim("ann", 2)
    queue.dismiss(2, "ann")
    export_records(queue, tmp_path / "out.jsonl")
    [row] = lines(tmp_path / "out.jsonl")
    assert (row["question"], row["references"]) == ("Headache?", [{"text": "flu", "aliases": []}])


def test_a_file_appears_whole_or_not_at_all(review, tmp_path: Path) -> None:
    queue = review("Headache?", (("flu", 0.5), ("cold", 0.3)), "+-")
    (tmp_path / "taken").write_text("a file")
    for export in (export_records, export_judged):
        with pytest.raises(WriteError):
            export(queue, tmp_path / "taken" / "out.jsonl")


def test_an_empty_queue_is_told(file: Path, tmp_path: Path) -> None:
    with ReviewQueue(file) as queue:
        for export in (export_records, export_judged):
            with pytest.raises(DataNotFoundError, match="holds no resolved item of that kind: review some"):
                export(queue, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


# --- judged ----------------------------------------------------------------------------------------------------------


def test_a_judged_line_says_what_evaluate_would(review) -> None:
    # flu and influenza are one reference, covid was added; the second flu repeats the first, cold cannot be told.
    pairs = (("flu", 0.5), ("cold", 0.3), ("The flu", 0.2), ("influenza", 0.1), ("gout", 0.1))
    queue = review("Headache?", pairs, "+?++-", "covid", same_as={3: 0})
    [row] = json.loads(json.dumps(list(judged_rows(queue.resolved()))))
    assert {name: row[name] for name in ("sample", "k", "status", "n_references")} == {
        "sample": 0,
        "k": 5,
        "status": "clean",
        "n_references": 2,
    }
    assert row["answers"] == ["flu", "cold", "The flu", "influenza", "gout"]
    assert row["confidences"] == [0.5, 0.3, 0.2, 0.1, 0.1]
    assert row["verdicts"] == ["correct", "unscored", "correct", "correct", "wrong"]
    assert row["hits"] == [1, None, 0, 0, 0]
    assert row["matches"] == [0, None, 0, 0, None]
    assert row["duplicates"] == [None, None, 0, None, None]
    assert row["faults"] == ["the reviewer could not decide"]
    assert (row["review"]["item"], row["review"]["decision"]) == (1, "escalate")


def test_a_calibration_reads_the_judged_lines(review, tmp_path: Path) -> None:
    queue = review("Sure?", (("flu", 0.8), ("cold", 0.1)), "+-")
    review("Unsure?", (("flu", 0.3), ("cold", 0.1)), "--")
    sure, unsure = queue.resolved()
    # 60 questions, and a second review of the first: a second sample, which a calibration leaves out.
    items = [replace(sure if n % 3 else unsure, question=f"Question {n}?") for n in range(60)]
    runs.write_jsonl(tmp_path / "judged.jsonl", judged_rows([*items, replace(sure, question="Question 0?")]))
    policy, judged = calibrate(tmp_path, Calibration(target="answer", alpha=0.2, delta=0.1))
    assert (len(judged.records), judged.n_left_out, judged.n_unscored) == (60, 1, 0)
    assert policy.answer_at is not None and 0.3 < policy.answer_at <= 0.8
    assert export_judged(queue, tmp_path / "judged.jsonl") == (2, 0)


def test_a_calibration_takes_the_random_share_alone(review, tmp_path: Path) -> None:
    queue = review("Sure?", (("flu", 0.8), ("cold", 0.1)), "+-", policy_id="p")
    [item] = queue.resolved()
    items = [
        replace(item, question=f"Question {n}?", origin="random" if n % 3 else "escalated", policy_id="p")
        for n in range(90)
    ]
    runs.write_jsonl(tmp_path / "judged.jsonl", judged_rows(items))
    made_by = Conditions(model="m", pool=5)
    policy, judged = calibrate(tmp_path, Calibration(target="answer", alpha=0.2, delta=0.1), conditions=made_by)
    assert (len(judged.records), judged.n_not_random) == (60, 30)
    assert "30 reviews left out: their questions were escalated, not drawn at random" in notes_on(judged)
    fitted = policy.conditions
    assert fitted is not None and fitted.pool == 5 and fitted.questions is not None and fitted.questions.n == 60
    assert fitted.reference is not None and len(fitted.reference.confidences[0]) == 60
    runs.write_jsonl(tmp_path / "judged.jsonl", judged_rows([replace(one, origin="escalated") for one in items]))
    with pytest.raises(RecordError, match="all 90 questions were escalated, and are no sample"):
        read_judged(tmp_path / "judged.jsonl")


def test_the_policy_of_the_server_says_what_made_the_answers(
    review, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served = Policy(answer_at=0.5, k=2, conditions=Conditions(model="m", style="brief", temperature=0.7))
    runs.write_policy(tmp_path / "served.json", served)
    runs.write_policy(tmp_path / "other.json", Policy(answer_at=0.6, conditions=served.conditions))
    runs.write_policy(tmp_path / "bare.json", Policy(answer_at=0.5, k=2))
    [item] = review("Sure?", (("flu", 0.8), ("cold", 0.1)), "+-", policy_id=served.digest()).resolved()
    items = [replace(item, question=f"Question {n}?", origin="random") for n in range(60)]
    runs.write_jsonl(tmp_path / "judged.jsonl", judged_rows(items))
    command = ["calibrate", str(tmp_path), "--target", "answer", "--like"]
    assert main([*command, str(tmp_path / "served.json")]) == 0
    fitted = runs.read_policy(tmp_path / "policy.json").conditions
    assert fitted is not None and (fitted.model, fitted.temperature) == ("m", 0.7) and fitted.questions is not None
    capsys.readouterr()
    assert main([*command, str(tmp_path / "other.json")]) == 2
    assert f"but answers were decided by {served.digest()}: name that" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "bare.json")]) == 2
    assert "does not record what it was calibrated on" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "served.json"), "--model", "m"]) == 2
    assert "--model does not go with --like" in capsys.readouterr().err


def test_stated_confidences_are_written_not_recalibrated_ones(file: Path, clock, tmp_path: Path) -> None:
    from polymode.policy import Recalibration

    answer_set = parse_answers("<answer>flu</answer><confidence>0.6</confidence>", 1, confidence=True)
    halved = Recalibration("isotonic", 10, points=((0.0, 0.0), (1.0, 0.5)))
    with ReviewQueue(file, clock=clock) as queue:
        queue.add("What?", answer_set, decide(answer_set, Policy(answer_at=0.9, recalibration=halved)))
        queue.claim("ann")
        queue.resolve(1, "ann", verdicts={0: RIGHT})
        export_judged(queue, tmp_path / "judged.jsonl")
    np.testing.assert_array_equal(read_judged(tmp_path / "judged.jsonl").records.q, [[0.6]])


def test_several_k_or_models_must_be_chosen_from(review, tmp_path: Path) -> None:
    review("A?", (("flu", 0.5), ("cold", 0.3)), "+-", model_id="m")
    queue = review("B?", (("flu", 0.5), ("cold", 0.3), ("gout", 0.1)), "+--", model_id="n")
    out = tmp_path / "judged.jsonl"
    with pytest.raises(ConfigError, match="k is not given, and resolved items have 2, 3: choose one"):
        export_judged(queue, out)
    assert export_judged(queue, out, k=3) == (1, 0)
    review("C?", (("flu", 0.5), ("cold", 0.3), ("gout", 0.1)), "+--", model_id="m")
    with pytest.raises(ConfigError, match="model_id is not given, and resolved items have 'm', 'n': choose one"):
        export_judged(queue, out, k=3)
    assert export_judged(queue, out, k=3, model_id="m") == (1, 0)
