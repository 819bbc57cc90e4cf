"""Judged completions that replay learns from again, and the probe that is fitted to them (layer L4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from polymode.errors import RecordError
from polymode.probe import cross_fitted
from polymode.probe.fitting import check_labels
from polymode.training.confidence_tokens import Stated
from polymode.training.divergence import Reference


@dataclass(slots=True, eq=False)
class JudgedCompletion:
    """What the buffer holds."""

    prompt: list[int]
    """Tokens."""
    ids: list[int]
    stated: Sequence[Stated]
    labels: Sequence[float]
    """By slot."""
    question: str
    """What it is known by, whatever its id: answers to one question are not predicted from each other."""
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """Hidden state in front of each confidence, by slot."""
    probe: dict[int, float] = field(default_factory=dict)
    """What the probe says, by slot."""
    reference: Reference | None = None
    """Probabilities of its tokens before the steps that are being taken."""

    def label(self, slot: int) -> float:
        """What the confidence is scored against: the probe's probability where there is one, else the verdict."""
        return self.probe.get(slot, self.labels[slot])


SAVED = ("prompt", "ids", "stated", "labels", "question", "features", "probe")
"""What a checkpoint holds of each."""


def fit_probe(buffer: Sequence[JudgedCompletion]) -> None:
    """Cross-fitted probabilities for all answers of the buffer whose states are there; verdicts where it cannot."""
    items = [(c, slot) for c in buffer for slot in c.features]
    for c in buffer:
        c.probe = {}
    labels_N = np.array([c.labels[slot] for c, slot in items])
    questions_N = [c.question for c, _ in items]
    try:
        check_labels(labels_N, questions_N)
    except RecordError:  # too few answers yet, or all of one verdict
        return
    features_NF = np.stack([c.features[slot] for c, slot in items])
    slots_N = np.array([slot for _, slot in items])
    p_N = cross_fitted(features_NF, labels_N, questions_N, slots_N)
    for (c, slot), p in zip(items, p_N, strict=True):
        c.probe[slot] = float(p)
