"""What the pages of `polymode serve` get from the rest of the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polymode.errors import ConfigError

FIELDS = ("question", "references", "id", "strings", "equality")


def shown_of(
    reviews: Any = None,
    *,
    runs: Path | None = None,
    proposals: Path | None = None,
    data: Path | None = None,
    relabelled: Path | None = None,
    data_fields: Mapping[str, Any] | None = None,
) -> Any:
    """What the pages show (`polymode.web.shown.Shown`).

    Args:
        reviews: the review queue.
        runs: folder of runs.
        proposals: proposals file.
        data: the records that the proposals were made for.
        relabelled: the new version of the records.
        data_fields: names of the fields in the records.

    Raises:
        ConfigError: a flag is missing or not allowed.
        DataNotFoundError, RecordError: a folder or file cannot be used.
    """
    from polymode.web.shown import Shown

    return Shown(
        reviews=reviews,
        looking=None if runs is None else _looking(runs),
        relabelling=_relabelling(proposals, data, relabelled, data_fields or {}),
    )


def _looking(folder: Path) -> Any:
    from polymode.report import table
    from polymode.web.browsing.looking import Looking
    from polymode.web.browsing.places import Places

    return Looking(Places(folder), table, _figures, _compare)


def _figures(*folders: Path) -> Any:
    from polymode.compare.drawn_runs import figures_of

    return figures_of(*folders)


def _compare(first: Path, second: Path) -> Any:
    from polymode.compare.two_runs import compare_two

    return compare_two(first, second)


def _relabelling(
    proposals: Path | None, data: Path | None, relabelled: Path | None, data_fields: Mapping[str, Any]
) -> Any:
    if proposals is None:
        for flag, value in (("relabelled", relabelled), ("data-fields", data_fields)):
            if value:
                raise ConfigError(f"--{flag} is given without --proposals: name the proposals file, or remove it")
        return None
    from polymode.relabel import DataFields, Desk

    if data is None:
        raise ConfigError("--data is missing: name the records that the proposals belong to")
    values = dict(data_fields)
    for name, value in values.items():
        if name not in FIELDS or not isinstance(value, str):
            raise ConfigError(f"--data-fields {name}={value} is not known: use {', '.join(FIELDS)} with a text")
    equality = str(values.pop("equality", "text"))
    named = DataFields(**{name: str(value) for name, value in values.items()})  # type: ignore[arg-type]
    return Desk(proposals, data, relabelled, named=named, equality=equality)
