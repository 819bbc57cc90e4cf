"""`--engine ray` where Ray is missing, too old, or has no cluster; `tests/integrations_real` runs it on a cluster."""

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from polymode.cli import main
from polymode.evaluation import ray_engine


def no_cluster(**_: Any) -> None:
    raise ConnectionError("no cluster runs here")


def ray_of(version: str | None) -> Any:
    """A package that finds no cluster; without a version, what Python makes of a folder named ``ray``."""
    module: Any = ModuleType("ray")
    if version is not None:
        module.__version__ = version
        module.is_initialized, module.init, module.shutdown = lambda: False, no_cluster, lambda: None
        module.exceptions = SimpleNamespace(RayTaskError=RuntimeError, RayError=RuntimeError)
    return module


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, "--engine ray needs the package 'ray', which is not installed: pip install 'polymode[ray]'"),
        (ray_of(None), "--engine ray needs the package 'ray', which is not installed: pip install 'polymode[ray]'"),
        (ray_of("1.13.0"), "ray 1.13.0 is installed, and --engine ray needs ray 2.50 or later: pip install"),
        (ray_of("2.9.3"), "ray 2.9.3 is installed, and --engine ray needs ray 2.50 or later: pip install 'ray>=2.50'"),
        (ray_of("2.50.0"), "no Ray cluster can be started here (no cluster runs here): start one with 'ray start"),
        (ray_of("3.0.0.dev0"), "no Ray cluster can be started here (no cluster runs here): start one with 'ray start"),
    ],
)
def test_a_ray_that_does_not_do_is_one_line_and_nothing_is_written(
    module: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", module)
    source = tmp_path / "completions.jsonl"
    source.write_text('{"completion": "<answer>a</answer>", "references": ["a"], "k": 1}\n')
    out = tmp_path / "out"
    assert main(["evaluate", str(source), "--out", str(out), "--engine", "ray"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert not out.exists()


def test_the_oldest_ray_is_that_of_the_extra(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    [pin] = project["optional-dependencies"]["ray"]
    assert tuple(map(int, re.findall(r"\d+", pin))) == ray_engine.OLDEST
