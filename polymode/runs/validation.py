"""From pydantic's report on a record to one line: where, which field, what value, what is allowed (layer L3)."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from polymode.errors import RecordError
from polymode.runs import surrogates
from polymode.runs.files import check_schema
from polymode.runs.lines import MAX_LINE, parse_object

T = TypeVar("T")


def parsed_record(adapter: TypeAdapter[T], content: bytes, where: str, fix: str) -> T:
    """A line of JSON as a record, checked while it is parsed.

    Raises:
        RecordError: one line that names the place, the field, its value and what to do.
    """
    if len(content) > MAX_LINE:
        raise RecordError(f"{where}: longer than {MAX_LINE:,} bytes; {fix}")
    try:
        return adapter.validate_json(content.removeprefix(BOM_UTF8))
    except ValidationError as exc:
        row, error = parse_object(content, where, fix), exc
    try:
        if surrogates.may_have_halves(content):
            return surrogates.validate_json(adapter, row)
    except ValidationError as exc:
        error = exc
    check_schema(row.get("schema"), where)
    raise RecordError(f"{where}: {complaint(error)}; {fix}")


def checked_record(adapter: TypeAdapter[T], row: Mapping[str, Any], where: str, fix: str) -> T:
    """A parsed JSON object as a record; raises as `parsed_record`."""
    try:
        return adapter.validate_python(row)
    except ValidationError as exc:
        raise RecordError(f"{where}: {complaint(exc)}; {fix}") from None


_ALLOWED = {
    "bool_type": "true or false",
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "tuple_type": "a list",
    "list_type": "a list",
    **dict.fromkeys(("dict_type", "model_type", "dataclass_type"), "an object"),
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:g} or less",
    "less_than": "less than {lt:g}",
    "literal_error": "{expected}",
    "too_short": "at least {min_length}",
    "too_long": "at most {max_length}",
}
"""What may be given instead, by pydantic's type of error."""


def complaint(error: ValidationError) -> str:
    """Field, value and what is allowed: an unknown field first, whose misspelling may be why another is missing."""
    problems = error.errors(include_url=False)
    first = next((one for one in problems if one["type"] == "unexpected_keyword_argument"), problems[0])
    field = ", ".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{field} is missing"
    if first["type"] == "unexpected_keyword_argument":
        return f"unknown field {field!r}"
    if first["type"] not in _ALLOWED:  # a check of our own, which says everything
        return first["msg"].removeprefix("Value error, ")
    allowed = _ALLOWED[first["type"]].format(**first.get("ctx", {}))
    return f"{field} = {shorten(first['input'])} is not allowed: give {allowed}"


def shorten(value: object, longest: int = 80) -> str:
    """A value as an error shows it."""
    if isinstance(value, (list, tuple, Mapping)) and len(value) > longest:
        return f"{type(value).__name__} of {len(value):,}"
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
