"""Line offsets of large files, and what is told of damaged ones."""

import json
import math
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.errors import RecordError
from polymode.web.browsing.question_index import NO_COMPLETION, Kind, QuestionIndex, build_index

from ..run_folders import GOOD, POOR, answers, write_run


def index_of(folder: Path) -> QuestionIndex:
    completions = folder / runs.COMPLETIONS
    return build_index(folder / runs.JUDGED, completions if completions.exists() else None, "run")


def row(**changes: Any) -> dict[str, Any]:
    return {
        "id": "q", "sample": 0, "k": 2, "status": "clean", "answers": ["a", "b"], "confidences": [0.9, None],
        "verdicts": ["correct", "wrong"], "hits": [1, 0], "matches": [0, None], "duplicates": [None, None],
        "n_references": 1, "terms": {"coverage": 1.0}, "score": 1.0, **changes,
    }  # fmt: skip


def test_questions_are_told_apart_by_what_happened(tmp_path: Path) -> None:
    index = index_of(write_run(tmp_path, GOOD))
    assert index.ids == ("q1", "q2", "q3") and list(index.figures["found"]) == [2, 1, 0]
    assert index.select(None) == [0, 1, 2]
    assert index.select(Kind.MISSED) == [2]
    assert index.select(Kind.OVERCONFIDENT) == [1]
    assert index.count(Kind.MALFORMED) == 0
    assert index.number("q2") == 1 and index.number("q") is None
    assert index_of(write_run(tmp_path / "b", POOR)).select(Kind.MALFORMED) == [2]


def test_questions_have_figures_and_an_order_by_them(tmp_path: Path) -> None:
    texts = {**GOOD, "q3": [*GOOD["q3"], answers(("mumps", 0.95), ("flu", 0.1)), "nothing"]}
    index = index_of(write_run(tmp_path, texts))
    # q1 has no wrong answer; sprain was stated with 0.85, mumps with 0.95.
    assert [index.figures["wrong"][n] for n in (1, 2)] == [0.85, 0.95] and math.isnan(index.figures["wrong"][0])
    assert list(index.figures["completions"]) == [1, 1, 3]
    assert list(index.figures["tokens"]) == [20, 20, 20]
    judged = [line.judged for line in runs.judged_lines(tmp_path / runs.JUDGED)]
    scores = [one.score for one in judged if one.id == "q3" and one.score is not None]
    assert index.figures["score"][2] == pytest.approx(sum(scores) / 3)
    assert index.sort([0, 1, 2], "wrong", is_highest_first=True) == [2, 1, 0]
    assert index.sort([0, 1, 2], "wrong", is_highest_first=False) == [1, 2, 0]  # without it: last in either order
    assert index.sort([2, 1, 0], "tokens", is_highest_first=True) == [0, 1, 2]


def test_lines_are_found_by_their_offsets(tmp_path: Path) -> None:
    texts = {"q1": [answers(("flu", 0.5), (f"a{i}", 0.5)) for i in range(5)], "q2": GOOD["q2"]}
    index = index_of(write_run(tmp_path, texts))
    offsets = index.offsets(0)
    assert len(offsets.judged) == 5
    judged = runs.judged_at(tmp_path / runs.JUDGED, index.stamps[0], offsets.judged)
    assert index.stamps[1] is not None
    completions = runs.completions_at(tmp_path / runs.COMPLETIONS, index.stamps[1], offsets.completions)
    assert [one.sample for one in judged] == [one.sample for one in completions] == [0, 1, 2, 3, 4]
    assert [one.text for one in completions] == texts["q1"]


def test_files_in_another_order_still_belong_together(tmp_path: Path) -> None:
    write_run(tmp_path, GOOD)
    lines = (tmp_path / runs.COMPLETIONS).read_text().splitlines(keepends=True)
    (tmp_path / runs.COMPLETIONS).write_text("\n" + "".join(reversed(lines)))
    index, path = index_of(tmp_path), tmp_path / runs.COMPLETIONS
    for number, id_ in enumerate(index.ids):
        [completion] = runs.completions_at(path, runs.stamp_of(path), index.offsets(number).completions)
        assert completion.example.id == id_


def test_completions_without_ids_are_found_as_they_were_judged(tmp_path: Path) -> None:
    from polymode.evaluation import evaluate, read_completions

    said = [("Ache?", "a"), ("Rash?", "b"), ("Ache?", "b")]
    rows = [{"question": q, "completion": f"<answer>{a}</answer>", "references": ["a"], "k": 1} for q, a in said]
    (tmp_path / runs.COMPLETIONS).write_text("".join(json.dumps(r) + "\n" for r in rows))
    evaluate(read_completions(tmp_path), n_boot=0).write(tmp_path)
    index = index_of(tmp_path)
    assert [len(index.offsets(n).judged) for n in range(len(index))] == [2, 1]
    assert NO_COMPLETION not in index.offsets(0).completions + index.offsets(1).completions


def test_judged_lines_without_completions_are_enough(tmp_path: Path) -> None:
    write_run(tmp_path, GOOD)
    (tmp_path / runs.COMPLETIONS).unlink()
    assert index_of(tmp_path).offsets(0).completions == (NO_COMPLETION,)


def test_a_file_that_changed_is_not_read_by_old_offsets(tmp_path: Path) -> None:
    index = index_of(write_run(tmp_path, GOOD))
    write_run(tmp_path, POOR)
    with pytest.raises(runs.ChangedError):
        runs.judged_at(tmp_path / runs.JUDGED, index.stamps[0], index.offsets(0).judged)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "line 2: not valid JSON"),
        (b"[1]", "line 2: a JSON object is needed, got list"),
        (b"\xff\xfe", "line 2: not UTF-8 text"),
        (b"[" * 100_000, "line 2: not valid JSON"),
        (b'{"id": ' + b"9" * 5000 + b"}", "line 2: not valid JSON"),
        (b"{}", "line 2: verdicts is missing"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / runs.JUDGED
    path.write_bytes(json.dumps(row()).encode() + b"\n" + content + b"\n")
    with pytest.raises(RecordError, match=said) as caught:
        build_index(path, None, "run")
    assert str(caught.value).startswith("run/judged.jsonl, line 2")


def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    text = json.dumps(row(reason="x" * 900))
    with (tmp_path / runs.JUDGED).open("w") as handle:
        for i in range(1_500):
            handle.write(text.replace('"q"', f'"question-{i}"') + "\n")
    tracemalloc.start()
    index = build_index(tmp_path / runs.JUDGED, None, "run")
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = (tmp_path / runs.JUDGED).stat().st_size
    assert len(index) == 1_500 and kept < size / 3 and most < size
    start = time.monotonic()
    runs.judged_at(tmp_path / runs.JUDGED, index.stamps[0], index.offsets(1_499).judged)
    assert time.monotonic() - start < 5
