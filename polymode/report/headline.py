"""The first sentences of the page, derived from the numbers alone, whether good or bad (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polymode.report.arms import ArmData, Cell
from polymode.report.table import write_interval, write_number
from polymode.report.words import row_of


@dataclass(frozen=True, slots=True)
class Tile:
    """One large number with its label."""

    value: str
    label: str
    is_worse: bool
    """Whether the number speaks against multi-answer training."""


_COMPARED = (
    # metric, subject of the sentence, label of the tile, whether more is better
    ("coverage", "Distinct references found per set", "distinct references found, multi / single", True),
    ("unique_answers@30", "Distinct answers among 30", "distinct answers among 30, multi / single", True),
    ("tokens_per_reference", "Tokens per reference found", "tokens per reference found, multi / single", False),
)


def pick_pair(arms: Sequence[ArmData]) -> tuple[ArmData, ArmData] | None:
    """The multi-answer arm and the single-answer arm that the headline compares; None when there is no such pair.

    Multi: the first arm of a ``multi-`` method with confidences, else the first of a ``multi-`` method. Single: of the
    arms of a ``single-`` method with the same K, however they are prompted, the one that finds most; else of all.
    """
    multis = [data for data in arms if data.arm.method.startswith("multi")]
    singles = [data for data in arms if data.arm.method.startswith("single")]
    if not multis or not singles:
        return None
    multi = next((data for data in multis if data.view.get("has_confidence")), multis[0])
    same_k = [data for data in singles if data.k == multi.k] or singles
    return multi, strongest([data for data in same_k if not data.arm.is_remeasured] or same_k)


def strongest(arms: Sequence[ArmData]) -> ArmData:
    """The first of the arms with the highest coverage; the first where none has one."""
    return max(arms, key=lambda data: data.cell("coverage").value if data.cell("coverage").is_defined else -math.inf)


def write_tiles(arms: Sequence[ArmData]) -> list[Tile]:
    """Up to four ratios, and the part of the Brier gap that multi closes.

    The ratios are those of the pair that the headline compares. Where an arm without reinforcement learning finds more
    than the single-answer one, the ratio to it comes first.
    """
    pair = pick_pair(arms)
    if pair is None:
        return []
    multi, single = pair
    tiles = []
    other = _without_reinforcement(arms, multi)
    if other is not None and strongest([single, other]) is other and (b := other.cell("coverage").value) > 0:
        ratio = multi.cell("coverage").value / b
        label = f"distinct references found, multi / {_quote(other)}, the strongest without reinforcement learning"
        if math.isfinite(ratio):
            tiles.append(Tile(f"{write_number(ratio, 2)}\N{MULTIPLICATION SIGN}", label, ratio < 1))
    for name, _, label, more_is_better in _COMPARED:
        a, b = multi.cell(name).value, single.cell(name).value
        if math.isfinite(a) and b > 0:
            is_worse = a < b if more_is_better else a > b
            tiles.append(Tile(f"{write_number(a / b, 2)}\N{MULTIPLICATION SIGN}", label, is_worse))
    gap = multi.cell("brier_gap_closed").value
    if math.isfinite(gap):
        label = "of the Brier gap from the best constant to perfect knowledge closed by multi"
        tiles.append(Tile(f"{write_number(100 * gap, 0)}%", label, gap <= 0))
    return tiles


def write_headline(arms: Sequence[ArmData], reference: Mapping[str, float]) -> list[str]:
    """Up to six sentences that compare multi-answer with single-answer training, each from the metrics."""
    pair = pick_pair(arms)
    if pair is None:
        described = [data for data in arms[:4] if data.cell("coverage").is_defined]
        return [f"{data.arm.label}: coverage {_with_interval(data, 'coverage')}." for data in described]
    multi, single = pair
    n_questions, n_seeds = multi.view.get("n_questions"), len(multi.arm.seeds)
    over = f" on {n_questions:,} test questions" if isinstance(n_questions, int) else ""
    over += f", with {n_seeds} seeds" if n_seeds > 1 else ""
    rank = f"single, the strongest of K = {multi.k}" if single.k == multi.k else "single"
    sentences = [f"Compared{over}: {_quote(multi)} (multi) against {_quote(single)} ({rank})."]
    best = known_best(arms, reference)
    for name, subject, _, more_is_better in _COMPARED:
        a, b = multi.cell(name), single.cell(name)
        if a.is_defined and b.is_defined:
            text = f"{subject}: {_with_interval(multi, name)} for multi and {_with_interval(single, name)} for single"
            text += f", {write_number(a.value / b.value, 2)} times as many" if b.value > 0 else ""
            text += _caution(a, b, more_is_better)
            if name == "coverage" and best > 0:
                text += f"; the best possible is {write_number(best, 2)}, of which multi reaches {a.value / best:.0%} "
                text += f"and single {b.value / best:.0%}"
            sentences.append(f"{text}.")
        if name == "coverage" and (other := _without_reinforcement(arms, multi)) is not None:
            sentences.append(_describe_other(other, multi))
    stating = [data for data in arms if data.arm.method.startswith("single") and data.cell("brier").is_defined]
    rival = single if single.cell("brier").is_defined else next(iter(stating), None)
    return [*sentences, _calibration(multi, rival)]


def _without_reinforcement(arms: Sequence[ArmData], multi: ArmData) -> ArmData | None:
    """The arm of the same K that finds most without any reinforcement learning; None where there is no such arm."""
    others = [data for data in arms if not data.arm.method.startswith(("multi", "single"))]
    others = [data for data in others if data.k == multi.k and not data.arm.is_remeasured]
    best = strongest(others) if others else None
    return best if best is not None and best.cell("coverage").is_defined else None


def _describe_other(other: ArmData, multi: ArmData) -> str:
    """What is reached without reinforcement learning, beside what multi-answer training reaches."""
    a, b = multi.cell("coverage"), other.cell("coverage")
    text = (
        f"Without reinforcement learning {_quote(other)} finds {_with_interval(other, 'coverage')} references per set"
    )
    if a.is_defined and b.value > 0:
        text += f", multi {write_number(a.value / b.value, 2)} times as many{_caution(a, b, True)}"
    if math.isfinite(gap := other.cell("brier_gap_closed").value):
        text += f"; it closes {write_number(100 * gap, 0)}% of the Brier gap of its own answers"
    return f"{text}."


def known_best(arms: Sequence[ArmData], reference: Mapping[str, float]) -> float:
    """Best possible coverage of the compared K: that of the reference, else the multi-answer arm's own, else NaN."""
    pair = pick_pair(arms)
    best = reference.get("best_coverage", math.nan)
    return best if math.isfinite(best) or pair is None else pair[0].cell("best_coverage").value


