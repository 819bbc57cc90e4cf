"""What a server's reply says: the word it begins with, and how likely that word was."""

import math
from typing import Any

import pytest

from polymode.generate import Generated
from polymode.generate.replies import Usage, completion_in, final_text, word_probabilities, word_said

WORDS = ("True", "False")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("True", 0),
        ("**FALSE**", 1),
        (" true.", 0),
        ("(True)", 0),
        ("> “False”, because", 1),
        ("**", None),
        ("<think>False? no</think>\n\nTrue", 0),
        ("<think>True", None),  # cut off inside its reasoning
        ("Trueish", None),
        ("It is True", None),
        ("", None),
    ],
)
def test_the_word_of_a_reply_is_its_first_after_the_reasoning(text: str, word: int | None) -> None:
    assert word_said(text, WORDS) == word


def test_text_without_reasoning_is_all_final() -> None:
    assert final_text(" a ") == "a" and final_text("x</think> b") == "b" and final_text("<think> c") == ""


def token(text: str, p: float, *others: tuple[str, float]) -> dict[str, Any]:
    listed = [(text, p), *others]
    tops = [{"token": t, "logprob": math.log(q)} for t, q in listed]
    return {**tops[0], "top_logprobs": tops}


def probabilities(text: str, *tokens: dict[str, Any]) -> list[float] | None:
    return word_probabilities({"logprobs": {"content": list(tokens)}}, text, WORDS)


def test_all_spellings_at_the_first_token_count() -> None:
    # True .5, its spellings .2 and .1, and its beginning Tr .05; false .04; The and T count for none.
    first = token("True", 0.5, (" true", 0.2), ("TRUE", 0.1), ("Tr", 0.05), ("false", 0.04), ("The", 0.03), ("T", 0.02))
    assert probabilities("True", first) == pytest.approx([0.85, 0.04])


def test_the_first_token_after_the_reasoning_counts() -> None:
    tokens = [token("<think>", 0.9, ("True", 0.1)), token("False", 0.9), token("</think>", 1.0), token("\n\n", 1.0)]
    assert probabilities("<think>False</think>\n\nTrue", *tokens, token("True", 0.7, ("False", 0.2))) == pytest.approx(
        [0.7, 0.2]
    )
    # A server may cut the reasoning out of the tokens too.
    assert probabilities("<think>False</think>True", token("True", 0.7)) == pytest.approx([0.7, 0.0])


def test_a_word_of_several_tokens_counts_where_it_was_sampled() -> None:
    # "F" alone could begin anything; as the sampled text goes on to False, its .6 is False's.
    assert probabilities("False", token("F", 0.6, ("T", 0.3)), token("alse", 1.0)) == pytest.approx([0.0, 0.6])


@pytest.mark.parametrize("word", ["True", "False"])
@pytest.mark.parametrize("marks", ["**", '"', "\n\n", " ", "(", "“", "# "])
def test_marks_in_front_of_the_word_are_gone_through(word: str, marks: str) -> None:
    # The marks have .9, True .6 and False .4 of that, whichever was sampled; in place of the marks True has .05.
    shares = [("True", 0.6), ("False", 0.4)]
    second = token(*shares[word == "False"], shares[word == "True"])
    first = token(marks, 0.9, ("True", 0.05))
    assert probabilities(f"{marks}{word}**", first, second, token("**", 1.0)) == pytest.approx([0.59, 0.36])
    # Marks of several tokens: .9 x .5.
    assert probabilities(f"{marks}*{word}", first, token("*", 0.5), second) == pytest.approx([0.32, 0.18])


def test_marks_without_a_word_say_nothing() -> None:
    assert probabilities("**", token("**", 0.9, ("True", 0.05))) == pytest.approx([0.05, 0.0])
    assert probabilities("**Yes", token("**", 0.9), token("Yes", 0.7, ("False", 0.2))) == pytest.approx([0.0, 0.18])


