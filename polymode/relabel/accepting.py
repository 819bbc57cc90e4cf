"""A new version of the data with the answers that a person accepted (layer L4).

Fields, order and number of the records stay as they were, so identities and held-out splits do too. What was added, by
whom, when and from which runs stands in the record's field ``relabelled``. Official files of HotPotQA and AmbigQA keep
their own form (`polymode.relabel.official`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from polymode import runs
from polymode.errors import ConfigError, RecordError
from polymode.references import check_references, reference_from
from polymode.relabel.data import DataFields, DataRow, read_data, with_field
from polymode.relabel.official import with_answers
from polymode.relabel.proposal import Proposal
from polymode.relabel.proposing import key_of
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
        equality: which answers are one and the same, as in `Criteria`.
        clock: the time that is noted.

    Raises:
        ConfigError: ``out`` is the original, nobody is named, nothing is accepted, or the proposals were made for
            another file.
        RecordError: an accepted answer is a reference already, or its record has weights.
        DataNotFoundError, WriteError.
    """
    key = key_of(equality)
    check_out("out", out, data)
    accepted = [proposal for proposal in proposals if proposal.accepted]
    if not accepted:
        raise ConfigError('no proposal is accepted: write "accepted": true into the lines that are right')
    if not all((proposal.accepted_by or by).strip() for proposal in accepted):
        raise ConfigError("by is empty: say who accepted the proposals")
    named = named or DataFields()
    records = read_data(data, named)
    at = clock().isoformat(timespec="seconds")
    by_question: dict[str, list[Proposal]] = {}
    for proposal in accepted:
        if proposal.data != records.fingerprint:
            raise ConfigError(f"the proposals were made for another version of {data}: propose again for this one")
        by_question.setdefault(proposal.question, []).append(proposal)
    strangers = by_question.keys() - {row.question for row in records.rows}
    if strangers:
        raise ConfigError(f"question {min(strangers)!r} stands in the proposals but not in {data}: do not edit it")
    rows = [_relabelled(row, by_question.get(row.question, ()), named, key, by, at) for row in records.rows]
    try:
        runs.write_jsonl(out, rows)
    except TypeError as exc:  # Parquet knows more types than JSON
        raise RecordError(f"{data}: {exc}; convert the field to text or numbers") from None
    return Accepted(
        n_references=sum(proposal.alias_of is None for proposal in accepted),
        n_aliases=sum(proposal.alias_of is not None for proposal in accepted),
        n_records=sum(row.question in by_question for row in records.rows),
        n_refused=sum(proposal.accepted is False for proposal in proposals),
        n_undecided=sum(proposal.accepted is None for proposal in proposals),
    )


def _relabelled(
    row: DataRow, proposals: Sequence[Proposal], named: DataFields, key: Callable[[str], str], by: str, at: str
) -> dict[str, Any]:
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
            items.append(_item(answer))
        else:
            place = _place(proposal.alias_of, references, row)
            items[place] = _with_alias(items[place], answer)
        references = [reference_from(item) for item in items]
        notes.append(_note(proposal, answer, by, at))
    try:
        check_references(references, TextVerifier() if key("A") == key("a") else None)
    except RecordError as exc:
        raise RecordError(f"{row.where}: {exc}") from None
    if row.form == "ambigqa":
        fields = with_answers(row.fields, [(proposal.answer.strip(), proposal.alias_of) for proposal in proposals])
    else:
        fields = with_field(row.fields, named.references, items)
    earlier = row.fields.get(RELABELLED)
    return {**fields, RELABELLED: [*(earlier if isinstance(earlier, list) else []), *notes]}


def _place(text: str, references: Sequence[Reference], row: DataRow) -> int:
    for place, reference in enumerate(references):
        if text in reference.names:
            return place
    texts = ", ".join(repr(reference.text) for reference in references)
    raise RecordError(f"{row.where}: alias_of = {text!r} is no reference of the question: use one of {texts}")


def _with_alias(item: Any, alias: str) -> Any:
    """A reference in its own JSON form with one more name."""
    if isinstance(item, dict):
        return {**item, "aliases": [*(item.get("aliases") or ()), alias]}
    return _item([item, alias] if isinstance(item, str) else [*item, alias])


def _item(names: str | list[str]) -> Any:
    """A text or a list of names as a reference; an object where a text looks like a list that was written out."""
    try:
        reference_from(names)
    except RecordError:
        first, *others = [names] if isinstance(names, str) else names
        return {"text": first, "aliases": others}
    return names


def _note(proposal: Proposal, answer: str, by: str, at: str) -> dict[str, Any]:
    return {
        "answer": answer,
        "alias_of": proposal.alias_of,
        "by": (proposal.accepted_by or by).strip(),
        "at": at,
        **{name: getattr(proposal, name) for name in ("runs", "score", "share", "confidence", "n_samples")},
        "original": proposal.data,
    }


def check_out(name: str, out: Path, data: Path) -> None:
    """Refuse, as the option ``name``, a file that a new version of ``data`` cannot be written to (ConfigError)."""
    if is_same_file(out, data):
        raise ConfigError(f"{name} = {str(out)!r} is the original, which is never changed: name another file")
    if out.suffix.lower() not in (".jsonl", ".ndjson"):
        raise ConfigError(f"{name} = {str(out)!r} is not allowed: the new version is JSONL, name it so (.jsonl)")


def is_same_file(a: Path, b: Path) -> bool:
    """Whether two paths name one file, also through links."""
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and os.path.samefile(a, b))
