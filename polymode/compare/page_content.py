"""What a page of compared columns shows besides its figures: the metrics of the short table, and worked examples."""

from __future__ import annotations

from collections.abc import Sequence

from polymode import runs
from polymode.compare.columns import Column
from polymode.report.equal_tokens import METRIC as EQUAL_TOKENS
from polymode.report.examples import WorkedExample, pick_examples

TABLE = (
    *("coverage", "coverage_of_best", EQUAL_TOKENS, "recall", "precision", "pass@1", "uniqueness", "unique_answers@30"),
    *("distinct_by_ast", "distinct_by_behaviour"),
    *("overlap_rouge_l", "brier", "brier_constant", "brier_floor", "brier_gap_closed", "brier_gap_closed_expected"),
    *("ece", "ece_debiased", "auroc", "kl", "total_variation", "mean_sum_confidence", "mean_hits"),
    *("tokens_per_set", "tokens_per_reference", "aurc", "malformed_rate"),
)
"""Metrics of the table as text."""


def worked_examples(columns: Sequence[Column]) -> list[WorkedExample]:
    """Questions with the answers of the multi-rlcr arm and of independent samples; none without such a pair.

    Multi: the first multi-rlcr arm with as many answers as the samples. Single: samples of single-rlvr, else of
    single-rlcr.
    """
    pooled = [column for column in columns if column.runs[0].pool > 1 and not column.arm.is_remeasured]
    singles = [column for name in ("single-rlvr", "single-rlcr") for column in pooled if column.runs[0].method == name]
    for single in singles[:1]:
        for multi in columns:
            if multi.runs[0].method == "multi-rlcr" and multi.runs[0].is_arm and multi.arm.k == single.arm.k:
                folders = (multi.arm.seeds[0], single.arm.seeds[0])
                if all((folder / runs.JUDGED).exists() for folder in folders):
                    return pick_examples(*folders, labels=("multi-rlcr", single.arm.label))
    return []
