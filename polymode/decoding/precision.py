"""The precision that a model computes in: bfloat16 where the machine multiplies it fast, else float32."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from polymode.errors import one_of

Precision = Literal["auto", "bfloat16", "float32"]


def compute_dtype(precision: str) -> torch.dtype:
    """The type called ``precision``; ``auto`` is bfloat16 on a GPU that has it and on a CPU with AMX, else float32.

    On a CPU without AMX bfloat16 is emulated, which is slower than float32.

    Raises:
        ConfigError: another name.
    """
    one_of("dtype", precision, get_args(Precision))
    if precision == "auto":
        precision = "bfloat16" if _has_fast_bfloat16() else "float32"
    return getattr(torch, precision)


def _has_fast_bfloat16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch do not tell
    return bool(capabilities.get("amx_bf16"))
