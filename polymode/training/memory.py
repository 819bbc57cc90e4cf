"""Memory that a recipe needs on one device, computed from the model's shape (layer L4; imports no heavy package).

Bytes for P weights, A of them LoRA's, W processes, b bytes a number computed in (2 or 4):

    weights      4 P, all in float32           with LoRA  b P + 4 A     ZeRO 2  2 P            ZeRO 3  2 P / W
    copies       2 P in bfloat16 (autocast)               2 A                   0                      0
    gradients    4 P                                      4 A                   2 P / W, buckets       2 P / W, buckets
    optimiser    8 P, Adam's two moments                  8 A                   12 P / W               12 P / W

    activations  tokens x layers x (c_h h + c_q q + c_k k + c_m m), of one layer under activation checkpointing, and
                 then tokens x layers x h x (4, or b with LoRA) for what is kept between layers
    logits       3 arrays of (completion tokens, 32,768 words at a time) in float32
    sampling     each completion 2 L k b (2.5 T + T_prompt) + 16 V, as `polymode.decoding.memory` counts them

h, q, k, m are the widths of residual stream, queries, keys and feed-forward layers. The coefficients c are fitted to
the bytes that autograd keeps (tests/training/test_memory.py); tests compare whole runs with the memory that they took.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from polymode.training.shapes import Shape, shape_of

if TYPE_CHECKING:
    from polymode.training.recipe import Recipe

GB = 1e9
LARGE = 50_000_000
"""Weights from which `dtype: auto` is bfloat16 on a GPU (`polymode.decoding.precision.SMALL`)."""
KEPT: Mapping[tuple[int, bool], tuple[int, int, int, int]] = {
    (4, False): (24, 8, 12, 20),
    (2, False): (28, 2, 8, 10),
    (4, True): (13, 3, 8, 20),
    (2, True): (18, 0, 4, 11),
}
"""By bytes a number and whether LoRA is trained: bytes kept per token and layer, per unit of h, q, k and m."""
CONTEXT = 1.0 * GB
"""CUDA's context, and what its allocator cannot use."""
BUCKETS = 2.0 * GB
"""DeepSpeed's buffers for sums over processes."""
WORDS_AT_ONCE = 32_768
"""Words of the vocabulary that TRL's loss computes at a time."""
SAMPLING_SHARE = 0.8
"""Share of the free memory that sampling takes (`polymode.decoding.memory.SHARE`)."""
PROMPT_TOKENS = 512
"""Assumed where prompts have not been tokenised."""
Sharding = Literal["none", "zero1", "zero2", "zero3"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a run is spread over devices, and what it meets there."""

    processes: int = 1
    sharding: Sharding = "none"
    prompt_tokens: int = PROMPT_TOKENS
    card: float | None = None
    """Bytes of one device; None where there is none to compare with."""
    number: int | None = None
    """Bytes of a number that is computed in; None means what the recipe's dtype is on a GPU."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device."""

    parts: Mapping[str, float]
    """What is there all the time, by name."""
    step: Mapping[str, float]
    """What forward and backward pass add."""
    row: float
    """What sampling one completion at its longest adds; 0 with vLLM."""
    asleep: float
    """What vLLM takes while completions are sampled and gives back before the weights are trained (sleep mode)."""
    rows: int
    """Completions that a device samples in a step."""
    shape: Shape
    layout: Layout
    is_checkpointing: bool
    """Whether activations are computed again instead of kept."""

    @property
    def least(self) -> float:
        """The peak, with one completion sampled at a time if need be."""
        return sum(self.parts.values()) + max(sum(self.step.values()), self.row, self.asleep)

    @property
    def rows_at_once(self) -> int:
        """Completions that fit beside what is there all the time; all of them where nothing is known of the card."""
        if not self.row or self.layout.card is None:
            return self.rows
        free = (self.layout.card - sum(self.parts.values())) * SAMPLING_SHARE
        return max(0, min(self.rows, int(free / self.row)))

    @property
    def fits(self) -> bool | None:
        """Whether the card is large enough; None where none is named."""
        return None if self.layout.card is None else self.least <= self.layout.card

    def line(self) -> str:
        """Everything in one line, with what to change where it does not fit."""
        names = {**self.parts, **self.step, "or vLLM while it is awake": self.asleep}
        terms = ", ".join(f"{name} {size / GB:.1f}" for name, size in names.items() if size >= 0.05 * GB)
        text = f"memory of one device, estimated: {self.least / GB:.1f} GB" + (f" ({terms})" if terms else "")
        if self.row:
            text += f"; sampling {self.row / GB:.2f} GB a completion"
            if self.layout.card is not None:
                text += f", {self.rows_at_once} of {self.rows} at once"
        if self.layout.card is None:
            return text
        card = f"{self.layout.card / GB:.0f} GB"
        return f"{text}; fits into {card}" if self.fits else f"{text}; does NOT fit into {card}: {self.advice()}"

    def advice(self) -> str:
        """What to change, least costly first."""
        step, all_weights = sum(self.step.values()), self.parts["gradients"] > 0.1 * self.least
        ways = {
            "set activation_checkpointing: true": not self.is_checkpointing and step > 0.1 * self.least,
            "set trl: {vllm_enable_sleep_mode: true}": "vLLM" in self.parts,
            "lower device_batch": step > 0.1 * self.least,
            "train adapters (lora: {r: 16})": all_weights,
            "spread the weights over GPUs (accelerate launch --use_deepspeed --zero_stage 2)": all_weights,
        }
        return " or ".join([way for way, helps in ways.items() if helps][:3] or ["take a smaller model"])


def estimate(recipe: Recipe, layout: Layout, shape: Shape | None = None) -> Memory:
    """What the recipe needs on each of the layout's devices.

    Args:
        recipe: the options.
        layout: processes, sharding and card.
        shape: the model's; None means to look for it by the recipe's model.

    Raises:
        ConfigError: the model's shape cannot be known.
    """
    shape = shape_of(recipe.model) if shape is None and recipe.model else shape or LAB
    number = layout.number or _bytes_of(recipe.dtype, shape)
    is_sharded = layout.sharding != "none" and not recipe.lora
    rank = int(recipe.lora.get("r", 8)) if recipe.lora else 0
    trained = shape.adapters(rank) if rank else shape.parameters
    rows = recipe.completions_per_step // layout.processes
    batch = min(recipe.device_batch or rows, rows)
    parts = _sharded(recipe, shape, trained, number, layout) if is_sharded else _whole(recipe, shape, trained, number)
    engine = 0.0
    if recipe.use_vllm and recipe.vllm_mode == "colocate":
        engine = recipe.vllm_gpu_memory_utilization * layout.card if layout.card else 2.4 * shape.parameters
    sleeps = bool(recipe.trl.get("vllm_enable_sleep_mode"))
    if engine and not sleeps:
        parts["vLLM"] = engine
    parts["CUDA"] = CONTEXT if layout.card else 0.0
    # Completions of a question share its prompt in the loss, unless activations are computed again.
    shares_prompt = not (recipe.activation_checkpointing or is_sharded)
    n_prompts = math.ceil(batch / recipe.num_generations) if shares_prompt else batch
    n_completion = batch * recipe.max_completion_length
    tokens = n_prompts * layout.prompt_tokens + n_completion
    layer = tokens * _kept_by_layer(shape, number, is_lora=bool(rank))
    between = tokens * shape.width * (number if rank or is_sharded else 4)
    each = 2 * shape.layers * shape.kv_heads * shape.head * number
    row = each * (2.5 * recipe.max_completion_length + layout.prompt_tokens) + 16 * shape.vocabulary
    return Memory(
        parts=parts,
        step={
            "activations": layer + shape.layers * between if recipe.activation_checkpointing else shape.layers * layer,
            "logits": 3 * 4.0 * n_completion * min(shape.vocabulary, WORDS_AT_ONCE),
        },
        row=0.0 if recipe.use_vllm else row,
        asleep=engine if sleeps else 0.0,
        rows=rows,
        shape=shape,
        layout=layout,
        is_checkpointing=recipe.activation_checkpointing,
    )


LAB = Shape(3, 96, 288, 4, 4, 24, 2000, True, source="the lab's model")
"""Of `polymode.training.lab_model`, with a vocabulary of usual size."""


def _bytes_of(dtype: str, shape: Shape) -> int:
    return 2 if dtype == "bfloat16" or (dtype == "auto" and shape.parameters >= LARGE) else 4


def _kept_by_layer(shape: Shape, number: int, *, is_lora: bool) -> int:
    """Bytes of one token's activations in one layer."""
    widths = shape.width, shape.heads * shape.head, shape.kv_heads * shape.head, shape.inner
    return sum(factor * width for factor, width in zip(KEPT[number, is_lora], widths, strict=True))


def _whole(recipe: Recipe, shape: Shape, trained: int, number: int) -> dict[str, float]:
    """What each device holds where every one has all weights."""
    frozen = number * shape.parameters if recipe.lora else 0
    parts = {
        "weights": float(frozen + 4 * trained),
        "copies": 2.0 * trained if number == 2 else 0.0,
        "gradients": 4.0 * trained,
        "optimiser": 8.0 * trained,
    }
    if recipe.replay:
        parts["optimiser of replay"] = 8.0 * trained
    if recipe.beta and not recipe.lora:
        parts["reference"] = 4.0 * shape.parameters
    return parts


def _sharded(recipe: Recipe, shape: Shape, trained: int, number: int, layout: Layout) -> dict[str, float]:
    """What each device holds under DeepSpeed's ZeRO (or FSDP, as stage 3)."""
    w, stage = layout.processes, int(layout.sharding[-1])
    parts = {
        "weights": number * trained / (w if stage == 3 else 1),
        "gradients": number * trained / (w if stage >= 2 else 1) + BUCKETS,
        "optimiser": (8 + (4 if number == 2 else 0)) * trained / w,
    }
    if recipe.beta:
        parts["reference"] = 4.0 * shape.parameters / (w if stage == 3 else 1)
    return parts
