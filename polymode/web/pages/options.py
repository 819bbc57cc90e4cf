"""What the pages show besides the model (layer L6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polymode.errors import ConfigError
from polymode.relabel import DataFields, Desk
from polymode.web.browsing.run_folders import RunFolders

if TYPE_CHECKING:
    from polymode.web.reviews import ReviewQueue

DATA_FIELDS = ("question", "references", "id", "strings", "equality")
"""What may be named in ``data_fields``."""


@dataclass(frozen=True, slots=True)
class PageOptions:
    """The parts of the pages; a part that is None has no page."""

    reviews: ReviewQueue | None = None
    """The review queue."""
    runs: RunFolders | None = None
    """The folder of runs to browse and compare."""
    proposals: Desk | None = None
    """Proposed references to decide on."""


def open_pages(
    reviews: ReviewQueue | None = None,
    *,
    runs: Path | None = None,
    proposals: Path | None = None,
    data: Path | None = None,
    relabelled: Path | None = None,
    data_fields: Mapping[str, object] | None = None,
) -> PageOptions:
    """The parts of the pages, from the paths that `polymode serve` takes.

    Args:
        reviews: the review queue.
        runs: folder of runs.
        proposals: proposals file.
        data: the records that the proposals were made for.
        relabelled: the new version of the records.
        data_fields: names of the fields in the records, and which answers are equal.

    Raises:
        ConfigError: a flag is missing or not allowed.
        DataNotFoundError, RecordError: a folder or file cannot be used.
    """
    if proposals is None:
        for flag, value in (("relabelled", relabelled), ("data-fields", data_fields)):
            if value:
                raise ConfigError(f"--{flag} is given without --proposals: name the proposals file, or leave it out")
    elif data is None:
        raise ConfigError("--data FILE is missing: name the records that the proposals were made for")
    fields: dict[str, str] = {}
    for name, value in (data_fields or {}).items():
        if name not in DATA_FIELDS or not isinstance(value, str):
            raise ConfigError(f"--data-fields {name}={value} is not known: use {', '.join(DATA_FIELDS)} with a text")
        fields[name] = value
    equality = fields.pop("equality", "text")
    desk = None
    if proposals is not None and data is not None:
        desk = Desk(proposals, data, relabelled, named=DataFields(**fields), equality=equality)  # type: ignore[arg-type]
    return PageOptions(reviews, None if runs is None else RunFolders(runs), desk)
