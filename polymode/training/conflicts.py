"""Options of a recipe that contradict each other, each in one line that says what to change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from polymode.rewards import METHODS
from polymode.rewards.conditions import improper_objective
from polymode.training.confidence_options import credit_conflicts
from polymode.training.target_options import target_conflicts
from polymode.training.trl_options import SEGMENTED

if TYPE_CHECKING:
    from polymode.training.recipe import Recipe


def conflicts(recipe: Recipe) -> Iterator[str]:
    """Options that contradict each other; the first is reported."""
    method = f"method = {recipe.method!r}"
    has_confidence = METHODS[recipe.method].has_confidence
    if recipe.model is not None and recipe.warm_start_demonstrations != "noisy":
        yield (
            f"{_setting(recipe, 'warm_start_demonstrations')} with model = {recipe.model!r}: only the lab's "
            "own model is warm-started; leave one of them out"
        )
    if recipe.verifier is None and recipe.verifier_options:
        yield "verifier_options are given without verifier: name one, for example verifier: judge"
    if recipe.method.startswith("multi") and recipe.k == 1:
        yield f"k = 1 with {method}: use the single method, or k from 2"
    if len(set(recipe.k_choices)) != len(recipe.k_choices):
        yield f"k_choices = {recipe.k_choices!r} names a number twice: name each once"
    for name, plain in (("coverage", "count"), ("objective", "mean"), ("exploration", "none"), ("preset", "paper")):
        if recipe.k_choices and getattr(recipe, name) != plain:
            yield f"k_choices with {_setting(recipe, name)}: its conditions are of one k; use k, or {name} = {plain!r}"
    if recipe.k_choices and not recipe.method.startswith("multi"):
        yield f"k_choices with {method}: a single method asks for one answer; use k"
    if recipe.scale_rewards == "group" and has_confidence and not recipe.allow_group_scale:
        yield (
            f"scale_rewards = 'group' with {method}: dividing by each group's deviation breaks calibration (arXiv "
            "2508.11800); use 'none' or 'batch' (allow_group_scale: true lets it through, to measure that)"
        )
    without = ("sequence", *SEGMENTED, "mean", "none")
    for name, plain, switch, value in (
        ("reasoning_credit", 1, "credit", "term"),
        ("confidence_credit", 1, "credit", "term"),
        ("objective_k", 0, "objective", "pass@k"),
        ("exploration_weight", 0.1, "exploration", "batch"),
    ):
        if getattr(recipe, name) != plain and getattr(recipe, switch) in without:
            yield f"{_setting(recipe, name)} is given without {switch}: add {switch}: {value}"
    if recipe.confidence_credit != 1 and not has_confidence:
        yield (
            f"{_setting(recipe, 'confidence_credit')} with {method}: its answers carry no confidences; use "
            "single-rlcr or multi-rlcr"
        )
    yield from credit_conflicts(recipe)
    if recipe.credit != "sequence" and recipe.preset != "paper":
        yield (
            f"{_setting(recipe, 'credit')} with preset = {recipe.preset!r}: its gates look at the whole set; use "
            "preset 'paper', or credit 'sequence'"
        )
    yield from target_conflicts(recipe)
    if recipe.device_batch is not None and recipe.completions_per_step % recipe.device_batch:
        steps = f"questions_per_step x num_generations = {recipe.completions_per_step}"
        yield f"{_setting(recipe, 'device_batch')} must divide {steps}"


def objective_conflicts(recipe: Recipe) -> Iterator[str]:
    """What objective and exploration contradict; the first is reported."""
    for name, plain in (("objective", "mean"), ("exploration", "none")):
        if recipe.preset != "paper" and getattr(recipe, name) != plain:
            yield f"{_setting(recipe, name)} with preset = {recipe.preset!r}: use preset 'paper'"
    if recipe.exploration != "none" and recipe.exploration_weight == 0:
        yield f"{_setting(recipe, 'exploration')} has exploration_weight = 0: give a weight, for example 0.1"
    if recipe.objective == "mean":
        return
    objective = _setting(recipe, "objective")
    if recipe.reward.confidence_weight:
        yield improper_objective(recipe.objective, recipe.method)
    if recipe.coverage != "count":
        yield f"{objective} with {_setting(recipe, 'coverage')}: it has its own count; leave coverage out"
    if not recipe.coverage_weight:
        yield f"{objective} with coverage_weight = 0: nothing would be learnt; give it a weight"
    if recipe.scale_rewards == "group":
        yield (
            f"{objective} with scale_rewards = 'group': the deviation of the group's values is not that of pass@k; "
            "use 'none' or 'batch'"
        )
    if recipe.credit != "sequence":
        yield f"{objective} with {_setting(recipe, 'credit')}: it is no sum over answers; use credit 'sequence'"
    if (recipe.objective_k or recipe.k) >= recipe.num_generations:
        yield (
            f"{objective} with {_setting(recipe, 'objective_k' if recipe.objective_k else 'k')} and num_generations = "
            f"{recipe.num_generations}: use objective_k from 1 to {recipe.num_generations - 1}"
        )


def _setting(recipe: Recipe, name: str) -> str:
    return f"{name} = {getattr(recipe, name)!r}"
