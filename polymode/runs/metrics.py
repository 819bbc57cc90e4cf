"""metrics.json: what was evaluated and how, metrics with intervals, points of the figures (layer L3)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, TypeAdapter

from polymode.errors import RunIncompleteError, WriteError
from polymode.runs.files import read_json, to_json, write_document
from polymode.runs.folder import COMPLETIONS, METRICS, file_in
from polymode.runs.judged import Number
from polymode.runs.validation import checked_record
from polymode.uncertainty import Estimate

_CLASSES_OF_0_1_0 = ("TextVerifier", "SymbolicVerifier", "ProgramVerifier", "JudgeVerifier")
Points = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CompletionsFile:
    """Which completions were judged."""

    __pydantic_config__ = ConfigDict(strict=False)  # pydantic's strict dataclasses are made of nothing but themselves

    path: str
    """Relative to the folder of metrics.json."""
    sha256: str


@dataclass(frozen=True)
class Metrics:
    """The content of a metrics.json."""

    view: Mapping[str, Any] = field(default_factory=dict)
    """What was evaluated, and how: k, pooled (k single answers side by side), pool (completions that become one ranked
    set), confidence_from, verifier (name and options), has_confidence, counts of questions, completions, sets and
    unscored ones, statuses."""
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
        return self.view.get("pool") or (self.k or 1 if self.view.get("pooled") else 1)

    def write(self, folder: Path) -> None:
        """Write metrics.json into ``folder``, whole or not at all; raises WriteError."""
        write_document(folder / METRICS, _without_empty(to_json(self)))


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
    path = file_in(path, METRICS)
    label = label or str(path)
    return _metrics(checked_record(_ADAPTER, read_json(path, label), label, "evaluate again"))


def remove_metrics(folder: Path) -> None:
    """Remove the metrics.json of ``folder``, whose verdicts are about to be replaced; raises WriteError."""
    try:
        (folder / METRICS).unlink(missing_ok=True)
    except OSError as exc:
        raise WriteError(f"cannot remove {folder / METRICS}: {exc.strerror or exc}; choose another folder") from exc


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


def _without_empty(content: dict[str, Any]) -> dict[str, Any]:
    for estimate in content["metrics"].values():
        if not estimate["reason"]:
            del estimate["reason"]
    groups = {label: _without_empty(group) for label, group in content["groups"].items()}
    return {name: part for name, part in {**content, "groups": groups}.items() if part}


def _named(verifier: Any) -> Any:
    """A verifier as name and options; polymode 0.1.0 wrote down its Python class."""
    if not isinstance(verifier, str):
        return verifier
    name = verifier.removesuffix("Verifier").lower() if verifier in _CLASSES_OF_0_1_0 else verifier
    return {"name": "programs" if name == "program" else name, "options": {}}


def _defined(value: Any) -> Any:
    """JSON has no NaN: null is an undefined number."""
    return math.nan if value is None else value


_Float = Annotated[float | None, AfterValidator(_defined)]


class _Estimate(BaseModel):
    model_config = ConfigDict(strict=True)

    value: _Float
    low: _Float
    high: _Float
    n: int
    n_unscored: int = 0
    reason: str = ""


class _View(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    k: int | None = None
    n_questions: int | None = None
    n_completions: int | None = None
    n_sets: int | None = None
    n_unscored: int | None = None
    pooled: bool | None = None
    pool: int | None = None
    has_confidence: bool | None = None
    confidence_from: str | None = None
    statuses: dict[str, Number] | None = None
    verifier: Annotated[dict[str, Any] | None, BeforeValidator(_named)] = None


class _Content(BaseModel):
    """The fields of the file."""

    model_config = ConfigDict(strict=True)

    view: _View = _View()
    metrics: dict[str, _Estimate] = {}
    curves: dict[str, list[dict[str, Annotated[Any, AfterValidator(_defined)]]]] = {}
    groups: dict[str, _Content] = {}
    completions: CompletionsFile | None = None


_ADAPTER = TypeAdapter(_Content)


def _metrics(content: _Content) -> Metrics:
    return Metrics(
        view={name: value for name, value in content.view if value is not None},
        metrics={name: Estimate(**dict(estimate)) for name, estimate in content.metrics.items()},
        curves=content.curves,
        groups={label: _metrics(group) for label, group in content.groups.items()},
        completions=content.completions,
    )
