"""Diversity against rouge-score and hand-counted sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from polymode.metrics import diversity

TEXTS = [
    "<think>fever and cough speak for flu</think><answer>The Flu!</answer>",
    "fever, cough: it is a cold, or the flu",
    "Fièvre 38.5 and cough; cough, cough",
    "one",
    "a b a b a b a",
    "b a b a a a b",
]


@pytest.mark.parametrize("a", TEXTS)
@pytest.mark.parametrize("b", TEXTS)
def test_overlaps_agree_with_rouge_score(a: str, b: str) -> None:
    other = RougeScorer(["rouge3", "rouge4", "rougeL"]).score(a, b)
    x, y = diversity.words(a), diversity.words(b)
    assert diversity.rouge_l(x, y) == pytest.approx(other["rougeL"].fmeasure, abs=1e-9)
    for n in (3, 4):
        ours = diversity.ngram_overlap(x, y, n)  # rouge-score says 0 where neither text has n words
        assert np.nan_to_num(ours) == pytest.approx(other[f"rouge{n}"].fmeasure, abs=1e-9)


@given(st.lists(st.sampled_from("abcd"), max_size=90), st.lists(st.sampled_from("abcd"), max_size=90))
@settings(deadline=None, max_examples=50)
def test_rouge_l_is_that_of_the_table(a: list[str], b: list[str]) -> None:
    row = [0] * (len(b) + 1)
    for x in a:
        previous = row
        row = [0]
        for j, z in enumerate(b):
            row.append(previous[j] + 1 if x == z else max(previous[j + 1], row[j]))
    expected = 2 * row[-1] / (len(a) + len(b)) if a or b else np.nan
    assert diversity.rouge_l(a, b) == pytest.approx(expected, abs=0, nan_ok=True)


def test_jaccard_by_hand() -> None:
    assert diversity.jaccard(["a", "b", "b"], ["b", "c"]) == pytest.approx(1 / 3)  # {b} of {a, b, c}
    assert np.isnan(diversity.jaccard([], []))


def test_overlap_of_a_question_is_the_mean_over_pairs() -> None:
    texts = ["x y z", "x y z", "p q r"]
    # Pairs (0,1) alike, (0,2) and (1,2) without a shared word: 1/3 each; no text has four words.
    overlap = diversity.text_overlaps(texts)
    assert overlap[[0, 2, 3]] == pytest.approx([1 / 3] * 3)
    assert np.isnan(overlap[1])
    assert np.isnan(diversity.text_overlaps(["alone"])).all()
    # With one pair only the first two texts are compared.
    assert diversity.text_overlaps(texts, max_pairs=1)[0] == 1.0


def test_unique_answers_count_classes_among_the_first(small_table) -> None:
    # Question 0: 3 slots of set 0 hold classes 0, 1, 2; set 1 is malformed. Question 1: classes 0, 1 | 0, 0.
    assert diversity.unique_answers(small_table, 3).tolist() == [3, 2]
    assert diversity.unique_answers(small_table, 1).tolist() == [1, 1]
    # Six slots were asked for in question 0 (three of them malformed), four in question 1.
    assert np.isnan(diversity.unique_answers(small_table, 5)).tolist() == [False, True]
    assert diversity.unique_answers(small_table, 6)[0] == 3
