"""Statistics of many questions as sums of clusters, from some questions at a time.

Of more than `MAX_CLUSTERS` questions random groups are resampled, so all that resamples need is the sums of each group:
a matrix whose size does not depend on the number of questions. It is filled group by group, each from the statistics
of its own questions. What an interval needs of every question is held besides: two numbers of each share. Axes: ``_P``
question, ``_C`` cluster, ``_S`` column of sums.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from polymode.uncertainty.statistics import Array, Items, Statistic, SumStatistic

Key = TypeVar("Key", bound=Hashable)
MAX_CLUSTERS = 16_384
"""Questions that are resampled one by one; more of them in so many random groups. The standard error that G groups give
has itself the relative error sqrt(1 / 2G), 0.6%, beside 2.2% from 1,000 replicates."""


def spans(size_N: Array, most: int) -> Iterator[tuple[int, int]]:
    """First and end of the pieces of a row, at least one: of at most ``most`` items, or of one place that has more."""
    end_N, first, end = np.cumsum(size_N), 0, -1
    while end < len(end_N):
        before = end_N[first - 1] if first else 0
        end = min(max(int(np.searchsorted(end_N, before + most, side="right")), first + 1), len(end_N))
        yield first, end
        first = end


class Block(NamedTuple):
    """Some clusters, and their questions."""

    questions: Array
    """Numbers, rising."""
    place_P: Array | None
    """Where each of them stands among ``questions``, cluster by cluster; None where each is a cluster by itself."""
    start_C: Array
    """Of each cluster among these places."""
    is_whole: bool
    """Whether these are all questions."""

    def sums(self, x_P: Array) -> Array:
        """Sums over the questions of each cluster, of an array (P,) or (P, S)."""
        return x_P if self.place_P is None else np.add.reduceat(x_P[self.place_P], self.start_C, axis=0)


class Clusters:
    """What is drawn: each question by itself, or random groups of questions whose sizes differ by at most one."""

    def __init__(self, n_questions: int, rng: np.random.Generator) -> None:
        self.n_questions, self.n = n_questions, min(n_questions, MAX_CLUSTERS)
        self._order_P = rng.permutation(n_questions) if n_questions > self.n else None
        self._start_C = np.arange(self.n) * n_questions // max(self.n, 1)

    @property
    def whole(self) -> Block:
        """All of them."""
        return Block(np.arange(self.n_questions), self._order_P, self._start_C, is_whole=True)

    def blocks(self, size_P: Array, most: int) -> Iterator[Block]:
        """Blocks of `spans` of clusters, whose questions have ``size_P`` items; without questions, one empty block."""
        for first, end in spans(self.whole.sums(size_P), most):
            start, stop = (int(self._start_C[c]) if c < self.n else self.n_questions for c in (first, end))
            if self._order_P is None:
                yield Block(np.arange(first, end), None, np.arange(end - first), end - first == self.n)
            else:
                members = self._order_P[start:stop]
                questions = np.sort(members)
                starts = self._start_C[first:end] - start
                yield Block(questions, np.searchsorted(questions, members), starts, len(questions) == self.n_questions)

    def of_questions(self, weight_C: Array) -> Array:
        """The weight of each question: that of its cluster."""
        if self._order_P is None:
            return weight_C
        weight_P = np.empty(len(self._order_P))
        weight_P[self._order_P] = np.repeat(weight_C, np.diff(self._start_C, append=len(weight_P)))
        return weight_P


class Reduced(NamedTuple, Generic[Key]):
    """Statistics, and the sums of clusters that their values on resamples are computed from."""

    statistics: Mapping[Key, Statistic]
    sums_C_S: Array
    places: Mapping[Key, Sequence[int | slice]]
    """The columns of each statistic's sums."""
    own_C_S: Array
    """Of products of a question's sums with each other."""
    own_places: Mapping[Key, Sequence[int | slice]]


def reduce_parts(parts: Iterable[tuple[Block, Mapping[Key, Statistic]]], clusters: Clusters) -> Reduced[Key]:
    """Reduce the statistics of blocks, which together are all clusters in order.

    The statistics of the same name must have the same columns in every block. Those that come back hold what an
    interval needs: n, how many questions support them, and of shares the sums of every question.
    """
    joined: dict[Key, _Joined] = {}
    sums, own = _Stack[Key](clusters.n), _Stack[Key](clusters.n)
    for block, statistics in parts:
        sums.begin(block)
        own.begin(block)
        for name, s in statistics.items():
            joined.setdefault(name, _Joined(clusters.n_questions)).add(block, s)
            if isinstance(s, SumStatistic):
                for a in s.all_sums:
                    sums.add(name, a)
                for a in s.own_pairs(*s.sums) if s.own_pairs is not None else ():
                    own.add(name, a)
    statistics = {name: one.statistic() for name, one in joined.items()}
    names = [name for name, s in statistics.items() if isinstance(s, SumStatistic) and s.n]
    return Reduced(statistics, *sums.columns(names), *own.columns(names))


