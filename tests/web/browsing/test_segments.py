"""Completions cut into pieces."""

from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.parsing import parse_answers
from polymode.web.browsing.question_view import Segment, segments_of, shortened

TEXT = (
    "<think>fever : flu</think> <answer1>flu</answer1><confidence1>0.9</confidence1>"
    "<answer2> the flu </answer2><confidence2>0.1</confidence2>"
)


def test_each_piece_knows_its_kind_slot_and_mark() -> None:
    found = segments_of(TEXT, parse_answers(TEXT, 2, confidence=True), ["hit", "repeat"])
    told = [(p.kind, p.text, p.slot, p.mark) for p in found if p.kind != "format"]
    assert told == [
        ("reasoning", "<think>fever : flu</think>", None, None),
        ("answer", "flu", 1, "hit"),
        ("confidence", "0.9", 1, "hit"),
        ("answer", "the flu", 2, "repeat"),
        ("confidence", "0.1", 2, "repeat"),
    ]


def test_a_confidence_before_its_answer_stands_before_it() -> None:
    text = "<confidence1>0.9</confidence1><answer1>flu</answer1>\n<confidence2>0</confidence2><answer2>cold</answer2>"
    found = segments_of(text, parse_answers(text, 2, confidence=True), ["hit", "wrong"])
    told = [(p.kind, p.text, p.slot, p.mark) for p in found if p.kind != "format"]
    assert told == [
        ("confidence", "0.9", 1, "hit"),
        ("answer", "flu", 1, "hit"),
        ("confidence", "0", 2, "wrong"),
        ("answer", "cold", 2, "wrong"),
    ]
    assert "".join(piece.text for piece in found) == text


def test_what_cannot_be_read_is_text() -> None:
    found = segments_of("just this", parse_answers("just this", 2, confidence=True), None)
    assert found == [Segment("text", "just this")]


@settings(max_examples=200)
@given(
    parts=st.lists(
        st.sampled_from(["<think>", "</think>", "<answer1>", "</answer1>", "<confidence1>", "0.5", "</confidence1>",
                         "<answer2>", "</answer2>", "<confidence2>", "</confidence2>", "flu", " ", "<b>"])
        | st.text(max_size=3),
        max_size=16,
    )
)  # fmt: skip
def test_pieces_join_to_the_text(parts: list[str]) -> None:
    text = "".join(parts)
    found = segments_of(text, parse_answers(text, 2, confidence=True, salvage=True), None)
    assert "".join(piece.text for piece in found) == text and all(piece.text for piece in found)


def test_a_long_piece_loses_its_middle_and_says_so() -> None:
    [head, tail] = shortened([Segment("reasoning", "a" * 50 + "b" * 50)], 30)
    assert head.text == "a" * 20 and tail.text == "b" * 10 and tail.n_omitted == 70
