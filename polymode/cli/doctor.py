"""`polymode doctor`: what is installed, and what a recipe needs."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Literal

from polymode.cli.flags import Count, SomeCount
from polymode.errors import ConfigError


@dataclass(frozen=True)
class Doctor:
    """Show what is installed, what the machine offers, and what each missing part would add.

    With --recipe: the memory that training by that recipe needs on each GPU, computed from the model's dimensions, and
    compared with the GPU that is here or with --memory. Processes and sharding are those of the command in the recipe's
    header, unless given.

    Examples:
        polymode doctor
        # does it fit into a card of 24 GB?
        polymode doctor --recipe recipes/qwen3-0.6b-clinic.yaml --memory 24
        # another model, on four GPUs with its weights spread over them
        polymode doctor --recipe recipes/qwen3-8b-ddxplus-multi-rlcr.yaml --zero-stage 3
    """

    _: KW_ONLY
    recipe: Path | None = None
    """Recipe whose memory to compute."""
    model: str | None = None
    """Model in place of the recipe's."""
    memory: float | None = None
    """Gigabytes (10^9 bytes) of one GPU; by default those of the smallest GPU that is here."""
    processes: SomeCount = None
    """Number of GPUs."""
    zero_stage: Literal[0, 1, 2, 3] | None = None
    """Stage of DeepSpeed's ZeRO; 0: every GPU holds all weights."""
    prompt_tokens: Count = 512
    """Longest prompt in tokens."""


def doctor(options: Doctor) -> int:
    """Print what is installed, or what a recipe needs."""
    from polymode.doctor import diagnose, render, render_memory

    if options.recipe is None:
        if flags := [
            name for name in ("model", "memory", "processes", "zero_stage") if getattr(options, name) is not None
        ]:
            raise ConfigError(f"--{flags[0].replace('_', '-')} is about a recipe: give --recipe too")
        print(render(diagnose()))
        return 0
    if options.memory is not None and not 0 < options.memory < float("inf"):
        raise ConfigError(f"--memory {options.memory} must be above 0: give the gigabytes of one GPU, for example 24")
    needs = {name: getattr(options, name) for name in ("model", "processes", "zero_stage", "prompt_tokens")}
    print(render_memory(options.recipe, gigabytes=options.memory, **needs))
    return 0
