"""The table of metrics: what each is called, how it is written, and why a cell is empty (layer L4)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from polymode.report.arms import Arm, ArmData, Cell, read_arm
from polymode.report.equal_tokens import METRIC, find_budget, with_equal_tokens

EMPTY = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of the table."""

    name: str
    """Key in metrics.json; one ending in @ stands for every such metric (``coverage@`` for coverage@1, coverage@2)."""
    label: str
    decimals: int = 3
    better: str = ""
    """Which way is better: an up or a down arrow, empty when neither."""
    needs: str = ""
    """What the metric cannot be computed without: ``confidences`` or ``truth``."""


UP, _DOWN = "\N{UPWARDS ARROW}", "\N{DOWNWARDS ARROW}"
GROUPS: Mapping[str, tuple[Row, ...]] = {
    "Coverage": (
        Row("coverage", "distinct references found per set", 2, UP),
        Row("best_coverage", "best possible coverage", 2, "", "truth"),
        Row("coverage_of_best", "coverage / best possible", 3, UP, "truth"),
        Row(METRIC, "references found for the tokens of one multi-answer completion", 2, UP),
        Row("coverage@", "references found in the top n answers", 2, UP),
        Row("recall", "share of references found", 3, UP),
        Row("capped_recall", "share of min(N, K) references found", 3, UP),
        Row("precision", "share of answers that are hits", 3, UP),
        Row("any_hit", "sets with at least one hit", 3, UP),
        Row("pass@", "any reference found in n completions (pass@1: first or most confident answer)", 3, UP),
    ),
    "Diversity": (
        Row("uniqueness", "distinct answers / answers in a set", 3, UP),
        Row("distinct_by_ast", "right programs per set with different syntax trees", 2, UP),
        Row("distinct_by_behaviour", "right programs per set that behave differently", 2, UP),
        Row("unique_answers@", "distinct answers among n", 2, UP),
        Row("modal_share@", "share of the most frequent answer among n", 3, _DOWN),
        Row("kl_uniform@", "KL divergence of right answers to uniform over all references (nats)", 3, _DOWN),
        Row("overlap_", "text shared by independent completions", 3, _DOWN),
    ),
    "Calibration": (
        Row("brier", "Brier score", 4, _DOWN, "confidences"),
        Row("brier_floor", "lowest expected Brier score for these answers", 4, "", "truth"),
        Row("brier_constant", "Brier score of the best constant confidence", 4),
        Row("brier_gap_closed", "share of the gap from constant to floor that is closed", 3, UP, "truth"),
        Row("brier_gap_closed_expected", "the same, free of the noise of the labels", 3, UP, "truth"),
        Row("brier_excess", "expected Brier score above the floor", 4, _DOWN, "truth"),
        Row("brier_reliability", "Brier: miscalibration part", 4, _DOWN, "confidences"),
        Row("brier_resolution", "Brier: resolution part", 4, UP, "confidences"),
        Row("brier_uncertainty", "Brier: uncertainty part", 4),
        Row("brier_within", "Brier: within-bin part", 4),
        Row("ece", "expected calibration error, 10 equal-width bins", 4, _DOWN, "confidences"),
        Row("ece_debiased", "the same, bias from small bins removed", 4, _DOWN, "confidences"),
        Row("pce", "the same, overconfident bins only", 4, _DOWN, "confidences"),
        Row("ece_equal_mass", "the same, bins of equal count", 4, _DOWN, "confidences"),
        Row("ece_top1", "the same, most confident answer only", 4, _DOWN, "confidences"),
        Row("expected_hits_error", "|expected hits - hits|, binned", 4, _DOWN, "confidences"),
        Row("expected_hits_bias", "expected hits - hits", 4, "", "confidences"),
        Row("auroc", "AUROC of confidence", 3, UP, "confidences"),
        Row("auroc_within_question", "AUROC among answers to the same question", 3, UP, "confidences"),
        Row("auroc_within_slot", "AUROC among answers of the same slot", 3, UP, "confidences"),
        Row("brier_slot_constant", "Brier score of the best constant confidence of each slot", 4),
        Row("brier_beyond_slots", "1 \N{MINUS SIGN} Brier score / that of these constants", 3, UP, "confidences"),
        Row("brier_gap_closed_beyond_slots", "share of the gap from these constants to floor closed", 3, UP, "truth"),
        Row("confidently_wrong@", "answers that are wrong and stated with at least n", 4, _DOWN, "confidences"),
        Row("wrong_above@", "of the answers stated with at least n, those that are wrong", 4, _DOWN, "confidences"),
        Row("nll", "negative log-likelihood, clipped (nats)", 4, _DOWN, "confidences"),
    ),
    "Alignment": (
        Row("kl", "KL divergence to the reference distribution (nats)", 4, _DOWN, "truth"),
        Row("total_variation", "total variation to the reference distribution", 4, _DOWN, "truth"),
        Row("mean_sum_confidence", "mean sum of confidences", 3, "", "confidences"),
        Row("mean_hits", "mean hits", 3),
        Row("sum_to_one_bias", "sum-to-one bias", 3, "", "confidences"),
    ),
    "Selective answering": (Row("aurc", "area under the risk-coverage curve", 4, _DOWN, "confidences"),),
    "Cost": (
        Row("tokens_per_completion", "tokens per completion", 1, _DOWN),
        Row("tokens_per_set", "tokens per set", 1, _DOWN),
        Row("tokens_per_reference", "tokens per reference found", 1, _DOWN),
        Row("malformed_rate", "completions that are malformed", 4, _DOWN),
    ),
}
_ROWS = {row.name: row for rows in GROUPS.values() for row in rows}


