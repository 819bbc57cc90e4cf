"""completions.jsonl: completions of any model, one a line, each with what judging it needs (layer L3).

The shortest useful line::

    {"completion": "<answer1>flu</answer1><answer2>cold</answer2>", "references": ["flu", ["cold", "a cold"]], "k": 2}

`write_completions` writes every field there is. What polymode sampled also has, in its ``meta``, the task it belongs to
and the verifier that tells right from wrong, each ``{"name": ..., "options": {...}}``, so that a file is judged as it
should be wherever it is taken.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from polymode.chat import format_of
from polymode.errors import ConfigError, DataNotFoundError, RecordError, RunIncompleteError
from polymode.prompts import check_k
from polymode.runs.completion_lines import (
    FIX,
    LINES,
    SHARED,
    Guesses,
    Row,
    completion_from,
    example_of,
    other_question,
    repeated_sample,
    shared_fields,
)
from polymode.runs.files import SCHEMA, to_json, write_jsonl
from polymode.runs.folder import COMPLETIONS, file_in
from polymode.runs.lines import Stamp, lines_at, parse_object, raw_lines
from polymode.runs.validation import parsed_record
from polymode.types import Completion, Example, Target
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.text import TextVerifier

log = logging.getLogger(__name__)
Named = Mapping[str, Any]
"""A task or verifier as files hold it: ``{"name": ..., "options": {...}}``."""


def read_completions(
    path: Path | str,
    *,
    k: int | None = None,
    confidence: bool | None = None,
    verifier: Verifier | QuestionVerifier | None = None,
    target: Target | None = None,
) -> list[Completion]:
    """Completions of a JSONL file, or of the ``completions.jsonl`` in a folder.

    Fields of a line: ``completion`` and ``references`` are needed (each reference a string, a list of aliases or an
    object with text, aliases and weight); ``k`` too unless given here; optional are ``id``, ``question``,
    ``confidence``, ``sample``, ``n_tokens``, ``finished``, ``exclusive``, ``distribution``, ``target``, ``p_correct``,
    ``meta``, ``confidences`` (one number per slot, measured outside the text and taken instead of stated ones) and
    ``prompt`` (text or messages; a ``<think>`` at its end opened the reasoning and is put in front of the completion).
    Lines with the same ``id`` are samples of one question; without an id, lines with the same question and references
    are, and a line without a question stands alone. ``sample`` counts from 0 by default.

    Args:
        path: file or folder.
        k: answers asked for, instead of what the lines say.
        confidence: whether confidences were asked for, instead of what the lines say. A line that does not say is taken
            to have asked for them when what it says after its last ``</think>`` has a confidence slot; that such lines
            of a file differ is logged as a warning.
        verifier: refuses references that it cannot tell apart (see `check_references`); `TextVerifier` when None.
        target: what confidences are scored against, instead of what the lines say.

    Raises:
        DataNotFoundError: no such file.
        RecordError: a line cannot be used, as one whose target is a distribution and whose weights are none; names
            line, field, value and fix.
        ConfigError: k is not allowed.
    """
    path = file_in(path, COMPLETIONS)
    if k is not None:
        check_k(k)
    reader = _Reader(k, confidence, verifier if verifier is not None else TextVerifier(), target)
    completions = _read_all(path, reader.read, "'completion' and 'references'")
    if note := reader.guesses.difference():
        log.warning("%s: %s", path, note)
    return completions


def read_demonstrations(path: Path | str) -> list[Completion]:
    """Completions to learn from, as `read_completions`, but a line needs ``question`` and ``completion`` alone.

    K and whether there are confidences are those of the completion where the line does not say. A line without
    references has none: it is not judged.

    Raises:
        DataNotFoundError, RecordError: as `read_completions`; a completion in no answer format where k is not said.
    """
    reader = _Reader()

    def read(content: bytes, where: str, number: int) -> Completion:
        row = {"references": [], **parse_object(content, where, FIX)}
        if "question" not in row:
            raise RecordError(f"{where}: question is missing; a line has 'question' and 'completion', two texts")
        if not isinstance(row["question"], str) or not row["question"].strip():
            raise RecordError(f"{where}: question = {row.get('question')!r:.60} is not allowed: give what it answers")
        if row.get("k") is None and isinstance(row.get("completion"), str):
            try:
                k, has_confidence = format_of(row["completion"])
            except ConfigError as exc:
                raise RecordError(f"{where}: {exc}: {FIX}, or leave it out") from None
            if not k:
                raise RecordError(f"{where}: {row['completion']!r:.60} is not in the answer format: {FIX}")
            row |= {"k": k, "confidence": has_confidence}
        return reader.read(json.dumps(row).encode(), where, number)

    return _read_all(file_in(path, COMPLETIONS), read, "'question' and 'completion'")


def _read_all(path: Path, read: Callable[[bytes, str, int], Completion], needed: str) -> list[Completion]:
    completions: list[Completion] = []
    try:
        for number, _, content in raw_lines(path):
            completions.append(read(content, f"{path}, line {number}", number))
    except RunIncompleteError:
        raise DataNotFoundError(f"{path} does not exist: check the path, or generate completions first") from None
    except OSError as exc:
        raise DataNotFoundError(f"{path} cannot be read: {exc.strerror or exc}") from None
    if not completions:
        raise RecordError(f"{path}: no completions; write one JSON object a line with {needed}")
    return completions


def completions_at(
    path: Path, stamp: Stamp, offsets: Iterable[int], label: str | None = None, *, k: int | None = None
) -> list[Completion]:
    """The completions that start at the offsets (`completion_offsets`), each by itself: ids are not compared.

    Args:
        path: the file.
        stamp: version of the file that the offsets belong to.
        offsets: in bytes.
        label: what errors call the file; its path when None.
        k: answers asked for, instead of what the lines say.

    Raises:
        ChangedError: the file is no longer the one with this stamp.
        RecordError: a line cannot be used; names place, field, value and fix.
        OSError: it cannot be read.
    """
    completions = []
    for where, content in lines_at(path, stamp, offsets, label):
        completions.append(_Reader(k).read(content, where, 0))
    return completions


@dataclass(slots=True)
class _Reader:
    """Turns rows into completions, and gives ids and sample numbers to lines that name neither."""

    k: int | None = None
    confidence: bool | None = None
    verifier: Verifier | QuestionVerifier | None = None
    """What references must be told apart by; None: they are not checked."""
    target: Target | None = None
    guesses: Guesses = field(default_factory=Guesses)
    examples: dict[str, tuple[tuple[Any, ...], Example, int]] = field(default_factory=dict)
    """By id: what samples share, the example, and the first line."""
    samples: dict[str, dict[int, int]] = field(default_factory=dict)
    """Line of each sample, by id."""
    ids: dict[str, str] = field(default_factory=dict)

    def read(self, content: bytes, where: str, line: int) -> Completion:
        """The completion of a line; raises RecordError, which says where."""
        row = parsed_record(LINES, content, where, FIX)
        try:
            return self._completion(row, line)
        except (RecordError, ConfigError) as exc:
            raise RecordError(f"{where}: {exc}") from None

    def _completion(self, row: Row, line: int) -> Completion:
        example = self._example(row, line)
        made = completion_from(row, example, 0, k=self.k, confidence=self.confidence)
        self.guesses.add(row, self.confidence, line)
        return replace(made, sample=self.sample_of(row.sample, example.id, line))

    def id_of(self, id_: Any, content: Iterable[Any], has_question: bool, line: int) -> str:
        """The id of a line; lines without one share that of the first with the same question and references."""
        if id_ is not None:
            return str(id_)
        if not has_question:
            return str(line)
        return self.ids.setdefault(json.dumps(list(content), sort_keys=True, default=str), str(line))

    def sample_of(self, sample: int | None, id_: str, line: int) -> int:
        """The line's sample number, by default the first that is free; raises RecordError when it is not free."""
        lines = self.samples.setdefault(id_, {})
        if sample is None:
            sample = next(number for number in count(len(lines)) if number not in lines)
        if sample in lines:
            raise RecordError(repeated_sample(id_, sample, lines[sample]))
        lines[sample] = line
        return sample

    def _example(self, row: Row, line: int) -> Example:
        shared = shared_fields(row)
        id_ = self.id_of(row.id, shared, bool(row.question), line)
        if id_ not in self.examples:
            self.examples[id_] = shared, example_of(row, id_, self.verifier, self.target), line
        theirs, example, first = self.examples[id_]
        if theirs != shared:
            raise RecordError(other_question(id_, first))
        return example


