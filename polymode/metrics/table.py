"""What metrics are computed from: judged answer sets as columns, and checked arrays of a caller (layer L2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polymode.errors import ConfigError, RecordError

Floats = NDArray[Any]
Ints = NDArray[Any]
Bools = NDArray[Any]
DECIMALS = 12
"""Confidences that agree to so many are equal."""


@dataclass(frozen=True, eq=False)
class JudgedTable:
    """Scored answer sets in columns. Axes: ``_P`` questions, ``_N`` sets, ``_A`` answers of all sets.

    Sets stand in the order question, sample; the answers of a set stand together, in slot order. A set with an
    UNSCORED answer is no row: it is counted in ``n_unscored``.
    """

    n_questions: int
    """P."""
    question: Ints
    """_N: index of the question in 0..P-1, not decreasing."""
    k: Ints
    """_N: answers asked for."""
    n_references: Ints
    """_N: N, references of the question."""
    n_tokens: Floats
    """_N: generated tokens; NaN when unknown."""
    best: Floats
    """_N: coverage of the best possible K answers; NaN when unknown."""
    kl: Floats
    """_N: KL(p || q) of the stated confidences; NaN when undefined."""
    total_variation: Floats
    """_N: total variation of the stated confidences; NaN when undefined."""
    owner: Ints
    """_A: index of the answer's set in 0..N-1, not decreasing."""
    slot: Ints
    """_A: 0-based slot within the set."""
    q: Floats
    """_A: confidence in [0, 1]; NaN without one."""
    y: Floats
    """_A: 1 for a new hit, else 0."""
    p: Floats
    """_A: true probability of the label (0 for a duplicate), a soft label itself; NaN when unknown."""
    is_duplicate: Bools
    """_A: equal to an earlier answer of the set."""
    match: Ints
    """_A: index of the matched reference, -1 for none."""
    answer_class: Ints
    """_A: number of the answer's equivalence class, shared by equal answers of all sets of one question."""
    n_unscored: int = 0
    """Sets left out because a verifier failed."""
    by_ast: Floats | None = None
    """_N: right programs that differ in more than names and layout; NaN when unknown, None when answers are no
    programs."""
    by_behaviour: Floats | None = None
    """_N: right programs that differ in what they do, as ``by_ast``."""
    is_complete: Bools | None = None
    """_N: the references are all right answers of the question; None when that is known of none."""
    soft_labels: Floats | None = None
    """_A: labels in [0, 1] of confidences (`labels`), y of a set whose target is the verdict; None where all are."""

    @property
    def n_sets(self) -> int:
        """N, the number of scored sets."""
        return len(self.question)

    @property
    def answer_question(self) -> Ints:
        """_A: index of the answer's question."""
        return self.question[self.owner]

    @property
    def n_answers(self) -> Ints:
        """_N: answers given; 0 for a malformed set."""
        return np.bincount(self.owner, minlength=self.n_sets)

    @property
    def labels(self) -> Floats:
        """_A: what confidences are measured against: y, or where the target is a distribution the soft label."""
        return self.y if self.soft_labels is None else self.soft_labels

    @property
    def hits(self) -> Floats:
        """_N: H, distinct references found."""
        return self.per_set(self.y)

    @property
    def is_well_formed(self) -> Bools:
        """_N: at least one usable answer."""
        return self.n_answers > 0

    @property
    def has_all_confidences(self) -> Bools:
        """_N: the set has answers, and each of them a confidence."""
        return self.is_well_formed & (self.per_set(np.isnan(self.q)) == 0)

    def per_set(self, values: Floats) -> Floats:
        """Sum of ``values`` (A,) over the answers of each set, shape (N,); 0 for a set without answers."""
        return np.bincount(self.owner, weights=values, minlength=self.n_sets).astype(float)

    def rank(self) -> Ints:
        """_A: 0-based place of the answer within its set by falling confidence; ties and no confidence: slot order."""
        order_A = np.lexsort((self.slot, -np.nan_to_num(self.q, nan=-1.0), self.owner))
        first_N = np.cumsum(self.n_answers) - self.n_answers
        rank_A = np.empty(len(order_A), dtype=np.int64)
        rank_A[order_A] = np.arange(len(order_A)) - first_N[self.owner[order_A]]
        return rank_A

    def without_duplicates(self) -> JudgedTable:
        """The same sets with the first of equal answers only."""
        is_first_A = ~self.is_duplicate
        columns = {name: getattr(self, name) for name in ANSWER_COLUMNS}
        return replace(self, **{name: x_A[is_first_A] for name, x_A in columns.items() if x_A is not None})


class Tables(NamedTuple):
    """The answer sets that are compared, the completions, and the answers whose calibration is checked."""

    sets: JudgedTable
    completions: JudgedTable
    answers: JudgedTable


def slots_of(size_N: Ints) -> Ints:
    """_A: the slots of sets that have so many answers."""
    return (np.arange(int(size_N.sum())) - np.repeat(np.cumsum(size_N) - size_N, size_N)).astype(np.int16)


def compress(condition_N: Bools, *columns: Any) -> tuple[Any, ...]:
    """`numpy.compress` of several columns; where the condition always holds, the columns themselves, without a copy."""
    return columns if condition_N.all() else tuple(x_N[condition_N] for x_N in columns)


SET_COLUMNS = (
    *("question", "k", "n_references", "n_tokens", "best", "kl", "total_variation"),
    *("by_ast", "by_behaviour", "is_complete"),
)
"""Columns of sets; the last three may be absent."""
ANSWER_COLUMNS = ("owner", "slot", "q", "y", "p", "is_duplicate", "match", "answer_class", "soft_labels")
"""Columns of answers; the last may be absent."""


def floats(name: str, values: ArrayLike, low: float = -np.inf, high: float = np.inf) -> Floats:
    """The values as a float array, NaN where unknown; raises RecordError for what is no number in low..high."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        problem = f"{values!r:.60} are not numbers in an array; give one number for each item"
        raise RecordError(f"{name}: {problem}") from None
    outside = array[(array < low - 1e-9) | (array > high + 1e-9)]  # a sum of probabilities may miss its limit by that
    if outside.size:
        raise RecordError(f"{name}: {outside[0]:g} is not allowed; give numbers from {low:g} to {high:g}")
    return array


def observations(q_N: ArrayLike, y_N: ArrayLike) -> tuple[Floats, Floats]:
    """Confidences and labels without the pairs in which one is NaN, both (n,).

    A label may be soft: a probability w counts as right w times and as wrong 1 - w times.

    Raises:
        RecordError: confidences or labels outside [0, 1], or arrays that do not belong together.
    """
    q, y = floats("q", q_N, 0, 1), floats("y", y_N, 0, 1)
    if q.shape != y.shape or q.ndim != 1:
        raise RecordError(f"q and y: shapes {q.shape} and {y.shape}; give one label for each confidence, both flat")
    is_defined = ~np.isnan(q + y)
    return q[is_defined], y[is_defined]


def check_count(name: str, value: object) -> None:
    """Refuse a number of bins, answers or completions that is not a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigError(f"{name} = {value!r} is not allowed: use a whole number from 1")
