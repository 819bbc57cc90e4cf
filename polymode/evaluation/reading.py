"""Reads completions of any model from JSONL (layer L4).

The shortest useful line::

    {"completion": "<answer1>flu</answer1><answer2>cold</answer2>", "references": ["flu", ["cold", "a cold"]], "k": 2}

`runs.completion_to_row` writes every field there is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.prompts import check_k
from polymode.references import check_references, reference_from
from polymode.types import Completion, Example
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.text import TextVerifier

SUM_TOLERANCE = 0.01
"""A reference distribution may miss a sum of 1 by this much (rounding)."""


def read_completions(
    path: Path | str,
    *,
    k: int | None = None,
    confidence: bool | None = None,
    verifier: Verifier | QuestionVerifier | None = None,
) -> list[Completion]:
    """Completions of a JSONL file, or of the ``completions.jsonl`` in a folder.

    Fields of a line: ``completion`` and ``references`` are needed (each reference a string, a list of aliases or an
    object with text, aliases and weight); ``k`` too unless given here; optional are ``id``, ``question``,
    ``confidence``, ``sample``, ``n_tokens``, ``finished``, ``exclusive``, ``distribution``, ``p_correct``, ``meta``
    and ``confidences`` (one number per slot, measured outside the text and taken instead of stated ones).
    Lines with the same ``id`` are samples of one question; without an id, lines with the same question and references
    are, and a line without a question stands alone. ``sample`` counts from 0 by default.

    Args:
        path: file or folder.
        k: answers asked for, instead of what the lines say.
        confidence: whether confidences were asked for, instead of what the lines say. Lines that do not say are taken
            to have asked for them when any completion of the file holds a confidence tag.
        verifier: refuses references that it cannot tell apart (see `check_references`); `TextVerifier` when None.

    Raises:
        DataNotFoundError: no such file.
        RecordError: a line cannot be used; names line, field, value and fix.
        ConfigError: k is not allowed.
    """
    path = Path(path)
    path = path / runs.COMPLETIONS if path.is_dir() else path
    if k is not None:
        check_k(k)
    reader = _Reader(k, confidence, verifier if verifier is not None else TextVerifier())
    completions = []
    for number, row in _rows(path):
        try:
            completions.append(reader.completion(row, number))
        except (RecordError, ConfigError) as exc:
            raise RecordError(f"{path}, line {number}: {exc}") from None
    if not completions:
        raise RecordError(f"{path}: no completions; write one JSON object a line with 'completion' and 'references'")
    if reader.unsaid:
        asked = any("<confidence" in completion.text for completion in completions)
        for i in reader.unsaid:
            completions[i] = replace(completions[i], has_confidence=asked)
    return completions


class _Reader:
    """Turns rows into completions and remembers the questions seen."""

    def __init__(self, k: int | None, confidence: bool | None, verifier: Verifier | QuestionVerifier) -> None:
        self.k, self.confidence = k, confidence
        self.unsaid: list[int] = []
        self._verifier = verifier
        self._examples: dict[str, tuple[str, Example, int]] = {}
        self._ids: dict[str, str] = {}
        self._samples: dict[str, dict[int, int]] = {}
        self._count = 0

    def completion(self, row: Mapping[str, Any], line: int) -> Completion:
        text = row.get("completion")
        if not isinstance(text, str):
            raise _wrong(row, "completion", "a string, the model's whole text")
        example = self._example(row, line)
        k = self.k if self.k is not None else row.get("k")
        if k is None:
            raise RecordError('k is missing: add "k", the number of answers asked for, or give it as an option (--k)')
        has_confidence = self.confidence if self.confidence is not None else _bool(row, "confidence")
        if has_confidence is None:
            self.unsaid.append(self._count)
        self._count += 1
        n_tokens = row.get("n_tokens")
        if n_tokens is not None:
            n_tokens = _whole(row, "n_tokens")
        finished = _bool(row, "finished")
        return Completion(
            example=example,
            text=text,
            k=check_k(k),
            has_confidence=bool(has_confidence),
            sample=self._sample(row, example.id, line),
            n_tokens=n_tokens,
            is_finished=finished is not False,
            confidences=_confidences(row, k),
        )

    def _sample(self, row: Mapping[str, Any], id_: str, line: int) -> int:
        seen = self._samples.setdefault(id_, {})
        if row.get("sample") is None:
            sample = len(seen)
            while sample in seen:
                sample += 1
        else:
            sample = _whole(row, "sample")
        if sample in seen:
            raise RecordError(
                f"sample {sample} of id {id_!r} stands in line {seen[sample]} already; number the samples of a question"
            )
        seen[sample] = line
        return sample

    def _example(self, row: Mapping[str, Any], line: int) -> Example:
        question = row.get("question", "")
        if not isinstance(question, str):
            raise _wrong(row, "question", "a string")
        told = {name: row.get(name) for name in ("question", "references", "exclusive", "distribution", "p_correct")}
        content = json.dumps(told, sort_keys=True, default=str)
        id_ = row.get("id")
        if id_ is None:
            id_ = self._ids.setdefault(content, str(line)) if question else str(line)
        elif isinstance(id_, bool) or not isinstance(id_, (str, int)):
            raise _wrong(row, "id", "a string or a whole number")
        id_ = str(id_)
        if id_ in self._examples:
            known, example, first = self._examples[id_]
            if known != content:
                raise RecordError(
                    f"id {id_!r} stands in line {first} with another question, references or distribution; "
                    "lines share an id only when they are samples of one question"
                )
            return example
        example = self._new_example(row, id_, question)
        self._examples[id_] = content, example, line
        return example

    def _new_example(self, row: Mapping[str, Any], id_: str, question: str) -> Example:
        values = row.get("references")
        if not isinstance(values, list) or not values:
            raise _wrong(row, "references", "a list with at least one reference")
        references = tuple(reference_from(value) for value in values)
        check_references(references, self._verifier)
        meta = row.get("meta") or {}
        if not isinstance(meta, Mapping):
            raise _wrong(row, "meta", "an object")
        return Example(
            id=id_,
            question=question,
            references=references,
            distribution=_masses(row, "distribution", sums_to_one=True),
            p_correct=_masses(row, "p_correct", sums_to_one=False),
            exclusive=bool(_bool(row, "exclusive")),
            meta=meta,
        )


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        handle = path.open(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataNotFoundError(f"{path} does not exist: check the path, or generate completions first") from None
    except OSError as exc:
        raise DataNotFoundError(f"{path} cannot be read: {exc.strerror or exc}") from None
    with handle:
        yield from runs.json_objects(handle, path)


def _masses(row: Mapping[str, Any], field: str, *, sums_to_one: bool) -> dict[str, float] | None:
    masses = row.get(field)
    if masses is None:
        return None
    if not isinstance(masses, Mapping):
        raise _wrong(row, field, "an object of answer: probability")
    for name, mass in masses.items():
        if isinstance(mass, bool) or not isinstance(mass, (int, float)) or not 0 <= mass <= 1:
            raise RecordError(f"{field}: probability {mass!r} of {name!r} must be a number from 0 to 1")
    total = math.fsum(masses.values())
    if sums_to_one and abs(total - 1) > SUM_TOLERANCE:
        raise RecordError(
            f"{field}: probabilities sum to {total:.6g}; they must sum to 1, with the missing answers added"
        )
    return {name: float(mass) for name, mass in masses.items()}


def _confidences(row: Mapping[str, Any], k: int) -> tuple[float, ...] | None:
    values = row.get("confidences")
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != k:
        raise _wrong(row, "confidences", f"a list of k = {k} numbers, one per slot")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise RecordError(f"confidences: {value!r} must be a number from 0 to 1")
    return tuple(float(value) for value in values)


def _bool(row: Mapping[str, Any], field: str) -> bool | None:
    value = row.get(field)
    if value is not None and not isinstance(value, bool):
        raise _wrong(row, field, "true or false")
    return value


def _whole(row: Mapping[str, Any], field: str) -> int:
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(row, field, "a whole number from 0")
    return value


def _wrong(row: Mapping[str, Any], field: str, allowed: str) -> RecordError:
    if row.get(field) is None:
        return RecordError(f"{field} is missing: add {allowed}")
    shown = repr(row[field])
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return RecordError(f"{field} = {shown} is not allowed: give {allowed}")