def named_verifiers(path: Path) -> list[tuple[int, Named | None]]:
    """The different verifiers that the lines of a file name, each with its first line; None where one names none.

    A line that names only its task is judged as the task says, by ``task:NAME``.

    Raises:
        RunIncompleteError: there is no such file.
        RecordError: a line with ``meta`` is no JSON object.
    """
    first: dict[str, tuple[int, Named | None]] = {}
    for number, _, content in raw_lines(path):
        verifier, key = None, "null"
        if b'"meta"' in content:
            verifier = named_verifier(parse_object(content, f"{path}, line {number}", FIX).get("meta"))
            key = json.dumps(verifier, sort_keys=True)
        if key not in first:
            first[key] = number, verifier
    return list(first.values())


def named_verifier(meta: Any) -> Named | None:
    """The verifier that the ``meta`` of a line names, by itself or by its task; None where it names none."""
    meta = meta if isinstance(meta, Mapping) else {}
    verifier, task = _named(meta.get("verifier")), _named(meta.get("task"))
    return {**task, "name": f"task:{task['name']}"} if verifier is None and task is not None else verifier


def completion_of(row: Mapping[str, Any], where: str) -> Completion:
    """A line that is an object already, by itself; raises RecordError as `read_completions`."""
    return _Reader().read(json.dumps(row).encode(), where, 0)


