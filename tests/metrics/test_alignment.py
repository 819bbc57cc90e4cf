"""Divergences against SciPy and hand-worked cells."""

import numpy as np
import pytest
from scipy.stats import entropy

from polymode.metrics import alignment


def test_kl_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    for cells in (2, 4, 7):
        p, q = rng.dirichlet(np.ones(cells)), rng.dirichlet(np.ones(cells))
        assert alignment.kl_divergence(p, q, eps=0) == pytest.approx(entropy(p, q), abs=1e-9)
        smooth = 0.999 * q + 0.001 / cells
        assert alignment.kl_divergence(p, q) == pytest.approx(entropy(p, smooth), abs=1e-9)


def with_other(masses: np.ndarray) -> np.ndarray:
    """The cells of one set as the module's docstring defines them."""
    return np.append(masses, 1 - masses.sum()) if masses.sum() <= 1 else np.append(masses / masses.sum(), 0.0)


def test_a_missing_answer_costs_finitely() -> None:
    p, q = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    # q' = (.9995, .0005): .5 log(.5 / .9995) + .5 log(.5 / .0005)
    assert alignment.kl_divergence(p, q) == pytest.approx(0.5 * np.log(0.5 / 0.9995) + 0.5 * np.log(1000))
    assert alignment.kl_divergence(p, q, eps=0) == np.inf
    assert alignment.kl_divergence(p, p, eps=0) == 0


def test_total_variation_by_hand() -> None:
    assert alignment.total_variation(np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])) == pytest.approx(0.3)


def test_best_coverage_sums_the_largest() -> None:
    assert alignment.best_coverage(np.array([0.1, 0.5, 0.3]), 2) == pytest.approx(0.8)
    assert alignment.best_coverage(np.array([0.4]), 3) == pytest.approx(0.4)


def test_many_sets_at_once_equal_them_one_by_one() -> None:
    rng = np.random.default_rng(2)
    owner = np.repeat([0, 2, 3, 4], [3, 1, 2, 2])
    p, q = rng.dirichlet(np.ones(9))[:8], rng.random(8)
    p[1], q[2] = 0.0, 0.0
    p[6:] = [0.7, 0.3]  # nothing left for other answers
    kl, variation = alignment.set_divergences(owner, p, q, 5)
    for i in (0, 2, 3, 4):
        a, b = with_other(p[owner == i]), with_other(q[owner == i])
        assert kl[i] == pytest.approx(alignment.kl_divergence(a, b), abs=1e-12)
        assert variation[i] == pytest.approx(alignment.total_variation(a, b), abs=1e-12)
    assert np.isnan([kl[1], variation[1]]).all()


def test_an_unknown_reference_distribution_gives_no_divergence() -> None:
    kl_N, variation_N = alignment.set_divergences(np.array([0, 0]), np.array([np.nan, np.nan]), np.array([0.9, 0.1]), 1)
    assert np.isnan(kl_N).all() and np.isnan(variation_N).all()
