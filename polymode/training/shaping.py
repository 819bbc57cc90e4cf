"""What a recipe's objective means: how scores of groups are shaped, and questions on which it would be improper."""

from __future__ import annotations

from dataclasses import fields

from polymode.distributions import check_target
from polymode.errors import ConfigError, RecordError, VerifierFault
from polymode.rewards.shaping import Shaping
from polymode.soft_labels import check_soft_labels
from polymode.tasks import Task, examples_of
from polymode.training.recipe import Recipe
from polymode.types import Example, Target
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
    n_questions = recipe.max_steps * recipe.questions_per_step
    # The questions of polymode's own tasks are all alike in their target; those of a task of one's own may differ.
    is_own = not type(task).__module__.startswith("polymode.")
    first = examples_of(task, "train", n_questions if is_own else 1, seed=recipe.seed, target=recipe.target)
    is_soft = any(example.target == "distribution" for example in first)
    is_plain = (recipe.coverage, recipe.confidences, recipe.objective) == ("count", "independent", "mean")
    if (is_plain or recipe.preset != "paper") and not is_soft:
        return  # the count gains the same everywhere, so reading the recipe has settled it
    examples_by_n: dict[tuple[int, Target], Example] = {}
    checked: set[str] = set()
    for example in examples_of(task, "train", n_questions, seed=recipe.seed, target=recipe.target):
        at = verifier_at(verifier, example)
        unlimited = is_open(at)
        if unlimited and example.target == "distribution":
            raise ConfigError(
                f"target = 'distribution' on task {task.name!r}: it has no end of right answers, so no reference has a "
                "mass; leave target out"
            )
        if unlimited and recipe.objective == "coverage@k":
            raise ConfigError(
                f"objective = 'coverage@k' on task {task.name!r}: it has no end of right answers; use 'pass@k'"
            )
        try:
            check_target(example)  # of a task of one's own, which may say anything
        except RecordError as exc:
            raise ConfigError(f"task {task.name!r}, question {example.id!r}: {exc}") from None
        # A verifier that prepares itself for many answers, such as a judge, is slow: one question tells that it works.
        is_due = not checked or (example.id not in checked and not isinstance(verifier, QuestionVerifier))
        if example.target == "distribution" and is_due:
            checked.add(example.id)
            _check_verifier(task, example, at)
        examples_by_n.setdefault((recipe.answers if unlimited else len(example.references), example.target), example)
    for (n, target), example in examples_by_n.items():
        try:
            recipe.check_weights(n, target)
        except ConfigError as exc:
            raise ConfigError(f"task {task.name!r}, question {example.id!r}: {exc}") from None


def _check_verifier(task: Task, example: Example, verifier: Verifier) -> None:
    try:
        check_soft_labels(example, verifier)
    except VerifierFault as exc:
        raise ConfigError(
            f"target = 'distribution' on task {task.name!r}, question {example.id!r}: the verifier fails ({exc}), so "
            "that answers would have no label; mend it, or choose another with verifier = ..."
        ) from None