@dataclass
class _Joined:
    """One statistic on its way."""

    n_questions: int
    last: Statistic | None = None
    n: int = 0
    counts: list[int] = field(default_factory=list)
    shares: list[Array] = field(default_factory=list)
    items: list[Items] = field(default_factory=list)
    is_whole: bool = False

    def add(self, block: Block, s: Statistic) -> None:
        self.last, self.is_whole = s, block.is_whole
        if block.is_whole:  # as it is
            return
        counts = s.support_counts
        self.n += s.n
        self.counts = [a + b for a, b in zip(self.counts or [0] * len(counts), counts, strict=True)]
        if isinstance(s, SumStatistic):
            for place, a in enumerate(s.sums if s.is_share else ()):
                if len(self.shares) <= place:
                    self.shares.append(np.zeros(self.n_questions, dtype=np.uint8))
                for narrow, wide in ((np.uint8, np.float32), (np.float32, float)):  # the least that holds them exactly
                    if self.shares[place].dtype == narrow and not np.array_equal(a.astype(narrow), a):
                        self.shares[place] = self.shares[place].astype(wide)
                self.shares[place][block.questions] = a
        else:
            if s.items is None:
                raise TypeError("a statistic that is recomputed can be joined where it says of what (items)")
            question_N = block.questions[s.items.question_N].astype(np.int32)
            self.items.append(s.items._replace(question_N=question_N))

    def statistic(self) -> Statistic:
        s = self.last
        assert s is not None
        if self.is_whole:
            return s
        if isinstance(s, SumStatistic):
            return replace(s, sums=tuple(self.shares), n=self.n, support=(), n_supporting=min(self.counts))
        items = Items(*(np.concatenate(arrays) for arrays in zip(*self.items, strict=True)))
        assert s.of_items is not None
        n_supporting = min(self.counts, default=self.n)
        return replace(s, compute=s.of_items(items), n=self.n, support=(), n_supporting=n_supporting, items=items)


class _Stack(Generic[Key]):
    """Sums of clusters side by side, equal arrays once."""

    def __init__(self, n_clusters: int) -> None:
        self._n = n_clusters
        self._rows: dict[Key, list[list[Array]]] = {}
        self._digests: dict[Key, list[list[int]]] = {}
        self._place: dict[Key, int] = {}
        self._sums: dict[Hashable, Array] = {}
        """Of the present block, by the digest of what they are sums of."""
        self._block: Block | None = None

    def begin(self, block: Block) -> None:
        """Add arrays of this block from now on."""
        self._block, self._place, self._sums = block, {}, {}

    def add(self, name: Key, x_P: Array) -> None:
        """Add the next array of a statistic."""
        digest = hash((x_P.shape[1:], x_P.tobytes()))
        if digest not in self._sums:
            assert self._block is not None
            self._sums[digest] = self._block.sums(x_P)
        place = self._place.get(name, 0)
        self._place[name] = place + 1
        rows, digests = self._rows.setdefault(name, []), self._digests.setdefault(name, [])
        if len(rows) <= place:
            rows.append([])
            digests.append([])
        rows[place].append(self._sums[digest])
        digests[place].append(digest)

    def columns(self, names: Iterable[Key]) -> tuple[Array, dict[Key, list[int | slice]]]:
        """The sums of all clusters (C, S), and the columns of each statistic."""
        columns: dict[Hashable, int | slice] = {}
        places: dict[Key, list[int | slice]] = {}
        blocks, width = [np.empty((self._n, 0))], 0
        for name in names:
            places[name] = []
            for rows, digests in zip(self._rows.pop(name, []), self._digests.get(name, []), strict=True):
                key = tuple(digests)
                if key not in columns:
                    block = rows[0] if len(rows) == 1 else np.concatenate(rows)
                    columns[key] = width if block.ndim == 1 else slice(width, width + block.shape[1])
                    width += 1 if block.ndim == 1 else block.shape[1]
                    blocks.append(block)
                places[name].append(columns[key])
        return np.column_stack(blocks), places
