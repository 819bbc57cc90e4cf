"""From a judged.jsonl to a policy that knows what it was fitted on (layer L4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.calibrate.reading import Judged, read_judged
from polymode.calibrate.recorded import evaluated_pool, recorded_conditions
from polymode.policy import Conditions, Guarantee, Policy
from polymode.policy.calibration import Calibration
from polymode.policy.deciding import Same
from polymode.policy.fitting import fit_policy
from polymode.policy.inputs import ALPHA, LEAST
from polymode.policy.policy import DIGITS
from polymode.policy.thresholds import upper_limit


def calibrate(
    path: Path | str,
    calibration: Calibration,
    *,
    rules: Policy | None = None,
    by: str = "",
    groups: Mapping[str, Mapping[str, Any]] | None = None,
    same: Same | None = None,
    date: str = "",
    conditions: Conditions | None = None,
    pool: int | None = None,
) -> tuple[Policy, Judged]:
    """The policy that `fit_policy` finds for a judged.jsonl, or the folder that holds one.

    Args:
        path: file or run folder.
        calibration: what is promised.
        rules: further rules of the policy.
        by: field by which questions are told apart: ``risk``, or another of their ``meta``.
        groups: what differs in single groups, as for `fit_policy`.
        same: equality of answers, instead of that of ``rules``; then give it to `decide` too.
        date: kept in the guarantee.
        conditions: what the completions were sampled with, where the run folder does not record it.
        pool: samples of a question that make one set, as in service; by default as the evaluation pooled them.

    Raises:
        DataNotFoundError: no judged.jsonl.
        RecordError, ConfigError: as `read_judged` and `fit_policy`.
    """
    path = runs.judged_path(path)
    pool = evaluated_pool(path) if pool is None else pool
    rules = rules or Policy()
    judged = read_judged(path, equality=rules.equality, same=same, by=by, pool=pool)
    policy = fit_policy(
        judged.records,
        calibration,
        rules=rules,
        by=by,
        labels=judged.labels,
        groups=groups,
        n_unscored=judged.n_unscored,
        n_repeats=judged.n_repeats,
        fingerprint=runs.fingerprint(path),
        date=date,
    )
    recorded = recorded_conditions(path, conditions, judged.records)
    recorded = recorded and replace(recorded, pool=max(pool, recorded.pool))
    questions = "".join(sorted({digest[:DIGITS] for digest in judged.questions if digest}))
    return replace(policy, conditions=recorded, questions=questions), judged


def summary(policy: Policy, judged: Judged) -> str:
    """What was promised and on how much it rests, as text."""
    lines = ["; ".join(notes_on(judged)), *warnings_on(judged)]
    for name, part in (policy.groups or {"": policy}).items():
        for guarantee in part.guarantees:
            lines += _lines(name, guarantee)
        if part.note:
            lines.append(f"{f'{policy.by} = {name}: ' if name else ''}not promised: {part.note}")
        if name and not part.guarantees:
            lines.append(f"  every question with {policy.by} = {name} is escalated")
    if (inputs := policy.inputs) is not None:
        most = upper_limit(inputs.n_alarms, inputs.n_tested, 0.05)
        lines.append(
            f"input check: {inputs.n_alarms:,} of {inputs.n_tested:,} calibration questions with no part in it are "
            f"taken for others (at most {most:.1%} with probability 0.95); the limit is set for {ALPHA:.0%}"
        )
    elif policy.conditions is not None:
        lines.append(
            f"note: there is no input check, which needs the texts of {LEAST:,} different questions: questions of "
            "another kind are decided like those of the calibration"
        )
    if policy.conditions is None:
        lines.append(
            "note: the run folder does not record what made the completions, so answer and serve will claim no "
            "guarantee: generate again, or name the model with --model"
        )
    return "\n".join(lines)


def notes_on(judged: Judged) -> list[str]:
    """What was read, and what was left out of it."""
    return [
        f"{len(judged.records):,} questions, sets of {judged.records.k}"
        + (f", each pooled from {judged.pool} completions" if judged.pool > 1 else ""),
        *([f"{judged.n_left_out:,} further samples left out"] if judged.n_left_out else []),
        *(
            [f"{judged.n_not_random:,} reviews left out: their questions were escalated, not drawn at random"]
            if judged.n_not_random
            else []
        ),
        *([f"{judged.n_repeats:,} ids left out: their questions stand under others"] if judged.n_repeats else []),
        *([f"{judged.n_unusable:,} completions that cannot be used"] if judged.n_unusable else []),
        *([f"{judged.n_unscored:,} with an unscored answer, which counts as not right"] if judged.n_unscored else []),
    ]


def warnings_on(judged: Judged) -> list[str]:
    """What may make the questions fewer than they seem."""
    lines = []
    if judged.n_repeats is None:
        lines.append(
            "warning: some lines have no fingerprint of their question, so repeats under other ids count as further "
            "questions, and delta does not hold if there are any: give the completions their field question, and judge "
            "again with polymode evaluate"
        )
    if judged.near:
        a, b = judged.near[0]
        n = len(judged.near)
        lines.append(
            f"warning: {n:,} {'pair of questions is' if n == 1 else 'pairs of questions are'} nearly the same, for "
            f"example {a!r} and {b!r}: where both are one question, delete the lines of one from judged.jsonl and "
            "calibrate again, since each repeat makes the guarantee weaker than stated"
        )
    return lines


def _lines(group: str, guarantee: Guarantee) -> list[str]:
    name = {"answer": "answer_at", "offer_set": "offer_at"}[guarantee.decision]
    share, rate = guarantee.n_shown / guarantee.n, guarantee.n_failed / guarantee.n_shown
    limit = "upper limit" if guarantee.method == "learn-then-test" else "upper limit with all answers"
    return [
        f"{f'{group}: ' if group else ''}{name} = {guarantee.threshold:g}: {guarantee.n_shown:,} of {guarantee.n:,} "
        f"tested questions ({share:.1%}) get {guarantee.decision.upper()}, {guarantee.n_failed:,} of them ({rate:.1%}) "
        f"without anything right, {limit} {guarantee.bound:.1%}",
        f"  {guarantee.statement}",
    ]
