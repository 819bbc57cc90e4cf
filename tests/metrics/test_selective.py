"""Ranking metrics against scikit-learn and brute force."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from polymode.metrics import selective
from polymode.uncertainty import WeightedStatistic, replicate


@pytest.mark.parametrize("decimals", [1, 12])
def test_auroc_agrees_with_scikit_learn(decimals: int) -> None:
    rng = np.random.default_rng(1)
    q = np.round(rng.random(400), decimals)
    y = (rng.random(400) < q).astype(float)
    assert selective.auroc(q, y) == pytest.approx(roc_auc_score(y, q), abs=1e-9)


def test_auroc_by_hand() -> None:
    # Hits .8, .5; misses .5, .2: pairs (.8 > .5), (.8 > .2), (.5 = .5) half, (.5 > .2): 3.5 of 4.
    assert selective.auroc(np.array([0.8, 0.5, 0.5, 0.2]), np.array([1.0, 1, 0, 0])) == pytest.approx(3.5 / 4)


@pytest.mark.parametrize("y", [[1.0, 1.0], [0.0, 0.0], []])
def test_auroc_needs_both_classes(y: list[float]) -> None:
    assert np.isnan(selective.auroc(np.linspace(0, 1, len(y)), np.array(y)))


def test_aurc_by_hand() -> None:
    # Falling confidence: right, wrong, right -> risks 0, 1/2, 1/3.
    assert selective.aurc(np.array([0.9, 0.5, 0.1]), np.array([1.0, 0, 1])) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)


def test_aurc_with_ties_is_the_mean_over_orders() -> None:
    q, y = np.array([0.9, 0.5, 0.5, 0.5, 0.2]), np.array([0.0, 1, 0, 0, 1])
    values = []
    for middle in permutations([1, 2, 3]):
        wrong = 1 - y[[0, *middle, 4]]
        values.append(np.mean(np.cumsum(wrong) / np.arange(1, 6)))
    assert selective.aurc(q, y) == pytest.approx(np.mean(values), abs=1e-12)
    assert np.isnan(selective.aurc(np.zeros(0), np.zeros(0)))


def test_random_order_costs_the_error_rate() -> None:
    assert selective.aurc(np.full(10, 0.5), np.repeat([0.0, 1.0], [3, 7])) == pytest.approx(0.3)


def test_risk_coverage_curve_ends_with_everything() -> None:
    share, risk = selective.risk_coverage(np.array([0.9, 0.5, 0.5, 0.1]), np.array([1.0, 0, 1, 0]))
    assert share.tolist() == [0.25, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0, 1 / 3, 0.5])
    rng = np.random.default_rng(0)
    share, risk = selective.risk_coverage(rng.random(5000), (rng.random(5000) < 0.4).astype(float))
    assert len(share) <= 200
    assert share[-1] == 1.0
    assert 0.55 < risk[-1] < 0.65
    assert [len(a) for a in selective.risk_coverage(np.zeros(0), np.zeros(0))] == [0, 0]


@pytest.mark.parametrize("name", ["auroc", "aurc"])
@pytest.mark.parametrize("decimals", [1, 12])
def test_replicates_equal_the_metric_on_repeated_answers(name: str, decimals: int) -> None:
    # Few and many confidences take different ways; both must count a question drawn twice twice.
    rng = np.random.default_rng(3)
    question = np.repeat(np.arange(60), 5)
    q = np.round(rng.random(300), decimals)
    y = (rng.random(300) < q).astype(float)
    metric = getattr(selective, name)
    formula = getattr(selective, f"{name}_from_groups")
    statistic = selective.ranking_statistic(formula, q, y, question, 60)
    assert isinstance(statistic, WeightedStatistic) == (decimals == 12)
    resampled = replicate({name: statistic}, 60, rng=np.random.default_rng(5), n_boot=3)[name]
    assert resampled.value == pytest.approx(metric(q, y), abs=1e-9)
    drawn = np.random.default_rng(5)
    for got in resampled.value_R:
        weight = np.bincount(drawn.integers(0, 60, 60, dtype=np.int32), minlength=60)[question]
        assert got == pytest.approx(metric(np.repeat(q, weight), np.repeat(y, weight)), abs=1e-9)
