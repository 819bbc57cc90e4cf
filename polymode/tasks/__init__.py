"""Tasks: where questions and references come from (layer L3).

A task is any object with the methods of `Task`; `open_task` finds one by name:
to add one, write its class and give it a line in `TASKS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, get_args, runtime_checkable

import numpy as np

from polymode.distributions import with_target
from polymode.errors import ConfigError, RecordError, one_of
from polymode.plugins import Entry, Registry
from polymode.prompts import Notation, Style
from polymode.types import Example
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.text import TextVerifier

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
T = TypeVar("T")


def check_request(split: str, n: int | None) -> None:
    """Refuse a split that does not exist and a negative number of examples, with a ConfigError."""
    one_of("split", split, SPLITS)
    if n is not None and n < 0:
        raise ConfigError(f"n = {n!r} must not be negative")


def check_share(name: str, value: float) -> None:
    """Refuse a number that is not between 0 and 1, with a ConfigError."""
    if not 0 < value < 1:
        raise ConfigError(f"{name} = {value!r} must lie between 0 and 1")


def shuffled(items: Sequence[T], split: Split, n: int | None, seed: int) -> list[T]:
    """The first ``n`` items (all when None) in an order that only their number, the split and the seed decide."""
    order = np.random.default_rng([seed, SPLITS.index(split)]).permutation(len(items))[:n]
    return [items[i] for i in order]


class Task(Protocol):
    """A source of examples. Splits never share a question; the same (split, n, seed) gives the same examples."""

    name: str
    prompt_style: Style
    """How its questions are asked: `brief` for lab models, `full` for instruction-tuned ones."""

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """The first ``n`` examples of a split (all of them when None and the split is finite), shuffled by ``seed``."""
        ...


@runtime_checkable
class Demonstrates(Protocol):
    """A task that can also write demonstrations, for the warm start of a model that knows nothing."""

    def demonstrate(self, example: Example, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
        """A noisy, well-formed completion for ``example``: short reasoning, then K distinct answers."""
        ...

    def vocabulary(self) -> Sequence[str]:
        """Texts whose words cover everything a question, a prompt or a demonstration can hold."""
        ...


@runtime_checkable
class Verifies(Protocol):
    """A task whose answers are compared in a way of its own; without it they are compared as normalised text."""

    def verifier(self) -> Verifier | QuestionVerifier:
        """What tells right from wrong and repeats from new answers, in training and evaluation alike."""
        ...


def examples_of(
    task: Task,
    split: Split,
    n: int | None = None,
    *,
    seed: int = 0,
    target: Literal["task", "verdict", "distribution"] = "task",
) -> Sequence[Example]:
    """``task.examples`` with another target of the confidences, where it is not that of the task itself.

    Raises:
        ConfigError: the task has no distribution for a question; names it. Also what ``task.examples`` raises.
    """
    examples = task.examples(split, n, seed=seed)
    if target == "task":
        return examples
    changed: list[Example] = []
    for example in examples:
        try:
            changed.append(with_target(example, target))
        except RecordError as exc:
            raise ConfigError(f"task {task.name!r}, question {example.id!r}: {exc}") from None
    return changed


def ask_of(task: Task | str) -> str:
    """What a task, or the task of a name, asks for several answers with (`polymode.prompts.build_prompt`).

    A task says so in an attribute ``ask``, and gives it to its examples; empty means the usual sentence.
    """
    return getattr(TASKS.load(task) if isinstance(task, str) else task, "ask", "")


def check_notation(task: Task | str, notation: Notation) -> None:
    """Refuse a notation that cannot hold the answers of a task, or of the task of a name.

    A task whose answers have several lines says so in an attribute ``has_long_answers``.

    Raises:
        ConfigError: the notation holds one line for each answer.
    """
    own = TASKS.load(task) if isinstance(task, str) else task
    if notation == "lines" and getattr(own, "has_long_answers", False):
        raise ConfigError(
            f"format = 'lines' holds answers of one line, and those of {own.name} have several: use format = 'tags'"
        )


def meaning_of(task: str) -> str:
    """What the confidence of an answer is the probability of, after "the answer": "is the cause"; "" without words.

    A task says so in an attribute ``meaning``: a text, or one for each value of the option that decides it.
    """
    meaning = getattr(TASKS.load(task), "meaning", "")
    if isinstance(meaning, str):
        return meaning
    fixed = TASKS.entries[task].options.values() if task in TASKS.entries else ()
    return next((meaning[value] for value in fixed if value in meaning), next(iter(meaning.values()), ""))


def verifier_of(task: Task) -> Verifier | QuestionVerifier:
    """The task's own verifier, or equality of normalised text."""
    return task.verifier() if isinstance(task, Verifies) else TextVerifier()


