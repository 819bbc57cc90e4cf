"""Soft labels keep scores proper: honest confidences are best in every set, tried by enumeration."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.errors import ConfigError, RecordError
from polymode.judging import judge
from polymode.rewards import METHODS, Reward, check_question, reward_of, score_set
from polymode.rewards.proper import brier_loss, log_loss, loss_of, other_loss, soft_loss
from polymode.rewards.slots import slot_scores
from polymode.types import Answer, AnswerSet, Example, Judgement, ParseStatus, Reference, Score, Span, Verdict
from polymode.verifiers.text import TextVerifier

steady = settings(derandomize=True)
probability = st.floats(0, 1, allow_subnormal=False)
LOSSES = ("brier", "log", "spherical")
POSTERIOR = {"flu": 0.6, "cold": 0.3, "gout": 0.1}
PATIENT = Example(
    "p", "?", (Reference("flu"), Reference("cold")), distribution=POSTERIOR, target="distribution"
)  # gout is below the threshold
SETS = [texts for k in (1, 2, 3) for texts in product(("flu", "cold", "gout", "rabies"), repeat=k)]
GRID = [0.0, 0.1, 0.3, 0.5, 0.6, 1.0]


def scored(texts: tuple[str, ...], qs: tuple[float, ...], reward: Reward, example: Example = PATIENT) -> Score:
    answers = tuple(Answer(text, Span(0, 0), q) for text, q in zip(texts, qs, strict=True))
    answer_set = AnswerSet(ParseStatus.CLEAN, answers, len(texts), has_confidence=True)
    return score_set(judge(example, answer_set, TextVerifier()), reward)


def total(texts: tuple[str, ...], qs: tuple[float, ...], reward: Reward, example: Example = PATIENT) -> float:
    value = scored(texts, qs, reward, example).total
    assert value is not None
    return value


def labels_of(texts: tuple[str, ...]) -> tuple[float, ...]:
    """The mass of each answer that is new."""
    return tuple(POSTERIOR.get(text, 0.0) if text not in texts[:i] else 0.0 for i, text in enumerate(texts))


def test_by_hand() -> None:
    # Shares .5 / .3 / .2 and answers stated at .6 and .3: ((.6 - .5)² + 0) / 2 = .005, not ((.4)² + (.7)²) / 2 = .325.
    votes = [{"text": name, "weight": w} for name, w in (("e", 0.5), ("n", 0.3), ("c", 0.2))]
    text = "<answer1>e</answer1><confidence1>{}</confidence1><answer2>n</answer2><confidence2>{}</confidence2>"
    found = reward_of(text.format(0.6, 0.3), votes, k=2, target="distribution")
    assert found.terms == pytest.approx({"coverage": 2, "brier": -0.005, "format": 1})
    assert reward_of(text.format(0.6, 0.3), votes, k=2).terms["brier"] == pytest.approx(-0.325)
    # The shares themselves are best, and (1, 1), which verdicts prefer, is worse: (.25 + .49) / 2.
    assert reward_of(text.format(0.5, 0.3), votes, k=2, target="distribution").terms["brier"] == 0
    assert reward_of(text.format(1, 1), votes, k=2, target="distribution").terms["brier"] == pytest.approx(-0.37)
    with pytest.raises(RecordError, match=r"the weights of the references sum to 0\.8"):
        reward_of(text.format(1, 1), votes[:2], k=2, target="distribution")
    with pytest.raises(ConfigError, match="preset = 'released' with target = 'distribution'"):
        reward_of(text.format(1, 1), votes, k=2, target="distribution", preset="released")


@steady
@given(st.sampled_from(LOSSES), probability, probability)
def test_the_divergence_is_the_expected_score_up_to_what_no_confidence_changes(name: str, q: float, w: float) -> None:
    loss = loss_of(name)
    divergence = soft_loss(loss, q, w)
    expected = w * loss(q, 1) + (1 - w) * loss(q, 0)
    least = w * loss(w, 1) + (1 - w) * loss(w, 0)
    assert divergence == pytest.approx(expected - least, abs=1e-9)
    assert 0 <= divergence <= 1
    assert soft_loss(loss, w, w) == 0
    if name == "brier":
        assert divergence == pytest.approx((q - w) ** 2, abs=1e-12)
        assert least == pytest.approx(w * (1 - w), abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_hard_labels_are_soft_ones_of_0_and_1(name: str) -> None:
    for q, y in product(GRID, (0, 1)):
        assert soft_loss(loss_of(name), q, y) == pytest.approx(loss_of(name)(q, y), abs=1e-12)
    # At w = .5 and q = .75, by hand: ½ ln(.5 / .75) + ½ ln(.5 / .25), over ln 99.
    by_hand = 0.5 * (math.log(0.5 / 0.75) + math.log(0.5 / 0.25)) / math.log(99)
    assert soft_loss(log_loss, 0.75, 0.5) == pytest.approx(by_hand)
    assert soft_loss(brier_loss, 0.75, 0.5) == pytest.approx(0.0625)


@pytest.mark.parametrize("name", LOSSES)
def test_in_every_set_honest_confidences_are_best(name: str) -> None:
    reward = Reward(confidence_score=name)
    for texts in SETS:
        honest = labels_of(texts)
        best = total(texts, honest, reward)
        assert best == pytest.approx(1 + len({*texts} & {"flu", "cold"}))  # nothing is lost: coverage and format
        rivals = {qs: total(texts, qs, reward) for qs in product(GRID, repeat=len(texts)) if qs != honest}
        assert all(value < best - 1e-9 for value in rivals.values())


def test_in_every_set_honest_shares_are_best_as_one_forecast() -> None:
    reward = Reward(confidence_score="other", confidences="exclusive")
    for texts in SETS:
        honest = labels_of(texts)
        best = total(texts, honest, reward)
        assert best == pytest.approx(1 + len({*texts} & {"flu", "cold"}))
        assert all(total(texts, qs, reward) <= best + 1e-9 for qs in product(GRID, repeat=len(texts)))


def test_the_reward_is_that_of_drawn_outcomes_up_to_a_constant_of_the_answers() -> None:
    # One condition is the cause, drawn from the posterior; y_i says whether it is answer i. The expected score of the
    # drawn labels and the soft one differ by the same number whatever is stated, for every set and every score.
    for name, texts in product((*LOSSES, "other"), SETS):
        if len(texts) == 3 and name != "brier":
            continue
        exclusive = name == "other"
        reward = Reward(
            confidence_score=name, confidences="exclusive" if exclusive else "independent", coverage_weight=0
        )
        gaps = []
        for qs in product((0.0, 0.2, 0.5, 0.9), repeat=len(texts)):
            if exclusive and sum(qs) > 1:
                continue
            drawn = sum(
                p * total(texts, qs, reward, Example("d", "?", (Reference(cause),))) for cause, p in POSTERIOR.items()
            )
            gaps.append(total(texts, qs, reward) - drawn)
        assert gaps == pytest.approx([gaps[0]] * len(gaps), abs=1e-9)
        if name == "brier":
            labels = labels_of(texts)
            assert gaps[0] == pytest.approx(sum(w * (1 - w) for w in labels) / len(labels))


@steady
@given(st.lists(probability, min_size=1, max_size=4), st.lists(probability, min_size=4, max_size=4))
def test_other_with_soft_labels_is_a_scaled_divergence(masses: list[float], qs: list[float]) -> None:
    labels = [w / max(1.0, math.fsum(masses)) for w in masses]
    qs = qs[: len(labels)]
    assert -1e-12 <= other_loss(qs, labels) <= 1 + 1e-12
    assert other_loss(labels, labels) == pytest.approx(0, abs=1e-9)


def test_right_answers_pay_also_with_soft_labels() -> None:
    # An answer of any mass w in place of junk, everything else fixed, whatever is stated: never less, by the condition.
    for name, coverage in product(LOSSES, ("count", "count/K")):
        reward = Reward(confidence_score=name, coverage=coverage)
        check_question(reward, k=3, n=2, target="distribution")
        for w, q in product(GRID, repeat=2):
            example = Example(
                "w", "?", (Reference("x"), Reference("y")), distribution={"x": w, "y": 1 - w}, target="distribution"
            )
            qs = (q, 0.4, 0.4)
            assert total(("x", "a", "b"), qs, reward, example) >= total(("j", "a", "b"), qs, reward, example) - 1e-9


def test_conditions_of_soft_labels() -> None:
    exclusive = Reward(confidences="exclusive")
    with pytest.raises(ConfigError, match="several can be right"):
        check_question(exclusive, k=3, n=2)
    check_question(exclusive, k=3, n=2, target="distribution")  # honest confidences sum to 1 at most
    with pytest.raises(ConfigError, match="a further hit may add only"):
        check_question(Reward(coverage="any"), k=3, n=2, target="distribution")
    with pytest.raises(ConfigError, match="preset = 'released' with target = 'distribution'"):
        check_question(METHODS["multi-rlcr"].reward("released"), k=3, n=2, target="distribution")
    check_question(METHODS["multi-rlvr"].reward("released"), k=3, n=2, target="distribution")


def test_slots_have_the_verdict_for_coverage_and_the_mass_for_confidence() -> None:
    texts, qs = ("cold", "gout", "cold"), (0.5, 0.5, 0.5)
    for name in LOSSES:
        reward = Reward(confidence_score=name)
        one = scored(texts, qs, reward)
        slots = slot_scores([one], reward, 3)
        assert slots.labels_NK.tolist() == [[0.3, 0.1, 0.0]]
        assert slots.coverage_NK.tolist() == [[1, 0, 0]]
        losses = [soft_loss(loss_of(name), 0.5, w) for w in (0.3, 0.1, 0.0)]
        assert slots.confidence_NK[0] == pytest.approx(-np.array(losses) / 3)
        assert slots.confidence_NK.sum() == pytest.approx(one.terms[name])


@pytest.mark.parametrize(("name", "p", "best"), [("absolute", 0.05, 0.0), ("cubed", 0.05, 0.19)])
def test_a_score_of_ones_own_that_is_not_proper_is_refused(name: str, p: float, best: float) -> None:
    # p q^3 is least against (1 - p) where q / (1 - q) = sqrt(p / (1 - p)): 0.1866 at p = 0.05.
    with pytest.raises(
        ConfigError, match=rf"{name}' is not proper: .* right with probability {p:g} it is best to state {best:g}"
    ):
        Reward(confidence_score=f"{__name__}:{name}")


def test_a_score_that_is_not_proper_off_the_grid_leaves_the_set_unscored() -> None:
    one = scored(("cold",), (1 / 3,), Reward(confidence_score=f"{__name__}:dented"))
    assert one.total is None
    assert "least where q is the label" in one.judgement.faults[0]
    fine = scored(("cold",), (1.0,), Reward(confidence_score=f"{__name__}:squared"))
    assert fine.terms["confidence_score"] == pytest.approx(-0.49)


def absolute(q: float, y: float) -> float:
    """Not proper: at w = .3 the bold 0 is better than .3."""
    return abs(q - y)


def cubed(q: float, y: float) -> float:
    """Not proper either, though both verdicts have a part in the best q."""
    return abs(q - y) ** 3


def dented(q: float, y: float) -> float:
    """Proper but near one third, which no grid of hundredths meets."""
    return (q - y) ** 2 - 0.05 * (abs(q - 1 / 3) < 0.001)


def squared(q: float, y: float) -> float:
    return (q - y) ** 2


def test_an_unscored_answer_leaves_the_set_unscored() -> None:
    answers = AnswerSet(ParseStatus.CLEAN, (Answer("a", Span(0, 0), 0.5),), 1, has_confidence=True)
    unscored = Judgement(answers, (Verdict.UNSCORED,), (None,), (None,), (None,), 1, ("?",), soft_labels=(None,))
    assert score_set(unscored, Reward()).total is None
