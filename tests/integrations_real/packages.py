"""Which package a test file needs, and what happens where it is not installed."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def package(name: str, environment: str) -> Any:
    """The module ``name``; its file is skipped where it is not installed, but not in the environment made for it."""
    if os.environ.get("POLYMODE_INTEGRATION") == environment:
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed: scripts/test-integrations {environment}")
