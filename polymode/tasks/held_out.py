"""Tasks whose data set is a train file and a test file: finding the files, and holding validation out of train."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from polymode.errors import DataNotFoundError
from polymode.prompts import Style
from polymode.tasks import Split, check_request, check_share, shuffled
from polymode.tasks.data_files import data_folder, find_file, hub_files, missing_folder
from polymode.types import Example
from polymode.verifiers.text import TextVerifier

File = Literal["train", "test"]


class HeldOut(ABC):
    """A task with a train and a test file, each read on demand.

    A question belongs to one split: train questions that also occur in the test file (after normalising, see
    `verifiers.text`) are left out, and whether a train question is held out depends on its text alone.

    Args:
        data: folder with the official files, or with Parquet files as the Hugging Face hub has them (`hub_files`);
            default ``$POLYMODE_DATA/<name>``.
        validation: share of the train questions held out, in (0, 1).

    Raises:
        ConfigError: validation out of its range.
        DataNotFoundError: no folder, or it holds none of the files.
    """

    name: str
    prompt_style: Style = "full"
    files: Mapping[File, Sequence[Sequence[str]]]
    """The parts of each file that are read one after the other, each with its names, the official one first. A part
    may also be JSON lines, with the ending ``.jsonl``."""
    configs: Sequence[str] = ()
    """The data set's configurations on the Hugging Face hub, the preferred one first."""
    source: str
    """Where the official files are, for the error that says so."""
    _hub_splits: Mapping[File, str] = {"train": "train", "test": "validation"}

    def __init__(self, data: str | Path | None, *, validation: float) -> None:
        check_share("validation", validation)
        self._share = validation
        folder = data_folder(self.name, data)
        if folder is None:
            raise missing_folder(self.name, [parts[0][0] for parts in self.files.values()])
        self._folder = folder
        self._split: dict[Split, list[Example]] = {}
        if not any(self._paths(file) for file in self.files):
            raise self._missing("test")

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """The first ``n`` questions of a split shuffled by ``seed``, at most all of them.

        Raises:
            ConfigError: unknown split or negative n.
            DataNotFoundError: the split's file is missing.
            RecordError: a record cannot be used; the message says where, which field and why.
        """
        check_request(split, n)
        if split not in self._split:
            self._load("test" if split == "test" else "train")
        return shuffled(self._split[split], split, n, seed)

    @abstractmethod
    def read(self, file: File, paths: Sequence[Path]) -> list[Example]:
        """The examples of a file from the parts of it that are there; for the task to write."""

    def _paths(self, file: File) -> list[Path]:
        parts = ([*names, *(f"{name}l" for name in names if name.endswith(".json"))] for names in self.files[file])
        paths = [path for names in parts if (path := find_file(self._folder, names)) is not None]
        return paths or hub_files(self._folder, self._hub_splits[file], self.configs)

    def _missing(self, file: File) -> DataNotFoundError:
        return DataNotFoundError(
            f"{self._folder} holds no {file} questions: none of {', '.join(self.files[file][0])} (each also as .gz or "
            f".zip), and no {self._hub_splits[file]}-*.parquet of the Hugging Face hub; get the official files at "
            f"{self.source}, or name another folder with --data"
        )

    def _load(self, file: File) -> None:
        paths = self._paths(file)
        if not paths:
            raise self._missing(file)
        examples = self.read(file, paths)
        if file == "test":
            self._split["test"] = examples
            return
        test_paths = self._paths("test")
        if "test" not in self._split and test_paths:
            self._split["test"] = self.read("test", test_paths)
        key = TextVerifier().key
        test_questions = {key(_bare_question(example)) for example in self._split.get("test", ())}
        self._split["train"], self._split["validation"] = [], []
        for example in examples:
            question = key(_bare_question(example))
            if question not in test_questions:
                self._split["validation" if text_hash(question) / 2**64 < self._share else "train"].append(example)


def text_hash(text: str, size: int = 8) -> int:
    """A whole number of ``size`` bytes that depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest(), "big")


def _bare_question(example: Example) -> str:
    """The question of an example, without any paragraphs before it (``meta["asked"]`` where there are any)."""
    return str(example.meta.get("asked", example.question))
