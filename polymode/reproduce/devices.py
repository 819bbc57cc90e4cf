"""Where the processes of an experiment run: the GPUs of this machine, one model on each, or its cores."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from polymode.errors import ConfigError

VISIBLE = "CUDA_VISIBLE_DEVICES"
_SECONDS = 20


def gpus() -> tuple[str, ...]:
    """The GPUs that a process here may use, by number or name, without loading torch."""
    if (visible := os.environ.get(VISIBLE)) is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1"))
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(done.stdout.split()) if done.returncode == 0 else ()


def chosen(device: str) -> tuple[str, ...]:
    """The GPUs to use; none means the cores.

    Raises:
        ConfigError: ``device`` is cuda and there is no GPU.
    """
    if device == "cpu":
        return ()
    if not (own := gpus()) and device == "cuda":
        raise ConfigError("device = 'cuda', and no NVIDIA GPU was found: use auto or cpu, or see polymode doctor")
    return own


def environment(device: str | None, own: tuple[str, ...], slot: int) -> Mapping[str, str]:
    """Variables for the process in the ``slot``-th place: it sees one GPU, or with ``cpu`` none.

    ``device`` None leaves everything as it is.
    """
    if device is None or not (own or device == "cpu"):
        return {}
    return {VISIBLE: own[slot % len(own)] if own else ""}
