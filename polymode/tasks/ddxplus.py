"""DDXPlus: synthetic patients with a differential over 49 conditions (arXiv 2205.09148, CC BY). Not for medical use.

Reads the official releases (CSV patient files and two JSON dictionaries, English or French) from a folder, or a public
copy from the Hugging Face hub by name. A question in brief style::

    A woman aged 75 or more has runny nose; itchy eyes, cough; history asthma, prone to allergies, family allergies

References are the conditions of the differential at or above a threshold, its top n, or the simulated pathology alone;
the reference distribution is the differential. Departures from the release: probabilities of 0 are left out and the
rest renormalised; training rows that ask the same question as a test or validation row are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from polymode.errors import ConfigError, number_in, one_of
from polymode.prompts import Style
from polymode.tasks import SPLITS, Split, check_request, check_share
from polymode.tasks.ddxplus_associations import Associations
from polymode.tasks.ddxplus_english import (
    AGE_BANDS,
    VALUE_MARK,
    describe,
    describe_briefly,
    finding_of,
    in_order,
    read_evidences,
)
from polymode.tasks.ddxplus_rows import Row, presentation, read_conditions, read_rows
from polymode.tasks.ddxplus_source import CONDITIONS, EVIDENCES, find_source
from polymode.tasks.lab.demonstrations import FORMAT_TEXTS, write_demonstration
from polymode.types import Example, Reference

_NEIGHBOURS = 0.1
"""Share of a demonstration's distribution that goes to conditions often seen in the same differentials."""


