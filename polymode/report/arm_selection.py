"""Which arms the figures draw: the table has every arm, a figure only as many as can be distinguished (layer L4)."""

from __future__ import annotations

from dataclasses import replace

from polymode.report.arms import ArmData
from polymode.report.charts import Style
from polymode.report.panels import Figure, Styled

MAX_DRAWN = 10
"""Arms in one figure."""


def compared_k(arms: Styled) -> int | None:
    """The K that arms are compared at: that of pooled completions, else the most common one."""
    sizes = [data.k for data, _ in arms if data.k is not None]
    pooled = [data.k for data, _ in arms if data.k is not None and data.view.get("pooled")]
    return max(pooled or sizes, key=(pooled or sizes).count, default=None)


def of_several_k(arms: Styled) -> dict[str, Styled]:
    """By multi-answer method, its arms in order of K, for methods that were trained with several K."""
    by_method: dict[str, dict[int, tuple[ArmData, Style]]] = {}
    for data, style in arms:
        if data.arm.method.startswith("multi-") and data.k is not None and not data.view.get("pooled"):
            by_method.setdefault(data.arm.method, {}).setdefault(data.k, (data, style))
    return {method: [own[k] for k in sorted(own)] for method, own in by_method.items() if len(own) > 1}


def in_curves(arms: Styled) -> Styled:
    """The arms that curves show.

    Left out are arms that only have other confidences, arms of another K than the compared one where the figure of K
    shows them, and what is more than MAX_DRAWN.
    """
    return _candidates(arms)[:MAX_DRAWN]


def in_reliability(arms: Styled) -> Styled:
    """The arms that the reliability figure shows: those of the curves, and the ones with other confidences."""
    drawn = [data for data, _ in in_curves(arms)]
    return [(data, style) for data, style in arms if data.arm.is_remeasured or any(data is other for other in drawn)]


def with_note(figure: Figure | None, arms: Styled) -> Figure | None:
    """The figure, with a note if arms were left out because there are too many."""
    if figure is None or len(_candidates(arms)) <= MAX_DRAWN:
        return figure
    return replace(figure, caption=f"{figure.caption} At most {MAX_DRAWN} arms are drawn; the table has all of them.")


def _candidates(arms: Styled) -> Styled:
    k = compared_k(arms)
    by_k = [{data.k: data for data, _ in same} for same in of_several_k(arms).values()]
    elsewhere = [data for own in by_k if k in own for size, data in own.items() if size != k]
    return [
        (data, style)
        for data, style in arms
        if not data.arm.is_remeasured and not any(data is other for other in elsewhere)
    ]
