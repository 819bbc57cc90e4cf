"""Which weights let right answers pay: what is refused is what a search over labels and confidences finds wrong."""

import re
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.errors import ConfigError
from polymode.rewards import AGGREGATIONS, METHODS, SCORES, Reward, check_question, score_set
from polymode.rewards.conditions import charge, least_coverage
from polymode.rewards.coverage import least_gain
from polymode.types import Answer, AnswerSet, Judgement, ParseStatus, Span, Verdict

steady = settings(derandomize=True)


def total(reward: Reward, labels: tuple[int, ...], qs: tuple[float, ...], n: int) -> float:
    """Total of a clean set of distinct answers, by their labels, on a question with n references."""
    answers = tuple(Answer(f"a{i}", Span(0, 2), q) for i, q in enumerate(qs))
    nothing = (None,) * len(labels)
    verdicts = tuple(Verdict.CORRECT if y else Verdict.WRONG for y in labels)
    answer_set = AnswerSet(ParseStatus.CLEAN, answers, len(labels), True)
    found = score_set(Judgement(answer_set, verdicts, labels, nothing, nothing, n), reward).total
    assert found is not None
    return found


def least_flip(reward: Reward, k: int, n: int, grid: tuple[float, ...] = (0.0, 0.5, 1.0)) -> float:
    """Smallest gain of turning the first answer right, over all labels of the others and confidences of a grid."""
    gains = []
    for rest in product((0, 1), repeat=k - 1):
        if sum(rest) < min(k, n):
            for qs in product(grid, repeat=k):
                gains.append(total(reward, (1, *rest), qs, n) - total(reward, (0, *rest), qs, n))
    return min(gains)


@pytest.mark.parametrize(
    ("options", "k", "n", "least"),
    [
        ({}, 3, 5, 1 / 3),  # count: brier / K
        ({"coverage": "any"}, 3, 1, 1 / 3),
        ({"coverage": "any"}, 3, 2, float("inf")),
        ({"coverage": "any"}, 1, 4, 1.0),  # one answer: any is the count
        ({"coverage": "count/K"}, 3, 5, 1.0),
        ({"coverage": "count/N"}, 3, 5, 5 / 3),  # brier N / K
        ({"coverage": "vector"}, 3, 2, 4 / 3),  # brier N min(K, N) / K = 2 x 2 / 3
        ({"coverage": "vector"}, 3, 5, 5.0),  # 5 x 3 / 3
        ({"coverage": "any", "confidence_weight": 0}, 3, 5, 0.0),
        ({"confidence_score": "log", "confidence_weight": 0.6}, 3, 5, 0.2),
        ({"confidence_score": "other", "confidences": "exclusive"}, 3, 1, 1.0),  # one forecast: all of its weight
    ],
)
def test_least_coverage_weight(options, k: int, n: int, least: float) -> None:
    assert least_coverage(Reward(**options), k=k, n=n) == pytest.approx(least)


rewards = st.builds(
    lambda aggregation, score, coverage, brier, alpha: Reward(
        coverage_weight=coverage,
        confidence_weight=brier,
        format_weight=brier,
        coverage=aggregation,
        confidence_score=score,
        coverage_alpha=alpha if aggregation == "vector" else 1.0,
        confidences="exclusive" if score == "other" else "independent",
        exclusive_penalty=0 if score == "other" else 1,
    ),
    st.sampled_from(AGGREGATIONS),
    st.sampled_from(list(SCORES)),
    st.sampled_from([0.25, 0.5, 1.0, 3.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.5, 1.0, 4.0]),
)


@settings(steady, max_examples=40)
@given(rewards, st.integers(1, 3), st.integers(1, 4))
def test_accepted_iff_no_right_answer_ever_costs(reward: Reward, k: int, n: int) -> None:
    if reward.confidence_score == "other":
        n = 1
    worst = least_flip(reward, k, n)
    gain = least_gain(reward.coverage, k=k, n=n, alpha=reward.coverage_alpha)
    assert worst == pytest.approx(reward.coverage_weight * gain - charge(reward, k), abs=1e-9)
    try:
        check_question(reward, k=k, n=n)
    except ConfigError:
        assert worst < 0
    else:
        assert worst >= -1e-9


def paid(reward: Reward, p: float, q: float) -> float:
    """Expected total of one answer that is right with p and stated with q."""
    return p * total(reward, (1,), (q,), 1) + (1 - p) * total(reward, (0,), (q,), 1)


