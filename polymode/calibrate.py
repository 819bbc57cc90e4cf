"""A judged run folder to a policy with a guarantee (layer L4); the mathematics is in `polymode.policy.fitting`.

Only ``judged.jsonl`` is read. A question gives one record, its first sample: samples of one question are not
independent, and what is promised is a rate over questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from polymode import runs
from polymode.errors import RecordError
from polymode.policy import Guarantee, Policy
from polymode.policy.deciding import Same
from polymode.policy.fitting import Calibration, fit_policy
from polymode.policy.records import JudgedSet, Records
from polymode.runs import JudgedCompletion
from polymode.types import ParseStatus, Verdict


@dataclass(frozen=True, eq=False)
class Judged:
    """What a judged.jsonl holds for a calibration."""

    records: Records
    n_left_out: int
    """Further samples of questions that have a record already."""
    n_unusable: int
    """Records whose completion is not CLEAN."""
    n_unscored: int
    """Records with an answer that no verifier could judge."""


def calibrate(
    path: Path | str,
    calibration: Calibration,
    *,
    rules: Policy | None = None,
    same: Same | None = None,
    date: str = "",
) -> tuple[Policy, Judged]:
    """The policy that `fit_policy` finds for a judged.jsonl, or the folder that holds one.

    Args:
        path: file or run folder.
        calibration: what is promised.
        rules: further rules of the policy.
        same: equality of answers, instead of that of ``rules``; then give it to `decide` too.
        date: kept in the guarantee.

    Raises:
        DataNotFoundError: no judged.jsonl.
        RecordError: a line cannot be used, sets of several K, or missing confidences.
        ConfigError: too few records, or no threshold keeps the promise.
    """
    path = runs.judged_path(path)
    rules = rules or Policy()
    judged = read_judged(path, equality=rules.equality, same=same)
    policy = fit_policy(
        judged.records,
        calibration,
        rules=rules,
        n_unscored=judged.n_unscored,
        fingerprint=runs.fingerprint(path),
        date=date,
    )
    return policy, judged


def read_judged(path: Path, *, equality: str = "text", same: Same | None = None) -> Judged:
    """Records of a judged.jsonl, the lowest sample of each question; raises RecordError as `calibrate`."""
    first: dict[str, tuple[JudgedCompletion, str]] = {}
    k, n_lines = None, 0
    for number, _, one in runs.judged_lines(path):
        where = f"{path}, line {number}"
        n_lines += 1
        if one.k is None:
            raise RecordError(f"{where}: k is missing; judge again with polymode evaluate")
        if k is not None and one.k != k:
            raise RecordError(f"{where}: k = {one.k}, lines before it have k = {k}; calibrate one K at a time")
        k = one.k
        if one.id not in first or one.sample < first[one.id][0].sample:
            first[one.id] = one, where
    if k is None:
        raise RecordError(f"{path} holds no record: judge some completions first (polymode evaluate)")
    verdicts = {verdict for one, _ in first.values() for verdict in one.verdicts}
    if verdicts == {Verdict.UNSCORED.value}:
        reason = next(fault for one, _ in first.values() for fault in one.faults or ("no reason is recorded",))
        raise RecordError(
            f"{path}: no answer of its {len(first):,} questions could be judged (the first: {reason}): put that right, "
            "and judge again with polymode evaluate"
        )
    sets = [_judged_set(one, where, k) for one, where in first.values()]
    return Judged(
        records=Records.of(sets, k, policy_equality=equality, same=same),
        n_left_out=n_lines - len(first),
        n_unusable=sum(not judged.is_clean for judged in sets),
        n_unscored=sum(not one.is_scored for one, _ in first.values()),
    )


def summary(policy: Policy, judged: Judged) -> str:
    """What was promised and on how much it rests, as text."""
    notes = [
        f"{len(judged.records):,} questions, sets of {judged.records.k}",
        *([f"{judged.n_left_out:,} further samples left out"] if judged.n_left_out else []),
        *([f"{judged.n_unusable:,} completions that cannot be used"] if judged.n_unusable else []),
        *([f"{judged.n_unscored:,} with an unscored answer, which counts as not right"] if judged.n_unscored else []),
    ]
    return "\n".join(["; ".join(notes), *(line for guarantee in policy.guarantees for line in _lines(guarantee))])


def _lines(guarantee: Guarantee) -> list[str]:
    name = {"answer": "answer_at", "offer_set": "offer_at"}[guarantee.decision]
    share, rate = guarantee.n_shown / guarantee.n, guarantee.n_failed / guarantee.n_shown
    limit = "upper limit" if guarantee.method == "learn-then-test" else "(failures + 1) / (n + 1)"
    return [
        f"{name} = {guarantee.threshold:g}: {guarantee.n_shown:,} of {guarantee.n:,} tested questions ({share:.1%}) "
        f"get {guarantee.decision.upper()}, {guarantee.n_failed:,} of them ({rate:.1%}) without anything right, "
        f"{limit} {guarantee.bound:.1%}",
        f"  {guarantee.statement}",
    ]


def _judged_set(one: JudgedCompletion, where: str, k: int) -> JudgedSet:
    if len(one.answers) > k:
        raise RecordError(f"{where}: {len(one.answers)} answers are more than k = {k}; judge again")
    is_clean = one.status == ParseStatus.CLEAN.value
    q = [confidence for confidence in one.confidences if confidence is not None]
    if is_clean and len(q) != len(one.answers):
        raise RecordError(
            f"{where}: confidences are missing; a policy ranks by them: generate with confidences, or measure them, "
            "and judge again"
        )
    right = [verdict == Verdict.CORRECT.value for verdict in one.verdicts]
    return JudgedSet(is_clean, one.answers, q, right)