def test_a_sampled_token_counts_though_it_is_not_listed() -> None:
    one = {"token": "False", "logprob": math.log(0.1), "top_logprobs": token("True", 0.6)["top_logprobs"]}
    assert probabilities("False", one) == pytest.approx([0.6, 0.1])


def test_a_reply_without_probabilities_or_text() -> None:
    assert word_probabilities({}, "True", WORDS) is None
    assert word_probabilities({"logprobs": {"content": []}}, "True", WORDS) is None
    assert word_probabilities({"logprobs": {"content": [{"token": "True", "logprob": 0.0}]}}, "True", WORDS) is None
    assert probabilities("<think>on", token("<think>", 1.0)) == [0.0, 0.0]


def test_bytes_of_a_later_character_do_not_hide_the_word() -> None:
    # The three bytes of a dash come as two tokens, which spell other characters than the text has.
    tail = [token(" \\xe2\\x80", 1.0), token("\\x93", 1.0), token(" since", 1.0)]
    sure = token("True", 0.9, ("False", 0.08))
    assert probabilities("True \u2013 since", sure, *tail) == pytest.approx([0.9, 0.08])
    thought = [token("<think>", 1.0), token("False", 0.5, ("True", 0.5)), token("</think>", 1.0), token("\n\n", 1.0)]
    text = "<think>False</think>\n\nTrue \u2013 since"
    assert probabilities(text, *thought, sure, *tail) == pytest.approx([0.9, 0.08])
    assert probabilities("\u201cTrue\u201d", token("\\xe2", 1.0), sure) is None  # where it begins cannot be told


@pytest.mark.parametrize("value", [math.nan, None, "high", True])
def test_a_probability_that_is_none_is_not_taken_for_one(value: object) -> None:
    broken = {**token("True", 0.9, ("False", 0.08)), "logprob": value}
    assert probabilities("True", broken) is None
    listed = token("True", 0.9, ("False", 0.08))
    listed["top_logprobs"][1]["logprob"] = value
    assert probabilities("True", listed) == pytest.approx([0.9, 0.0])


def test_usage_adds_up() -> None:
    usage = Usage()
    usage.add(Generated("a", 1200, True, 50), "stop")
    usage.add(Generated("", None, False), "content_filter")
    assert str(usage) == (
        "2 replies, 50 prompt tokens, 1,200 generated; 1 without a count; "
        "1 ended with finish_reason content_filter: the server withheld the text"
    )


@pytest.mark.parametrize("usage", [None, [1], "many", {"prompt_tokens": 2.5}])
def test_a_reply_is_read_whatever_its_usage_says(usage: object) -> None:
    generated, reason = completion_in({"choices": [{"message": {"content": "a"}}], "usage": usage})
    assert (generated.text, generated.n_tokens, reason) == ("a", None, None)


@pytest.mark.parametrize(
    "reason", ["stop", "STOP", "eos", "complete", "COMPLETE", "stop_sequence", "", None, "end_turn"]
)
def test_known_words_for_an_end_are_one(reason: str | None) -> None:
    generated, _ = completion_in({"choices": [{"message": {"content": "a"}, "finish_reason": reason}]})
    assert generated.is_finished


@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS", "content_filter", "error"])
def test_other_ends_are_not(reason: str) -> None:
    generated, said = completion_in({"choices": [{"message": {"content": "a"}, "finish_reason": reason}]})
    assert not generated.is_finished and said == reason.lower()


def test_replies_of_nothing_but_reasoning_are_counted() -> None:
    usage = Usage()
    for message in ({"content": None, "reasoning_content": "a"}, {"content": "b", "reasoning": "a"}, {"content": ""}):
        usage.add(*completion_in({"choices": [{"message": message, "finish_reason": "stop"}]}))
    assert (usage.n_replies, usage.n_reasoning_only, usage.n_empty) == (3, 1, 1)
    assert "; 1 with reasoning and nothing behind it, as where" in str(usage)
