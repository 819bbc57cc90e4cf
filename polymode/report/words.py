"""What every figure is called, in words: the one table of names for reports, pages and cards (layer L4)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from polymode.report.equal_tokens import METRIC


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of the table."""

    name: str
    """Key in metrics.json; one ending in @ stands for every such metric (``coverage@`` for coverage@1, coverage@2)."""
    short: str
    """What it is called; ``{n}`` is what follows the name of a family. Empty where the label is short enough."""
    label: str
    """What it is, in a line; empty for a metric that is not polymode's own."""
    decimals: int = 3
    better: str = ""
    """Which way is better: an up or a down arrow, empty when neither."""
    needs: str = ""
    """What the metric cannot be computed without: ``confidences`` or ``truth``."""


UP, _DOWN = "\N{UPWARDS ARROW}", "\N{DOWNWARDS ARROW}"
GROUPS: Mapping[str, tuple[Row, ...]] = {
    "Coverage": (
        Row("coverage", "Coverage", "distinct references found per set", 2, UP),
        Row("best_coverage", "", "best possible coverage", 2, "", "truth"),
        Row("coverage_of_best", "Share of the best coverage", "coverage / best possible", 3, UP, "truth"),
        Row(
            METRIC, "Coverage for equal tokens", "references found for the tokens of one multi-answer completion", 2, UP
        ),
        Row("coverage@", "Coverage of the top {n}", "references found in the top n answers", 2, UP),
        Row("recall", "Recall", "share of references found", 3, UP),
        Row("capped_recall", "Capped recall", "share of min(N, K) references found", 3, UP),
        Row("precision", "Precision", "share of answers that are hits", 3, UP),
        Row("any_hit", "Any hit", "sets with at least one hit", 3, UP),
        Row(
            "pass@", "Pass@{n}", "any reference found in n completions (pass@1: first or most confident answer)", 3, UP
        ),
    ),
    "Diversity": (
        Row("uniqueness", "Share of distinct answers", "distinct answers / answers in a set", 3, UP),
        Row(
            "distinct_by_ast",
            "Programs of different syntax",
            "right programs per set with different syntax trees",
            2,
            UP,
        ),
        Row(
            "distinct_by_behaviour",
            "Programs of different behaviour",
            "right programs per set that behave differently",
            2,
            UP,
        ),
        Row("unique_answers@", "Distinct answers among {n}", "distinct answers among n", 2, UP),
        Row("modal_share@", "Most frequent answer among {n}", "share of the most frequent answer among n", 3, _DOWN),
        Row(
            "kl_uniform@",
            "Divergence from uniform among {n}",
            "KL divergence of right answers to uniform over all references (nats)",
            3,
            _DOWN,
        ),
        Row("overlap_", "Shared text, {n}", "text shared by independent completions", 3, _DOWN),
    ),
    "Calibration": (
        Row("brier", "", "Brier score", 4, _DOWN, "confidences"),
        Row(
            "brier_floor",
            "Lowest possible Brier score",
            "lowest expected Brier score for these answers",
            4,
            "",
            "truth",
        ),
        Row("brier_constant", "Brier score of a constant", "Brier score of the best constant confidence", 4),
        Row(
            "brier_gap_closed",
            "Brier gap closed",
            "share of the gap from constant to floor that is closed",
            3,
            UP,
            "truth",
        ),
        Row(
            "brier_gap_closed_expected",
            "Brier gap closed, expected",
            "share of this gap closed, free of the noise of the labels",
            3,
            UP,
            "truth",
        ),
        Row("brier_excess", "Brier score above the floor", "expected Brier score above the floor", 4, _DOWN, "truth"),
        Row("brier_reliability", "Brier score, miscalibration", "Brier: miscalibration part", 4, _DOWN, "confidences"),
        Row("brier_resolution", "Brier score, resolution", "Brier: resolution part", 4, UP, "confidences"),
        Row("brier_uncertainty", "Brier score, uncertainty", "Brier: uncertainty part", 4),
        Row("brier_within", "Brier score, within bins", "Brier: within-bin part", 4),
        Row(
            "ece", "Calibration error", "expected calibration error (ECE), 10 equal-width bins", 4, _DOWN, "confidences"
        ),
        Row(
            "ece_debiased", "Calibration error, debiased", "ECE, bias from small bins removed", 4, _DOWN, "confidences"
        ),
        Row("pce", "Calibration error, overconfident", "ECE, overconfident bins only", 4, _DOWN, "confidences"),
        Row("ece_equal_mass", "Calibration error, equal bins", "ECE, bins of equal count", 4, _DOWN, "confidences"),
        Row("ece_top1", "Calibration error, top answer", "ECE, most confident answer only", 4, _DOWN, "confidences"),
        Row("expected_hits_error", "Expected hits, error", "|expected hits - hits|, binned", 4, _DOWN, "confidences"),
        Row("expected_hits_bias", "Expected hits, bias", "expected hits - hits", 4, "", "confidences"),
        Row("auroc", "", "AUROC of confidence", 3, UP, "confidences"),
        Row(
            "auroc_within_question",
            "AUROC within questions",
            "AUROC among answers to the same question",
            3,
            UP,
            "confidences",
        ),
        Row("auroc_within_slot", "AUROC within slots", "AUROC among answers of the same slot", 3, UP, "confidences"),
        Row(
            "brier_slot_constant",
            "Brier score of slot constants",
            "Brier score of the best constant confidence of each slot",
            4,
        ),
        Row(
            "brier_beyond_slots",
            "Brier skill beyond slots",
            "1 \N{MINUS SIGN} Brier score / that of these constants",
            3,
            UP,
            "confidences",
        ),
        Row(
            "brier_gap_closed_beyond_slots",
            "Brier gap closed beyond slots",
            "share of the gap from these constants to floor closed",
            3,
            UP,
            "truth",
        ),
        Row(
            "confidently_wrong@",
            "Wrong and stated with {n} or more",
            "answers that are wrong and stated with at least n",
            4,
            _DOWN,
            "confidences",
        ),
        Row(
            "wrong_above@",
            "Wrong of those stated with {n} or more",
            "of the answers stated with at least n, those that are wrong",
            4,
            _DOWN,
            "confidences",
        ),
        Row("nll", "Negative log-likelihood", "negative log-likelihood, clipped (nats)", 4, _DOWN, "confidences"),
    ),
    "Alignment": (
        Row(
            "kl",
            "Divergence from the references",
            "KL divergence to the reference distribution (nats)",
            4,
            _DOWN,
            "truth",
        ),
        Row("total_variation", "Total variation", "total variation to the reference distribution", 4, _DOWN, "truth"),
        Row("mean_sum_confidence", "", "mean sum of confidences", 3, "", "confidences"),
        Row("mean_hits", "", "mean hits", 3),
        Row("sum_to_one_bias", "", "sum-to-one bias", 3, "", "confidences"),
    ),
    "Selective answering": (
        Row("aurc", "Area under risk and coverage", "area under the risk-coverage curve", 4, _DOWN, "confidences"),
    ),
    "Cost": (
        Row("tokens_per_completion", "", "tokens per completion", 1, _DOWN),
        Row("tokens_per_set", "", "tokens per set", 1, _DOWN),
        Row("tokens_per_reference", "", "tokens per reference found", 1, _DOWN),
        Row("malformed_rate", "Malformed completions", "completions that are malformed", 4, _DOWN),
    ),
}
_ROWS = {row.name: row for rows in GROUPS.values() for row in rows}


