"""One proposed reference, and the file in which a person decides about it (layer L4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError, RunIncompleteError
from polymode.runs.judged import Count
from polymode.runs.lines import raw_lines
from polymode.runs.validation import parsed_record


@dataclass(frozen=True, slots=True)
class Proposal:
    """An answer that may be right though no reference says so: a line of a proposals file."""

    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")

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
    n_given: Count
    """Samples that gave it."""
    n_samples: Count
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
    fix = "make the proposals anew with polymode relabel"
    try:
        lines = list(raw_lines(path))
    except (RunIncompleteError, OSError) as exc:
        reason = getattr(exc, "strerror", None) or "no such file"
        raise DataNotFoundError(
            f"proposals {path} cannot be read ({reason}): check the path; polymode relabel makes them"
        ) from None
    return tuple(parsed_record(_ADAPTER, content, f"{path}, line {number}", fix) for number, _, content in lines)


_ADAPTER = TypeAdapter(Proposal)
