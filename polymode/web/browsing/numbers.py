"""metrics.json and the training's metrics.jsonl, checked (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymode.errors import RecordError
from polymode.web.browsing.judged import is_number
from polymode.web.browsing.lines import parse_object

MAX_BYTES = 64_000_000
"""Longest metrics.json or config.json that is read."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A metric; NaN where undefined."""

    value: float
    low: float
    high: float
    n: int
    n_unscored: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """A metrics.json without its curves."""

    view: Mapping[str, Any]
    """What was evaluated, and how; only fields of the expected type."""
    cells: Mapping[str, Cell]
    groups: Mapping[str, Mapping[str, Cell]]
    """Metrics of parts of the questions, by label."""

    @property
    def k(self) -> int | None:
        """Answers of a set."""
        return self.view.get("k")

    @property
    def pool(self) -> int:
        """Completions that make one set."""
        return self.k or 1 if self.view.get("pooled") else 1


def read_metrics(path: Path, shown: str) -> Metrics:
    """Read a metrics.json.

    Args:
        path: the file.
        shown: how errors call it.

    Raises:
        RecordError: it is damaged; names file, field and fix.
        OSError: it cannot be read.
    """
    content = read_object(path, shown)
    view = _object(content, "view", shown)
    groups = _object(content, "groups", shown)
    _check_curves(content, shown)
    return Metrics(
        view={name: value for name, value in view.items() if _is_expected(name, value)},
        cells=_cells(content, shown),
        groups={
            label: _cells(_object(groups, label, f"{shown}, groups"), f"{shown}, groups, {label}") for label in groups
        },
    )


def read_object(path: Path, shown: str) -> Mapping[str, Any]:
    """A file that holds one JSON object; errors as for `read_metrics`."""
    fix = "run its stage again (polymode evaluate writes metrics.json)"
    with path.open("rb") as handle:
        content = handle.read(MAX_BYTES + 1)
    return parse_object(content, shown, fix, MAX_BYTES)


_VIEW = {
    **dict.fromkeys(("k", "n_questions", "n_completions", "n_sets", "n_unscored"), int),
    **dict.fromkeys(("pooled", "has_confidence"), bool),
    **dict.fromkeys(("confidence_from", "verifier"), str),
    "statuses": dict,
}


def _is_expected(name: str, value: object) -> bool:
    kind = _VIEW.get(name)
    if kind is None or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return False
    return not isinstance(value, dict) or all(is_number(count) for count in value.values())


def _cells(content: Mapping[str, Any], shown: str) -> dict[str, Cell]:
    cells = {}
    for name, entry in _object(content, "metrics", shown).items():
        if not isinstance(entry, dict):
            raise RecordError(f"{shown}: metrics, {name}: an object with value is needed; evaluate again")
        for part in ("value", "low", "high", "n", "n_unscored"):
            if entry.get(part) is not None and not is_number(entry[part]):
                raise RecordError(f"{shown}: metrics, {name}: {part} must be a number or null; evaluate again")
        value, low, high = (_number(entry.get(part)) for part in ("value", "low", "high"))
        cells[name] = Cell(value, low, high, int(entry.get("n") or 0), int(entry.get("n_unscored") or 0))
    return cells


def _check_curves(content: Mapping[str, Any], shown: str) -> None:
    for name, points in _object(content, "curves", shown).items():
        if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
            raise RecordError(f"{shown}: curves, {name}: a list of objects is needed; evaluate again")


def _object(content: Mapping[str, Any], name: str, shown: str) -> Mapping[str, Any]:
    found = content.get(name) or {}
    if not isinstance(found, dict):
        raise RecordError(f"{shown}: {name}: an object is needed, got {type(found).__name__}; evaluate again")
    return found


def _number(value: Any) -> float:
    return float(value) if is_number(value) else math.nan


SETTINGS = ("task", "method", "seed", "k", "credit")
"""Fields of a config.json that lists show."""


def read_settings(path: Path, shown: str) -> dict[str, str | int]:
    """What a config.json says of these fields; errors as for `read_metrics`."""
    config = read_object(path, shown).get("config")
    config = config if isinstance(config, dict) else {}
    return {name: config[name] for name in SETTINGS if isinstance(config.get(name), (str, int))}
