"""Scripts of bench/ as modules, for tests of what they compute."""

import importlib.util
import sys
from pathlib import Path
from typing import Any


def load_bench(name: str) -> Any:
    """The module of ``bench/NAME.py``."""
    spec = importlib.util.spec_from_file_location(
        f"bench_{name}", Path(__file__).resolve().parents[1] / "bench" / f"{name}.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for their module
    spec.loader.exec_module(module)
    return module
