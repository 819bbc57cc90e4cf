"""Credit for each part of a completion, by hand; tokens and their parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polymode.credit import Order, SlotScores, group_advantages, term_advantages, token_parts
from polymode.errors import ConfigError, RecordError
from polymode.parsing import parse_answers

NAN = float("nan")


def scores(y, q=None, *, format_=1.0) -> SlotScores:
    """Slot scores of the paper's reward: coverage y, confidence -(q - y)^2 / K, format."""
    y = np.array(y, float)
    at = np.full(y.shape, NAN) if q is None else np.array(q, float)
    s, hit, miss = (-((at - label) ** 2) / y.shape[1] for label in (y, 1, 0))
    return SlotScores(np.nansum(y, 1) + np.nansum(s, 1) + format_, y, s, y, hit, miss, at, np.zeros(len(y)))


def test_two_completions_without_confidences_by_hand() -> None:
    """One group. A finds both references, B only the second: R = 3 and 2, mean 2.5.

    Answer 1: all is to come, 3 and 2: half of 3 - 2 and of 2 - 3. Answer 2: 3 - 1 and 2 - 0, equal. A single group has
    no other to fit coefficients on: they are 0.
    """
    found = term_advantages(scores([[1, 1], [0, 1]]), 2)
    np.testing.assert_allclose(found[:, :3], [[0.5, 0.5, 0.0], [-0.5, -0.5, 0.0]])
    np.testing.assert_allclose(found[:, 3:], 0.0)  # no confidences: only the rest, which is equal


def test_control_variate_by_hand() -> None:
    """Exclusive answers: who found it first cannot find it again. y = (1,0), (0,1), (0,0), (0,0), two such groups.

    Answer 2: to come F = 0, 1, 0, 0 (+ format), minus the others' mean F' = -1/3, 1, -1/3, -1/3; X' = 1, -1/3, -1/3,
    -1/3. On the other group: sum X' F' = -1/3 - 1/3 + 2/9 = -4/9, sum X'^2 = 4/3, slope -4/9 / (4/3 + 1) = -4/21.
    F' + 4/21 X' = -1/7, 59/63, -25/63, -25/63, times 3/4.
    """
    found = term_advantages(scores([[1, 0], [0, 1], [0, 0], [0, 0]] * 2), 4)
    np.testing.assert_allclose(found[:, 2], [-3 / 28, 59 / 84, -25 / 84, -25 / 84] * 2, atol=1e-12)


def test_confidences_are_held_against_what_others_would_score_under_the_same_verdict() -> None:
    """K = 1, two groups of two. y = 1, 1, 0, 0 and q = .9, .5, .4, 0: s = -.01, -.25, -.16, 0.

    As hits the four would score -.01, -.25, -.36, -1. First: the other hit -.25, all others (-.25 - .36 - 1) / 3 =
    -1.61 / 3, half of both. Second: -.01 and (-.01 - .36 - 1) / 3 = -1.37 / 3. As misses -.81, -.25, -.16, 0. Third:
    0 and -1.06 / 3. Fourth: -.16 and -1.22 / 3. All times (G - 1) / G = 1/2.
    """
    found = term_advantages(scores([[1], [1], [0], [0]], [[0.9], [0.5], [0.4], [0.0]]), 2)
    baseline = np.array([-0.25 - 1.61 / 3, -0.01 - 1.37 / 3, 0 - 1.06 / 3, -0.16 - 1.22 / 3]) / 2
    np.testing.assert_allclose(found[:, 2], (np.array([-0.01, -0.25, -0.16, 0]) - baseline) / 2)
    # Answer: coverage is equal within the groups, so only its own confidence score is left, centred in its group.
    np.testing.assert_allclose(found[:, 1], [0.12, -0.12, -0.08, 0.08])
    without = term_advantages(scores([[1], [1], [0], [0]], [[0.9], [0.5], [0.4], [0.0]]), 2, own_confidence=False)
    np.testing.assert_allclose(without[:, 2], 0, atol=1e-12)


def test_a_lonely_verdict_has_a_baseline_and_credit() -> None:
    """Others said .5 and would have scored -.25 as hits; it said .9: -.01 + .25, times 3/4."""
    found = term_advantages(scores([[1], [0], [0], [0]], [[0.9], [0.5], [0.5], [0.5]]), 4)
    assert found[0, 2] == pytest.approx(0.18)


def test_soft_labels_are_a_verdict_each_way() -> None:
    """Label 1/2, q = .5 and .9: half of a hit and half of a miss, -.25 and -.41; each is the other's baseline."""
    found = term_advantages(scores([[0.5], [0.5]], [[0.5], [0.9]]), 2)
    np.testing.assert_allclose(found[:, 2], [0.08, -0.08])


