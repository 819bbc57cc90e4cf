"""Penalised logistic regression against scikit-learn, and its gradient against differences."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from polymode.probe.logistic import _loss, penalised_path, standardise

RNG = np.random.default_rng(3)


def problem(n: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of very different sizes that depend on each other, one constant, and labels."""
    x_NF = RNG.standard_normal((n, width)) @ RNG.standard_normal((width, width)) * np.logspace(-2, 2, width) + 5
    x_NF[:, 0] = 7.0
    z_N = (x_NF[:, -1] - x_NF[:, -1].mean()) / x_NF[:, -1].std()
    return x_NF, (RNG.random(n) < expit(1.5 * z_N - 0.5)).astype(float)


@pytest.mark.parametrize(("n", "width"), [(200, 12), (30, 50)])  # more items than features, and fewer
def test_each_fit_of_the_path_is_that_of_scikit_learn(n: int, width: int) -> None:
    x_NF, y_N = problem(n, width)
    x = standardise(x_NF)
    standard_NF = (x_NF - x_NF.mean(0)) / np.where(x_NF.std(0) > 1e-9, x_NF.std(0), 1.0)
    is_used_NJ = np.arange(n)[:, None] % 3 != np.arange(4)  # three folds, and all
    penalties = (1.0, 0.1, 0.01)
    for penalty, weights_DJ in zip(penalties, penalised_path(x.scores_ND, y_N, is_used_NJ, penalties), strict=True):
        for j in range(4):
            used_N = is_used_NJ[:, j]
            theirs = LogisticRegression(C=1 / (used_N.sum() * penalty), tol=1e-10, max_iter=10_000)
            theirs.fit(standard_NF[used_N], y_N[used_N])
            assert x.axes_FD @ weights_DJ[:, j] == pytest.approx(theirs.coef_[0], abs=2e-4)


def test_principal_axes_keep_all_that_the_features_say() -> None:
    for n, width in ((40, 9), (9, 40)):
        x_NF = RNG.standard_normal((n, width)) * 3 + 1
        x = standardise(x_NF)
        assert x.scores_ND @ x.axes_FD.T == pytest.approx((x_NF - x_NF.mean(0)) / x_NF.std(0), abs=1e-9)
        assert x.axes_FD.T @ x.axes_FD == pytest.approx(np.eye(x.axes_FD.shape[1]), abs=1e-9)
        assert x.axes_FD.shape[1] == min(n - 1, width)  # centring takes one dimension


def test_soft_labels_are_those_of_repeated_items() -> None:
    """An item of label 0.25 counts like one right and three wrong ones."""
    x_NF, _ = problem(40, 5)
    soft_N = RNG.integers(0, 5, 40) / 4
    x = standardise(x_NF)
    repeated_N = np.repeat(np.arange(40), 4)
    hard_N = (np.tile(np.arange(4), 40) < 4 * soft_N[repeated_N]).astype(float)
    [soft] = penalised_path(x.scores_ND, soft_N, np.ones((40, 1), bool), [0.05])
    [hard] = penalised_path(x.scores_ND[repeated_N], hard_N, np.ones((160, 1), bool), [0.05])
    assert soft == pytest.approx(hard, abs=1e-4)


def test_the_gradient_is_that_of_the_loss() -> None:
    x_ND, y_N = RNG.standard_normal((20, 4)), RNG.random(20)
    weight_NJ = RNG.random((20, 3)) / 20
    scale_DJ = RNG.random((4, 3)) + 0.5

    def loss(theta: np.ndarray) -> float:
        return _loss(x_ND, y_N, weight_NJ, 0.3, scale_DJ, theta)[0]

    def gradient(theta: np.ndarray) -> np.ndarray:
        return _loss(x_ND, y_N, weight_NJ, 0.3, scale_DJ, theta)[1]

    assert check_grad(loss, gradient, RNG.standard_normal(15)) < 1e-6
