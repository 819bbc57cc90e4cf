"""Memory of a CPU that training has freed goes back to the system (layer L4)."""

from __future__ import annotations

import ctypes
import os

_M_MMAP_THRESHOLD = -3
_LARGE = 1 << 20
"""Bytes from which a block is a mapping of its own, which its release gives back."""


def return_freed_memory() -> bool:
    """Have the C library give every large block back when it is freed; whether it could be told.

    glibc raises the size from which it does so to that of blocks that were freed, up to 32 MiB. Smaller ones share a
    heap that shrinks only at its end. A step's tensors have another shape each time, so that such a heap is mostly
    holes after some hours: a training of SmolLM2 that needs 4.8 GB held 13 GB. Where the user has set the size, in
    MALLOC_MMAP_THRESHOLD_ or GLIBC_TUNABLES, it stays; other C libraries have no such function.

    Source: mallopt(3).
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ or "mmap_threshold" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function; no library by that name (Windows)
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE))
