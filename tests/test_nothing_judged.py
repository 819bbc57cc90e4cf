"""Evaluations in which every answer, or every one of a part, is UNSCORED; and half a character in every text.

Both end well in every command: verdicts and reasons on disk, undefined numbers null, and one line that says so.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.cli import main
from polymode.errors import RecordError, VerifierFault
from polymode.evaluation import Evaluation, evaluate, evaluate_groups, read_completions
from polymode.types import Example, Reference

HALF = "\ud83d"
OVERLAPS = {"overlap_3gram", "overlap_4gram", "overlap_jaccard", "overlap_rouge_l"}
"""Of texts alone, so defined without any verdict."""


class Dead:
    """Fails on everything."""

    def same(self, a: str, b: str) -> bool:
        raise VerifierFault("out of order")

    def matches(self, answer: str, reference: Reference) -> bool:
        raise VerifierFault(f"out of order {HALF}")


class DeadOnSome:
    """Fails on the questions of the part ``bad``."""

    def prepare(self, items: Any) -> "DeadOnSome":
        return self

    def at(self, example: Example) -> Any:
        return Dead() if example.meta["part"] == "bad" else Exact()


class Exact:
    """Equal texts."""

    def same(self, a: str, b: str) -> bool:
        return a == b

    def matches(self, answer: str, reference: Reference) -> bool:
        return answer in reference.names


def own(table: Any) -> Any:
    """A metric of one's own."""
    return table.hits


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


def write(folder: Path, *, n: int = 8, k: int = 2, samples: int = 2, stated: bool = True, half: str = "") -> Path:
    rows = []
    for i in range(n):
        for sample in range(samples):
            tags = [""] if k == 1 else [str(slot) for slot in range(1, k + 1)]
            confidence = "<confidence{0}>0.4</confidence{0}>" if stated else ""
            slots = (f"<answer{t}>{'ab'[i % 2]}{t}{half}</answer{t}>{confidence.format(t)}" for t in tags)
            rows.append(
                {
                    "id": f"q{i}{half}",
                    "question": f"which {i}{half}?",
                    "completion": f"<think>{half}</think>" + "".join(slots),
                    "references": [f"a1{half}", ["b2", f"c{half}"]],
                    "p_correct": {f"a1{half}": 0.5, "b2": 0.25},
                    "distribution": {f"a1{half}": 0.75, "b2": 0.25},
                    "meta": {"part": "good" if i % 2 else "bad", "note": half},
                    "k": k,
                    "sample": sample,
                    "n_tokens": 7,
                }
            )
    folder.mkdir(parents=True)
    (folder / runs.COMPLETIONS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def dead(folder: Path, *further: str) -> dict[str, Any]:
    """Evaluate by what fails on everything; the content of metrics.json."""
    boot = () if "--n-boot" in further else ("--n-boot", "20")
    args = ["evaluate", str(folder), "--verifier", "test_nothing_judged:Dead", *boot, *further]
    assert main(args) == 0
    return json.loads((folder / runs.METRICS).read_text())


@pytest.mark.parametrize(
    ("how", "further"),
    [
        ({}, ["--by", "part", "--metrics", "test_nothing_judged:own"]),
        ({"stated": False}, []),
        ({"k": 1}, []),
        ({"k": 1, "samples": 4}, ["--pool", "2"]),
        ({"k": 1, "samples": 4}, ["--pool", "2", "--votes"]),
        ({"n": 1, "samples": 1}, []),
        ({"n": 1, "samples": 1}, ["--n-boot", "0"]),
    ],
)
def test_metrics_are_null_with_the_count_of_what_is_unscored(
    how: dict[str, Any], further: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "run", **how)
    content = dead(folder, *further)
    n = how.get("n", 8) * how.get("samples", 2)
    out = capsys.readouterr().out
    assert f"{n} unscored" in out and r"out of order \ud83d" in out
    for part in (content, *content.get("groups", {}).values()):
        assert part["view"]["n_sets"] == 0 and part["view"]["n_unscored"] == part["view"]["n_completions"]
        assert part["view"]["has_confidence"] is how.get("stated", True)
        metrics = {name: one for name, one in part["metrics"].items() if name not in OVERLAPS}
        assert metrics.keys() >= {"coverage", "ece", "brier", "auroc", "kl", "malformed_rate"}
        for one in metrics.values():
            assert (one["value"], one["low"], one["high"], one["n"]) == (None, None, None, 0)
            assert one["n_unscored"] == part["view"]["n_completions"]
    rows = [json.loads(line) for line in (folder / runs.JUDGED).read_text().splitlines()]
    assert len(rows) == n
    assert all(set(row["verdicts"]) == {"unscored"} and row["faults"] and row["score"] is None for row in rows)
    again = Evaluation.read(folder, metrics=["test_nothing_judged:own"] if "--metrics" in further else [])
    assert math.isnan(again.metrics["coverage"].value) and again.metrics["coverage"].n_unscored == n


def test_one_part_of_the_questions_may_be_without_verdicts(tmp_path: Path) -> None:
    completions = read_completions(write(tmp_path / "run"))
    good, bad = (
        evaluate_groups(completions, "part", verifier=DeadOnSome(), n_boot=20)[f"part = {p}"] for p in ("good", "bad")
    )
    assert good.metrics["coverage"].value == 1.0 and good.metrics["coverage"].n == 4  # b2 of each set
    assert math.isnan(bad.metrics["coverage"].value) and bad.metrics["coverage"].n_unscored == 8
    both = evaluate(completions, verifier=DeadOnSome(), n_boot=20)
    assert (both.metrics["coverage"].value, both.metrics["coverage"].n_unscored) == (1.0, 8)


def test_compare_shows_a_column_without_verdicts_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fine, other = write(tmp_path / "fine"), write(tmp_path / "other")
    assert main(["evaluate", str(fine), "--n-boot", "20"]) == 0
    dead(other)
    note = "other: 16 of 16 completions could not be judged and are left out, so what depends on verdicts is undefined"
    for number, folders in enumerate([(fine, other), (other, write(tmp_path / "third"))]):
        if number == 1:
            dead(folders[1])
        out = tmp_path / f"out-{number}"
        assert main(["compare", *map(str, folders), "--out", str(out), "--n-boot", "20"]) == 0
        assert f"note: {note}\n" in capsys.readouterr().out
        assert note in (out / "report.html").read_text() and f"Note: {note}." in (out / "compare.md").read_text()
        columns = {one["name"]: one["metrics"] for one in json.loads((out / "compare.json").read_text())["columns"]}
        assert columns["other"]["coverage"]["value"] is None


def test_a_policy_cannot_rest_on_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "run", n=60)
    dead(folder)
    capsys.readouterr()
    for target in ("set", "answer", "both", "conformal"):
        assert main(["calibrate", str(folder), "--target", target, "--alpha", "0.5"]) == 2
        assert "no answer of its 60 questions could be judged (the first: answer 1: out of" in capsys.readouterr().err
    assert not (folder / runs.POLICY).exists()