def row_of(name: str) -> Row:
    """The table row of a metric; an unknown metric gets a plain one."""
    if name in _ROWS:
        return _ROWS[name]
    family = re.match(r".*?@|overlap_", name)
    return _ROWS.get(family[0], Row(name, "")) if family else Row(name, "")


def own_metrics(columns: Iterable[ArmData]) -> list[str]:
    """Names of the metrics that are not polymode's own, in the order of the columns."""
    return list(dict.fromkeys(name for data in columns for name in data.metrics if not row_of(name).label))


def group_metrics(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The metric names in table order under their group titles; unknown ones come last, under "Other"."""
    unplaced = sorted(dict.fromkeys(names), key=_natural)
    grouped = {
        title: [name for row in rows for name in unplaced if row_of(name) is row] for title, rows in GROUPS.items()
    }
    grouped["Other"] = [name for name in unplaced if not row_of(name).label]
    return [(title, members) for title, members in grouped.items() if members]


def write_number(value: float, decimals: int = 3) -> str:
    """``value`` with a fixed number of decimals and a real minus sign; a dash when it is NaN."""
    if not math.isfinite(value):
        return EMPTY
    text = f"{value:.{decimals}f}"
    return f"\N{MINUS SIGN}{text[1:]}" if text.startswith("-") and float(text) else text.removeprefix("-")


def write_interval(cell: Cell, decimals: int = 3) -> str:
    """``[low, high]``, empty when the interval is undefined."""
    if not (math.isfinite(cell.low) and math.isfinite(cell.high)):
        return ""
    return f"[{write_number(cell.low, decimals)}, {write_number(cell.high, decimals)}]"


def write_range(cell: Cell, decimals: int = 3) -> str:
    """Smallest to largest seed, empty with fewer than two seeds or when both are written the same."""
    if len(cell.by_seed) < 2:
        return ""
    ends = [write_number(end, decimals) for end in (min(cell.by_seed), max(cell.by_seed))]
    return " to ".join(ends) if ends[0] != ends[1] else ""


def why_empty(data: ArmData, name: str) -> str:
    """The reason why ``data`` has no value for the metric."""
    row = row_of(name)
    if name in data.remarks:
        return data.remarks[name]
    if row.needs == "confidences" and not data.view.get("has_confidence"):
        return "undefined: this arm states no confidences"
    if name not in data.metrics:
        return "not computed by this evaluation"
    cell = data.cell(name)
    if cell.reason:
        return f"not reported: {cell.reason}"
    if cell.n == 0 and row.needs == "truth":
        return "undefined: no true probabilities, or no confidences to compare with them"
    return f"undefined (n = {cell.n}, unscored {cell.n_unscored})"


def explain(data: ArmData, name: str) -> str:
    """The details of a cell: units, seeds and the value of each seed."""
    cell, row = data.cell(name), row_of(name)
    if not cell.is_defined:
        return why_empty(data, name)
    parts = [f"{name} = {write_number(cell.value, row.decimals)}", f"n = {cell.n:,}"]
    if name in data.remarks:
        parts.append(data.remarks[name])
    if cell.reason:
        parts.append(cell.reason)
    if cell.n_unscored:
        parts.append(f"unscored {cell.n_unscored:,}")
    if len(cell.by_seed) > 1:
        parts.append("by seed " + ", ".join(write_number(value, row.decimals) for value in cell.by_seed))
    return "; ".join(parts)


def table_markdown(arms: Sequence[Arm], metrics: Sequence[str]) -> str:
    """A Markdown table, one row per metric and one column per arm: ``value [low, high]``, seed range in parentheses.

    A metric that none of the evaluations computed has no row. Below the table is the token budget of
    ``coverage_at_equal_tokens``, with a reason for each arm where it is undefined.

    Raises:
        RunIncompleteError: an evaluation folder lacks its metrics.
    """
    columns = [read_arm(arm) for arm in arms]
    budget = find_budget(columns)
    columns = with_equal_tokens(columns, budget)
    rows = []
    for name in metrics:
        if any(name in data.metrics for data in columns):
            rows.append((name, [_write_cell(data.cell(name), row_of(name).decimals) for data in columns]))
    text = markdown_table([data.arm.label for data in columns], rows)
    if budget is not None and METRIC in metrics:
        empty = [data for data in columns if not data.cell(METRIC).is_defined]
        reasons = [f"{data.arm.label}: {data.remarks[METRIC]}." for data in empty]
        text += "\n\n" + _escape(" ".join([budget.words, *reasons]))
    return text + "\n"


def markdown_table(columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """A Markdown table of metrics from the labels of its columns and the name and cells of each row."""
    lines = ["| metric | " + " | ".join(map(_escape, columns)) + " |", "|---|" + "---:|" * len(columns)]
    return "\n".join([*lines, *(f"| {_escape(name)} | {' | '.join(cells)} |" for name, cells in rows)])


def _write_cell(cell: Cell, decimals: int) -> str:
    spread = write_range(cell, decimals)
    parts = (write_number(cell.value, decimals), write_interval(cell, decimals), f"({spread})" if spread else "")
    return " ".join(part for part in parts if part)


def _escape(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
