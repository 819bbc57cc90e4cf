"""A judged run folder to a policy with a guarantee (layer L4); the mathematics is in `polymode.policy.fitting`.

Only ``judged.jsonl`` is read. A question gives one record, its first sample: samples of one question are not
independent, and what is promised is a rate over questions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import DataNotFoundError, RecordError
from polymode.policy import Guarantee, Policy
from polymode.policy.deciding import Same
from polymode.policy.fitting import Calibration, fit_policy
from polymode.policy.records import JudgedSet, Records
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
    path = Path(path)
    path = path / runs.JUDGED if path.is_dir() else path
    if not path.is_file():
        raise DataNotFoundError(f"{path} does not exist: check the path, or judge the completions (polymode evaluate)")
    rules = rules or Policy()
    rows = runs.read_jsonl(path)
    judged = read_judged(rows, source=str(path), equality=rules.equality, same=same)
    policy = fit_policy(
        judged.records,
        calibration,
        rules=rules,
        n_unscored=judged.n_unscored,
        fingerprint=hashlib.sha256(path.read_bytes()).hexdigest(),
        date=date,
    )
    return policy, judged


def read_judged(
    rows: Iterable[Mapping[str, Any]], *, source: str = "judged", equality: str = "text", same: Same | None = None
) -> Judged:
    """Records of the lines of a judged.jsonl (`JudgedCompletion.to_row`), the lowest sample of each question.

    Raises:
        RecordError: as `calibrate`.
    """
    first: dict[str, tuple[int, int, Mapping[str, Any]]] = {}
    k, n_rows = None, 0
    for n_rows, row in enumerate(rows, 1):
        where = f"{source}, record {n_rows}"
        id_, sample, own_k = _of_row(row, where)
        if k is not None and own_k != k:
            raise RecordError(f"{where}: k = {own_k}, records before it have k = {k}; calibrate one K at a time")
        k = own_k
        if id_ not in first or sample < first[id_][0]:
            first[id_] = sample, n_rows, row
    if k is None:
        raise RecordError(f"{source} holds no record: judge some completions first (polymode evaluate)")
    kept = [row for _, _, row in first.values()]
    sets = [_judged_set(row, f"{source}, record {number}", k) for _, number, row in first.values()]
    return Judged(
        records=Records.of(sets, k, policy_equality=equality, same=same),
        n_left_out=n_rows - len(kept),
        n_unusable=sum(not judged.is_clean for judged in sets),
        n_unscored=sum(Verdict.UNSCORED.value in row["verdicts"] for row in kept),
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


def _of_row(row: Mapping[str, Any], where: str) -> tuple[str, int, int]:
    id_, sample, k = row.get("id"), row.get("sample", 0), row.get("k")
    if not isinstance(id_, str):
        raise RecordError(f"{where}: id = {id_!r} is not allowed: this is no judged.jsonl of polymode evaluate")
    for name, value, low in (("sample", sample, 0), ("k", k, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise RecordError(f"{where}: {name} = {value!r} is not allowed: give a whole number from {low}")
    assert isinstance(k, int)
    return id_, sample, k


def _judged_set(row: Mapping[str, Any], where: str, k: int) -> JudgedSet:
    lists = {name: row.get(name) for name in ("answers", "confidences", "verdicts")}
    n = len(lists["answers"]) if isinstance(lists["answers"], list) else k + 1
    for name, values in lists.items():
        if not isinstance(values, list) or len(values) != n or n > k:
            raise RecordError(f"{where}: {name} must be a list with one entry per answer, at most k = {k}")
    if row.get("status") not in {status.value for status in ParseStatus}:
        raise RecordError(f"{where}: status = {row.get('status')!r} is not known: judge again with polymode evaluate")
    is_clean = row["status"] == ParseStatus.CLEAN.value
    for q in row["confidences"] if is_clean else ():
        if q is None:
            raise RecordError(
                f"{where}: confidences are missing; a policy ranks by them: generate with confidences, or measure "
                "them, and judge again"
            )
        if isinstance(q, bool) or not isinstance(q, (int, float)) or not 0 <= q <= 1:
            raise RecordError(f"{where}: confidence {q!r} must be a number from 0 to 1")
    right = [verdict == Verdict.CORRECT.value for verdict in row["verdicts"]]
    return JudgedSet(is_clean, row["answers"], row["confidences"], right)
