"""How many completions may be sampled side by side: by what they need at their longest, and what is free."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch

from polymode.decoding.settings import base_of
from polymode.errors import ConfigError

log = logging.getLogger(__name__)
T = TypeVar("T")
SHARE = {"cuda": 0.8, "cpu": 0.5}
"""Share of the free memory that sampling may take; on a CPU others need some too."""
_GROWTH = 2.5
"""Buffers of keys and values grow by half, and the smaller ones are still there while they are copied."""
_COPIES = 4
"""Arrays of (rows, vocabulary) in float32 at a step: logits, scaled, probabilities, padded."""


def rows_that_fit(model: Any, prompt_tokens: int, max_tokens: int) -> int:
    """Completions that fit into the free memory at once, at least 1.

        bytes of a row = 2 L H D b (2.5 T + T_prompt) + 4 x 4 V

    with L layers, H heads of keys and values of width D, b bytes a number, T tokens of the completion, V words of the
    vocabulary. Each row is counted with a prompt of its own, as if it shared it with nobody. A model whose
    configuration names no attention heads, such as a state-space model, is not counted: any number fits.
    """
    config = base_of(model).config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", None)
    if heads is None:
        return sys.maxsize
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    each = 2 * config.num_hidden_layers * heads * width * compute_dtype_of(model).itemsize
    row = each * (_GROWTH * max_tokens + prompt_tokens) + _COPIES * 4 * config.vocab_size
    return max(1, int(free_bytes(model.device) * SHARE.get(model.device.type, 0.5) / row))


def run_in_chunks(
    order: Sequence[int],
    at_once: Callable[[int], int],
    run: Callable[[Sequence[int]], Sequence[T]],
    problem: Callable[[int], str],
    *,
    what: str = "completions",
) -> dict[int, T]:
    """What ``run`` gives for each number of ``order``, called with some of them at a time.

    When memory runs out all the same, the number is halved.

    Args:
        order: the numbers, so that those which belong together lie together.
        at_once: most of them side by side, by the first of them.
        run: gives one result for each number that it is called with.
        problem: what is said where this number alone does not fit.
        what: the numbers are of, for the log.

    Raises:
        ConfigError: one alone does not fit.
    """
    made: dict[int, T] = {}
    start, most = 0, len(order)
    while start < len(order):
        chunk = order[start : start + max(1, min(most, at_once(order[start])))]
        try:
            made.update(zip(chunk, run(chunk), strict=True))
        except (torch.OutOfMemoryError, RuntimeError) as exc:
            if not is_out_of_memory(exc):
                raise
            if len(chunk) == 1:
                raise ConfigError(problem(chunk[0])) from exc
            most = len(chunk) // 2
            log.warning("out of memory with %d %s at once; going on with %d", len(chunk), what, most)
            free_memory()
            continue
        start += len(chunk)
    return made


def sample_in_chunks(
    model: Any,
    order: Sequence[int],
    tokens_N: Sequence[int],
    at_once: int,
    sample: Callable[[Sequence[int]], Sequence[T]],
) -> list[T]:
    """Completions of ``run_in_chunks`` in the order of their numbers.

    Args:
        model: on whose device the samples are made.
        order: a permutation of 0 to N - 1.
        tokens_N: tokens of each prompt with its longest completion, for the error.
        at_once: most completions side by side.
        sample: gives the completions of the numbers that it is called with.

    Raises:
        ConfigError: a single completion does not fit.
    """

    def problem(i: int) -> str:
        return (
            f"no room for one completion of up to {tokens_N[i]} tokens on {model.device}: lower the number of tokens, "
            "use dtype bfloat16, or a smaller model"
        )

    made = run_in_chunks(order, lambda _: at_once, sample, problem)
    return [made[i] for i in range(len(order))]


def compute_dtype_of(model: Any) -> torch.dtype:
    """The type that the model computes in: that of its weights, or of autocast."""
    device = model.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype


def free_bytes(device: torch.device) -> int:
    """Memory that can still be used on the device."""
    if device.type != "cuda":
        return psutil.virtual_memory().available
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def total_memory() -> tuple[float | None, float | None]:
    """Bytes of the first GPU, None without one; and of the machine, None with a GPU."""
    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory), None
    return None, float(psutil.virtual_memory().total)


def check_memory(model: str | Path, n_weights: int, bytes_each: int, *, what: str, advice: str) -> str:
    """What a model takes at least, in words, or an error where the device cannot hold it.

    Args:
        model: name, folder or GGUF file, for the error.
        n_weights: of the model.
        bytes_each: that each weight takes.
        what: takes them, such as ``holding``.
        advice: what to do where they do not fit.

    Raises:
        ConfigError: it is more than the whole memory of the GPU, or of the machine where it has none.
    """
    need = n_weights * bytes_each
    text = f"{what} {n_weights / 1e9:.3g} billion weights takes {need / 1e9:.1f} GB"
    card, ram = total_memory()
    total, owner = (ram, "this machine") if card is None else (card, "the GPU")
    if total is not None and need > total:
        raise ConfigError(f"model = {str(model)!r}: {text}, and {owner} has {total / 1e9:.1f} GB: {advice}")
    return text


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether the error says that memory ran out; on a CPU it is a plain RuntimeError."""
    return isinstance(exc, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(exc)


def free_memory() -> None:
    """Give back what nobody uses."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
