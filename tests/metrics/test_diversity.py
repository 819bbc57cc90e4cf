"""Diversity against rouge-score and hand-counted sets."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import entropy

from polymode.metrics import diversity
from polymode.metrics.table import JudgedTable

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
@settings(max_examples=50)
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


def test_modal_share_is_that_of_the_largest_class(small_table) -> None:
    # Question 0: classes 0, 1, 2 of three answers; question 1: classes 0, 1 | 0, 0, the first three of which 0, 1, 0.
    assert diversity.modal_share(small_table, 3) == pytest.approx([1 / 3, 2 / 3])
    assert diversity.modal_share(small_table, 4) == pytest.approx([1 / 3, 3 / 4])
    assert np.isnan(diversity.modal_share(small_table, 5)).tolist() == [
        False,
        True,
    ]  # question 1 was asked for 4


def test_kl_to_uniform_of_right_answers(small_table) -> None:
    assert np.isnan(diversity.kl_uniform(small_table, 3)).all()  # nobody says that the references are complete
    complete = np.array([True, True, False, False])
    table = replace(small_table, is_complete=complete, n_references=np.array([4, 4, 1, 1]))
    # Question 0 finds references 0 and 1 of four, once each: log 4 - log 2. The wrong answer is left out.
    assert diversity.kl_uniform(table, 3) == pytest.approx([np.log(2), np.nan], nan_ok=True)
    table = replace(table, match=np.array([0, 0, 1, 0, -1, 0, 0]))
    # Shares 2/3 and 1/3 of four references: 2/3 log(8/3) + 1/3 log(4/3).
    expected = 2 / 3 * np.log(8 / 3) + 1 / 3 * np.log(4 / 3)
    assert diversity.kl_uniform(table, 3)[0] == pytest.approx(expected)
    assert np.isnan(diversity.kl_uniform(replace(table, match=np.full(7, -1)), 3)).all()  # nothing right, nothing known
    whole = replace(table, n_references=np.array([2, 2, 1, 1]), match=np.array([0, -1, 1, 0, -1, 0, 0]))
    assert diversity.kl_uniform(whole, 3)[0] == 0


@given(
    st.lists(st.integers(-1, 4), min_size=6, max_size=6),
    st.integers(1, 6),
)
def test_shares_and_kl_follow_their_definitions(matches: list[int], n: int) -> None:
    classes = [match if match >= 0 else 5 for match in matches]
    ones = np.ones(6)
    table = JudgedTable(
        n_questions=1, question=np.zeros(6, int), k=ones.astype(int), n_references=np.full(6, 5), n_tokens=ones,
        best=ones, kl=ones, total_variation=ones, owner=np.arange(6), slot=np.zeros(6, int), q=ones, y=ones, p=ones,
        is_duplicate=np.zeros(6, bool), match=np.array(matches), answer_class=np.array(classes),
        is_complete=np.ones(6, bool),
    )  # fmt: skip
    counts = Counter(classes[:n])
    assert diversity.modal_share(table, n)[0] == pytest.approx(max(counts.values()) / n)
    right = Counter(match for match in matches[:n] if match >= 0)
    shares = [right[r] / right.total() for r in range(5)] if right else []
    expected = entropy(shares, [0.2] * 5) if right else np.nan
    assert diversity.kl_uniform(table, n)[0] == pytest.approx(expected, abs=1e-12, nan_ok=True)
