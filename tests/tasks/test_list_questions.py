"""List questions: the facts, counted and held against each other; the questions and their splits."""

import re
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from polymode.errors import ConfigError
from polymode.evaluation import evaluate
from polymode.parsing import parse_answers
from polymode.references import check_references
from polymode.tasks import SPLITS, open_task
from polymode.tasks.list_questions.periodic_table import place
from polymode.tasks.list_questions.sets import MIN_ANSWERS, ListQuestion, article, list_questions
from polymode.tasks.list_questions.tables import Table, read_tables
from polymode.tasks.list_questions.task import ListQuestions
from polymode.types import Completion, Example
from polymode.verifiers.text import TextVerifier

KEY = TextVerifier().key
TABLES = {table.noun: table for table in read_tables()}


def members(noun: str, phrase: str) -> frozenset[str]:
    return next(one.members for one in TABLES[noun].conditions if one.phrase == phrase)


def question(name: str) -> ListQuestion:
    return next(one for one in list_questions() if one.name == name)


def names(example: Example) -> list[str]:
    return [reference.text for reference in example.references]


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.noun)
def test_no_name_of_a_table_stands_for_two_things(table: Table) -> None:
    keys = Counter(KEY(name) for item in table.items.values() for name in (*item.names, *item.short))
    assert [key for key, count in keys.items() if count > 1] == []
    assert "" not in keys
    assert all(one.kind for one in table.conditions), "a condition without a kind would pair with any other"
    assert len({one.phrase for one in table.conditions}) == len(table.conditions)


@pytest.mark.parametrize(
    ("noun", "count"),
    [
        ("country", 193 + 2 + 2),
        ("US state", 50),
        ("chemical element", 118),
        ("planet of the Solar System", 8),
        ("constellation", 88),
        ("month of the year", 12),
        ("day of the week", 7),
        ("letter of the Greek alphabet", 24),
        ("code word of the NATO phonetic alphabet", 26),
        ("continent", 7),
        ("ocean", 5),
        ("Canadian province or territory", 10 + 3),
        ("German state", 16),
        ("Austrian state", 9),
        ("Swiss canton", 26),
        ("region of Italy", 20),
        ("region of metropolitan France", 13),
        ("autonomous community of Spain", 17),
        ("state of India", 28),
        ("state of Mexico", 31 + 1),
        ("state of Brazil", 26 + 1),
        ("prefecture of Japan", 47),
        ("traditional county of Ireland", 26 + 6),
        ("metric prefix", 24),
        ("derived SI unit with a name of its own", 22),
        ("amino acid of the standard genetic code", 20),
        ("play by William Shakespeare", 36 + 2),
        ("book of the Bible in the Protestant canon", 39 + 27),
        ("president of the United States", 45),
        ("team of the National Basketball Association", 30),
        ("type of Pokémon", 18),
    ],
)
def test_lists_are_as_long_as_their_source_says(noun: str, count: int) -> None:
    assert len(TABLES[noun].items) == count


