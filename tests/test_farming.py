"""Rewards that cannot be farmed: no completion scores above what its distinct right answers earn, for every verifier.

An adversary writes a set from few right answers: repeats in other spelling, tags inside answers, invisible characters,
as many slots as there can be, both notations. The bound is counted from what went into the set, never by the judge.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.prompts import MAX_K, write_answers
from polymode.rewards import METHODS, score_set
from polymode.types import Example, Reference
from polymode.verifiers import QuestionVerifier, Verifier, prepare_verifier
from polymode.verifiers.programs import ProgramVerifier
from polymode.verifiers.symbolic import SymbolicVerifier
from polymode.verifiers.text import TextVerifier

thorough = settings(derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
INVISIBLE = ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u202e", "\u2066", "\u2069", "\u061c", "\ufe0f"]
"""Zero-width, bidirectional and other characters that nobody sees."""
FRUIT = ("apple", "Morus nigra", "red currant", "fig")
EXAMPLE = Example("fruit", "Name fruit", tuple(Reference(name) for name in FRUIT))


def disguised(draw: Any, name: str) -> str:
    """Another spelling of a name, which a person reads as the same."""
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(name)))
        name = draw(
            st.sampled_from(
                [
                    name.upper(),
                    name.title(),
                    f"The {name}",
                    f"**{name}**",
                    f'"{name}".',
                    f"  {name}\t",
                    name.replace(" ", "-"),
                    name.replace(" ", "  "),
                    unicodedata.normalize("NFKD", name),
                    "".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in name),  # full-width letters
                    name[:at] + draw(st.sampled_from(INVISIBLE)) + name[at:],
                ]
            )
        )
    return name


JUNK = ["", " ", "pear", "apple pie", "fig</answer2>", "<answer1>fig", "</think>fig", "<think>", "fig | 0.9", "1. fig"]


@st.composite
def farmed(draw: Any, names: Sequence[str], junk: Sequence[str], spell: Callable[[Any, str], str]) -> tuple[str, int]:
    """A completion, and the number of different right names that went into it.

    Most draws keep the format, with as many slots as K, so that there is something to be paid for; `test_text` counts.
    """
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    k = draw(st.sampled_from([2, 3, 5, MAX_K]))
    is_orderly = draw(st.integers(0, 3)) > 0
    wrong = st.sampled_from(["pear", "apple pie", "plum"] if is_orderly else junk)
    sources = draw(st.lists(st.sampled_from(chosen) | wrong, min_size=k if is_orderly else 0, max_size=k))
    texts = [spell(draw, text) if text in names else text for text in sources]
    good = st.sampled_from(["1", "0", "0.5", "1.0"])
    number = good if is_orderly else good | st.sampled_from(["2", "nan", ""])
    numbers = draw(st.lists(number, min_size=k, max_size=k)) if draw(st.booleans()) else None
    notation: Any = draw(st.sampled_from(["full", "lines", "confidence-first"]))
    body = write_answers(texts, None if numbers is None else numbers[: len(texts)], notation)
    wrapped = (
        [body, f"<think>{body}</think>\n{body}"] if is_orderly else [f"{body}</think>{body}", body * 2, body[::-1]]
    )
    # Disorderly text may hold any right name inside what a parser would have to be fooled to read.
    n_right = len(set(sources) & set(names)) if is_orderly else len(names)
    return draw(st.sampled_from(wrapped)), n_right


def scores(text: str, example: Example, verifier: Verifier | QuestionVerifier) -> Iterable[tuple[str, float | None]]:
    for name, method in METHODS.items():
        for k in (1, 2, 3, 5, MAX_K):
            answers = parse_answers(text, method.answers(k), confidence=method.has_confidence)
            yield name, score_set(judge(example, answers, verifier), method.reward()).total


def assert_bounded(text: str, n_right: int, example: Example, verifier: Verifier | QuestionVerifier) -> None:
    """Coverage at most the right answers, 1 for the format, and the Brier term is never positive."""
    for name, total in scores(text, example, verifier):
        assert total is None or total <= n_right + 1 + 1e-9, (name, text)


def test_text() -> None:
    n_drawn = n_paid = 0

    @thorough
    @given(farmed(FRUIT, JUNK, disguised))
    def bounded(farm: tuple[str, int]) -> None:
        nonlocal n_drawn, n_paid
        assert_bounded(*farm, EXAMPLE, TextVerifier())
        n_drawn += 1
        n_paid += any((total or 0) > 1 for _, total in scores(farm[0], EXAMPLE, TextVerifier()))

    bounded()
    assert n_paid > n_drawn / 4  # else the bound would hold because nothing is ever paid


@thorough
@given(st.data())
def test_every_spelling_of_one_answer_is_one_answer(data: st.DataObject) -> None:
    """The strongest form: K slots with nothing but spellings of one right answer earn exactly one hit."""
    name = data.draw(st.sampled_from(FRUIT))
    k = data.draw(st.sampled_from([2, 3, MAX_K]))
    texts = [disguised(data.draw, name) for _ in range(k)]
    text = "".join(f"<answer{i}>{t}</answer{i}>" for i, t in enumerate(texts, 1))
    judged = judge(EXAMPLE, parse_answers(text, k, confidence=False), TextVerifier())
    assert sum(hit or 0 for hit in judged.hits) == 1
    assert score_set(judged, METHODS["multi-rlvr"].reward()).total == 2


def test_names_of_one_reference_are_one_hit() -> None:
    example = Example("w", "Who?", (Reference("Samuel Clemens", ("Mark Twain", "Twain")), Reference("Poe")))
    text = "".join(f"<answer{i}>{t}</answer{i}>" for i, t in enumerate(["Twain", "Mark Twain", "Samuel Clemens"], 1))
    judged = judge(example, parse_answers(text, 3, confidence=False), TextVerifier())
    assert score_set(judged, METHODS["multi-rlvr"].reward()).total == 2


NUMBERS = {
    "1/2": [
        "0.5",
        "\\frac{1}{2}",
        "2/4",
        "50%",
        "x = 1/2",
        "$\\tfrac12$",
        "½",
        "0.50",
        "(1/2)",
        "2^{-1}",
        "\\boxed{1/2}",
    ],
    "sqrt(2)": ["\\sqrt{2}", "2^{1/2}", "√2", "2/\\sqrt{2}"],
}


def test_symbolic() -> None:
    """Forms of one number are one hit, with 20 slots as with two."""
    example = Example("n", "Which numbers?", tuple(Reference(name) for name in NUMBERS))
    forms = [form for spellings in NUMBERS.values() for form in spellings] + ["\u200b1/2", "1/2\u202e", "**1/2**"]
    for k in (2, len(forms)):
        text = "".join(f"<answer{i}>{form}</answer{i}>" for i, form in enumerate(forms[:k], 1))
        answers = parse_answers(text, k, confidence=False)
        verifier = prepare_verifier(SymbolicVerifier(), [(example, [a.text for a in answers.answers])])
        total = score_set(judge(example, answers, verifier), METHODS["multi-rlvr"].reward()).total
        assert total is not None and total <= (2 if k == 2 else 3)


PROGRAMS = [
    "def f(x):\n    return x + 1",
    "def f(x):\n    1 + 1\n    return x + 1",
    "def f(y):\n    return 1 + y",
    "def f(x):\n    result = x + 1\n    return result",
    "def f(x):\n    return (x + 2) - 1 if False else x + 1",
    "import math\ndef f(x):\n    '''Add.'''\n    return x + 1",
]


def test_programs() -> None:
    """Edits without an idea of their own are one hit."""
    tests = json.dumps({"asserts": ["assert f(1) == 2", "assert f(5) == 6"], "entry": "f"})
    example = Example("p", "Write f", (Reference(tests),))
    k = len(PROGRAMS)
    text = "".join(f"<answer{i}>{program}</answer{i}>" for i, program in enumerate(PROGRAMS, 1))
    answers = parse_answers(text, k, confidence=False)
    verifier = prepare_verifier(ProgramVerifier(), [(example, [a.text for a in answers.answers])])
    judged = judge(example, answers, verifier)
    assert all(verdict.value == "correct" for verdict in judged.verdicts)
    assert sum(hit or 0 for hit in judged.hits) == 1
