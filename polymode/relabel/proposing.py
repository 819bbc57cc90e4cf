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
class Criteria:
    """Which answers are proposed."""

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
        key_of(self.equality)


def key_of(equality: str) -> Callable[[str], str]:
    """What equal answers share; raises ConfigError for an unknown equality."""
    keys: dict[str, Callable[[str], str]] = {"text": TextVerifier().key, "exact": str}
    if equality not in keys:
        raise ConfigError(f"equality = {equality!r} is not known: use one of {', '.join(keys)}")
    return keys[equality]


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
    sources: Sequence[Path], data: Path, *, named: DataFields | None = None, criteria: Criteria | None = None
) -> Proposed:
    """Answers marked wrong that may be right, the highest score first.

    Questions of a run are found in the data by their text when ``completions.jsonl`` stands beside ``judged.jsonl``,
    else by their id; those of HotPotQA, whose text in a run has the paragraphs too, by their id in any case.

    Args:
        sources: run folders, or judged.jsonl files.
        data: the records that were asked.
        named: where question and references stand in them.
        criteria: which answers are proposed.

    Raises:
        DataNotFoundError: a file is missing, or no question of the runs stands in the data.
        RecordError: a line cannot be used.
        ConfigError: no confidences where some are needed.
    """
    criteria = criteria or Criteria()
    records = read_data(data, named or DataFields())
    counts, n_not_in_data = _count_answers(sources, records, key_of(criteria.equality))
    if not counts:
        raise DataNotFoundError(f"no question of the runs stands in {data}: give the data that the runs were asked")
    wrong = [count for own in counts.values() for count in own.answers.values() if count.is_wrong]
    if criteria.min_confidence > 0 and wrong and not any(count.n_stated for count in wrong):
        raise ConfigError("the runs state no confidences: with min_confidence = 0 the share alone counts")
    proposals: list[Proposal] = []
    n_with_more = 0
    first_rows = {row.question: row for row in reversed(records.rows)}  # what is accepted goes to all of a question
    for row in records.rows:
        if row.question not in counts or row is not first_rows[row.question]:
            continue
        if criteria.max_references and len(row.references) > criteria.max_references:
            n_with_more += 1
            continue
        proposals += _proposals(row, counts[row.question], records.fingerprint, criteria)
    proposals.sort(key=lambda proposal: (-proposal.score, -proposal.share))
    return Proposed(tuple(proposals[: criteria.top]), len(proposals), len(counts), n_not_in_data, n_with_more)


@dataclass(slots=True)
class _AnswerCount:
    """How often one answer was given to one question, and how."""

    n: int = 0
    n_stated: int = 0
    total: float = 0.0
    """Sum of the confidences that were stated."""
    spellings: Counter[str] = field(default_factory=Counter)
    runs: dict[str, None] = field(default_factory=dict)
    is_wrong: bool = True
    """Whether it was marked wrong each time."""


@dataclass(slots=True)
class _QuestionCount:
    """The answers of all samples of one question, by their key."""

    n_samples: int = 0
    answers: dict[str, _AnswerCount] = field(default_factory=dict)

    def add(self, one: JudgedCompletion, run: str, key: Callable[[str], str]) -> None:
        """Count a sample."""
        self.n_samples += 1
        earlier: set[str] = set()
        for text, q, verdict in zip(one.answers, one.confidences, one.verdicts, strict=True):
            name = key(text)
            count = self.answers.setdefault(name, _AnswerCount())
            count.is_wrong &= verdict == Verdict.WRONG.value
            if name in earlier:
                continue
            earlier.add(name)
            count.n += 1
            count.spellings[text] += 1
            count.runs[run] = None
            if q is not None:
                count.n_stated += 1
                count.total += q


def _count_answers(
    sources: Sequence[Path], data: Data, key: Callable[[str], str]
) -> tuple[dict[str, _QuestionCount], int]:
    """Answers by question, and how many questions of the runs the data do not hold."""
    questions = {row.question for row in data.rows}
    by_id = {row.id: row.question for row in data.rows}
    counts: dict[str, _QuestionCount] = {}
    strangers: set[tuple[str, str]] = set()
    for source in sources:
        path = runs.judged_path(source)
        questions_of_run = _questions(path.parent) or by_id
        for _, _, one in runs.judged_lines(path):
            question = questions_of_run.get(one.id)
            if question not in questions and data.is_official:  # its task writes paragraphs before the question
                question = by_id.get(one.id)
            if question in questions:
                counts.setdefault(question, _QuestionCount()).add(one, str(source), key)
            else:
                strangers.add((str(source), one.id))
    return counts, len(strangers)


def _questions(folder: Path) -> dict[str, str] | None:
    """Question of each id; None where the completions are gone, or do not say."""
    try:
        path = runs.completions_of(folder)
    except RunIncompleteError:
        return None
    questions: dict[str, str] = {}
    for row in runs.read_jsonl(path):
        if not isinstance(row.get("question"), str) or row.get("id") is None:
            return None
        questions[str(row["id"])] = row["question"].strip()
    return questions


def _proposals(row: DataRow, counts: _QuestionCount, fingerprint: str, criteria: Criteria) -> Iterable[Proposal]:
    key = key_of(criteria.equality)
    references = {key(name) for reference in row.references for name in reference.names}
    for name, count in counts.answers.items():
        share = count.n / counts.n_samples
        confidence = count.total / count.n_stated if count.n_stated else None
        if not count.is_wrong or name in references or share < criteria.min_share - TOLERANCE:
            continue
        if (confidence or 0.0) < criteria.min_confidence - TOLERANCE:
            continue
        yield Proposal(
            id=row.id,
            question=row.question,
            references=tuple(reference.text for reference in row.references),
            answer=count.spellings.most_common(1)[0][0],
            score=share if confidence is None else share * confidence,
            share=share,
            confidence=confidence,
            n_given=count.n,
            n_samples=counts.n_samples,
            runs=tuple(count.runs),
            data=fingerprint,
        )
