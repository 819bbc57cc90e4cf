"""judged.jsonl: one judged completion a line, with everything that metrics are computed from (layer L3).

A line is self-sufficient for numbers: whoever reads it needs neither the completion's text nor a verifier. Texts stand
in completions.jsonl; metrics.json says where that file is. What belongs to several completions stands at the first of
them: ``pool`` at the first completion of a pooled set, ``overlap`` at the first one of a question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from json import JSONEncoder
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter

from polymode.errors import DataNotFoundError, RecordError
from polymode.prompts import MAX_K
from polymode.runs.files import SCHEMA, replacing
from polymode.runs.folder import JUDGED, file_in
from polymode.runs.lines import Stamp, lines_at, raw_lines
from polymode.runs.validation import parsed_record

Status = Literal["clean", "partial", "malformed", "truncated"]
"""Values of `polymode.ParseStatus`."""
VerdictName = Literal["correct", "wrong", "unscored"]
"""Values of `polymode.Verdict`."""
Mark = Literal["hit", "repeat", "wrong", "unscored"]
"""What became of an answer; ``repeat``: equal to an earlier one, or right about a reference found already."""

Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(ge=-1e300, le=1e300)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
FieldValue = str | bool | int
"""A value by which questions are told apart."""
MAX_FIELD = 100
"""Longest text that tells questions apart."""
QUESTION = r"^[0-9a-f]{16}-[0-9a-f]{32}$"
_FIX = "judge again with polymode evaluate"


@dataclass(slots=True, kw_only=True)  # not frozen: to make a frozen one of so many fields takes three times as long
class JudgedSet:
    """What a verifier said of one answer set; tuples have one entry per answer, None where a number is unknown."""

    verdicts: tuple[VerdictName, ...]
    hits: tuple[Literal[0, 1] | None, ...] = ()
    """1 for a new hit, None for an answer that could not be judged; by default 1 for every right answer."""
    matches: tuple[Count | None, ...] = ()
    """Reference that the answer matches."""
    duplicates: tuple[Count | None, ...] = ()
    """Earliest equal answer of the set."""
    n_references: Count | None = None
    """References of the question; K where right answers are without number."""
    faults: tuple[str, ...] = ()
    """Why answers could not be judged."""
    reasons: tuple[str | None, ...] | None = None
    """Why each answer is wrong, such as the assert that a program fails; None where the verifier does not say."""
    p_correct: tuple[Share | None, ...] | None = None
    """True probability of being a new hit (0 for a repeat); None when the question does not tell."""
    open: bool = False
    """Whether right answers are without number, as for programs; each class of right answers is then one find."""
    complete: bool = False
    """Whether the question says that its references are all right answers (``complete_references`` in its meta)."""
    labels: tuple[Share | None, ...] | None = None
    """Soft labels: what confidences are scored against where the target is a distribution (`polymode.soft_labels`);
    None where it is the verdict."""
    classes: tuple[Count, ...] | None = None
    """Number of the equivalence class, shared by equal answers of all samples of the question; None in a set with an
    unscored answer, and in files of 0.1.0 unless ``open``."""
    masses: tuple[Number | None, ...] | None = None
    """Mass in the question's reference distribution; None without one."""
    best: Number | None = None
    """Expected coverage of the best possible K answers."""
    ranked: tuple[tuple[str, Share], ...] | None = None
    """Texts and average confidences of a pool of answer sets (`polymode.policy.pooling`); None in any other set."""
    distinct: dict[Literal["ast", "behaviour"], Count | None] | None = None
    """Right programs that differ in their syntax trees, and in what they do; None where answers are no programs."""

    def __post_init__(self) -> None:
        self._complete(len(self.verdicts), _PER_ANSWER, _VALUES_PER_ANSWER)

    def _complete(self, n: int, names: Iterable[str], getter: Callable[[Any], tuple[Any, ...]]) -> None:
        """Fill what may be left out, and refuse tuples that have not ``n`` entries (ValueError)."""
        for name in _FILLED if n else ():
            if getattr(self, name, None) == ():
                is_hits = name == "hits"
                values = tuple(int(verdict == "correct") for verdict in self.verdicts) if is_hits else (None,) * n
                setattr(self, name, values)
        for values in getter(self):
            if values is not None and len(values) != n:
                name = next(name for name in names if getattr(self, name) is values)
                raise ValueError(f"{name} = {list(values)!r:.80} is not allowed: give one entry per answer, {n}")

    @property
    def is_scored(self) -> bool:
        """Whether every answer could be judged."""
        return "unscored" not in self.verdicts

    @property
    def references_found(self) -> set[int]:
        """Numbers of the references that it has."""
        return {match for match, hit in zip(self.matches, self.hits, strict=True) if hit and match is not None}

    def mark(self, i: int) -> Mark:
        """What became of answer ``i``."""
        if self.verdicts[i] == "unscored":
            return "unscored"
        if self.duplicates[i] is not None:
            return "repeat"
        if self.verdicts[i] == "wrong":
            return "wrong"
        return "hit" if self.hits[i] else "repeat"

    def to_row(self) -> dict[str, Any]:
        """Plain JSON types; optional fields are left out where they say nothing."""
        return _row(_OF_SET, _VALUES_OF_SET(self))


