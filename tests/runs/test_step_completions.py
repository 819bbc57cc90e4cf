"""Completions of a training's steps: parts of several processes, steps that are not whole, damaged files."""

from pathlib import Path

import pytest

from polymode import runs
from polymode.errors import RecordError

parquet = pytest.importorskip("pyarrow.parquet")
COLUMNS = {"step": [7, 7], "prompt": ["a", "b"], "completion": ["x", "y"]}


def part(train: Path, step: int, process: int, n_processes: int, texts: list[str]) -> None:
    columns = {"step": [step] * len(texts), "completion": texts, "polymode": [None] * len(texts)}
    runs.write_step_completions(train, step, columns, process=process, n_processes=n_processes)


def texts(train: Path, step: int) -> list[str]:
    return [row["completion"] for row in runs.read_step_completions(train, step)]


def test_one_process_writes_the_file_that_it_always_wrote(tmp_path: Path) -> None:
    runs.write_step_completions(tmp_path, 7, COLUMNS)
    [path] = (tmp_path / "checkpoints" / "completions").iterdir()
    assert path.name == "completions_00007.parquet"
    assert parquet.read_table(path).to_pydict() == COLUMNS
    assert runs.read_step_completions(tmp_path, 7) == [
        {name: values[i] for name, values in COLUMNS.items()} for i in (0, 1)
    ]


def test_parts_are_put_together_in_the_order_of_the_processes(tmp_path: Path) -> None:
    assert runs.steps_with_completions(tmp_path) == []
    for process in (2, 0, 1):
        part(tmp_path, 3, process, 3, [f"of {process}"])
        assert runs.steps_with_completions(tmp_path) == ([3] if process == 1 else [])
    assert texts(tmp_path, 3) == ["of 0", "of 1", "of 2"]


def test_a_step_that_a_kill_cut_off_is_not_there(tmp_path: Path) -> None:
    for process in (0, 1):
        part(tmp_path, 1, process, 2, [str(process)])
    part(tmp_path, 2, 1, 2, ["alone"])
    (tmp_path / runs.STEP_COMPLETIONS / ".completions_00002-00000-of-00002.parquet.99.part").write_bytes(b"PAR1")
    assert runs.steps_with_completions(tmp_path) == [1]
    with pytest.raises(RecordError, match="step 2 is not whole; go on with polymode train --resume"):
        runs.read_step_completions(tmp_path, 2)
    part(tmp_path, 2, 0, 2, ["first"])  # resumed
    part(tmp_path, 2, 1, 2, ["second"])
    assert texts(tmp_path, 2) == ["first", "second"]


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3), (3, 2)])
def test_a_step_that_is_done_again_by_other_processes_is_there_once(tmp_path: Path, before: int, after: int) -> None:
    for n_processes in (before, after):
        for process in reversed(range(n_processes)):
            part(tmp_path, 5, process, n_processes, [f"{process} of {n_processes}"])
    assert texts(tmp_path, 5) == [f"{process} of {after}" for process in range(after)]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(50) + b"PAR1", b"not Parquet at all"])
def test_a_damaged_part_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    for process in (0, 1):
        part(tmp_path, 1, process, 2, [str(process)])
    damaged = tmp_path / runs.STEP_COMPLETIONS / "completions_00001-00001-of-00002.parquet"
    damaged.write_bytes(content)
    with pytest.raises(RecordError, match=f"{damaged}: damaged") as caught:
        runs.read_step_completions(tmp_path, 1)
    assert "\n" not in str(caught.value)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    part(tmp_path, 1, 0, 1, ["one"])
    for name in ("notes.parquet", "completions_last.parquet", "completions_00001.parquet.bak"):
        (tmp_path / runs.STEP_COMPLETIONS / name).write_text("mine")
    assert (runs.steps_with_completions(tmp_path), texts(tmp_path, 1)) == ([1], ["one"])
