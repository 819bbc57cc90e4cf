"""Completions of the lab's questions by a trained model, sampled as in its training."""

from __future__ import annotations

from pathlib import Path

from polymode.generate import sample_completions
from polymode.generate.transformers import TransformersGenerator
from polymode.rewards import METHODS
from polymode.tasks import Split
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import style_for, task_for
from polymode.types import Completion


def lab_answers(
    recipe: Recipe, model: Path, split: Split, n: int, *, seed: int, sampling_seed: int, k: int | None = None
) -> list[Completion]:
    """One completion of each of ``n`` questions; the same seeds ask every model the same."""
    task = task_for(recipe)
    return sample_completions(
        task.examples(split, n, seed=seed),
        TransformersGenerator(model, show_progress=False),
        k=k if k is not None else recipe.k,
        confidence=METHODS[recipe.method].has_confidence,
        samples=1,
        max_tokens=recipe.max_completion_length,
        temperature=recipe.temperature,
        seed=sampling_seed,
        style=style_for(recipe, task),
    )
