"""A run folder: names of its files, its config.json and policy.json (layer L3)."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from polymode.errors import ConfigError, DataNotFoundError, RecordError, RunExistsError, RunIncompleteError
from polymode.policy import Conditions, Policy
from polymode.runs.files import read_json, to_json, write_document

CONFIG, COMPLETIONS, JUDGED, METRICS, TRAIN_METRICS, POLICY, REPORT = (
    "config.json",
    "completions.jsonl",
    "judged.jsonl",
    "metrics.json",
    "metrics.jsonl",
    "policy.json",
    "report.html",
)
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin")
_LIBRARIES = ("numpy", "scipy", "torch", "transformers", "trl", "accelerate", "datasets", "vllm")


def file_in(path: Path | str, name: str) -> Path:
    """A file from itself, or from the folder in which it is called ``name``."""
    path = Path(path)
    return path / name if path.is_dir() else path


def create(folder: Path, config: Any, *, resume: bool = False, conditions: Conditions | None = None) -> Path:
    """Make a run folder and write its config; an existing one needs ``resume``.

    Args:
        folder: to make.
        config: the options of the run.
        resume: go on in a folder that is there.
        conditions: how its completions come about, for a policy that is fitted to them.

    Raises:
        RunExistsError: the folder holds a config already and ``resume`` is False.
        WriteError: the folder cannot be written.
    """
    if (folder / CONFIG).exists():
        if not resume:
            raise RunExistsError(f"run folder {folder} exists already: pass --resume to go on, or choose another --out")
        return folder
    how = {} if conditions is None else {"conditions": to_json(conditions)}
    write_document(folder / CONFIG, {"config": to_json(config), **how, "made_with": provenance()})
    return folder


@dataclass(frozen=True, slots=True)
class Configuration:
    """The content of a config.json."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """Options by name; those of a task or verifier as a mapping, also where 0.1.0 wrote NAME=VALUE texts."""
    made_with: Mapping[str, Any] = field(default_factory=dict)
    """Versions and the git commit."""
    conditions: Conditions | None = None
    """How the completions of the folder come about; None where none is recorded, as in older folders."""

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
        ConfigError: the conditions in it cannot be used.
        OSError: it cannot be read.
    """
    content = read_json(file_in(folder, CONFIG), label)
    config, made_with = content.get("config"), content.get("made_with")
    if not isinstance(config, Mapping):
        return Configuration()
    options = {name: _options(config[name]) for name in ("task_options", "verifier_options") if name in config}
    recorded = content.get("conditions")
    return Configuration(
        {**config, **options},
        made_with if isinstance(made_with, Mapping) else {},
        None if recorded is None else Conditions.from_json(recorded),
    )


def is_training(folder: Path) -> bool:
    """Whether a training run of polymode wrote this folder."""
    return (folder / CONFIG).is_file() and (folder / TRAIN_METRICS).is_file()


def holds_model(folder: Path) -> bool:
    """Whether a folder holds a model's or adapters' configuration and weights."""
    is_described = any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))
    return is_described and any(path for pattern in _WEIGHTS for path in folder.glob(pattern))


def _options(value: Any) -> dict[str, Any]:
    """Options by name; 0.1.0 wrote them as on its command line, a list of NAME=VALUE texts."""
    if isinstance(value, Mapping):
        return dict(value)
    options: dict[str, Any] = {}
    for name, _, text in (str(pair).partition("=") for pair in value or ()):
        try:
            options[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            options[name] = text
    return options


def write_policy(path: Path, policy: Policy) -> None:
    """Write a policy, whole or not at all."""
    write_document(path, policy.to_json())


def read_policy(path: Path) -> Policy:
    """Read what `write_policy` wrote, or somebody by hand.

    Raises:
        DataNotFoundError: no such file.
        ConfigError: not JSON, of a newer schema, or no policy; names the file.
    """
    try:
        content = read_json(path, f"policy {path}")
    except RecordError as exc:
        raise ConfigError(f"{exc} (polymode calibrate makes a policy)") from None
    except (OSError, RunIncompleteError) as exc:
        reason = getattr(exc, "strerror", None) or "no such file"
        raise DataNotFoundError(
            f"policy {path} cannot be read ({reason}): check the path, or make one with polymode calibrate"
        ) from None
    try:
        return Policy.from_json({name: value for name, value in content.items() if name != "schema"})
    except ConfigError as exc:
        raise ConfigError(f"policy {path}: {exc}") from None


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
        command = ["git", "rev-parse", "HEAD"]
        git = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return git.stdout.strip() or None
