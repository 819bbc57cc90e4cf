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

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from polymode.errors import DataNotFoundError, RecordError, number_in
from polymode.sandbox import ProgramTests
from polymode.tasks import Split, check_request, shuffled
from polymode.tasks.data_files import data_folder, find_file, hub_files, missing_folder, need_file
from polymode.tasks.mbpp_tests import arguments, entry_point, plus_calls, plus_cases, varied_calls
from polymode.tasks.program_task import ProgramTask
from polymode.tasks.record_files import read_records
from polymode.types import Example, Reference
from polymode.verifiers.programs import Distinct

FILE, SANITIZED_FILE, PLUS_FILE = "mbpp.jsonl", "sanitized-mbpp.json", "MbppPlus.jsonl"
RANGES: Mapping[str, tuple[int, int]] = {"train": (601, 974), "test": (11, 510), "validation": (511, 600)}
"""First and last number of each split."""
PROMPT_RANGE = (1, 10)
"""Numbers reserved for prompts."""

_REQUEST = "Each answer is a complete Python program that defines the function{name}. {imports} It is run on {tests}"
_TESTS = ("tests.", "this test and on others:", "these tests and on others:")
"""By the number of tests in the question: none, one, more."""


class Mbpp(ProgramTask):
    """Write a Python function; many programs are right.

    Args:
        data: folder that holds ``mbpp.jsonl``, or the Hugging Face hub's Parquet files; by default
            ``$POLYMODE_DATA/mbpp``.
        sanitized: use ``sanitized-mbpp.json``, the tasks whose text and tests were corrected by hand.
        plus: also require the right value on every input of MBPP+ (``MbppPlus.jsonl``), where the task has some; its
            corrected asserts replace MBPP's. Expected values come from its solution, run in the sandbox.
        shown_tests: number of tests in the question, 0 to 3.
        extra_inputs: inputs that distinguish right programs by behaviour; slight variations of the tests' own.
        distinct, packages, workers, cpu_seconds, unsafe_local: see `polymode.tasks.program_task.ProgramTask`.

    Raises:
        ConfigError: an option out of its range.
        DataNotFoundError: the folder or a file of it is missing.
    """

    name = "mbpp"

    def __init__(
        self,
        data: Path | None = None,
        *,
        sanitized: bool = False,
        plus: bool = False,
        shown_tests: int = 1,
        extra_inputs: int = 8,
        distinct: Distinct = "ast",
        packages: str | Sequence[str] = (),
        workers: int | None = None,
        cpu_seconds: int = 2,
        unsafe_local: bool | None = None,
    ) -> None:
        super().__init__(
            distinct=distinct, packages=packages, workers=workers, cpu_seconds=cpu_seconds, unsafe_local=unsafe_local
        )
        number_in("shown_tests", shown_tests, 0, 3, whole=True)
        number_in("extra_inputs", extra_inputs, 0, whole=True)
        self.plus, self.shown_tests, self.extra_inputs = plus, shown_tests, extra_inputs
        self._sentence = "prompt" if sanitized else "text"  # the field that holds it
        name = SANITIZED_FILE if sanitized else FILE
        folder = data_folder(self.name, data)
        if folder is None:
            raise missing_folder(self.name, [name, *([PLUS_FILE] if plus else [])])
        self._paths = [path] if (path := find_file(folder, [name])) else _hub_parts(folder, sanitized)
        self._path = self._paths[0] if self._paths else need_file(folder, [name])
        self._plus_path = need_file(folder, [PLUS_FILE]) if plus else find_file(folder, [PLUS_FILE])
        self._plus_records: dict[int, Mapping[str, Any]] = {}

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """The first ``n`` tasks of a split shuffled by ``seed``, at most all of them.

        Raises:
            ConfigError: unknown split or negative n; ``plus`` where there is no sandbox.
            DataNotFoundError: the file holds no task of the split.
            RecordError: a record cannot be used; the message says which, which field and why.
        """
        check_request(split, n)
        records = self._between(*RANGES[split])
        if not records:
            low, high = RANGES[split]
            raise DataNotFoundError(f"{self._path} holds no task of the {split} split (numbers {low} to {high})")
        return [self._example(record) for record in shuffled(records, split, n, seed)]

    def prompt_examples(self) -> Sequence[Example]:
        """The tasks reserved for prompts, in order of their numbers; ``meta["solution"]`` solves each."""
        return [self._example(record) for record in self._between(*PROMPT_RANGE)]

    def _between(self, low: int, high: int) -> list[Mapping[str, Any]]:
        return [record for number, record in self._records.items() if low <= number <= high]

    @cached_property
    def _records(self) -> dict[int, Mapping[str, Any]]:
        if self._plus_path is not None:
            self._plus_records = _read_records([self._plus_path], ("entry_point",), "Mbpp/")
        return _read_records(self._paths, (self._sentence, "code"))

    def _example(self, record: Mapping[str, Any]) -> Example:
        number = record["task_id"]
        plus = self._plus_records.get(number)
        asserts, imports = record["test_list"], "\n".join(record.get("test_imports") or [])
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
            setup=record.get("test_setup_code") or "",
            cases=cases,
            inputs=tuple(inputs),
        )
        meta |= {"entry_point": name, "plus_cases": len(cases)}
        shown_asserts = [" ".join(text.split()) for text in asserts[: self.shown_tests]]
        request = _REQUEST.format(
            name="" if shown_asserts else f" {name}",
            imports=self.imports_sentence,
            tests=_TESTS[min(len(shown_asserts), 2)],
        )
        question = "\n".join([record[self._sentence].strip(), request, *shown_asserts])
        return Example(f"mbpp-{number}", question, (Reference(tests.to_json()),), ask=self.ask, meta=meta)


def _hub_parts(folder: Path, sanitized: bool) -> list[Path]:
    """Parquet files of all splits, as the Hugging Face hub has them."""
    config = "sanitized" if sanitized else "full"
    return [path for split in ("prompt", "test", "validation", "train") for path in hub_files(folder, split, [config])]


def _read_records(paths: Sequence[Path], texts: Sequence[str], prefix: str = "") -> dict[int, Mapping[str, Any]]:
    """The records of some files by number, in their order; checks the fields that are used.

    Args:
        paths: the files.
        texts: fields that must be texts.
        prefix: text before the number in ``task_id``.

    Raises:
        RecordError: not JSON, or a field that is missing or of the wrong type.
    """
    places: dict[int, str] = {}
    records: dict[int, Mapping[str, Any]] = {}
    for row in chain.from_iterable(map(read_records, paths)):
        for field in texts:
            row.text(field)
        text = str(row.get("task_id")).removeprefix(prefix)
        if not text.isdecimal():
            raise RecordError(f"{row.where}, field 'task_id': {row.get('task_id')!r} must be a number")
        if not prefix:
            tests = row.get("test_list")
            if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
                raise RecordError(f"{row.where}, field 'test_list': {tests!r} must be a list of assert statements")
        number = int(text)
        if number in places:
            raise RecordError(f"{row.where}: task {text} is also that of {places[number]}; numbers must differ")
        places[number] = row.where
        records[number] = {**row.fields, "task_id": number}
    return records
