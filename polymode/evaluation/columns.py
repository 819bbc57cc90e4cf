"""Judged completions as arrays, part by part: all that metrics need of them (layer L4).

The columns of whole questions are computed from their judged completions alone, so those of a large file come from
parts that were judged one by one, or elsewhere, are stored in little memory, and are read part by part again. Axes:
``_P`` questions; the rest as in `JudgedTable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from polymode.evaluation.compact import Column, CompactTable, Places
from polymode.evaluation.sets import completions_table, overlaps_of, pools_table
from polymode.fingerprints import same_question
from polymode.metrics.table import Ints, JudgedTable, Tables
from polymode.runs import JudgedCompletion
from polymode.types import ParseStatus
from polymode.uncertainty import spans

STATUSES = tuple(status.value for status in ParseStatus)
_NUMBER_OF_STATUS = {status: number for number, status in enumerate(STATUSES)}
_ARRAYS = ("overlaps_P_4", "statuses_P_4", "unscored_P_2", "states_P")


@dataclass(frozen=True, eq=False)
class Columns:
    """What metrics are computed from."""

    ids: list[str]
    """_P: of the questions, in order."""
    repeats_P: np.ndarray
    """What each is recognised by, as bytes, equal for one question under several ids; its id where the text is
    unknown."""
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
        np.array([_recognised(first[id_]) for id_ in ids], dtype=bytes),
        completions_table(judged, questions),
        pools_table(judged, questions, pool, votes=votes) if pool else None,
        overlaps_of(judged, questions),
        statuses.reshape(len(ids), len(STATUSES)).astype(np.int32),
        np.stack([np.bincount(question_N[is_N], minlength=len(ids)) for is_N in unscored_N_2.T], axis=1),
        np.bincount(question_N[states_N], minlength=len(ids)) > 0,
    )


def _recognised(one: JudgedCompletion) -> bytes:
    name = same_question(one.question or "") or f"id {one.id}"
    return name.encode("utf-8", "surrogatepass") + b"\1"  # NumPy drops zeros at the end


class ColumnStore:
    """The columns of many questions in little memory (`compact`), read some at a time."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.completions = CompactTable()
        self._pools: CompactTable | None = None
        self._repeats = Column()
        self._arrays: dict[str, list[Column]] = {}

    @classmethod
    def of(cls, parts: Iterable[Columns], ids: list[str] | None = None) -> ColumnStore:
        """Those of several parts, one after the other; no question is in two of them.

        Args:
            parts: in order.
            ids: of all questions, where the parts do not bring them.
        """
        store = cls()
        for part in parts:
            store.add(part)
        if ids is not None:
            store.ids = ids
        return store

    def add(self, part: Columns) -> None:
        """Add further questions."""
        self.ids += part.ids
        self.completions.add(part.completions)
        if part.pools is not None:
            self._pools = CompactTable() if self._pools is None else self._pools
            self._pools.add(part.pools)
        self._repeats.add(part.repeats_P)
        for name in _ARRAYS:
            array = getattr(part, name)
            columns = self._arrays.setdefault(name, [Column() for _ in range(array.shape[1] if array.ndim > 1 else 1)])
            for column, items in zip(columns, array.reshape(len(array), -1).T, strict=True):
                column.add(items)

    @property
    def n_questions(self) -> int:
        """P."""
        return self.completions.n_questions

    @property
    def repeats_P(self) -> np.ndarray:
        """What each question is recognised by."""
        return self._repeats.read(slice(None))

    def n_answers_P(self) -> Ints:
        """Answers of each question."""
        n_P = np.diff(self.completions.start_P()[1])
        return n_P if self._pools is None else n_P + np.diff(self._pools.start_P()[1])

    def array(self, name: str, places: Places = slice(None)) -> np.ndarray:
        """One of the arrays of `Columns` for some questions."""
        columns = [column.read(places) for column in self._arrays[name]]
        return columns[0] if name == "states_P" else np.stack(columns, axis=1)

    def columns(self, places: Places = slice(None)) -> Columns:
        """Those of some questions: a range of them, or places that rise."""
        unscored_P_2 = self.array("unscored_P_2", places)
        n_unscored = unscored_P_2.sum(axis=0, dtype=np.int64).tolist()
        ids = self.ids[places] if isinstance(places, slice) else [self.ids[p] for p in places.tolist()]
        return Columns(
            ids,
            self._repeats.read(places),
            self.completions.table(places, n_unscored[0]),
            None if self._pools is None else self._pools.table(places, n_unscored[1]),
            **{name: self.array(name, places) for name in _ARRAYS},
        )

    def in_order(self, most: int) -> Iterator[Columns]:
        """All questions, so many at a time that they have at most ``most`` answers, but at least one question."""
        return (self.columns(slice(*span)) for span in spans(self.n_answers_P(), most))

    def of_questions(self, places: Ints) -> ColumnStore:
        """The columns of the questions at ``places``, rising."""
        return ColumnStore.of(self.columns(places[n : n + _GATHERED]) for n in range(0, len(places), _GATHERED))


_GATHERED = 16_384
"""Questions that are read at once."""
