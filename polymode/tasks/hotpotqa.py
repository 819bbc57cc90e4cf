"""HotPotQA-Modified: two-hop questions whose paragraphs may be missing (CC BY-SA 4.0, arXiv 1809.09600, 2507.16806).

Reads the official files of the distractor setting: ten paragraphs, two of them needed. A record, cut short::

    {"_id": "5a79093955429974737f794b", "type": "comparison", "level": "hard", "answer": "Michel Butor",
     "question": "Which writer had a longer lifespan, Ann-Marie MacDonald or Michel Butor?",
     "supporting_facts": [["Ann-Marie MacDonald", 0], ["Michel Butor", 0]],
     "context": [["Michel Butor", ["Michel Butor (14 September 1926 - 24 August 2016) was a French writer."]], ...]}

The modification is the published one: c of {0, 1, 2} needed paragraphs are removed, each c equally likely, and 2 - c
others, so that two are removed in any case and their number reveals nothing. Departures: what is removed depends on
``seed`` and the record's id alone (the published draw is unseeded); train questions that also occur in the test file
are left out; and so are records without two needed and two other paragraphs, whatever their c. Length is measured after
the removal, as published; needed paragraphs are the shorter ones, so c is 0, 1, 2 in about 35, 33 and 32 of 100
eligible questions.

There is one right answer, and the removed paragraphs determine how likely each answer is; answers exclude each other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np

from polymode.errors import ConfigError, DataNotFoundError
from polymode.prompts import Style
from polymode.tasks import Split
from polymode.tasks.data_files import data_folder, find_file, missing_folder
from polymode.tasks.held_out import File, HeldOut
from polymode.tasks.hotpotqa_records import HotpotRecord, Paragraph, read_hotpot
from polymode.types import Example, Reference

FILES: dict[File, tuple[str, ...]] = {
    "train": ("hotpot_train_v1.1.json", "hotpot_train_distractor_100.json"),
    "test": ("hotpot_dev_distractor_v1.json", "hotpot_dev_distractor.json"),
}
"""Names of the two files, the official one first; the official dev set is the test split, as it is published."""

PARAGRAPHS = "hotpot_dev_paragraphs.jsonl"
"""Further dev questions with whole paragraphs; read after the test file, without the records that it contains."""

REMOVED = 2
"""Paragraphs removed from every record."""

_REQUEST = (
    "Answer the question at the end with a short phrase (a name, a date, a number), or yes or no. "
    "The paragraphs may lack what is needed."
)


class HotpotQA:
    """HotPotQA-Modified as examples.

    ``meta`` holds the published fields ``source``, ``answer``, ``gold_removed`` (c) and ``removed_titles``, and
    ``hidden`` (c again, under the name all tasks share), ``asked`` (the question alone), ``type`` and ``level``.

    Args:
        data: folder with the official files; default ``$POLYMODE_DATA/hotpotqa``.
        modified: remove paragraphs; False leaves all (the data set as it was, c = 0).
        seed: changes what is removed; at least 0.
        max_chars: only questions whose text with paragraphs is shorter than this are used.
        train_rows: use this many eligible records of the train file, from the first; the publication uses 20,000.
        test_rows: likewise of the test file; the publication uses 500.
        validation: share of train held out as validation, by hash of the question; in (0, 1).

    Raises:
        ConfigError: an option out of its range.
        DataNotFoundError: no folder, or it holds none of the files.
    """

    name = "hotpotqa"
    prompt_style: Style = "full"

    def __init__(
        self,
        data: str | Path | None = None,
        *,
        modified: bool = True,
        seed: int = 0,
        max_chars: int = 6000,
        train_rows: int | None = None,
        test_rows: int | None = None,
        validation: float = 0.1,
    ) -> None:
        if seed < 0:
            raise ConfigError(f"seed = {seed!r} must be at least 0")
        for option, number in (("max_chars", max_chars), ("train_rows", train_rows), ("test_rows", test_rows)):
            if number is not None and number < 1:
                raise ConfigError(f"{option} = {number!r} must be at least 1")
        self.modified, self.seed, self.max_chars = modified, seed, max_chars
        self._rows: dict[File, int | None] = {"train": train_rows, "test": test_rows}
        folder = data_folder(self.name, data)
        names = (f"{FILES['train'][0]} (train)", f"{FILES['test'][0]} (test)")
        if folder is None:
            raise missing_folder(self.name, names)
        self._folder = folder
        self.left_out: dict[File, Counter[str]] = {"train": Counter(), "test": Counter()}
        """How many records of each file were left out, by reason; filled when the file is read."""
        self._splits = HeldOut(self._read, self._missing, validation=validation)
        if not any(self._paths(file) for file in ("train", "test")):
            raise self._missing("test")

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """The first ``n`` questions of a split shuffled by ``seed``, at most all of them.

        Raises:
            ConfigError: unknown split or negative n.
            DataNotFoundError: the split's file is missing.
            RecordError: a record cannot be used; the message says where, which field and why.
        """
        return self._splits.examples(split, n, seed)

    def _paths(self, file: File) -> list[Path]:
        names = [FILES[file], (PARAGRAPHS,)] if file == "test" else [FILES[file]]
        return [path for path in (find_file(self._folder, each) for each in names) if path is not None]

    def _read(self, file: File) -> list[Example] | None:
        paths = self._paths(file)
        if not paths:
            return None
        self.left_out[file].clear()
        return list(islice(self._kept(file, chain.from_iterable(map(read_hotpot, paths))), self._rows[file]))

    def _kept(self, file: File, records: Iterator[HotpotRecord]) -> Iterator[Example]:
        seen: set[str] = set()
        for record in records:
            if record.id in seen:
                continue
            seen.add(record.id)
            n_gold = sum(paragraph.is_gold for paragraph in record.paragraphs)
            if self.modified and (n_gold != REMOVED or len(record.paragraphs) < 2 * REMOVED):
                self.left_out[file]["fewer than two needed and two other paragraphs"] += 1
                continue
            example = self._example(record)
            if len(example.question) < self.max_chars:
                yield example
            else:
                self.left_out[file][f"{self.max_chars} characters or more"] += 1

    def _missing(self, file: File) -> DataNotFoundError:
        return DataNotFoundError(
            f"{self._folder} holds no {file} questions: none of {', '.join(FILES[file])} (each also as .gz or .zip); "
            "get the official file at hotpotqa.github.io, or name another folder with --data"
        )

    def _example(self, record: HotpotRecord) -> Example:
        removed = removed_paragraphs(record, self.seed) if self.modified else []
        kept = [paragraph for i, paragraph in enumerate(record.paragraphs) if i not in removed]
        gone = [record.paragraphs[i] for i in removed]
        n_gold = sum(paragraph.is_gold for paragraph in gone)
        return Example(
            f"hotpotqa-{record.id}",
            _render(record.question, kept),
            (Reference(record.answer),),
            exclusive=True,
            meta={
                "source": "hotpot",
                "asked": record.question,
                "answer": record.answer,
                "hidden": n_gold,
                "gold_removed": n_gold,
                "removed_titles": [paragraph.title for paragraph in gone],
                "type": record.kind,
                "level": record.level,
            },
        )


def removed_paragraphs(record: HotpotRecord, seed: int) -> list[int]:
    """Positions of the two paragraphs to remove: c needed ones, c uniform on {0, 1, 2}, and 2 - c others.

    The record must hold two needed and at least two other paragraphs. Depends on ``seed`` and the record's id only.
    """
    digest = hashlib.blake2b(f"{seed} {record.id}".encode(), digest_size=16).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    n_gold = int(rng.integers(REMOVED + 1))
    gold, others = ([i for i, p in enumerate(record.paragraphs) if p.is_gold == wanted] for wanted in (True, False))
    chosen = [*rng.choice(gold, n_gold, replace=False), *rng.choice(others, REMOVED - n_gold, replace=False)]
    return sorted(int(i) for i in chosen)


def _render(question: str, paragraphs: Sequence[Paragraph]) -> str:
    return "\n\n".join([_REQUEST, *(f"{p.title}: {p.text}" for p in paragraphs), f"Question: {question}"])
