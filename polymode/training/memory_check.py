"""What is said of memory before training starts, for the devices that a run has (layer L4)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from polymode.errors import ConfigError
from polymode.training.memory import GB, LARGE, Layout, Sharding, estimate
from polymode.training.shapes import Shape, from_config

if TYPE_CHECKING:
    from polymode.training.recipe import Recipe


def announce(
    recipe: Recipe,
    config: Mapping[str, Any],
    *,
    number: int,
    prompt_tokens: int,
    card: float | None,
    ram: float | None = None,
) -> str:
    """The line that is printed before training starts, and another one where options of the lab's model are left.

    Args:
        recipe: the options.
        config: the model's configuration as ``config.json`` holds it.
        number: bytes of a number that is computed in.
        prompt_tokens: of the longest prompt.
        card: bytes of the GPU; None on a CPU.
        ram: bytes of the machine's memory, where it trains without a GPU.

    Raises:
        ConfigError: what must be there all the time does not fit, so that no step could be taken.
    """
    try:
        shape = from_config(config, "the model's configuration")
    except ConfigError as exc:  # an architecture that is not counted trains all the same
        return f"memory of one device: not known ({exc})"
    layout = Layout(*layout_of_environment(), prompt_tokens=prompt_tokens, card=card, number=number)
    memory = estimate(recipe, layout, shape)
    if card is not None and sum(memory.parts.values()) > card:
        raise ConfigError(memory.line())
    if ram is not None and sum(memory.parts.values()) > ram:
        raise ConfigError(f"{memory.line()}; this machine has {ram / GB:.0f} GB: {memory.advice()}")
    return "\n".join((memory.line(), *_left_from_the_lab(recipe, shape)))


def _left_from_the_lab(recipe: Recipe, shape: Shape) -> Iterator[str]:
    """The defaults that a recipe still has and that suit the lab's small model alone."""
    if shape.parameters < LARGE:
        return
    options = {"learning_rate": not recipe.lora, "max_completion_length": recipe.prompt_style != "brief"}
    default = {one.name: one.default for one in fields(recipe)}
    left = [name for name, matters in options.items() if matters and getattr(recipe, name) == default[name]]
    if left:
        yield (
            f"warning: {' and '.join(f'{name} = {default[name]}' for name in left)}: made for the lab's model of 0.4M "
            "weights, not for a pretrained one; start from a file in recipes/, or give --learning-rate 1e-6 "
            "--max-completion-length 1536"
        )


def layout_of_environment() -> tuple[int, Sharding]:
    """Processes and sharding as `accelerate launch` tells them to the processes that it starts."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
        return processes, "none" if stage == "0" else f"zero{stage}"  # type: ignore[return-value]
    return processes, "zero3" if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true" else "none"


def layout_of_command(text: str) -> tuple[int, Sharding]:
    """Processes and sharding of the command that a recipe's header gives; one process, none, where it names neither."""
    processes = re.search(r"--num_processes[ =](\d+)", text)
    stage = re.search(r"--zero_stage[ =]([123])", text)
    sharding: Sharding = "zero3" if "--use_fsdp" in text else "none"
    if stage is not None:
        sharding = {"1": "zero1", "2": "zero2", "3": "zero3"}[stage[1]]  # type: ignore[assignment]
    return int(processes[1]) if processes else 1, sharding
