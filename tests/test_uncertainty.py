"""The bootstrap against direct resampling and known variances."""

import numpy as np
import pytest

from polymode import uncertainty
from polymode.uncertainty import (
    Gaps,
    SumStatistic,
    WeightedStatistic,
    bootstrap,
    mean_of_items,
    paired_differences,
    resampling,
)


def clustered(n_questions: int = 80, per: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    question = np.repeat(np.arange(n_questions), per)
    return question, rng.normal(size=n_questions)[question] + 0.1 * rng.normal(size=question.size)


def test_weights_draw_as_many_questions_as_there_are() -> None:
    blocks = list(uncertainty.resample_questions(7, 600, np.random.default_rng(0)))
    weights = np.concatenate(blocks)
    assert weights.shape == (600, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)


def test_sums_and_weights_give_the_same_replicates() -> None:
    question, x = clustered()
    by_sums = mean_of_items(question, x, 80)
    by_weights = WeightedStatistic(lambda w: float(np.average(x, weights=w[question])), len(x))
    a = uncertainty.replicate({"a": by_sums, "b": by_weights}, 80, rng=np.random.default_rng(4), n_boot=50)
    assert a["a"].value == pytest.approx(a["b"].value, abs=1e-12)
    assert a["a"].value_R == pytest.approx(a["b"].value_R, abs=1e-12)


def test_interval_is_that_of_the_question_means() -> None:
    # Almost all variance lies between questions: 1.96 sd(question means) / sqrt(80), not / sqrt(480).
    question, x = clustered()
    estimate = bootstrap({"x": mean_of_items(question, x, 80)}, 80, rng=np.random.default_rng(1), n_boot=4000)["x"]
    means = np.bincount(question, x) / 6
    half = 1.96 * means.std() / np.sqrt(80)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(half, rel=0.08)
    assert estimate.low < estimate.value < estimate.high
    assert (estimate.value, estimate.n) == (pytest.approx(x.mean()), 480)


def test_same_seed_same_interval_whatever_else_is_computed() -> None:
    question, x = clustered()
    one = mean_of_items(question, x, 80)
    other = mean_of_items(question, x**2, 80)
    alone = bootstrap({"x": one}, 80, rng=np.random.default_rng(1), n_boot=100)["x"]
    beside = bootstrap({"y": other, "x": one}, 80, rng=np.random.default_rng(1), n_boot=100)["x"]
    assert alone == beside


def test_slabs_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    question, x = clustered()
    statistic = {"x": mean_of_items(question, x, 80)}
    before = bootstrap(statistic, 80, rng=np.random.default_rng(1), n_boot=30)["x"]
    monkeypatch.setattr(resampling, "_SLAB", 7)
    monkeypatch.setattr(resampling, "_BLOCK_BYTES", 800)
    after = bootstrap(statistic, 80, rng=np.random.default_rng(1), n_boot=30)["x"]
    assert (after.low, after.high) == pytest.approx((before.low, before.high), abs=1e-12)


def test_undefined_is_nan_with_its_n() -> None:
    nothing = mean_of_items(np.array([0, 1]), np.array([np.nan, np.nan]), 2)
    estimate = bootstrap({"x": nothing}, 2, rng=np.random.default_rng(0), n_boot=10, n_unscored=2)["x"]
    assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
    assert (estimate.n, estimate.n_unscored) == (0, 2)


def test_one_question_has_a_value_and_no_interval() -> None:
    estimate = bootstrap(
        {"x": mean_of_items(np.array([0, 0]), np.array([1.0, 3.0]), 1)}, 1, rng=np.random.default_rng(0)
    )
    assert estimate["x"].value == 2.0
    assert np.isnan([estimate["x"].low, estimate["x"].high]).all()


def test_an_interval_needs_half_of_its_replicates() -> None:
    # Defined only with the last of ten questions: in 1 - 0.9^10 = 65% of the resamples; with 20: 64%. Of two: never.
    def first(*present: int) -> uncertainty.Estimate:
        sums = (np.arange(10.0) + 1, np.isin(np.arange(10), present).astype(float))
        need = SumStatistic(sums, lambda s, has: np.where(has >= 2, s, np.nan), 10)
        return bootstrap({"x": need}, 10, rng=np.random.default_rng(0), n_boot=200)["x"]

    assert np.isfinite(first(0, 1, 2, 3).low)
    assert "undefined in most resamples" in first(0, 1).reason or np.isfinite(first(0, 1).low)


def test_mean_of_questions_weighs_questions_equally() -> None:
    # Question 0: mean of 1, 3 = 2; question 1: 10 (NaN left out); question 2: nothing.
    statistic = uncertainty.mean_of_questions(np.array([0, 0, 1, 1]), np.array([1.0, 3, 10, np.nan]), 3)
    value = uncertainty.replicate({"x": statistic}, 3, rng=np.random.default_rng(0), n_boot=0)["x"].value
    assert (value, statistic.n) == (6.0, 2)


def test_interval_of_an_absolute_error_holds_it() -> None:
    # Sum of |noise| per bin: every resample adds noise, so plain percentiles lie well above the value.
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(100, 60))
    statistic = SumStatistic((noise,), lambda s: np.abs(s).sum(-1) / 100, 100)
    plain = bootstrap({"x": statistic}, 100, rng=np.random.default_rng(1), n_boot=500)["x"]
    gaps = Gaps(lambda s: s / 100, lambda g: np.abs(g).sum(-1))
    absolute = SumStatistic(statistic.sums, statistic.finish, 100, gaps=gaps)
    shifted = bootstrap({"x": absolute}, 100, rng=np.random.default_rng(1), n_boot=500)["x"]
    assert (plain.low + plain.high) / 2 > plain.value + 1
    assert shifted.low == 0 < shifted.value < shifted.high < plain.high  # the truth is 0


def test_pairing_removes_shared_variation() -> None:
    question, x = clustered()
    rng = np.random.default_rng(9)
    first = mean_of_items(question, x + 0.2, 80)
    second = mean_of_items(question, x + 0.05 * rng.normal(size=x.size), 80)
    pairs = {"x": (first, second)}
    difference = paired_differences(pairs, 80, rng=np.random.default_rng(2), n_boot=500)["x"]
    assert difference.value == pytest.approx(0.2, abs=0.02)
    assert difference.low > 0.15
    assert difference.n == 80
    alone = bootstrap({"x": first}, 80, rng=np.random.default_rng(2), n_boot=500)["x"]
    assert difference.high - difference.low < 0.1 * (alone.high - alone.low)


@pytest.mark.parametrize("kind", ["sums", "weights"])
def test_restricting_keeps_only_the_named_questions(kind: str) -> None:
    question, x = clustered(10, 2)
    statistic = (
        mean_of_items(question, x, 10)
        if kind == "sums"
        else WeightedStatistic(lambda w: float(np.average(x, weights=w[question])), len(x))
    )
    index = np.array([7, 2])
    kept = uncertainty.restrict(statistic, index, 10)
    value = uncertainty.replicate({"x": kept}, 2, rng=np.random.default_rng(0), n_boot=0)["x"].value
    assert value == pytest.approx(x[np.isin(question, index)].mean())


def test_coverage_of_the_interval() -> None:
    # 95% intervals of a mean over 60 questions should hold the true mean 0 in about 95 of 100 data sets.
    held = 0
    for seed in range(100):
        question, x = clustered(60, 3, seed)
        e = bootstrap({"x": mean_of_items(question, x, 60)}, 60, rng=np.random.default_rng(seed), n_boot=300)["x"]
        held += e.low <= 0 <= e.high
    assert 88 <= held <= 99
