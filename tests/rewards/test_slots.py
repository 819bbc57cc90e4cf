"""Scores by slot: where a completion states its confidences, and what its slots hold in each order."""

import numpy as np
import pytest

from polymode import METHODS, Example, Reference, TextVerifier, judge, parse_answers, score_set
from polymode.credit import Order
from polymode.rewards.slots import slot_scores

EXAMPLE = Example("", "", (Reference("tea"), Reference("milk")))
A1, A2 = "<answer1>tea</answer1>", "<answer2>milk</answer2>"
Q1, Q2 = "<confidence1>0.8</confidence1>", "<confidence2>0.5</confidence2>"


@pytest.mark.parametrize(
    ("text", "order"),
    [
        (A1 + Q1 + A2 + Q2, Order.INTERLEAVED),
        (A1 + A2 + Q1 + Q2, Order.BLOCKED),
        (Q1 + A1 + Q2 + A2, Order.CONFIDENCE_FIRST),
        ("1. tea | 0.8\n2. milk | 0.5", Order.INTERLEAVED),
    ],
)
def test_the_order_and_the_same_slots_in_each(text: str, order: Order) -> None:
    """y = 11: coverage 1 and 1, confidences -(.2^2) / 2 and -(.5^2) / 2."""
    reward = METHODS["multi-rlcr"].reward()
    judgement = judge(EXAMPLE, parse_answers(text, 2, confidence=True), TextVerifier())
    slots = slot_scores([score_set(judgement, reward)], reward, 2)
    assert slots.order_N.tolist() == [order]
    np.testing.assert_allclose(slots.q_NK, [[0.8, 0.5]])
    np.testing.assert_allclose(slots.coverage_NK, [[1, 1]])
    np.testing.assert_allclose(slots.confidence_NK, [[-0.02, -0.125]])


@pytest.mark.parametrize(
    ("text", "is_first"),
    [
        ("<answer>tea</answer><confidence>0.8</confidence>", False),
        ("<confidence>0.8</confidence><answer>tea</answer>", True),
    ],
)
def test_of_one_answer_too(text: str, is_first: bool) -> None:
    reward = METHODS["single-rlcr"].reward()
    judgement = judge(EXAMPLE, parse_answers(text, 1, confidence=True), TextVerifier())
    [order] = slot_scores([score_set(judgement, reward)], reward, 1).order_N
    assert bool(order == Order.CONFIDENCE_FIRST) is is_first
