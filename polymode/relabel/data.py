"""A data file of questions and references as it stands, every field kept (layer L4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.references import reference_from
from polymode.relabel.official import Form, form_of, official_row
from polymode.runs import fingerprint
from polymode.tasks.record import Record
from polymode.tasks.record_files import read_records
from polymode.types import Reference


@dataclass(frozen=True, slots=True)
class DataFields:
    """Where question and references stand in a record, as the task `records` is told."""

    question: str = "question"
    references: str = "references"
    id: str | None = None
    """By default a record is named by its number: record-1, record-2, ..."""
    strings: Literal["references", "aliases"] = "references"
    """What a flat list of strings is: references that differ, or aliases of the one right answer."""


class DataRow(NamedTuple):
    """One record."""

    where: str
    id: str
    question: str
    """Without white space around it."""
    items: tuple[Any, ...]
    """References in their JSON form, one item each."""
    references: tuple[Reference, ...]
    fields: Mapping[str, Any]
    """All fields as read."""
    form: Form = "records"
    """Whose fields they are."""


class Data(NamedTuple):
    """A data file."""

    rows: tuple[DataRow, ...]
    fingerprint: str
    """SHA-256 of the file."""

    @property
    def is_official(self) -> bool:
        """Whether ids are those of a data set's task, and so name a question in runs of that task."""
        return self.rows[0].form != "records"


def read_data(path: Path, named: DataFields) -> Data:
    """Read a JSONL, JSON, CSV, TSV or Parquet file, also an official one of HotPotQA or AmbigQA.

    An official file is known by its fields, unless ``named`` says where question or references stand.

    Raises:
        DataNotFoundError: no such file.
        RecordError: a record cannot be used; says where, which field and why.
        ConfigError: an unknown meaning of strings.
    """
    if named.strings not in ("references", "aliases"):
        raise ConfigError(f"strings = {named.strings!r} is not known: use 'references' or 'aliases'")
    is_default = (named.question, named.references) == ("question", "references")
    rows: list[DataRow] = []
    for record in read_records(path):
        form = rows[0].form if rows else form_of(record.fields) if is_default else "records"
        rows.append(_row(record, named) if form == "records" else _official(record, form))
    if not rows:
        raise DataNotFoundError(f"{path} holds no record: check the path")
    return Data(tuple(rows), fingerprint(path))


def with_field(fields: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """``fields`` with one of them changed; dots go down into objects, as in `Record.get`."""
    if name in fields or "." not in name:
        return {**fields, name: value}
    head, rest = name.split(".", 1)
    return {**fields, head: with_field(fields[head], rest, value)}


def _row(record: Record, named: DataFields) -> DataRow:
    question = record.get(named.question)
    if not isinstance(question, str) or not question.strip():
        raise RecordError(f"{record.where}, field {named.question!r}: {question!r} must be the text of a question")
    items = record.items(named.references)
    if named.strings == "aliases" and items and all(isinstance(item, str) for item in items):
        items = [items]
    try:
        references = tuple(reference_from(item) for item in items)
    except RecordError as exc:
        problem = str(exc).removeprefix("references: ")
        raise RecordError(f"{record.where}, field {named.references!r}: {problem}") from None
    id_ = f"record-{record.number}" if named.id is None else str(record.get(named.id))
    return DataRow(record.where, id_, question.strip(), tuple(items), references, record.fields)


def _official(record: Record, form: Form) -> DataRow:
    row = official_row(record, form)
    return DataRow(
        record.where, row.id, row.question, row.items, tuple(map(reference_from, row.items)), row.fields, form
    )
