"""Judged completions as arrays, part by part: all that metrics need of them (layer L4).

The columns of whole questions are computed from their judged completions alone, so those of a large file are joined
from parts that were judged one by one, or elsewhere, and are the same as if they had been judged together. Axes: ``_P``
questions; the rest as in `JudgedTable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from polymode.evaluation.sets import Tables, completions_table, overlaps_of, pools_table
from polymode.fingerprints import same_question
from polymode.metrics.table import ANSWER_COLUMNS, SET_COLUMNS, Ints, JudgedTable
from polymode.runs import JudgedCompletion
from polymode.types import ParseStatus

STATUSES = tuple(status.value for status in ParseStatus)
_NUMBER_OF_STATUS = {status: number for number, status in enumerate(STATUSES)}
_MAY_BE_NONE = {column.name for column in fields(JudgedTable) if column.default is None}
_ARRAYS = ("overlaps_P_4", "statuses_P_4", "unscored_P_2", "states_P")


@dataclass(frozen=True, eq=False)
class Columns:
    """What metrics are computed from."""

    ids: list[str]
    """_P: of the questions, in order."""
    repeats: list[str]
    """_P: what each is recognised by, equal for one question under several ids; its id where the text is unknown."""
    completions: JudgedTable
    """What the model wrote."""
    pools: JudgedTable | None
    """The pooled sets; None where a completion is a set by itself."""
    overlaps_P_4: np.ndarray
    statuses_P_4: np.ndarray
    """Completions of each status, in the order of `STATUSES`."""
    unscored_P_2: np.ndarray
    """Completions, and pooled sets, with an answer that could not be judged."""
    states_P: np.ndarray
    """Whether a completion states a confidence."""

    def tables(self, *, own: bool = False) -> Tables:
        """The answer sets that are compared, the completions, and the answers whose calibration is checked.

        ``own``: pooled answers have confidences of their own (votes, averages), which are checked, each answer once.
        """
        if self.pools is None:
            return Tables(self.completions, self.completions, self.completions)
        return Tables(self.pools, self.completions, self.pools.without_duplicates() if own else self.completions)

    def of_questions(self, places: Ints) -> Columns:
        """The columns of the questions at ``places``, rising."""
        return Columns(
            [self.ids[p] for p in places.tolist()],
            [self.repeats[p] for p in places.tolist()],
            self.completions.of_questions(places, int(self.unscored_P_2[places, 0].sum())),
            None if self.pools is None else self.pools.of_questions(places, int(self.unscored_P_2[places, 1].sum())),
            *(getattr(self, name)[places] for name in _ARRAYS),
        )


def columns_of(judged: Sequence[JudgedCompletion], pool: int, *, votes: bool) -> Columns:
    """The columns of the completions of whole questions.

    Args:
        judged: in the order question, sample; with ``pool`` > 1 the first of each pool holds the pooled set.
        pool: completions that make one set; 0 when a completion is a set by itself.
        votes: the confidence of a pooled answer is its share of the pool.
    """
    first = {one.id: one for one in reversed(judged)}
    ids = list(dict.fromkeys(one.id for one in judged))
    questions = {id_: number for number, id_ in enumerate(ids)}
    question_N = np.array([questions[one.id] for one in judged], dtype=np.int64)
    status_N = np.array([_NUMBER_OF_STATUS[one.status] for one in judged], dtype=np.int64)
    statuses = np.bincount(question_N * len(STATUSES) + status_N, minlength=len(ids) * len(STATUSES))
    states_N = np.array([one.confidences.count(None) < len(one.confidences) for one in judged], dtype=bool)
    unscored = [(not one.is_scored, one.pool is not None and not one.pool.is_scored) for one in judged]
    unscored_N_2 = np.array(unscored, dtype=bool).reshape(-1, 2)
    return Columns(
        ids,
        [same_question(first[id_].question or "") or f"id {id_}" for id_ in ids],
        completions_table(judged, questions),
        pools_table(judged, questions, pool, votes=votes) if pool else None,
        overlaps_of(judged, questions),
        statuses.reshape(len(ids), len(STATUSES)).astype(np.int32),
        np.stack([np.bincount(question_N[is_N], minlength=len(ids)) for is_N in unscored_N_2.T], axis=1),
        np.bincount(question_N[states_N], minlength=len(ids)) > 0,
    )


def join(parts: Iterable[Columns]) -> Columns:
    """The columns of several parts, one after the other; no question is in two of them."""
    ids: list[str] = []
    repeats: list[str] = []
    arrays: dict[str, list[np.ndarray]] = {name: [] for name in _ARRAYS}
    completions, pools = _JoinedTable(), _JoinedTable()
    for part in parts:
        ids += part.ids
        repeats += part.repeats
        completions.add(part.completions)
        if part.pools is not None:
            pools.add(part.pools)
        for name, chunks in arrays.items():
            chunks.append(getattr(part, name))
    return Columns(
        ids,
        repeats,
        completions.table(),
        pools.table() if pools.chunks else None,
        **{name: np.concatenate(chunks) for name, chunks in arrays.items()},
    )


class _JoinedTable:
    """Tables on the way to one. Columns are joined one by one, so that only one is in memory twice."""

    def __init__(self) -> None:
        self.chunks: dict[str, list[Any]] = {}
        self.n_questions = self.n_unscored = self.n_sets = 0

    def add(self, table: JudgedTable) -> None:
        for name in (*SET_COLUMNS, *ANSWER_COLUMNS):
            values = getattr(table, name)
            if name == "question":
                values = values + self.n_questions
            elif name == "owner":
                values = values + self.n_sets
            elif name not in _MAY_BE_NONE and values.dtype == float and np.isnan(values).all():
                values = _Absent(len(values), np.nan)
            elif values is None:
                is_label = name == "soft_labels"  # of a target that is the verdict, the label is the hit
                values = (
                    _Absent(len(table.y), table.y)
                    if is_label
                    else _Absent(table.n_sets, name != "is_complete" and np.nan)
                )
            self.chunks.setdefault(name, []).append(values)
        self.n_questions += table.n_questions
        self.n_unscored += table.n_unscored
        self.n_sets += table.n_sets

    def table(self) -> JudgedTable:
        columns = {name: _concatenated(self.chunks.pop(name), name in _MAY_BE_NONE) for name in list(self.chunks)}
        return JudgedTable(n_questions=self.n_questions, n_unscored=self.n_unscored, **columns)


@dataclass(frozen=True, slots=True)
class _Absent:
    """A column that a part lacks, or in which nothing is known."""

    size: int
    values: Any
    """One for all, or each of them."""


def _concatenated(chunks: list[Any], may_be_none: bool) -> Any:
    if all(isinstance(chunk, _Absent) for chunk in chunks):
        return None if may_be_none else np.broadcast_to(np.nan, sum(chunk.size for chunk in chunks))  # takes no room
    return np.concatenate([np.broadcast_to(c.values, c.size) if isinstance(c, _Absent) else c for c in chunks])
