"""config.json: what was asked for, with versions and the git commit; and the training's metrics.jsonl (layer L3)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from polymode.errors import RecordError
from polymode.runs.files import SCHEMA, check_schema, read_document, to_json
from polymode.runs.folder import CONFIG, TRAIN_METRICS
from polymode.runs.lines import read_lines


@dataclass(frozen=True, slots=True)
class Configuration:
    """The content of a config.json."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """Options by name; those of a task or verifier as a mapping, also where 0.1.0 wrote NAME=VALUE texts."""
    made_with: Mapping[str, Any] = field(default_factory=dict)
    """Versions and the git commit."""

    @property
    def versions(self) -> str:
        """Python and libraries, in words."""
        versions = {"python": self.made_with.get("python"), **(self.made_with.get("versions") or {})}
        return ", ".join(f"{name} {version}" for name, version in versions.items() if version)


def read_configuration(folder: Path, label: str | None = None) -> Configuration:
    """The config.json of a folder; an empty one where it is of another program, as a model's.

    Args:
        folder: run folder, or the file itself.
        label: what errors call it; its path when None.

    Raises:
        RunIncompleteError: there is none.
        RecordError: it is damaged or of a newer schema.
        OSError: it cannot be read.
    """
    content = read_document(folder / CONFIG if folder.is_dir() else folder, label)
    config, made_with = content.get("config"), content.get("made_with")
    if not isinstance(config, Mapping):
        return Configuration()
    options = {name: _options(config[name]) for name in ("task_options", "verifier_options") if name in config}
    return Configuration({**config, **options}, made_with if isinstance(made_with, Mapping) else {})


def is_training(folder: Path) -> bool:
    """Whether a training run of polymode wrote this folder."""
    return (folder / CONFIG).is_file() and (folder / TRAIN_METRICS).is_file()


def append_step(path: Path, row: Mapping[str, Any]) -> None:
    """Add the line of one training step to a metrics.jsonl."""
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(to_json({"schema": SCHEMA, **row})) + "\n")


def read_steps(path: Path) -> list[dict[str, Any]]:
    """The steps of a training's metrics.jsonl, or of the folder that holds one.

    A run that was resumed may have written a step twice: the later line is the one that led on.

    Raises:
        RunIncompleteError: there is no such file.
        RecordError: a line is damaged or of a newer schema; names the line.
    """
    path = path / TRAIN_METRICS if path.is_dir() else path
    by_step: dict[Any, dict[str, Any]] = {}
    for number, _, row in read_lines(path):
        check_schema(row.pop("schema", None), f"{path}, line {number}")
        step = row.get("step", number)
        if isinstance(step, (dict, list)):
            raise RecordError(f"{path}, line {number}: step = {step!r:.80} is not allowed: give a whole number")
        by_step[step] = row
    return list(by_step.values())


def _options(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    pairs = [str(text).partition("=") for text in value] if isinstance(value, Sequence) else []
    return {name: yaml.safe_load(text) for name, _, text in pairs}