@pytest.mark.parametrize(
    ("noun", "phrase", "count"),
    [
        ("country", "in Africa", 54),
        ("country", "in South America", 12),
        ("country", "in North America", 23),
        ("country", "in the Americas", 35),
        ("country", "in Oceania", 14),
        ("country", "that is a member of the European Union", 27),
        ("country", "that uses the euro as a member of the European Union", 21),
        ("country", "that belongs to the Schengen Area", 29),
        ("country", "that is a member of NATO", 32),
        ("country", "that is a member of the G7", 7),
        ("country", "that is a member of the G20", 19),
        ("country", "that is a member of ASEAN", 11),
        ("country", "that is a member of OPEC", 12),
        ("country", "that is a member of the Arab League", 22),
        ("country", "that is a member of the OECD", 38),
        ("country", "that is a member of the Commonwealth of Nations", 56),
        ("country", "that was once a republic of the Soviet Union", 15),
        ("country", "that is landlocked", 45),
        ("country", "whose head of state is the British monarch", 15),
        # Numbers of neighbours as in the World Factbook (Brazil with French Guiana, China without Hong Kong).
        *(("country", f"that borders {name}", n) for name, n in
          {"China": 14, "Russia": 14, "Brazil": 10, "Germany": 9, "Austria": 8, "Zambia": 8, "Turkey": 8, "Tanzania": 8,
           "Serbia": 8, "Democratic Republic of the Congo": 9, "Hungary": 7, "Niger": 7, "Sudan": 7, "Saudi Arabia": 7,
           "Iran": 7, "Ukraine": 7, "India": 6, "Mali": 7, "Burkina Faso": 6, "South Africa": 6}.items()),
        *(("US state", f"that borders {name}", n) for name, n in
          {"Missouri": 8, "Tennessee": 8, "Colorado": 6, "Kentucky": 7, "Ohio": 5, "Idaho": 6, "Maine": 1}.items()),
        ("US state", "in the Census Bureau's Northeast region", 9),
        ("US state", "in the Census Bureau's Midwest region", 12),
        ("US state", "in the Census Bureau's South region", 16),
        ("US state", "in the Census Bureau's West region", 13),
        ("US state", "that was one of the thirteen original states", 13),
        ("US state", "that belonged to the Confederacy", 11),
        ("chemical element", "that is a lanthanide", 15),
        ("chemical element", "that is a gas at room temperature", 11),
        ("chemical element", "in the d-block of the periodic table", 40),
        ("chemical element", "in the f-block of the periodic table", 28),
        ("constellation", "of the zodiac", 12),
        ("month of the year", "with 31 days", 7),
        ("book of the Bible in the Protestant canon", "of the Pentateuch", 5),
        ("book of the Bible in the Protestant canon", "among the twelve Minor Prophets", 12),
        ("amino acid of the standard genetic code", "that is essential for adults", 9),
    ],
)  # fmt: skip
def test_conditions_hold_for_as_many_as_their_source_says(noun: str, phrase: str, count: int) -> None:
    assert len(members(noun, phrase)) == count


def test_facts_agree_with_each_other() -> None:
    def country(phrase: str) -> frozenset[str]:
        return members("country", phrase)

    union = country("that is a member of the European Union")
    assert country("that uses the euro as a member of the European Union") < union
    assert country("that joined the European Union in 2004") < union
    assert union < country("in Europe")
    assert country("that is a member of the G7") < country("that is a member of the G20")
    assert country("that is a member of the Gulf Cooperation Council") < country("that is a member of the Arab League")
    assert country("that is a member of ASEAN") == country("in Southeast Asia")
    coasts = [one for one in TABLES["country"].conditions if one.phrase.startswith("that has a coast on")]
    seas = {one.phrase: one.members & country("that is landlocked") for one in coasts if "Caspian" not in one.phrase}
    assert not any(seas.values())
    assert country("in Africa") & country("in South America") == frozenset()
    continents = ("Africa", "Asia", "Europe", "North America", "Oceania", "South America")
    assert frozenset().union(*(country(f"in {one}") for one in continents)) == TABLES["country"].items.keys()
    regions = [one for one in TABLES["country"].conditions if one.kind == "subregion"]
    assert not any(a.members & b.members for a, b in combinations(regions, 2))
    census = ("Northeast", "Midwest", "South", "West")
    parts = [members("US state", f"in the Census Bureau's {one} region") for one in census]
    assert sum(map(len, parts)) == len(frozenset().union(*parts)) == 50
    families = ("that is a noble gas", "that is a halogen")
    for phrase, group in zip(families, ("18", "17"), strict=True):
        in_group = members("chemical element", f"in group {group} of the periodic table")
        assert members("chemical element", phrase) == in_group
    assert members("chemical element", "that is an alkali metal") | {"hydrogen"} == members(
        "chemical element", "in group 1 of the periodic table"
    )


@pytest.mark.parametrize("noun", ["country", "US state"])
def test_borders_hold_both_ways(noun: str) -> None:
    neighbours = {
        one.phrase.removeprefix("that borders "): one.members for one in TABLES[noun].conditions if one.kind == "border"
    }
    assert all(a in neighbours[b] for a, others in neighbours.items() for b in others)
    assert all(name not in own for name, own in neighbours.items())


def test_every_country_and_state_has_a_capital_of_its_own() -> None:
    for noun in ("country", "US state", "German state"):
        assert len(TABLES[f"capital of a {noun}"].items) == len(TABLES[noun].items)
    assert "Washington, D.C." not in members("capital of a country", "in South America")


