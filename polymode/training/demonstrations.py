"""Demonstrations: completions in the answer format that a cold model learns it from, before reinforcement learning.

They come from the task, from a file, or from **the model itself**: m single answers to each question are sampled with a
plain prompt and grouped by the verifier's equality, and the K most frequent groups are written as one answer set whose
confidences are their shares. Nothing but the model's own distribution goes in, so what is learnt is the format, and to
say in one completion what m samples would show (distillation of the sampled distribution). References can filter or
weight the answers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from polymode.errors import ConfigError, RecordError, number_in, one_of
from polymode.fingerprints import plain_text
from polymode.judging import judge
from polymode.parsing import fits_line, parse_answers
from polymode.prompts import Style, check_k, notation_of, write_answers
from polymode.rewards import METHODS
from polymode.runs import read_demonstrations
from polymode.tasks import Demonstrates, Task
from polymode.types import Answer, AnswerSet, Completion, Example, ParseStatus, Span, Verdict
from polymode.verifiers import QuestionVerifier, Verifier, prepare_verifier

log = logging.getLogger(__name__)
UseOfReferences = Literal["none", "weight", "filter"]
RIGHT_WEIGHT = 4
"""``weight`` counts a right sample as often as so many wrong ones."""
_IN_FRONT = re.compile(
    r"""\s+ | [*_`"']+ | [-*+>#\u2022]+\s+          # emphasis and quotes; bullets, which a minus sign of -5 is not
    | \d{1,2}[.)]\s+                              # the number of a list
    | (?:the\s+)?(?:final\s+)?answer[*_]*(?:\s+is\b|\s*:)[\s:*_]*""",
    re.VERBOSE | re.IGNORECASE,
)
_BEHIND = re.compile(r"[\s*_`\"']+$")
_FULL_STOP = re.compile(r"(?:[^.]*|.*\d\.\d+)\.")
"""A text whose last full stop ends it, unlike that of ``U.S.``."""


