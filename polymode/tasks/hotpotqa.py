"""HotPotQA-Modified: two-hop questions whose paragraphs may be missing (CC BY-SA 4.0, arXiv 1809.09600, 2507.16806).

Reads the official files of the distractor setting, or the hub's Parquet files, whose records hold the same with other
names and columns for lists. Ten paragraphs, two of them needed. A record, cut short::

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
A record that also has a field ``references`` (as `polymode relabel` writes it) has those right answers instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from polymode.errors import RecordError, number_in
from polymode.runs.validation import shorten
from polymode.tasks.held_out import File, HeldOut, text_hash
from polymode.tasks.record import Record, transposed
from polymode.tasks.record_files import read_records
from polymode.types import Example, Reference

PARAGRAPHS = "hotpot_dev_paragraphs.jsonl"
"""Further dev questions with whole paragraphs; records that the test file held already are skipped."""

REMOVED = 2
"""Paragraphs removed from every record."""

_REQUEST = (
    "Answer the question at the end with a short phrase (a name, a date, a number), or yes or no. "
    "The paragraphs may lack what is needed."
)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph of the context."""

    title: str
    text: str
    is_gold: bool
    """Whether the question needs it."""


@dataclass(frozen=True, slots=True)
class HotpotRecord:
    """One question with its context, nothing removed."""

    id: str
    question: str
    answer: str
    kind: str
    """``bridge`` or ``comparison``; empty when the file does not say."""
    level: str
    """``easy``, ``medium`` or ``hard``; empty when the file does not say."""
    paragraphs: tuple[Paragraph, ...]
    references: tuple[Reference, ...] | None = None
    """Right answers with their names, where the file says more than ``answer``."""


