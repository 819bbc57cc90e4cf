"""What speaks for an answer: nothing that the question does not hold, whatever a model writes."""

import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from polymode.errors import ConfigError
from polymode.parsing import parse_answers
from polymode.policy.deciding import equality
from polymode.policy.pooling import pool_sets
from polymode.policy.rationales import MAX_CHARS, MAX_PARTS, NEGATIONS, QuestionWords, supported, words_of
from polymode.prompts import Style, build_prompt, style_of, write_answers

QUESTION = (
    "A 34-year-old woman, non-smoker, has Fever,  cough\nand muscle   aches (38.5 °C, 120/80); no rash, no wheeze. "
    "She can't walk far. Outside it is −5 °C. Leo is at the mill. "
    "Naïve cafe\u0301, हिन्दी, 我发烧三天, fe\u00adeling ill."
)
same = equality("text")
steady = settings(derandomize=True)


def rationales(question: str, *completions: str, k: int = 1) -> list[str | None]:
    sets = [parse_answers(one, k, confidence=True) for one in completions]
    return [one.rationale for one in supported(pool_sets(sets, same), question, completions, sets, same).answers]


def slot(answer: str = "flu", why: str | None = None, n: object = "") -> str:
    tag = "" if why is None else f"<why{n}>{why}</why{n}>"
    return f"<answer{n}>{answer}</answer{n}>{tag}<confidence{n}>0.5</confidence{n}>"


# --- words of the question -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phrase", "quote"),
    [
        ("fever", "Fever"),
        ("  FEVER. ", "Fever"),
        ("- cough and\n Muscle aches", "cough and muscle aches"),
        ("fever cough", "Fever, cough"),  # a comma more or less
        ("'can\u2019t walk'", "can't walk"),
        ("non\u2011smoker", "non-smoker"),
        ("38.5", "38.5"),
        ("-5", "\u22125"),
        ("NAI\u0308VE CAFÉ", "Naïve café"),
        ("ｆｅｖｅｒ", "Fever"),
        ("feeling", "feeling"),
        ("हिन्दी", "हिन्दी"),
        ("发烧", "发烧"),
        ("no rash", "no rash"),
    ],
)
def test_a_phrase_of_the_question_is_given_as_it_stands_there(phrase: str, quote: str) -> None:
    found = QuestionWords(QUESTION).quote(phrase)
    assert found is not None and unicodedata.normalize("NFC", found) == quote


@pytest.mark.parametrize(
    "phrase",
    [
        *("ever", "feve", "fevers", "oug", "can", "smoker", "34", "year", "8.5", "38", "120", "5", "हिन्द", "cafe"),
        *("tremor", "fever tremor", "cough fever", "muscle aches far", "", " ", ".", ";", "<b>", "\0"),
        "rash",  # the question denies it
        "wheeze She can't",  # over the end of a sentence
        "fever " * 1000,
    ],
)
def test_nothing_else_is(phrase: str) -> None:
    assert QuestionWords(QUESTION).quote(phrase) is None


@pytest.mark.parametrize(
    ("question", "phrase", "is_there"),
    [
        ("no fever or cough", "cough", False),
        ("no fever, but cough", "cough", True),
        ("denies any chest pain", "chest pain", False),
        ("no rash; rash on day 3", "rash", True),  # it is there without a negation, too
        ("She is not ill. Fever since Monday", "fever", True),
        ("She doesn't have a fever", "fever", False),
        ("He can\u2019t smell; coughs", "smell", False),
        ("Cannot breathe when lying", "breathe", False),
        ("negative for fever and cough", "cough", False),
        ("a negative test and fever", "fever", True),
        ("free of pain since Monday", "pain", False),
        ("free fluid and pain", "pain", True),
        ("the absence of a rash", "rash", False),
    ],
)
def test_what_a_negation_reaches_is_not_shown_without_it(question: str, phrase: str, is_there: bool) -> None:
    assert (QuestionWords(question).quote(phrase) is not None) is is_there


@steady
@given(st.text(max_size=60), st.text(max_size=60))
def test_every_part_is_the_questions_text_in_whole_words(question: str, rationale: str) -> None:
    """Against a definition that does without offsets: the words in a row, somewhere among the question's."""
    shared = QuestionWords(question).shared(rationale)
    if shared is not None:
        own, found = [w for w, _, _ in words_of(question)], [w for w, _, _ in words_of(shared)]
        parts = [[w for w, _, _ in words_of(part)] for part in shared.split(", ")]
        assert found and len(shared) <= MAX_CHARS and shared.isprintable()
        assert all(part in [own[i : i + len(part)] for i in range(len(own))] for part in parts)


