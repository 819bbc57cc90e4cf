"""Intervals against exact limits, and how often they hold the truth of samples that are drawn here."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from polymode.metrics import calibration
from polymode.uncertainty import (
    Divisor,
    Estimate,
    Gaps,
    Statistic,
    SumStatistic,
    bootstrap,
    mean_of_items,
    mean_of_questions,
    paired_differences,
    ratio,
)
from polymode.uncertainty.intervals import share_interval, unseen_interval


def interval(statistic: Statistic, n: int, seed: int = 0, n_boot: int = 200) -> Estimate:
    return bootstrap({"x": statistic}, n, rng=np.random.default_rng(seed), n_boot=n_boot)["x"]


def n_held(draw: Callable[[np.random.Generator], tuple[Statistic, int]], truth: float, n: int, n_boot: int) -> int:
    """Of n samples, those whose interval holds the truth."""
    held = 0
    for seed in range(n):
        statistic, n_questions = draw(np.random.default_rng(seed))
        e = interval(statistic, n_questions, seed, n_boot)
        held += e.low <= truth <= e.high
    return held


# --- shares ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [0, 1, 13, 19, 20])
def test_a_share_of_questions_has_the_exact_limits(right: int) -> None:
    y = np.repeat([1.0, 0.0], [right, 20 - right])
    exact = binomtest(right, 20).proportion_ci(method="exact")
    e = interval(mean_of_questions(np.arange(20), y, 20, is_share=True, limits=(0.0, 1.0)), 20)
    assert (e.low, e.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize("n", [5, 20, 50])
def test_exact_limits_hold_every_share(n: int) -> None:
    # By enumeration: the probability of the counts whose interval holds p is at least 95% for each p.
    counts = np.arange(n + 1)
    ends = np.array([share_interval(np.repeat([1.0, 0.0], [c, n - c]), np.ones(n)) for c in counts])
    for p in np.linspace(0.005, 0.995, 67):
        holds = (ends[:, 0] <= p) & (p <= ends[:, 1])
        assert binom.pmf(counts[holds], n, p).sum() >= 0.95


def test_outcomes_of_a_question_that_agree_are_one() -> None:
    # Ten questions of three outcomes that are all alike: no narrower than one outcome each.
    right = np.repeat([1.0, 0.0], [6, 4])
    one, three = share_interval(right, np.ones(10)), share_interval(3 * right, np.full(10, 3.0))
    assert three[0] <= one[0] and one[1] <= three[1]
    # Outcomes that do not depend on the question: close to the exact limits of all 600.
    rng = np.random.default_rng(0)
    hits = rng.binomial(3, 0.6, 200).astype(float)
    exact = binomtest(int(hits.sum()), 600).proportion_ci(method="exact")
    assert share_interval(hits, np.full(200, 3.0)) == pytest.approx((exact.low, exact.high), abs=0.012)


@pytest.mark.parametrize(("a", "b"), [(2.0, 2.0), (9.0, 1.0), (49.0, 1.0)])
def test_shares_of_answers_hold_the_truth(a: float, b: float) -> None:
    # Three answers a question, whose difficulty varies: 300 samples of 20 questions.
    rng, held = np.random.default_rng(1), 0
    for _ in range(300):
        hits = rng.binomial(3, rng.beta(a, b, 20)).astype(float)
        low, high = share_interval(hits, np.full(20, 3.0))
        held += low <= a / (a + b) <= high
    assert held >= 279  # 93%: 95% less 1.6 standard errors


def test_a_share_has_the_limits_of_its_questions() -> None:
    # Every question has two references, and both are found by each: the exact limits of 20 of 20, times two.
    e = interval(mean_of_questions(np.arange(20), np.full(20, 2.0), 20, is_share=True, limits=(0.0, 2.0)), 20)
    assert (e.low, e.high) == pytest.approx((2 * 0.025 ** (1 / 20), 2.0))


def test_a_share_counts_no_more_outcomes_than_there_are() -> None:
    # Nearly all sets find two of three: the variance alone would make them worth 1,000 and more outcomes of 60.
    hits = np.repeat([2.0, 3.0], [19, 1])
    exact = binomtest(41, 60).proportion_ci(method="exact")
    assert share_interval(hits, np.full(20, 3.0)) == pytest.approx((exact.low, exact.high), abs=1e-9)
    # The same as a mean over questions of the share that each finds.
    assert share_interval(hits / 3, np.ones(20)) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_rare_failures_of_whole_sets_are_held() -> None:
    # Four of a hundred sets find nothing, 90 find two, six all three: 400 samples of 50 questions.
    rng, held = np.random.default_rng(3), 0
    for _ in range(400):
        hits = rng.choice([0.0, 2.0, 3.0], 50, p=[0.04, 0.9, 0.06])
        low, high = share_interval(hits, np.full(50, 3.0))
        held += low <= 1.98 / 3 <= high
    assert held >= 372


def test_questions_of_unequal_size_count_less_where_all_are_alike() -> None:
    # (8 x 1 + 4 x 3)^2 / (8 + 4 x 9) = 400 / 44 questions of one size
    sizes = np.repeat([1.0, 3.0], [8, 4])
    assert share_interval(np.zeros(12), sizes) == pytest.approx((0.0, 1 - 0.025 ** (44 / 400)))


# --- other metrics ---------------------------------------------------------------------------------------------------


def test_equal_values_leave_an_unseen_share_of_others() -> None:
    share = 1 - 0.025 ** (1 / 10)  # of questions, 31%
    assert unseen_interval(0.25, 10, (0.0, 1.0)) == pytest.approx((0.25 - share * 0.25, 0.25 + share * 0.75))
    e = interval(mean_of_items(np.arange(10), np.full(10, 0.25), 10, limits=(0.0, 1.0)), 10)
    assert (e.low, e.high) == pytest.approx(unseen_interval(0.25, 10, (0.0, 1.0)))
    without_limit = interval(mean_of_items(np.arange(10), np.full(10, 7.0), 10, limits=(0.0, math.inf)), 10)
    assert math.isnan(without_limit.low) and without_limit.value == 7
    assert "all 10 questions have the same value" in without_limit.reason


def test_one_costly_error_leaves_room_for_more_of_them() -> None:
    # 19 of 20 answers cost 0.01 and one 0.81. Up to 16.8% may be like that one, which no resample shows.
    cost = np.repeat([0.01, 0.81], [19, 1])
    e = interval(mean_of_items(np.arange(20), cost, 20, limits=(0.0, 1.0)), 20)
    share, mean = 1 - 0.025 ** (1 / 20), 0.05
    assert e.low == pytest.approx(0.01) and e.high == pytest.approx(mean + share * (1 - mean))
    # Twenty different costs make the variance together: percentiles alone.
    many = interval(mean_of_items(np.arange(20), np.linspace(0, 0.1, 20), 20, limits=(0.0, 1.0)), 20)
    assert many.high < 0.07


def test_the_best_constant_of_answers_that_are_all_right_may_be_another() -> None:
    # 20 of 20 right: up to 16.8% of answers may be wrong, so p (1 - p) may be 0.140.
    statistic = mean_of_items(np.arange(20), np.zeros(20), 20, limits=(0.0, 0.25), is_variance=True)
    share = 1 - 0.025 ** (1 / 20)
    e = interval(statistic, 20)
    assert (e.low, e.high) == pytest.approx((0.0, share * (1 - share)))
    two = interval(mean_of_items(np.arange(2), np.zeros(2), 2, limits=(0.0, 0.25), is_variance=True), 2)
    assert two.high == 0.25  # any share is possible


@pytest.mark.parametrize(("n", "least"), [(2, 91), (3, 91), (5, 91), (12, 91), (60, 91)])
def test_means_of_few_questions_hold_the_truth(n: int, least: int) -> None:
    def draw(rng: np.random.Generator) -> tuple[Statistic, int]:
        level = np.repeat(rng.normal(size=n), 2)
        return mean_of_items(np.repeat(np.arange(n), 2), level + 0.1 * rng.normal(size=2 * n), n), n

    assert n_held(draw, 0.0, 100, 200) >= least


def test_an_interval_of_two_questions_is_that_of_student_within_the_limits() -> None:
    # Mean .5, standard error .1, t(1) .1 = 1.27. Between the two values is the truth in half of all samples.
    wide = interval(mean_of_items(np.arange(2), np.array([0.4, 0.6]), 2), 2, n_boot=4000)
    assert (wide.low, wide.high) == pytest.approx((0.5 - 1.27, 0.5 + 1.27), abs=0.05)
    within = interval(mean_of_items(np.arange(2), np.array([0.4, 0.6]), 2, limits=(0.0, 1.0)), 2)
    assert (within.low, within.high) == (0, 1)


# --- sums of gaps ----------------------------------------------------------------------------------------------------


Draw = Callable[[np.random.Generator, int], np.ndarray]


def _uniform(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.random(n)


def _ece(
    n: int, factor: float, name: str, confidences: Draw = _uniform
) -> Callable[[np.random.Generator], tuple[Statistic, int]]:
    def draw(rng: np.random.Generator) -> tuple[Statistic, int]:
        q = confidences(rng, n)
        y = (rng.random(n) < factor * q).astype(float)
        sums = calibration.clustered_bin_sums(q, y, calibration.width_bins(q), np.arange(n), n)
        if name == "ece":
            ece = calibration.ece_statistic(q, y, calibration.width_bins(q), np.arange(n), n)
            return ece, n
        return SumStatistic(
            sums,
            calibration.debiased_ece_from_sums,
            n,
            gaps=calibration.DEBIASED_GAPS,
            derive=calibration.debiasing_sums,
            limits=(0.0, 1.0),
        ), n

    return draw


@pytest.mark.parametrize("name", ["ece", "ece_debiased"])
@pytest.mark.parametrize("n", [20, 200])
def test_the_interval_of_a_calibrated_model_holds_0(n: int, name: str) -> None:
    assert n_held(_ece(n, 1.0, name), 0.0, 100, 100) >= 93


@pytest.mark.parametrize("name", ["ece", "ece_debiased"])
@pytest.mark.parametrize("n", [20, 50, 200])
@pytest.mark.parametrize(
    "confidences",
    [
        lambda _, n: np.full(n, 0.95),
        lambda _, n: np.full(n, 0.02),
        lambda rng, n: np.round(rng.beta(19, 1, n), 2),
        lambda rng, n: rng.choice([0.05, 0.95], n),
    ],
    ids=["0.95", "0.02", "high", "low or high"],
)
def test_bins_of_one_verdict_do_not_exclude_a_calibrated_model(confidences: Draw, n: int, name: str) -> None:
    # Of 20 right answers at 0.95, which happen in 36% of samples, no resample has any noise.
    assert n_held(_ece(n, 1.0, name, confidences), 0.0, 60, 100) >= 56


def test_answers_that_are_all_right_exclude_what_they_should() -> None:
    right = calibration.ece_statistic(np.full(20, 0.95), np.ones(20), np.full(20, 9), np.arange(20), 20)
    assert interval(right, 20).low == 0.0
    # 200 right answers happen in 0.95^200 = 0.00004 of the samples of a calibrated model, and the gap is at most 0.05.
    right = calibration.ece_statistic(np.full(200, 0.95), np.ones(200), np.full(200, 9), np.arange(200), 200)
    e = interval(right, 200)
    assert 0.01 < e.low < 0.05 < e.high < 0.08
    # Labels that are shares have hardly any noise, so the same gap is as clear with 20.
    share = np.linspace(0.97, 0.99, 20)
    soft = calibration.ece_statistic(np.full(20, 0.95), share, np.full(20, 9), np.arange(20), 20)
    assert interval(soft, 20).low > 0.02


def test_sets_of_calibrated_confidences_hold_0() -> None:
    def draw(rng: np.random.Generator) -> tuple[Statistic, int]:
        hits = rng.binomial(3, 0.95, 20).astype(float)
        sums = np.full(20, 2.85)
        return calibration.ece_statistic(sums, hits, np.full(20, 9), np.arange(20), 20, outcomes=3), 20

    assert n_held(draw, 0.0, 100, 100) >= 95


@pytest.mark.parametrize("n_questions", [10, 20, 50])
@pytest.mark.parametrize("n_samples", [3, 20])
def test_samples_that_are_right_together_do_not_exclude_a_calibrated_model(n_questions: int, n_samples: int) -> None:
    # Taken one by one they did, in 58% of the samples of 10 questions with 20 answers each that agree.
    def draw(rng: np.random.Generator) -> tuple[Statistic, int]:
        y = np.repeat((rng.random(n_questions) < 0.95).astype(float), n_samples)
        q, question = np.full(len(y), 0.95), np.repeat(np.arange(n_questions), n_samples)
        return calibration.ece_statistic(q, y, np.full(len(y), 9), question, n_questions), n_questions

    assert n_held(draw, 0.0, 60, 100) >= 57


def test_sets_whose_answers_are_right_together_hold_0() -> None:
    def draw(rng: np.random.Generator) -> tuple[Statistic, int]:
        hits = 10.0 * (rng.random(20) < 0.95)
        return calibration.ece_statistic(np.full(20, 9.5), hits, np.full(20, 9), np.arange(20), 20, outcomes=10), 20

    assert n_held(draw, 0.0, 60, 100) >= 57


@pytest.mark.parametrize("name", ["ece", "ece_debiased"])
def test_the_interval_of_an_overconfident_model_holds_its_gap_and_not_0(name: str) -> None:
    draw = _ece(200, 0.5, name)  # the gap is q / 2, on average 1/4
    assert n_held(draw, 0.25, 60, 100) >= 54
    assert n_held(draw, 0.0, 60, 100) == 0


def test_noise_alone_has_a_low_end_of_0() -> None:
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


# --- quotients -------------------------------------------------------------------------------------------------------


def _quotient(top: np.ndarray, bottom: np.ndarray, least: int = 0) -> SumStatistic:
    return SumStatistic((top, bottom), ratio, len(top), divisor=Divisor(lambda _, b: b, "the bottom", least))


def test_a_quotient_by_what_may_be_0_is_refused_with_its_reason() -> None:
    rng = np.random.default_rng(0)
    refused = interval(_quotient(np.ones(40), rng.normal(size=40)), 40)
    assert math.isnan(refused.value) and "the bottom is not clearly above 0 on 40 questions" in refused.reason
    few = interval(_quotient(np.ones(9), np.ones(9), least=30), 9)
    assert math.isnan(few.value) and few.reason == "needs at least 30 questions, has 9"
    sure = interval(_quotient(rng.normal(1, 0.1, 40), rng.normal(2, 0.1, 40)), 40)
    assert sure.low < sure.value < sure.high and not sure.reason
    uncertain = _quotient(np.ones(40), rng.normal(size=40))
    difference = paired_differences({"x": (uncertain, uncertain)}, 40, rng=rng, n_boot=100)["x"]
    assert math.isnan(difference.value) and "not clearly above 0" in difference.reason


# --- differences -----------------------------------------------------------------------------------------------------


def _sure(rng: np.random.Generator, n: int, p: float, stated: float) -> Statistic:
    y = (rng.random(n) < p).astype(float)
    return calibration.ece_statistic(np.full(n, stated), y, np.full(n, min(int(10 * stated), 9)), np.arange(n), n)


@pytest.mark.parametrize(("n", "p", "stated"), [(20, 0.02, 1.0), (50, 0.98, 0.95), (60, 0.5, 0.5)])
def test_arms_that_are_equally_calibrated_do_not_differ(n: int, p: float, stated: float) -> None:
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        pair = _sure(rng, n, p, stated), _sure(rng, n, p, stated)
        e = paired_differences({"ece": pair}, n, rng=rng, n_boot=200)["ece"]
        held += e.low <= 0 <= e.high
    assert held >= 93


def test_an_arm_that_is_calibrated_better_is_told() -> None:
    rng = np.random.default_rng(0)
    pair = _sure(rng, 300, 0.5, 0.9), _sure(rng, 300, 0.5, 0.5)
    e = paired_differences({"ece": pair}, 300, rng=rng, n_boot=300)["ece"]
    assert 0.2 < e.low < 0.4 < e.high < 0.6


def test_answers_that_are_all_wrong_at_1_leave_an_unseen_share() -> None:
    wrong = calibration.ece_statistic(np.ones(20), np.zeros(20), np.full(20, 9), np.arange(20), 20)
    e = interval(wrong, 20)
    assert (e.value, e.high) == (1.0, 1.0) and e.low == pytest.approx(0.025 ** (1 / 20))


def test_one_question_of_twenty_does_not_make_a_difference() -> None:
    # McNemar's exact test of one question against none has p = 1.
    a, b = np.ones(20), np.repeat([1.0, 0.0], [19, 1])
    worse, better = (mean_of_questions(np.arange(20), y, 20, is_share=True, limits=(0.0, 1.0)) for y in (b, a))
    e = paired_differences({"x": (worse, better)}, 20, rng=np.random.default_rng(0), n_boot=200)["x"]
    assert e.value == pytest.approx(-0.05) and e.low < -0.2 and 0.1 < e.high < 0.2