TASKS: Registry[Task] = Registry(
    "task",
    {
        "clinic": Entry(
            "polymode.tasks.lab.clinic:Clinic",
            "lab: patients with an exact posterior; references are the differential (several true answers)",
            {"references": "differential"},
        ),
        "clinic-diagnosis": Entry(
            "polymode.tasks.lab.clinic:Clinic",
            "lab: the same patients; the reference is the one true condition, its probability is known",
            {"references": "diagnosis"},
        ),
        "hops": Entry(
            "polymode.tasks.lab.hops:Hops",
            "lab: two-hop questions with 0, 1 or 2 needed facts hidden and an exact posterior; one right answer",
        ),
        "programs": Entry(
            "polymode.tasks.lab.programs:Programs",
            "lab: small Python functions asked for by a few values, run in the sandbox; many programs are right",
        ),
        "list-questions": Entry(
            "polymode.tasks.list_questions.task:ListQuestions",
            "countries, elements, months and more by their properties: many right answers, all of them listed",
        ),
        "ddxplus": Entry(
            "polymode.tasks.ddxplus:DDXPlus",
            "synthetic patients of DDXPlus; references are the differential above a threshold (needs data)",
        ),
        "ddxplus-diagnosis": Entry(
            "polymode.tasks.ddxplus:DDXPlus",
            "the same patients; the reference is the one true pathology (needs data)",
            {"target": "pathology"},
        ),
        "hotpotqa": Entry(
            "polymode.tasks.hotpotqa:HotpotQA",
            "HotPotQA-Modified: two-hop questions, 0 to 2 needed paragraphs hidden; one right answer (needs data)",
        ),
        "ambigqa": Entry(
            "polymode.tasks.ambigqa:AmbigQA",
            "AmbigQA: questions with several readings; references are the readings' answers (needs data)",
        ),
        "mbpp": Entry(
            "polymode.tasks.mbpp:Mbpp",
            "MBPP: short Python programs, judged by their tests in the sandbox; many are right (needs data)",
        ),
        "humaneval": Entry(
            "polymode.tasks.humaneval:Humaneval",
            "HumanEval: Python functions to complete, judged by their tests in the sandbox; for testing (needs data)",
        ),
        "records": Entry(
            "polymode.tasks.records:Records",
            "your own questions and references: JSONL, CSV, Parquet or a Hugging Face data set (needs data)",
        ),
    },
    Task,
)
"""Tasks by name. A task with data takes them as its argument ``data``."""


def has_own_verifier(name: str) -> bool:
    """Whether the task compares answers in a way of its own (`Verifies`); its data are not looked at."""
    return callable(getattr(TASKS.load(name), "verifier", None))


def open_task(name: str, *, data: Path | str | None = None, **options: Any) -> Task:
    """The task called ``name``.

    Args:
        name: one of `TASKS`, or ``module:Name`` of a class with the methods of `Task`.
        data: folder or file of the task's data, for tasks that need it.
        options: further keyword arguments of the task's class.

    Raises:
        ConfigError: unknown name or option, or a class that is no task.
        DataNotFoundError: the data are not where they were looked for.
    """
    parameter = TASKS.options(name).get("data")
    if data is not None:
        if parameter is None:
            raise ConfigError(f"data = {str(data)!r}: task {name!r} makes its own questions; leave data out")
        options["data"] = data
    elif parameter is not None and parameter.default is parameter.empty:
        raise ConfigError(
            f"data is missing: task {name!r} needs a file or a data set name, for example --data my.jsonl"
        )
    return TASKS.open(name, **options)