@steady
@given(
    st.lists(st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=6), min_size=1, max_size=8), st.data()
)
def test_a_run_of_whole_words_is_always_found(words: list[str], data: st.DataObject) -> None:
    assume(NEGATIONS.isdisjoint(word.casefold() for word in words))  # words behind one are not shown without it
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    phrase = "\n ".join(words[first : last + 1]).upper().casefold()
    texts = [w.upper().casefold() for w in words]
    assert QuestionWords("  ".join(["so", *texts])).quote(phrase) is not None


# --- what models write -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "shown"),
    [
        ("fever", "Fever"),
        ("fever; tremor; COUGH", "Fever, cough"),
        ("fever, tremor", "Fever"),  # a list with commas, of which not all is there
        ("fever; Fever", "Fever"),
        ("fever\ncough", "Fever, cough"),
        ("", None),
        ("because the woman has a fever", None),  # a sentence of the model's own
        ("<b>fever</b>", None),
        ("fever; <script>", "Fever"),
    ],
)
def test_the_tag_works_for_any_model(why: str, shown: str | None) -> None:
    assert rationales(QUESTION, f"<think>It is winter.</think>{slot(why=why)}") == [shown]


@pytest.mark.parametrize(
    ("thought", "shown"),
    [
        ("fever : flu ; so flu, cold", "Fever"),
        ("fever : flu ; cough : cold ; muscle aches : flu ; so flu", "Fever, muscle aches"),
        ("- fever: The Flu\n- cough: measles", "Fever"),  # equal after normalising
        ("fever : flu ; fever : flu", "Fever"),
        ("tremor : flu ; ever : flu ; rash : flu", None),
        ("so flu, cold", None),
        ("The fever suggests flu.", None),  # other reasoning is not guessed at
        ("fever : influenza", None),
        ("fever : flu : cold", None),
        (": flu", None),
        ("fe\x1bver : flu", None),
    ],
)
def test_the_labs_reading_is_one_case(thought: str, shown: str | None) -> None:
    assert rationales(QUESTION, f"<think> {thought} </think>{slot()}") == [shown]


def test_natural_reasoning_without_a_tag_gives_nothing() -> None:
    assert rationales(QUESTION, f"<think>Fever and cough in winter: likely flu.</think>{slot()}") == [None]
    assert rationales(QUESTION, slot()) == [None]


def test_the_first_completion_that_has_something_to_say_speaks_for_a_pooled_answer() -> None:
    texts = [slot("flu", "tremor"), slot("The flu", "cough"), slot("cold", "fever"), "malformed"]
    assert rationales(QUESTION, *texts) == ["cough"]  # of K = 1 answers one is left, that with most votes


def test_it_stays_short_and_whole() -> None:
    question = ", ".join(f"finding number {i}" for i in range(40))
    [shown] = rationales(question, slot(why=question.replace(",", ";")))
    assert shown is not None and len(shown) <= MAX_CHARS and question.startswith(shown)
    assert rationales("x" * (MAX_CHARS + 1), slot(why="x" * (MAX_CHARS + 1))) == [None]


def test_hostile_rationales_are_read_in_no_time() -> None:
    words = QuestionWords("a " * 8000)  # looked up once each, only the first parts
    assert words.shared(";".join(["a " * 90 + "b"] * 5000)) is None
    assert words.shared("b;" * MAX_PARTS + "a") is None


# --- the prompt ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["rationale", "rationale-lines"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("confidence", [True, False])
def test_the_prompt_asks_for_it_and_what_it_shows_is_read(k: int, confidence: bool, style: Style) -> None:
    prompt = build_prompt("Fever?", k, confidence=confidence, style=style)
    assert "quote the words of the question" in prompt
    completion = prompt.rpartition("write exactly:\n")[2].replace("...", "0.5")
    answers = parse_answers(completion, k, confidence=confidence)
    assert answers.is_clean and [one.rationale for one in answers.answers] == ["0.5"] * k
    assert completion == write_answers(["0.5"] * k, ["0.5"] * k if confidence else None, style, rationales=["0.5"] * k)


@pytest.mark.parametrize("style", ["full", "lines", "brief", "brief-lines"])
def test_no_other_prompt_does(style: Style) -> None:
    prompt = build_prompt("Fever?", 2, confidence=True, style=style)
    assert "why" not in prompt and "quote" not in prompt


def test_the_option_makes_a_style_of_the_others() -> None:
    assert style_of("task", "tags", "full", rationale=True) == "rationale"
    assert style_of("full", "lines", "brief", rationale=True) == "rationale-lines"
    assert style_of("task", "lines", "lines", rationale=True) == "rationale-lines"
    assert style_of("rationale", "lines", "brief") == "rationale-lines"
    with pytest.raises(ConfigError, match="rationale = true does not suit the prompt style brief"):
        style_of("task", "tags", "brief", rationale=True)
