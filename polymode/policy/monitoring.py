"""Whether the conditions of a policy's guarantees still hold, watched question by question (layer L2).

Three kinds of evidence, each a test that may be looked at after every question (`polymode.uncertainty.betting`):

- **guarantee**: reviewed questions of the random share, one outcome each, against "at most alpha fail".
- **inputs**: measures of all questions, against "drawn like those of the calibration".
- **confidences**: measures of all answer sets, likewise.

Each test has a part of ``ALARM_RATE``: half of it is shared by the guarantees, half by the measures. So where the
guarantees are true and nothing has changed, at most one in 20 deployments ever raises an alarm, however long it runs,
and however the measures depend on each other. A guarantee that was never true raises one without any change. Each test
has its own limit, instead of one for their average: the ranks of one measure are independent of its own earlier ranks,
but not of those of other measures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polymode.policy.guarantee import Guarantee
from polymode.policy.policy import Policy
from polymode.policy.reference import CONFIDENCES, INPUTS, Reference
from polymode.uncertainty.betting import BettingMartingale, ExchangeabilityTest, RateTest
from polymode.uncertainty.statistics import Array

ALARM_RATE = 0.05
"""Largest share of deployments with true guarantees and without any change that raise an alarm."""
MAX_QUESTIONS = 200_000
"""Questions whose measures are compared; the ranks of later ones would cost more memory and tell hardly more."""
GUARANTEE, QUESTIONS, SETS = "guarantee", "inputs", "confidences"
"""Kinds of evidence."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where one test stands."""

    kind: str
    name: str
    """Group and decision of a guarantee, or a measure."""
    n: int
    """Observations."""
    wealth: float
    peak: float
    """Largest wealth so far; an alarm where it reaches the limit."""
    limit: float
    alarm_at: int | None
    """Number of the question, from 1, with which it reached its limit."""

    @property
    def is_alarm(self) -> bool:
        """Whether the hypothesis is rejected."""
        return self.alarm_at is not None

    @property
    def share_of_limit(self) -> float:
        """Logarithm of the largest wealth as a share of that of the limit; at least 1 where there is an alarm."""
        return math.log(self.peak) / math.log(self.limit)

    @property
    def sentence(self) -> str:
        """What an alarm means, for a person."""
        if self.kind == GUARANTEE:
            return f"the guarantee on {self.name} does not hold any more for the questions that are asked now"
        what = "questions" if self.kind == QUESTIONS else "confidences"
        return f"the {what} are not those of the calibration any more, by their {self.name}"


class _Watch:
    """A test with its limit, and when it was reached."""

    def __init__(self, kind: str, name: str, test: BettingMartingale, limit: float) -> None:
        self.kind, self.name, self.test, self.limit = kind, name, test, limit
        self.alarm_at: int | None = None

    def note(self, wealth_N: Array, rows: Sequence[int], n_before: int) -> None:
        """Remember with which question the limit was reached, of those with these numbers from ``n_before``."""
        reached = np.flatnonzero(wealth_N >= self.limit)
        if self.alarm_at is None and len(reached):
            self.alarm_at = n_before + rows[int(reached[0])] + 1

    def evidence(self) -> Evidence:
        return Evidence(self.kind, self.name, self.test.n, self.test.wealth, self.test.peak, self.limit, self.alarm_at)


class DriftMonitor:
    """Whether questions and confidences are those of the calibration.

    Args:
        reference: of the calibration; None: nothing can be compared.
    """

    def __init__(self, reference: Reference | None) -> None:
        reference = reference or Reference()
        columns = [(QUESTIONS, name, own) for name, own in zip(INPUTS, reference.inputs, strict=False)]
        columns += [(SETS, name, own) for name, own in zip(CONFIDENCES, reference.confidences, strict=False)]
        limit = len(columns) / (ALARM_RATE / 2)
        self._tests = [_Watch(kind, name, ExchangeabilityTest(own), limit) for kind, name, own in columns]
        self.n = 0
        """Questions."""

    def observe(self, measures: Mapping[str, Sequence[Sequence[float]]], u: Sequence[Sequence[float]]) -> None:
        """More questions, in their order.

        Args:
            measures: by kind of evidence, those of each question; empty for a question that has none.
            u: independent uniform numbers of each question, one for each measure of the reference.
        """
        n = max(0, min(len(u), MAX_QUESTIONS - self.n))
        self.n += len(u)
        for kind in (QUESTIONS, SETS):
            own = [(number, one) for number, one in enumerate(self._tests) if one.kind == kind]
            rows = [i for i in range(n) if kind in measures and len(measures[kind][i])]
            for place, (number, one) in enumerate(own):
                assert isinstance(one.test, ExchangeabilityTest)
                values, own_u = [measures[kind][i][place] for i in rows], [u[i][number] for i in rows]
                one.note(one.test.observe(values, own_u), rows, self.n - len(u))

    @property
    def n_measures(self) -> int:
        """How many numbers ``u`` holds."""
        return len(self._tests)

    def evidence(self) -> list[Evidence]:
        """Where each measure stands."""
        return [one.evidence() for one in self._tests]


class GuaranteeMonitor:
    """Whether the guarantees of a policy hold for the questions of the random share.

    Args:
        policy: with guarantees; without any nothing is tested.
    """

    def __init__(self, policy: Policy) -> None:
        promises = policy.promises
        limit = len(promises) / (ALARM_RATE / 2)
        self._tests = {
            (group, one.decision): _Watch(GUARANTEE, name_of(group, one), RateTest(one.alpha), limit)
            for group, one in promises
        }

    def observe(self, question: int, group: str, decision: str, has_failed: bool) -> None:
        """One more reviewed question that a guarantee covers; others are left out.

        Args:
            question: its number among all questions, from 0.
            group: of the question; empty for a policy without groups.
            decision: answer or offer_set.
            has_failed: whether nothing of what is promised about is right: of what was shown; for a conformal
                guarantee, which speaks about single calibrations only by the set of all answers, of all of them.
        """
        if (one := self._tests.get((group, decision))) is not None:
            assert isinstance(one.test, RateTest)
            one.note(one.test.observe([has_failed]), [question], 0)

    def evidence(self) -> list[Evidence]:
        """Where each guarantee stands."""
        return [one.evidence() for one in self._tests.values()]


def name_of(group: str, guarantee: Guarantee) -> str:
    """A guarantee in a few words."""
    what = {"answer": "single answers", "offer_set": "offered sets"}[guarantee.decision]
    return f"{what} of {group}" if group else what
