"""AmbigQA: questions that can be read in several ways, with each reading's answer (CC BY-SA 3.0, arXiv 2004.10645).

Reads the official light files, or the hub's Parquet files, whose records hold the same as columns. Answers are lists of
aliases; an annotator gives one answer, or one for each reading::

    {"id": "48039832164228835", "question": "Sky living nashville season 6 how many episodes?", "annotations": [
      {"type": "singleAnswer", "answer": ["16"]},
      {"type": "multipleQAs", "qaPairs": [
        {"question": "How many episodes did each Part 1 and Part 2 of Nashville Season 6 have?", "answer": ["8"]},
        {"question": "How many total episodes did Nashville Season 6 have?", "answer": ["16"]}]}]}

References are the answers of all annotators and readings: here 16 and 8. Two answers that share an alias (after
normalising, see `verifiers.text`) are one: read in the file's order, an answer joins the first earlier one that it
shares a name with, and contributes its other names unless another answer owns them. So each text is right for at
most one reference, and no set of answers is rewarded twice for one. The price: readings whose alias lists overlap by
accident (about 1 in 100) are merged too. The dev file is the test split, as the official test answers are not public.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from polymode.errors import RecordError, number_in
from polymode.tasks.guesses import write_guesses
from polymode.tasks.held_out import File, HeldOut
from polymode.tasks.lab.demonstrations import FORMAT_TEXTS
from polymode.tasks.record import Record, transposed
from polymode.tasks.record_files import read_records
from polymode.types import Example, Reference
from polymode.verifiers.text import TextVerifier

_ASKS = re.compile(r"\b(?:who|whose|when|where|why|which|what|how (?:many|much|long|old))\b", re.IGNORECASE)
"""What a question asks for, by its first such words."""
_TRIED = 24
"""Answers to other questions that are looked at for each wrong one of a demonstration."""


class AmbigQA(HeldOut):
    """AmbigQA questions as examples.

    ``meta`` holds ``several`` (whether an annotator saw several readings) and ``readings``: for each reference the
    disambiguated questions that it answers.

    Args:
        data: folder with the official files; default ``$POLYMODE_DATA/ambigqa``.
        at_least: use only questions with at least this many references; 2 selects the ambiguous ones.
        validation: share of train held out as validation, by hash of the question; in (0, 1).

    Raises:
        ConfigError: an option out of its range.
        DataNotFoundError: no folder, or it holds none of the files.
    """

    name = "ambigqa"
    meaning = "is right in one of the question's readings"
    ask = (
        "The question may be read in several ways. Give exactly {k} different answers, each for a reading that "
        "somebody may have in mind, the most likely first."
    )
    files: Mapping[File, Sequence[Sequence[str]]] = {
        "train": [("train_light.json", "train.json")],
        "test": [("dev_light.json", "dev.json")],
    }
    """The light files, or the full ones, whose further fields are not read."""
    configs = ("light", "full")
    source = "nlp.cs.washington.edu/ambigqa"

    def __init__(self, data: str | Path | None = None, *, at_least: int = 1, validation: float = 0.1) -> None:
        number_in("at_least", at_least, 1, whole=True)
        self.at_least = at_least
        super().__init__(data, validation=validation)

    def read(self, file: File, paths: Sequence[Path]) -> list[Example]:
        """Examples of the questions with enough references."""
        examples = (ambigqa_example(row) for path in paths for row in read_records(path))
        return [example for example in examples if len(example.references) >= self.at_least]

    def demonstrate(self, example: Example, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
        """Right answers and answers to other training questions that ask for the like (`write_guesses`).

        Args:
            example: one of this task's training questions.
            k: answers to give.
            confidence: state a confidence after each.
            rng: source of all randomness.
        """
        key = TextVerifier().key
        used = {key(name) for reference in example.references for name in reference.names}
        wrong: list[str] = []
        for pool in (self._answers_by_kind[_kind(example.question)], self._answers_by_kind[""]):
            for i in rng.integers(0, len(pool), _TRIED * k):
                if len(wrong) < k and key(pool[i]) not in used:
                    used.add(key(pool[i]))
                    wrong.append(pool[i])
        return write_guesses([one.text for one in example.references], wrong, k, confidence=confidence, rng=rng)

    def vocabulary(self) -> Sequence[str]:
        """Texts that hold every word of a training question or demonstration."""
        return [*(one.question for one in self.examples("train")), *self._answers_by_kind[""], *FORMAT_TEXTS]

    @cached_property
    def _answers_by_kind(self) -> dict[str, list[str]]:
        """A right answer to each training question, by what the question asks for; all of them under ""."""
        out: dict[str, list[str]] = {}
        for one in self.examples("train"):
            for kind in {_kind(one.question), ""}:
                out.setdefault(kind, []).append(one.references[0].text)
        return out


def _kind(question: str) -> str:
    match = _ASKS.search(question)
    return match[0].lower() if match else ""


def merge_answers(answers: Sequence[Sequence[str]]) -> list[tuple[Reference, list[int]]]:
    """References from lists of aliases, each with the numbers of the lists that went into it.

    A list joins the first earlier one it shares a name with; names that another owns stay there. See the module's text.
    """
    key = TextVerifier().key
    owner: dict[str, int] = {}
    names: list[list[str]] = []
    members: list[list[int]] = []
    for number, aliases in enumerate(answers):
        into = min((owner[key(name)] for name in aliases if key(name) in owner), default=len(names))
        if into == len(names):
            names.append([])
            members.append([])
        members[into].append(number)
        for name in aliases:
            if owner.setdefault(key(name), into) == into and key(name) not in map(key, names[into]):
                names[into].append(name)
    return [(Reference(own[0], tuple(own[1:])), lists) for own, lists in zip(names, members, strict=True)]


def ambigqa_example(row: Record) -> Example:
    """The example of one record; raises RecordError as `AmbigQA.examples`."""
    question, identity = row.text("question"), row.identity("id")
    readings, answers = zip(*_answers(row), strict=True)
    merged = merge_answers(answers)
    return Example(
        f"ambigqa-{identity}",
        question,
        tuple(reference for reference, _ in merged),
        ask=AmbigQA.ask,
        meta={
            "several": any(readings),
            "readings": [[readings[i] for i in numbers if readings[i]] for _, numbers in merged],
        },
    )


def _answers(row: Record) -> Iterator[tuple[str, list[str]]]:
    """Disambiguated question (empty for a single answer) and aliases, annotator by annotator."""
    annotations = annotations_of(row)
    if not isinstance(annotations, list) or not annotations:
        raise RecordError(f"{row.where}, field 'annotations': {annotations!r} must be a list with an annotation")
    for number, annotation in enumerate(annotations, 1):
        where = f"{row.where}, field 'annotations', annotation {number}"
        match annotation:
            case {"type": "singleAnswer", "answer": answer}:
                yield "", _aliases(answer, where)
            case {"type": "multipleQAs", "qaPairs": [*pairs]} if pairs:
                for pair in pairs:
                    match pair:
                        case {"question": str(reading), "answer": answer} if reading.strip():
                            yield reading.strip(), _aliases(answer, where)
                        case _:
                            raise RecordError(f"{where}: a pair needs a question and an answer, got {pair!r}")
            case {"type": "singleAnswer" | "multipleQAs" as kind}:
                needed = "'answer'" if kind == "singleAnswer" else "'qaPairs', a list that is not empty"
                raise RecordError(f"{where}: {kind!r} needs {needed}")
            case _:
                kind: Any = annotation.get("type") if isinstance(annotation, dict) else annotation
                raise RecordError(f"{where}: {kind!r} is not a type; use 'singleAnswer' or 'multipleQAs'")


def annotations_of(row: Record) -> Any:
    """The annotations as the official files list them, also where a Parquet file of the hub holds columns.

    Raises:
        RecordError: the columns differ in length, or one is missing.
    """
    where = f"{row.where}, field 'annotations'"
    annotations = row.get("annotations")
    if isinstance(annotations, Mapping):
        columns = transposed(annotations, ("type", "answer", "qaPairs"), where)
        annotations = [dict(zip(("type", "answer", "qaPairs"), column, strict=True)) for column in columns]
    if not isinstance(annotations, list):
        return annotations
    return [_with_pairs(annotation, where) for annotation in annotations]


def _with_pairs(annotation: Any, where: str) -> Any:
    """An annotation with its pairs as a list of objects, and without what belongs to another type."""
    if not isinstance(annotation, Mapping):
        return annotation
    other = {"singleAnswer": "qaPairs", "multipleQAs": "answer"}.get(str(annotation.get("type")))
    official = {name: value for name, value in annotation.items() if name != other}
    if isinstance(pairs := official.get("qaPairs"), Mapping):
        columns = transposed(pairs, ("question", "answer"), where)
        official["qaPairs"] = [{"question": question, "answer": answer} for question, answer in columns]
    return official


def _aliases(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise RecordError(f"{where}: answer {value!r} must be a list of texts that mean the same")
    names = [name.strip() for name in value if name.strip()]
    if not names:
        raise RecordError(f"{where}: the answer is empty; give at least one text or remove the annotation")
    return names
