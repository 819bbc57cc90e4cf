"""Worked examples: one question, the answers of two arms, and the truth (layer L4).

Questions are selected without looking at the answers: they are evenly spaced over the sorted ids that both arms have,
from an offset that the seed determines.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.report.arms import number
from polymode.report.example_programs import describe_tests, likely_programs, program_source, read_tests
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
    """What its confidence should be: its soft label where the target is a distribution, else the true probability that
    it is correct, else its weight in the reference distribution; None for a repeat."""


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
    found_by: tuple[bool, bool]
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
    folders = (first, second)
    judged = [_by_question(folder / runs.JUDGED) for folder in folders]
    ids = _evenly_spaced(sorted(judged[0].keys() & judged[1].keys()), n, seed)
    sizes = [runs.read_metrics(folder).pool for folder in folders]
    chosen = [{id_: own[id_][:size] for id_ in ids} for own, size in zip(judged, sizes, strict=True)]
    texts = [_texts(folder, sets) for folder, sets in zip(folders, chosen, strict=True)]
    examples = []
    for id_ in ids:
        row = next(iter(texts[0].get(id_, {}).values()), {})
        matches = [{match for one in own[id_] for match in one.references_found} for own in chosen]
        tests = read_tests(row.get("references") or [])
        sides = [
            _side(own[id_], rows.get(id_, {}), row, is_code=tests is not None)
            for own, rows in zip(chosen, texts, strict=True)
        ]
        examples.append(
            WorkedExample(
                id=id_,
                question=shorten(str(row.get("question", ""))),
                labels=labels,
                sides=(sides[0], sides[1]),
                truth=_truth(row, matches) if tests is None else _program_truth(row, tests, matches),
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
    by_id: dict[str, list[JudgedCompletion]] = {}
    for _, _, one in runs.judged_lines(path):
        by_id.setdefault(one.id, []).append(one)
    return {id_: sorted(own, key=lambda one: one.sample) for id_, own in by_id.items()}


def _texts(folder: Path, sets: Mapping[str, Sequence[JudgedCompletion]]) -> dict[str, dict[int, dict[str, Any]]]:
    """The completions of the sets, by id and sample."""
    path = runs.completions_of(folder)
    offsets, stamp = runs.completion_offsets(path), runs.stamp_of(path)
    places = [(one.id, one.sample) for own in sets.values() for one in own if (one.id, one.sample) in offsets]
    rows: dict[str, dict[int, dict[str, Any]]] = {}
    for (id_, sample), row in zip(places, runs.read_at(path, stamp, map(offsets.__getitem__, places)), strict=True):
        rows.setdefault(id_, {})[sample] = row
    return rows


def _side(
    judged: Sequence[JudgedCompletion],
    texts: Mapping[int, Mapping[str, Any]],
    row: Mapping[str, Any],
    *,
    is_code: bool,
) -> Side:
    answers: list[AnswerLine] = []
    thoughts, problems = [], []
    earlier_matches: set[int] = set()
    earlier_keys: set[str | int] = set()
    for entry in judged:
        programs = [program_source(text) for text in entry.answers] if is_code else []
        keys = entry.classes or programs or [normalise(text) for text in entry.answers]
        for i, text in enumerate(entry.answers):
            # Of its own set judged.jsonl says all; completions were judged each by itself. Tests are no one answer.
            is_repeat = keys[i] in earlier_keys or (entry.matches[i] in earlier_matches and not is_code)
            mark = "repeat" if is_repeat and entry.verdicts[i] != "unscored" else entry.mark(i)
            answers.append(
                AnswerLine(
                    text=shorten(programs[i], _LONGEST_PROGRAM) if is_code else shorten(text, _LONGEST_ANSWER),
                    mark=mark,
                    confidence=entry.confidences[i],
                    probability=None if mark == "repeat" else _probability(entry, i, row),
                )
            )
        earlier_keys.update(keys)
        earlier_matches.update(match for match in entry.matches if match is not None)
        if entry.status != "clean":
            problems.append(f"{entry.status}: {entry.reason or 'no reason stored'}")
        whole = str(texts.get(entry.sample, {}).get("completion", ""))
        thoughts.append(shorten(_thought(whole) if entry.answers else whole))
    counts = [entry.n_tokens for entry in judged if entry.n_tokens is not None]
    total = sum(counts) if len(counts) == len(judged) else None
    return Side(tuple(answers), tuple(t for t in thoughts if t), tuple(problems), total)


def _thought(text: str) -> str:
    before, end, _ = text.rpartition("</think>")
    return before.replace("<think>", "", 1).strip() if end else ""


def _probability(entry: JudgedCompletion, i: int, row: Mapping[str, Any]) -> float | None:
    if entry.labels is not None:
        return entry.labels[i]
    if entry.p_correct is not None:
        return entry.p_correct[i]
    distribution = row.get("distribution")
    if not distribution:
        return None
    match = entry.matches[i]
    names = {normalise(entry.answers[i])}
    if match is not None and match < len(row["references"]):
        names |= _names(row["references"][match])
    return sum(number(p) for name, p in distribution.items() if normalise(name) in names)


def _truth(row: Mapping[str, Any], matches: Sequence[set[int]]) -> tuple[Truth, ...]:
    probabilities = {name: number(p) for name, p in (row.get("distribution") or row.get("p_correct") or {}).items()}
    by_name = {normalise(name): p for name, p in probabilities.items()}
    truth, reference_names = [], set()
    for i, reference in enumerate(row.get("references") or []):
        names = _names(reference)
        reference_names |= names
        p = next((by_name[name] for name in names if name in by_name), reference.get("weight"))
        truth.append(Truth(reference["text"], _or_none(p), True, (i in matches[0], i in matches[1])))
    for name, p in probabilities.items():
        if normalise(name) not in reference_names:
            truth.append(Truth(name, _or_none(p), False, (False, False)))
    truth.sort(key=lambda t: (-(t.probability or 0.0), not t.is_reference))
    return tuple(
        t for i, t in enumerate(truth) if t.is_reference or (i < _MAX_TRUTH and (t.probability or 0.0) >= _LEAST_TRUTH)
    )


def _names(reference: Mapping[str, Any]) -> set[str]:
    return {normalise(name) for name in (reference["text"], *reference.get("aliases", ()))}


def _program_truth(row: Mapping[str, Any], tests: ProgramTests, matches: Sequence[set[int]]) -> tuple[Truth, ...]:
    """The tests, then the most likely programs where their probabilities are known."""
    summary = Truth(describe_tests(tests), None, True, (bool(matches[0]), bool(matches[1])))
    p_correct = {text: number(p) for text, p in (row.get("p_correct") or {}).items()}
    likely = likely_programs({text: p for text, p in p_correct.items() if p >= _LEAST_TRUTH})[:_MAX_TRUTH]
    return (summary, *(Truth(shorten(text, _LONGEST_PROGRAM), p, False, (False, False)) for text, p in likely))


def _or_none(value: Any) -> float | None:
    return None if math.isnan(number(value)) else number(value)


def shorten(text: str, longest: int = _LONGEST) -> str:
    """``text``, or its beginning with how much was left out."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} \N{HORIZONTAL ELLIPSIS} ({len(text) - longest:,} more characters)"
