"""The precision that a model computes in: bfloat16 where the machine multiplies it fast, else float32 (layer L3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import torch

from polymode.errors import one_of

Precision = Literal["auto", "bfloat16", "float32"]
SMALL = 50_000_000
"""Models of fewer parameters compute in float32 under `auto`: it costs little, and rounds no confidences."""


def compute_dtype(precision: str, model: str | Path | None = None, **options: Any) -> torch.dtype:
    """The type called ``precision`` for a model, which is looked at only when needed, without loading its weights.

    ``auto`` is bfloat16 for models from `SMALL` parameters on a GPU that has it and on a CPU with AMX, else float32. On
    a CPU without AMX bfloat16 is emulated, which is slower than float32.

    Args:
        precision: auto, bfloat16 or float32.
        model: name, folder or GGUF file; None stands for a small one.
        options: of ``AutoConfig.from_pretrained``.

    Raises:
        ConfigError: another name.
    """
    one_of("dtype", precision, get_args(Precision))
    if precision == "auto":
        is_large = model is not None and has_fast_bfloat16() and parameters_of(model, **options) >= SMALL
        precision = "bfloat16" if is_large else "float32"
    return getattr(torch, precision)


def parameters_of(model: str | Path, **options: Any) -> int:
    """Number of parameters by the model's configuration."""
    return sum(p.numel() for p in without_weights(model, **options).parameters())


def without_weights(model: str | Path, **options: Any) -> Any:
    """The layers that the model's configuration describes, without numbers in them."""
    from polymode.decoding.loading import configuration_of

    config = configuration_of(model, **options)
    with torch.device("meta"):
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

        # The class itself: under DeepSpeed's ZeRO-3 `from_config` spreads the weights over the processes, here nothing.
        build: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), AutoModelForCausalLM.from_config)
        return build(config)


def has_fast_bfloat16() -> bool:
    """Whether the GPU, or without one the CPU, multiplies bfloat16 faster than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch do not tell
    return bool(capabilities.get("amx_bf16"))
