"""From judged runs to proposals (layer L4).

    share = samples that gave the answer / samples of the question,    score = share x mean confidence

The samples of all runs count together. An answer counts once a sample, at its first place; answers that are the same
after normalising are one. Proposed is only what was marked wrong each time: an answer that was right once, or that no
verifier could judge, is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError, RunIncompleteError
from polymode.relabel.data import Data, DataFields, DataRow, read_data
from polymode.relabel.proposal import Proposal
from polymode.runs import JudgedCompletion
from polymode.types import Verdict
from polymode.verifiers.text import TextVerifier

TOLERANCE = 1e-9
"""A share that misses the least by no more than this reaches it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is proposed."""

    min_share: float = 0.5
    """Least share of the question's samples that gave the answer, in [0, 1]."""
    min_confidence: float = 0.5
    """Least mean confidence, in [0, 1]; with 0 confidences are not needed."""
    top: int = 100
    """At most so many, the highest scores first."""
    max_references: int = 1
    """Only questions with at most so many references; 0 takes all."""
    equality: str = "text"
    """Which answers are one and the same: ``text`` after normalising, or ``exact``."""

    def __post_init__(self) -> None:
        for name in ("min_share", "min_confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)!r} is not allowed: give a number from 0 to 1")
        for name, low in (("top", 1), ("max_references", 0)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} = {getattr(self, name)!r} is not allowed: give a whole number from {low}")
        if self.equality not in ("text", "exact"):
            raise ConfigError(f"equality = {self.equality!r} is not known: use one of text, exact")

    @property
    def key(self) -> Callable[[str], str]:
        """What equal answers share."""
        return TextVerifier().key if self.equality == "text" else str


class Proposed(NamedTuple):
    """Proposals, and what they rest on."""

    proposals: tuple[Proposal, ...]
    n_found: int
    """Answers that meet the conditions, before the highest scores were taken."""
    n_questions: int
    """Questions of the data that the runs answered."""
    n_not_in_data: int
    """Questions of the runs that the data do not hold."""
    n_with_more: int
    """Questions left out because they have more references."""


def propose(
    sources: Sequence[Path], data: Path, *, named: DataFields | None = None, wanted: Wanted | None = None
) -> Proposed:
    """Answers marked wrong that may be right, the highest score first.

    Questions of a run are found in the data by their text when ``completions.jsonl`` stands beside ``judged.jsonl``,
    else by their id.

    Args:
        sources: run folders, or judged.jsonl files.
        data: the records that were asked.
        named: where question and references stand in them.
        wanted: what is proposed.

    Raises:
        DataNotFoundError: a file is missing, or no question of the runs stands in the data.
        RecordError: a line cannot be used.
        ConfigError: no confidences where some are wanted.
    """
    wanted = wanted or Wanted()
    records = read_data(data, named or DataFields())
    tallies, n_not_in_data = _tallies(sources, records, wanted)
    if not tallies:
        raise DataNotFoundError(f"no question of the runs stands in {data}: give the data that the runs were asked")
    wrong = [given for tally in tallies.values() for given in tally.given.values() if given.is_wrong]
    if wanted.min_confidence > 0 and wrong and not any(given.n_stated for given in wrong):
        raise ConfigError("the runs state no confidences: with min_confidence = 0 the share alone counts")
    found: list[Proposal] = []
    n_with_more = 0
    for row in _first_of_each(records):
        if row.question not in tallies:
            continue
        if wanted.max_references and len(row.references) > wanted.max_references:
            n_with_more += 1
            continue
        found += _proposals(row, tallies[row.question], records.fingerprint, wanted)
    found.sort(key=lambda proposal: (-proposal.score, -proposal.share))
    return Proposed(tuple(found[: wanted.top]), len(found), len(tallies), n_not_in_data, n_with_more)


@dataclass(slots=True)
class _Given:
    """How one answer was given to one question."""

    n: int = 0
    n_stated: int = 0
    total: float = 0.0
    """Sum of the confidences that were stated."""
    forms: Counter[str] = field(default_factory=Counter)
    runs: dict[str, None] = field(default_factory=dict)
    is_wrong: bool = True
    """Whether it was marked wrong each time."""


@dataclass(slots=True)
class _Tally:
    """What all samples of one question said."""

    n_samples: int = 0
    given: dict[str, _Given] = field(default_factory=dict)

    def take(self, one: JudgedCompletion, run: str, key: Callable[[str], str]) -> None:
        """Count a sample."""
        self.n_samples += 1
        seen: set[str] = set()
        for text, q, verdict in zip(one.answers, one.confidences, one.verdicts, strict=True):
            name = key(text)
            given = self.given.setdefault(name, _Given())
            given.is_wrong &= verdict == Verdict.WRONG.value
            if name in seen:
                continue
            seen.add(name)
            given.n += 1
            given.forms[text] += 1
            given.runs[run] = None
            if q is not None:
                given.n_stated += 1
                given.total += q


def _tallies(sources: Sequence[Path], data: Data, wanted: Wanted) -> tuple[dict[str, _Tally], int]:
    questions = {row.question for row in data.rows}
    by_id = {row.id: row.question for row in data.rows}
    tallies: dict[str, _Tally] = {}
    strangers: set[tuple[str, str]] = set()
    for source in sources:
        path = runs.judged_path(source)
        if not path.is_file():
            raise DataNotFoundError(
                f"{path} does not exist: check the path, or judge the completions (polymode evaluate)"
            )
        questions_of_run = _questions(path.parent)
        for _, _, one in runs.judged_lines(path):
            question = by_id.get(one.id) if questions_of_run is None else questions_of_run.get(one.id)
            if question is None or question not in questions:
                strangers.add((str(source), one.id))
                continue
            tallies.setdefault(question, _Tally()).take(one, str(source), wanted.key)
    return tallies, len(strangers)


def _questions(folder: Path) -> dict[str, str] | None:
    """Question of each id; None where the completions are gone, or do not say."""
    try:
        path = runs.completions_of(folder)
    except RunIncompleteError:
        return None
    found: dict[str, str] = {}
    for _, _, row in runs.read_lines(path):
        if not isinstance(row.get("question"), str) or row.get("id") is None:
            return None
        found[str(row["id"])] = row["question"].strip()
    return found


def _first_of_each(data: Data) -> Iterable[DataRow]:
    """The first record of each question; what is accepted goes to all of them."""
    seen: set[str] = set()
    for row in data.rows:
        if row.question not in seen:
            seen.add(row.question)
            yield row


def _proposals(row: DataRow, tally: _Tally, fingerprint: str, wanted: Wanted) -> Iterable[Proposal]:
    known = {wanted.key(name) for reference in row.references for name in reference.names}
    for name, given in tally.given.items():
        share = given.n / tally.n_samples
        confidence = given.total / given.n_stated if given.n_stated else None
        if not given.is_wrong or name in known or share < wanted.min_share - TOLERANCE:
            continue
        if (confidence or 0.0) < wanted.min_confidence - TOLERANCE:
            continue
        yield Proposal(
            id=row.id,
            question=row.question,
            references=tuple(reference.text for reference in row.references),
            answer=given.forms.most_common(1)[0][0],
            score=share if confidence is None else share * confidence,
            share=share,
            confidence=confidence,
            n_given=given.n,
            n_samples=tally.n_samples,
            runs=tuple(given.runs),
            data=fingerprint,
        )