def test_half_a_character_in_every_text_ends_no_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (write(tmp_path / name, n=60, half=HALF) for name in ("first", "second"))
    for folder in (first, second):
        assert main(["evaluate", str(folder), "--by", "note", "--n-boot", "5"]) == 0
    [*_, row] = [json.loads(line) for line in (first / runs.JUDGED).read_text(encoding="utf-8").splitlines()]
    assert row["id"] == f"q59{HALF}" and row["answers"] == [f"b1{HALF}", f"b2{HALF}"]
    assert list(runs.read_metrics(first).groups) == [f"note = {HALF}"]
    assert main(["compare", str(first), str(second), "--out", str(tmp_path / "out"), "--n-boot", "5"]) == 0
    data = tmp_path / "data.jsonl"
    records = ({"question": f"which {i}{HALF}?", "references": ["z"], "id": f"q{i}{HALF}"} for i in range(60))
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert main(["calibrate", str(first), "--alpha", "0.9", "--target", "answer"]) == 0
    options = ["--data", str(data), "--min-confidence", "0.1"]
    assert main(["relabel", str(first), *options]) == 0
    proposals = [json.loads(line) for line in (first / "proposals.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {proposal["answer"] for proposal in proposals} == {f"{name}{HALF}" for name in ("a2", "b1", "b2")}
    accepted = tmp_path / "accepted.jsonl"
    accepted.write_text("".join(json.dumps({**proposal, "accepted": True}) + "\n" for proposal in proposals))
    new = tmp_path / "new.jsonl"
    assert (
        main(["relabel", "--accept", str(accepted), "--by", f"ann{HALF}", "--data", str(data), "--out", str(new)]) == 0
    )
    assert any(f"a2{HALF}" in json.loads(line)["references"] for line in new.read_text(encoding="utf-8").splitlines())
    assert main(["tasks", "records", "--data", str(data)]) == 0
    captured = capsys.readouterr()
    assert r"\ud83d?" in captured.out and "Traceback" not in captured.err


def test_half_a_character_reaches_no_tokenizer_or_server() -> None:
    from polymode.prompts import build_check_prompt, build_prompt

    for style in ("full", "brief"):
        build_prompt(f"which{HALF}?", 2, confidence=True, style=style).encode()
    assert build_check_prompt(f"a{HALF}", "b\udc00").encode().startswith(b"a?\n\nProposed answer: b?")


def test_damaged_lines_are_still_named(tmp_path: Path) -> None:
    (tmp_path / runs.COMPLETIONS).write_text('{"completion": "\\ud83d", "references": ["a"], "k": 1\n')
    with pytest.raises(RecordError, match="line 1: not valid JSON"):
        read_completions(tmp_path)
