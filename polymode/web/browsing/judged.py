"""A line of judged.jsonl, checked (layer L4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from polymode.errors import RecordError
from polymode.prompts import MAX_K
from polymode.types import ParseStatus, Verdict

Mark = Literal["hit", "repeat", "wrong", "unscored"]
"""What became of an answer; ``repeat``: equal to an earlier one, or right about a reference found already."""
SURE = 0.8
"""A wrong answer said with at least this confidence counts as overconfident."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One judged completion; tuples have one entry per answer."""

    id: str
    sample: int
    k: int | None
    status: str
    reason: str
    answers: tuple[str, ...]
    confidences: tuple[float | None, ...]
    verdicts: tuple[str, ...]
    hits: tuple[int | None, ...]
    matches: tuple[int | None, ...]
    duplicates: tuple[int | None, ...]
    n_references: int | None
    faults: tuple[str, ...]
    p_correct: tuple[float | None, ...] | None
    score: float | None
    terms: tuple[tuple[str, float], ...]
    n_tokens: int | None

    @property
    def found(self) -> set[int]:
        """References found."""
        return {match for match, hit in zip(self.matches, self.hits, strict=True) if hit and match is not None}

    @property
    def n_hits(self) -> int:
        """Distinct references found; programs that are right all match the one set of tests, each a hit."""
        return sum(bool(hit) for hit in self.hits)

    @property
    def is_overconfident(self) -> bool:
        """Whether a wrong answer was said surely."""
        pairs = zip(self.verdicts, self.confidences, strict=True)
        return any(verdict == "wrong" and q is not None and q >= SURE for verdict, q in pairs)

    def mark(self, i: int) -> Mark:
        """What became of answer ``i``."""
        if self.verdicts[i] == "unscored":
            return "unscored"
        if self.duplicates[i] is not None:
            return "repeat"
        if self.verdicts[i] == "wrong":
            return "wrong"
        return "hit" if self.hits[i] else "repeat"


def judged_from(row: Mapping[str, Any], where: str) -> Judged:
    """Check a line; fields that a person's reviews do not have may be missing.

    Raises:
        RecordError: names where, field, value and fix.
    """
    if not isinstance(row.get("answers"), list):
        raise _wrong(where, "answers", row.get("answers"), "a list of texts")
    n = len(row["answers"])
    if n > MAX_K:
        raise _wrong(where, "answers", row["answers"], f"at most {MAX_K} texts")
    verdicts = _each(row, "verdicts", where, n, lambda v: v in _VERDICTS, "correct, wrong or unscored")
    right = [int(verdict == "correct") for verdict in verdicts]
    nothing = [None] * n
    terms = row.get("terms") or {}
    if not isinstance(terms, Mapping) or not all(is_number(value) for value in terms.values()):
        raise _wrong(where, "terms", terms, "an object of numbers")
    known = row.get("p_correct")
    return Judged(
        id=_one(row, "id", where, lambda v: isinstance(v, str), "a text"),
        sample=_one(row, "sample", where, _is_count, "a whole number from 0", 0),
        k=_one(row, "k", where, lambda v: v is None or (_is_count(v) and 0 < v <= MAX_K), f"1 to {MAX_K}", None),
        status=_one(row, "status", where, lambda v: v in _STATUSES, ", ".join(_STATUSES)),
        reason=_one(row, "reason", where, lambda v: isinstance(v, str), "a text", ""),
        answers=_each(row, "answers", where, n, lambda v: isinstance(v, str), "texts"),
        confidences=_each(row, "confidences", where, n, _is_share, "numbers from 0 to 1 or null", nothing),
        verdicts=verdicts,
        hits=_each(row, "hits", where, n, lambda v: v in (0, 1, None), "0, 1 or null", right),
        matches=_each(row, "matches", where, n, _is_place, "whole numbers or null", nothing),
        duplicates=_each(row, "duplicates", where, n, _is_place, "whole numbers or null", nothing),
        n_references=_one(row, "n_references", where, _is_place, "a whole number from 0", None),
        faults=_one(row, "faults", where, _are_texts, "a list of texts", ()),
        p_correct=None if known is None else _each(row, "p_correct", where, n, _is_share, "numbers from 0 to 1"),
        score=_one(row, "score", where, lambda v: v is None or is_number(v), "a number or null", None),
        terms=tuple((str(name), float(value)) for name, value in terms.items()),
        n_tokens=_one(row, "n_tokens", where, _is_place, "a whole number or null", None),
    )


_VERDICTS = tuple(verdict.value for verdict in Verdict)
_STATUSES = tuple(status.value for status in ParseStatus)
_NEEDED = object()


def is_number(value: object) -> bool:
    """Whether a JSON value is a number that a float holds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e300


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_place(value: object) -> bool:
    return value is None or _is_count(value)


def _is_share(value: Any) -> bool:
    return value is None or (is_number(value) and 0 <= value <= 1)


def _one(
    row: Mapping[str, Any],
    name: str,
    where: str,
    is_fine: Callable[[Any], bool],
    allowed: str,
    default: object = _NEEDED,
) -> Any:
    value = row.get(name, default)
    if value is _NEEDED or not _holds(is_fine, value):
        raise _wrong(where, name, None if value is _NEEDED else value, allowed)
    return value


def _each(
    row: Mapping[str, Any],
    name: str,
    where: str,
    n: int,
    is_fine: Callable[[Any], bool],
    allowed: str,
    default: list[Any] | None = None,
) -> tuple[Any, ...]:
    values = row.get(name, default)
    if not isinstance(values, list) or len(values) != n or not all(_holds(is_fine, value) for value in values):
        raise _wrong(where, name, values, f"a list with one entry per answer: {allowed}")
    return tuple(values)


def _holds(is_fine: Callable[[Any], bool], value: object) -> bool:
    try:
        return is_fine(value)
    except TypeError:  # a list where a text is looked up
        return False


def _wrong(where: str, name: str, value: object, allowed: str) -> RecordError:
    text = repr(value) if isinstance(value, (str, int, float)) or value is None else type(value).__name__
    shown = text if len(text) <= 80 else f"{text[:80]}..."
    return RecordError(f"{where}: {name} = {shown} is not allowed ({allowed}); judge again with polymode evaluate")
