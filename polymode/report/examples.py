"""Worked examples: one question, the answers of two arms, and the truth (layer L4).

Questions are selected without looking at the answers: they are evenly spaced over the sorted ids that both arms have,
from an offset that the seed determines.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.report.arms import number
from polymode.report.example_programs import describe_tests, likely_programs, read_tests, shown_program
from polymode.runs import JudgedCompletion
from polymode.runs.judged import Mark
from polymode.sandbox import ProgramTests
from polymode.verifiers.text import normalise

_MAX_TRUTH, _LEAST_TRUTH = 8, 0.005
"""Largest number, and least probability, of possible answers listed besides the references."""
_LONGEST, _LONGEST_ANSWER, _LONGEST_PROGRAM = 4000, 400, 2000


@dataclass(frozen=True, slots=True)
class AnswerLine:
    """One answer of one arm."""

    text: str
    mark: Mark
    """``repeat``: equal to an earlier answer of the set, or right about a reference that was already found."""
    confidence: float | None
    probability: float | None
    """True probability that it is correct, else its weight in the reference distribution; None for a repeat."""


@dataclass(frozen=True, slots=True)
class Side:
    """The answers of one arm to the question."""

    answers: tuple[AnswerLine, ...]
    thoughts: tuple[str, ...]
    """Text up to the last ``</think>`` of each completion; the whole completion when nothing could be read from it."""
    problems: tuple[str, ...]
    """Status and reason of each completion that is not clean."""
    n_tokens: int | None

    @property
    def n_hits(self) -> int:
        """Distinct references found."""
        return sum(answer.mark == "hit" for answer in self.answers)


@dataclass(frozen=True, slots=True)
class Truth:
    """One possible answer of the question."""

    text: str
    probability: float | None
    is_reference: bool
    found: tuple[bool, bool]
    """Whether each side found this reference."""


@dataclass(frozen=True, slots=True)
class WorkedExample:
    """One question with the answers of two arms and the truth."""

    id: str
    question: str
    labels: tuple[str, str]
    sides: tuple[Side, Side]
    truth: tuple[Truth, ...]
    """References and the most probable other answers, most probable first."""
    is_posterior: bool
    """Whether the probabilities are those of the exact posterior or reference distribution."""
    is_code: bool = False
    """Whether answers are programs; the truth is then the tests and the likely programs."""


def pick_examples(
    first: Path, second: Path, n: int = 10, seed: int = 0, *, labels: tuple[str, str] = ("multi", "single")
) -> list[WorkedExample]:
    """``n`` questions that both evaluation folders hold, evenly spaced over the sorted ids.

    Of an evaluation whose sets pool K single answers, the first K completions of the question are shown.

    Raises:
        RunIncompleteError: a folder lacks completions.jsonl or judged.jsonl.
    """
    judged = [_by_question(folder / runs.JUDGED) for folder in (first, second)]
    ids = _evenly_spaced(sorted(judged[0].keys() & judged[1].keys()), n, seed)
    sizes = [runs.read_metrics(folder).pool for folder in (first, second)]
    chosen = [{id_: own[id_][:size] for id_ in ids} for own, size in zip(judged, sizes, strict=True)]
    texts = [_texts(folder, sets) for folder, sets in zip((first, second), chosen, strict=True)]
    examples = []
    for id_ in ids:
        sets = [chosen[i][id_] for i in (0, 1)]
        row = next(iter(texts[0].get(id_, {}).values()), {})
        found = [{ref for one in side for ref in one.found} for side in sets]
        tests = read_tests(row.get("references") or [])
        sides = [_side(sets[i], texts[i].get(id_, {}), row, is_code=tests is not None) for i in (0, 1)]
        examples.append(
            WorkedExample(
                id=id_,
                question=shorten(str(row.get("question", ""))),
                labels=labels,
                sides=(sides[0], sides[1]),
                truth=_truth(row, found) if tests is None else _program_truth(row, tests, found),
                is_posterior=bool(row.get("distribution") or row.get("p_correct")),
                is_code=tests is not None,
            )
        )
    return examples


def _evenly_spaced(ids: Sequence[str], n: int, seed: int) -> list[str]:
    count = min(n, len(ids))
    offset = random.Random(seed).random()
    return [ids[int((i + offset) * len(ids) / count)] for i in range(count)]


def _by_question(path: Path) -> dict[str, list[JudgedCompletion]]:
    found: dict[str, list[JudgedCompletion]] = {}
    for _, _, one in runs.judged_lines(path):
        found.setdefault(one.id, []).append(one)
    return {id_: sorted(own, key=lambda one: one.sample) for id_, own in found.items()}


def _texts(folder: Path, sets: Mapping[str, Sequence[JudgedCompletion]]) -> dict[str, dict[int, dict[str, Any]]]:
    """The completions of the sets, by id and sample."""
    path = runs.completions_of(folder)
    offsets, stamp = runs.completion_offsets(path), runs.stamp_of(path)
    places = [(one.id, one.sample) for own in sets.values() for one in own if (one.id, one.sample) in offsets]
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for (id_, sample), row in zip(places, runs.read_at(path, stamp, map(offsets.__getitem__, places)), strict=True):
        found.setdefault(id_, {})[sample] = row
    return found


def _side(
    judged: Sequence[JudgedCompletion],
    texts: Mapping[int, Mapping[str, Any]],
    row: Mapping[str, Any],
    *,
    is_code: bool,
) -> Side:
    answers: list[AnswerLine] = []
    thoughts, problems = [], []
    found: set[int] = set()
    earlier: set[str | int] = set()
    for entry in judged:
        keys = entry.classes or [shown_program(t) if is_code else normalise(t) for t in entry.answers]
        for i, text in enumerate(entry.answers):
            # Of its own set judged.jsonl says all; completions were judged each by itself. Tests are no one answer.
            is_known = keys[i] in earlier or (entry.matches[i] in found and not is_code)
            mark = "repeat" if is_known and entry.verdicts[i] != "unscored" else entry.mark(i)
            answers.append(
                AnswerLine(
                    text=shorten(shown_program(text), _LONGEST_PROGRAM) if is_code else shorten(text, _LONGEST_ANSWER),
                    mark=mark,
                    confidence=entry.confidences[i],
                    probability=None if mark == "repeat" else _probability(entry, i, row),
                )
            )
        earlier.update(keys)
        found.update(match for match in entry.matches if match is not None)
        if entry.status != "clean":
            problems.append(f"{entry.status}: {entry.reason or 'no reason stored'}")
        whole = str(texts.get(entry.sample, {}).get("completion", ""))
        thoughts.append(shorten(_thought(whole) if entry.answers else whole))
    counts = [entry.n_tokens for entry in judged]
    total = None if any(count is None for count in counts) else sum(count or 0 for count in counts)
    return Side(tuple(answers), tuple(t for t in thoughts if t), tuple(problems), total)


def _thought(text: str) -> str:
    before, end, _ = text.rpartition("</think>")
    return before.replace("<think>", "", 1).strip() if end else ""


def _probability(entry: JudgedCompletion, i: int, row: Mapping[str, Any]) -> float | None:
    if entry.p_correct is not None:
        return entry.p_correct[i]
    distribution = row.get("distribution")
    if not distribution:
        return None
    match = entry.matches[i]
    names = {normalise(entry.answers[i])}
    if match is not None and match < len(row["references"]):
        reference = row["references"][match]
        names |= {normalise(name) for name in (reference["text"], *reference.get("aliases", ()))}
    return sum(number(p) for name, p in distribution.items() if normalise(name) in names)


def _truth(row: Mapping[str, Any], found: Sequence[set[int]]) -> tuple[Truth, ...]:
    references = row.get("references") or []
    truth, listed = [], set()
    weights = {
        normalise(name): number(p) for name, p in (row.get("distribution") or row.get("p_correct") or {}).items()
    }
    for i, reference in enumerate(references):
        names = [normalise(name) for name in (reference["text"], *reference.get("aliases", ()))]
        listed.update(names)
        known = next((weights[name] for name in names if name in weights), reference.get("weight"))
        truth.append(Truth(reference["text"], _or_none(known), True, (i in found[0], i in found[1])))
    for name, p in (row.get("distribution") or row.get("p_correct") or {}).items():
        if normalise(name) not in listed:
            truth.append(Truth(name, _or_none(p), False, (False, False)))
    truth.sort(key=lambda t: (-(t.probability or 0.0), not t.is_reference))
    return tuple(
        t for i, t in enumerate(truth) if t.is_reference or (i < _MAX_TRUTH and (t.probability or 0.0) >= _LEAST_TRUTH)
    )


def _program_truth(row: Mapping[str, Any], tests: ProgramTests, found: Sequence[set[int]]) -> tuple[Truth, ...]:
    """The tests, then the most likely programs where their probabilities are known."""
    told = Truth(describe_tests(tests), None, True, (bool(found[0]), bool(found[1])))
    known = {text: number(p) for text, p in (row.get("p_correct") or {}).items()}
    likely = likely_programs({text: p for text, p in known.items() if p >= _LEAST_TRUTH})[:_MAX_TRUTH]
    return (told, *(Truth(shorten(text, _LONGEST_PROGRAM), p, False, (False, False)) for text, p in likely))


def _or_none(value: Any) -> float | None:
    as_number = number(value)
    return as_number if as_number == as_number else None


def shorten(text: str, longest: int = _LONGEST) -> str:
    """``text``, or its beginning with how much was left out."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} \N{HORIZONTAL ELLIPSIS} ({len(text) - longest:,} more characters)"
