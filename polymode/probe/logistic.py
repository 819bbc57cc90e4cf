"""Logistic regression with an L2 penalty, for several training sets at once (layer L2).

The folds of a cross-validation share their features, so their fits are columns of one problem: each pass over the
features serves them all, which costs little more than one fit. In the features' principal axes, divided by the root of
its curvature, the problem is nearly round, and L-BFGS needs about ten passes instead of hundreds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

Floats = NDArray[Any]

_ROUNDING = 1e-10
"""Axes with less than this share of the largest variance are rounding noise."""


@dataclass(frozen=True, eq=False)
class Standardised:
    """Features with mean 0 and deviation 1, in their principal axes."""

    scores_ND: Floats
    """D axes, at most the number of features and of items."""
    axes_FD: Floats
    """Orthonormal; what turns weights of the axes into weights of the features."""
    mean_F: Floats
    scale_F: Floats
    """Standard deviations; 1 for a feature that never changes."""


def standardise(features_NF: Floats) -> Standardised:
    """Standardise the features and turn them into their principal axes; leaves out none that has variance."""
    mean_F, scale_F = features_NF.mean(0), features_NF.std(0)
    scale_F = np.where(scale_F > 1e-12 * (1 + np.abs(mean_F)), scale_F, 1.0)
    x_NF = (features_NF - mean_F) / scale_F
    n, width = x_NF.shape
    if n < width:  # the same axes, from the smaller of the two products
        value_D, left_ND = np.linalg.eigh(x_NF @ x_NF.T)
        is_real_D = value_D > _ROUNDING * max(value_D[-1], 1e-300)
        axes_FD = (x_NF.T @ left_ND[:, is_real_D]) / np.sqrt(value_D[is_real_D])
    else:
        value_D, axes_FD = np.linalg.eigh(x_NF.T @ x_NF) if width else (np.empty(0), np.empty((0, 0)))
        axes_FD = axes_FD[:, value_D > _ROUNDING * max(value_D.max(initial=0.0), 1e-300)]
    return Standardised(np.ascontiguousarray(x_NF @ axes_FD), axes_FD, mean_F, scale_F)


def penalised_path(
    scores_ND: Floats, y_N: Floats, is_used_NJ: NDArray[np.bool_], penalties: Sequence[float]
) -> Iterator[Floats]:
    """Weights of J logistic regressions for each penalty, each of shape (D, J), the intercepts left out.

        minimise  mean over used i of CE(y_i, sigmoid(b_j + x_i w_j))  +  penalty / 2 |w_j|^2

    with CE(y, p) = -y log p - (1 - y) log(1 - p); scikit-learn's C is 1 / (n penalty).

    Args:
        scores_ND: features, best in their principal axes.
        y_N: labels in [0, 1].
        is_used_NJ: which items each regression is fitted to.
        penalties: best falling: each fit starts from the one before.
    """
    weight_NJ = is_used_NJ / is_used_NJ.sum(0)
    rate_J = np.clip(y_N @ weight_NJ, 1e-3, 1 - 1e-3)
    variance_D = np.square(scores_ND).mean(0)
    theta_DJ = np.zeros((scores_ND.shape[1], is_used_NJ.shape[1]))
    intercept_J = np.log(rate_J / (1 - rate_J))
    for penalty in penalties:
        # Curvature of the mean cross-entropy along an axis is at most rate (1 - rate) times its variance at w = 0.
        scale_DJ = 1 / np.sqrt(variance_D[:, None] * rate_J * (1 - rate_J) + penalty)
        start = np.concatenate([(theta_DJ / scale_DJ).ravel(), intercept_J])
        loss = partial(_loss, scores_ND, y_N, weight_NJ, penalty, scale_DJ)
        fit = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-6, "ftol": 1e-13})
        theta_DJ = fit.x[: theta_DJ.size].reshape(theta_DJ.shape) * scale_DJ
        intercept_J = fit.x[theta_DJ.size :]
        yield theta_DJ


def _loss(
    scores_ND: Floats, y_N: Floats, weight_NJ: Floats, penalty: float, scale_DJ: Floats, x: Floats
) -> tuple[float, Floats]:
    """Sum of the J objectives and its gradient in the rescaled weights."""
    theta_DJ = x[: scale_DJ.size].reshape(scale_DJ.shape) * scale_DJ
    logit_NJ = scores_ND @ theta_DJ + x[scale_DJ.size :]
    entropy_NJ = np.logaddexp(0, logit_NJ) - y_N[:, None] * logit_NJ
    residual_NJ = weight_NJ * (expit(logit_NJ) - y_N[:, None])
    gradient_DJ = (scores_ND.T @ residual_NJ + penalty * theta_DJ) * scale_DJ
    value = (weight_NJ * entropy_NJ).sum() + penalty / 2 * np.square(theta_DJ).sum()
    return float(value), np.concatenate([gradient_DJ.ravel(), residual_NJ.sum(0)])
