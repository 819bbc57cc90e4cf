"""The package of this folder, put on the path as if pip had installed it, or standing in the working folder."""

import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "package"
NAMES = {"task": "Drinks", "verifier": "SameDrink", "generator": "Parrot", "metric": "first_right", "term": "brevity"}
NAMES |= {"confidence_score": "squared", "confidence": "even"}


@pytest.fixture(params=["module:Name", "entry point"])
def name_of(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """What each kind of the package's things is called, in either way of naming it."""
    monkeypatch.setenv("POLYMODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delitem(sys.modules, "tastes", raising=False)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(PACKAGE / "tastes.py", folder)
    if request.param == "module:Name":
        monkeypatch.chdir(folder)  # the commands import from where they run
        return lambda kind: f"tastes:{NAMES[kind]}"
    points = install(folder)
    monkeypatch.syspath_prepend(str(folder))
    return lambda kind: next(iter(points[f"polymode.{kind}s"]))


def install(folder: Path) -> dict[str, dict[str, str]]:
    """Write what pip writes beside the modules; the entry points by group."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    points: dict[str, dict[str, str]] = project["entry-points"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"[{group}]\n" + "".join(f"{n} = {a}\n" for n, a in names.items()) for group, names in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return points
