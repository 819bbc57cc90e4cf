"""From held-out logits to probabilities with a level of their own in each slot (layer L2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from polymode.errors import RecordError

Floats = NDArray[Any]
Ints = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Levels:
    """p = sigmoid(slope z + intercept of the slot), with slope >= 0."""

    slope: float
    intercept_K: Floats
    """Of slots 0, 1, ...; one number where the slot is left out of account; NaN for a slot without labels."""

    def __call__(self, z_N: Floats, slot_N: Ints | None = None) -> Floats:
        """Probabilities of items; raises RecordError for a slot that there were no labels of."""
        index_N = np.zeros(len(z_N), int) if slot_N is None or len(self.intercept_K) == 1 else np.asarray(slot_N, int)
        if len(index_N) and (index_N.max() >= len(self.intercept_K) or np.isnan(self.intercept_K[index_N]).any()):
            raise RecordError(
                f"slot {index_N.max() + 1} has no level: the probe was fitted to answers of slots "
                f"{', '.join(str(i + 1) for i in np.flatnonzero(~np.isnan(self.intercept_K)))}"
            )
        return expit(self.slope * z_N + self.intercept_K[index_N])


def fit_levels(z_N: Floats, y_N: Floats, slot_N: Ints | None = None) -> Levels:
    """Levels of maximum likelihood, by which the mean probability of each slot equals its mean label.

    Logits of cross-fitted regressions are ranked well but too far out, or in, and their level is that of other
    questions: one slope and one intercept per slot, fitted to the held-out logits (Platt 1999), mend both, and the
    score equation of an intercept is sum p = sum y. A slope below 0, noise that would turn the order round, becomes 0.

    Labels of a slot that are all 0, or all 1, would send its intercept to infinity: they count as (n y + 1/2) / (n + 1)
    (Krichevsky and Trofimov), the one case in which the two means differ.

    Args:
        z_N: held-out logits.
        y_N: labels in [0, 1].
        slot_N: slot of each answer, from 0; None: one level for all.
    """
    index_N = np.zeros(len(z_N), int) if slot_N is None else np.asarray(slot_N, int)
    count_K = np.bincount(index_N).astype(float)
    sum_K = np.bincount(index_N, y_N)
    is_mixed_K = (sum_K > 0) & (sum_K < count_K)
    rate_K = np.where(is_mixed_K, sum_K / np.maximum(count_K, 1), (sum_K + 0.5) / (count_K + 1))
    target_N = np.where(is_mixed_K[index_N], y_N, rate_K[index_N])
    spread = float(np.std(z_N))
    x_N = z_N / spread if spread > 1e-12 else np.zeros(len(z_N))
    weight = 1 / len(z_N)

    def loss(theta: Floats) -> tuple[float, Floats]:
        logit_N = theta[0] * x_N + theta[1:][index_N]
        residual_N = (expit(logit_N) - target_N) * weight
        value = float((np.logaddexp(0, logit_N) - target_N * logit_N).sum() * weight)
        return value, np.append(residual_N @ x_N, np.bincount(index_N, residual_N, len(count_K)))

    safe_K = np.clip(rate_K, 1e-9, 1 - 1e-9)  # a slot without labels, between others: never looked up
    start = np.append(float(spread > 1e-12), np.log(safe_K / (1 - safe_K)))
    bounds = [(0.0, None)] + [(None, None)] * len(count_K)
    options = {"maxiter": 1000, "gtol": 1e-10, "ftol": 1e-16}
    fit = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return Levels(float(fit.x[0]) / spread if spread > 1e-12 else 0.0, np.where(count_K > 0, fit.x[1:], np.nan))


def levels_of_folds(z_N: Floats, y_N: Floats, slot_N: Ints | None, fold_N: Ints) -> list[Levels]:
    """`fit_levels` without each fold in turn, so that no level knows a label that it is applied to.

    A slot whose labels all lie in one fold gets the level of all slots there.
    """
    out: list[Levels] = []
    for fold in range(int(fold_N.max()) + 1):
        other_N = fold_N != fold
        levels = fit_levels(z_N[other_N], y_N[other_N], None if slot_N is None else slot_N[other_N])
        if slot_N is not None and not set(slot_N.tolist()) <= set(slot_N[other_N].tolist()):
            width = int(slot_N.max()) + 1 - len(levels.intercept_K)
            intercept_K = np.append(levels.intercept_K, np.full(width, np.nan))
            shared = fit_levels(z_N[other_N], y_N[other_N]).intercept_K[0]
            levels = Levels(levels.slope, np.where(np.isnan(intercept_K), shared, intercept_K))
        out.append(levels)
    return out
