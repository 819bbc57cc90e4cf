"""What a recipe's options of the objective mean: its reward, its shaping of groups, and what is refused.

Options that are improper on every question are refused when the recipe is read. What depends on the number of
references (`polymode.rewards.conditions`) is checked on the training questions, before a model is loaded.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from polymode.errors import ConfigError
from polymode.exploration import EXPLORATIONS
from polymode.rewards import AGGREGATIONS, CONFIDENCES, METHODS, SCORES, Reward, check_question
from polymode.rewards.coverage import least_gain
from polymode.tasks import Task
from polymode.training.shaping import OBJECTIVES, Shaping
from polymode.verifiers import QuestionVerifier, Verifier, is_open, verifier_at

if TYPE_CHECKING:
    from polymode.training.recipe import Recipe

_CHOICES = {
    "coverage": AGGREGATIONS,
    "confidence_score": SCORES,
    "confidences": CONFIDENCES,
    "objective": OBJECTIVES,
    "exploration": EXPLORATIONS,
}
_NUMBERS = (
    "coverage_weight",
    "coverage_alpha",
    "confidence_weight",
    "exclusive_penalty",
    "repeat_penalty",
    "exploration_weight",
)
_OPTIONS = (*_CHOICES, *_NUMBERS, "objective_k")
_NAMES = {
    "coverage": "coverage_weight",
    "aggregation": "coverage",
    "brier": "confidence_weight",
    "score": "confidence_score",
    "confidences": "confidences",
    "penalty": "exclusive_penalty",
}
"""Options of a recipe by the field of the reward that they set."""

_NEEDED = {
    "coverage_alpha": ("coverage", "vector"),
    "exclusive_penalty": ("confidences", "exclusive"),
    "objective_k": ("objective", "pass@k"),
    "exploration_weight": ("exploration", "batch"),
}
"""Options that only mean something beside another."""


def reward_for(recipe: Recipe) -> Reward:
    """The recipe's reward. The format's weight rises with what a clean set can lose, so malformed text stays lowest."""
    method = METHODS[recipe.method]
    plain = method.reward(recipe.preset)
    if recipe.preset != "paper":
        return plain
    brier = recipe.confidence_weight if method.has_confidence else 0.0
    return replace(
        plain,
        coverage=recipe.coverage_weight,
        brier=brier,
        format=max(plain.format, brier + recipe.repeat_penalty * (recipe.answers - 1)),
        confidences=recipe.confidences,
        penalty=recipe.exclusive_penalty,
        aggregation=recipe.coverage,
        alpha=recipe.coverage_alpha,
        score=recipe.confidence_score,
        repeat=recipe.repeat_penalty,
    )


def shaping_for(recipe: Recipe) -> Shaping | None:
    """The recipe's shaping of groups; None when every completion is scored by itself."""
    if recipe.objective == "mean" and recipe.exploration == "none":
        return None
    return Shaping(
        recipe.group,
        objective=recipe.objective,
        k=recipe.objective_k or recipe.k,
        coverage=recipe.coverage_weight,
        exploration=recipe.exploration,
        exploration_weight=recipe.exploration_weight,
    )


def check_options(recipe: Recipe) -> None:
    """Refuse what is improper whatever the questions are.

    Raises:
        ConfigError: with field, value and what to do.
    """
    for name, allowed in _CHOICES.items():
        if getattr(recipe, name) not in allowed:
            raise ConfigError(f"{name} = {getattr(recipe, name)!r} is not known: use one of {', '.join(allowed)}")
    for name in _NUMBERS:
        if not 0 <= getattr(recipe, name) < math.inf:
            raise ConfigError(f"{name} = {getattr(recipe, name)!r} must be a number, at least 0")
    if recipe.coverage_alpha == 0:
        raise ConfigError("coverage_alpha = 0.0 must be above 0; 1 draws the weights of references uniformly")
    plain: dict[str, Any] = {f.name: f.default for f in fields(recipe) if f.name in _OPTIONS}
    changed = [name for name in _OPTIONS if getattr(recipe, name) != plain[name]]
    if changed and recipe.preset != "paper":
        raise ConfigError(f"{_said(recipe, changed[0])} with preset = {recipe.preset!r}: use preset 'paper'")
    for name, (other, value) in _NEEDED.items():
        if name in changed and other not in changed:
            raise ConfigError(f"{_said(recipe, name)} is given without {other}: add {other}: {value}")
    if not METHODS[recipe.method].has_confidence:
        for name in ("confidence_score", "confidence_weight", "confidences"):
            if name in changed:
                raise ConfigError(
                    f"{_said(recipe, name)} with method = {recipe.method!r}: its answers carry no confidences; use "
                    "single-rlcr or multi-rlcr"
                )
    if recipe.confidence_score == "other" and recipe.confidences != "exclusive":
        raise ConfigError(
            "confidence_score = 'other' with confidences = 'independent': one probability for \"none of these\" makes "
            "sense where at most one answer can be right; add confidences: exclusive"
        )
    _check_objective(recipe)
    _check_weights(recipe, n=1)


