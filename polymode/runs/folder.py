"""A run folder: names of its files, how it is begun, and where its completions are (layer L3)."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from polymode.errors import RunExistsError
from polymode.runs.files import to_json, write_document

CONFIG, COMPLETIONS, JUDGED, METRICS, TRAIN_METRICS, POLICY, REPORT = (
    "config.json",
    "completions.jsonl",
    "judged.jsonl",
    "metrics.json",
    "metrics.jsonl",
    "policy.json",
    "report.html",
)
_LIBRARIES = ("numpy", "scipy", "torch", "transformers", "trl", "accelerate", "datasets", "vllm")


def cache_folder() -> Path:
    """Folder of files that can be made again: ``$POLYMODE_CACHE``, else ``~/.cache/polymode``."""
    return Path(os.environ.get("POLYMODE_CACHE") or Path.home() / ".cache" / "polymode")


def file_in(path: Path | str, name: str) -> Path:
    """A file from itself, or from the folder in which it is called ``name``."""
    path = Path(path)
    return path / name if path.is_dir() else path


def create(folder: Path, config: Any, *, resume: bool = False) -> Path:
    """Make a run folder and write its config; an existing one needs ``resume``.

    Raises:
        RunExistsError: the folder holds a config already and ``resume`` is False.
        WriteError: the folder cannot be written.
    """
    if (folder / CONFIG).exists():
        if not resume:
            raise RunExistsError(f"run folder {folder} exists already: pass --resume to go on, or choose another --out")
        return folder
    write_document(folder / CONFIG, {"config": to_json(config), "made_with": provenance()})
    return folder


def provenance() -> dict[str, Any]:
    """Versions and git commit to keep beside results."""
    versions = {}
    for name in ("polymode", *_LIBRARIES):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), "versions": versions, "commit": _git_commit()}


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
