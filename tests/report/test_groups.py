"""Groups of the last training step: read from the kept completions, best first, equal ones told."""

from __future__ import annotations

from pathlib import Path

import pytest

from polymode.report.groups import MOST, last_groups
from polymode.runs import STEP_COMPLETIONS as FOLDER

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(folder: Path, step: int, rows: list[dict[str, object]]) -> None:
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / FOLDER / f"completions_{step:05d}.parquet")


def row(step: int, prompt: object, score: float | None, text: str = "<answer>tea</answer>") -> dict[str, object]:
    return {
        "step": step,
        "prompt": prompt,
        "completion": text,
        "polymode": score,
        "status": "clean" if score else "malformed",
        "term_coverage": score,
        "verdicts": "correct" if score else "",
    }


def test_the_last_step_is_read_group_by_group(tmp_path: Path) -> None:
    write(tmp_path, 1, [row(1, "old", 1.0)])
    write(tmp_path, 2, [row(2, "a", 0.0), row(2, "a", 2.0), row(2, "a", None), row(2, "b", 1.0), row(2, "b", 1.0)])
    found = last_groups(tmp_path, "multi-rlvr")
    assert found is not None
    assert (found.label, found.step, found.n_groups, found.n_equal) == ("multi-rlvr", 2, 2, 1)
    first, second = found.selection
    assert [member.score for member in first.members] == [2.0, 0.0, None]
    assert first.members[1].verdicts == "malformed"
    assert (first.is_equal, second.is_equal) == (False, True)


def test_chat_prompts_show_the_last_message(tmp_path: Path) -> None:
    prompt = [{"role": "user", "content": "likes tea"}]
    rows = [row(1, prompt, 1.0)]
    rows[0]["completion"] = [{"role": "assistant", "content": "<answer>tea</answer>"}]  # type: ignore[assignment]
    write(tmp_path, 1, rows)
    found = last_groups(tmp_path, "x")
    assert found is not None and found.selection[0].question == "likes tea"
    assert found.selection[0].members[0].text == "<answer>tea</answer>"


def test_many_groups_are_shown_evenly_and_none_without_files(tmp_path: Path) -> None:
    assert last_groups(tmp_path, "x") is None
    write(tmp_path, 1, [row(1, f"question {i}", 1.0) for i in range(12)])
    found = last_groups(tmp_path, "x")
    assert found is not None and found.n_groups == 12
    assert [group.question for group in found.selection] == [f"question {i}" for i in range(0, 12, 12 // MOST)]