@pytest.mark.parametrize("score", ["brier", "log", "spherical"])
@pytest.mark.parametrize("weight", [0.5, 1.0, 1.25])
def test_one_answer_cannot_be_hacked_under_the_conditions_of_2607_04332(score: str, weight: float) -> None:
    """For f(q), paid when right, and g(q), when wrong: f'/(q - 1) = g'/q <= 0, and f >= g at the lowest q.

    The first makes honesty best, the second that a right answer never pays less than a wrong one that is stated as
    surely: f - g rises with q by the first. `least_coverage` is exactly the second. Where it fails, an answer that is
    known to be wrong, stated with 0, earns more than one that is right with a small p (the hack).
    """
    reward = Reward(confidence_score=score, confidence_weight=weight, format_weight=weight)
    f, g = (lambda q: total(reward, (1,), (q,), 1)), (lambda q: total(reward, (0,), (q,), 1))
    step = 1e-6
    for q in (0.05, 0.3, 0.5, 0.7, 0.95):  # the log score is cut below .01 and above .99
        of_f, of_g = ((value(q + step) - value(q - step)) / (2 * step) for value in (f, g))
        assert of_f / (q - 1) == pytest.approx(of_g / q, rel=1e-5)
        assert of_g / q < 0
    honest = [paid(reward, p, p) for p in (0.0, 0.02, 0.1, 0.3, 0.6, 1.0)]
    is_safe = f(0.0) >= g(0.0) - 1e-9
    assert is_safe == (reward.coverage_weight >= least_coverage(reward, k=1, n=1) - 1e-9) == (weight <= 1)
    assert is_safe == (honest == sorted(honest))


def test_any_correct_gives_up_an_uncertain_second_answer() -> None:
    # Right with .9 and, independently, .5; K = 3; junk for the third, and for the second to compare with. Weights .5:
    # P(any) rises from .9 to .95, worth .025; doubt costs .5 x .25 / 3 = .0417. The count gains .25 for it.
    def expected(reward: Reward, p: tuple[float, ...]) -> float:
        chances = [(p[i], 1 - p[i]) for i in range(3)]
        return sum(
            chances[0][1 - a] * chances[1][1 - b] * chances[2][1 - c] * total(reward, (a, b, c), p, 3)
            for a, b, c in product((0, 1), repeat=3)
        )

    half = Reward(coverage_weight=0.5, confidence_weight=0.5, format_weight=0.5)
    for aggregation, gain in (("any", 0.025 - 0.125 / 3), ("count", 0.25 - 0.125 / 3)):
        reward = replace(half, coverage=aggregation)
        assert expected(reward, (0.9, 0.5, 0)) - expected(reward, (0.9, 0, 0)) == pytest.approx(gain)
    check_question(replace(half, coverage="any"), k=3, n=1)
    with pytest.raises(ConfigError):
        check_question(replace(half, coverage="any"), k=3, n=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"coverage": "any"},
            "coverage = 'any' with coverage_weight = 1.0 and confidence_weight = 1.0 on a question with 5 "
            "references and 3 answers: a further hit may add only 0 and doubt about it cost 0.333, so junk with "
            "confidence 0 would be worth more; use coverage = 'count', or confidence_weight = 0",
        ),
        ({"coverage": "count/N"}, "raise coverage_weight to at least 1.67"),
        ({"coverage_weight": 0.25}, "a further hit may add only 0.25 .*; raise coverage_weight to at least 0.334"),
        (
            {"confidences": "exclusive"},
            "confidences = 'exclusive' on a question with 5 references and 3 answers: several can be right, so "
            "honest confidences may sum above 1 and would be penalised; use 'independent'",
        ),
    ],
)
def test_refusals_name_the_fix(options, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_question(Reward(**options), k=3, n=5)
    assert "\n" not in str(caught.value)
    if fix := re.search(r"at least ([\d.]+)$", str(caught.value)):
        check_question(Reward(**{**options, "coverage_weight": float(fix[1])}), k=3, n=5)


def test_the_published_presets_are_accepted() -> None:
    for n in (1, 3, 14):
        check_question(Reward(), k=3, n=n)
        check_question(METHODS["multi-rlcr"].reward("released"), k=3, n=n)  # kept for comparison, whatever it rewards


def test_exclusive_confidences_need_questions_where_at_most_one_answer_can_be_right() -> None:
    exclusive = Reward(confidences="exclusive")
    check_question(exclusive, k=3, n=1)
    check_question(exclusive, k=1, n=4)
    # Two certain answers, stated honestly: nothing lost when independent, (2 - 1 - .01) when exclusive.
    honest = (1.0, 1.0)
    assert total(Reward(), (1, 1), honest, 2) - total(exclusive, (1, 1), honest, 2) == pytest.approx(0.99)
