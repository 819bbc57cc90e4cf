"""A policy held against new labels (layer L4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from polymode import runs
from polymode.calibrate.fit import notes_on, warnings_on
from polymode.calibrate.reading import read_judged
from polymode.calibrate.recorded import recorded_conditions
from polymode.errors import ConfigError
from polymode.policy import Conditions, Policy
from polymode.policy.checking import BROKEN, GuaranteeCheck, check_guarantees


class PolicyCheck(NamedTuple):
    """Every guarantee of a policy against new labels, and what was said about them."""

    checks: list[GuaranteeCheck]
    notes: list[str]

    @property
    def is_broken(self) -> bool:
        """Whether a guarantee is shown not to hold."""
        return any(check.verdict == BROKEN for check in self.checks)

    def __str__(self) -> str:
        return "\n".join([*self.notes, *map(str, self.checks)])


def check_policy(
    policy: Policy, fresh: Path | str, *, delta: float = 0.05, conditions: Conditions | None = None
) -> PolicyCheck:
    """Whether the guarantees of a policy hold on a judged.jsonl that it was not fitted to.

    Args:
        policy: with guarantees.
        fresh: file or run folder, of questions drawn like those that the policy decides on.
        delta: probability that any verdict is wrong, as for `check_guarantees`.
        conditions: what the completions were sampled with, where the run folder does not record it.

    Raises:
        DataNotFoundError: no judged.jsonl.
        ConfigError: the labels, or all of their questions, are those that the policy was fitted to; as
            `check_guarantees`.
        RecordError: as `read_judged`.
    """
    path = runs.judged_path(fresh)
    own = runs.fingerprint(path)
    if any(guarantee.fingerprint == own for _, guarantee in policy.promises):
        raise ConfigError(
            f"{path} is what the policy was calibrated on, and says nothing new about it: judge other questions"
        )
    pool = 1 if policy.conditions is None else policy.conditions.pool
    read = read_judged(path, equality=policy.equality, by=policy.by, pool=pool)
    judged = read.without(policy.known_questions)
    notes = ["; ".join(notes_on(read)), *warnings_on(read)]
    if n_known := len(read.records) - len(judged.records):
        if not len(judged.records):
            raise ConfigError(
                f"{path}: the policy was calibrated on all of its {n_known:,} questions, so it says nothing new about "
                "it: judge other questions"
            )
        notes.append(f"{n_known:,} questions left out: the policy was calibrated on them")
    if not policy.questions:
        notes.append(
            "note: the policy does not record its calibration questions, so they cannot be left out here: see to it "
            "that none of them is among these"
        )
    if policy.conditions is not None:
        now = recorded_conditions(path, conditions)
        differences = list(policy.conditions.differences(now and replace(now, pool=pool)))
        if now is not None and now.verifier != policy.conditions.verifier:
            differences.append("the verifier is another")
        if differences:
            notes.append(f"note: these labels are not of what the policy was calibrated on: {'; '.join(differences)}")
    return PolicyCheck(check_guarantees(policy, judged.records, judged.labels, delta=delta), notes)
