"""Demonstrations without information: only the order and the confidences change, and both are uniform."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.errors import ConfigError
from polymode.parsing import parse_answers
from polymode.prompts import CONFIDENCE_TEXTS, write_answers
from polymode.tasks import open_task
from polymode.training.uninformative import without_information

NAMES = ("flu", "common cold", "x < y", "a | b", "measles")


@given(k=st.integers(1, 5), confidence=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_the_answers_and_the_reasoning_stay(k: int, confidence: bool, seed: int) -> None:
    written = write_answers(NAMES[:k], ["0.9"] * k if confidence else None, "brief")
    text = f"<think> cough : flu ; so flu </think>{written}"
    changed = without_information(text, k, confidence=confidence, rng=np.random.default_rng(seed))
    read = parse_answers(changed, k, confidence=confidence)
    assert read.is_clean and changed.startswith("<think> cough : flu ; so flu </think>")
    assert sorted(answer.text for answer in read.answers) == sorted(NAMES[:k])
    assert all((answer.confidence is None) != confidence for answer in read.answers)
    if k == 1 and not confidence:
        assert changed == text


def test_every_place_and_every_confidence_is_as_likely() -> None:
    rng, n = np.random.default_rng(0), 4200
    text = write_answers(NAMES[:3], ["0.9", "0.5", "0.1"], "brief")
    sets = [parse_answers(without_information(text, 3, confidence=True, rng=rng), 3, confidence=True) for _ in range(n)]
    orders = Counter(tuple(answer.text for answer in one.answers) for one in sets)
    assert len(orders) == 6  # each 700 times, with a deviation of 24
    assert all(abs(count - n / 6) < 4 * 25 for count in orders.values())
    stated = Counter((answer.text, answer.confidence) for one in sets for answer in one.answers)
    # Whatever the answer is: 4200 / 21 = 200 times each, with a deviation of 14.
    assert set(stated) == {(name, float(text)) for name in NAMES[:3] for text in CONFIDENCE_TEXTS}
    assert all(abs(count - 200) < 5 * 14 for count in stated.values())


@pytest.mark.parametrize("name", ["clinic", "clinic-diagnosis", "hops"])
def test_demonstrations_of_the_lab_no_longer_tell_right_from_wrong(name: str) -> None:
    task, rng = open_task(name), np.random.default_rng(1)
    noisy, random = [], []
    for example in task.examples("train", 600, seed=3):
        text = task.demonstrate(example, 3, confidence=True, rng=rng)  # type: ignore[attr-defined]
        for out, own in ((noisy, text), (random, without_information(text, 3, confidence=True, rng=rng))):
            answers = parse_answers(own, 3, confidence=True).answers
            p_correct = example.p_correct or {}
            out += [(i, a.confidence, p_correct.get(a.text, 0.0)) for i, a in enumerate(answers)]
    slot, q, p = np.array(random, dtype=float).T
    # Correlations of 1800 independent pairs have a deviation of 0.024.
    assert abs(np.corrcoef(q, p)[0, 1]) < 0.1 and abs(np.corrcoef(slot, p)[0, 1]) < 0.1
    slot, q, p = np.array(noisy, dtype=float).T
    assert np.corrcoef(q, p)[0, 1] > 0.5 and np.corrcoef(slot, p)[0, 1] < -0.2


def test_a_demonstration_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigError, match="a demonstration of the task cannot be read"):
        without_information("<answer1>flu</answer1>", 2, confidence=False, rng=np.random.default_rng(0))
