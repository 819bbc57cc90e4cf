"""HotpotQA records as they are in the official JSON files, or in a JSON lines file of whole paragraphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymode.errors import RecordError
from polymode.tasks.record_files import Record, read_records


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph of the context."""

    title: str
    text: str
    is_gold: bool
    """Whether the question needs it."""


@dataclass(frozen=True, slots=True)
class HotpotRecord:
    """One question with its context, nothing removed."""

    id: str
    question: str
    answer: str
    kind: str
    """``bridge`` or ``comparison``; empty when the file does not say."""
    level: str
    """``easy``, ``medium`` or ``hard``; empty when the file does not say."""
    paragraphs: tuple[Paragraph, ...]


def read_hotpot(path: Path) -> Iterator[HotpotRecord]:
    """Records of one file, read on demand.

    A context is ``[[title, [sentence, ...]], ...]`` beside ``supporting_facts`` ``[[title, sentence number], ...]``
    (the official files), or ``[[title, paragraph, is supporting], ...]``.

    Raises:
        RecordError: a record that cannot be used; the message says where, which field and what it must be.
    """
    for row in read_records(path):
        yield HotpotRecord(
            id=_text(row, "_id"),
            question=_text(row, "question"),
            answer=_text(row, "answer"),
            kind=str(row.fields.get("type", "")),
            level=str(row.fields.get("level", "")),
            paragraphs=tuple(_paragraphs(row)),
        )


def _text(row: Record, field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        hint = "; the official test set has no answers, use the dev set" if field == "answer" else ""
        raise RecordError(f"{row.where}, field {field!r}: {value!r} must be a text that is not empty{hint}")
    return value.strip()


def _paragraphs(row: Record) -> Iterator[Paragraph]:
    context = row.get("context")
    if isinstance(context, Mapping):
        raise RecordError(
            f"{row.where}, field 'context': an object, as Hugging Face copies have it; use the official JSON files "
            "(hotpotqa.github.io), whose context is a list of [title, sentences]"
        )
    if not isinstance(context, list) or not context:
        raise RecordError(f"{row.where}, field 'context': {context!r} must be a list of [title, sentences]")
    gold: set[str] | None = None
    for part in context:
        match part:
            case [str(title), list(sentences)] if all(isinstance(sentence, str) for sentence in sentences):
                gold = _gold_titles(row) if gold is None else gold
                yield Paragraph(title, " ".join(" ".join(sentences).split()), title in gold)
            case [str(title), str(text), bool(is_gold)]:
                yield Paragraph(title, " ".join(text.split()), is_gold)
            case _:
                raise RecordError(
                    f"{row.where}, field 'context': {_shortened(part)} must be [title, [sentence, ...]] or "
                    "[title, paragraph, true or false]"
                )


def _gold_titles(row: Record) -> set[str]:
    facts = row.get("supporting_facts")
    if not isinstance(facts, list) or not all(isinstance(f, list) and f and isinstance(f[0], str) for f in facts):
        raise RecordError(
            f"{row.where}, field 'supporting_facts': {_shortened(facts)} must be a list of [title, sentence number]"
        )
    return {fact[0] for fact in facts}


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
