"""Official files of HotPotQA and AmbigQA as data to relabel (layer L4).

What is accepted is written in the data set's own form, as JSON lines, which its task reads again:

- HotPotQA: a further field ``references`` beside ``answer``;
- AmbigQA: a further annotation for each answer, ``{"type": "singleAnswer", "answer": [answer]}``, which for another
  wording of a reference names that one first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from polymode.tasks.ambigqa import AmbigQA, ambigqa_example, annotations_of
from polymode.tasks.hotpotqa import HotpotQA, hotpot_record
from polymode.tasks.record import Record

Form = Literal["records", "hotpotqa", "ambigqa"]
"""How a file holds questions and references."""


class OfficialRow(NamedTuple):
    """What an official record says."""

    id: str
    """As the examples of its task are called."""
    question: str
    """Without the paragraphs that the task puts before it."""
    items: tuple[Any, ...]
    """References in their JSON form."""
    fields: Mapping[str, Any]
    """All fields, those of the references as the official file has them."""


def form_of(fields: Mapping[str, Any]) -> Form:
    """The data set that a record is of, by its fields; ``records`` for any other."""
    if "annotations" in fields and "references" not in fields:
        return "ambigqa"
    is_hotpot = {"question", "answer", "context"} <= fields.keys() and not isinstance(fields["context"], str)
    return "hotpotqa" if is_hotpot and ("_id" in fields or "supporting_facts" in fields) else "records"


def official_row(record: Record, form: Form) -> OfficialRow:
    """A record of HotPotQA or AmbigQA; raises RecordError as its task does."""
    if form == "ambigqa":
        example = ambigqa_example(record)
        items = tuple(list(reference.names) for reference in example.references)
        fields = {**record.fields, "annotations": annotations_of(record)}
        return OfficialRow(f"{AmbigQA.name}-{record.identity('id')}", example.question, items, fields)
    read = hotpot_record(record)
    items = tuple(record.items("references")) if read.references is not None else (read.answer,)
    return OfficialRow(f"{HotpotQA.name}-{read.id}", read.question, items, record.fields)


def with_answers(fields: Mapping[str, Any], answers: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """The fields of an AmbigQA record with further answers, each with the reference that it is another name of."""
    further = [
        {"type": "singleAnswer", "answer": [answer] if alias_of is None else [alias_of, answer]}
        for answer, alias_of in answers
    ]
    return {**fields, "annotations": [*fields["annotations"], *further]}
