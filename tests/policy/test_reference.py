"""What the calibration measured: against plain counting, without texts, and back from a file."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from polymode.errors import ConfigError
from polymode.policy import Conditions, Policy
from polymode.policy.inputs import fit_input_check, parts_of
from polymode.policy.reference import (
    CONFIDENCES,
    INPUTS,
    MAX_VALUES,
    N_DIRECTIONS,
    N_WORDS,
    UNUSABLE,
    Reference,
    _words,
    set_measures,
)
from polymode.tasks.lab.clinic import Clinic

QUESTIONS = [example.question for example in Clinic().examples("validation", 700)]
CHECK = fit_input_check(QUESTIONS)
FITTED = Reference.of(QUESTIONS, CHECK, [(0.9, 1.1), UNUSABLE, (0.5, 0.5)])
assert CHECK is not None and FITTED is not None
REFERENCE: Reference = FITTED


def test_it_holds_measures_of_questions_without_another_part() -> None:
    _, _, *others = parts_of(QUESTIONS)
    fresh = [text for part in others for text in part]
    assert [len(row) for row in REFERENCE.inputs] == [min(len(fresh), MAX_VALUES)] * len(INPUTS)
    assert REFERENCE.inputs[0] == pytest.approx(sorted(round(math.log(len(text)), 4) for text in fresh))
    assert REFERENCE.confidences == ((-1.0, 0.5, 0.9), (-1.0, 0.5, 1.1))
    assert len(CONFIDENCES) == 2 and all(list(row) == sorted(row) for row in REFERENCE.inputs)


def test_directions_are_those_of_the_largest_variance() -> None:
    own = parts_of(QUESTIONS)[0]
    has_word = np.zeros((len(own), N_WORDS))
    for row, text in enumerate(own):
        has_word[row, list(_words(text))] = 1
    values = np.linalg.eigvalsh(np.cov(has_word.T, ddof=0))[::-1][:N_DIRECTIONS]
    along = has_word @ np.array(REFERENCE.directions).T
    assert along.var(axis=0) == pytest.approx(values, rel=0.02)
    measured = REFERENCE.measures("A 70 year old man has cough", CHECK)
    words = list(_words("a 70 year old man has cough"))
    assert measured[-N_DIRECTIONS:] == pytest.approx([sum(d[w] for w in words) for d in REFERENCE.directions], abs=1e-3)


def test_numbers_are_words_by_their_size() -> None:
    assert _words("aged 31") == _words("Aged 38") != _words("aged 7") != _words("aged 731")


def test_a_question_of_the_fit_has_no_measures() -> None:
    assert REFERENCE.measures(parts_of(QUESTIONS)[0][0], CHECK) == ()
    assert len(REFERENCE.measures(parts_of(QUESTIONS)[2][0], CHECK)) == len(INPUTS)
    assert REFERENCE.measures("anything", None) == ()
    assert Reference(confidences=((0.5,), (0.5,))).measures("anything", CHECK) == ()
    assert len(REFERENCE.measures("\ud800 ?", CHECK)) == len(INPUTS)


def test_measures_of_a_set() -> None:
    assert set_measures([0.3, 0.6]) == (0.6, 0.9)
    assert set_measures([]) == UNUSABLE


def test_nothing_to_measure_is_no_reference() -> None:
    assert Reference.of([], None) is None
    few = Reference.of(["Why?"], None, [(0.1, 0.2)])
    assert few is not None and few.inputs == () and few.confidences == ((0.1,), (0.2,))


def test_it_comes_back_from_its_file() -> None:
    policy = Policy(answer_at=0.8, conditions=Conditions(inputs=CHECK, reference=REFERENCE))
    text = json.dumps(policy.to_json())
    assert Policy.from_json(json.loads(text)) == policy
    assert "year" not in text and len(json.dumps(json.loads(text)["conditions"]["reference"])) < 80_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": [[1.0]]}, "inputs: 9 lists of numbers are needed"),
        ({"inputs": 3}, "inputs: a list of lists"),
        ({"confidences": [[0.5], ["a"]]}, "confidences: 2 lists of numbers"),
        ({"confidences": [[0.5], []]}, "confidences: 2 lists"),
        ({"directions": []}, "directions: 256 numbers each"),
        ({"colour": 1}, "unknown field 'colour'"),
    ],
)
def test_a_damaged_one_is_refused(changes: dict, message: str) -> None:
    row = Policy(conditions=Conditions(reference=REFERENCE)).to_json()
    row["conditions"]["reference"] |= changes
    with pytest.raises(ConfigError, match=message):
        Policy.from_json(row)


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="confidences"):
        replace(REFERENCE, confidences=((math.nan,), (0.5,)))
