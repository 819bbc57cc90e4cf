"""MBPP: short Python programs from one English sentence, judged by their tests (Austin et al., arXiv 2108.07732).

A record of ``mbpp.jsonl`` (CC BY 4.0; its reference solution is cut short here)::

    {"text": "Write a python function to find remainder of two numbers.", "code": "def find(n,m): ...", "task_id": 502,
     "test_setup_code": "", "test_list": ["assert find(3,3) == 0", "assert find(10,3) == 1", "assert find(16,5) == 1"],
     "challenge_test_list": []}

The question is the sentence and the first of the three tests, which gives the function's name and the types of its
arguments, as usual for MBPP; the two others stay hidden. An answer is a complete program. It is right if it passes all
three (and, on request, the inputs of MBPP+); the challenge tests are not used. Splits are the official ones by number:
train 601-974, test 11-510, validation 511-600; numbers 1-10 are reserved for prompts and are in no split.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.prompts import Style
from polymode.sandbox import Limits, ProgramTests
from polymode.tasks import Split, check_request
from polymode.tasks.data_files import data_folder, find_file, missing_folder, need_file, open_text, read_json_file
from polymode.tasks.mbpp_tests import arguments, entry_point, plus_calls, plus_cases, varied_calls
from polymode.types import Example, Reference
from polymode.verifiers.programs import Distinct, ProgramVerifier

FILE, SANITIZED_FILE, PLUS_FILE = "mbpp.jsonl", "sanitized-mbpp.json", "MbppPlus.jsonl"
RANGES: Mapping[str, tuple[int, int]] = {"train": (601, 974), "test": (11, 510), "validation": (511, 600)}
"""First and last number of each split."""
PROMPT_RANGE = (1, 10)
"""Numbers reserved for prompts."""

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_REQUESTS = (
    "Each answer is a complete Python program that defines the function {name}; it is run on tests.",
    "Each answer is a complete Python program that defines the function; it is run on this test and on others:",
    "Each answer is a complete Python program that defines the function; it is run on these tests and on others:",
)
"""By the number of tests in the question: none, one, more."""


class Mbpp:
    """Write a Python function; many programs are right.

    Args:
        data: folder that holds ``mbpp.jsonl``; by default ``$POLYMODE_DATA/mbpp``.
        sanitized: use ``sanitized-mbpp.json``, the tasks whose text and tests were corrected by hand.
        plus: also require the right value on every input of MBPP+ (``MbppPlus.jsonl``), where the task has some; its
            corrected asserts replace MBPP's. Expected values come from its solution, run in the sandbox.
        shown_tests: number of tests in the question, 0 to 3.
        extra_inputs: inputs that distinguish right programs by behaviour; slight variations of the tests' own.
        distinct: what makes two programs the same answer, see `polymode.verifiers.programs`.
        workers: programs that run at once; by default one for each core.
        cpu_seconds: processor time of one program.
        unsafe_local: run programs without isolation, only for programs that you trust; None: as set in the environment.

    Raises:
        ConfigError: an option out of its range.
        DataNotFoundError: the folder or a file of it is missing.
    """

    name = "mbpp"
    prompt_style: Style = "full"

    def __init__(
        self,
        data: Path | None = None,
        *,
        sanitized: bool = False,
        plus: bool = False,
        shown_tests: int = 1,
        extra_inputs: int = 8,
        distinct: Distinct = "ast",
        workers: int | None = None,
        cpu_seconds: int = 2,
        unsafe_local: bool | None = None,
    ) -> None:
        if isinstance(shown_tests, bool) or shown_tests not in (0, 1, 2, 3):
            raise ConfigError(f"shown_tests = {shown_tests!r} must be 0, 1, 2 or 3")
        if isinstance(extra_inputs, bool) or not isinstance(extra_inputs, int) or extra_inputs < 0:
            raise ConfigError(f"extra_inputs = {extra_inputs!r} must be a whole number of at least 0")
        if distinct not in ("ast", "behaviour"):
            raise ConfigError(f"distinct = {distinct!r} is not known: use 'ast' or 'behaviour'")
        self.plus, self.shown_tests, self.extra_inputs = plus, shown_tests, extra_inputs
        self.sanitized = sanitized
        self._distinct: Distinct = distinct
        self._workers, self._unsafe_local = workers, unsafe_local
        self._limits = Limits(cpu_seconds=cpu_seconds)
        name = SANITIZED_FILE if sanitized else FILE
        folder = data_folder(self.name, data)
        if folder is None:
            raise missing_folder(self.name, [name, *([PLUS_FILE] if plus else [])])
        self._path = need_file(folder, [name])
        self._plus_path = need_file(folder, [PLUS_FILE]) if plus else find_file(folder, [PLUS_FILE])
        self._records: list[dict[str, Any]] | None = None
        self._plus_records: dict[int, dict[str, Any]] = {}
        self._verifier: ProgramVerifier | None = None

    def verifier(self) -> ProgramVerifier:
        """Runs programs, in one sandbox for the whole task. Raises ConfigError where no sandbox is possible."""
        if self._verifier is None:
            self._verifier = ProgramVerifier(
                distinct=self._distinct, workers=self._workers, limits=self._limits, unsafe_local=self._unsafe_local
            )
        return self._verifier

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """The first ``n`` tasks of a split shuffled by ``seed``, at most all of them.

        Raises:
            ConfigError: unknown split or negative n; ``plus`` where there is no sandbox.
            DataNotFoundError: the file holds no task of the split.
            RecordError: a record cannot be used; the message says which, which field and why.
        """
        check_request(split, n)
        found = self._between(*RANGES[split])
        if not found:
            low, high = RANGES[split]
            raise DataNotFoundError(f"{self._path} holds no task of the {split} split (numbers {low} to {high})")
        order = np.random.default_rng([seed, _SPLITS.index(split)]).permutation(len(found))[:n]
        return [self._example(found[i]) for i in order]

    def prompt_examples(self) -> Sequence[Example]:
        """The tasks reserved for prompts, in order of their numbers; ``meta["solution"]`` solves each."""
        return [self._example(record) for record in self._between(*PROMPT_RANGE)]

    def _between(self, low: int, high: int) -> list[dict[str, Any]]:
        if self._records is None:
            self._records = _read_records(self._path, ("prompt" if self.sanitized else "text", "code"))
            if self._plus_path is not None:
                self._plus_records = {
                    record["task_id"]: record for record in _read_records(self._plus_path, ("entry_point",), "Mbpp/")
                }
        return [record for record in self._records if low <= record["task_id"] <= high]

    def _example(self, record: dict[str, Any]) -> Example:
        number = record["task_id"]
        plus = self._plus_records.get(number)
        asserts, imports = record["test_list"], "\n".join(record.get("test_imports", []))
        meta: dict[str, object] = {"task_id": number, "solution": record["code"]}
        cases = ()
        if self.plus and plus is not None:
            lines = plus["assertion"].strip().splitlines()
            asserts = [line for line in lines if line.startswith("assert ")]
            imports = "\n".join(line for line in lines if not line.startswith("assert "))
            if not imports and "math." in plus["assertion"]:  # two records of the first release lack the import
                imports = "import math"
            meta["solution"] = plus["canonical_solution"]
            cases = plus_cases(plus, self.verifier().sandbox)
        name = entry_point(asserts, str(meta["solution"]))
        inputs = [] if plus is None or self.plus else plus_calls(plus)[: self.extra_inputs // 2]
        inputs += varied_calls(name, arguments(asserts, name), self.extra_inputs - len(inputs), number)
        tests = ProgramTests(
            asserts=tuple(asserts),
            entry=name,
            imports=imports,
            setup=record.get("test_setup_code", ""),
            cases=cases,
            inputs=tuple(inputs),
        )
        meta |= {"entry_point": name, "plus_cases": len(cases)}
        return Example(
            f"mbpp-{number}", self._question(record, name, asserts), (Reference(tests.to_json()),), meta=meta
        )

    def _question(self, record: dict[str, Any], name: str, asserts: Sequence[str]) -> str:
        sentence = record["prompt" if self.sanitized else "text"].strip()
        shown = [" ".join(text.split()) for text in asserts[: self.shown_tests]]
        return "\n".join([sentence, _REQUESTS[min(len(shown), 2)].format(name=name), *shown])


def _read_records(path: Path, texts: Sequence[str], prefix: str = "") -> list[dict[str, Any]]:
    """The records of a file, one a line or one array, with ``task_id`` as a number; checks the fields that are used.

    Args:
        path: the file.
        texts: fields that must be texts.
        prefix: text before the number in ``task_id``.

    Raises:
        RecordError: not JSON, or a field that is missing or of the wrong type.
    """
    found: list[dict[str, Any]] = []
    seen: dict[int, str] = {}
    for where, value in _json_values(path):
        record: dict[str, Any] = value if isinstance(value, dict) else {}
        for field in texts:
            if not isinstance(record.get(field), str) or not record[field].strip():
                raise RecordError(f"{where}, field {field!r}: {record.get(field)!r} must be a text that is not empty")
        number = str(record.get("task_id")).removeprefix(prefix)
        if not number.isdecimal():
            raise RecordError(f"{where}, field 'task_id': {record.get('task_id')!r} must be a number")
        if not prefix:
            tests = record.get("test_list")
            if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
                raise RecordError(f"{where}, field 'test_list': {tests!r} must be a list of assert statements")
        record = record | {"task_id": int(number)}
        if record["task_id"] in seen:
            raise RecordError(f"{where}: task {number} is also that of {seen[record['task_id']]}; numbers must differ")
        seen[record["task_id"]] = where
        found.append(record)
    return found


def _json_values(path: Path) -> Iterator[tuple[str, Any]]:
    """The values of a file with their positions."""
    if ".jsonl" not in path.name:
        values = read_json_file(path)
        if not isinstance(values, list):
            raise RecordError(f"{path}: an array of records is expected")
        yield from ((f"{path}, record {number}", value) for number, value in enumerate(values, 1))
        return
    with open_text(path) as handle:
        for number, line in enumerate(handle, 1):
            if line.strip():
                where = f"{path}, line {number}"
                try:
                    yield where, json.loads(line)
                except json.JSONDecodeError as exc:
                    raise RecordError(f"{where}: not valid JSON ({exc.msg})") from None
