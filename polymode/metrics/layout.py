"""What the sums of some questions have to know of all of them: numbers of bins, groups and slots (layer L2).

Statistics of a large file are computed from some of its questions at a time. Which sums a question has must not depend
on who stands beside it. Axis ``_U``: different confidences, rising.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polymode.metrics import coverage
from polymode.metrics.table import DECIMALS, Floats, Ints, JudgedTable, Tables, compress
from polymode.uncertainty import mean_of_questions, ratio


@dataclass(frozen=True, eq=False)
class SumLayout:
    """Facts about all questions."""

    k: int
    """Most answers that a set was asked for; 0 without sets."""
    k_of_completions: int
    n_completions_typical: int
    """Completions that at least half of the questions have."""
    q_U: Floats
    """Confidences of answers."""
    count_U: Ints
    """Answers with each of them."""
    keys_U: Floats
    """2 slot + q of answers, to `DECIMALS`."""
    tops_U: Floats
    """Confidences of sets' top answers, to `DECIMALS`."""
    n_slots: int
    """Slots that have answers with a confidence; at least 1, as below."""
    n_slots_of_p: int
    """Those that have some of known probability."""
    has_confidences: bool
    """Whether a set has a confidence for each of its answers."""
    n_true_U: Ints
    """Numbers of references that sets have."""
    most: dict[str, float]
    """Upper limits that the questions set to counts of hits, by metric."""

    @classmethod
    def of(cls, parts: Iterable[Tables]) -> SumLayout:
        """The facts about questions, some at a time, in their order; at least one part, which may be empty."""
        facts = _Facts()
        for tables in parts:
            facts.add(*tables)
        return facts.layout()

    @property
    def groups_U(self) -> Floats:
        """Confidences of answers, to `DECIMALS`."""
        return np.unique(np.round(self.q_U, DECIMALS))


@dataclass
class _Facts:
    """What is found so far."""

    numbers: dict[str, int] = field(default_factory=dict)
    """Largest numbers."""
    different: dict[str, Any] = field(default_factory=dict)
    """Different values, rising."""
    counts: Any = None
    n_completions: list[Ints] = field(default_factory=list)
    most: list[dict[str, tuple[Floats, Floats]]] = field(default_factory=list)
    """Of each part."""
    has_confidences: bool = False

    def add(self, sets: JudgedTable, completions: JudgedTable, answers: JudgedTable) -> None:
        q_A, slot_A, p_A = compress(~np.isnan(answers.q), answers.q, answers.slot, answers.p)
        self._set_largest("k", int(sets.k.max(initial=0)))
        self._set_largest("k_of_completions", int(completions.k.max(initial=1)))
        self._set_largest("n_slots", int(slot_A.max(initial=0)) + 1)
        self._set_largest("n_slots_of_p", int(slot_A[~np.isnan(p_A)].max(initial=0)) + 1)
        self._count(q_A)
        self._add_values("keys_U", np.round(2.0 * slot_A + q_A, DECIMALS))
        has_top_N, top_N, _ = coverage.top_answer(sets)
        self._add_values("tops_U", np.round(top_N[has_top_N & ~np.isnan(top_N)], DECIMALS))
        self._add_values("n_true_U", sets.n_references)
        self.has_confidences |= bool(sets.has_all_confidences.any())
        self.n_completions.append(np.bincount(completions.question, minlength=completions.n_questions))
        self._limit(sets)

    def _set_largest(self, name: str, number: int) -> None:
        self.numbers[name] = max(number, self.numbers.get(name, 0))

    def _add_values(self, name: str, items: Any) -> None:
        new = np.unique(items)
        self.different[name] = np.union1d(self.different[name], new) if name in self.different else new

    def _count(self, q_N: Floats) -> None:
        new, count = np.unique(q_N, return_counts=True)
        if self.counts is not None:
            before, number = self.different["q_U"], np.union1d(self.different["q_U"], new)
            total = np.zeros(len(number), dtype=np.int64)
            for values, n in ((before, self.counts), (new, count)):
                total[np.searchsorted(number, values)] += n
            new, count = number, total
        self.different["q_U"], self.counts = new, count

    def _limit(self, sets: JudgedTable) -> None:
        """What min(N, K) hits of a set are on the average over its question."""
        most_N = np.minimum(sets.n_references, sets.k).astype(float)
        most = {
            "coverage": most_N,
            "precision": most_N / np.maximum(sets.k, 1),
            "recall": ratio(most_N, sets.n_references),
        }
        for n in range(1, int(sets.k.max(initial=0)) + 1):
            most[f"coverage@{n}"] = np.minimum(most_N, n)
        means = {name: mean_of_questions(sets.question, x_N, sets.n_questions).sums for name, x_N in most.items()}
        self.most.append({name: (total_P, count_P.astype(bool)) for name, (total_P, count_P) in means.items()})

    def layout(self) -> SumLayout:
        n_P, limits = np.concatenate(self.n_completions), {}
        for name in ("coverage", "precision", "recall", *(f"coverage@{n}" for n in range(1, self.numbers["k"] + 1))):
            parts = [part.get(name, part["coverage"]) for part in self.most]  # beyond the K of a part, all count
            total, count = (np.concatenate(arrays).astype(float).sum() for arrays in zip(*parts, strict=True))
            if count:
                limits[name] = float(ratio(total, count))
        return SumLayout(
            **self.numbers,
            **self.different,
            n_completions_typical=int(np.sort(n_P)[len(n_P) // 2]) if len(n_P) else 0,
            count_U=self.counts,
            has_confidences=self.has_confidences,
            most=limits,
        )
