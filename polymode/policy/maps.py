"""Fits recalibration maps to confidences and labels (layer L2). Needs scipy; applying a map does not."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression, minimize, minimize_scalar
from scipy.special import expit, xlog1py, xlogy

from polymode.errors import ConfigError, one_of
from polymode.policy.recalibration import METHODS, Recalibration, logit
from polymode.policy.records import Floats

MIN_ANSWERS = 50
"""Fewest answers that a map is fitted to."""
TEMPERATURES = (0.02, 50.0)
"""Range of temperatures."""


def fit_map(method: str, q: Floats, y: Floats) -> Recalibration:
    """The map that fits confidences to labels best.

    isotonic: least squares among all non-decreasing maps, equal confidences pooled (Zadrozny & Elkan 2002). platt:
    largest likelihood of slope and intercept of the logit, with Platt's labels (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) in
    place of 1 and 0, which keep it finite (Platt 1999). temperature: largest likelihood of the one number T (Guo et al.
    2017, https://arxiv.org/abs/1706.04599).

    Args:
        method: isotonic, platt or temperature.
        q: confidences in [0, 1], shape (n,).
        y: labels 0 or 1, shape (n,).

    Raises:
        ConfigError: unknown method, fewer than MIN_ANSWERS answers, only right or only wrong ones, or confidences that
            are higher for wrong answers than for right ones.
    """
    one_of("recalibrate", method, METHODS)
    n, n_right = len(q), int(y.sum())
    if n < MIN_ANSWERS:
        raise ConfigError(
            f"recalibrate = {method!r} needs {MIN_ANSWERS} answers, here are {n}: use more records or none"
        )
    if n_right in (0, n):
        raise ConfigError(f"recalibrate = {method!r} needs right and wrong answers, here are {n_right} right of {n}")
    if method == "isotonic":
        return Recalibration(method, n, points=_isotonic(q, y))
    x = np.array([logit(value) for value in q.tolist()])
    if method == "temperature":
        low, high = np.log(TEMPERATURES)
        options = {"xatol": 1e-7}
        best: Any = minimize_scalar(
            lambda t: _loss(x * np.exp(-t), y), bounds=(low, high), method="bounded", options=options
        )
        return Recalibration(method, n, slope=float(np.exp(-best.x)))
    labels = np.where(y == 1, (n_right + 1) / (n_right + 2), 1 / (n - n_right + 2))
    best = minimize(lambda p: _loss(p[0] * x + p[1], labels), np.array([1.0, 0.0]), method="BFGS")
    slope, intercept = (float(value) for value in best.x)
    if slope <= 0:
        raise ConfigError(
            f"recalibrate = 'platt': wrong answers have the higher confidences (slope {slope:.3g}): no rising map fits"
        )
    return Recalibration(method, n, slope, intercept)


def _isotonic(q: Floats, y: Floats) -> tuple[tuple[float, float], ...]:
    x, where, counts = np.unique(q, return_inverse=True, return_counts=True)
    fitted: Any = isotonic_regression(np.bincount(where, y) / counts, weights=counts.astype(float))
    fit: Floats = fitted.x
    # Interior points of a flat stretch are redundant.
    flat = np.diff(fit) == 0
    inner = np.concatenate([[False], flat]) & np.concatenate([flat, [False]])
    return tuple(zip(x[~inner].tolist(), np.clip(fit[~inner], 0, 1).tolist(), strict=True))


def _loss(logits: Floats, y: Floats) -> float:
    """Mean log loss."""
    p = expit(logits)
    return -float(np.mean(xlogy(y, p) + xlog1py(1 - y, -p)))