@dataclass(frozen=True, kw_only=True)
class Warmup:
    """Options of `polymode warmup`, except where the questions and the model come from."""

    demonstrations: str = "self"
    """Where demonstrations come from: self (the model's own samples), task (the task writes them), or a completions
    file."""
    questions: int = 256
    """Training questions that are demonstrated; `task`: as many others for each format that the methods ask for."""
    samples: int = 16
    """`self`: single answers sampled to each question."""
    sample_prompt: Literal["plain", "format"] = "plain"
    """`self`: plain asks for one answer and nothing else; format asks in the answer format, for a model that keeps it
    already."""
    reasoning: bool = True
    """`task` and a file: whether demonstrations reason before they answer, where theirs do. Without it completions are
    shorter and easier to keep the format in, which small models may need."""
    references: Literal["none", "weight", "filter"] = "none"
    """`self`: none uses no references; weight counts a right sample four times; filter drops wrong ones."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods whose formats are demonstrated, so that one warmed-up model serves them all."""
    k: int = 3
    """Answers in a completion of the multi methods."""
    check: int = 64
    """Validation questions whose completions are checked before and after."""
    steps: int = 100
    """Optimiser steps."""
    batch: int = 16
    """Demonstrations a step."""
    device_batch: int = 8
    """Most demonstrations in one forward and backward pass; the largest number up to it that divides batch is taken."""
    learning_rate: float = 2e-5
    """Peak learning rate; it rises over a tenth of the steps, then falls linearly to zero."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """What is computed in; trained weights are float32 in any case."""
    lora: Mapping[str, Any] = field(default_factory=dict)
    """Options of PEFT's LoraConfig, for example r=16; none trains all weights."""
    seed: int = 0
    """Seed of questions, samples and training."""

    def __post_init__(self) -> None:
        """Refuse numbers out of their range, in one line that names the field."""
        check_k(self.k)
        for name in ("questions", "samples", "check", "steps", "batch", "device_batch"):
            number_in(name, getattr(self, name), 1, whole=True)
        number_in("learning_rate", self.learning_rate, 0)
        one_of("sample_prompt", self.sample_prompt, ("plain", "format"))
        for method in self.methods:
            one_of("methods", method, tuple(METHODS))
        if not self.methods:
            raise ConfigError(f"methods = {self.methods!r} is empty: name at least one of {', '.join(METHODS)}")
        if self.references != "none" and self.demonstrations != "self":
            raise ConfigError(f"references = {self.references!r} needs demonstrations = 'self'; leave it out")

    @property
    def rows_at_once(self) -> int:
        """Demonstrations in one pass."""
        return max(n for n in range(1, min(self.device_batch, self.batch) + 1) if self.batch % n == 0)

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats that the methods ask for, each once."""
        forms = (Format(METHODS[name].answers(self.k), METHODS[name].has_confidence) for name in self.methods)
        return tuple(dict.fromkeys(forms))


class Format(NamedTuple):
    """What a demonstration shows."""

    k: int
    has_confidence: bool


class Candidate(NamedTuple):
    """Samples of one question that are the same answer."""

    text: str
    """The spelling that was sampled first."""
    share: float
    """Their weight among all samples of the question, in (0, 1]."""


def from_task(task: Task, formats: Sequence[Format], n: int, *, seed: int) -> list[Completion]:
    """``n`` demonstrations that the task writes for questions of its training split, formats in turn.

    Raises:
        ConfigError: the task writes none, or has no training questions.
    """
    if not isinstance(task, Demonstrates):
        raise ConfigError(
            f"task {task.name!r} writes no demonstrations: use --demonstrations self, or a file of your own"
        )
    rng = np.random.default_rng([seed, 1])
    examples = _training_examples(task, n, seed=seed)
    return [
        Completion(example, task.demonstrate(example, k, confidence=confidence, rng=rng), k, confidence, sample=i)
        for i, (example, (k, confidence)) in enumerate(zip(examples, _in_turn(formats), strict=False))
    ]


def without_reasoning(demonstration: Completion) -> Completion:
    """The demonstration with its answers alone."""
    return replace(demonstration, text=demonstration.text.rpartition("</think>")[2].lstrip())


def from_file(path: Path, formats: Sequence[Format]) -> list[Completion]:
    """Demonstrations of a file with a question and a completion a line, each of which must keep the answer format.

    Raises:
        DataNotFoundError: no such file.
        RecordError: a line that is no clean completion, or none of the formats; names the line.
    """
    completions = read_demonstrations(path)
    for number, one in enumerate(completions, 1):
        answers = parse_answers(one.text, one.k, confidence=one.has_confidence)
        problem = _repetition(answers) if answers.is_clean else answers.reason or answers.status.value
        if problem:
            raise RecordError(
                f"{path}, demonstration {number}: {problem}: correct the completion, or leave the line out"
            )
    usable = [one for one in completions if Format(one.k, one.has_confidence) in formats]
    if not usable:
        wanted = " or ".join(f"k = {k} {'with' if q else 'without'} confidences" for k, q in formats)
        raise RecordError(f"{path}: no demonstration has {wanted}: choose --methods and --k that it has")
    if n_others := len(completions) - len(usable):
        log.warning(
            "%d of the %d demonstrations in %s are left out: they have another number of answers than --k, or a format "
            "of none of the --methods",
            n_others,
            len(completions),
            path,
        )
    return usable


def _repetition(answers: AnswerSet) -> str:
    """Which answers of a set are the same text; empty where all differ."""
    slots: dict[str, int] = {}
    for slot, answer in enumerate(answers.answers, 1):
        first = slots.setdefault(plain_text(answer.text), slot)
        if first != slot:
            return f"answers {first} and {slot} are the same, {answer.text!r:.60}"
    return ""


def candidates_of(
    example: Example,
    samples: Sequence[str],
    verifier: Verifier | QuestionVerifier,
    *,
    references: UseOfReferences = "none",
) -> list[Candidate]:
    """Distinct answers among the samples of one question, the most frequent first.

    The share of answer a is w(a) n(a) / sum_b w(b) n(b), where n counts samples that the verifier calls equal and w is
    1; ``weight`` sets w = `RIGHT_WEIGHT` for answers that match a reference, ``filter`` sets w = 0 for those that do
    not. Only these two look at references, and to them samples that match one reference are one answer. Samples that
    the verifier cannot judge are left out.
    """
    items = tuple(Answer(text, Span(0, len(text))) for text in samples)
    judgement = judge(example, AnswerSet(ParseStatus.CLEAN, items, len(items), False), verifier)
    weights: dict[int, float] = {}
    first_of: dict[int, int] = {}  # reference -> slot of its first sample
    for slot, verdict in enumerate(judgement.verdicts):
        if verdict is not Verdict.UNSCORED:
            is_right = verdict is Verdict.CORRECT
            weight = {"none": 1, "weight": RIGHT_WEIGHT if is_right else 1, "filter": int(is_right)}[references]
            earlier, match = judgement.duplicates[slot], judgement.matches[slot]
            first = slot if earlier is None else earlier
            if references != "none" and match is not None:
                first = first_of.setdefault(match, first)
            weights[first] = weights.get(first, 0) + weight
    total = sum(weights.values())
    ranked = sorted((slot for slot in weights if weights[slot]), key=lambda slot: (-weights[slot], slot))
    return [Candidate(samples[slot], weights[slot] / total) for slot in ranked]


def from_samples(
    examples: Sequence[Example],
    answers_PM: Sequence[Sequence[str]],
    verifier: Verifier | QuestionVerifier,
    formats: Sequence[Format],
    *,
    references: UseOfReferences = "none",
) -> tuple[list[Completion], int]:
    """Demonstrations of each question in each format, and how many could not be written for want of distinct answers.

    Args:
        examples: the questions (P).
        answers_PM: the single answers to each question; empty ones do not count.
        verifier: equality of answers.
        formats: what to demonstrate.
        references: how references count (`candidates_of`).
    """
    texts_PM = [[text for text in answers if text] for answers in answers_PM]
    ready = prepare_verifier(verifier, zip(examples, texts_PM, strict=True))
    out: list[Completion] = []
    n_missing = 0
    for example, texts in zip(examples, texts_PM, strict=True):
        candidates = candidates_of(example, texts, ready, references=references)
        for k, has_confidence in formats:
            if len(candidates) < k:
                n_missing += 1
                continue
            text = write_set(candidates[:k], has_confidence=has_confidence)
            # The verifier may tell apart what the format cannot hold, such as an answer with a tag inside.
            if parse_answers(text, k, confidence=has_confidence).is_clean:
                out.append(Completion(example, text, k, has_confidence, sample=len(out)))
    return out, n_missing


def write_set(candidates: Sequence[Candidate], *, has_confidence: bool, style: Style = "full") -> str:
    """One answer set in the notation of a style, shares as confidences with two decimals."""
    shares = [f"{one.share:.2f}" for one in candidates] if has_confidence else None
    return write_answers([one.text for one in candidates], shares, style)


def in_notation(demonstration: Completion, style: Style) -> Completion:
    """The demonstration with its answers in the notation of a style (`rewritten`)."""
    k, confidence = demonstration.k, demonstration.has_confidence
    return replace(demonstration, text=rewritten(demonstration.text, k, confidence=confidence, style=style))


def rewritten(text: str, k: int, *, confidence: bool, style: Style) -> str:
    """A well-formed completion with its answers in the notation of a style; its reasoning stays.

    Raises:
        ConfigError: the text does not keep the answer format, or has an answer that a line cannot hold.
    """
    read = parse_answers(text, k, confidence=confidence)
    if not read.is_clean:
        raise ConfigError(f"a demonstration cannot be read ({read.reason}): correct it, or the task's demonstrate")
    texts, whys = [a.text for a in read.answers], [a.rationale or "" for a in read.answers]
    is_lines = notation_of(style) == "lines"
    if is_lines and (bad := [part for part in (*texts, *whys) if not fits_line(part)]):
        raise ConfigError(f"format = 'lines' cannot hold the answer {bad[0]!r:.60}: use format = 'tags'")
    numbers = [a.confidence_span.slice(text) for a in read.answers if a.confidence_span is not None]
    thought = "".join(text.rpartition("</think>")[:2])
    written = write_answers(texts, numbers or None, style, rationales=whys)
    return f"{thought}\n{written}" if thought else written


def plain_answer(text: str) -> str:
    """The answer in a reply to a plain prompt: its first line behind the reasoning, without Markdown and full stop.

    Of a list that is its first item, without its number. A reply with a code fence is one answer, whatever lines it
    has, and one in the answer format is its first answer.
    """
    final = text.rpartition("</think>")[2].strip()
    tagged = re.search(r"<answer1?>(.*?)</answer1?>", final, re.DOTALL)
    if tagged:
        return tagged[1].strip()
    if "```" in final:
        return final
    if "<think>" in final:
        return ""
    line = _BEHIND.sub("", final.partition("\n")[0])
    while match := _IN_FRONT.match(line):
        line = line[match.end() :]
    return _BEHIND.sub("", line[:-1]) if _FULL_STOP.fullmatch(line) else line


def _training_examples(task: Task, n: int, *, seed: int) -> list[Example]:
    """``n`` training questions; a finite task is read again, shuffled anew, when it runs out."""
    out: list[Example] = []
    while len(out) < n:
        examples = task.examples("train", n - len(out), seed=seed + 7919 * len(out))
        if not examples:
            raise ConfigError(f"task {task.name!r} has no training questions to demonstrate: check its data")
        out += examples
    return out


def _in_turn(formats: Sequence[Format]) -> Iterator[Format]:
    while True:
        yield from formats


def numbered(completions: Iterable[Completion]) -> list[Completion]:
    """The completions with sample numbers that are unique within each question, as a file of them needs."""
    counts: dict[str, int] = {}
    out = []
    for one in completions:
        out.append(replace(one, sample=counts.setdefault(one.example.id, 0)))
        counts[one.example.id] += 1
    return out
