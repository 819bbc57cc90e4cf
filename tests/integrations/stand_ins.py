"""Stand-ins for packages that the normal suite does not install; `tests/integrations_real` runs the packages."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import pytest


def with_stand_ins(monkeypatch: pytest.MonkeyPatch, adapter: str, modules: dict[str, dict[str, Any]]) -> Any:
    """The adapter ``polymode.integrations.<adapter>``, imported where the modules hold these names."""
    for name, members in modules.items():
        module = ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    name = f"polymode.integrations.{adapter}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)  # the next test gets stand-ins of its own
    return module
