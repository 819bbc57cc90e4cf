"""Terms and totals: hand-worked numbers, and what holds for any labels and confidences."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from polymode.errors import ConfigError, RecordError
from polymode.judging import judge
from polymode.rewards import METHODS, Method, Reward, find_method, score_set
from polymode.types import Answer, AnswerSet, Example, Judgement, ParseStatus, Reference, Score, Span, Verdict
from polymode.verifiers.text import TextVerifier

PAPER = Reward()
NO_BRIER = Reward(confidence_weight=0)
steady = settings(derandomize=True)
probability = st.floats(0, 1, allow_subnormal=False)


def judgement(
    labels: Sequence[int | None], confidences: list[float] | None, status: ParseStatus = ParseStatus.CLEAN
) -> Judgement:
    """Distinct answers with these labels."""
    answers = tuple(
        Answer(f"answer {i}", Span(0, 8), confidences[i] if confidences else None, Span(9, 10) if confidences else None)
        for i in range(len(labels))
    )
    verdicts = tuple(Verdict.UNSCORED if y is None else Verdict.CORRECT if y else Verdict.WRONG for y in labels)
    nothing = (None,) * len(labels)
    made = AnswerSet(status, answers, len(labels), confidences is not None)
    return Judgement(made, verdicts, tuple(labels), nothing, nothing, 10)


def from_texts(texts: list[str], confidences: list[float] | None, references: list[str]) -> Judgement:
    """Answers judged against references by the text equality."""
    answers = tuple(Answer(t, Span(0, 1), confidences[i] if confidences else None) for i, t in enumerate(texts))
    made = AnswerSet(ParseStatus.CLEAN, answers, len(texts), confidences is not None)
    return judge(Example("", "", tuple(map(Reference, references))), made, TextVerifier())


def total(score: Score) -> float:
    assert score.total is not None
    return score.total


# --- preset `paper` --------------------------------------------------------------------------------------------------


def test_terms_of_the_paper() -> None:
    # labels 1, 0, 1 with q .8, .4, .5: coverage 2; errors .04 + .16 + .25 = .45, over K = 3: .15; format 1.
    score = score_set(judgement([1, 0, 1], [0.8, 0.4, 0.5]), PAPER)
    assert list(score.terms) == ["coverage", "brier", "format"]
    assert score.terms == pytest.approx({"coverage": 2.0, "brier": -0.15, "format": 1.0})
    assert score.total == pytest.approx(2.85)


def test_weights_multiply_terms() -> None:
    # Half the coverage (1.0), 2 x the error (.3), 3 x the format.
    score = score_set(
        judgement([1, 0, 1], [0.8, 0.4, 0.5]), Reward(coverage_weight=0.5, confidence_weight=2, format_weight=3)
    )
    assert score.terms == pytest.approx({"coverage": 1.0, "brier": -0.3, "format": 3.0})


def test_without_a_brier_weight_confidences_are_ignored() -> None:
    assert score_set(judgement([1, 0], None), NO_BRIER).terms == {"coverage": 1.0, "format": 1.0}
    assert score_set(judgement([1, 0], [0.1, 0.9]), NO_BRIER).terms == {"coverage": 1.0, "format": 1.0}


def test_sets_that_are_not_clean_score_zero() -> None:
    for status in (ParseStatus.MALFORMED, ParseStatus.TRUNCATED):
        made = Judgement(AnswerSet(status, (), 3, True, "why"), (), (), (), (), 2)
        assert score_set(made, PAPER) == Score(0.0, {"coverage": 0.0, "brier": 0.0, "format": 0.0}, made)
    salvaged = judgement([1, 1], [1.0, 1.0], ParseStatus.PARTIAL)
    assert score_set(salvaged, PAPER).total == 0
    assert score_set(salvaged, Reward(confidence_weight=0)).terms == {"coverage": 0.0, "format": 0.0}


def test_an_unscored_answer_leaves_the_set_without_a_score() -> None:
    score = score_set(judgement([1, None, 0], [0.5, 0.5, 0.5]), PAPER)
    assert (score.total, score.terms) == (None, {})


labels_and_confidences = st.integers(1, 8).flatmap(
    lambda k: st.tuples(
        st.lists(st.integers(0, 1), min_size=k, max_size=k), st.lists(probability, min_size=k, max_size=k)
    )
)
weights = st.builds(
    lambda coverage, brier, extra: Reward(
        coverage_weight=coverage, confidence_weight=brier, format_weight=brier + extra
    ),
    *([st.floats(0, 4, allow_subnormal=False)] * 3),
)


@steady
@given(labels_and_confidences, weights, st.sampled_from(["independent", "exclusive"]))
def test_terms_sum_to_the_total_and_malformed_is_no_better(case, reward: Reward, confidences: str) -> None:
    labels, qs = case
    reward = replace(reward, confidences=confidences)
    score = score_set(judgement(labels, qs), reward)
    assert score.total == sum(score.terms.values())
    assert all(math.isfinite(term) for term in score.terms.values())
    malformed = Judgement(AnswerSet(ParseStatus.MALFORMED, (), len(labels), True), (), (), (), (), 1)
    floor = total(score_set(malformed, reward))
    # Equal at worst, when every answer is wrong with q = 1 and format = brier.
    assert floor == 0
    assert total(score) >= (0 if confidences == "independent" else -1e-12)
    assert set(score.terms) == set(score_set(malformed, reward).terms)


@steady
@given(labels_and_confidences, st.randoms(use_true_random=False))
def test_order_does_not_matter_without_duplicates(case, shuffler) -> None:
    labels, qs = case
    before = total(score_set(judgement(labels, qs), PAPER))
    order = list(range(len(labels)))
    shuffler.shuffle(order)
    after = total(score_set(judgement([labels[i] for i in order], [qs[i] for i in order]), PAPER))
    assert after == pytest.approx(before, abs=1e-12)


@steady
@given(labels_and_confidences, weights, st.data())
def test_another_hit_never_costs_iff_coverage_outweighs_its_share_of_brier(case, reward: Reward, data) -> None:
    labels, qs = case
    slot = data.draw(st.integers(0, len(labels) - 1))
    q = data.draw(st.sampled_from([qs[slot], 0.0, 1.0]))
    qs[slot], labels[slot] = q, 0
    missed = total(score_set(judgement(list(labels), qs), reward))
    labels[slot] = 1
    gain = total(score_set(judgement(labels, qs), reward)) - missed
    # coverage - (brier / K) ((q - 1)² - q²) = coverage - brier (1 - 2q) / K, smallest at q = 0.
    assert gain == pytest.approx(
        reward.coverage_weight - reward.confidence_weight * (1 - 2 * q) / len(labels), abs=1e-9
    )
    assume(abs(reward.coverage_weight - reward.confidence_weight / len(labels)) > 1e-9)
    if reward.coverage_weight >= reward.confidence_weight / len(labels):
        assert gain > 0
    elif q == 0:
        assert gain < 0


@steady
@given(labels_and_confidences, probability)
def test_a_repeat_adds_nothing_without_confidence_and_costs_with_it(case, q: float) -> None:
    labels, qs = case
    k = len(labels) + 1
    texts = [f"right {i}" if y else f"wrong {i}" for i, y in enumerate(labels)]
    references = [text for text in texts if text.startswith("right")] or ["none of these"]

    def scored(last: str, confidence: float) -> float:
        return total(score_set(from_texts([*texts, last], [*qs, confidence], references), PAPER))

    without = scored("a junk answer", 0.0)
    assert scored(f"The {texts[0]}.", 0.0) == pytest.approx(without, abs=1e-12)
    assert scored(f"The {texts[0]}.", q) == pytest.approx(without - q**2 / k, abs=1e-12)


@pytest.mark.parametrize("q", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("y", [0, 1])
def test_one_answer_with_confidence_is_rlcr(y: int, q: float) -> None:
    # RLCR: y - (q - y)², here with 1 for the format.
    assert score_set(judgement([y], [q]), PAPER).total == pytest.approx(y - (q - y) ** 2 + 1)


def test_with_one_reference_the_count_is_any_correct() -> None:
    for texts in product(["flu", "cold", "mumps"], repeat=3):
        found = from_texts(list(texts), None, ["flu"])
        assert score_set(found, NO_BRIER).terms["coverage"] == float("flu" in texts)


@pytest.mark.parametrize("p", [0.1, 0.35, 0.8])
def test_honest_confidences_are_best_in_expectation(p: float) -> None:
    def expected(q: float) -> float:
        return sum(weight * total(score_set(judgement([y, 1], [q, 1.0]), PAPER)) for y, weight in ((1, p), (0, 1 - p)))

    grid = [i / 20 for i in range(21)]
    assert max(grid, key=expected) == pytest.approx(p)
    # The slot's value is p - p(1-p)/K; the other slot gives 1, the format 1.
    assert expected(p) == pytest.approx(2 + p - p * (1 - p) / 2)


# --- exclusive confidences -------------------------------------------------------------------------------------------


def test_exclusive_confidences_are_penalised_above_one() -> None:
    exclusive = Reward(confidences="exclusive", exclusive_penalty=2, tolerance=0.05)
    # Sum 1.3: 2 x (1.3 - 1 - .05) = .5. Errors: .01 + .16 = .17, over 2: .085.
    score = score_set(judgement([1, 0], [0.9, 0.4]), exclusive)
    assert score.terms == pytest.approx({"coverage": 1.0, "brier": -0.085, "format": 1.0, "exclusive": -0.5})
    assert score_set(judgement([1, 0], [0.6, 0.4]), exclusive).terms["exclusive"] == 0
    # All wrong and certain: brier -1 + format 1 = 0, so nothing is left to take.
    assert score_set(judgement([0, 0], [1.0, 1.0]), exclusive).total == 0


def test_exclusive_tolerates_rounding_on_a_grid() -> None:
    exclusive = Reward(confidences="exclusive", tolerance=1e-9)
    for qs in grid_confidences(4):
        assert score_set(judgement([1, 0, 0, 0], qs), exclusive).terms["exclusive"] == 0


def grid_confidences(k: int) -> list[list[float]]:
    """All confidences on a grid of .05 that sum to exactly 1."""
    firsts = product(range(21), repeat=k - 1)
    return [[n / 20 for n in (*parts, 20 - sum(parts))] for parts in firsts if sum(parts) <= 20]


# --- preset `released` -----------------------------------------------------------------------------------------------

RELEASED = METHODS["multi-rlcr"].reward("released")


def test_terms_of_the_released_code() -> None:
    # Any correct: .5. Errors .04 + .04 + 0, over 3: .026667; brier .5 x .973333 = .486667. Format .5.
    score = score_set(judgement([1, 0, 0], [0.8, 0.2, 0.0]), RELEASED)
    assert score.terms == pytest.approx({"coverage": 0.5, "brier": 0.486667, "format": 0.5}, abs=1e-6)
    assert score_set(judgement([1], [1.0]), METHODS["single-rlcr"].reward("released")).total == 1.5
    assert score_set(judgement([0, 1], None), METHODS["multi-rlvr"].reward("released")).terms == {
        "coverage": 0.5,
        "format": 0.5,
    }


@pytest.mark.parametrize(("k", "rejected", "n"), [(3, 0, 231), (4, 16, 1771), (5, 250, 10626)])
def test_the_released_gate_rejects_exact_sums_by_rounding(k: int, rejected: int, n: int) -> None:
    sets = grid_confidences(k)
    gated = [qs for qs in sets if score_set(judgement([1] + [0] * (k - 1), qs), RELEASED).terms["brier"] == 0]
    # The rates at which the published code rejects them.
    assert (len(sets), len(gated)) == (n, rejected)


# --- methods and mistakes --------------------------------------------------------------------------------------------


def test_the_four_methods() -> None:
    assert {
        name: Method(name, name.startswith("multi"), name.endswith("rlcr"))
        for name in ("single-rlvr", "single-rlcr", "multi-rlvr", "multi-rlcr")
    } == METHODS
    assert [method.answers(3) for method in METHODS.values()] == [1, 1, 3, 3]
    assert [method.reward().confidence_weight for method in METHODS.values()] == [0, 1, 0, 1]
    assert find_method("multi-rlcr") is METHODS["multi-rlcr"]
    assert METHODS["multi-rlvr"].reward("released") == Reward(
        coverage_weight=0.5, confidence_weight=0, format_weight=0.5, preset="released"
    )


@pytest.mark.parametrize("name", ["rlcr", "Multi-RLCR", "", None, []])
def test_unknown_methods(name) -> None:
    with pytest.raises(ConfigError, match="use one of single-rlvr, single-rlcr, multi-rlvr, multi-rlcr"):
        find_method(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coverage_weight": -1}, "coverage_weight = -1 is not allowed: use a finite number, at least 0"),
        ({"confidence_weight": math.nan}, "confidence_weight = nan"),
        ({"exclusive_penalty": math.inf}, "exclusive_penalty = inf"),
        ({"format_weight": True}, "format_weight = True"),
        ({"tolerance": "0.1"}, "tolerance = '0.1'"),
        ({"preset": "mine"}, "preset = 'mine' is not known: use one of paper, released"),
        ({"confidences": "shared"}, "use one of independent, exclusive"),
        ({"format_weight": 0.5}, "below malformed text .0.; raise format_weight to 1"),
        (
            {"preset": "released", "confidences": "exclusive"},
            "confidences = 'exclusive' with preset 'released': its formulas are fixed",
        ),
    ],
)
def test_rewards_that_are_refused(options, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Reward(**options)
    assert "\n" not in str(caught.value)


def test_unknown_preset() -> None:
    with pytest.raises(ConfigError, match=r"preset = 'best' is not known: use one of paper, released"):
        METHODS["multi-rlcr"].reward("best")


@pytest.mark.parametrize("q", [math.nan, -0.1, 1.1, math.inf, None])
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_answers_made_by_hand_need_real_confidences(q, preset: str) -> None:
    with pytest.raises(RecordError, match=f"confidence {q} of answer 2 is not allowed; give a number from 0 to 1"):
        score_set(judgement([1, 0], [0.5, q]), METHODS["multi-rlcr"].reward(preset))


def test_sets_made_by_hand_need_k_answers() -> None:
    made = judgement([1, 0], [0.5, 0.5])
    fewer = replace(made, answer_set=replace(made.answer_set, k=3))
    with pytest.raises(RecordError, match="a clean set of k = 3 has 2"):
        score_set(fewer, PAPER)


def test_a_brier_term_needs_confidences() -> None:
    with pytest.raises(
        ConfigError, match="needs confidences: parse with confidence=True, or set confidence_weight = 0"
    ):
        score_set(judgement([1, 0], None), PAPER)
    with pytest.raises(RecordError, match="confidence None of answer 1"):
        score_set(judgement([1, 0], None), Reward(confidence_weight=0, confidences="exclusive"))
