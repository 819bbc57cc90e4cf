"""Options of the reward: hand-worked terms, bounds, and what they must not change."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.errors import ConfigError
from polymode.judging import judge
from polymode.rewards import AGGREGATIONS, METHODS, SCORES, Reward, score_set, term_names
from polymode.types import Answer, AnswerSet, Example, Judgement, ParseStatus, Reference, Span
from polymode.verifiers.text import TextVerifier

steady = settings(derandomize=True)
probability = st.floats(0, 1, allow_subnormal=False)


def judged(texts: Sequence[str], qs: Sequence[float], references: Sequence[str]) -> Judgement:
    """Answers judged against references by the text equality."""
    answers = tuple(Answer(text, Span(0, 1), q) for text, q in zip(texts, qs, strict=True))
    made = AnswerSet(ParseStatus.CLEAN, answers, len(texts), True)
    return judge(Example("", "", tuple(map(Reference, references))), made, TextVerifier())


SET = judged(["flu", "cold", "The flu.", "mumps"], [0.8, 0.4, 0.1, 0.0], ["flu", "cold", "gout"])
"""Labels 1, 1, 0 (a repeat), 0."""


@pytest.mark.parametrize(
    ("aggregation", "value"), [("count", 2), ("any", 1), ("count/K", 0.5), ("count/N", 2 / 3), ("vector", 1.5 / 3)]
)
def test_aggregations(aggregation, value: float) -> None:
    score = score_set(SET, Reward(coverage_weight=2, coverage=aggregation))
    assert score.terms["coverage"] == pytest.approx(2 * value)
    assert list(score.terms) == ["coverage", "brier", "format"]


def test_where_right_answers_are_without_number_n_is_k() -> None:
    open_set = replace(SET, n_references=4)  # what `judge` says for an open verifier
    assert score_set(open_set, Reward(coverage="count/N")).terms["coverage"] == 0.5


def test_log_and_spherical_scores() -> None:
    log = score_set(SET, Reward(confidence_weight=0.5, confidence_score="log"))
    # r: .8 of y = 1, .4 of y = 1, .9 of y = 0, 1 of y = 0 (cut to .99).
    parts = [math.log(0.99 / r) / math.log(99) for r in (0.8, 0.4, 0.9, 0.99)]
    assert log.terms == pytest.approx({"coverage": 2, "log": -0.5 * sum(parts) / 4, "format": 1})
    spherical = score_set(SET, Reward(confidence_score="spherical"))
    parts = [1 - r / math.hypot(r, 1 - r) for r in (0.8, 0.4, 0.9, 1.0)]
    assert spherical.terms["spherical"] == pytest.approx(-sum(parts) / 4)


def test_one_forecast_with_none_of_these() -> None:
    reward = Reward(confidence_score="other", confidences="exclusive")
    score = score_set(judged(["flu", "cold"], [0.2, 0.7], ["flu"]), reward)
    # The first is right, at .2; not divided by K.
    assert score.terms == pytest.approx(
        {"coverage": 1, "other": -math.log(0.98 / 0.2) / math.log(98), "format": 1, "exclusive": 0}
    )
    # Sum 1.4: shares, and the soft penalty 1.4 - 1 - .01.
    over = score_set(judged(["flu", "cold"], [0.7, 0.7], ["flu"]), reward)
    assert over.terms["exclusive"] == pytest.approx(-0.39)
    assert over.terms["other"] == pytest.approx(-math.log(0.98 / 0.495) / math.log(98))
    with pytest.raises(ConfigError, match="2 answers are right, but it is for questions with one reference"):
        score_set(judged(["flu", "cold"], [0.2, 0.7], ["flu", "cold"]), reward)


def test_repeats_cost_their_weight() -> None:
    reward = Reward(repeat_penalty=0.25, format_weight=1.75)
    score = score_set(SET, reward)
    assert list(score.terms) == ["coverage", "brier", "format", "repeat"]
    assert score.terms["repeat"] == -0.25
    thrice = score_set(judged(["a", "A", "the a", "b"], [1, 1, 1, 1], ["c"]), reward)
    # All wrong and certain, two repeats: -1 + 1.75 - .5; with three repeats exactly 0.
    assert (thrice.terms["repeat"], thrice.total) == (-0.5, 0.25)
    assert score_set(judged(["a", "A", "the a", "a."], [1] * 4, ["c"]), reward).total == 0


def test_a_format_weight_that_repeats_could_eat_up_is_refused() -> None:
    # Four answers: three repeats of .25 on top of the Brier term.
    with pytest.raises(
        ConfigError, match=r"format_weight = 1.0 with .*repeat_penalty = 0.25 .*; raise format_weight to 1.75"
    ):
        score_set(SET, Reward(repeat_penalty=0.25))


def test_defaults_are_the_preset() -> None:
    plain = Reward()
    assert (plain.coverage, plain.confidence_score, plain.repeat_penalty, plain.coverage_alpha) == (
        "count",
        "brier",
        0,
        1,
    )
    assert METHODS["multi-rlcr"].reward() == plain


any_set = st.lists(st.sampled_from(["flu", "cold", "gout", "mumps", "tea"]), min_size=1, max_size=6).flatmap(
    lambda texts: st.tuples(
        st.just(texts),
        st.lists(probability, min_size=len(texts), max_size=len(texts)),
        st.lists(st.sampled_from(["flu", "cold", "gout"]), min_size=1, max_size=3, unique=True),
    )
)
any_reward = st.builds(
    lambda aggregation, score, coverage, brier, repeat, exclusive: Reward(
        coverage_weight=coverage,
        confidence_weight=brier,
        format_weight=brier + 5 * repeat,
        repeat_penalty=repeat,
        coverage=aggregation,
        confidence_score=score,
        confidences="exclusive" if exclusive or score == "other" else "independent",
    ),
    st.sampled_from(AGGREGATIONS),
    st.sampled_from(list(SCORES)),
    st.sampled_from([0.0, 0.3, 2.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 0.1]),
    st.booleans(),
)


@steady
@given(any_set, any_reward)
def test_terms_are_bounded_and_sum_to_the_total(case, reward: Reward) -> None:
    texts, qs, references = case
    judgement = judged(texts, qs, references[:1] if reward.confidence_score == "other" else references)
    score = score_set(judgement, reward)
    k, n = len(texts), judgement.n_references
    assert list(score.terms) == term_names(reward)
    assert score.total == sum(score.terms.values())
    assert score.total is not None and score.total >= -1e-12
    most = min(k, n) if reward.coverage == "count" else 1
    assert 0 <= score.terms.get("coverage", 0) <= reward.coverage_weight * most + 1e-12
    assert -reward.confidence_weight <= score.terms.get(reward.confidence_score, 0) <= 0
    assert -reward.repeat_penalty * (k - 1) <= score.terms.get("repeat", 0) <= 0
    assert score.terms.get("exclusive", 0) <= 0


@steady
@given(any_set, any_reward, st.randoms(use_true_random=False))
def test_order_does_not_matter_without_duplicates(case, reward: Reward, shuffler) -> None:
    texts, qs, references = case
    stated = dict(zip(texts, qs, strict=True))
    order = list(stated)
    references = references[:1] if reward.confidence_score == "other" else references
    before = score_set(judged(order, list(stated.values()), references), reward)
    shuffler.shuffle(order)
    after = score_set(judged(order, [stated[text] for text in order], references), reward)
    assert after.terms == pytest.approx(before.terms, abs=1e-9)


@steady
@given(any_set)
def test_no_aggregation_or_repeat_penalty_looks_at_confidences(case) -> None:
    texts, qs, references = case
    for aggregation in AGGREGATIONS:
        reward = Reward(coverage=aggregation, repeat_penalty=0.1, format_weight=2)
        stated = score_set(judged(texts, qs, references), reward).terms
        none = score_set(judged(texts, [0.0] * len(texts), references), reward).terms
        assert [stated[name] for name in ("coverage", "repeat")] == [none[name] for name in ("coverage", "repeat")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"coverage": "mean"},
            "coverage = 'mean' is not known: use one of count, any, count/K, count/N, vec",
        ),
        (
            {"confidence_score": "hinge"},
            "confidence_score = 'hinge' is not known: use one of brier, log, spherical, other",
        ),
        ({"coverage_alpha": 0}, "coverage_alpha = 0 must be above 0; 1 draws"),
        ({"coverage_alpha": -1}, "coverage_alpha = -1 is not allowed"),
        ({"coverage_alpha": 2}, "coverage_alpha = 2 is given without coverage: add coverage: vector"),
        ({"exclusive_penalty": 2}, "exclusive_penalty = 2 is given without confidences: add confidences: exclusive"),
        ({"repeat_penalty": -0.1}, "repeat_penalty = -0.1 is not allowed"),
        (
            {"confidence_score": "other"},
            "confidence_score = 'other' with confidences = 'independent': .* add confidences: exclusive",
        ),
        ({"preset": "released", "coverage": "any"}, "coverage = 'any' with preset 'released'"),
        (
            {"preset": "released", "confidence_score": "log"},
            "confidence_score = 'log' with preset 'released': its formulas are fixed",
        ),
        ({"preset": "released", "repeat_penalty": 0.1}, "repeat_penalty = 0.1 with preset 'released'"),
    ],
)
def test_what_is_refused(options, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Reward(**options)
    assert "\n" not in str(caught.value)
