"""Reading completions: the grammar, its reasons, and what holds for any text."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polymode.errors import ConfigError
from polymode.parsing import (
    MAX_ANSWER_CHARS,
    MAX_COMPLETION_CHARS,
    MAX_NUMBER_CHARS,
    final_part,
    fits_line,
    parse_answers,
    states_confidences,
)
from polymode.parsing.grammar import TAG
from polymode.parsing.reading import parse_slowly
from polymode.prompts import MAX_K, Style, build_prompt, write_answers
from polymode.types import AnswerSet, ParseStatus

CLEAN, PARTIAL, MALFORMED, TRUNCATED = ParseStatus

steady = settings(derandomize=True)


def slots(*answers: tuple[str, str], between: str = "") -> str:
    return between.join(
        f"<answer{i}>{a}</answer{i}><confidence{i}>{q}</confidence{i}>" for i, (a, q) in enumerate(answers, 1)
    )


def texts(answer_set: AnswerSet) -> list[str]:
    return [answer.text for answer in answer_set.answers]


def confidences(answer_set: AnswerSet) -> list[float | None]:
    return [answer.confidence for answer in answer_set.answers]


ODD = ["85%", "0,85", "85", "1.", "high", "", "-0.5", "1e-1", "nan", "１", "0.9 (sure)", "<b>0.5</b>"]
"""What models write for a confidence that is none."""
TWO = slots(("flu", "0.6"), ("common cold", ".25"))


# --- what is CLEAN ---------------------------------------------------------------------------------------------------


def test_interleaved_slots_after_reasoning() -> None:
    text = f"<think>fever speaks for flu</think>\n{TWO}"
    found = parse_answers(text, 2, confidence=True)
    assert found.is_clean
    assert (texts(found), confidences(found)) == (["flu", "common cold"], [0.6, 0.25])
    assert (found.k, found.has_confidence, found.reason) == (2, True, "")
    first = found.answers[0]
    # "<think>fever speaks for flu</think>" is 35 characters, then "\n" and "<answer1>" (9): the answer starts at 45.
    assert (first.span.start, first.span.end) == (45, 48)
    assert first.confidence_span is not None
    assert first.confidence_span.slice(text) == "0.6"


@pytest.mark.parametrize(
    ("text", "k", "confidence"),
    [
        ("<answer>flu</answer><confidence>0.5</confidence>", 1, True),
        ("<answer>flu</answer>", 1, False),
        ("<answer1>a</answer1><answer2>b</answer2>", 2, False),
        ("<answer1>a</answer1><answer2>b</answer2><analysis>both</analysis>", 2, False),
        (slots(("a", "0"), ("b", "1"), between=" \n\t"), 2, True),
        (f"{TWO}<analysis>so be it</analysis>\n", 2, True),
        ("<answer1>a</answer1><answer2>b</answer2><confidence1>0</confidence1><confidence2>1</confidence2>", 2, True),
        (
            "<answer1>a</answer1><answer2>b</answer2><analysis>x</analysis>"
            "<confidence1>0</confidence1><confidence2>1</confidence2>",
            2,
            True,
        ),
        (
            "<answer1>a</answer1><answer2>b</answer2>"
            "<confidence1>0</confidence1><confidence2>1</confidence2><analysis>x</analysis>",
            2,
            True,
        ),
        ("<answer>a</answer><analysis>x</analysis><confidence>0.5</confidence>", 1, True),
        ("reasoning whose opening tag was in the prompt</think>" + TWO, 2, True),
        ("<think>a <think> nested, </think> and closed</think>" + TWO, 2, True),
    ],
)
def test_clean_forms(text: str, k: int, confidence: bool) -> None:
    found = parse_answers(text, k, confidence=confidence)
    assert found.status is CLEAN, found.reason
    assert len(found.answers) == k
    assert all((answer.confidence is not None) is confidence for answer in found.answers)


@pytest.mark.parametrize(
    "answer", ["a < b", "if x<1: return y>2", "<b>bold</b>", "</", "<answer", "3 <= x", "<Answer1>"]
)
def test_an_answer_may_hold_anything_but_the_grammars_tags(answer: str) -> None:
    assert texts(parse_answers(slots((answer, "0.5"), ("b", "0.5")), 2, confidence=True)) == [answer, "b"]


@pytest.mark.parametrize(
    ("number", "value"), [("0.35", 0.35), (".35", 0.35), ("0", 0.0), ("1", 1.0), ("1.00", 1.0), (" 0.5\n", 0.5)]
)
def test_confidences_are_plain_decimals(number: str, value: float) -> None:
    assert confidences(parse_answers(f"<answer>a</answer><confidence>{number}</confidence>", 1, confidence=True)) == [
        value
    ]


def test_drafts_inside_the_reasoning_are_not_read() -> None:
    draft = slots(("draft", "0.9"), ("draft", "0.9"))
    assert texts(parse_answers(f"<think>{draft}</think>{TWO}", 2, confidence=True)) == ["flu", "common cold"]
    # Only the last </think> counts: what stands between the first and the last is reasoning, too.
    assert texts(parse_answers(f"<think>a</think>{draft}</think>{TWO}", 2, confidence=True)) == ["flu", "common cold"]


# --- what is not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "slot 1: <answer1> expected, found the end of the text"),
        ("<think>x " + TWO, "reasoning: <think> is never closed by </think>"),
        ("<think>x</think><think>" + TWO, "slot 1: <answer1> expected, found <think>"),
        ("The answer is flu.", "slot 1: text outside the tags: 'The answer is flu.'"),
        (slots(("a", "0.1")), "slot 2: <answer2> expected, found the end of the text"),
        (slots(("a", "0.1"), ("b", "0.2"), ("c", "0.3")), "after the last slot: <answer3> is one tag too many"),
        (slots(("a", "0.1"), ("b", "0.2")).replace("2", "3"), "slot 2: <answer2> expected, found <answer3>"),
        (slots(("", "0.1"), ("b", "0.2")), "slot 1: <answer1> is empty"),
        (slots((" \n", "0.1"), ("b", "0.2")), "slot 1: <answer1> is empty"),
        (slots(("a", "0.1"), ("b", "")), "slot 2: <confidence2> is empty"),
        (slots(("a", "0.1"), ("b", "1.2")), "slot 2: <confidence2> is 1.2, outside 0 to 1"),
        (slots(("a", "-0.1"), ("b", "1")), "slot 1: <confidence1> is -0.1, outside 0 to 1"),
        (slots(("a", "35%"), ("b", "1")), "slot 1: <confidence1> is '35%', not a plain decimal from 0 to 1"),
        (slots(("a", "0.1"), ("b", "0.2"), between=" and "), "slot 2: text outside the tags: 'and'"),
        (TWO + " That is all.", "after the last slot: text outside the tags: 'That is all.'"),
        (TWO + "<analysis>", "analysis: </analysis> expected, found the end of the text"),
        (TWO + "<analysis>a</analysis><analysis>b</analysis>", "after the last slot: <analysis> is one tag too many"),
        (slots(("a<answer2>b", "1"), ("c", "0")), "slot 1: </answer1> expected, found <answer2>"),
        ("<answer1>a</answer2>", "slot 1: </answer1> expected, found </answer2>"),
        ("<answer1>a</answer1><answer2>b</answer2>", "slot 1: <confidence1> expected, found the end of the text"),
        (
            "<answer1>a</answer1><answer2>b</answer2><analysis>x</analysis>"
            "<confidence1>0</confidence1><confidence2>1</confidence2><analysis>x</analysis>",
            "after the last slot: <analysis> is one tag too many",
        ),
    ],
)
def test_reasons_name_the_slot_and_what_is_wrong(text: str, reason: str) -> None:
    found = parse_answers(text, 2, confidence=True)
    assert (found.status, found.answers, found.reason) == (MALFORMED, (), reason)


@pytest.mark.parametrize(
    "number",
    ["nan", "inf", "1e-1", "+0.5", "-0", "0,5", "1.", "00.5", "1.01", "5", "0x1", "½", "٠.٥", "0.5.5", "0 .5", "_"],
)
def test_confidences_that_are_refused(number: str) -> None:
    found = parse_answers(f"<answer>a</answer><confidence>{number}</confidence>", 1, confidence=True)
    assert found.status is MALFORMED
    assert found.reason.startswith("slot 1: <confidence> is ")


@pytest.mark.parametrize(
    ("text", "k"),
    [("<answer1>a</answer1>", 1), ("<answer>a</answer><answer>b</answer>", 2), ("<answer01>a</answer01>", 1)],
)
def test_tags_must_be_numbered_as_asked(text: str, k: int) -> None:
    assert parse_answers(text, k, confidence=False).status is MALFORMED


def test_confidences_that_were_not_asked_for_are_a_deviation() -> None:
    assert parse_answers(TWO, 2, confidence=False).reason == "slot 2: <answer2> expected, found <confidence1>"


def test_a_completion_that_was_cut_off_is_truncated_only_when_it_deviates() -> None:
    assert parse_answers(TWO[:-5], 2, confidence=True, finished=False).status is TRUNCATED
    assert parse_answers("<think>still thinking", 2, confidence=True, finished=False).status is TRUNCATED
    assert parse_answers(TWO, 2, confidence=True, finished=False).status is CLEAN


@pytest.mark.parametrize("confidence", [True, False])
@pytest.mark.parametrize("thought", ["", "<think>so</think>\n"])
def test_a_line_that_was_cut_off_may_lack_its_end(confidence: bool, thought: str) -> None:
    q = " | 0.18" if confidence else ""
    text = f"{thought}1. Peru{q}\n2. South Su{q}"
    for end in ("", " "):
        cut = parse_answers(text + end, 2, confidence=confidence, finished=False)
        assert cut.status is TRUNCATED and cut.answers == ()
        assert cut.reason == "line 2: cut off before a line break, so its last part may lack its end"
    for end, finished in (("", True), ("\n", False), (" \r\n", False)):
        assert parse_answers(text + end, 2, confidence=confidence, finished=finished).is_clean


def test_limits() -> None:
    def answer(n: int) -> AnswerSet:
        return parse_answers(f"<answer>{'a' * n}</answer>", 1, confidence=False)

    assert answer(MAX_ANSWER_CHARS).is_clean
    assert answer(MAX_ANSWER_CHARS + 1).reason == "slot 1: <answer> has 20001 characters, at most 20000 are allowed"

    def number(digits: int) -> AnswerSet:
        return parse_answers(f"<answer>a</answer><confidence>0.{'3' * digits}</confidence>", 1, confidence=True)

    assert number(MAX_NUMBER_CHARS - 2).is_clean
    assert number(MAX_NUMBER_CHARS - 1).reason == "slot 1: <confidence> has 33 characters, at most 32 are allowed"
    too_long = "</think>".rjust(MAX_COMPLETION_CHARS) + "<answer>a</answer>"
    assert parse_answers(too_long, 1, confidence=False).reason.startswith("completion: 8000018 characters")


@pytest.mark.parametrize("k", [0, -1, MAX_K + 1, 2.0, True, None, "3"])
def test_a_wrong_k_is_the_callers_mistake(k: object) -> None:
    with pytest.raises(ConfigError, match="whole number from 1 to 20"):
        parse_answers(TWO, k, confidence=True)  # type: ignore[arg-type]


# --- salvage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (TWO, ["flu", "common cold"]),
        (slots(("a", "0.1")) + "<answer3>c</answer3><confidence3>0.3</confidence3>", ["a"]),
        ("So: " + slots(("a", "0.1"), ("b", "0.2"), between=" or "), ["a", "b"]),
        ("<think>x</think>Here are my answers:\n\n" + TWO, ["flu", "common cold"]),
        (f"```xml\n{TWO}\n```", ["flu", "common cold"]),
        (f"**Answers**\n{TWO}\nI hope that this helps; <b>ask</b> again.", ["flu", "common cold"]),
        (slots(("a", "0.1"), ("b", "20%")), ["a", "b"]),
        (slots(("", "0.1"), ("b", "0.2")), []),
        (slots(("a", "0.1"), ("b", "0.2"), ("c", "0.3")), ["a", "b"]),
        (TWO.replace("</answer2>", ""), ["flu"]),
        ("<think>" + TWO, []),
        (f"{TWO}<think>or rather {slots(('draft', '1'), ('draft', '1'))}", ["flu", "common cold"]),
        ("I write <answer1>...</answer1> and so on: " + TWO, ["flu", "common cold"]),
        (f"Draft: {slots(('a', '0.1'), ('b', '0.2'))} No. Finally: {TWO}", ["flu", "common cold"]),
        (slots(("a", "0.1"), ("b", "0.2")) + "Slot 2 is wrong: <answer2>c</answer2>", ["a", "c"]),
    ],
)
def test_salvage_keeps_the_last_answer_of_each_slot(text: str, kept: list[str]) -> None:
    found = parse_answers(text, 2, confidence=True, salvage=True)
    assert texts(found) == kept
    if text == TWO:
        assert found.status is CLEAN
    else:
        assert found.status is (PARTIAL if kept else MALFORMED)
        assert found.reason
        assert parse_answers(text, 2, confidence=True).status is MALFORMED  # in training nothing is salvaged


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        (f"Well: {TWO}", [0.6, 0.25]),
        (f"{slots(('flu', '0.1'), ('cold', '0.1'))} or rather {TWO}", [0.6, 0.25]),
        (
            "So: <answer1>a</answer1><answer2>b</answer2><confidence1>.5</confidence1><confidence2>1</confidence2>",
            [0.5, 1],
        ),
        ("<answer1>a</answer1><answer2>b</answer2>", [None, None]),
        ("<answer1>a</answer1><confidence1>0.5</confidence1><answer2>b</answer2>", [None, None]),
        (f"{TWO} Slot 2 is <answer2>c</answer2>", [None, None]),
        *((slots(("a", "0.9"), ("b", odd)), [None, None]) for odd in ODD),
    ],
)
def test_odd_confidences_leave_the_answers_and_take_calibration_of_the_line(
    text: str, stated: list[float | None]
) -> None:
    found = parse_answers(text, 2, confidence=True, salvage=True)
    assert (found.status, len(found.answers), confidences(found)) == (PARTIAL, 2, stated)
    assert all((a.confidence is None) is (a.confidence_span is None) for a in found.answers)
    strict = parse_answers(text, 2, confidence=True)
    assert (strict.status, strict.answers) == (MALFORMED, ())


def test_salvage_of_a_truncated_completion() -> None:
    thought = "<think>fever</think>"
    found = parse_answers(thought + TWO[:-35], 2, confidence=True, finished=False, salvage=True)
    assert (found.status, texts(found), confidences(found)) == (PARTIAL, ["flu"], [0.6])
    found = parse_answers(thought + TWO[:-15], 2, confidence=True, finished=False, salvage=True)
    assert (found.status, texts(found), confidences(found)) == (PARTIAL, ["flu", "common cold"], [None, None])
    assert parse_answers("<answer1>fl", 2, confidence=True, finished=False, salvage=True).status is TRUNCATED


@pytest.mark.parametrize(
    "text",
    [
        f"Let me list: {TWO} no wait, it asks for metals, so",
        f"<think>Let me list: {TWO} no wait",
        f"<think>\n{TWO}",
        f"{TWO} hm",
        f"<think>a</think>{TWO}<think>but then {TWO}",
        f"{TWO}<think>but",
        TWO[:-3],
    ],
)
def test_drafts_in_reasoning_that_was_cut_off_are_not_answers(text: str) -> None:
    for confidence in (True, False):
        found = parse_answers(text, 2, confidence=confidence, finished=False, salvage=True)
        assert (found.status, found.answers) == (TRUNCATED, ())
        assert found.reason


@pytest.mark.parametrize(
    ("text", "is_stated"),
    [
        (TWO, True),
        (f"<think>x</think>{TWO}", True),
        ("<answer>a</answer><confidence>85%</confidence>", True),
        ("<answer>a</answer><confidence></confidence>", True),
        ("<answer1>a</answer1>", False),
        ("<think>no <confidence1> is asked for</think><answer1>a</answer1>", False),
        (f"<think>{TWO}</think><answer1>a</answer1>", False),
        (f"<think>{TWO}", False),
        ("<answer1>a</answer1> (no <confidence1> was asked for)", False),
        (f"<answer1>a</answer1><think>{TWO}", False),
    ],
)
def test_whether_confidences_are_stated_is_read_from_what_counts(text: str, is_stated: bool) -> None:
    assert states_confidences(text) is is_stated


# --- any text --------------------------------------------------------------------------------------------------------

PIECES = [
    *(f"<{slash}{name}{n}>" for slash in ("", "/") for name in ("answer", "confidence", "why") for n in ("", 1, 2, 3)),
    *(
        "<think>",
        "</think>",
        "<analysis>",
        "</analysis>",
        "0.5",
        "1",
        "1.5",
        "nan",
        "flu",
        "1. ",
        "2. ",
        "\n2. cold | 0.5",
        "| why: fever",
        "why:",
        "|",
        " ",
        "\n",
        "\r",
        "\x85",
        "<",
        "</answer",
        "é\u2003",
    ),
]
any_text = st.one_of(
    st.text(),
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    st.lists(st.sampled_from(PIECES) | st.text()).map("".join),
)


@steady
@given(any_text, st.integers(1, MAX_K), st.booleans(), st.booleans(), st.booleans())
@example("<answer1>\x1c</answer1>", 1, False, True, True)
@example("\ud800<answer>\ud800</answer>", 1, False, True, True)
def test_no_text_raises_and_spans_slice_back(
    text: str, k: int, confidence: bool, finished: bool, salvage: bool
) -> None:
    found = parse_answers(text, k, confidence=confidence, finished=finished, salvage=salvage)
    assert bool(found.reason) is not found.is_clean
    assert len(found.answers) == k if found.is_clean else len(found.answers) <= k
    assert bool(found.answers) is (found.status in (CLEAN, PARTIAL))
    for answer in found.answers:
        assert answer.span.slice(text) == answer.text == answer.text.strip() != ""
        if answer.confidence is not None:
            assert confidence and 0 <= answer.confidence <= 1
            assert answer.confidence_span is not None
            assert float(answer.confidence_span.slice(text)) == answer.confidence
    assert len({answer.confidence is None for answer in found.answers}) <= 1  # all of them or none
    final = final_part(text)
    at = text.rfind("</think>") + len("</think>") if "</think>" in text else 0
    for answer in found.answers:  # nothing of the reasoning, closed or not, is an answer
        assert at <= answer.span.start and answer.span.end <= at + len(final)


@steady
@given(any_text, st.integers(1, 3), st.booleans())
def test_the_quick_way_and_the_grammar_agree(text: str, k: int, confidence: bool) -> None:
    quick = parse_answers(text, k, confidence=confidence)
    start = text.rfind("</think>") + len("</think>") if "</think>" in text else 0
    assert quick == parse_slowly(text, start, k, confidence, True, False)


answer_text = st.text(min_size=1, max_size=30).map(str.strip).filter(lambda t: t and not TAG.search(t))
grid = st.integers(0, 1000).map(lambda n: f"{n / 1000:.3f}")


@steady
@given(
    st.lists(st.tuples(answer_text, grid), min_size=1, max_size=6), st.booleans(), st.booleans(), st.text(max_size=40)
)
def test_render_then_parse_gives_the_same_answers(
    pairs: list[tuple[str, str]], confidence: bool, blocked: bool, thought: str
) -> None:
    numbers = [""] if len(pairs) == 1 else [str(i) for i in range(1, len(pairs) + 1)]
    answers = [f"<answer{n}>{a}</answer{n}>\n" for n, (a, _) in zip(numbers, pairs, strict=True)]
    stated = [f"<confidence{n}> {q} </confidence{n}>\n" * confidence for n, (_, q) in zip(numbers, pairs, strict=True)]
    ordered = [*answers, *stated] if blocked else [x for pair in zip(answers, stated, strict=True) for x in pair]
    text = f"<think>{thought}</think>" + "".join(ordered)
    found = parse_answers(text, len(pairs), confidence=confidence)
    assert found.is_clean, found.reason
    assert texts(found) == [a for a, _ in pairs]
    assert confidences(found) == [float(q) if confidence else None for _, q in pairs]
    assert found == parse_slowly(text, len(thought) + len("<think></think>"), len(pairs), confidence, True, False)


@steady
@given(
    st.lists(st.tuples(answer_text, grid), min_size=1, max_size=4),
    st.sampled_from(
        ["pairs", "pairs analysis", "analysis pairs", "blocks", "blocks analysis", "analysis between", "both"]
    ),
    answer_text,
    st.booleans(),
)
@example([("a < b", "0.5"), ("</", "1")], "analysis between", "x < y", True)
@example([("a", "0.5")], "analysis between", "", True)
@example([("a", "0.5")], "both", "", True)
def test_every_layout_is_read_the_same_way_with_and_without_the_quick_one(
    pairs: list[tuple[str, str]], layout: str, remark: str, confidence: bool
) -> None:
    numbers = [""] if len(pairs) == 1 else [str(i) for i in range(1, len(pairs) + 1)]
    answers = [f"<answer{n}>{a}</answer{n}>" for n, (a, _) in zip(numbers, pairs, strict=True)]
    stated = [f" <confidence{n}>{q}</confidence{n}>" * confidence for n, (_, q) in zip(numbers, pairs, strict=True)]
    together, blocks = "".join(map("".join, zip(answers, stated, strict=True))), ["".join(answers), "".join(stated)]
    analysis = f"<analysis>{remark}</analysis>"
    text = {
        "pairs": together,
        "pairs analysis": together + analysis,
        "analysis pairs": analysis + together,
        "blocks": "".join(blocks),
        "blocks analysis": "".join(blocks) + analysis,
        "analysis between": analysis.join(blocks),
        "both": analysis.join(blocks) + analysis,
    }[layout]
    found = parse_answers(text, len(pairs), confidence=confidence)
    assert found == parse_slowly(text, 0, len(pairs), confidence, True, False)
    assert found.is_clean is (layout not in ("analysis pairs", "both"))
    assert texts(found) == [a for a, _ in pairs] * found.is_clean


line_text = answer_text.filter(lambda t: len(t.splitlines()) == 1 and "|" not in t)


@pytest.mark.parametrize("line_break", ["\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("confidence", [True, False])
def test_no_line_break_hides_further_answers_in_a_slot(line_break: str, confidence: bool) -> None:
    q = " | 0.5" if confidence else ""
    for text in (f"1. Peru{line_break}2. Chile{q}", f"1. Peru | why: fever{line_break}chill{q}"):
        found = parse_answers(text, 1, confidence=confidence)
        assert found.status is MALFORMED and found.reason == r"line 1: another line break than \n inside a line"
        assert found == parse_slowly(text, 0, 1, confidence, True, False)
    # At the end of a part it is white space like any other.
    assert texts(parse_answers(f"1. Peru{line_break}{q}{line_break}", 1, confidence=confidence)) == ["Peru"]
    assert not fits_line(f"Peru{line_break}Chile")


@steady
@given(st.lists(st.tuples(line_text, grid), min_size=1, max_size=5), st.booleans(), st.sampled_from(["", "\n", " \r"]))
def test_lines_are_read_the_same_way_with_and_without_the_quick_one(
    pairs: list[tuple[str, str]], confidence: bool, space: str
) -> None:
    written = write_answers([a for a, _ in pairs], [q for _, q in pairs] if confidence else None, "lines")
    text = f"<think>1. no</think>\n{written}".replace("\n", f"{space}\n") + space
    found = parse_answers(text, len(pairs), confidence=confidence)
    assert found.is_clean, found.reason
    assert texts(found) == [a for a, _ in pairs]
    assert confidences(found) == [float(q) if confidence else None for _, q in pairs]
    start = text.rfind("</think>") + len("</think>")
    assert found == parse_slowly(text, start, len(pairs), confidence, True, False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1. a | 0.5\n2. b | 2", "line 2: the confidence is 2, outside 0 to 1"),
        ("1. a | 0.5\n2. b", "line 2: one | expected: 'b'"),
        ("1. a | 0.5 | 0.5\n2. b | 0.1", "line 1: one | expected: 'a | 0.5 | 0.5'"),
        ("1. a | 0.5", "1 lines, 2 are expected: '1. a | 0.5' is the last"),
        ("1. a | 0.5\n2. b | 0.5\n3. c | 0.5", "3 lines, 2 are expected: '3. c | 0.5' is the last"),
        ("1. a | 0.5\n3. b | 0.5", "line 2: 2. expected, found '3. b | 0.5'"),
        ("Here:\n1. a | 0.5\n2. b | 0.5", "line 1: 1. expected, found 'Here:'"),
        ("1. | 0.5\n2. b | 0.5", "line 1: the answer is empty"),
        ("1. a</answer2> | 0.5\n2. b | 0.5", "line 1: </answer2> inside a line"),
    ],
)
def test_reasons_name_the_line_and_what_is_wrong(text: str, reason: str) -> None:
    found = parse_answers(text, 2, confidence=True)
    assert found.status is MALFORMED and found.reason == reason


@pytest.mark.parametrize(
    ("text", "salvaged", "numbers"),
    [
        ("Here are my answers:\n1. a | 0.5\n2. b | 0.25\nI hope this helps.", ["a", "b"], [0.5, 0.25]),
        ("```\n1) a | 0.5\n2) b | 0.25\n```", ["a", "b"], [0.5, 0.25]),
        ("1. no | 0.5\n2. never | 0.5\nWait.\n1. a | 0.5\n2. b | 0.25", ["a", "b"], [0.5, 0.25]),
        ("1. a | high\n2. b | 0.25", ["a", "b"], [None, None]),
        ("1. a\n2. b", ["a", "b"], [None, None]),
        ("1. a | 0.5\n3. b | 0.5", ["a"], [0.5]),
        ("1. a | 0.5\n2. b | 0.25\n3. c | 0.1", ["a", "b"], [0.5, 0.25]),
    ],
)
def test_salvaged_lines(text: str, salvaged: list[str], numbers: list[float | None]) -> None:
    found = parse_answers(text, 2, confidence=True, salvage=True)
    assert found.status is PARTIAL
    assert texts(found) == salvaged and confidences(found) == numbers


def test_lines_in_reasoning_that_was_cut_off_are_not_answers() -> None:
    text = "<think>Candidates:\n1. a | 0.5\n2. b | 0.5"
    for finished in (True, False):
        assert parse_answers(text, 2, confidence=True, finished=finished, salvage=True).answers == ()
    bare = parse_answers("1. a | 0.5\n2. b", 2, confidence=True, finished=False, salvage=True)
    assert bare.status is TRUNCATED and "may be drafts" in bare.reason


# --- what speaks for an answer ---------------------------------------------------------------------------------------


def in_a_line(text: str) -> str:
    """The text without what a line cannot hold."""
    return "".join(" " if character == "|" or not character.splitlines()[0] else character for character in text)


@steady
@given(
    st.lists(st.tuples(answer_text, grid, st.none() | answer_text | st.just("")), min_size=1, max_size=4),
    st.sampled_from(["pairs", "blocks", "first", "lines"]),
    st.booleans(),
)
def test_a_rationale_changes_neither_status_nor_answers_nor_confidences(
    slots: list[tuple[str, str, str | None]], layout: str, confidence: bool
) -> None:
    if layout == "lines":
        slots = [(in_a_line(a), q, None if w is None else in_a_line(w)) for a, q, w in slots]

    def written(*, with_why: bool) -> str:
        whys = [w if with_why else None for _, _, w in slots]
        if layout == "lines":
            parts = [
                f"{i}. {a}{'' if w is None else f' | why: {w}'}{f' | {q}' if confidence else ''}"
                for i, ((a, q, _), w) in enumerate(zip(slots, whys, strict=True), 1)
            ]
            return "\n".join(parts)
        numbers = [""] if len(slots) == 1 else [str(i) for i in range(1, len(slots) + 1)]
        answers = [
            f"<answer{n}>{a}</answer{n}>{'' if w is None else f' <why{n}> {w} </why{n}>'}"
            for n, (a, _, _), w in zip(numbers, slots, whys, strict=True)
        ]
        qs = [f"<confidence{n}>{q}</confidence{n}>" * confidence for n, (_, q, _) in zip(numbers, slots, strict=True)]
        pairs = [x for pair in zip(answers, qs, strict=True) for x in (pair[::-1] if layout == "first" else pair)]
        return "\n".join([*answers, *qs] if layout == "blocks" else pairs)

    plain, text = (parse_answers(written(with_why=w), len(slots), confidence=confidence) for w in (False, True))
    assert text == parse_slowly(written(with_why=True), 0, len(slots), confidence, True, False)
    assert text.is_clean, text.reason
    assert (texts(text), confidences(text)) == (texts(plain), confidences(plain))
    assert [one.rationale for one in text.answers] == [(w or "").strip() or None for _, _, w in slots]
    assert [one.rationale for one in plain.answers] == [None] * len(slots)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<why1>w</why1>" + TWO, "slot 1: <answer1> expected, found <why1>"),  # in front of its answer
        (TWO + "<why2>w</why2>", "after the last slot: <why2> is one tag too many"),  # behind its confidence
        (TWO.replace("</answer1>", "</answer1><why2>w</why2>"), "slot 1: <confidence1> expected, found <why2>"),
        (TWO.replace("</answer1>", "</answer1><why>w</why>"), "slot 1: <confidence1> expected, found <why>"),
        (
            TWO.replace("</answer1>", "</answer1><why1>w</why1><why1>x</why1>"),
            "slot 1: <confidence1> expected, found <why1>",
        ),
        (TWO.replace("</answer1>", "</answer1><why1>w"), "slot 1: </why1> expected, found <confidence1>"),
        (TWO.replace("</answer1>", "</answer1>w</why1>"), "slot 1: text outside the tags: 'w'"),
        (TWO.replace("</answer1>", "</answer1><why1><why1>w</why1></why1>"), "slot 1: </why1> expected, found <why1>"),
        (TWO.replace("</answer1>", "</answer1><why1>a<answer2>"), "slot 1: </why1> expected, found <answer2>"),
        (TWO.replace("flu", "flu<why1>w</why1>"), "slot 1: </answer1> expected, found <why1>"),  # inside its answer
        (
            TWO.replace("</answer1>", f"</answer1><why1>{'w' * (MAX_ANSWER_CHARS + 1)}</why1>"),
            "slot 1: <why1> has 20001 characters, at most 20000 are allowed",
        ),
        ("1. a | why: w | x | 0.5\n2. b | 0.5", "line 1: one | expected: 'a | why: w | x | 0.5'"),
        ("1. a | why: w | why: x | 0.5\n2. b | 0.5", "line 1: one | expected: 'a | why: w | why: x | 0.5'"),
        ("1. a | 0.5 | why: w\n2. b | 0.5", "line 1: one | expected: 'a | 0.5 | why: w'"),
        ("1. a | w | 0.5\n2. b | 0.5", "line 1: one | expected: 'a | w | 0.5'"),
        ("1. a | Why: w | 0.5\n2. b | 0.5", "line 1: one | expected: 'a | Why: w | 0.5'"),
        ("1. a | why: w\n2. b | 0.5", "line 1: the confidence is 'why: w', not a plain decimal from 0 to 1"),
        ("1. a | why: <why1> | 0.5\n2. b | 0.5", "line 1: <why1> inside a line"),
    ],
)
def test_rationales_in_the_wrong_place(text: str, reason: str) -> None:
    found = parse_answers(text, 2, confidence=True)
    assert (found.status, found.answers, found.reason) == (MALFORMED, (), reason)


def test_a_salvaged_answer_has_no_rationale_and_loses_nothing_by_one() -> None:
    text = "So: " + TWO.replace("</answer1>", "</answer1><why1>w</why1>")
    found = parse_answers(text, 2, confidence=True, salvage=True)
    assert (found.status, texts(found), confidences(found)) == (PARTIAL, ["flu", "common cold"], [0.6, 0.25])
    assert [one.rationale for one in found.answers] == [None, None]


def test_a_rationale_is_no_confidence() -> None:
    assert not states_confidences("1. a | why: w\n2. b | why: x")
    assert states_confidences("1. a | why: w | high")
    assert states_confidences("1) a | 0.5\n2) b | 0.4")  # another mark, whose answers and numbers are salvaged
    assert not states_confidences("<answer1>a</answer1><why1>0.5</why1>")
    assert parse_answers("1. a | why: 0.5", 1, confidence=False).answers[0].rationale == "0.5"
    assert not parse_answers("1. a | 0.5", 1, confidence=False).is_clean


@pytest.mark.parametrize("style", ["full", "lines", "confidence-first"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("confidence", [True, False])
def test_the_format_the_prompt_shows_is_the_format_that_is_read(k: int, confidence: bool, style: Style) -> None:
    shown = build_prompt("Q", k, confidence=confidence, style=style).rpartition("write exactly:\n")[2]
    answered = shown.replace("...", "0.5")
    assert parse_answers(answered, k, confidence=confidence).is_clean


@pytest.mark.parametrize(
    "piece",
    [
        "1. ",
        "1. a | .5\n",
        "\n",
        "|",
        "<answer1>",
        "<think>",
        "</think>",
        "<answer1>a</answer1><confidence1>.5</confidence1>",
        "<",
        "</answer1",
        "<why1>",
        "a</answer1><why1>",
        "1. a | why: b",
        " ",
    ],
)
def test_a_megabyte_of_hostile_text_is_read_to_the_end(piece: str) -> None:
    # Time is the benchmark's subject (bench/reward_path.py); quadratic work would take minutes here.
    text = "</think><answer1>" + piece * (1_000_000 // len(piece))
    found = parse_answers(text, 3, confidence=True, salvage=True)
    assert found.status in (MALFORMED, PARTIAL)
