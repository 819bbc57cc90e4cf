"""The bootstrap against direct resampling and known variances; pairs; questions that repeat."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode import uncertainty
from polymode.metrics import skill
from polymode.uncertainty import (
    SumStatistic,
    WeightedStatistic,
    bootstrap,
    join_repeats,
    mean_of_items,
    number_questions,
    paired_differences,
    reduction,
    resampling,
)


def clustered(n_questions: int = 80, per: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    question = np.repeat(np.arange(n_questions), per)
    return question, rng.normal(size=n_questions)[question] + 0.1 * rng.normal(size=question.size)


def test_weights_draw_as_many_questions_as_there_are() -> None:
    blocks = list(resampling.resample_questions(7, 600, np.random.default_rng(0)))
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
    # A question of ten is drawn in 1 - 0.9^10 = 65% of the resamples, two of them both in 1 - 2 0.9^10 + 0.8^10 = 41%.
    def of_resamples_with(*required: int) -> uncertainty.Estimate:
        need = WeightedStatistic(lambda w: float(w @ np.arange(10.0)) if w[list(required)].all() else np.nan, 10)
        return bootstrap({"x": need}, 10, rng=np.random.default_rng(0), n_boot=200)["x"]

    enough, too_few = of_resamples_with(3), of_resamples_with(3, 5)
    assert enough.low < enough.value == 45 < enough.high and not enough.reason
    assert (too_few.value, too_few.reason) == (45, "no interval: undefined in most resamples of 10 questions")
    assert np.isnan([too_few.low, too_few.high]).all()


def test_mean_of_questions_weighs_questions_equally() -> None:
    # Question 0: mean of 1, 3 = 2; question 1: 10 (NaN left out); question 2: nothing.
    statistic = uncertainty.mean_of_questions(np.array([0, 0, 1, 1]), np.array([1.0, 3, 10, np.nan]), 3)
    value = uncertainty.replicate({"x": statistic}, 3, rng=np.random.default_rng(0), n_boot=0)["x"].value
    assert (value, statistic.n) == (6.0, 2)


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
    part = uncertainty.restrict(statistic, index, 10)
    value = uncertainty.replicate({"x": part}, 2, rng=np.random.default_rng(0), n_boot=0)["x"].value
    assert value == pytest.approx(x[np.isin(question, index)].mean())


# --- questions that repeat -------------------------------------------------------------------------------------------


def test_a_question_under_three_ids_counts_once() -> None:
    rng = np.random.default_rng(3)
    once = rng.normal(size=20)
    thrice = mean_of_items(np.arange(60), np.tile(once, 3), 60)
    repeats = np.tile([f"question {i}" for i in range(20)], 3)
    one = join_repeats(thrice, number_questions(repeats))
    joined = bootstrap({"x": one}, 20, rng=np.random.default_rng(1), n_boot=100)["x"]
    order = np.argsort(np.unique(repeats[:20], return_inverse=True)[1])  # clusters stand in the order of their names
    by_name = mean_of_items(np.arange(20), once[order], 20)
    expected = bootstrap({"x": by_name}, 20, rng=np.random.default_rng(1), n_boot=100)["x"]
    assert (joined.value, joined.low, joined.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert joined.n == 60
    apart = bootstrap({"x": thrice}, 60, rng=np.random.default_rng(1), n_boot=100)["x"]
    assert apart.high - apart.low < 0.7 * (joined.high - joined.low)


@pytest.mark.parametrize("kind", ["sums", "weights"])
def test_repeats_hold_the_truth_only_as_one(kind: str) -> None:
    # 15 questions, each under three ids: intervals of 45 independent ones are too narrow by sqrt(3).
    held = {True: 0, False: 0}
    for seed in range(60):
        x = np.repeat(np.random.default_rng(seed).normal(size=15), 3)
        statistic = (
            mean_of_items(np.arange(45), x, 45)
            if kind == "sums"
            else WeightedStatistic(lambda w, x=x: float(np.average(x, weights=w)), 45)
        )
        for is_joined in held:
            one = join_repeats(statistic, np.repeat(np.arange(15), 3)) if is_joined else statistic
            e = bootstrap({"x": one}, 15 if is_joined else 45, rng=np.random.default_rng(seed), n_boot=100)["x"]
            held[is_joined] += e.low <= 0 <= e.high
    assert held[True] >= 54 and held[False] <= 50


def test_questions_that_all_differ_keep_their_order() -> None:
    assert number_questions(np.array(["c", "a", "b"])).tolist() == [0, 1, 2]
    assert number_questions(np.array(["c", "a", "c"])).tolist() == [1, 0, 1]


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 20))
def test_spans_are_as_long_as_they_may_be_and_cover_all_places(sizes: list[int], most: int) -> None:
    pieces = list(uncertainty.spans(np.array(sizes, dtype=int), most))
    assert [place for first, end in pieces for place in range(first, end)] == list(range(len(sizes))) and pieces
    for first, end in pieces:
        assert sum(sizes[first:end]) <= most or end == first + 1
        assert end == len(sizes) or sum(sizes[first : end + 1]) > most


def test_paired_differences_join_repeats() -> None:
    x = np.random.default_rng(0).normal(size=12)
    repeats = np.repeat(np.arange(6), 2)
    pairs = {"x": (mean_of_items(np.arange(12), np.repeat(x[:6], 2), 12), mean_of_items(np.arange(12), 0 * x, 12))}
    joined = paired_differences(pairs, 12, rng=np.random.default_rng(0), n_boot=100, repeats_P=repeats)["x"]
    apart = paired_differences(pairs, 12, rng=np.random.default_rng(0), n_boot=100)["x"]
    assert joined.value == apart.value == pytest.approx(x[:6].mean())
    assert joined.high - joined.low > 1.2 * (apart.high - apart.low)
    assert joined.n == 12


def test_squares_are_those_of_a_whole_question() -> None:
    # y = 1, 0 of one question under two ids: together (1 + 0)^2 = 1, apart 1 + 0; y = 1, 1: 4 or 2.
    s = SumStatistic((np.array([1.0, 1]),), lambda y, yy: yy, 2, derive=lambda y: (y**2,))
    joined = join_repeats(s, np.zeros(2, int))
    assert isinstance(joined, SumStatistic)
    assert [a.tolist() for a in s.all_sums] == [[1, 1], [1, 1]]
    assert [a.tolist() for a in joined.all_sums] == [[2], [4]]


def test_many_questions_are_resampled_in_random_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    # 3,000 questions in 500 groups: the same values, and intervals as wide as those of single questions.
    question, x = clustered(3000, 2)
    statistics = {
        "sums": mean_of_items(question, x, 3000),
        "pairs": skill.slot_constant((x > 0).astype(float), np.arange(len(x)) % 2, question, 3000),
        "weights": WeightedStatistic(lambda w: float(np.average(x, weights=w[question])), len(x)),
    }
    alone = bootstrap(statistics, 3000, rng=np.random.default_rng(1), n_boot=1500)
    monkeypatch.setattr(reduction, "MAX_CLUSTERS", 500)
    groups = bootstrap(statistics, 3000, rng=np.random.default_rng(2), n_boot=1500)
    for name, estimate in alone.items():
        assert (groups[name].value, groups[name].n) == (pytest.approx(estimate.value, abs=1e-12), estimate.n)
        assert groups[name].high - groups[name].low == pytest.approx(estimate.high - estimate.low, rel=0.12)
    assert groups["weights"].low == pytest.approx(groups["sums"].low, abs=1e-4)  # the same draws


def test_groups_of_questions_hold_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "MAX_CLUSTERS", 4)
    clusters = reduction.Clusters(11, np.random.default_rng(0))
    one_P = clusters.whole.sums(np.ones(11))
    assert sorted(one_P) == [2, 3, 3, 3]
    assert clusters.whole.sums(np.arange(22.0).reshape(11, 2)).sum(axis=0).tolist() == [110, 121]
    weight_P = clusters.of_questions(np.array([0.0, 1, 2, 5]))
    assert [np.count_nonzero(weight_P == w) for w in (0, 1, 2, 5)] == one_P.tolist()
