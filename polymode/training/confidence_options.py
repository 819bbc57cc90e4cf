"""Options of ``credit: expected``, and what credit for tokens does not go with; read before torch is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, Strict, ValidationError
from pydantic.dataclasses import dataclass

from polymode.errors import ConfigError
from polymode.rewards import METHODS
from polymode.training.trl_options import SEGMENTED, describe, suggestion

if TYPE_CHECKING:
    from polymode.training.recipe import Recipe

LOSS_TYPES = ("dapo", "grpo", "dr_grpo", "bnpo", "cispo")
"""Losses of TRL that are a weighted sum over tokens."""
Count = Annotated[int, Strict(), Field(ge=1)]
Whole = Annotated[int, Strict(), Field(ge=0)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ReplayOptions:
    """The section ``replay`` of a recipe (`polymode.training.replay`)."""

    steps: Whole = 0
    """Steps after each step of reinforcement learning, at a constant learning rate."""
    last_steps: Whole = 60
    """Steps after the last one, while the learning rate falls to 0."""
    batch: Count = 16
    """Completions of a step, in each process."""
    size: Count = 4096
    """Completions that are remembered, in each process."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5e-5
    anchor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Weight of the divergence that holds all other tokens, beside the loss of the confidences."""
    teacher: Literal["verdicts", "probe"] = "verdicts"
    """What confidences are scored against."""
    layer: Annotated[float, Field(gt=0, le=1)] = 0.67
    """`teacher: probe` only: depth of the hidden states that the probe reads, as a share of the layers."""


def replay_options(section: Mapping[str, Any]) -> ReplayOptions:
    """The section of a recipe, checked; raises ConfigError for an unknown option or a value that is not allowed."""
    names = [one.name for one in fields(ReplayOptions)]
    for name, value in section.items():
        if name not in names:
            raise ConfigError(f"replay: unknown option {name!r}{suggestion(str(name), names)}")
        if isinstance(value, bool):
            raise ConfigError(f"replay: {name} = {value!r} is a truth value, which is not allowed here")
    try:
        options = ReplayOptions(**section)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise ConfigError(f"replay: {first['loc'][0]} = {first['input']!r} {describe(first)}") from None
    if not options.steps + options.last_steps:
        raise ConfigError(
            "replay: steps = 0 and last_steps = 0: nothing would be learnt; give one of them, or leave it out"
        )
    if options.batch > options.size:
        raise ConfigError(f"replay: batch = {options.batch} is more than size = {options.size}: raise size")
    return options


def credit_conflicts(recipe: Recipe) -> Iterator[str]:
    """What contradicts credit for single tokens, or needs ``credit: expected``; the first is reported."""
    credit = f"credit = {recipe.credit!r}"
    if recipe.credit in ("term", *SEGMENTED) and recipe.loss_type == "luspo":
        yield (
            f"loss_type = 'luspo' with {credit}: it is made for one advantage for each completion; "
            "use loss_type = 'dapo', or credit = 'sequence'"
        )
    if recipe.credit in SEGMENTED:
        if not METHODS[recipe.method].has_confidence:
            yield f"{credit} with method = {recipe.method!r}: no confidences to credit; use single-rlcr, multi-rlcr"
        if recipe.scale_rewards != "none":
            yield (
                f"scale_rewards = {recipe.scale_rewards!r} with {credit}: it divides each part by its group's "
                "deviation itself; leave scale_rewards out"
            )
        for name, plain in (("confidence_score", "brier"), ("confidence_weight", 1.0)):
            if (value := getattr(recipe, name)) != plain:
                yield f"{name} = {value!r} with {credit}: it scores confidences in its own way; leave {name} out"
    is_first = recipe.format == "confidence-first"
    if recipe.credit == "coca" and not is_first:
        yield (
            f"credit = 'coca' with format = {recipe.format!r}: it is for a confidence that stands before its answer; "
            "use format: confidence-first, or credit: dcpo"
        )
    if recipe.credit in ("term", "expected", "dcpo") and is_first and METHODS[recipe.method].has_confidence:
        yield (
            f"format = 'confidence-first' with {credit}: whether an answer is right is not fixed when a confidence "
            "before it is sampled; use credit: coca or sequence, or format: tags"
        )
    given = {"replay": recipe.replay, "confidence_questions": recipe.confidence_questions != "all"}
    if recipe.credit != "expected":
        if name := next((name for name, value in given.items() if value), None):
            yield f"{name} is given without credit = 'expected': add credit: expected"
        return
    if recipe.apart_share != 0.25 and recipe.confidence_questions != "apart":
        yield f"apart_share = {recipe.apart_share!r} is given without apart: add confidence_questions: apart"
    if not METHODS[recipe.method].has_confidence:
        yield f"credit = 'expected' with method = {recipe.method!r}: its answers carry no confidences; use credit: term"
    if not recipe.confidence_weight:
        yield "credit = 'expected' with confidence_weight = 0: confidences are not scored; use credit: term"
    if recipe.confidence_score == "other":
        yield (
            "credit = 'expected' with confidence_score = 'other': it scores the set as a whole, so that no confidence "
            "has a score of its own; use brier, log or spherical, or credit: term"
        )
    if recipe.loss_type not in LOSS_TYPES:
        yield (
            f"credit = 'expected' with loss_type = {recipe.loss_type!r}, which is no weighted sum over tokens: use one "
            f"of {', '.join(LOSS_TYPES)}, or credit: term"
        )
    if recipe.scale_rewards == "group":
        yield "credit = 'expected' with scale_rewards = 'group': use 'none' or 'batch'"
    if recipe.replay:
        replay_options(recipe.replay)
