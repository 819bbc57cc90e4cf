"""Associations of DDXPlus findings with conditions, counted on training rows: the reasoning of demonstrations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import sparse

from polymode.tasks.ddxplus_english import Evidence, Finding, finding_of
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
        self._column = {name: i for i, name in enumerate(conditions)}
        self._evidences = evidences
        self._finding: dict[str, int] = {}
        per_pathology: dict[str, int] = {}
        for row in rows:
            per_pathology[row.pathology] = per_pathology.get(row.pathology, 0) + 1
        scale = len(rows) / max(1, len(per_pathology))
        weight_N = np.array([scale / per_pathology[row.pathology] for row in rows])
        p_NC = sparse.csr_matrix(self._triplets(((self._column[c], p) for c, p in row.differential) for row in rows))
        p_NC.resize(len(rows), len(conditions))
        has_NF = sparse.csr_matrix(self._triplets(((f, 1.0) for f in self._findings_of(row.tokens)) for row in rows))
        has_NF.resize(len(rows), len(self._finding))
        weighted_NC = sparse.diags(weight_N) @ p_NC
        overall_C = np.asarray(weighted_NC.sum(0)).ravel() + 1e-9
        self.overall = overall_C / overall_C.sum()
        counts_FC = np.asarray((has_NF.T @ weighted_NC).todense()) + _SMOOTHING * self.overall
        self.given_finding = counts_FC / counts_FC.sum(1, keepdims=True)
        together_CC = np.asarray((p_NC.T @ weighted_NC).todense()) + 1e-9
        np.fill_diagonal(together_CC, 0.0)
        self.neighbours = together_CC / np.maximum(together_CC.sum(1, keepdims=True), 1e-12)

    def telling(self, tokens: Iterable[str]) -> list[tuple[str, np.ndarray]]:
        """Label of each counted finding and its lift P(condition | finding) / P(condition), shape (conditions,)."""
        known = [(token, self._finding[token]) for token in tokens if token in self._finding]
        return [(finding_of(token, self._evidences).label, self.given_finding[i] / self.overall) for token, i in known]

    def _findings_of(self, tokens: Iterable[str]) -> list[int]:
        return [
            self._finding.setdefault(token, len(self._finding)) for token in dict.fromkeys(tokens) if self._tells(token)
        ]

    def _tells(self, token: str) -> bool:
        finding: Finding = finding_of(token, self._evidences)
        return not finding.is_default and not finding.is_number

    @staticmethod
    def _triplets(
        rows: Iterable[Iterable[tuple[int, float]]],
    ) -> tuple[list[float], tuple[list[int], list[int]]]:
        """Values with their (row, column), as scipy.sparse takes them."""
        values: list[float] = []
        at: tuple[list[int], list[int]] = ([], [])
        for i, entries in enumerate(rows):
            for column, value in entries:
                values.append(value)
                at[0].append(i)
                at[1].append(column)
        return values, at