def test_the_periodic_table_has_its_form() -> None:
    assert Counter(place(n)[0] for n in range(1, 119)) == {1: 2, 2: 8, 3: 8, 4: 18, 5: 18, 6: 32, 7: 32}
    assert Counter(place(n)[2] for n in range(1, 119)) == {"s": 14, "p": 36, "d": 40, "f": 28}
    symbols = [item.short[0] for item in TABLES["chemical element"].items.values()]
    group = {symbol: place(number)[1] for number, symbol in enumerate(symbols, 1)}
    expected = {"H": 1, "He": 18, "Be": 2, "B": 13, "C": 14, "Al": 13, "Fe": 8, "Cu": 11, "Zn": 12, "La": None, "Lu": 3}
    assert {symbol: group[symbol] for symbol in expected} == expected
    assert all(re.fullmatch("[A-Z][a-z]?", symbol) for symbol in symbols)


def test_every_question_can_be_scored_and_has_answers_enough() -> None:
    questions = list_questions()
    assert len(questions) == 964
    assert len({one.text for one in questions}) == len(questions)
    for one in questions:
        assert len(one.references) >= MIN_ANSWERS
        check_references(one.references, TextVerifier())
        right = {KEY(name) for reference in one.references for name in reference.names}
        assert not right & set(map(KEY, one.others))


def test_splits_are_large_and_share_no_question_and_no_list_of_answers() -> None:
    task = open_task("list-questions")
    split = {name: task.examples(name) for name in SPLITS}
    assert {name: len(examples) for name, examples in split.items()} == {"train": 428, "validation": 108, "test": 428}
    answers = {name: {frozenset(names(example)) for example in examples} for name, examples in split.items()}
    for a, b in combinations(SPLITS, 2):
        assert not answers[a] & answers[b]
        assert not {example.id for example in split[a]} & {example.id for example in split[b]}
    assert list(task.examples("test", 20, seed=1)) == list(open_task("list-questions").examples("test", seed=1))[:20]


def test_names_that_do_not_meet_a_condition_on_the_name_are_not_right() -> None:
    whole = question("country in Southeast Asia")
    myanmar = next(reference for reference in whole.references if reference.text == "Myanmar")
    assert "Burma" in myanmar.names
    b = question("country whose name starts with the letter B")
    assert {"Burma", "Britain", "Bosnia and Herzegovina"} <= {reference.text for reference in b.references}
    for reference in b.references:
        assert all(name.startswith("B") for name in reference.names)
    s = question("chemical element whose name starts with the letter S")
    names_of = {reference.text: reference.names for reference in s.references}
    assert names_of["sodium"] == ("sodium",)  # Na does not start with S, and Sb is no symbol of an element that does
    assert names_of["sulfur"] == ("sulfur", "sulphur", "S")
    four = question("country whose name is a single word of four letters")
    assert sorted(reference.text for reference in four.references) == [
        "Chad", "Cuba", "Fiji", "Iran", "Iraq", "Laos", "Mali", "Oman", "Peru", "Togo",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("noun", "answers"),
    [
        ("country", "Czechia; Cabo Verde; Côte d’Ivoire; the USA; Bosnia-Herzegovina; The Gambia; Kyrgyz Republic"),
        ("capital of a country", "St. John's; St. George's; Nukuʻalofa; Nuku‘alofa; Berne; Washington DC; Sanaa"),
        ("capital of a US state", "St. Paul"),
        ("chemical element", "Fe; Aluminum; Sulphur"),
        ("main island of Hawaii", "Oʻahu; Hawai'i; Kauaʻi"),
        ("ocean", "the Pacific Ocean; Antarctic Ocean"),
        ("traditional county of Ireland", "County Down; County Derry"),
        ("flavour of quark", "up quark; Charm Quark"),
        ("logic gate", "AND gate; NOT gate; inverter"),
        ("bone of the human wrist", "scaphoid bone"),
        ("layer of the OSI model", "Data Link Layer"),
        ("book of the Bible in the Protestant canon", "Book of Genesis; II Kings; 2nd Kings; Gospel of John; Acts"),
        ("apostle named in the Gospel of Matthew", "Saint Peter; St. Andrew"),
        ("play by William Shakespeare", "Henry IV, Part II; Henry IV Part One; Love's Labor's Lost"),
        (
            "president of the United States",
            "James Garfield; Chester Arthur; George H.W. Bush; George Bush; Bush",
        ),
        ("president of the United States", "Roosevelt; William Harrison; William H. Harrison; Harrison; Adams"),
        (
            "president of the United States",
            "President Obama; President Bush; Abe Lincoln; Lyndon Baines Johnson",
        ),
        ("day of the week", "Mon; Tues; Thu; Sun."),
        ("astronaut who has walked on the Moon", "Jim Irwin; Dave Scott; Al Shepard"),
        ("play by William Shakespeare", "Twelfth Night, or What You Will"),
        ("event of the men's decathlon", "100 meters; 110-meter hurdles; 1,500 m"),
    ],
)
def test_usual_other_names_are_right(noun: str, answers: str) -> None:
    right = {KEY(name) for reference in question(noun).references for name in reference.names}
    assert [answer for answer in answers.split("; ") if KEY(answer) not in right] == []