def _caution(a: Cell, b: Cell, more_is_better: bool) -> str:
    """Say that multi is worse, and say when intervals overlap; nothing when it is clearly better."""
    if a.value == b.value:
        return "; no difference"
    is_worse = a.value < b.value if more_is_better else a.value > b.value
    if a.low <= b.high and b.low <= a.high:
        return f"; multi is {'worse' if is_worse else 'better'}, but the intervals overlap"
    return "; multi is worse here" if is_worse else ""


def _calibration(multi: ArmData, rival: ArmData | None) -> str:
    brier, constant, floor, gap = (
        multi.cell(name).value for name in ("brier", "brier_constant", "brier_floor", "brier_gap_closed")
    )
    if not math.isfinite(brier):
        return "The multi-answer arm states no confidences, so its calibration is undefined."
    text = f"Calibration of multi: {_scores(multi)}"
    if math.isfinite(constant):
        text += f"; always stating the best constant would score {write_number(constant, 4)}"
        text += ", so these confidences add nothing" if brier >= constant else ""
    if math.isfinite(floor):
        text += f"; perfect knowledge would score {write_number(floor, 4)}"
        text += f" ({write_number(100 * gap, 0)}% of the gap is closed)" if math.isfinite(gap) else ""
    if rival is None:
        return text + "; the single-answer arms state no confidences."
    return text + f". {_quote(rival)}: {_scores(rival)}, on its own answers, which are not the same answers."


def _scores(data: ArmData) -> str:
    ece = f", ECE {_with_interval(data, 'ece')}" if data.cell("ece").is_defined else ""
    return f"Brier score {_with_interval(data, 'brier')}{ece}"


def _quote(data: ArmData) -> str:
    return f"\N{LEFT DOUBLE QUOTATION MARK}{data.arm.label}\N{RIGHT DOUBLE QUOTATION MARK}"


def _with_interval(data: ArmData, name: str) -> str:
    cell, decimals = data.cell(name), row_of(name).decimals
    interval = write_interval(cell, decimals).replace(" ", "\N{NO-BREAK SPACE}")
    return f"{write_number(cell.value, decimals)} {interval}".strip()