def test_answers_before_all_confidences_are_credited_with_all_of_them() -> None:
    """One group, y = 0 everywhere, s_1 = -.125 or 0, s_2 = 0: in blocked text confidence 1 comes after answer 2."""
    slots = scores([[0, 0], [0, 0]], [[0.5, 0], [0, 0]])
    np.testing.assert_allclose(term_advantages(slots, 2)[:, 2], 0, atol=1e-12)
    blocked = replace(slots, order_N=np.full(2, float(Order.BLOCKED)))
    np.testing.assert_allclose(term_advantages(blocked, 2)[:, 2], [-0.0625, 0.0625])


def test_later_slots_are_credited_to_a_confidence_on_request() -> None:
    """One group of two, K = 2, y = 01 and 00, q = 0: later than confidence 1 are coverage 1 and 0, s_2 = -.5 and 0."""
    slots = scores([[0, 1], [0, 0]], [[0, 0], [0, 0]])
    np.testing.assert_allclose(term_advantages(slots, 2)[:, 3], 0, atol=1e-12)
    np.testing.assert_allclose(term_advantages(slots, 2, later=1)[:, 3], [0.25, -0.25])
    with pytest.raises(ConfigError, match=r"later = 2 must be from 0 .own score only. to 1 .later slots too."):
        term_advantages(slots, 2, later=2)


def test_malformed_completions_get_the_whole_score_everywhere_and_unscored_ones_nothing() -> None:
    """R = 2, 0 (malformed), unscored: mean 1 over the two scored ones. The first is alone with slots: all is 1."""
    blank = [NAN, NAN]
    hits = np.array([[1.0, 0.0], blank, [1.0, NAN]])
    none = np.full((3, 2), NAN)
    found = term_advantages(SlotScores(np.array([2.0, 0.0, NAN]), hits, none, hits, none, none, none, np.zeros(3)), 3)
    np.testing.assert_allclose(found, np.broadcast_to([[1.0], [-1.0], [0.0]], (3, 5)))


@pytest.mark.parametrize("options", [{}, {"later": 1}, {"own_confidence": False}])
def test_a_confidence_before_its_answer_is_credited_with_the_whole_score(options) -> None:
    """Its y is not fixed when it is sampled: such a completion counts as one whose slots cannot be told apart."""
    rng = np.random.default_rng(1)
    given = scores(rng.random((8, 2)) < 0.4, rng.random((8, 2)))
    first = replace(given, order_N=np.array([Order.CONFIDENCE_FIRST, *[Order.INTERLEAVED] * 7], float))
    found = term_advantages(first, 4, **options)
    whole = group_advantages(given.total_N.reshape(2, 4)).ravel()
    np.testing.assert_allclose(found[0], whole[0])
    for array in (given.coverage_NK, given.confidence_NK, given.labels_NK, given.if_hit_NK, given.if_miss_NK):
        array[0] = NAN
    np.testing.assert_allclose(found, term_advantages(given, 4, **options))


def test_good_format_is_credited_to_the_slots_too() -> None:
    """One group: two sets with a score of 2, two malformed with 0. The whole is +-1 and so is what every slot gets."""
    hits = np.array([[1.0], [1.0], [NAN], [NAN]])
    none = np.full((4, 1), NAN)
    given = SlotScores(np.array([2.0, 2.0, 0.0, 0.0]), hits, none, hits, none, none, none, np.zeros(4))
    np.testing.assert_allclose(term_advantages(given, 4), np.broadcast_to([[1.0], [1.0], [-1.0], [-1.0]], (4, 3)))


def test_factors_lengthen_the_credit_of_the_reasoning_and_of_confidences() -> None:
    given = scores([[1], [1], [0], [0]], [[0.9], [0.5], [0.4], [0.0]])
    plain, found = (term_advantages(given, 2, **factors) for factors in ({}, {"reasoning": 0.5, "confidence": 3}))
    np.testing.assert_allclose(found, plain * [0.5, 1, 3])
    blank = np.array([NAN])
    for array in (given.coverage_NK, given.confidence_NK, given.labels_NK, given.if_hit_NK, given.if_miss_NK):
        array[3] = blank
    given.total_N[3] = 0.0  # malformed: R̄ = .42, no factor
    np.testing.assert_allclose(term_advantages(given, 2, reasoning=0.5, confidence=3)[3], -0.42)
    with pytest.raises(ConfigError, match="reasoning = 0 must be a positive number"):
        term_advantages(given, 2, reasoning=0)
    with pytest.raises(ConfigError, match="confidence = -1 must be a positive number"):
        term_advantages(given, 2, confidence=-1)


def test_a_step_whose_completions_are_all_malformed_is_zero() -> None:
    blank = np.full((4, 3), NAN)
    found = term_advantages(SlotScores(np.zeros(4), blank, blank, blank, blank, blank, blank, np.zeros(4)), 2)
    np.testing.assert_array_equal(found, 0.0)


