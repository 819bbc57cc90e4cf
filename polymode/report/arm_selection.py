"""Which arms the figures draw: the table has every arm, a figure only as many as can be distinguished (layer L4)."""

from __future__ import annotations

from dataclasses import replace

from polymode.report.panels import Figure, Styled

MAX_DRAWN = 10
"""Arms in one figure."""


def compared_k(arms: Styled) -> int | None:
    """The K that arms are compared at: that of pooled completions, else the most common one."""
    sizes = [data.k for data, _ in arms if data.k is not None]
    pooled = [data.k for data, _ in arms if data.k is not None and data.view.get("pooled")]
    counted = pooled or sizes
    return max(counted, key=counted.count) if counted else None


def of_several_k(arms: Styled) -> dict[str, Styled]:
    """By multi-answer method, its arms in order of K, for methods that were trained with several K."""
    found: dict[str, Styled] = {}
    for method in dict.fromkeys(data.arm.method for data, _ in arms):
        by_k = {
            data.k: (data, style)
            for data, style in reversed(arms)
            if data.arm.method == method and data.k is not None and not data.view.get("pooled")
        }
        if method.startswith("multi-") and len(by_k) > 1:
            found[method] = [by_k[k] for k in sorted(by_k)]
    return found


def in_curves(arms: Styled) -> Styled:
    """The arms that curves show.

    Left out are arms that only have other confidences, arms of another K than the compared one where the figure of K
    shows them, and what is more than MAX_DRAWN.
    """
    k = compared_k(arms)
    elsewhere = [data for same in of_several_k(arms).values() if k in {data.k for data, _ in same} for data, _ in same]
    kept = [
        (data, style)
        for data, style in arms
        if not data.arm.is_remeasured and not (data.k != k and any(data is other for other in elsewhere))
    ]
    return kept[:MAX_DRAWN]


def in_reliability(arms: Styled) -> Styled:
    """The arms that the reliability figure shows: those of the curves, and the ones with other confidences."""
    drawn = in_curves(arms)
    return [(data, style) for data, style in arms if data.arm.is_remeasured or any(data is d for d, _ in drawn)]


def with_note(figure: Figure | None, arms: Styled) -> Figure | None:
    """The figure, with a note if arms were left out because there are too many."""
    kept = [data for data, _ in arms if not data.arm.is_remeasured]
    if figure is None or len(kept) <= MAX_DRAWN or len(in_curves(arms)) < MAX_DRAWN:
        return figure
    return replace(figure, caption=f"{figure.caption} At most {MAX_DRAWN} arms are drawn; the table has all of them.")
