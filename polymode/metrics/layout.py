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
from polymode.metrics.table import Floats, Ints, JudgedTable, compress
from polymode.uncertainty import mean_of_questions, ratio

Tables = tuple[JudgedTable, JudgedTable, JudgedTable]
"""The answer sets that are compared, the completions, and the answers whose calibration is checked."""
DECIMALS = 12
"""Confidences that agree to so many are equal."""


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
    n_true: list[int]
    """Numbers of references that sets have."""
    most: dict[str, float]
    """Upper limits that the questions set to counts of hits, by metric."""

    @classmethod
    def of(cls, parts: Iterable[Tables]) -> SumLayout:
        """The facts about questions, some at a time, in their order."""
        facts = _Facts()
        for tables in parts:
            facts.add(*tables)
        return facts.layout()

    @property
    def groups_U(self) -> Floats:
        """Confidences of answers, to `DECIMALS`."""
        return np.unique(np.round(self.q_U, DECIMALS))

    def mass_bins(self, q_N: Floats, n_bins: int) -> Ints:
        """`polymode.metrics.calibration.mass_bins` among the confidences of all answers."""
        below_U = np.concatenate([[0], np.cumsum(self.count_U)])
        n_below_N = below_U[np.searchsorted(self.q_U, q_N - 1e-12)]
        return n_below_N * n_bins // max(int(below_U[-1]), 1)


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
        self._raise("k", int(sets.k.max(initial=0)))
        self._raise("k_of_completions", int(completions.k.max(initial=1)))
        self._raise("n_slots", int(slot_A.max(initial=0)) + 1)
        self._raise("n_slots_of_p", int(slot_A[~np.isnan(p_A)].max(initial=0)) + 1)
        self._count(q_A)
        self._meet("keys_U", np.round(2.0 * slot_A + q_A, DECIMALS))
        has_top_N, top_N, _ = coverage.top_answer(sets)
        self._meet("tops_U", np.round(top_N[has_top_N & ~np.isnan(top_N)], DECIMALS))
        self._meet("n_true", sets.n_references)
        has_all_N = sets.is_well_formed & (sets.per_set(np.isnan(sets.q)) == 0)
        self.has_confidences |= bool(has_all_N.any())
        self.n_completions.append(np.bincount(completions.question, minlength=completions.n_questions))
        self._limit(sets)

    def _raise(self, name: str, number: int) -> None:
        self.numbers[name] = max(number, self.numbers.get(name, 0))

    def _meet(self, name: str, items: Any) -> None:
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
        n_P = np.concatenate(self.n_completions or [np.empty(0, dtype=np.int64)])
        limits, k = {}, self.numbers.get("k", 0)
        for name in (
            ("coverage", "precision", "recall", *(f"coverage@{n}" for n in range(1, k + 1))) if self.most else ()
        ):
            parts = [part.get(name, part["coverage"]) for part in self.most]  # beyond the K of a part, all count
            total, count = (np.concatenate(arrays).astype(float).sum() for arrays in zip(*parts, strict=True))
            if count:
                limits[name] = float(ratio(total, count))
        nothing = np.empty(0)
        return SumLayout(
            k=k,
            k_of_completions=self.numbers.get("k_of_completions", 1),
            n_completions_typical=int(np.sort(n_P)[len(n_P) // 2]) if len(n_P) else 0,
            q_U=self.different.get("q_U", nothing),
            count_U=nothing.astype(int) if self.counts is None else self.counts,
            keys_U=self.different.get("keys_U", nothing),
            tops_U=self.different.get("tops_U", nothing),
            n_slots=self.numbers.get("n_slots", 1),
            n_slots_of_p=self.numbers.get("n_slots_of_p", 1),
            has_confidences=self.has_confidences,
            n_true=self.different["n_true"].tolist() if "n_true" in self.different else [],
            most=limits,
        )