def test_the_whole_is_the_published_advantage() -> None:
    rng = np.random.default_rng(0)
    given = scores(rng.random((32, 3)) < 0.4, rng.random((32, 3)))
    expected = group_advantages(given.total_N.reshape(4, 8)).ravel()
    np.testing.assert_allclose(term_advantages(given, 8)[:, 0], expected)
    scaled = term_advantages(given, 8, scale="batch")
    np.testing.assert_allclose(scaled * (given.total_N.std(ddof=1) + 1e-4), term_advantages(given, 8))
    by_group = term_advantages(given, 8, scale="group").reshape(-1, 8, scaled.shape[1])
    deviation = given.total_N.reshape(-1, 8).std(1, ddof=1)[:, None, None]
    np.testing.assert_allclose(by_group * (deviation + 1e-4), term_advantages(given, 8).reshape(by_group.shape))


def test_columns_hold_everything_and_are_read_back() -> None:
    given = scores([[1, 0], [0, 1]], [[0.5, 0.2], [0.1, 0.9]])
    again = SlotScores.from_columns(given.to_columns())
    for name in SlotScores.__slots__:
        np.testing.assert_array_equal(getattr(again, name), getattr(given, name))


@pytest.mark.parametrize(
    ("group", "scale", "error", "text"),
    [
        (3, "none", RecordError, "group = 3 does not divide"),
        (2, "rank", ConfigError, "scale = 'rank' is not known: use one of none, batch, group"),
    ],
)
def test_what_cannot_be_credited_is_refused(group, scale, error, text) -> None:
    with pytest.raises(error, match=text):
        term_advantages(scores([[1], [0], [0], [0]]), group, scale=scale)
    with pytest.raises(RecordError, match="shape"):
        term_advantages(replace(scores([[1], [0]]), confidence_NK=np.zeros((2, 2))), 2)


TEXT = (
    "<think>a</think><answer1>x < y</answer1><confidence1>0.5</confidence1>"
    "<answer2> z</answer2><confidence2>1</confidence2>"
)


def test_tokens_of_one_character_each_belong_to_the_slot_around_them() -> None:
    answers = parse_answers(TEXT, 2, confidence=True)
    parts = token_parts(answers, TEXT, range(len(TEXT)), 2)
    for part, slot in enumerate(
        [
            "<think>a</think>",
            "<answer1>x < y</answer1>",
            "<answer2> z</answer2>",
            "<confidence1>0.5</confidence1>",
            "<confidence2>1</confidence2>",
        ]
    ):
        assert "".join(c for c, p in zip(TEXT, parts, strict=True) if p == part) == slot


@pytest.mark.parametrize("space", ["", "\n "])
def test_a_confidence_before_its_answer_has_its_own_tokens(space: str) -> None:
    slots = ["<confidence1>0.5</confidence1>", "<answer1>x < y</answer1>", "<confidence2> 1</confidence2>"]
    slots += ["<answer2>z</answer2>"]
    text = "<think>a</think>" + space.join(slots)
    parts = token_parts(parse_answers(text, 2, confidence=True), text, range(len(text)), 2)
    for part, slot in zip((3, 1, 4, 2), slots, strict=True):
        assert "".join(c for c, p in zip(text, parts, strict=True) if p == part) == slot


@pytest.mark.parametrize("end", ["", "\n"])
def test_in_lines_a_confidence_reaches_from_its_bar_to_the_end_of_the_line(end: str) -> None:
    text = "<think>a\nb</think>\n1. x > y | 0.5\n2.  z| 1" + end
    parts = token_parts(parse_answers(text, 2, confidence=True), text, range(len(text)), 2)
    for part, slot in enumerate(["<think>a\nb</think>\n", "1. x > y ", "2.  z", "| 0.5\n", "| 1" + end]):
        assert "".join(c for c, p in zip(text, parts, strict=True) if p == part) == slot


def test_in_lines_without_confidences_a_line_is_its_answer() -> None:
    text = "1. x > y\n2. z\n"
    parts = token_parts(parse_answers(text, 2, confidence=False), text, range(len(text)), 2)
    assert parts.tolist() == [1] * len("1. x > y\n") + [2] * len("2. z\n")


def test_a_token_over_a_border_belongs_where_it_starts() -> None:
    answers = parse_answers(TEXT, 2, confidence=True)
    start = TEXT.index("y</answer1>")
    parts = token_parts(answers, TEXT, [0, start, start + len("y</answer1><conf")], 2)
    assert parts.tolist() == [0, 1, 3]


def test_what_could_not_be_read_is_all_of_the_whole() -> None:
    text = "no slots"
    assert token_parts(parse_answers(text, 2, confidence=True), text, [0, 3], 2).tolist() == [0, 0]
