"""What the pages of runs are made from; what other parts of the package make of a run is handed in (layer L4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from polymode.web.browsing.places import Places


class MetricTable(Protocol):
    """The order and the words of metrics; the module `polymode.report.table` is one."""

    def group_metrics(self, names: Sequence[str]) -> list[tuple[str, list[str]]]:
        """The names in order, under titles."""
        ...

    def row_of(self, name: str) -> Any:
        """A metric's ``label`` in words, its ``decimals``, and ``better``: an arrow, or empty."""
        ...


class Figure(Protocol):
    """A titled group of drawings."""

    @property
    def id(self) -> str:
        """Short name."""
        ...

    @property
    def title(self) -> str:
        """With axes and units."""
        ...

    @property
    def caption(self) -> str:
        """How to read it."""
        ...

    @property
    def panels(self) -> Sequence[Any]:
        """Each with ``heading`` (may be empty), ``svg`` (a whole file) and ``alt`` (what it shows, in words)."""
        ...

    @property
    def legend(self) -> Sequence[tuple[str, str]]:
        """What each line stands for, and its swatch as a data URL."""
        ...


class TwoRuns(Protocol):
    """Two runs beside each other."""

    @property
    def labels(self) -> tuple[str, str]:
        """How they are called."""
        ...

    @property
    def groups(self) -> Sequence[tuple[str, Sequence[Any]]]:
        """Metrics under titles: ``name``, ``first``, ``second`` and their ``difference``, which may be None."""
        ...

    @property
    def questions(self) -> Sequence[Any]:
        """Those that differ, the most different first: ``id``, pairs ``coverage`` and ``brier``."""
        ...

    @property
    def n_shared(self) -> int:
        """Questions that both answered."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a reader must know."""
        ...


@dataclass(frozen=True, slots=True)
class Looking:
    """What there is to look at, and who draws and compares it."""

    places: Places
    """The folder of runs."""
    table: MetricTable
    figures: Callable[..., Sequence[Figure]]
    """Figures of one evaluation folder, or of two; raises PolymodeError."""
    compare: Callable[[Path, Path], TwoRuns]
    """Raises PolymodeError."""