@dataclass(slots=True, kw_only=True)
class JudgedCompletion(JudgedSet):
    """One judged completion: a line of judged.jsonl."""

    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)

    id: str
    """Of the question."""
    question: Annotated[str, Field(pattern=QUESTION)] | None = None
    """Fingerprint of the question's text (`polymode.fingerprints`); None where there is none, or in older files."""
    meta: dict[str, FieldValue] | None = None
    """What the question's ``meta`` tells it apart by: its texts, whole numbers and booleans (`grouping_fields`)."""
    origin: Literal["random", "escalated"] | None = None
    """How a question of the review queue came there: by lot, or because of what was decided; None for other files."""
    sample: Count = 0
    """Number of this completion among those of its question."""
    k: Annotated[int, Field(ge=1, le=MAX_K)] | None = None
    """Answers asked for."""
    status: Status
    reason: str = ""
    """Why the status is not clean."""
    answers: Annotated[tuple[str, ...], Field(max_length=MAX_K)]
    confidences: tuple[Share | None, ...] = ()
    score: Number | None = None
    """Sum of the terms; None where an answer could not be judged."""
    terms: dict[str, Number] = field(default_factory=dict)
    n_tokens: Count | None = None
    pool: JudgedSet | None = None
    """The pooled set that begins with this completion."""
    overlap: tuple[Number | None, ...] | None = None
    """Text overlaps of the question's completions, in the order of `polymode.metrics.diversity.OVERLAPS`."""
    schema: Annotated[int, Field(ge=0, le=SCHEMA)] = 0
    """Version of the line; 0 for polymode 0.1.0."""

    def __post_init__(self) -> None:
        self._complete(len(self.answers), _PER_ANSWER_OF_LINE, _VALUES_PER_ANSWER_OF_LINE)

    def to_row(self) -> dict[str, Any]:
        """A line of judged.jsonl: plain JSON types."""
        row = {"schema": SCHEMA, **_row(_OF_LINE, _VALUES_OF_LINE(self))}
        return row if self.pool is None else {**row, "pool": self.pool.to_row()}


