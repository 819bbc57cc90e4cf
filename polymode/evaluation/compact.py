"""Judged answer sets in little memory: columns of few different values as codes, read a part at a time (layer L4).

A column of millions of answers holds few different numbers: 0 and 1, the confidences of a grid, small counts. It is a
table of these values and one or two bytes an item; a column with one value takes no room, and one with more than
`MAX_VALUES` is held as it is. What is read is the value that was added, to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from polymode.metrics.table import ANSWER_COLUMNS, SET_COLUMNS, Ints, JudgedTable, slots_of

MAX_VALUES = 1 << 16
_PENDING = 256
"""Pieces of a column that wait to be joined, so that many small ones do not fill the memory."""
Places = slice | Ints


class Column:
    """Items of one type, which are added piece by piece and then read anywhere."""

    def __init__(self) -> None:
        self.size, self._type = 0, np.dtype(float)
        self._values: np.ndarray | None = None
        """Different values in the order of appearance; None once there are too many: then items stand as they are."""
        self._sorted: np.ndarray = np.empty(0)
        self._code_of: np.ndarray = np.empty(0, dtype=np.uint16)
        self._pieces: list[np.ndarray] = []
        self._blocks: list[np.ndarray] = []

    def add(self, items: np.ndarray) -> None:
        """Add a piece."""
        if not self.size:
            self._type = items.dtype
        if not len(items):
            return
        if self._values is not None or not self.size:
            self._add_values(np.unique(items))
        start, self.size = self.size, self.size + len(items)
        if self._values is None:
            self._append(items)
        elif len(self._values) > 1:
            if start and not self._pieces and not self._blocks:  # until now there was one value
                self._append(np.zeros(start, dtype=np.uint8))
            codes = self._code_of[np.searchsorted(self._sorted, items)]
            self._append(codes.astype(np.uint8) if len(self._values) <= 256 else codes)

    def read(self, places: Places) -> np.ndarray:
        """The items at some places."""
        stored = self._stored()
        if self._values is None:
            return np.empty(0, self._type) if stored is None else stored[places]
        if stored is None:
            size = len(range(*places.indices(self.size))) if isinstance(places, slice) else len(places)
            return np.full(size, self._values[0])
        return self._values[stored[places]]

    def _add_values(self, new: np.ndarray) -> None:
        values = new[:0] if self._values is None else self._values
        place = np.searchsorted(self._sorted[: len(values)], new)
        if len(values):
            same = self._sorted[np.minimum(place, len(values) - 1)]
            is_new = ~((same == new) | ((same != same) & (new != new)))  # NaN is one value
            if not is_new.any():
                return
            new, place = new[is_new], place[is_new]
        if len(values) + len(new) > MAX_VALUES:
            self._decode()
            return
        # Both are in order, so the new ones are put between the old; sorting all of them for every piece takes seconds.
        codes = np.arange(len(values), len(values) + len(new)).astype(np.uint16)
        self._code_of = np.insert(self._code_of[: len(values)], place, codes)
        self._sorted = np.insert(self._sorted[: len(values)].astype(new.dtype), place, new)
        self._values = np.concatenate([values, new]) if len(values) else new

    def _decode(self) -> None:
        """Hold the items as they are from now on."""
        items = self.read(slice(None)) if self.size else None
        self._values, self._pieces, self._blocks = None, [], []
        if items is not None:
            self._append(items)

    def _append(self, piece: np.ndarray) -> None:
        self._pieces.append(piece)
        if len(self._pieces) >= _PENDING:
            self._blocks.append(np.concatenate(self._pieces))
            self._pieces = []

    def _stored(self) -> np.ndarray | None:
        """Codes or items in one piece; None where there are none, or all are equal."""
        if len(self._pieces) + len(self._blocks) > 1:
            self._blocks, self._pieces = [np.concatenate([*self._blocks, *self._pieces])], []
        stored = self._blocks or self._pieces
        return stored[0] if stored else None


class NamedColumns:
    """Named columns of equal length, of which some may be absent in some pieces, or in all."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}
        self._is_present: set[str] = set()

    def add(self, values: Mapping[str, np.ndarray | None], absent: Mapping[str, Any]) -> None:
        """Add a piece; a column that is None there has the value that ``absent`` names, or each of them."""
        for name, items in values.items():
            if items is not None:
                self._is_present.add(name)
            else:
                items = absent[name]
            self.columns.setdefault(name, Column()).add(items)

    def read(self, places: Places) -> dict[str, Any]:
        """The items at some places by column; None where a column was never there."""
        return {name: one.read(places) if name in self._is_present else None for name, one in self.columns.items()}


class CompactTable:
    """A `JudgedTable` of many questions, to which those of some more are added."""

    def __init__(self) -> None:
        self.n_questions = 0
        self._sets, self._answers = NamedColumns(), NamedColumns()
        self._n_sets_P, self._size_N = Column(), Column()
        self._starts: tuple[Ints, Ints] | None = None

    def add(self, table: JudgedTable) -> None:
        """Add the sets of further questions, whose answers are numbered by slot."""
        n_sets, n_answers = table.n_sets, len(table.y)
        absent = {name: np.full(n_sets, np.nan) for name in ("by_ast", "by_behaviour")}
        absent["is_complete"] = np.zeros(n_sets, dtype=bool)
        self._sets.add({name: getattr(table, name) for name in SET_COLUMNS if name != "question"}, absent)
        answers = {name: getattr(table, name) for name in ANSWER_COLUMNS if name not in ("owner", "slot")}
        self._answers.add(answers, {"soft_labels": table.y})  # of a target that is the verdict, the label is the hit
        self._n_sets_P.add(np.bincount(table.question, minlength=table.n_questions))
        self._size_N.add(np.bincount(table.owner, minlength=n_sets) if n_answers else np.zeros(n_sets, dtype=np.int64))
        self.n_questions += table.n_questions
        self._starts = None

    def start_P(self) -> tuple[Ints, Ints]:
        """Where the sets, and the answers, of each question begin, and the end of the last; both (P + 1,)."""
        if self._starts is None:
            first_N = _starts(self._size_N.read(slice(None)))
            first_P = _starts(self._n_sets_P.read(slice(None)))
            self._starts = first_P, first_N[first_P]
        return self._starts

    def table(self, places: Places, n_unscored: int = 0) -> JudgedTable:
        """The sets of some questions: a range of them, or those at ``places``, rising; they are numbered anew."""
        starts = self.start_P()
        if isinstance(places, slice):
            first, end, _ = places.indices(self.n_questions)
            sets, answers = (slice(int(start[first]), int(start[end])) for start in starts)
            n_questions = end - first
        else:
            sets, answers = (_ranges(start[places], start[places + 1] - start[places]) for start in starts)
            n_questions = len(places)
        n_sets_P, size_N = self._n_sets_P.read(places).astype(np.int64), self._size_N.read(sets).astype(np.int64)
        return JudgedTable(
            n_questions=n_questions,
            n_unscored=n_unscored,
            question=np.repeat(np.arange(n_questions), n_sets_P),
            owner=np.repeat(np.arange(len(size_N)), size_N),
            slot=slots_of(size_N),
            **self._sets.read(sets),
            **self._answers.read(answers),
        )


def _starts(size_N: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(size_N, dtype=np.int64)])


def _ranges(start_N: Ints, size_N: Ints) -> Ints:
    """The whole numbers of several ranges, one after the other."""
    before_N = np.cumsum(size_N) - size_N
    return np.repeat(start_N - before_N, size_N) + np.arange(int(size_N.sum()))
