"""The columns of a judged.jsonl, question by question (layer L4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path

from polymode import runs
from polymode.evaluation.columns import ColumnStore, columns_of
from polymode.evaluation.judging import BATCH, batches, ordered
from polymode.evaluation.older import completed
from polymode.progress import progress_bar
from polymode.runs import JudgedCompletion


class _OutOfOrder(Exception):
    """The lines are not in the order question, sample, or lack what follows from all of them."""


def read_columns(
    folder: Path, pool: int, *, votes: bool
) -> tuple[ColumnStore, Callable[[], Iterable[JudgedCompletion]]]:
    """The columns of the judged.jsonl of ``folder``, and where its judged completions can be read again.

    Lines are in order in every file that `polymode evaluate` wrote; those of another order, as of files that somebody
    put together, and those of 0.1.0 are held in memory.

    Raises:
        RunIncompleteError: there is no judged.jsonl.
        RecordError: it is damaged, or of a newer schema; names file, line and field.
    """
    try:
        store = ColumnStore.of(columns_of(part, pool, votes=votes) for part in _parts(folder))
    except _OutOfOrder:
        judged = ordered(list(_completions(folder)), lambda one: one.id)
        if any(one.schema == 0 for one in judged):
            judged = completed(judged, folder, pool)
        return ColumnStore.of([columns_of(judged, pool, votes=votes)]), lambda: judged
    if not store.n_questions:
        store.add(columns_of([], pool, votes=votes))
    return store, lambda: _completions(folder)


def _completions(folder: Path) -> Iterator[JudgedCompletion]:
    lines = runs.judged_lines(folder / runs.JUDGED)
    for line in progress_bar(lines, desc="reading judged.jsonl", unit=" completions"):
        yield line.judged


def _parts(folder: Path) -> Iterator[list[JudgedCompletion]]:
    return ([one for question in batch for one in question] for batch in batches(_questions(folder), BATCH))


def _questions(folder: Path) -> Iterator[list[JudgedCompletion]]:
    finished: set[str] = set()
    for id_, lines in groupby(_completions(folder), key=lambda one: one.id):
        own = list(lines)
        if (
            id_ in finished
            or any(one.schema == 0 for one in own)
            or any(a.sample >= b.sample for a, b in pairwise(own))
        ):
            raise _OutOfOrder
        finished.add(id_)
        yield own
