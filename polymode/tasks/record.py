"""One row of a table file or data set: fields, place for error messages, and how values become lists and texts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from polymode.errors import RecordError
from polymode.messages import question_text
from polymode.references import (
    ABSENT_TEXTS,
    NO_ANSWER,
    is_list_of_references,
    is_missing,
    is_printed_array,
    list_in_text,
    plain,
    reference_from,
)
from polymode.runs.validation import shorten
from polymode.types import Reference

ListTexts = Literal["detect", "parse", "keep"]
"""Whether a text may be a list: when it can be nothing else, always, or never."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row as read."""

    where: str
    """Place for error messages: ``questions.jsonl, line 3``."""
    number: int
    """Number of the row in its file, from 1."""
    fields: Mapping[str, Any]
    is_text: bool
    """Whether the format has only text, so that lists are written in a cell."""

    def get(self, field: str) -> Any:
        """Value of a field; dots select fields of nested objects unless a field has the whole name.

        Raises:
            RecordError: there is no such field.
        """
        value: Any = self.fields
        for name in [field] if field in self.fields else field.split("."):
            if not isinstance(value, Mapping) or name not in value:
                fields = ", ".join(map(repr, self.fields))
                raise RecordError(f"{self.where}: field {field!r} is missing; add it, or name another ({fields})")
            value = value[name]
        return value

    def text(self, field: str, hint: str = "") -> str:
        """A field that must be a text, or one message of a user, without space around it.

        A ``field`` with names in braces is a text that the fields with these names are put into.
        ``hint`` ends the error. Raises RecordError.
        """
        if "{" in field and field not in self.fields:
            return re.sub(r"\{([^{}]+)\}", lambda name: self.text(name[1], hint), field).strip()
        value = question_text(self.get(field))
        if not isinstance(value, str) or not value.strip():
            raise RecordError(f"{self.where}, field {field!r}: {shorten(value)} must be a text that is not empty{hint}")
        return value.strip()

    def identity(self, field: str) -> str:
        """A field that must be a text or a whole number, as text. Raises RecordError."""
        value = self.get(field)
        if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
            raise RecordError(f"{self.where}, field {field!r}: {value!r} must be a text or whole number")
        return str(value)

    def items(self, field: str, list_texts: ListTexts = "detect") -> list[Any]:
        """A field as a list: a single value becomes a list of one.

        A text that writes out a list (JSON, or as Python prints it) is that list. In a text cell ``|`` separates names.

        Args:
            field: its name.
            list_texts: whether texts may be lists, see `Records`.

        Raises:
            RecordError: no such field, a missing value, or a text that may or may not be a list.
        """
        value, where = plain(self.get(field)), f"{self.where}, field {field!r}"
        is_cell = self.is_text and isinstance(value, str)
        if is_missing(value) or (is_cell and not value.strip()):
            raise RecordError(f"{where}: the value is missing; {NO_ANSWER}")
        if not isinstance(value, str):
            return value if isinstance(value, list) else [value]
        if list_texts == "keep":
            return [value]
        items = list_in_text(value)
        if items is not None and (list_texts == "parse" or is_list_of_references(items)):
            return items
        if list_texts == "parse":
            raise RecordError(f"{where}: {shorten(value)} is no list; with list_texts = 'parse' every text must be one")
        opens, closes = value.strip()[:1] == "[", value.strip()[-1:] == "]"
        if (opens and (closes or is_cell)) or is_printed_array(value):
            raise RecordError(
                f'{where}: {shorten(value)} may be a list or a text; write the list as JSON, ["...", "..."], or say '
                "list_texts = 'keep' (texts as they are) or 'parse' (lists)"
            )
        if not is_cell:
            return [value]
        if value.strip() in ABSENT_TEXTS:
            raise RecordError(
                f'{where}: {value!r} stands for a missing value; {NO_ANSWER}, or ["{value.strip()}"] where it is one'
            )
        if value.lstrip().startswith("{"):
            return [self._object(value, where)]
        return [part.strip() for part in value.split("|")]

    def references(self, field: str) -> tuple[Reference, ...]:
        """A field as references, as written; raises RecordError."""
        try:
            return tuple(reference_from(value) for value in self.items(field))
        except RecordError as exc:
            problem = str(exc).removeprefix("references: ")
            where = "" if problem.startswith(self.where) else f"{self.where}, field {field!r}: "
            raise RecordError(f"{where}{problem}") from None

    def per_reference(self, field: str, count: int) -> list[Any]:
        """A field with one entry for each of ``count`` references; raises RecordError where it has others."""
        values = plain(self.get(field))
        if isinstance(values, str):
            bars = [part.strip() for part in values.split("|")] if self.is_text and values.strip() else [values]
            values = bars if (items := list_in_text(values)) is None else items
        values = [] if is_missing(values) else values if isinstance(values, list) else [values]
        if len(values) != count:
            raise RecordError(
                f"{self.where}, field {field!r}: {len(values)} entries for {count} references; give one per reference"
            )
        return values

    def _object(self, value: str, where: str) -> Any:
        try:
            return json.loads(value)
        except ValueError as exc:
            raise RecordError(f"{where}: {shorten(value)} is not JSON ({exc})") from None


def transposed(value: Any, names: Sequence[str], where: str) -> Any:
    """Items as lists ``[value of the first name, of the second, ...]``, whichever way an object holds them.

    The Hugging Face hub stores a list of objects as an object of lists, or as it is. Anything else is given back.

    Raises:
        RecordError: a name is missing, or the lists differ in length.

    >>> transposed({"title": ["a", "b"], "sent_id": [0, 1]}, ("title", "sent_id"), "")
    [['a', 0], ['b', 1]]
    """
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        value = {name: [item.get(name) for item in value] for name in names if any(name in item for item in value)}
    if not isinstance(value, Mapping):
        return value
    columns = [value.get(name) for name in names]
    if not all(isinstance(column, list) for column in columns) or len({len(column or ()) for column in columns}) > 1:
        raise RecordError(f"{where}: {shorten(value)} must hold lists of one length called {', '.join(names)}")
    return [list(item) for item in zip(*columns, strict=True)]  # type: ignore[arg-type]
