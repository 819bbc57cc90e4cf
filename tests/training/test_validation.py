"""Intervals of what is measured on validation questions, against numbers worked by hand."""

import math

import pytest

from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.rewards import METHODS, score_set
from polymode.training.validation import intervals_of, summary_of
from polymode.types import Example, Reference, Score
from polymode.verifiers.text import TextVerifier


def score(text: str) -> Score:
    """A completion of two answers to a question whose references are a and b."""
    example = Example("q", "Which?", (Reference("a"), Reference("b")))
    answers = parse_answers(text, 2, confidence=True)
    return score_set(judge(example, answers, TextVerifier()), METHODS["multi-rlcr"].reward(k=2))


def clean(first: str, second: str, q: float) -> str:
    return (
        f"<answer1>{first}</answer1><confidence1>{q}</confidence1>"
        f"<answer2>{second}</answer2><confidence2>{q}</confidence2>"
    )


def test_intervals_surround_the_means_and_stay_inside_what_is_possible() -> None:
    scores = [score(clean("a", "b", 0.9)), score(clean("a", "x", 0.5)), score(clean("x", "y", 0.2)), score("nothing")]
    means, ends = summary_of(scores), intervals_of(scores)
    assert means["coverage"] == (2 + 1 + 0 + 0) / 4
    assert means["brier"] == pytest.approx((2 * 0.01 + 2 * 0.25 + 2 * 0.04) / 6)
    for name in ("coverage", "reward", "brier", "share_clean"):
        assert ends[f"{name}_low"] < means[name] < ends[f"{name}_high"], name
    assert ends["coverage_low"] >= 0 and ends["brier_low"] >= 0


def test_the_share_of_clean_completions_has_an_exact_interval() -> None:
    ends = intervals_of([score(clean("a", "b", 0.9))] * 20)
    assert ends["share_clean_high"] == 1.0
    assert ends["share_clean_low"] == pytest.approx(0.025 ** (1 / 20))  # Clopper and Pearson, 20 of 20


def test_without_a_clean_completion_there_is_no_brier_score() -> None:
    ends = intervals_of([score("nothing"), score("at all")])
    assert not any(name.startswith("brier") for name in ends)
    assert all(math.isfinite(value) for value in ends.values())