class DDXPlus:
    """DDXPlus patients as examples.

    Args:
        data: folder with the official files; default ``$POLYMODE_DATA/ddxplus``.
        target: what a right answer names: a condition of the ``differential`` (several are right) or the simulated
            ``pathology`` (at most one is right).
        references: which conditions of the differential count: those with a probability of at least ``threshold`` (the
            most probable one if none has it), or the ``top`` most probable.
        threshold: smallest probability, in (0, 1).
        top: number of references, at least 1.
        style: ``full`` writes statements for instruction-tuned models; ``brief`` short labels for small models.
        list_conditions: full style only: name all conditions in the question, so that the model need not guess the
            spelling.
        balance: draw train and validation examples with replacement so that every pathology is equally likely, for
            training files whose composition is skewed. Test is never balanced.
        validation: share of train held out as validation, by hash, when there is no validation file; in (0, 1).
        hub: without a folder, load this data set of the Hugging Face hub (True: the known public copy).
        limit: read at most this many rows of each file (the complete train file has a million).

    Raises:
        ConfigError: an option out of its range.
        DataNotFoundError: no folder, or a file is missing from it.
        RecordError: a file cannot be used; the message says which row and field.
    """

    name = "ddxplus"
    meaning: Mapping[str, str] = {"differential": "is one of the conditions to consider", "pathology": "is the cause"}

    def __init__(
        self,
        data: str | Path | None = None,
        *,
        target: Literal["differential", "pathology"] = "differential",
        references: Literal["threshold", "top"] = "threshold",
        threshold: float = 0.05,
        top: int = 5,
        style: Style = "full",
        list_conditions: bool = False,
        balance: bool = False,
        validation: float = 0.1,
        hub: str | bool = False,
        limit: int | None = None,
    ) -> None:
        one_of("target", target, ("differential", "pathology"))
        one_of("references", references, ("threshold", "top"))
        one_of("style", style, get_args(Style))
        check_share("threshold", threshold)
        check_share("validation", validation)
        number_in("top", top, 1, whole=True)
        if limit is not None:
            number_in("limit", limit, 1, whole=True)
        self.target, self.references, self.threshold, self.top = target, references, threshold, top
        self.prompt_style: Style = style
        self.list_conditions, self.balance, self.validation, self.limit = list_conditions, balance, validation, limit
        self._source = find_source(data, hub)
        self._evidences = read_evidences(self._source.dictionary(EVIDENCES))
        self._aliases, self._names = read_conditions(self._source.dictionary(CONDITIONS))
        self.conditions = tuple(self._aliases)
        """English names of all conditions an answer can name."""
        self._read: dict[Split, list[Row] | None] = {}

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """The first ``n`` patients of a split shuffled by ``seed`` (at most all of them); rendered on access.

        With ``balance``, ``n`` draws (default: as many as the split has rows) that may repeat a patient under its id.

        Raises:
            ConfigError: unknown split or negative n.
            DataNotFoundError: the split's file is missing.
        """
        check_request(split, n)
        rows = self._rows(split)
        rng = np.random.default_rng([seed, SPLITS.index(split)])
        if self.balance and split != "test" and rows:
            order = rng.choice(len(rows), size=len(rows) if n is None else n, p=_equal_pathologies(rows))
        else:
            order = rng.permutation(len(rows))[:n]
        return _Rendered(rows, order, lambda row: self._example(row, split))

    def demonstrate(self, example: Example, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
        """A noisy, well-formed completion: the conditions that some findings suggest, then K distinct answers.

        Associations are counted on the train split only. Answers come from the example's differential,
        blurred over conditions that often share a differential.

        Raises:
            ConfigError: the example does not come from this task.
        """
        tokens = example.meta.get("evidences")
        if example.distribution is None or not isinstance(tokens, (list, tuple)):
            raise ConfigError(f"example {example.id!r} does not come from ddxplus: it has no evidences to reason about")
        p_C = np.array([example.distribution.get(name, 0.0) for name in self.conditions])
        blurred_C = (1 - _NEIGHBOURS) * p_C + _NEIGHBOURS * (p_C @ self._associations.neighbours)
        blurred = dict(zip(self.conditions, (blurred_C / blurred_C.sum()).tolist(), strict=True))
        reasoning = self._reasoning([str(token) for token in tokens], p_C)
        # Of several right conditions the least likely one marks how likely a condition must be to count.
        weights = [reference.weight for reference in example.references if reference.weight]
        threshold = None if example.exclusive else min(weights, default=None)
        return write_demonstration(
            reasoning, blurred, self.conditions, k, confidence=confidence, rng=rng, threshold=threshold
        )

    def vocabulary(self) -> Sequence[str]:
        """Texts that hold every word of a brief question, prompt or demonstration."""
        findings = [
            finding_of(f"{code}{VALUE_MARK}{value}" if value else code, self._evidences)
            for code, evidence in self._evidences.items()
            for value in (evidence.values or ("",))
        ]
        ages = [oldest for oldest, _ in AGE_BANDS]
        questions = [describe_briefly(age, sex, findings[0], findings[:2]) for age in (*ages, 14) for sex in ("F", "M")]
        questions += [describe_briefly(40, "F", finding, [finding]) for finding in findings]
        # All values of a question at once, so that both sides of the body are named together.
        questions += [describe_briefly(40, "F", findings[0], findings)]
        thoughts = [f"<think> {finding.label} : {self.conditions[0]}, a ; so b </think>" for finding in findings]
        return [*questions, *thoughts, *self.conditions, *FORMAT_TEXTS]

    @cached_property
    def _associations(self) -> Associations:
        return Associations(self._rows("train"), self._evidences, self.conditions)

    def _reasoning(self, tokens: Sequence[str], p_C: np.ndarray) -> str:
        """The three most informative findings, each with the condition it suggests most, by lift times probability."""
        telling = self._associations.telling(tokens)
        support_F_C = np.array([lift * (p_C + 0.01) for _, lift in telling]).reshape(len(telling), len(p_C))
        strongest = np.argsort(-support_F_C.max(1, initial=0.0), kind="stable")[:3]
        return " ; ".join(f"{telling[i][0]} : {self.conditions[support_F_C[i].argmax()]}" for i in strongest)

    def _file(self, split: Split) -> list[Row] | None:
        """Rows of a split's own file, read once."""
        if split not in self._read:
            records = self._source.records(split)
            self._read[split] = (
                None if records is None else list(read_rows(islice(records, self.limit), self._evidences, self._names))
            )
        return self._read[split]

    def _rows(self, split: Split) -> list[Row]:
        """Rows of a split, after holding out and leaving out; see the class and module docstrings."""
        own = self._file(split)
        if split == "train" or (split == "validation" and own is None):
            return self._divided_train[split]
        if own is None:
            raise self._source.missing(split)
        return own

    @cached_property
    def _divided_train(self) -> dict[Split, list[Row]]:
        """The train file without the questions of the other files, and what is held out of it."""
        train, validation = self._file("train"), self._file("validation")
        if train is None:
            raise self._source.missing("train")
        others = {presentation(row, self._evidences) for row in (*(self._file("test") or ()), *(validation or ()))}
        share = 0.0 if validation is not None else self.validation
        parts: dict[Split, list[Row]] = {"train": [], "validation": []}
        for row in train:
            key = presentation(row, self._evidences)
            if key not in others:
                parts["validation" if key / 2**64 < share else "train"].append(row)
        return parts

    def _example(self, row: Row, split: Split) -> Example:
        findings = in_order(row.tokens, self._evidences)
        initial = finding_of(row.initial, self._evidences)
        if self.prompt_style.startswith("brief"):
            question = describe_briefly(row.age, row.sex, initial, findings)
        else:
            ask = "Which condition explains" if self.target == "pathology" else "Which conditions could explain"
            names = f" Answer with names from this list: {'; '.join(self.conditions)}." if self.list_conditions else ""
            question = f"{describe(row.age, row.sex, initial, findings)}\n{ask} this presentation?{names}"
        p = dict(row.differential)
        if self.target == "pathology":
            right = [row.pathology]
        elif self.references == "top":
            right = [name for name, _ in row.differential[: self.top]]
        else:
            right = [name for name, q in row.differential if q >= self.threshold] or [row.differential[0][0]]
        file = "train" if split == "validation" and self._read.get("validation") is None else split
        return Example(
            f"ddxplus-{file}-{row.number}",
            question,
            tuple(Reference(name, self._aliases[name], p.get(name, 0.0)) for name in right),
            distribution=p,
            exclusive=self.target == "pathology",
            meta={"pathology": row.pathology, "age": row.age, "sex": row.sex, "evidences": list(row.tokens)},
        )


class _Rendered(Sequence[Example]):
    """Examples rendered from rows on access: a million of them cost no more than their order."""

    def __init__(self, rows: Sequence[Row], order: np.ndarray, render: Callable[[Row], Example]) -> None:
        self._rows, self._order, self._render = rows, order, render

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _Rendered(self._rows, self._order[index], self._render)
        return self._render(self._rows[int(self._order[index])])


def _equal_pathologies(rows: Sequence[Row]) -> np.ndarray:
    """Probability of each row, shape (rows,), so that every pathology that occurs is equally likely."""
    _, index_N, count_P = np.unique([row.pathology for row in rows], return_inverse=True, return_counts=True)
    return 1.0 / (len(count_P) * count_P[index_N])
