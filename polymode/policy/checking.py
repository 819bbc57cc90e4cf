"""Whether the guarantees of a policy still hold, tested on new labels (layer L2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polymode.errors import ConfigError, share_between
from polymode.policy.guarantee import Guarantee
from polymode.policy.policy import Policy
from polymode.policy.records import Records, View
from polymode.policy.thresholds import upper_limit

HOLDS, BROKEN, OPEN = "holds", "broken", "open"


@dataclass(frozen=True, slots=True)
class GuaranteeCheck:
    """One guarantee, held against new records."""

    group: str
    guarantee: Guarantee
    n: int
    """New records of the group."""
    n_shown: int
    """Of them, those that get the decision."""
    n_failed: int
    """Of these, those where no answer shown is right."""
    low: float
    """Clopper-Pearson limits of the failure rate, each exceeded with probability at most ``delta``."""
    high: float
    delta: float

    @property
    def verdict(self) -> str:
        """``holds`` when the rate is shown to be at most alpha, ``broken`` when above it, else ``open``."""
        if self.high <= self.guarantee.alpha:
            return HOLDS
        return BROKEN if self.low > self.guarantee.alpha else OPEN

    def __str__(self) -> str:
        alpha, sure = self.guarantee.alpha, f"with probability {1 - self.delta:g}"
        counts = f"{self.n_failed:,} of {self.n_shown:,} shown ({self.n:,} new questions) have nothing right"
        ends = {
            HOLDS: f"it holds: the rate is at most {self.high:.1%}, {sure}",
            BROKEN: f"IT IS BROKEN: the rate is at least {self.low:.1%}, {sure}; calibrate again",
            OPEN: f"not decided: the rate may be {self.low:.1%} to {self.high:.1%}; judge more questions",
        }
        name = f"{self.group}, {self.guarantee.decision}" if self.group else self.guarantee.decision
        return f"{name}, at most {alpha:.4g}: {counts}; {ends[self.verdict]}"


def check_guarantees(
    policy: Policy, records: Records, labels: Sequence[str] = (), *, delta: float = 0.05
) -> list[GuaranteeCheck]:
    """Every guarantee of a policy against records that it was not fitted to.

    All verdicts ``broken`` and ``holds`` are right together with probability at least 1 - delta: each of the m has
    delta / m, and is wrong on one side only. A conformal guarantee is about the average of calibrations, and what is
    tested here is this one policy, whose own rate may lie above alpha all the same.

    Args:
        policy: with guarantees.
        records: one per question, drawn like the questions that the policy decides on.
        labels: the group of each record, for a policy with groups.
        delta: probability that any verdict is wrong.

    Raises:
        ConfigError: no guarantee to check, another K, records of a group that the policy does not know, or a delta
            that is not between 0 and 1.
    """
    share_between("delta", delta)
    promises = policy.promises
    if not promises:
        raise ConfigError("the policy has no guarantee to check: make one with polymode calibrate")
    if policy.by and len(labels) != len(records):
        raise ConfigError(f"labels: {len(labels)} are given for {len(records)} records: one each is needed")
    if unknown := sorted(set(labels) - set(policy.groups)) if policy.by else []:
        raise ConfigError(f"{policy.by} = {unknown[0]!r} is not known to the policy: calibrate again with all groups")
    share, out = delta / len(promises), []
    for name, guarantee in promises:
        rules = policy.groups.get(name, policy)
        own = records.at(np.flatnonzero(np.array(labels) == name)) if policy.by else records
        view = View.of(own, rules)
        shown, failed = view.answered(rules.answer_at), ~view.top_is_right
        if guarantee.decision == "offer_set":
            assert rules.offer_at is not None
            offered, size = view.offered(rules.offer_at, offer_all=rules.offer_all)
            shown, failed = offered & ~shown, view.first_right >= size
        n_shown, n_failed = int(shown.sum()), int((shown & failed).sum())
        low = 1 - upper_limit(n_shown - n_failed, n_shown, share) if n_shown else 0.0
        high = upper_limit(n_failed, n_shown, share)
        out.append(GuaranteeCheck(name, guarantee, len(own), n_shown, n_failed, low, high, share))
    return out