def _check_objective(recipe: Recipe) -> None:
    if recipe.exploration != "none" and recipe.exploration_weight == 0:
        raise ConfigError(f"{_said(recipe, 'exploration')} has exploration_weight = 0: give a weight, for example 0.1")
    if recipe.objective == "mean":
        return
    objective = _said(recipe, "objective")
    k = recipe.objective_k or recipe.k
    if METHODS[recipe.method].has_confidence and recipe.confidence_weight:
        raise ConfigError(
            f"{objective} with method = {recipe.method!r}: a right answer that others of the group found too adds "
            "nothing, doubt about it still costs, so junk with confidence 0 would be worth more; use single-rlvr or "
            "multi-rlvr"
        )
    if recipe.coverage != "count":
        raise ConfigError(f"{objective} with {_said(recipe, 'coverage')}: it has its own count; leave coverage out")
    if not recipe.coverage_weight:
        raise ConfigError(f"{objective} with coverage_weight = 0: nothing would be learnt; give it a weight")
    if recipe.scale_rewards == "group":
        raise ConfigError(
            f"{objective} with scale_rewards = 'group': the deviation of the group's values is not that of pass@k; use "
            "'none' or 'batch'"
        )
    if recipe.credit == "term":
        raise ConfigError(f"{objective} with credit = 'term': it is no sum over answers; use credit 'sequence'")
    if not 1 <= k < recipe.group:
        name = "objective_k" if recipe.objective_k else "k"
        raise ConfigError(
            f"{objective} with {name} = {k} and group = {recipe.group}: use objective_k from 1 to {recipe.group - 1}"
        )


def check_questions(recipe: Recipe, task: Task, verifier: Verifier | QuestionVerifier) -> None:
    """Refuse what is improper on a question that training would meet; nothing is looked at when nothing can be.

    Raises:
        ConfigError: with field, value, the question and what to do.
    """
    reward = reward_for(recipe)
    is_plain = (reward.aggregation, reward.confidences, recipe.objective) == ("count", "independent", "mean")
    if is_plain or reward.preset != "paper":
        return  # the count gains the same everywhere, so reading the recipe has settled it
    seen: set[int] = set()
    for example in task.examples("train", recipe.steps * recipe.questions_per_step, seed=recipe.seed):
        unlimited = is_open(verifier_at(verifier, example))
        if unlimited and recipe.objective == "coverage@k":
            raise ConfigError(
                f"objective = 'coverage@k' on task {recipe.task!r}: it has no end of right answers; use 'pass@k'"
            )
        n = recipe.answers if unlimited else len(example.references)
        if n not in seen:
            seen.add(n)
            try:
                _check_weights(recipe, n)
            except ConfigError as exc:
                raise ConfigError(f"task {recipe.task!r}, question {example.id!r}: {exc}") from None


def _check_weights(recipe: Recipe, n: int) -> None:
    """The conditions on questions with n references."""
    reward = reward_for(recipe)
    check_question(reward, k=recipe.answers, n=n, names=_NAMES)
    if recipe.exploration == "none" or recipe.objective != "mean":
        return
    novelty = recipe.exploration_weight / recipe.answers
    # Under `any` a second right answer adds nothing; there it is the first that must win.
    gain = least_gain(reward.aggregation, k=recipe.answers, n=n, alpha=reward.alpha) or 1.0
    if novelty > reward.coverage * gain:
        raise ConfigError(
            f"{_said(recipe, 'exploration_weight')} with {_said(recipe, 'coverage_weight')}: on a question with {n} "
            f"reference{'s' if n != 1 else ''} a new wrong answer would earn {novelty:.3g}, a right one that everybody "
            f"gives {reward.coverage * gain:.3g}; lower exploration_weight"
        )


def _said(recipe: Recipe, name: str) -> str:
    return f"{name} = {getattr(recipe, name)!r}"
