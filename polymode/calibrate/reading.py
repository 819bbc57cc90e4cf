"""judged.jsonl as records, one per question (layer L4).

A question gives one record, its first sample or the first samples pooled: samples of one question are not independent,
and what is promised is a rate over questions. The same question under other ids is one question, told by its
fingerprint.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from polymode import runs
from polymode.errors import ConfigError, RecordError, VerifierFault
from polymode.fingerprints import near_repeats, same_question
from polymode.policy.deciding import Same
from polymode.policy.deciding import equality as equality_of
from polymode.policy.policy import DIGITS, group_name
from polymode.policy.pooling import check_pool, pool_answers
from polymode.policy.records import JudgedSet, Records
from polymode.runs import JudgedCompletion
from polymode.types import ParseStatus, Verdict

MAX_GROUPS = 50
"""Most values of a field that are worth a policy each; more are rather an identity."""


class _Line(NamedTuple):
    """A judged completion and where it stands."""

    one: JudgedCompletion
    where: str


@dataclass(frozen=True, eq=False)
class Judged:
    """What a judged.jsonl holds for a calibration."""

    records: Records
    n_left_out: int
    """Further samples of questions that have a record already."""
    n_unusable: int
    """Records without a CLEAN completion."""
    n_unscored: int
    """Records with an answer that no verifier could judge."""
    n_repeats: int | None = None
    """Ids that were left out, as their question stands under another; None where lines have no fingerprint."""
    near: tuple[tuple[str, str], ...] = ()
    """Ids of questions that are nearly the same."""
    pool: int = 1
    """Samples that make one record."""
    labels: tuple[str, ...] = ()
    """Group of each record, where they are told apart."""
    n_not_random: int = 0
    """Lines of a review queue that were left out, because their questions were no random ones."""
    questions: tuple[str, ...] = ()
    """Digest of each record's question, "" where its line has no fingerprint."""

    def without(self, digests: Collection[str]) -> Judged:
        """Without the records whose question's digest begins with one of these."""
        rows = [i for i, one in enumerate(self.questions) if not one or one[:DIGITS] not in digests]
        labels = tuple(self.labels[i] for i in rows) if self.labels else ()
        questions = tuple(self.questions[i] for i in rows)
        return replace(self, records=self.records.at(np.array(rows, dtype=int)), labels=labels, questions=questions)


def read_judged(path: Path, *, equality: str = "text", same: Same | None = None, by: str = "", pool: int = 1) -> Judged:
    """Records of a judged.jsonl, the lowest sample of each question, or its ``pool`` lowest ones pooled.

    Args:
        path: the file.
        equality: of answers, by the name that policies use.
        same: equality of answers, instead.
        by: field of ``meta`` by which questions are told apart; empty: they are not.
        pool: samples that make one record (`polymode.policy.pooling`).

    Raises:
        RecordError: a line cannot be used, sets of several K, or missing confidences; no answer could be judged; all
            questions were escalated.
        ConfigError: a question lacks the field ``by``, or it has more than ``MAX_GROUPS`` values; one has fewer samples
            than ``pool``.
    """
    lowest: dict[str, list[_Line]] = {}
    k, n_lines, n_not_random = None, 0, 0
    for number, _, one in runs.judged_lines(path):
        where = f"{path}, line {number}"
        if one.origin == "escalated":  # chosen by what the policy decided: their rate of failures is not that of all
            n_not_random += 1
            continue
        n_lines += 1
        if one.k is None:
            raise RecordError(f"{where}: k is missing; judge again with polymode evaluate")
        if k is not None and one.k != k:
            raise RecordError(f"{where}: k = {one.k}, lines before it have k = {k}; calibrate one K at a time")
        k = one.k
        own = lowest.setdefault(one.id, [])
        if len(own) < check_pool(pool) or one.sample < own[-1].one.sample:
            own.append(_Line(one, where))
            own.sort(key=lambda line: line.one.sample)
            del own[pool:]
    if k is None and n_not_random:
        raise RecordError(
            f"{path}: all {n_not_random:,} questions were escalated, and are no sample of those that are asked: let a "
            "random share of all questions be reviewed (polymode serve --review-share), and calibrate on that"
        )
    if k is None:
        raise RecordError(f"{path} holds no record: judge some completions first (polymode evaluate)")
    read = [line.one for own in lowest.values() for line in own]
    if {verdict for one in read for verdict in one.verdicts} == {Verdict.UNSCORED.value}:
        reason = next(fault for one in read for fault in one.faults or ("no reason is recorded",))
        raise RecordError(
            f"{path}: no answer of its {len(lowest):,} questions could be judged (the first: {reason}): put that "
            "right, and judge again with polymode evaluate"
        )
    questions: dict[tuple[str, bool], list[_Line]] = {}
    for id_, own in lowest.items():
        if len(own) < pool:
            raise ConfigError(
                f"pool = {pool} is too large: question {id_!r} has {len(own)} samples; generate with --samples {pool}"
            )
        name = own[0].one.question
        questions.setdefault((same_question(name), True) if name else (id_, False), own)
    has_fingerprints = all(is_text for _, is_text in questions)
    lines = [own[0].one for own in questions.values()]
    is_same = same or equality_of(equality)
    sets = [_pooled([_judged_set(*line, k) for line in own], k, is_same) for own in questions.values()]
    return Judged(
        records=Records.of(sets, k, policy_equality=equality, same=same),
        n_left_out=n_lines - len(lowest) * pool,
        n_unusable=sum(not judged.is_clean for judged in sets),
        n_unscored=sum(not all(line.one.is_scored for line in own) for own in questions.values()),
        n_repeats=len(lowest) - len(questions) if has_fingerprints else None,
        pool=pool,
        near=tuple((lines[a].id, lines[b].id) for a, b in near_repeats([one.question or "" for one in lines])),
        labels=_labels(lines, by) if by else (),
        n_not_random=n_not_random,
        questions=tuple(name if is_text else "" for name, is_text in questions),
    )


def _pooled(sets: list[JudgedSet], k: int, same: Same) -> JudgedSet:
    """The samples of a question as one set, as `polymode.policy.pooling.pool_sets` makes it in service."""
    if len(sets) == 1:
        return sets[0]
    usable = [list(zip(one.texts, one.confidences, strict=True)) if one.is_clean else [] for one in sets]
    try:
        answers = pool_answers(usable, k, same)
    except VerifierFault:
        answers = []
    return JudgedSet(
        is_clean=bool(answers),
        texts=[sets[one.completion].texts[one.slot] for one in answers],
        confidences=[one.confidence for one in answers],
        right=[sets[one.completion].right[one.slot] for one in answers],
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
