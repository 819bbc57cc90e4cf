"""config.json: what was asked for, with versions and the git commit (layer L3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from polymode.runs.files import read_json
from polymode.runs.folder import CONFIG, TRAIN_METRICS, file_in


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
    content = read_json(file_in(folder, CONFIG), label)
    config, made_with = content.get("config"), content.get("made_with")
    if not isinstance(config, Mapping):
        return Configuration()
    options = {name: _options(config[name]) for name in ("task_options", "verifier_options") if name in config}
    return Configuration({**config, **options}, made_with if isinstance(made_with, Mapping) else {})


def is_training(folder: Path) -> bool:
    """Whether a training run of polymode wrote this folder."""
    return (folder / CONFIG).is_file() and (folder / TRAIN_METRICS).is_file()


def _options(value: Any) -> dict[str, Any]:
    """Options by name; 0.1.0 wrote them as on its command line, a list of NAME=VALUE texts."""
    if isinstance(value, Mapping):
        return dict(value)
    found: dict[str, Any] = {}
    for name, _, text in (str(pair).partition("=") for pair in value or ()):
        try:
            found[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            found[name] = text
    return found