_PER_ANSWER = ("hits", "matches", "duplicates", "reasons", "p_correct", "labels", "classes", "masses", "ranked")
_PER_ANSWER_OF_LINE = ("verdicts", "confidences", *_PER_ANSWER)
_VALUES_PER_ANSWER, _VALUES_PER_ANSWER_OF_LINE = attrgetter(*_PER_ANSWER), attrgetter(*_PER_ANSWER_OF_LINE)
_FILLED = ("hits", "matches", "duplicates", "confidences")
_OPTIONS = (
    *("ranked", "open", "complete", "labels", "classes", "masses", "best", "distinct", "reasons"),
    *("pool", "overlap", "question", "meta", "origin"),
)
_OPTIONAL = frozenset(_OPTIONS)
_OF_SET = ("verdicts", "hits", "matches", "duplicates", "n_references", "faults", "p_correct", *_OPTIONS[:9])
_OF_LINE = (
    *("id", "question", "meta", "origin", "sample", "k", "status", "reason", "answers", "confidences", *_OF_SET),
    *("score", "terms", "n_tokens", "pool", "overlap"),
)
_VALUES_OF_SET, _VALUES_OF_LINE = attrgetter(*_OF_SET), attrgetter(*_OF_LINE)


def _row(names: Iterable[str], values: Iterable[Any]) -> dict[str, Any]:
    row = zip(names, values, strict=True)
    return {name: x for name, x in row if (x is not None and x is not False) or name not in _OPTIONAL}


def grouping_fields(meta: Mapping[str, object]) -> dict[str, FieldValue] | None:
    """What questions can be told apart by in their ``meta``; None where it holds nothing of that kind."""
    fields = {
        name: value
        for name, value in meta.items()
        if (isinstance(value, str) and len(value) <= MAX_FIELD) or isinstance(value, (bool, int))
    }
    return fields or None


class JudgedLine(NamedTuple):
    """A judged completion and where it stands."""

    number: int
    """From 1, blank lines counted."""
    offset: int
    """In bytes."""
    judged: JudgedCompletion


_ADAPTER = TypeAdapter(JudgedCompletion)


def judged_lines(
    path: Path,
    label: str | None = None,
    *,
    skip: int = 0,
    on_damage: Callable[[RecordError], object] | None = None,
) -> Iterator[JudgedLine]:
    """Every line of a judged.jsonl, checked.

    Args:
        path: the file.
        label: what errors call it; its path when None.
        skip: lines at the beginning that are something else.
        on_damage: told of each line that cannot be used, which is then left out; None: it is raised.

    Raises:
        RunIncompleteError: there is no such file.
        RecordError: a line cannot be used; names line, field, value and fix.
        OSError: the file cannot be read.
    """
    label = label or str(path)
    for number, offset, content in islice(raw_lines(path, label), skip, None):
        try:
            judged = parsed_record(_ADAPTER, content, f"{label}, line {number}", _FIX)
        except RecordError as exc:
            if on_damage is None:
                raise
            on_damage(exc)
        else:
            yield JudgedLine(number, offset, judged)


def judged_at(
    path: Path, stamp: Stamp | None, offsets: Iterable[int], label: str | None = None
) -> list[JudgedCompletion]:
    """The judged completions that start at the offsets; raises as `judged_lines` and `lines_at`."""
    return [parsed_record(_ADAPTER, content, where, _FIX) for where, content in lines_at(path, stamp, offsets, label)]


def judged_path(path: Path | str) -> Path:
    """A judged.jsonl from itself or from its folder; raises DataNotFoundError where there is none."""
    path = file_in(path, JUDGED)
    if not path.is_file():
        raise DataNotFoundError(f"{path} does not exist: check the path, or judge the completions (polymode evaluate)")
    return path


def judged_line(judged: JudgedCompletion) -> bytes:
    """A line of judged.jsonl."""
    row = judged.to_row()
    try:
        return _ROWS.dump_json(row) + b"\n"  # a fifth of the time of json
    except ValueError:  # half of a surrogate pair, which only the escapes of json have
        return f"{_encode(row)}\n".encode(errors="backslashreplace")


_ROWS = TypeAdapter(dict[str, Any])
_encode = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def write_judged(path: Path, judged: Iterable[JudgedCompletion]) -> None:
    """Write a judged.jsonl, whole or not at all."""
    with replacing(path) as part, part.open("wb") as handle:
        handle.writelines(map(judged_line, judged))
