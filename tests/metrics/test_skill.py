"""Skill beyond question and slot: by enumeration, by hand, and with confidences that know nothing else."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.errors import RecordError
from polymode.metrics import auroc, auroc_within, ece, pce, skill
from polymode.metrics.statistics import statistics
from polymode.metrics.table import JudgedTable
from polymode.uncertainty import Statistic, SumStatistic, WeightedStatistic, bootstrap, replicate


def value_of(statistic: Statistic, n_questions: int) -> float:
    return replicate({"x": statistic}, n_questions, rng=np.random.default_rng(0), n_boot=0)["x"].value


def enumerated(q: np.ndarray, y: np.ndarray, group: np.ndarray) -> float:
    """Over all pairs of different answers of a group, one of which counts as right and the other as wrong."""
    ordered = pairs = 0.0
    for i, j in itertools.permutations(range(len(q)), 2):
        if group[i] == group[j]:
            weight = y[i] * (1 - y[j])
            ordered += weight * ((q[i] > q[j]) + (q[i] == q[j]) / 2)
            pairs += weight
    return ordered / pairs if pairs else np.nan


answers = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=14)


@given(answers)
def test_auroc_within_is_that_of_an_enumeration(rows: list[tuple[int, int, int]]) -> None:
    q, y, group = np.array(rows, float).T * np.array([[0.25], [0.5], [1.0]])  # soft labels among them
    assert auroc_within(q, y, group) == pytest.approx(enumerated(q, y, group), nan_ok=True)


def test_one_group_is_the_pooled_auroc_and_an_unknown_answer_is_left_out() -> None:
    rng = np.random.default_rng(0)
    q, y = rng.integers(0, 9, 50) / 8, rng.integers(0, 2, 50)
    assert auroc_within(q, y, np.zeros(50)) == pytest.approx(auroc(q, y))
    assert auroc_within([*q, np.nan], [*y, 1], np.zeros(51)) == pytest.approx(auroc(q, y))
    assert np.isnan(auroc_within([], [], []))
    with pytest.raises(RecordError, match="one of each for every answer"):
        auroc_within([0.5], [1], [1, 2])


@pytest.mark.parametrize("decimals", [1, 12])
def test_within_slot_is_an_enumeration_on_the_sample_and_on_resamples(decimals: int) -> None:
    # Few and many confidences take different ways; a question drawn twice counts twice, also in pairs.
    rng = np.random.default_rng(1)
    question, slot = np.repeat(np.arange(60), 3), np.tile(np.arange(3), 60)
    q, y = np.round(rng.random(180), decimals), rng.integers(0, 2, 180).astype(float)
    statistic = skill.within_slot(q, y, slot, question, 60)
    assert isinstance(statistic, WeightedStatistic) == (decimals == 12)
    resampled = replicate({"x": statistic}, 60, rng=np.random.default_rng(5), n_boot=2)["x"]
    assert resampled.value == pytest.approx(enumerated(q, y, slot))
    drawn = np.random.default_rng(5)
    for value in resampled.value_R:
        w = np.bincount(drawn.integers(0, 60, 60, dtype=np.int32), minlength=60)[question]
        assert value == pytest.approx(enumerated(np.repeat(q, w), np.repeat(y, w), np.repeat(slot, w)))


def test_the_slot_number_as_confidence_has_pooled_skill_and_none_within_slot() -> None:
    rng = np.random.default_rng(2)
    question, slot = np.repeat(np.arange(400), 3), np.tile(np.arange(3), 400)
    rate = np.array([0.9, 0.5, 0.1])[slot]
    y = (rng.random(1200) < rate).astype(float)
    assert auroc(rate, y) > 0.8 and auroc_within(rate, y, question) > 0.8
    assert auroc_within(rate, y, slot) == 0.5
    e = bootstrap(
        {"x": skill.beyond_slots(rate, y, slot, question, 400)}, 400, rng=np.random.default_rng(0), n_boot=200
    )["x"]
    assert e.low < 0 < e.high and e.value == pytest.approx(0, abs=0.02)


def test_the_slot_constant_is_a_sum_over_pairs_of_different_questions() -> None:
    # Samples of a question stand together: questions with 2, 1 and 2 answers in slot 0, and some in slot 1.
    question, slot = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 0, 1, 0, 0])
    y = np.array([1.0, 0, 1, 1, 0, 0, 0])
    # Slot 0: Y = 1, 1, 0 of N = 2, 1, 2: 1 (0 + 2) + 1 (1 + 2) + 0 = 5 of 2 (2 + 4 + 2) = 16 pairs.
    # Slot 1: Y = 1, 0 of 1, 1: 1 of 2 pairs. Over 5 and 2 answers.
    expected = (5 * 5 / 16 + 2 * 1 / 2) / 7
    assert value_of(skill.slot_constant(y, slot, question, 3), 3) == pytest.approx(expected)
    q = np.full(7, 0.5)
    share = value_of(skill.beyond_slots(q, y, slot, question, 3), 3)
    assert share == pytest.approx(1 - 0.25 / expected)
    # A slot that one question alone has says nothing of others: it is left out on both sides.
    more = skill.beyond_slots(np.append(q, 1.0), np.append(y, 0.0), np.append(slot, 2), np.append(question, 2), 3)
    assert value_of(more, 3) == pytest.approx(share)


@given(st.integers(0, 10_000))
def test_the_slot_constant_of_resamples_leaves_out_pairs_of_a_question_with_itself(seed: int) -> None:
    rng = np.random.default_rng(seed)
    question, slot = np.repeat(np.arange(5), 4), np.tile([0, 1], 10)
    y = rng.random(20)
    statistic = skill.slot_constant(y, slot, question, 5)
    resampled = replicate({"x": statistic}, 5, rng=np.random.default_rng(seed), n_boot=1)["x"]
    weight = np.bincount(np.random.default_rng(seed).integers(0, 5, 5, dtype=np.int32), minlength=5)
    total = count = 0.0
    for k in (0, 1):
        pairs = [
            (i, j) for i, j in itertools.product(np.flatnonzero(slot == k), repeat=2) if question[i] != question[j]
        ]
        weights = np.array([weight[question[i]] * weight[question[j]] for i, j in pairs])
        products = np.array([y[i] * (1 - y[j]) for i, j in pairs])
        n = weight[question[slot == k]].sum()
        total, count = total + (n * (weights @ products) / weights.sum() if weights.sum() else 0), count + n
    if np.count_nonzero(weight) > 1:
        assert resampled.value_R[0] == pytest.approx(total / count)
    else:
        assert np.isnan(resampled.value_R[0])


def test_the_slot_constant_has_no_bias() -> None:
    # True rates 0.8 and 0.3, five questions: 0.16 and 0.21 on average; the rates of the sample itself give 4/5 of that.
    rng, values, in_sample = np.random.default_rng(3), [], []
    question, slot = np.repeat(np.arange(5), 2), np.tile([0, 1], 5)
    for _ in range(600):
        y = (rng.random(10) < np.array([0.8, 0.3])[slot]).astype(float)
        values.append(value_of(skill.slot_constant(y, slot, question, 5), 5))
        in_sample.append(np.mean([y[slot == k].mean() * (1 - y[slot == k].mean()) for k in (0, 1)]))
    assert np.mean(values) == pytest.approx(0.185, abs=0.012)
    assert np.mean(in_sample) == pytest.approx(0.8 * 0.185, abs=0.012)


def test_the_gap_beyond_slots_is_1_for_the_truth_and_0_for_the_constants() -> None:
    rng = np.random.default_rng(4)
    question, slot = np.repeat(np.arange(2000), 2), np.tile([0, 1], 2000)
    p = np.clip(np.array([0.7, 0.3])[slot] + rng.uniform(-0.3, 0.3, 4000), 0, 1)
    y = (rng.random(4000) < p).astype(float)
    of_truth = value_of(skill.gap_beyond_slots(p, y, p, slot, question, 2000), 2000)
    of_constants = value_of(skill.gap_beyond_slots(np.array([0.7, 0.3])[slot], y, p, slot, question, 2000), 2000)
    assert of_truth == pytest.approx(1, abs=0.1) and of_constants == pytest.approx(0, abs=0.1)
    few = bootstrap(
        {"x": skill.gap_beyond_slots(p[:40], y[:40], p[:40], slot[:40], question[:40], 20)},
        20, rng=np.random.default_rng(0), n_boot=50,
    )["x"]  # fmt: skip
    assert np.isnan(few.value) and few.reason == "needs at least 30 questions, has 20"


def test_the_skill_score_beyond_slots_holds_0_for_the_constants() -> None:
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        question, slot = np.repeat(np.arange(30), 3), np.tile(np.arange(3), 30)
        rate = np.array([0.8, 0.5, 0.2])[slot]
        y = (rng.random(90) < rate).astype(float)
        statistic = skill.beyond_slots(rate, y, slot, question, 30)
        e = bootstrap({"x": statistic}, 30, rng=rng, n_boot=100)["x"]
        held += e.low <= 0 <= e.high
    assert held >= 53  # 88%: 95% less 2.3 standard errors


# --- gates -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def values(small_table: JudgedTable) -> dict[str, float]:
    resampled = replicate(statistics(small_table, small_table, small_table), 2, rng=np.random.default_rng(0), n_boot=0)
    return {name: one.value for name, one in resampled.items()}


def test_wrong_answers_that_survive_a_gate(values: dict[str, float]) -> None:
    # q .2 .9 .9 .6 .3 .8 .0; wrong: the answers of .9 (second) and .3. The repeat of a right answer is not wrong.
    assert values["confidently_wrong@0.5"] == values["confidently_wrong@0.9"] == 1 / 7
    assert values["wrong_above@0.5"] == 1 / 4 and values["wrong_above@0.7"] == 1 / 3
    assert values["wrong_above@0.9"] == 1 / 2


def test_a_repeat_of_a_right_answer_is_not_wrong_however_confident(small_table: JudgedTable) -> None:
    sure = replace(small_table, q=np.where(small_table.is_duplicate, 1.0, small_table.q))
    of_gate = statistics(sure, sure, sure)["wrong_above@0.9"]
    assert value_of(of_gate, 2) == 1 / 3 and of_gate.n == 3


def test_no_survivor_is_undefined_and_all_right_has_the_exact_limits(small_table: JudgedTable) -> None:
    quiet = replace(small_table, q=np.full(7, 0.1))
    assert np.isnan(value_of(statistics(quiet, quiet, quiet)["wrong_above@0.5"], 2))
    right = replace(small_table, match=np.zeros(7, dtype=int))
    one = statistics(right, right, right)["confidently_wrong@0.9"]
    assert isinstance(one, SumStatistic) and one.is_share
    e = bootstrap({"x": one}, 2, rng=np.random.default_rng(0), n_boot=20)["x"]
    assert (e.low, e.high) == pytest.approx((0, 1 - 0.025 ** (25 / 49)))  # of two questions, of 4 and 3 answers


# --- overconfident bins ----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 1)), min_size=1, max_size=30))
def test_pce_and_its_mirror_image_add_up_to_the_ece(rows: list[tuple[int, int]]) -> None:
    q, y = np.array(rows, float).T
    q = (q + 0.37) / 21  # off the edges of bins, which belong to the upper one
    assert pce(q, y) + pce(1 - q, 1 - y) == pytest.approx(ece(q, y))


def test_skill_is_part_of_all_metrics(values: dict[str, float], small_table: JudgedTable) -> None:
    q, y, question = small_table.q, small_table.y, small_table.answer_question
    assert values["auroc_within_question"] == pytest.approx(enumerated(q, y, question))
    assert np.isnan(values["auroc_within_slot"])  # each slot has answers of one kind only
    assert values["pce"] == pytest.approx(pce(q, y))
    # Slot 2 has one question; of slots 0 and 1, questions 0 and 1 have Y = 1 of 1, 2 of 2 and 0 of 1, 0 of 2.
    assert values["brier_slot_constant"] == 0
    assert np.isnan(values["brier_beyond_slots"])
