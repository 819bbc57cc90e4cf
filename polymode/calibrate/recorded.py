"""What a run folder records of how its completions came about and were judged (layer L4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import RunIncompleteError
from polymode.policy import Conditions, QuestionStatistics
from polymode.policy.inputs import fit_input_check
from polymode.policy.records import Records
from polymode.policy.reference import Reference, set_measures


def recorded_conditions(
    judged: Path, stated: Conditions | None = None, records: Records | None = None
) -> Conditions | None:
    """The conditions of the completions that a judged.jsonl is about, with the verifier and the questions' statistics.

    Args:
        judged: the file; metrics.json beside it says where the completions stand, and config.json beside these, what
            they were sampled with.
        stated: what the user says they were sampled with, instead of what is recorded.
        records: the answer sets, for what their confidences measure.

    Returns:
        None where nothing is recorded or stated, as in folders of older versions and for completions of other programs.

    Raises:
        RecordError, ConfigError: a file is damaged.
    """
    try:
        completions = runs.completions_of(judged.parent)
    except RunIncompleteError:
        completions = None
    found = stated
    if stated is None and completions is not None and (completions.parent / runs.CONFIG).is_file():
        found = runs.read_configuration(completions.parent).conditions
    if found is None:
        return None
    more: dict[str, Any] = {}
    texts: set[str] = set()
    if (judged.parent / runs.METRICS).is_file():
        more["verifier"] = runs.read_metrics(judged.parent).view.get("verifier")
    if completions is not None:
        texts = {str(row.get("question") or "") for row in runs.read_jsonl(completions)}
    else:
        texts = _reviewed_texts(judged)
    if texts:
        more["questions"] = QuestionStatistics.of(texts)
        more["inputs"] = fit_input_check(texts)
    sets = [] if records is None else [set_measures(row[row == row].tolist()) for row in records.q]
    more["reference"] = Reference.of(texts, more.get("inputs"), sets)
    return replace(found, **more)


def evaluated_pool(judged: Path) -> int:
    """Completions that the evaluation beside a judged.jsonl pooled into one ranked set; 1 where it pooled none."""
    return runs.read_metrics(judged.parent).view.get("pool") or 1 if (judged.parent / runs.METRICS).is_file() else 1


def _reviewed_texts(judged: Path) -> set[str]:
    """Questions of the random share in an export of the review queue, whose lines hold them."""
    reviews = [row.get("review") for row in runs.read_jsonl(judged) if row.get("origin") == "random"]
    return {str(review.get("question") or "") for review in reviews if isinstance(review, dict)}
