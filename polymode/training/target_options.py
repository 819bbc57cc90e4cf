"""What a recipe's ``target: distribution`` does not go together with; read before torch is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from polymode.rewards import METHODS
from polymode.rewards.conditions import RELEASED_TARGET

if TYPE_CHECKING:
    from polymode.training.recipe import Recipe


def target_conflicts(recipe: Recipe) -> Iterator[str]:
    """Why confidences cannot be scored against a distribution; the first is reported.

    Whether the questions have distributions is checked when the task is opened (`polymode.training.shaping`).
    """
    if recipe.target != "distribution":
        return
    setting = f"target = {recipe.target!r}"
    if not METHODS[recipe.method].has_confidence:
        yield f"{setting} with method = {recipe.method!r}: its answers carry no confidences; use multi-rlcr"
    if recipe.preset != "paper":
        yield RELEASED_TARGET
    if recipe.verifier == "programs":
        yield (
            f"{setting} with verifier = 'programs': right programs are without number, so none has a mass; leave "
            "target out"
        )
