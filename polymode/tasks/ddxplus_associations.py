"""Associations of DDXPlus findings with conditions, counted on training rows: the reasoning of demonstrations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat

import numpy as np
from scipy import sparse

from polymode.tasks.ddxplus_english import Evidence, finding_of
from polymode.tasks.ddxplus_rows import Row

_SMOOTHING = 1.0
"""Weight, in patients, of the overall distribution added to each finding, so that rare findings count for little."""


class Associations:
    """P(condition | finding), with each patient's differential as soft counts and every pathology weighing the same.

    Args:
        rows: training patients.
        evidences: evidences by code.
        conditions: English names of all conditions.
    """

    def __init__(self, rows: Sequence[Row], evidences: Mapping[str, Evidence], conditions: Sequence[str]) -> None:
        column = {name: i for i, name in enumerate(conditions)}
        self._evidences = evidences
        self._finding: dict[str, int] = {}
        per_pathology = Counter(row.pathology for row in rows)
        scale = len(rows) / max(1, len(per_pathology))
        weight_N = np.array([scale / per_pathology[row.pathology] for row in rows])
        p_N_C = _matrix(
            [[column[name] for name, _ in row.differential] for row in rows],
            (p for row in rows for _, p in row.differential),
            len(conditions),
        )
        finding_N = [self._findings_of(row.tokens) for row in rows]
        has_N_F = _matrix(finding_N, repeat(1.0), len(self._finding))
        weighted_N_C = sparse.diags(weight_N) @ p_N_C
        overall_C = np.asarray(weighted_N_C.sum(0)).ravel() + 1e-9
        p_C = overall_C / overall_C.sum()
        counts_F_C = np.asarray((has_N_F.T @ weighted_N_C).todense()) + _SMOOTHING * p_C
        self._lift_F_C = counts_F_C / counts_F_C.sum(1, keepdims=True) / p_C
        together_C_C = np.asarray((p_N_C.T @ weighted_N_C).todense()) + 1e-9
        np.fill_diagonal(together_C_C, 0.0)
        self.neighbours = together_C_C / np.maximum(together_C_C.sum(1, keepdims=True), 1e-12)

    def telling(self, tokens: Iterable[str]) -> list[tuple[str, np.ndarray]]:
        """Label of each counted finding and its lift P(condition | finding) / P(condition), shape (conditions,)."""
        return [
            (finding_of(token, self._evidences).label, self._lift_F_C[self._finding[token]])
            for token in tokens
            if token in self._finding
        ]

    def _findings_of(self, tokens: Iterable[str]) -> list[int]:
        return [
            self._finding.setdefault(token, len(self._finding))
            for token in dict.fromkeys(tokens)
            if not ((finding := finding_of(token, self._evidences)).is_default or finding.is_number)
        ]


def _matrix(column_N: Sequence[Sequence[int]], values: Iterable[float], width: int) -> sparse.csr_matrix:
    """A sparse matrix from the columns of each row and all values, row by row."""
    ends = np.cumsum([0, *map(len, column_N)])
    columns = np.fromiter(chain.from_iterable(column_N), np.int32, ends[-1])
    return sparse.csr_matrix((np.fromiter(values, float, ends[-1]), columns, ends), shape=(len(column_N), width))
