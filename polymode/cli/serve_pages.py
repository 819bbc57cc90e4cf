"""What the pages of `polymode serve` get from the rest of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from polymode.errors import ConfigError
from polymode.train.named_values import named_values

FIELDS = ("question", "references", "id", "strings", "equality")


class PageOptions(Protocol):
    """The options of `polymode serve` that the pages need."""

    @property
    def runs(self) -> Path | None:
        """Folder of runs."""
        ...

    @property
    def proposals(self) -> Path | None:
        """Proposals file."""
        ...

    @property
    def data(self) -> Path | None:
        """The records that the proposals were made for."""
        ...

    @property
    def relabelled(self) -> Path | None:
        """The new version of the records."""
        ...

    @property
    def data_fields(self) -> tuple[str, ...]:
        """NAME=VALUE."""
        ...


def shown_of(options: PageOptions, reviews: Any) -> Any:
    """What the pages show (`polymode.web.shown.Shown`).

    Raises:
        ConfigError: a flag is missing or not allowed.
        DataNotFoundError, RecordError: a folder or file cannot be used.
    """
    from polymode.web.shown import Shown

    return Shown(
        reviews=reviews,
        looking=None if options.runs is None else _looking(options.runs),
        relabelling=_relabelling(options),
    )


def _looking(folder: Path) -> Any:
    from polymode.report import table
    from polymode.web.browsing.looking import Looking
    from polymode.web.browsing.places import Places

    return Looking(Places(folder), table, _figures, _compare)


def _figures(*folders: Path) -> Any:
    from polymode.reproduce.drawn_runs import figures_of

    return figures_of(*folders)


def _compare(first: Path, second: Path) -> Any:
    from polymode.reproduce.two_runs import compare_two

    return compare_two(first, second)


def _relabelling(options: PageOptions) -> Any:
    if options.proposals is None:
        for flag, value in (("relabelled", options.relabelled), ("data-fields", options.data_fields)):
            if value:
                raise ConfigError(f"--{flag} is given without --proposals: name the proposals file, or leave it out")
        return None
    from polymode.relabel import DataFields, Desk

    if options.data is None:
        raise ConfigError("--data FILE is missing: the records that the proposals were made for")
    values = named_values(options.data_fields, "data-fields", "question=prompt")
    for name, value in values.items():
        if name not in FIELDS or not isinstance(value, str):
            raise ConfigError(f"--data-fields {name}={value} is not known: use {', '.join(FIELDS)} with a text")
    equality = str(values.pop("equality", "text"))
    named = DataFields(**{name: str(value) for name, value in values.items()})  # type: ignore[arg-type]
    return Desk(options.proposals, options.data, options.relabelled, named=named, equality=equality)
