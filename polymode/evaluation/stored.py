"""The columns of a judged.jsonl, question by question (layer L4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from polymode import runs
from polymode.evaluation.columns import Columns, columns_of, join
from polymode.evaluation.judged import SHOW_AFTER
from polymode.evaluation.judging import BATCH, ordered
from polymode.evaluation.older import completed
from polymode.runs import JudgedCompletion


class _OutOfOrder(Exception):
    """The lines are not in the order question, sample, or lack what follows from all of them."""


def read_columns(folder: Path, pool: int, *, votes: bool) -> tuple[Columns, Callable[[], Iterable[JudgedCompletion]]]:
    """The columns of the judged.jsonl of ``folder``, and where its judged completions can be read again.

    Lines are in order in every file that `polymode evaluate` wrote; those of another order, as of files that somebody
    put together, and those of 0.1.0 are held in memory.

    Raises:
        RunIncompleteError: there is no judged.jsonl.
        RecordError: it is damaged, or of a newer schema; names file, line and field.
    """
    try:
        parts = [columns_of(part, pool, votes=votes) for part in _parts(folder)]
    except _OutOfOrder:
        judged = ordered(list(_completions(folder)), lambda one: one.id)
        if any(one.schema == 0 for one in judged):
            judged = completed(judged, folder, pool)
        return columns_of(judged, pool, votes=votes), lambda: judged
    columns = join(parts) if parts else columns_of([], pool, votes=votes)
    return columns, lambda: _completions(folder)


def _completions(folder: Path) -> Iterator[JudgedCompletion]:
    lines = runs.judged_lines(folder / runs.JUDGED)
    for line in tqdm(lines, desc="reading judged.jsonl", unit=" completions", delay=SHOW_AFTER, leave=False):
        yield line.judged


def _parts(folder: Path) -> Iterator[list[JudgedCompletion]]:
    """Whole questions, ``BATCH`` completions or somewhat more in each."""
    part: list[JudgedCompletion] = []
    finished: set[str] = set()
    for one in _completions(folder):
        last = part[-1] if part else None
        if one.schema == 0 or one.id in finished or (last and last.id == one.id and last.sample >= one.sample):
            raise _OutOfOrder
        if last is not None and last.id != one.id:
            finished.add(last.id)
            if len(part) >= BATCH:
                yield part
                part = []
        part.append(one)
    if part:
        yield part
