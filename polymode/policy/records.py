"""Judged answer sets as arrays, and the quantities that the rules of a policy use (layer L2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polymode.errors import ConfigError, VerifierFault
from polymode.policy.deciding import TOLERANCE, Same, effective_number, equality, ranked_slots
from polymode.policy.policy import Policy
from polymode.policy.recalibration import Recalibration

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class JudgedSet(NamedTuple):
    """One answer set of the calibration file; a question gives at most one."""

    is_clean: bool
    texts: Sequence[str]
    confidences: Sequence[float]
    right: Sequence[bool]
    """Per answer, whether it is right. An answer that no verifier could judge counts as not right, because a
    guarantee must also hold for questions that nobody can judge."""


@dataclass(frozen=True, eq=False)
class Records:
    """Distinct answers of N judged sets, the most confident first, as `decide` ranks them."""

    q: Floats
    """Stated confidences (N, K), NaN after the last answer and for sets that cannot be used."""
    right: Bools
    """Whether the answer is right (N, K); False where there is none."""

    @property
    def k(self) -> int:
        """Answers requested."""
        return self.q.shape[1]

    @classmethod
    def of(
        cls, sets: Iterable[JudgedSet], k: int, *, policy_equality: str = "text", same: Same | None = None
    ) -> Records:
        """Records of judged sets of up to ``k`` answers; ``same`` instead of the policy's equality, as in `decide`."""
        rows = list(sets)
        q, right = np.full((len(rows), k), np.nan), np.zeros((len(rows), k), dtype=bool)
        is_same = same or equality(policy_equality)
        for row, judged in enumerate(rows):
            if not judged.is_clean or not judged.texts:
                continue
            try:
                slots = ranked_slots(judged.texts, judged.confidences, is_same)
            except VerifierFault:
                continue
            q[row, : len(slots)] = [judged.confidences[slot] for slot in slots]
            right[row, : len(slots)] = [judged.right[slot] for slot in slots]
        return cls(q, right)

    def __len__(self) -> int:
        return len(self.q)

    def at(self, rows: NDArray[Any]) -> Records:
        """The records with these numbers."""
        return Records(self.q[rows], self.right[rows])

    def answers(self) -> tuple[Floats, Floats]:
        """Confidence and label, 0 or 1, of every distinct answer of the usable sets, shape (n,) each."""
        is_answer = ~np.isnan(self.q)
        return self.q[is_answer], self.right[is_answer].astype(float)


@dataclass(frozen=True, eq=False)
class View:
    """The quantities that the rules of one policy use; shapes (N,) unless stated otherwise."""

    eligible: Bools
    """The set can be used and neither ``abstain_below`` nor ``max_effective`` applies."""
    top: Floats
    """Highest confidence; 0 where there is none."""
    mass: Floats
    """Mass of the first 1..K answers (N, K), constant after the last answer."""
    top_is_right: Bools
    first_right: Ints
    """Rank of the first right answer from 0, the largest size of a set where none is right."""

    @classmethod
    def of(cls, records: Records, policy: Policy) -> View:
        """Everything but the thresholds ``answer_at`` and ``offer_at``."""
        if policy.k is not None and policy.k != records.k:
            raise ConfigError(f"k = {records.k} of the records is not the policy's {policy.k}")
        q = recalibrated(records.q, policy.recalibration)
        usable = ~np.isnan(records.q).all(axis=1)
        mass = np.cumsum(np.nan_to_num(q), axis=1)
        eligible = usable & (mass[:, -1] >= policy.abstain_below - TOLERANCE)
        if policy.max_effective is not None:
            spread = np.array([effective_number(row[~np.isnan(row)].tolist()) for row in q])
            eligible &= ~(spread > policy.max_effective + TOLERANCE)
        none = ~records.right.any(axis=1)
        first = np.where(none, records.right.shape[1], records.right.argmax(axis=1)).astype(np.int64)
        return cls(eligible, np.nan_to_num(q[:, 0]), mass, records.right[:, 0], first)

    def answered(self, threshold: float | None) -> Bools:
        """Sets that get ANSWER."""
        if threshold is None:
            return np.zeros(len(self.top), dtype=bool)
        return self.eligible & (self.top >= threshold - TOLERANCE)

    def offered(self, threshold: float, *, offer_all: bool) -> tuple[Bools, Ints]:
        """Sets that reach ``offer_at`` (all eligible ones with ``offer_all``), and how many answers they offer."""
        reached = self.mass >= threshold - TOLERANCE
        has_reached = reached[:, -1]
        size: Ints = np.where(has_reached, reached.argmax(axis=1) + 1, self.mass.shape[1])
        return self.eligible & (has_reached | offer_all), size


def recalibrated(q: Floats, map_: Recalibration | None) -> Floats:
    """``q`` with the map applied to every number; NaN stays."""
    if map_ is None:
        return q
    values, where = np.unique(q, return_inverse=True)
    return np.array([map_(x) if x == x else x for x in values.tolist()])[where].reshape(q.shape)
