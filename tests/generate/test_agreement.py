"""Votes and semantic aggregation against hand-worked numbers."""

import math
from collections.abc import Sequence

import pytest

from polymode.generate import Generated
from polymode.generate.agreement import aggregated, votes
from polymode.types import Completion, Example, Reference
from polymode.verifiers.text import TextVerifier

EXAMPLE = Example("q", "what?", (Reference("red"),))
OTHER = Example("r", "what else?", (Reference("red"),))


class Scripted:
    """The answer of each text has the probability that `p` gives to the text's answer, as one token."""

    def __init__(self, p: dict[str, float]) -> None:
        self.p = p

    def token_log_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str]
    ) -> list[list[tuple[int, int, float]]]:
        return [
            [(text.index(answer), text.index(answer) + len(answer), math.log(p))]
            for text in texts
            for answer, p in self.p.items()
            if f">{answer}<" in text
        ]

    def generate(self, prompts: Sequence[str], **_: object) -> list[list[Generated]]:
        raise AssertionError("none of these tests asks for it")

    def continuation_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str], groups: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        raise AssertionError("none of these tests asks for it")

    def openings(self, prompts: Sequence[str]) -> list[str]:
        raise AssertionError("none of these tests asks for it")


class Faulty(TextVerifier):
    """Cannot judge what is blue."""

    def key(self, text: str) -> str:
        if "blue" in text:
            raise RuntimeError("no blue")
        return super().key(text)


def samples(*answers: str, example: Example = EXAMPLE, start: int = 0) -> list[Completion]:
    texts = [f"<answer>{answer}</answer>" for answer in answers]
    return [Completion(example, text, 1, False, start + number) for number, text in enumerate(texts)]


def test_votes_are_shares_of_the_completions_by_the_verifiers_equality() -> None:
    # Of four completions two say red (the red = Red), one blue, and one is cut off: 1/2, 1/4 and none.
    cut = Completion(EXAMPLE, "<answer>red", 1, False, 3)
    other = samples("blue", example=OTHER)
    measured = votes([*samples("Red", "the red", "blue"), cut, *other], verifier=TextVerifier())
    assert [one.confidences for one in measured] == [(0.5,), (0.5,), (0.25,), None, (1.0,)]


def test_a_set_votes_once_for_each_answer_it_holds() -> None:
    # red stands in both sets (twice in the first), blue in one: 1, 1 | 1, 1/2.
    texts = ["<answer1>red</answer1><answer2>Red</answer2>", "<answer1>red</answer1><answer2>blue</answer2>"]
    sets = [Completion(EXAMPLE, text, 2, False, number) for number, text in enumerate(texts)]
    assert [one.confidences for one in votes(sets, verifier=TextVerifier())] == [(1.0, 1.0), (1.0, 0.5)]


def test_an_answer_that_cannot_be_compared_has_no_votes() -> None:
    measured = votes(samples("red", "blue"), verifier=Faulty())
    assert [one.confidences for one in measured] == [(0.5,), None]


def test_aggregation_sums_the_probabilities_of_distinct_wordings() -> None:
    # red .4 (sampled twice, counted once) + the red .1 = .5; blue .2 alone.
    model = Scripted({"red": 0.4, "the red": 0.1, "blue": 0.2})
    measured = aggregated(samples("red", "the red", "red", "blue"), model, style="full", verifier=TextVerifier())
    assert [one.confidences for one in measured] == [pytest.approx((q,)) for q in (0.5, 0.5, 0.5, 0.2)]


def test_aggregation_takes_the_mean_over_reasonings_and_ends_at_1() -> None:
    # red: (.9 + .5) / 2 = .7 behind two reasonings; with the red .6 the sum 1.3 is 1.
    class BehindReasoning(Scripted):
        def token_log_probabilities(
            self, prompts: Sequence[str], texts: Sequence[str]
        ) -> list[list[tuple[int, int, float]]]:
            tokens = super().token_log_probabilities(prompts, texts)
            return [
                [(a, b, math.log(0.5) if "hm" in text and ">red<" in text else p) for a, b, p in own]
                for text, own in zip(texts, tokens, strict=True)
            ]

    model = BehindReasoning({"red": 0.9, "the red": 0.6})
    second = Completion(EXAMPLE, "<think>hm</think><answer>red</answer>", 1, False, 1)
    alone = [*samples("red"), second]
    measured = aggregated(alone, model, style="full", verifier=TextVerifier())
    assert [one.confidences for one in measured] == [pytest.approx((0.7,))] * 2
    measured = aggregated([*alone, *samples("the red", start=2)], model, style="full", verifier=TextVerifier())
    assert [one.confidences for one in measured] == [(1.0,)] * 3
