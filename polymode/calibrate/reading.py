"""judged.jsonl as records, one per question (layer L4).

A question gives one record, its first sample: samples of one question are not independent, and what is promised is a
rate over questions. The same question under other ids is one question, told by its fingerprint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from polymode import runs
from polymode.errors import ConfigError, RecordError
from polymode.fingerprints import near_repeats, same_question
from polymode.policy.deciding import Same
from polymode.policy.policy import group_name
from polymode.policy.records import JudgedSet, Records
from polymode.runs import JudgedCompletion
from polymode.types import ParseStatus, Verdict

MAX_GROUPS = 50
"""Most values of a field that are worth a policy each; more are rather an identity."""


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
    n_repeats: int | None = None
    """Ids that were left out, as their question stands under another; None where lines have no fingerprint."""
    near: tuple[tuple[str, str], ...] = ()
    """Ids of questions that are nearly the same."""
    labels: tuple[str, ...] = ()
    """Group of each record, where they are told apart."""


def read_judged(path: Path, *, equality: str = "text", same: Same | None = None, by: str = "") -> Judged:
    """Records of a judged.jsonl, the lowest sample of each question.

    Args:
        path: the file.
        equality: of answers, by the name that policies use.
        same: equality of answers, instead.
        by: field of ``meta`` by which questions are told apart; empty: they are not.

    Raises:
        RecordError: a line cannot be used, sets of several K, or missing confidences; no answer could be judged.
        ConfigError: a question lacks the field ``by``, or it has more than ``MAX_GROUPS`` values.
    """
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
    questions: dict[tuple[str, bool], tuple[JudgedCompletion, str]] = {}
    for one, where in first.values():
        questions.setdefault((same_question(one.question), True) if one.question else (one.id, False), (one, where))
    has_fingerprints = all(is_text for _, is_text in questions)
    lines = [one for one, _ in questions.values()]
    sets = [_judged_set(one, where, k) for one, where in questions.values()]
    return Judged(
        records=Records.of(sets, k, policy_equality=equality, same=same),
        n_left_out=n_lines - len(first),
        n_unusable=sum(not judged.is_clean for judged in sets),
        n_unscored=sum(not one.is_scored for one in lines),
        n_repeats=len(first) - len(questions) if has_fingerprints else None,
        near=tuple((lines[a].id, lines[b].id) for a, b in near_repeats([one.question or "" for one in lines])),
        labels=_labels(lines, by) if by else (),
    )


def _labels(lines: list[JudgedCompletion], by: str) -> tuple[str, ...]:
    for one in lines:
        if by not in (one.meta or {}):
            fields = ", ".join(sorted(one.meta or {})) or "nothing"
            raise ConfigError(
                f"by = {by!r}: question {one.id!r} has no such field in meta; it has {fields}; put it into the data, "
                "or judge again where judged.jsonl is of an older version"
            )
    labels = tuple(group_name((one.meta or {})[by]) for one in lines)
    if len(set(labels)) > MAX_GROUPS:
        raise ConfigError(f"by = {by!r} has more than {MAX_GROUPS} values: choose a field that names a few groups")
    return labels


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
