"""Tasks: where questions and references come from (layer L3).

A task is any object with the methods of `Task`; `open_task` finds one by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from polymode.errors import ConfigError
from polymode.prompts import Style
from polymode.types import Example
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.text import TextVerifier

Split = Literal["train", "validation", "test"]


def check_request(split: str, n: int | None) -> None:
    """Refuse a split that does not exist and a negative number of examples, with a ConfigError."""
    if split not in get_args(Split):
        raise ConfigError(f"split = {split!r} is not known: use 'train', 'validation' or 'test'")
    if n is not None and n < 0:
        raise ConfigError(f"n = {n!r} must not be negative")


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


def verifier_of(task: Task) -> Verifier | QuestionVerifier:
    """The task's own verifier, or equality of normalised text."""
    return task.verifier() if isinstance(task, Verifies) else TextVerifier()


TASKS: dict[str, str] = {
    "clinic": "lab: patients with an exact posterior; references are the differential (several true answers)",
    "clinic-diagnosis": "lab: the same patients; the reference is the one true condition, its probability is known",
    "hops": "lab: two-hop questions with 0, 1 or 2 needed facts hidden and an exact posterior; one right answer",
    "programs": "lab: small Python functions asked for by a few values, run in the sandbox; many programs are right",
    "ddxplus": "synthetic patients of DDXPlus; references are the differential above a threshold (needs data)",
    "ddxplus-diagnosis": "the same patients; the reference is the one true pathology (needs data)",
    "hotpotqa": "HotPotQA-Modified: two-hop questions, 0 to 2 needed paragraphs hidden; one right answer (needs data)",
    "ambigqa": "AmbigQA: questions with several readings; references are the readings' answers (needs data)",
    "mbpp": "MBPP: short Python programs, judged by their tests in the sandbox; many are right (needs data)",
    "records": "your own questions and references: JSONL, CSV, Parquet or a Hugging Face data set (needs data)",
}
"""Task names and what they are, for `polymode tasks`."""

OWN_VERIFIERS = frozenset({"programs", "mbpp"})
"""Tasks with a verifier of their own (`Verifies`). Answers to the others can be judged without opening the task."""


def open_task(name: str, *, data: Path | str | None = None, **options: Any) -> Task:
    """The task called ``name``.

    Args:
        name: one of `TASKS`.
        data: folder or file of the task's data, for tasks that need it.
        options: further keyword arguments of the task's class.

    Raises:
        ConfigError: unknown name or option.
        DataNotFoundError: the data are not where they were looked for.
    """
    try:
        if name in ("clinic", "clinic-diagnosis"):
            from polymode.tasks.lab.clinic import Clinic

            if data is not None:
                raise ConfigError(f"data = {str(data)!r}: task {name!r} makes its own questions; leave data out")
            return Clinic("differential" if name == "clinic" else "diagnosis", **options)
        if name == "hops":
            from polymode.tasks.lab.hops import Hops

            if data is not None:
                raise ConfigError(f"data = {str(data)!r}: task {name!r} makes its own questions; leave data out")
            return Hops(**options)
        if name == "programs":
            from polymode.tasks.lab.programs import Programs

            if data is not None:
                raise ConfigError(f"data = {str(data)!r}: task {name!r} makes its own questions; leave data out")
            return Programs(**options)
        if name in ("ddxplus", "ddxplus-diagnosis"):
            from polymode.tasks.ddxplus import DDXPlus

            if name == "ddxplus-diagnosis":
                options = {"target": "pathology", **options}
            return DDXPlus(None if data is None else Path(data), **options)
        if name == "hotpotqa":
            from polymode.tasks.hotpotqa import HotpotQA

            return HotpotQA(data, **options)
        if name == "ambigqa":
            from polymode.tasks.ambigqa import AmbigQA

            return AmbigQA(data, **options)
        if name == "mbpp":
            from polymode.tasks.mbpp import Mbpp

            return Mbpp(None if data is None else Path(data), **options)
        if name == "records":
            from polymode.tasks.records import Records

            if data is None:
                raise ConfigError(
                    "data is missing: task 'records' needs a file or a data set name, for example --data my.jsonl"
                )
            return Records(data, **options)
    except TypeError as exc:
        raise ConfigError(f"task {name!r}: {exc}; remove the option or correct its name") from None
    raise ConfigError(f"task = {name!r} is not known: use one of {', '.join(TASKS)}")