def test_wording() -> None:
    assert [article(noun) for noun in ("US state", "ocean", "HTTP request method", "university", "capital of a X")] == [
        "a", "an", "an", "a", "the",
    ]  # fmt: skip
    texts = {one.name: one.text for one in list_questions()}
    text = texts["country that is a member of NATO and has a coast on the Mediterranean Sea"]
    assert "a country that is a member of NATO and has a coast" in text
    assert all(re.fullmatch(r"[A-Z][^.?]*(?: St\.| D\.C\.)?[^.?]*[.?]", text) for text in texts.values())
    assert not any("  " in text or " in the UN" in text.split(" in ", 1)[0] for text in texts.values())


def test_demonstrations_are_clean_and_right_more_often_than_not() -> None:
    task = ListQuestions()
    verifier, rng = TextVerifier(), np.random.default_rng(0)
    right: list[bool] = []
    stated: list[float] = []
    for example in task.examples("train"):
        for k, confidence in ((1, True), (3, True), (5, False)):
            text = task.demonstrate(example, k, confidence=confidence, rng=rng)
            answers = parse_answers(text, k, confidence=confidence)
            assert answers.is_clean
            assert len({KEY(answer.text) for answer in answers.answers}) == k
            if k == 3 and example.meta["topic"] == "country":
                right += [any(verifier.matches(a.text, r) for r in example.references) for a in answers.answers]
                stated += [answer.confidence or 0.0 for answer in answers.answers]
    is_right, q = np.array(right), np.array(stated)
    assert 0.5 < is_right.mean() < 0.7
    assert q[is_right].mean() - q[~is_right].mean() == pytest.approx(0.4, abs=0.05)


def test_evaluation_measures_the_spread_over_all_right_answers() -> None:
    (example,) = [one for one in open_task("list-questions").examples("test") if len(one.references) == 8][:1]
    first, second = names(example)[:2]
    answers = [first] * 18 + [second] * 6 + ["nothing of the kind"] * 6
    completions = [Completion(example, f"<answer>{a}</answer>", 1, False, i) for i, a in enumerate(answers)]
    metrics = evaluate(completions, n_boot=0).metrics
    assert metrics["modal_share@30"].value == pytest.approx(18 / 30)
    # Of the right ones 3/4 and 1/4, of eight: 3/4 log 6 + 1/4 log 2.
    assert metrics["kl_uniform@30"].value == pytest.approx(0.75 * np.log(6) + 0.25 * np.log(2))
    assert (metrics["kl_uniform@30"].n, metrics["precision"].value) == (1, pytest.approx(0.8))
    unknown = replace(example, meta={})
    completions = [replace(completion, example=unknown) for completion in completions]
    assert "kl_uniform@30" not in evaluate(completions, n_boot=0).metrics  # these references may be a few of many


def test_fewer_conditions_make_fewer_questions_in_the_same_splits() -> None:
    for split in SPLITS:
        n_conditions = {example.id: example.meta["conditions"] for example in ListQuestions().examples(split)}
        for most in range(3):
            ids = {example.id for example in ListQuestions(conditions=most).examples(split)}
            assert ids == {id_ for id_, n in n_conditions.items() if n in range(most + 1)}
    with pytest.raises(ConfigError, match="conditions = 3 is not allowed: give a whole number from 0 to 2"):
        open_task("list-questions", conditions=3)
