"""A fitted probe: from hidden states to probabilities (layer L2); its file is `polymode.runs.probes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymode.errors import RecordError
from polymode.probe.levels import Levels
from polymode.probe.logistic import Floats

Ints = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Probe:
    """p(answer is right | hidden state) = sigmoid(slope (x - mean) / scale . w + intercept of the slot)."""

    layer: int
    """Layer of the states (`polymode.decoding.hidden_states`)."""
    penalty: float
    """Of the regression, chosen with the layer by cross-validation."""
    mean_F: Floats
    scale_F: Floats
    weights_FJ: Floats
    """Weights without each of the J - 1 folds, then of all questions; of standardised features."""
    fold_of: Mapping[str, int]
    """Fold of each question that it was fitted to, by the question's text: it is predicted without that fold."""
    levels_J: tuple[Levels, ...]
    """Levels that go with each column of the weights: without each fold, then of all questions."""
    slot_rate_K: Floats
    """Share of right answers of each slot: what the slot's number alone would say; NaN without answers."""
    n: int
    """Answers that it was fitted to."""
    log_loss: float
    """Mean log loss, in nats, on folds that nothing was fitted to or chosen on."""
    slot_log_loss: float
    """That of the slot's number alone, on the same folds."""
    model: str = ""
    """Name or folder of the model whose states it reads; empty when unknown."""

    def __call__(self, features_NF: Floats, slot_N: Ints, questions_N: Sequence[str] | None = None) -> Floats:
        """Probability that each answer is right, shape (N,).

        Args:
            features_NF: hidden states of `layer`.
            slot_N: slot of each answer, from 0.
            questions_N: text of each answer's question, so that those of the fit are predicted without their fold: by
                weights and levels that never saw it, of a layer and a penalty that were chosen on all.

        Raises:
            RecordError: states of another width, or a slot that the fit had no answers of.
        """
        features_NF = np.asarray(features_NF, dtype=float)
        if features_NF.ndim != 2 or features_NF.shape[1] != len(self.mean_F):
            raise RecordError(
                f"features: shape {features_NF.shape}; the probe reads states of {len(self.mean_F)} numbers"
            )
        last = self.weights_FJ.shape[1] - 1
        folds = [last] * len(features_NF) if questions_N is None else [self.fold_of.get(q, last) for q in questions_N]
        z_NJ = ((features_NF - self.mean_F) / self.scale_F) @ self.weights_FJ
        fold_N, slot_N, p_N = np.array(folds, int), np.asarray(slot_N, int), np.empty(len(z_NJ))
        for fold in set(folds):
            own_N = fold_N == fold
            p_N[own_N] = self.levels_J[fold](z_NJ[own_N, fold], slot_N[own_N])
        return p_N

    def slot_rate(self, slot_N: Ints) -> Floats:
        """What the slot's number alone says of each answer; NaN for a slot without answers in the fit."""
        rate_K = np.append(self.slot_rate_K, np.nan)
        return rate_K[np.minimum(np.asarray(slot_N, int), len(rate_K) - 1)]


@dataclass(frozen=True, eq=False)
class ProbeFit:
    """A probe and what its fit says of the answers that it was fitted to."""

    probe: Probe
    p_N: Floats
    """Cross-fitted probabilities: of each answer from other questions, which chose the layer and the penalty too."""
    log_loss_LP: Floats
    """Held-out log loss of each layer and penalty; the least is too good by the choice."""


def log_losses(p_N: Floats, y_N: Floats) -> Floats:
    """Cross-entropy of each label in [0, 1], in nats; ``p_N`` may have further axes in front."""
    p_N = np.clip(p_N, 1e-12, 1 - 1e-12)
    return -(y_N * np.log(p_N) + (1 - y_N) * np.log1p(-p_N))


def slot_rates(y_N: Floats, slot_N: Ints) -> Floats:
    """Share of right answers of each slot; NaN for a slot without answers."""
    count_K = np.bincount(slot_N)
    return np.where(count_K > 0, np.bincount(slot_N, y_N) / np.maximum(count_K, 1), np.nan)