class HotpotQA(HeldOut):
    """HotPotQA-Modified as examples.

    ``meta`` holds the published fields ``source``, ``answer``, ``gold_removed`` (c) and ``removed_titles``, and
    ``hidden`` (c again, under the name all tasks share), ``asked`` (the question alone), ``type`` and ``level``.

    Args:
        data: folder with the official files; default ``$POLYMODE_DATA/hotpotqa``. The official dev set is the test
            split, as it is published; `PARAGRAPHS` are read after it.
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
    meaning = "is the right one"
    files: Mapping[File, Sequence[Sequence[str]]] = {
        "train": [("hotpot_train_v1.1.json", "hotpot_train_distractor_100.json")],
        "test": [("hotpot_dev_distractor_v1.json", "hotpot_dev_distractor.json"), (PARAGRAPHS,)],
    }
    configs = ("distractor", "fullwiki")
    source = "hotpotqa.github.io"

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
        number_in("seed", seed, 0, whole=True)
        for option, number in (("max_chars", max_chars), ("train_rows", train_rows), ("test_rows", test_rows)):
            if number is not None:
                number_in(option, number, 1, whole=True)
        self.modified, self.seed, self.max_chars = modified, seed, max_chars
        self._rows: dict[File, int | None] = {"train": train_rows, "test": test_rows}
        self.left_out: dict[File, Counter[str]] = {"train": Counter(), "test": Counter()}
        """How many records of each file were left out, by reason; filled when the file is read."""
        super().__init__(data, validation=validation)

    def read(self, file: File, paths: Sequence[Path]) -> list[Example]:
        """Examples of the records that can be used, up to the number asked for; counts the others."""
        self.left_out[file].clear()
        return list(islice(self._usable(file, chain.from_iterable(map(read_hotpot, paths))), self._rows[file]))

    def _usable(self, file: File, records: Iterator[HotpotRecord]) -> Iterator[Example]:
        ids: set[str] = set()
        for record in records:
            if record.id in ids:
                continue
            ids.add(record.id)
            n_gold = sum(paragraph.is_gold for paragraph in record.paragraphs)
            if self.modified and (n_gold != REMOVED or len(record.paragraphs) < 2 * REMOVED):
                self.left_out[file]["fewer than two needed and two other paragraphs"] += 1
                continue
            example = self._example(record)
            if len(example.question) < self.max_chars:
                yield example
            else:
                self.left_out[file][f"{self.max_chars} characters or more"] += 1

    def _example(self, record: HotpotRecord) -> Example:
        removed = removed_paragraphs(record, self.seed) if self.modified else []
        left = [f"{p.title}: {p.text}" for i, p in enumerate(record.paragraphs) if i not in removed]
        n_gold = sum(record.paragraphs[i].is_gold for i in removed)
        references = (Reference(record.answer),) if record.references is None else record.references
        return Example(
            f"hotpotqa-{record.id}",
            "\n\n".join([_REQUEST, *left, f"Question: {record.question}"]),
            references,
            exclusive=len(references) < 2,
            meta={
                "source": "hotpot",
                "asked": record.question,
                "answer": record.answer,
                "hidden": n_gold,
                "gold_removed": n_gold,
                "removed_titles": [record.paragraphs[i].title for i in removed],
                "type": record.kind,
                "level": record.level,
            },
        )


def removed_paragraphs(record: HotpotRecord, seed: int) -> list[int]:
    """Positions of the two paragraphs to remove: c needed ones, c uniform on {0, 1, 2}, and 2 - c others.

    The record must hold two needed and at least two other paragraphs. Depends on ``seed`` and the record's id only.
    """
    rng = np.random.default_rng(text_hash(f"{seed} {record.id}", 16))
    n_gold = int(rng.integers(REMOVED + 1))
    gold, others = ([i for i, p in enumerate(record.paragraphs) if p.is_gold == is_gold] for is_gold in (True, False))
    chosen = [*rng.choice(gold, n_gold, replace=False), *rng.choice(others, REMOVED - n_gold, replace=False)]
    return sorted(int(i) for i in chosen)


def read_hotpot(path: Path) -> Iterator[HotpotRecord]:
    """Records of one file, read on demand.

    A context is ``[[title, [sentence, ...]], ...]`` beside ``supporting_facts`` ``[[title, sentence number], ...]``
    (the official files), or ``[[title, paragraph, is supporting], ...]``, or columns ``title`` and ``sentences`` beside
    ``supporting_facts`` with ``title`` and ``sent_id`` (the Hugging Face hub).

    Raises:
        RecordError: a record that cannot be used; the message says where, which field and what it must be.
    """
    return map(hotpot_record, read_records(path))


def hotpot_record(row: Record) -> HotpotRecord:
    """One record; raises RecordError as `read_hotpot`."""
    return HotpotRecord(
        id=row.text("_id" if "_id" in row.fields or "id" not in row.fields else "id"),
        question=row.text("question"),
        answer=row.text("answer", "; the official test set has no answers, use the dev set"),
        kind=str(row.fields.get("type", "")),
        level=str(row.fields.get("level", "")),
        paragraphs=tuple(_paragraphs(row)),
        references=None if row.fields.get("references") is None else row.references("references"),
    )


def _paragraphs(row: Record) -> Iterator[Paragraph]:
    context = transposed(row.get("context"), ("title", "sentences"), f"{row.where}, field 'context'")
    if not isinstance(context, list) or not context:
        raise RecordError(f"{row.where}, field 'context': {context!r} must be a list of [title, sentences]")
    gold: set[str] | None = None
    for part in context:
        match part:
            case [str(title), list(sentences)] if all(isinstance(sentence, str) for sentence in sentences):
                gold = _gold_titles(row) if gold is None else gold
                yield Paragraph(title, " ".join(" ".join(sentences).split()), title in gold)
            case [str(title), str(text), bool(is_gold)]:
                yield Paragraph(title, " ".join(text.split()), is_gold)
            case _:
                raise RecordError(
                    f"{row.where}, field 'context': {shorten(part)} must be [title, [sentence, ...]] or "
                    "[title, paragraph, true or false]"
                )


def _gold_titles(row: Record) -> set[str]:
    where = f"{row.where}, field 'supporting_facts'"
    facts = transposed(row.get("supporting_facts"), ("title", "sent_id"), where)
    if not isinstance(facts, list) or not all(isinstance(f, list) and f and isinstance(f[0], str) for f in facts):
        raise RecordError(f"{where}: {shorten(facts)} must be a list of [title, sentence number]")
    return {fact[0] for fact in facts}
