r"""HumanEval: Python functions to complete, judged by their tests (Chen et al., arXiv 2107.03374; MIT licence).

A record of ``HumanEval.jsonl`` (https://github.com/openai/human-eval), shortened::

    {"task_id": "HumanEval/53", "prompt": "def add(x: int, y: int):\n    \"\"\"Add two numbers ...\"\"\"\n",
     "entry_point": "add", "canonical_solution": "    return x + y\n",
     "test": "METADATA = {...}\n\ndef check(candidate):\n    assert candidate(0, 1) == 1\n ..."}

The question is the prompt: imports, sometimes a helper function, and the signature with its docstring. An answer is a
complete program; what the prompt holds before the function is executed before it, so an answer need not repeat it.

HumanEval's own harness runs ``check`` beside the program, where an object's ``__eq__`` can forge any comparison. Here
``check`` is taken apart (`polymode.sandbox.blocks`): the program's process makes the calls, and the values are compared
elsewhere. Loops are written out, random inputs are those of a fixed seed, and inputs that a helper of the prompt makes
are made once, before any program runs. A question whose ``check`` cannot be taken apart is left out and named in
``Humaneval.skipped``. All questions are in the test split: they were made for evaluation.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from polymode.errors import DataNotFoundError, RecordError, number_in
from polymode.sandbox import ProgramTests
from polymode.sandbox.program_tests import plan
from polymode.tasks import Split, check_request, shuffled
from polymode.tasks.data_files import data_folder, missing_folder, need_file
from polymode.tasks.humaneval_tests import Check, read_check
from polymode.tasks.mbpp_tests import arguments, varied_calls
from polymode.tasks.program_task import ProgramTask
from polymode.tasks.record_files import read_records
from polymode.types import Example, Reference
from polymode.verifiers.programs import Distinct

FILES = ("HumanEval.jsonl", "test-00000-of-00001.parquet")
"""Names of the file: as published, and on the Hugging Face hub."""

_REQUEST = (
    "Complete the function {name}. Each answer is a complete Python program that defines it; it is run on tests."
    " {imports}"
)


class Humaneval(ProgramTask):
    """Complete a Python function; many programs are right.

    Args:
        data: folder that holds ``HumanEval.jsonl``; by default ``$POLYMODE_DATA/humaneval``.
        extra_inputs: inputs that distinguish right programs by behaviour; slight variations of the tests' own.
        distinct, packages, workers, cpu_seconds, unsafe_local: see `polymode.tasks.program_task.ProgramTask`.

    Raises:
        ConfigError: an option out of its range.
        DataNotFoundError: the folder or the file is missing.
    """

    name = "humaneval"
    splits: tuple[Split, ...] = ("test",)

    def __init__(
        self,
        data: Path | None = None,
        *,
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
        number_in("extra_inputs", extra_inputs, 0, whole=True)
        self.extra_inputs = extra_inputs
        folder = data_folder(self.name, data)
        if folder is None:
            raise missing_folder(self.name, FILES[:1])
        self._path = need_file(folder, FILES)
        self.skipped: dict[str, str] = {}
        """Why questions were left out, by ``task_id``; filled when the file is read."""

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """The first ``n`` questions shuffled by ``seed``, at most all of them.

        Warns once of questions that were left out, with their number and the first reason.

        Raises:
            ConfigError: unknown split or negative n; or inputs of a test are made by a helper, and there is no sandbox.
            DataNotFoundError: a split other than test, or a file without a question.
            RecordError: a record cannot be read; the message says which, which field and why.
        """
        check_request(split, n)
        if split != "test":
            raise DataNotFoundError(f"humaneval has no {split} split: its questions are for evaluation, use split test")
        if not self._examples:
            raise DataNotFoundError(f"{self._path} holds no question that can be used")
        return shuffled(self._examples, split, n, seed)

    @cached_property
    def _examples(self) -> list[Example]:
        examples = [self._example(row.fields, row.where) for row in map(_checked, read_records(self._path))]
        if self.skipped:
            number, reason = next(iter(self.skipped.items()))
            message = (
                f"humaneval: {len(self.skipped)} of {len(examples)} questions left out, such as {number}: {reason}"
            )
            warnings.warn(message, UserWarning, stacklevel=3)
        return [example for example in examples if example is not None]

    def _example(self, record: Mapping[str, Any], where: str) -> Example | None:
        number, name = record["task_id"], record["entry_point"]
        try:
            check: Check = read_check(record, lambda: self.verifier().sandbox)
            inputs = varied_calls(name, arguments(check.asserts, name), self.extra_inputs, number)
            tests = ProgramTests(check.asserts, entry=name, imports=check.preamble, inputs=tuple(inputs))
            plan(tests)
        except RecordError as exc:
            self.skipped[number] = f"{where}: {exc}"
            return None
        request = _REQUEST.format(name=name, imports=self.imports_sentence)
        question = f"{record['prompt'].strip()}\n\n{request}"
        meta = {"task_id": number, "entry_point": name, "solution": record["prompt"] + record["canonical_solution"]}
        return Example(
            number.replace("/", "-").lower(), question, (Reference(tests.to_json()),), ask=self.ask, meta=meta
        )


def _checked(row: Any) -> Any:
    for field in ("task_id", "prompt", "canonical_solution", "test", "entry_point"):
        row.text(field)
    return row
