"""metrics.json: what was evaluated and how, metrics with intervals, points of the figures (layer L3)."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from polymode.errors import RecordError, RunIncompleteError
from polymode.runs.files import read_document, write_document
from polymode.runs.folder import COMPLETIONS, METRICS
from polymode.uncertainty import Estimate

_FIX = "evaluate again"
_VIEW: Mapping[str, type] = {
    **dict.fromkeys(("k", "n_questions", "n_completions", "n_sets", "n_unscored"), int),
    **dict.fromkeys(("pooled", "has_confidence"), bool),
    "confidence_from": str,
    "statuses": dict,
    "verifier": dict,
}
"""Fields of a view, and their types."""
_NAMES_OF_0_1_0 = {
    "TextVerifier": "text",
    "SymbolicVerifier": "symbolic",
    "ProgramVerifier": "programs",
    "JudgeVerifier": "judge",
}
"""Verifiers by the Python class that polymode 0.1.0 wrote down."""

Points = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CompletionsFile:
    """Which completions were judged."""

    path: str
    """Relative to the folder of metrics.json."""
    sha256: str

    @classmethod
    def of(cls, path: Path, folder: Path) -> CompletionsFile:
        """The completions at ``path``, judged into ``folder``; raises OSError."""
        return cls(os.path.relpath(path, folder), fingerprint(path))


@dataclass(frozen=True)
class Metrics:
    """The content of a metrics.json."""

    view: Mapping[str, Any] = field(default_factory=dict)
    """What was evaluated, and how: k, pooled, confidence_from, verifier (name and options), has_confidence, counts of
    questions, completions, sets and unscored ones, statuses."""
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    """By name; NaN where undefined."""
    curves: Mapping[str, Points] = field(default_factory=dict)
    """Points of the report's figures, by name; NaN where undefined."""
    groups: Mapping[str, Metrics] = field(default_factory=dict)
    """View and metrics of parts of the questions, by label."""
    completions: CompletionsFile | None = None
    """Which completions were judged; None in files of 0.1.0, where they stand in the same folder."""

    @property
    def k(self) -> int | None:
        """Answers of a set."""
        return self.view.get("k")

    @property
    def pool(self) -> int:
        """Completions that make one set."""
        return self.k or 1 if self.view.get("pooled") else 1

    def to_json(self) -> dict[str, Any]:
        """The fields of the file; undefined numbers are NaN here and null in the file."""
        return {
            "view": dict(self.view),
            "metrics": {name: asdict(estimate) for name, estimate in self.metrics.items()},
            "curves": dict(self.curves),
            **({"groups": {label: _part(group) for label, group in self.groups.items()}} if self.groups else {}),
            **({} if self.completions is None else {"completions": asdict(self.completions)}),
        }

    def write(self, folder: Path) -> None:
        """Write metrics.json into ``folder``, whole or not at all; raises WriteError."""
        write_document(folder / METRICS, self.to_json())


def read_metrics(path: Path, label: str | None = None) -> Metrics:
    """Read a metrics.json, or that of a folder.

    Args:
        path: file or folder.
        label: what errors call it; its path when None.

    Raises:
        RunIncompleteError: there is no such file.
        RecordError: it is damaged or of a newer schema; names file, field and fix.
        OSError: it cannot be read.
    """
    path = path / METRICS if path.is_dir() else path
    label = label or str(path)
    content = read_document(path, label)
    source = _object(content, "completions", label)
    return Metrics(
        view=_view(_object(content, "view", label), label),
        metrics=_estimates(content, label),
        curves=_curves(content, label),
        groups={
            name: Metrics(_view(_object(group, "view", label), label), _estimates(group, f"{label}, groups, {name}"))
            for name, group in _each_object(content, "groups", label)
        },
        completions=CompletionsFile(str(source.get("path")), str(source.get("sha256"))) if source else None,
    )


def completions_of(folder: Path) -> Path:
    """The completions that were judged into ``folder``, unchanged since.

    Raises:
        RunIncompleteError: they are not there any more, or are others by now; says what to do.
    """
    source = read_metrics(folder).completions if (folder / METRICS).is_file() else None
    path = folder / (COMPLETIONS if source is None else source.path)
    if not path.is_file():
        raise RunIncompleteError(f"{path} is missing, so the texts of {folder} cannot be shown: put it back there")
    if source is not None and fingerprint(path) != source.sha256:
        raise RunIncompleteError(f"{path} has changed since it was judged into {folder}: run polymode evaluate again")
    return path


def fingerprint(path: Path) -> str:
    """SHA-256 of a file; raises OSError."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _part(group: Metrics) -> dict[str, Any]:
    content = group.to_json()
    return {part: content[part] for part in ("view", "metrics")}


def _view(view: Mapping[str, Any], label: str) -> dict[str, Any]:
    if isinstance(name := view.get("verifier"), str):
        view = {**view, "verifier": {"name": _NAMES_OF_0_1_0.get(name, name), "options": {}}}
    for name, kind in _VIEW.items():
        value = view.get(name)
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise RecordError(f"{label}: view, {name} = {value!r:.80} is not allowed: give {kind.__name__}; {_FIX}")
    if not all(is_number(count) for count in (view.get("statuses") or {}).values()):
        raise RecordError(f"{label}: view, statuses: an object of numbers is needed; {_FIX}")
    return {name: value for name, value in view.items() if value is not None}


def _estimates(content: Mapping[str, Any], label: str) -> dict[str, Estimate]:
    found = {}
    for name, entry in _each_object(content, "metrics", label):
        for part in ("value", "low", "high", "n", "n_unscored"):
            if entry.get(part) is not None and not is_number(entry[part]):
                raise RecordError(f"{label}: metrics, {name}: {part} must be a number or null; {_FIX}")
        value, low, high = (_number(entry.get(part)) for part in ("value", "low", "high"))
        found[name] = Estimate(value, low, high, int(entry.get("n") or 0), int(entry.get("n_unscored") or 0))
    return found


def _curves(content: Mapping[str, Any], label: str) -> dict[str, Points]:
    found = {}
    for name, points in _object(content, "curves", label).items():
        if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
            raise RecordError(f"{label}: curves, {name}: a list of objects is needed; {_FIX}")
        found[name] = [{key: _number(value) if value is None else value for key, value in p.items()} for p in points]
    return found


def _each_object(content: Mapping[str, Any], name: str, label: str) -> list[tuple[str, Mapping[str, Any]]]:
    listed = _object(content, name, label)
    for key, value in listed.items():
        if not isinstance(value, dict):
            raise RecordError(f"{label}: {name}, {key}: an object is needed, got {type(value).__name__}; {_FIX}")
    return list(listed.items())


def _object(content: Mapping[str, Any], name: str, label: str) -> Mapping[str, Any]:
    found = content.get(name) or {}
    if not isinstance(found, dict):
        raise RecordError(f"{label}: {name}: an object is needed, got {type(found).__name__}; {_FIX}")
    return found


def is_number(value: object) -> bool:
    """Whether a JSON value is a number that a float holds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e300


def _number(value: Any) -> float:
    return float(value) if is_number(value) else math.nan
