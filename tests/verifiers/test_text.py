"""The text equality: normalised forms, and what must never become equal."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.errors import VerifierFault
from polymode.types import Reference
from polymode.verifiers import KeyedVerifier
from polymode.verifiers.scripted import ScriptedVerifier
from polymode.verifiers.text import TextVerifier, normalise

TEXT = TextVerifier()
steady = settings(deadline=None, derandomize=True)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Flu", "flu"),
        ("the flu", "flu."),
        ("  common\n cold ", "Common cold"),
        ("COVID-19", "covid19"),
        ("an apple a day", "apple day"),
        ("1,000", "1000"),
        ("1.50 m", "1.50 m."),
        ("−5", "-5"),
        ("straße", "STRASSE"),
        ("cafe\u0301", "café"),
        ("ﬂu", "flu"),
        ("soft\u00adware\u200b", "software"),
        ("“flu”", "flu"),
        ("Ⅳ", "iv"),
    ],
)
def test_same_answer(a: str, b: str) -> None:
    assert TEXT.same(a, b) and TEXT.same(b, a)
    assert TEXT.matches(a, Reference("something else", (b,)))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("flu", "influenza"),
        ("hepatitis A", "hepatitis"),
        ("vitamin a", "vitamin the"),
        ("1.5", "15"),
        (".5", "5"),
        ("-5", "5"),
        ("-.5", "5"),
        ("1/2", "0.5"),
        ("+", "-"),
        ("a", "the"),
        ("a", "!"),
        ("café", "cafe"),
        ("naïve bayes", "naive bayes"),
    ],
)
def test_different_answers(a: str, b: str) -> None:
    assert not TEXT.same(a, b)
    assert not TEXT.matches(a, Reference(b))


@pytest.mark.parametrize(("text", "key"), [("A", "a"), ("the the", "the"), ("?!", "?!"), (" + ", "+"), ("$ 5", "5")])
def test_normalising_never_leaves_nothing(text: str, key: str) -> None:
    assert normalise(text) == key


@steady
@given(st.text().filter(str.strip), st.text())
def test_keys_are_the_equality(a: str, b: str) -> None:
    assert isinstance(TEXT, KeyedVerifier)
    assert TEXT.same(a, a)
    assert TEXT.same(a, b) is (TEXT.key(a) == TEXT.key(b)) is TEXT.same(b, a) is TEXT.matches(a, Reference(b))
    assert TEXT.key(a) == " ".join(TEXT.key(a).split())


def squad(text: str) -> str:
    """The definition of SQuAD's answer normalisation, step by step."""
    kept = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


@steady
@given(st.text(alphabet="abcdefth AB,;:!?()'_"))
def test_agrees_with_squad_except_for_a_last_article_and_lone_punctuation(text: str) -> None:
    words = "".join(char for char in text.lower() if char not in string.punctuation).split()
    if words and words[-1] not in ("a", "an", "the"):
        assert normalise(text) == squad(text)


def test_long_texts_are_compared_too() -> None:
    assert TEXT.same("The " + "long " * 1000, "LONG " * 1000)
    assert not TEXT.same("long " * 1000, "long " * 1001)


def test_equal_verifiers_are_interchangeable() -> None:
    assert TextVerifier() == TEXT
    assert hash(TextVerifier()) == hash(TEXT)


def test_the_scripted_verifier_follows_its_table_and_faults_on_cue() -> None:
    scripted = ScriptedVerifier(
        {"grippe": "flu", "both": frozenset({"flu", "cold"}), "boom": VerifierFault("no answer")}
    )
    assert scripted.same("grippe", "flu")
    assert not scripted.same("flu", "cold")
    assert scripted.matches("both", Reference("x", ("cold",)))
    with pytest.raises(VerifierFault, match="no answer"):
        scripted.same("flu", "boom")
    assert scripted.calls[0] == ("grippe", "flu")
