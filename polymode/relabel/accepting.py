"""A new version of the data with the answers that a person accepted (layer L4).

Fields, order and number of the records stay as they were, so identities and held-out splits do too. What was added, by
whom, when and from which runs stands in the record's field ``relabelled``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from polymode import runs
from polymode.errors import ConfigError, RecordError
from polymode.references import check_references, reference_from
from polymode.relabel.data import DataFields, DataRow, read_data, with_field
from polymode.relabel.proposal import Proposal
from polymode.relabel.proposing import Wanted
from polymode.types import Reference
from polymode.verifiers.text import TextVerifier

RELABELLED = "relabelled"
"""Field that keeps what was added to a record."""


class Accepted(NamedTuple):
    """What a new version holds that the old one does not."""

    n_references: int
    n_aliases: int
    n_records: int
    """Records that changed."""
    n_refused: int
    """Proposals with ``accepted: false``."""
    n_undecided: int
    """Proposals that nobody decided on."""


def accept(
    proposals: Sequence[Proposal],
    data: Path,
    out: Path,
    *,
    by: str,
    named: DataFields | None = None,
    equality: str = "text",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Accepted:
    """Write ``data`` with the accepted answers as further references, as JSONL, whole or not at all.

    Args:
        proposals: of `propose` for this very file, with a person's decisions.
        data: the original, which is not changed.
        out: the new version.
        by: who accepted; a proposal's own ``accepted_by`` comes first.
        named: where question and references stand.
        equality: which answers are one and the same, as in `Wanted`.
        clock: the time that is noted.

    Raises:
        ConfigError: ``out`` is the original, nobody is named, nothing is accepted, or the proposals were made for
            another file.
        RecordError: an accepted answer is a reference already, or its record has weights.
        DataNotFoundError, WriteError.
    """
    key = Wanted(equality=equality).key
    chosen = [proposal for proposal in proposals if proposal.accepted]
    if is_same_file(out, data):
        raise ConfigError(f"out = {str(out)!r} is the original: name another file, the original is never changed")
    if out.suffix.lower() not in (".jsonl", ".ndjson"):
        raise ConfigError(f"out = {str(out)!r} is not allowed: the new version is JSONL, name it so (.jsonl)")
    if not chosen:
        raise ConfigError('no proposal is accepted: write "accepted": true into the lines that are right')
    if not all((proposal.accepted_by or by).strip() for proposal in chosen):
        raise ConfigError("by is empty: say who accepted the proposals")
    named = named or DataFields()
    records = read_data(data, named)
    at = clock().isoformat(timespec="seconds")
    asked: dict[str, list[Proposal]] = {}
    for proposal in chosen:
        if proposal.data != records.fingerprint:
            raise ConfigError(f"the proposals were made for another version of {data}: propose again for this one")
        asked.setdefault(proposal.question, []).append(proposal)
    strangers = asked.keys() - {row.question for row in records.rows}
    if strangers:
        raise ConfigError(f"question {min(strangers)!r} stands in the proposals but not in {data}: do not edit it")
    rows = [_relabelled(row, asked.get(row.question, ()), named, key, by, at) for row in records.rows]
    try:
        runs.write_jsonl(out, rows)
    except TypeError as exc:  # Parquet knows more types than JSON
        raise RecordError(f"{data}: {exc}; convert the field to text or numbers") from None
    return Accepted(
        n_references=sum(proposal.alias_of is None for proposal in chosen),
        n_aliases=sum(proposal.alias_of is not None for proposal in chosen),
        n_records=sum(row.question in asked for row in records.rows),
        n_refused=sum(proposal.accepted is False for proposal in proposals),
        n_undecided=sum(proposal.accepted is None for proposal in proposals),
    )


def _relabelled(
    row: DataRow, proposals: Iterable[Proposal], named: DataFields, key: Callable[[str], str], by: str, at: str
) -> dict[str, Any]:
    proposals = list(proposals)
    if not proposals:
        return dict(row.fields)
    has_weights = any(reference.weight is not None for reference in row.references)
    if has_weights and any(proposal.alias_of is None for proposal in proposals):
        raise RecordError(f"{row.where}: its references have weights, which a further one makes untrue; remove them")
    items, references, notes = list(row.items), list(row.references), []
    for proposal in proposals:
        answer = proposal.answer.strip()
        names = {key(name) for reference in references for name in reference.names}
        if not answer or key(answer) in names:
            reason = "is a reference already" if answer else "is empty"
            raise RecordError(f"{row.where}: the accepted answer {answer!r} {reason}; set accepted to false")
        if proposal.alias_of is None:
            items.append(answer)
        else:
            place = _place(proposal.alias_of, references, row)
            items[place] = _with_alias(items[place], answer)
        references = [reference_from(item) for item in items]
        notes.append(_note(proposal, answer, by, at))
    try:
        check_references(references, TextVerifier() if key("A") == key("a") else None)
    except RecordError as exc:
        raise RecordError(f"{row.where}: {exc}") from None
    fields = with_field(row.fields, named.references, items)
    earlier = row.fields.get(RELABELLED)
    return {**fields, RELABELLED: [*(earlier if isinstance(earlier, list) else []), *notes]}


def _place(text: str, references: Sequence[Reference], row: DataRow) -> int:
    for place, reference in enumerate(references):
        if text in reference.names:
            return place
    known = ", ".join(repr(reference.text) for reference in references)
    raise RecordError(f"{row.where}: alias_of = {text!r} is no reference of the question: use one of {known}")


def _with_alias(item: Any, alias: str) -> Any:
    """A reference in its own JSON form with one more name."""
    if isinstance(item, str):
        return [item, alias]
    if isinstance(item, dict):
        return {**item, "aliases": [*(item.get("aliases") or ()), alias]}
    return [*item, alias]


def _note(proposal: Proposal, answer: str, by: str, at: str) -> dict[str, Any]:
    return {
        "answer": answer,
        "alias_of": proposal.alias_of,
        "by": (proposal.accepted_by or by).strip(),
        "at": at,
        "runs": list(proposal.runs),
        "score": proposal.score,
        "share": proposal.share,
        "confidence": proposal.confidence,
        "n_samples": proposal.n_samples,
        "original": proposal.data,
    }


def is_same_file(a: Path, b: Path) -> bool:
    """Whether two paths name one file, also through links."""
    if a.resolve() == b.resolve():
        return True
    return a.exists() and b.exists() and os.path.samefile(a, b)
