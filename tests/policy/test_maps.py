"""Fitted maps, held against scikit-learn."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from polymode.errors import ConfigError
from polymode.policy.maps import fit_map
from polymode.policy.recalibration import logit


def sample(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overconfident stated confidences, multiples of 0.05, and labels."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 2, n)
    return np.round(p**0.6 * 20) / 20, (rng.random(n) < p).astype(float)


class Stated(ClassifierMixin, BaseEstimator):
    """A classifier whose decision function is its input, for scikit-learn to recalibrate."""

    classes_ = np.array([0.0, 1.0])

    def fit(self, X: np.ndarray, y: np.ndarray) -> "Stated":
        self.fitted_ = True
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        return X[:, 0]

    def predict(self, X: np.ndarray) -> np.ndarray:
        return (X[:, 0] > 0).astype(float)


def test_isotonic_is_that_of_scikit_learn() -> None:
    q, y = sample()
    theirs = IsotonicRegression(out_of_bounds="clip").fit(q, y)
    grid = np.linspace(0, 1, 101)
    ours = fit_map("isotonic", q, y)
    assert [ours(x) for x in grid.tolist()] == pytest.approx(theirs.predict(grid), abs=1e-12)
    assert ours.n == 400 and len(ours.points) < 21  # points inside flat stretches are left out


def test_isotonic_by_hand() -> None:
    # 0.2: 1 of 2, 0.5: 0 of 2, 0.9: 2 of 2. The first two fall, so they are pooled: 1 of 4.
    q, y = np.repeat([0.2, 0.5, 0.9], 20), np.repeat([0.0, 1.0, 0.0, 0.0, 1.0, 1.0], 10)
    assert fit_map("isotonic", q, y).points == ((0.2, 0.25), (0.5, 0.25), (0.9, 1.0))


def test_temperature_is_that_of_scikit_learn() -> None:
    q, y = sample()
    logits = np.array([logit(value) for value in q.tolist()])[:, None]
    theirs = CalibratedClassifierCV(FrozenEstimator(Stated().fit(logits, y)), method="temperature").fit(logits, y)
    ours = fit_map("temperature", q, y)
    assert [ours(x) for x in q.tolist()] == pytest.approx(theirs.predict_proba(logits)[:, 1], abs=1e-4)
    assert ours.slope < 1 and ours.intercept == 0  # overconfident, so temperature above 1


def test_platt_is_a_logistic_regression_on_smoothed_labels() -> None:
    q, y = sample()
    x = np.array([logit(value) for value in q.tolist()])[:, None]
    n1, n0 = y.sum(), (1 - y).sum()
    soft = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    # Each answer counts as right with weight `soft` and as wrong with the rest.
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.concatenate([x, x]), np.repeat([1, 0], len(y)), sample_weight=np.concatenate([soft, 1 - soft])
    )
    ours = fit_map("platt", q, y)
    assert (ours.slope, ours.intercept) == pytest.approx((theirs.coef_[0, 0], theirs.intercept_[0]), abs=1e-4)


@pytest.mark.parametrize(("method", "gain"), [("isotonic", 0.005), ("platt", 0.005), ("temperature", 0.0)])
def test_a_map_makes_the_confidences_fit(method: str, gain: float) -> None:
    q, y = sample(4000)
    map_ = fit_map(method, q, y)
    new_q, new_y = sample(4000, seed=1)
    before, after = (np.mean((p - new_y) ** 2) for p in (new_q, np.array([map_(x) for x in new_q.tolist()])))
    assert after < before - gain  # Brier score; these confidences are shifted, which a temperature cannot mend


@pytest.mark.parametrize(
    ("q", "y", "method", "said"),
    [
        ([0.5] * 49, [0.0, 1.0] * 24 + [1.0], "platt", "'platt' needs 50 answers, here are 49: use more records"),
        ([0.5] * 60, [1.0] * 60, "isotonic", "needs right and wrong answers, here are 60 right of 60"),
        ([0.1] * 50 + [0.9] * 50, [1.0] * 50 + [0.0] * 50, "platt", "wrong answers have the higher confidences"),
        ([0.5] * 60, [1.0] * 60, "beta", "recalibrate = 'beta' is not known: use one of isotonic, platt, temper"),
    ],
)
def test_what_cannot_be_fitted_is_refused(q: list[float], y: list[float], method: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        fit_map(method, np.array(q), np.array(y))