class StepRow(NamedTuple):
    """One figure of a training step."""

    words: str
    decimals: int
    limits: tuple[float, float]
    """Its least and largest possible value."""


_ANY, _POSITIVE, _SHARE = (-math.inf, math.inf), (0.0, math.inf), (0.0, 1.0)
STEP_ROWS: Mapping[str, StepRow] = {
    "reward": StepRow("Reward", 3, _ANY),
    "coverage": StepRow("Coverage", 2, _POSITIVE),
    "brier": StepRow("Brier score", 4, _SHARE),
    "hit_rate": StepRow("Share of answers that are hits", 3, _SHARE),
    "mean_confidence": StepRow("Mean confidence", 3, _SHARE),
    "confidence_spread": StepRow("Spread of confidences", 3, _POSITIVE),
    "share_clean": StepRow("Clean completions", 3, _SHARE),
    "share_malformed": StepRow("Malformed completions", 3, _SHARE),
    "share_truncated": StepRow("Truncated completions", 3, _SHARE),
    "share_unscored": StepRow("Unscored completions", 3, _SHARE),
    "share_duplicate": StepRow("Duplicate answers", 3, _SHARE),
    "share_equal_groups": StepRow("Groups of equal rewards", 3, _SHARE),
    "reward_std": StepRow("Spread of rewards in a group", 3, _POSITIVE),
    "tokens": StepRow("Tokens per completion", 1, _POSITIVE),
    "entropy": StepRow("Entropy of a token (nats)", 3, _POSITIVE),
    "kl": StepRow("Divergence from the first model", 4, _ANY),
    "loss": StepRow("Loss", 4, _ANY),
    "grad_norm": StepRow("Norm of the gradient", 4, _POSITIVE),
    "step_time": StepRow("Seconds per step", 1, _POSITIVE),
}
"""Figures of a training step by name in metrics.jsonl."""


def row_of(name: str) -> Row:
    """The table row of a metric; an unknown metric gets a plain one."""
    if name in _ROWS:
        return _ROWS[name]
    family = re.match(r".*?@|overlap_", name)
    return _ROWS.get(family[0], Row(name, "", "")) if family else Row(name, "", "")


def words_of(name: str) -> str:
    """What a metric is called: "Coverage of the top 2" for coverage@2; the name itself where it has no words."""
    row = row_of(name)
    text = (row.short or row.label).replace("{n}", name.removeprefix(row.name).replace("_", " "))
    return text[:1].upper() + text[1:] if text else name


def step_row_of(name: str) -> StepRow:
    """What a figure of metrics.jsonl is called; one of validation says how it was sampled."""
    how, _, figure = name.removeprefix("validation/").rpartition("/")
    row = STEP_ROWS.get(figure, StepRow(name, 3, _ANY))
    return row._replace(words=f"{row.words}, {how}") if how else row


def group_metrics(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The metric names in table order under their group titles; unknown ones come last, under "Other"."""
    unplaced = sorted(dict.fromkeys(names), key=natural_order)
    grouped = {
        title: [name for row in rows for name in unplaced if row_of(name) is row] for title, rows in GROUPS.items()
    }
    grouped["Other"] = [name for name in unplaced if not row_of(name).label]
    return [(title, members) for title, members in grouped.items() if members]


def natural_order(name: str) -> list[tuple[int, str]]:
    """The key of an order in which names stand by the numbers in them: n2 before n10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
