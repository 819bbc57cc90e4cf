"""Memory of a CPU that training has freed goes back to the system (layer L4)."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

LEAST = 2 << 30
"""Bytes of a process below which nothing is done: the pages have to be made again, which would slow small models."""
_STATM = Path("/proc/self/statm")


def return_freed_memory(least: int = LEAST) -> bool:
    """Have glibc give the pages back that it holds for later, if the process has ``least`` bytes; whether it gave any.

    A step's tensors have another shape each time, and glibc's heap shrinks only at its end by itself, so that it is
    mostly holes after some hours: a training of SmolLM2 that needs 5 GB held 13 GB. To have large blocks mapped and
    given back one by one (M_MMAP_THRESHOLD) costs small models half of their speed. Other systems and C libraries have
    no such function, or need none.

    Source: malloc_trim(3).
    """
    try:
        if int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") < least:
            return False
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError, ValueError):  # no Linux, or no glibc
        return False


class FreedMemory(TrainerCallback):
    """`return_freed_memory` after every step of a trainer."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Give it back."""
        return_freed_memory()
