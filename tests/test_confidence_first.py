"""The notation with each confidence before its answer: how it is asked for, written, read and salvaged."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polymode.errors import ConfigError
from polymode.evaluation.losses import loss_of
from polymode.parsing import MAX_NUMBER_CHARS, parse_answers
from polymode.parsing.reading import parse_slowly
from polymode.prompts import Style, build_prompt, notation_of, style_of, write_answers
from polymode.runs import JudgedCompletion
from polymode.tasks.lab.demonstrations import FORMAT_TEXTS
from polymode.training.lab_model import build_tokenizer
from polymode.types import AnswerSet, ParseStatus

CLEAN, PARTIAL, MALFORMED, TRUNCATED = ParseStatus

steady = settings(derandomize=True)


def first(*answers: tuple[str, str], between: str = "") -> str:
    return between.join(
        f"<confidence{i}>{q}</confidence{i}><answer{i}>{a}</answer{i}>" for i, (a, q) in enumerate(answers, 1)
    )


def pairs(answer_set: AnswerSet) -> list[tuple[str, float | None]]:
    return [(answer.text, answer.confidence) for answer in answer_set.answers]


TWO = first(("flu", "0.6"), ("cold", ".25"))
BEHIND = "<answer1>flu</answer1><confidence1>0.6</confidence1><answer2>cold</answer2><confidence2>.25</confidence2>"


# --- how it is asked for ---------------------------------------------------------------------------------------------


def test_the_full_prompt_asks_for_the_probability_of_an_answer_to_come() -> None:
    prompt = build_prompt("Which one?", 2, confidence=True, style="confidence-first")
    assert "Before each answer state the probability that the answer you will give is correct, as a decimal" in prompt
    assert "After each answer" not in prompt
    assert prompt.splitlines()[-2:] == [
        "<confidence1>...</confidence1><answer1>...</answer1>",
        "<confidence2>...</confidence2><answer2>...</answer2>",
    ]
    exclusive = build_prompt("Which one?", 2, confidence=True, exclusive=True, style="confidence-first")
    assert "so the probabilities sum to at most 1" in exclusive


@pytest.mark.parametrize(
    ("k", "asked"), [(1, "Q\nGive confidence with 1 answer\n"), (3, "Q\nGive confidence with 3 answers\n")]
)
def test_the_brief_prompt_has_the_words_of_the_other_order(k: int, asked: str) -> None:
    prompt = build_prompt("Q", k, confidence=True, style="brief-confidence-first")
    assert prompt == asked
    assert sorted(prompt.split()) == sorted(build_prompt("Q", k, confidence=True, style="brief").split())


@pytest.mark.parametrize(("style", "plain"), [("confidence-first", "full"), ("brief-confidence-first", "brief")])
@pytest.mark.parametrize("k", [1, 3])
def test_without_confidences_it_is_tags(style: Style, plain: Style, k: int) -> None:
    assert build_prompt("Q", k, confidence=False, style=style) == build_prompt("Q", k, confidence=False, style=plain)
    assert write_answers(["a"] * k, None, style) == write_answers(["a"] * k, None, plain)


def test_the_notation_of_a_style_and_the_style_of_a_notation() -> None:
    assert style_of("task", "confidence-first", "brief") == "brief-confidence-first"
    assert style_of("full", "confidence-first", "brief") == "confidence-first"
    assert style_of("task", "confidence-first", "brief-lines") == "brief-confidence-first"
    assert style_of("task", "tags", "confidence-first") == "confidence-first"  # as a task's own lines stay lines
    assert [notation_of(style) for style in ("full", "brief", "lines", "brief-lines", "brief-confidence-first")] == [
        *("tags", "tags", "lines", "lines", "confidence-first")
    ]
    with pytest.raises(ConfigError, match="format = 'first' is not known: use one of tags, lines, confidence-first"):
        style_of("full", "first", "full")


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        first(("flu", "0.6"), ("cold", ".25"), between=" \n\t"),
        f"<think>flu, surely</think>\n{TWO}\n<analysis>so be it</analysis> ",
        TWO.replace("><", ">\n <"),
        TWO.replace("</answer1>", "</answer1><why1>fever</why1>"),
    ],
)
def test_clean_forms(text: str) -> None:
    found = parse_answers(text, 2, confidence=True)
    assert found.status is CLEAN, found.reason
    assert pairs(found) == [("flu", 0.6), ("cold", 0.25)]
    for answer in found.answers:
        assert answer.span.slice(text) == answer.text
        assert answer.confidence_span is not None and answer.confidence_span.end < answer.span.start
        assert answer.confidence_span.slice(text) in ("0.6", ".25")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # A mix of orders, in each direction, and confidences together in front: which belongs to what is not sure.
        (
            "<confidence1>.6</confidence1><answer1>a</answer1><answer2>b</answer2><confidence2>.2</confidence2>",
            "slot 2: <confidence2> expected, found <answer2>",
        ),
        (
            "<answer1>a</answer1><confidence1>.6</confidence1><confidence2>.2</confidence2><answer2>b</answer2>",
            "slot 2: <confidence2> out of order, <answer2> expected",
        ),
        (
            "<confidence1>.6</confidence1><confidence2>.2</confidence2><answer1>a</answer1><answer2>b</answer2>",
            "slot 1: <answer1> expected, found <confidence2>",
        ),
        (f"{TWO}<confidence2>0.1</confidence2>", "after the last slot: <confidence2> is one tag too many"),
        (TWO.replace("2>", "3>"), "slot 2: <confidence2> expected, found <confidence3>"),
        (TWO.replace("0.6", "60%"), "slot 1: <confidence1> is '60%', not a plain decimal from 0 to 1"),
        (TWO.replace("0.6", ""), "slot 1: <confidence1> is empty"),
        (TWO.replace("flu", " "), "slot 1: <answer1> is empty"),
        (TWO.replace("<answer1>", "so <answer1>"), "slot 1: text outside the tags: 'so'"),
        (f"I say {TWO}", "slot 1: text outside the tags: 'I say'"),
        (
            TWO.replace("<answer1>", "<analysis>x</analysis><answer1>"),
            "slot 1: <answer1> expected, found <analysis>",
        ),
        (f"<analysis>x</analysis>{TWO}", "slot 1: <answer1> expected, found <analysis>"),
        (TWO.replace("<answer1>", "<why1>x</why1><answer1>"), "slot 1: <answer1> expected, found <why1>"),
    ],
)
def test_reasons_name_the_slot_and_what_is_wrong(text: str, reason: str) -> None:
    found = parse_answers(text, 2, confidence=True)
    assert (found.status, found.answers, found.reason) == (MALFORMED, (), reason)


def test_it_is_read_where_confidences_are_asked_for_only() -> None:
    assert parse_answers(TWO, 2, confidence=False).reason == "slot 1: <answer1> expected, found <confidence1>"
    one = "<confidence>1</confidence><answer>flu</answer>"
    assert pairs(parse_answers(one, 1, confidence=True)) == [("flu", 1.0)]
    assert parse_answers(one, 2, confidence=True).status is MALFORMED
    assert parse_answers(TWO[:-5], 2, confidence=True, finished=False).status is TRUNCATED


def test_a_mix_of_orders_is_told_as_one() -> None:
    text = BEHIND.replace("<answer2>cold</answer2>", "") + "<answer2>cold</answer2>"
    mixed = parse_answers(text, 2, confidence=True)
    loss = loss_of(JudgedCompletion(id="a", k=2, status="malformed", reason=mixed.reason, answers=(), verdicts=()))
    assert loss is not None and loss.name == "slots in another order or with other numbers"


TAG = re.compile(r"</?(?:answer\d*|confidence\d*|why\d*|analysis|think)>", re.ASCII)


def by_definition(text: str, k: int) -> list[tuple[str, float]] | None:
    """Another reader of this one layout, by splitting; None for every other text."""
    if "<think>" in text and "</think>" not in text:
        return None
    rest, found = text.rpartition("</think>")[2], []

    def element(name: str, rest: str) -> tuple[str | None, str]:
        rest = rest.lstrip()
        content, end, behind = rest.removeprefix(f"<{name}>").partition(f"</{name}>")
        is_one = rest.startswith(f"<{name}>") and end and not TAG.search(content)
        return (content.strip(), behind) if is_one else (None, rest)

    for n in [""] if k == 1 else range(1, k + 1):
        q, rest = element(f"confidence{n}", rest)
        a, rest = element(f"answer{n}", rest)
        _, rest = element(f"why{n}", rest)
        digits = (q or "").replace(".", "", 1)
        if not a or not q or not digits or set(digits) - set("0123456789") or len(q) > MAX_NUMBER_CHARS:
            return None
        if q.endswith(".") or not 0 <= float(q) <= 1 or len(q.partition(".")[0]) > 1:  # 1. and 00.5 are none
            return None
        found.append((a, float(q)))
    _, rest = element("analysis", rest)
    return None if rest.strip() else found


answer_text = st.text(min_size=1, max_size=20).map(str.strip).filter(lambda t: t and not TAG.search(t))
number_text = st.sampled_from(["0", "1", "0.5", ".25", "1.00", "1.", "01", "-0.1", "", "0.5 ", "nan", "٠.٥", "." * 2])
PARTS = ["<think>x</think>", "<analysis>x</analysis>", "<why1>x</why1>", "<answer2>", "</answer1>", "<think>", " ", "x"]


@st.composite
def nearly_written(draw: st.DrawFn, k: int) -> str:
    """Slots in this order or the other, some of their elements swapped, repeated, dropped or with something between."""
    elements: list[str] = []
    for n in [""] if k == 1 else range(1, k + 1):
        stated = f"<confidence{n}>{draw(number_text | st.just('0.5'))}</confidence{n}>"
        answer = f"<answer{n}>{draw(answer_text)}</answer{n}>"
        elements += [stated, answer] if draw(st.integers(0, 9)) else [answer, stated]
    for _ in range(draw(st.integers(0, 2))):
        i, j = (draw(st.integers(0, len(elements) - 1)) for _ in range(2))
        change = draw(st.integers(0, 3))
        if change == 0:
            elements[i], elements[j] = elements[j], elements[i]
        elif change == 1:
            elements.insert(j, elements[i])
        elif change == 2:
            elements.insert(j, draw(st.sampled_from(PARTS)))
        elif len(elements) > 1:
            del elements[i]
    return draw(st.sampled_from(["", "\n"])).join(elements)


@settings(steady, max_examples=250)
@given(st.data(), st.integers(1, 3))
def test_two_readers_and_a_definition_agree(data: st.DataObject, k: int) -> None:
    text = data.draw(nearly_written(k))
    found = parse_answers(text, k, confidence=True)
    start = text.rfind("</think>") + len("</think>") if "</think>" in text else 0
    assert found == parse_slowly(text, start, k, confidence=True, finished=True, salvage=False)
    expected = by_definition(text, k)
    if found.is_clean and found.answers[0].confidence_span.start > found.answers[0].span.start:  # type: ignore[union-attr]
        assert expected is None  # the other order
    else:
        assert (pairs(found) if found.is_clean else None) == expected


@steady
@given(
    st.lists(st.tuples(answer_text, st.integers(0, 100).map(lambda n: f"{n / 100:.2f}")), min_size=1, max_size=6),
    st.sampled_from(["confidence-first", "brief-confidence-first"]),
)
@example([("a < b", "0.50"), ("</", "1.00")], "confidence-first")
def test_what_is_written_is_read(rows: Sequence[tuple[str, str]], style: Style) -> None:
    text = write_answers([a for a, _ in rows], [q for _, q in rows], style)
    assert text.startswith("<confidence")
    found = parse_answers(text, len(rows), confidence=True)
    assert found.is_clean and pairs(found) == [(a, float(q)) for a, q in rows]


# --- salvage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"Here: {TWO}", [("flu", 0.6), ("cold", 0.25)]),
        (f"```\n{first(('flu', '0.6'), ('cold', '.25'), between=' or ')}\n```", [("flu", 0.6), ("cold", 0.25)]),
        (f"Draft: {first(('a', '1'), ('b', '1'))} Finally: {TWO}", [("flu", 0.6), ("cold", 0.25)]),
        (f"{TWO} or rather <confidence1>.9</confidence1><answer1>a</answer1>", [("a", 0.9), ("cold", 0.25)]),
        # A confidence is of the answer that it was stated for: a later answer of the slot has none.
        (f"{TWO} or rather <answer1>a</answer1>", [("a", None), ("cold", None)]),
        # Nor does a confidence that follows change the one in front.
        (f"{TWO} or rather <confidence1>.9</confidence1>", [("flu", 0.6), ("cold", 0.25)]),
        # In a mix of orders a confidence could be of the answer on either side; the first slot tells the order.
        (
            "<confidence1>.6</confidence1><answer1>a</answer1><answer2>b</answer2><confidence2>.2</confidence2>",
            [("a", None), ("b", None)],
        ),
        (
            "<answer1>a</answer1><confidence1>.6</confidence1><confidence2>.2</confidence2><answer2>b</answer2>",
            [("a", None), ("b", None)],
        ),
        (f"{BEHIND} Again: {TWO}", [("flu", None), ("cold", None)]),
        (f"{TWO} Again: {BEHIND}", [("flu", None), ("cold", None)]),
        (TWO.replace("0.6", "60%"), [("flu", None), ("cold", None)]),
        (TWO.replace("<confidence1>0.6</confidence1>", ""), [("flu", None), ("cold", None)]),
        (TWO.replace("</answer2>", ""), [("flu", 0.6)]),
        (TWO.replace("<answer1>flu</answer1>", ""), []),
    ],
)
def test_a_confidence_belongs_to_the_answer_behind_it(text: str, kept: list[tuple[str, float | None]]) -> None:
    found = parse_answers(text, 2, confidence=True, salvage=True)
    assert (found.status, pairs(found)) == (PARTIAL if kept else MALFORMED, kept)
    assert parse_answers(text, 2, confidence=True).status is MALFORMED


def test_a_completion_that_was_cut_off_keeps_its_whole_slots() -> None:
    found = parse_answers(f"<think>x</think>{TWO[:-5]}", 2, confidence=True, finished=False, salvage=True)
    assert (found.status, pairs(found)) == (PARTIAL, [("flu", 0.6)])


@pytest.mark.parametrize(
    "piece",
    [
        "<confidence1>",
        "<confidence1>.5</confidence1>",
        "<confidence1>.5</confidence1><answer1>a</answer1>",
        "<confidence1>.5</confidence1><answer1>",
        "<confidence1>.",
        "<confidence1>0.5</confidence1",
    ],
)
def test_a_megabyte_of_hostile_text_is_read_to_the_end(piece: str) -> None:
    # Time is the benchmark's subject (bench/reward_path.py); quadratic work would take minutes here.
    text = "</think><confidence1>.5</confidence1>" + piece * (1_000_000 // len(piece))
    assert parse_answers(text, 3, confidence=True, salvage=True).status in (MALFORMED, PARTIAL)


def test_the_lab_has_its_words() -> None:
    tokenizer = build_tokenizer(FORMAT_TEXTS)
    for k in range(1, 6):
        prompt = build_prompt("", k, confidence=True, style="brief-confidence-first")
        written = write_answers(["0"] * k, ["0.50"] * k, "brief-confidence-first")
        ids = tokenizer(prompt + written.replace(">0<", "><"), add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids
