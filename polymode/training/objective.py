"""What a recipe's objective means beyond one completion: its shaping of groups, and questions on which it is improper.

Options that are improper on every question are refused when the recipe is read. What depends on the number of
references (`polymode.rewards.conditions`) is checked on the training questions, before a model is loaded.
"""

from __future__ import annotations

from dataclasses import fields

from polymode.errors import ConfigError
from polymode.tasks import Task
from polymode.training.recipe import Recipe
from polymode.training.shaping import Shaping
from polymode.types import Example
from polymode.verifiers import QuestionVerifier, Verifier, is_open, verifier_at


def shaping_for(recipe: Recipe) -> Shaping | None:
    """The recipe's shaping of groups; None when every completion is scored by itself."""
    if recipe.objective == "mean" and recipe.exploration == "none":
        return None
    options = {field.name: getattr(recipe, field.name) for field in fields(Shaping)}
    return Shaping(**{**options, "objective_k": recipe.objective_k or recipe.k})


def check_questions(recipe: Recipe, task: Task, verifier: Verifier | QuestionVerifier) -> None:
    """Refuse what is improper on a question that training would meet; nothing is looked at when nothing can be.

    Raises:
        ConfigError: with field, value, the question and what to do.
    """
    is_plain = (recipe.coverage, recipe.confidences, recipe.objective) == ("count", "independent", "mean")
    if is_plain or recipe.preset != "paper":
        return  # the count gains the same everywhere, so reading the recipe has settled it
    examples_by_n: dict[int, Example] = {}
    for example in task.examples("train", recipe.max_steps * recipe.questions_per_step, seed=recipe.seed):
        unlimited = is_open(verifier_at(verifier, example))
        if unlimited and recipe.objective == "coverage@k":
            raise ConfigError(
                f"objective = 'coverage@k' on task {task.name!r}: it has no end of right answers; use 'pass@k'"
            )
        examples_by_n.setdefault(recipe.answers if unlimited else len(example.references), example)
    for n, example in examples_by_n.items():
        try:
            recipe.check_weights(n)
        except ConfigError as exc:
            raise ConfigError(f"task {task.name!r}, question {example.id!r}: {exc}") from None