def _named(value: Any) -> Named | None:
    """A name with options, or None: ``meta`` of other people's files may hold anything under these words."""
    is_named = isinstance(value, Mapping) and isinstance(value.get("name"), str)
    if not is_named or not isinstance(options := value.get("options") or {}, Mapping):
        return None
    return {"name": value["name"], "options": dict(options)}


def completion_offsets(path: Path, label: str | None = None) -> dict[tuple[str, int], int]:
    """Where each completion stands, in bytes, by id and sample as `read_completions` gives them.

    Raises:
        RunIncompleteError: there is no such file.
        RecordError: a line is no JSON object; names the line.
        OSError: the file cannot be read.
    """
    label = label or str(path)
    reader = _Reader()
    offsets: dict[tuple[str, int], int] = {}
    for number, offset, content in raw_lines(path, label):
        row = parse_object(content, f"{label}, line {number}", FIX)
        shared = [row.get(name) for name in SHARED]
        id_, sample = reader.id_of(row.get("id"), shared, bool(row.get("question")), number), row.get("sample")
        if not isinstance(sample, int) or sample in reader.samples.get(id_, {}):
            sample = None
        offsets[id_, reader.sample_of(sample, id_, number)] = offset
    return offsets


def write_completions(
    folder: Path,
    completions: Iterable[Completion],
    *,
    task: Named | None = None,
    verifier: Named | None = None,
    has_references: bool = True,
) -> Path:
    """Write ``completions.jsonl`` of a run folder, whole or not at all, and return its path.

    Args:
        folder: run folder.
        completions: what was sampled.
        task: name and options of the task, kept in the ``meta`` of each line.
        verifier: name and options of what judges them (`describe_verifier`), kept beside it.
        has_references: False where no references means that they are not known, so that nothing is judged by them.

    Raises:
        WriteError: the file cannot be written.
    """
    origin = {name: to_json(value) for name, value in (("task", task), ("verifier", verifier)) if value is not None}
    path = folder / COMPLETIONS
    rows = (completion_to_row(completion, origin) for completion in completions)
    if not has_references:
        rows = ({name: value for name, value in row.items() if value or name != "references"} for row in rows)
    write_jsonl(path, rows)
    return path


def completion_to_row(completion: Completion, origin: Mapping[str, Named] | None = None) -> dict[str, Any]:
    """A completion as a self-contained line of ``completions.jsonl``; ``origin`` names its task and verifier."""
    example = completion.example
    row = {
        "schema": SCHEMA,
        "id": example.id,
        "question": example.question,
        "references": [
            {"text": ref.text, "aliases": list(ref.aliases), "weight": ref.weight} for ref in example.references
        ],
        "exclusive": example.exclusive,
        "ask": example.ask or None,
        "distribution": example.distribution,
        "target": None if example.target == "verdict" else example.target,
        "p_correct": example.p_correct,
        "meta": {**example.meta, **(origin or {})} or None,
        "completion": completion.text,
        "k": completion.k,
        "confidence": completion.has_confidence,
        "sample": completion.sample,
        "n_tokens": completion.n_tokens,
        "finished": completion.is_finished,
        "confidences": completion.confidences,
        "confidence_mass": completion.confidence_mass,
    }
    return {name: value for name, value in row.items() if value is not None or name == "n_tokens"}
