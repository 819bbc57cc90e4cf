"""Every completion of a training, a Parquet file for each step: ``checkpoints/completions/completions_N.parquet`` (L3).

Each process writes its own completions, so no process ever holds those of all::

    completions_00007.parquet                     a training in one process
    completions_00007-00001-of-00002.parquet      of two, the second one's

The reader puts the parts of a step together, in the order of the processes. A step whose parts are not all there, as
after a kill, has not been written; the step is done again by ``--resume``, and its files are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymode.errors import MissingExtraError, RecordError
from polymode.runs.files import replacing

STEP_COMPLETIONS = "checkpoints/completions"
"""Their folder in a training's folder."""
_NAME = re.compile(r"completions_(\d+)(?:-(\d{5})-of-(\d{5}))?\.parquet")


def write_step_completions(
    train: Path, step: int, columns: Mapping[str, Sequence[Any]], *, process: int = 0, n_processes: int = 1
) -> None:
    """Write the completions of one process in a step, whole or not at all; raises WriteError."""
    import pyarrow as pa
    from pyarrow import parquet

    folder = train / STEP_COMPLETIONS
    part = "" if n_processes == 1 else f"-{process:05d}-of-{n_processes:05d}"
    if process == 0:  # of an earlier attempt with another number of processes
        for path, (_, n_others) in _parts(folder).get(step, {}).items():
            if n_others != n_processes:
                path.unlink(missing_ok=True)
    with replacing(folder / f"completions_{step:05d}{part}.parquet") as path:
        parquet.write_table(pa.table(dict(columns)), path)


def steps_with_completions(train: Path) -> list[int]:
    """The steps whose completions are all there, rising."""
    return sorted(step for step, parts in _parts(train / STEP_COMPLETIONS).items() if _is_whole(parts))


def read_step_completions(train: Path, step: int) -> list[dict[str, Any]]:
    """The completions of a step, those of the first process first.

    Raises:
        MissingExtraError: pyarrow is not installed.
        RecordError: they are not all there, or a file is damaged; names it.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "train", "reading the completions of a training") from None
    parts = _parts(train / STEP_COMPLETIONS).get(step, {})
    if not _is_whole(parts):
        raise RecordError(f"{train / STEP_COMPLETIONS}: step {step} is not whole; go on with polymode train --resume")
    rows: list[dict[str, Any]] = []
    for path in sorted(parts, key=lambda path: parts[path]):
        try:
            with parquet.ParquetFile(path) as file:
                rows += file.read().to_pylist()
        except (ArrowException, OSError) as exc:
            problem = " ".join(str(exc).split())[:200]
            raise RecordError(f"{path}: damaged ({problem}); remove the files of this step, or train again") from None
    return rows


def _parts(folder: Path) -> dict[int, dict[Path, tuple[int, int]]]:
    """By step, its files, each with the number of its process and that of all processes."""
    parts: dict[int, dict[Path, tuple[int, int]]] = {}
    for path in folder.glob("completions_*.parquet"):
        if match := _NAME.fullmatch(path.name):
            parts.setdefault(int(match[1]), {})[path] = (int(match[2] or 0), int(match[3] or 1))
    return parts


def _is_whole(parts: Mapping[Path, tuple[int, int]]) -> bool:
    numbers = set(parts.values())
    n_processes = {n for _, n in numbers}
    return len(n_processes) == 1 and numbers == {(process, n) for n in n_processes for process in range(n)}
