"""One proposed reference, and the file in which a person decides about it (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError, RecordError


@dataclass(frozen=True, slots=True)
class Proposal:
    """An answer that may be right though no reference says so: a line of a proposals file."""

    id: str
    """Of the record."""
    question: str
    references: tuple[str, ...]
    """What is known to be right."""
    answer: str
    """What is proposed; a person may correct its spelling."""
    score: float
    """share x confidence; share alone where no confidence is stated."""
    share: float
    """Samples that gave it, of all samples of the question."""
    confidence: float | None
    """Mean confidence of those that gave it; None when none is stated."""
    n_given: int
    """Samples that gave it."""
    n_samples: int
    """Samples of the question."""
    runs: tuple[str, ...]
    """Runs in which it was given."""
    data: str
    """SHA-256 of the data file that it was proposed for."""
    accepted: bool | None = None
    """A person's word; None until then."""
    alias_of: str | None = None
    """With ``accepted``: the reference that the answer only words differently. It then becomes an alias of it."""
    accepted_by: str = ""
    """Who decided, when not the one who runs the command."""


def write_proposals(path: Path, proposals: Iterable[Proposal]) -> int:
    """Write a proposals file, whole or not at all, and return the number of lines.

    Raises:
        ConfigError: the file holds a person's decisions already, which would be lost.
    """
    if path.exists() and any(proposal.accepted is not None for proposal in read_proposals(path)):
        raise ConfigError(f"{path} holds decisions already, which would be lost: name another file for the proposals")
    return runs.write_jsonl(path, proposals)


def read_proposals(path: Path) -> tuple[Proposal, ...]:
    """Read what `write_proposals` wrote and a person edited.

    Raises:
        DataNotFoundError: no such file.
        RecordError: a line is no proposal; names the line.
    """
    try:
        handle = path.open(encoding="utf-8-sig")
    except OSError as exc:
        raise DataNotFoundError(
            f"proposals {path} cannot be read ({exc.strerror or exc}): check the path; polymode relabel makes them"
        ) from None
    with handle:
        return tuple(_proposal(row, f"{path}, line {number}") for number, row in runs.json_objects(handle, path))


def _proposal(row: dict[str, Any], where: str) -> Proposal:
    known = {field.name: field for field in fields(Proposal)}
    for name in row:
        if name not in known:
            raise RecordError(f"{where}: unknown field {name!r}; known: {', '.join(known)}")
    for name, field in known.items():
        if name not in row and field.default is MISSING:
            raise RecordError(f"{where}: {name} is missing; make the proposals anew with polymode relabel")
    checks = {
        **dict.fromkeys(("id", "question", "answer", "data", "accepted_by"), (_is_text, "a text")),
        **dict.fromkeys(("references", "runs"), (_is_texts, "a list of texts")),
        **dict.fromkeys(("score", "share"), (_is_number, "a number")),
        **dict.fromkeys(("n_given", "n_samples"), (_is_count, "a whole number from 0")),
        "confidence": (lambda value: value is None or _is_number(value), "a number or null"),
        "accepted": (lambda value: value is None or isinstance(value, bool), "true, false or null"),
        "alias_of": (lambda value: value is None or _is_text(value), "a text or null"),
    }
    for name, value in row.items():
        is_fine, allowed = checks[name]
        if not is_fine(value):
            raise RecordError(f"{where}: {name} = {value!r} is not allowed: give {allowed}")
    lists = {name: tuple(row[name]) for name in ("references", "runs")}
    return Proposal(**{**row, **lists})


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
