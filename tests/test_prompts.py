import re

import numpy as np
import pytest

from polymode.errors import ConfigError
from polymode.parsing import parse_answers
from polymode.prompts import MAX_K, Style, build_prompt, check_k, reasoning_opened_by, with_reasoning_opened

EVERY_K = range(1, MAX_K + 1)


def followed(prompt: str) -> str:
    """What a model writes that does exactly what the full prompt says: reasoning, then its template filled in."""
    template = prompt.rsplit("write exactly:\n", 1)[1]
    filled = re.sub(r"(<confidence\d*>)\.\.\.", r"\g<1>0.5", template)
    filled = re.sub(r"<answer(\d*)>\.\.\.", r"<answer\1>item \1", filled)
    return f"<think>Some thoughts.</think>\n{filled}"


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("k", EVERY_K)
def test_the_format_that_is_asked_for_is_the_format_that_is_read(k: int, confidence: bool) -> None:
    completion = followed(build_prompt("Which one?", k, confidence=confidence))
    answer_set = parse_answers(completion, k, confidence=confidence)
    assert answer_set.is_clean, answer_set.reason
    expected = ["item"] if k == 1 else [f"item {i}" for i in range(1, k + 1)]
    assert [answer.text for answer in answer_set.answers] == expected
    assert [answer.confidence for answer in answer_set.answers] == [0.5 if confidence else None] * k


def test_a_prompt_without_confidences_does_not_ask_for_them() -> None:
    completion = followed(build_prompt("Which one?", 3, confidence=False))
    assert not parse_answers(completion, 3, confidence=True).is_clean
    assert "probabilit" not in build_prompt("Which one?", 3, confidence=False)


@pytest.mark.parametrize("style", ["full", "brief"])
@pytest.mark.parametrize("k", EVERY_K)
def test_every_prompt_begins_with_the_question_and_differs_by_k_and_confidence(k: int, style: Style) -> None:
    prompt = build_prompt("Which one?", k, confidence=False, style=style)
    assert prompt.startswith("Which one?\n")
    others = [build_prompt("Which one?", k, confidence=True, style=style)]
    others += [build_prompt("Which one?", other, confidence=False, style=style) for other in EVERY_K if other != k]
    assert prompt not in others


def test_the_full_prompt_shows_one_slot_a_line() -> None:
    prompt = build_prompt("Which one?", 2, confidence=True)
    assert prompt.splitlines()[-2:] == [
        "<answer1>...</answer1><confidence1>...</confidence1>",
        "<answer2>...</answer2><confidence2>...</confidence2>",
    ]
    assert "Give exactly 2 answers that differ in meaning, the most likely first." in prompt


def test_one_answer_has_a_tag_without_a_number() -> None:
    prompt = build_prompt("Which one?", 1, confidence=True)
    assert prompt.splitlines()[-1] == "<answer>...</answer><confidence>...</confidence>"
    assert "Give the one answer that is most likely correct." in prompt


def test_the_probabilities_sum_to_one_only_where_one_answer_can_be_right() -> None:
    assert "the probabilities sum to at most 1" in build_prompt("Which?", 3, confidence=True, exclusive=True)
    assert "the probabilities need not sum to 1" in build_prompt("Which?", 3, confidence=True)
    assert build_prompt("Which?", 3, confidence=False, exclusive=True) == build_prompt("Which?", 3, confidence=False)


@pytest.mark.parametrize(
    ("k", "confidence", "expected"),
    [
        (1, False, "Which one?\nGive 1 answer\n"),
        (1, True, "Which one?\nGive 1 answer with confidence\n"),
        (3, False, "Which one?\nGive 3 answers\n"),
        (3, True, "Which one?\nGive 3 answers with confidence\n"),
    ],
)
def test_the_brief_prompt_names_k_and_confidence_in_one_line(k: int, confidence: bool, expected: str) -> None:
    assert build_prompt("Which one?", k, confidence=confidence, style="brief") == expected


@pytest.mark.parametrize("k", EVERY_K)
def test_every_k_in_range_is_returned(k: int) -> None:
    assert check_k(k) == k


@pytest.mark.parametrize("k", [0, -1, MAX_K + 1, True, 3.0, "3", None, np.nan])
@pytest.mark.parametrize("style", ["full", "brief"])
def test_a_wrong_k_is_refused_with_its_value_and_the_range(k: object, style: Style) -> None:
    message = f"k = {k!r} is not allowed: answers asked for must be a whole number from 1 to {MAX_K}"
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_prompt("Which one?", k, confidence=True, style=style)  # type: ignore[arg-type]


def test_an_unknown_style_is_refused_with_the_styles_there_are() -> None:
    with pytest.raises(ConfigError, match="style = 'short' is not known: use one of full, brief"):
        build_prompt("Which one?", 3, confidence=True, style="short")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prompt", "opening"),
    [
        ("<|im_start|>assistant\n<think>\n", "<think>\n"),
        ("<think>", "<think>"),
        ("<think>\n\n  ", "<think>\n\n  "),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        (build_prompt("Q", 2, confidence=True), ""),
        ("Put your reasoning into <think>.", ""),
        ("", ""),
        (None, ""),
        (7, ""),
        ([], ""),
        (["<think>"], ""),
        ([{"role": "user", "content": "Q <think>"}], ""),
        ([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "<think>\n"}], "<think>\n"),
        ([{"role": "assistant", "content": None}], ""),
    ],
)
def test_a_prompt_may_open_the_reasoning(prompt: object, opening: str) -> None:
    assert reasoning_opened_by(prompt) == opening


def test_what_was_opened_is_put_in_front_once() -> None:
    assert with_reasoning_opened("so</think>x", "<think>\n") == "<think>\nso</think>x"
    assert with_reasoning_opened("\n<think>so</think>x", "<think>") == "\n<think>so</think>x"
    assert with_reasoning_opened("x", "") == "x"
