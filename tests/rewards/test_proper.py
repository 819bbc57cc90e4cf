"""Proper scores: bounds, spans, and that honest confidences are best, tried on grids."""

import math
from collections.abc import Callable, Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.rewards.proper import CLIP, SCORES, brier_loss, log_loss, loss_of, other_loss, spherical_loss

steady = settings(derandomize=True)
probability = st.floats(0, 1, allow_subnormal=False)
LOSSES = {name: loss_of(name) for name in ("brier", "log", "spherical")}
GRID = [i / 200 for i in range(201)]


def expected(loss: Callable[[float, float], float], q: float, p: float) -> float:
    return p * loss(q, 1) + (1 - p) * loss(q, 0)


def test_by_hand() -> None:
    assert set(SCORES) == {*LOSSES, "other"}
    assert brier_loss(0.8, 1) == pytest.approx(0.04)
    # ln(.99 / .2) / ln(.99 / .01) = 1.59939 / 4.59512
    assert log_loss(0.8, 0) == pytest.approx(0.348063, abs=1e-6)
    # 1 - .8 / sqrt(.64 + .04) = 1 - .8 / .824621
    assert spherical_loss(0.8, 1) == pytest.approx(0.029857, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_from_certain_and_right_to_certain_and_wrong(name: str) -> None:
    loss = LOSSES[name]
    assert [loss(0.0, 0), loss(1.0, 1), loss(0.0, 1), loss(1.0, 0)] == [0, 0, 1, 1]


@steady
@given(st.sampled_from(list(LOSSES)), probability, st.integers(0, 1))
def test_losses_stay_between_0_and_1_and_treat_labels_alike(name: str, q: float, y: int) -> None:
    assert 0 <= LOSSES[name](q, y) <= 1
    assert LOSSES[name](q, y) == pytest.approx(LOSSES[name](1 - q, 1 - y), abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("p", [0.0, 0.005, 0.02, 0.3, 0.5, 0.85, 1.0])
def test_honest_confidence_is_best(name: str, p: float) -> None:
    losses = {q: expected(LOSSES[name], q, p) for q in GRID}
    best = min(losses.values())
    assert losses[p] == pytest.approx(best, abs=1e-12)
    if name != "log" or CLIP <= p <= 1 - CLIP:  # then nothing else is as good
        assert [q for q in GRID if losses[q] < best + 1e-9] == [p]


def test_a_cut_on_the_loss_instead_of_the_confidence_would_not_be_proper() -> None:
    def cut(q: float, y: float) -> float:
        return min(-math.log(max(q if y else 1 - q, 1e-300)), -math.log(CLIP))

    # Honest .02: .02 ln 50 + .98 ln(1 / .98) = .0782 + .0198; none at all: .02 ln 100 = .0921.
    assert expected(cut, 0.0, 0.02) == pytest.approx(0.0921, abs=1e-4)
    assert expected(cut, 0.02, 0.02) == pytest.approx(0.0980, abs=1e-4)
    assert expected(log_loss, 0.02, 0.02) < expected(log_loss, 0.0, 0.02)


# --- a set with "none of these" --------------------------------------------------------------------------------------


def test_other_by_hand() -> None:
    # Three outcomes, so ln(.98 / r) / ln(98): r = .6, .3 and 1 - .9 = .1.
    found = [other_loss([0.6, 0.3], hits) for hits in ([1, 0], [0, 1], [0, 0])]
    assert found == pytest.approx([math.log(0.98 / r) / math.log(98) for r in (0.6, 0.3, 0.1)])
    # Sum 1.5, so shares 2/3 and 1/3; "none" is raised to .01 and the others scaled by .99.
    found = [other_loss([1.0, 0.5], hits) for hits in ([1, 0], [0, 1], [0, 0])]
    assert found == pytest.approx([math.log(0.98 / r) / math.log(98) for r in (0.66, 0.33, 0.01)])
    assert [other_loss([1.0, 0.0], hits) for hits in ([1, 0], [0, 1], [0, 0])] == [0, 1, 1]
    assert [other_loss([0.0, 0.0], hits) for hits in ([1, 0], [0, 0])] == [1, 0]


@steady
@given(probability, st.integers(0, 1))
def test_with_one_answer_it_is_the_log_score(q: float, y: int) -> None:
    assert other_loss([q], [y]) == pytest.approx(log_loss(q, y), abs=1e-9)


@steady
@given(st.lists(probability, min_size=1, max_size=20), st.data())
def test_other_stays_between_0_and_1(qs: list[float], data: st.DataObject) -> None:
    hit = data.draw(st.integers(0, len(qs)))
    assert 0 <= other_loss(qs, [int(i == hit) for i in range(len(qs))]) <= 1


@pytest.mark.parametrize(
    "p", [(0.5, 0.3), (0.6, 0.4), (0.0, 0.0), (1.0, 0.0), (0.95, 0.0), (0.005, 0.7), (0.0025, 0.0025), (0.5, 0.495)]
)
def test_honest_confidences_are_best_for_the_set(p: tuple[float, float]) -> None:
    outcomes = [((1, 0), p[0]), ((0, 1), p[1]), ((0, 0), 1 - sum(p))]

    def expected_other(qs: Sequence[float]) -> float:
        return sum(chance * other_loss(qs, hits) for hits, chance in outcomes)

    grid = [i / 40 for i in range(41)]
    honest = expected_other(p)
    assert all(honest <= expected_other(qs) + 1e-9 for qs in product(grid, repeat=2))
    fine = [(p[0] + a / 500, p[1] + b / 500) for a, b in product(range(-3, 4), repeat=2)]
    assert all(honest <= expected_other(qs) + 1e-9 for qs in fine if min(qs) >= 0 and max(qs) <= 1)
