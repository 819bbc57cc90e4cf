"""Several completions as one ranked set: the average, against hand-worked numbers and its definition."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.errors import ConfigError, VerifierFault
from polymode.parsing import parse_answers
from polymode.policy.deciding import equality
from polymode.policy.pooling import check_pool, pool_answers, pool_sets
from polymode.prompts import MAX_K
from polymode.types import AnswerSet, ParseStatus

TEXT = equality("text")
SETS = st.lists(
    st.lists(st.tuples(st.sampled_from(["flu", "The Flu", "cold", "gout"]), st.floats(0, 1)), max_size=4),
    min_size=1,
    max_size=5,
)


def parsed(*slots: tuple[str, float]) -> AnswerSet:
    tags = enumerate(slots, 1)
    text = "".join(f"<answer{i}>{t}</answer{i}><confidence{i}>{q}</confidence{i}>" for i, (t, q) in tags)
    return parse_answers(text, len(slots), confidence=True)


def test_confidences_are_averages_with_nothing_for_an_answer_that_is_absent() -> None:
    completions = [[("flu", 0.6), ("cold", 0.3)], [("gout", 0.5), ("The flu", 0.2)], [], [("Cold.", 0.4)]]
    pooled = pool_answers(completions, MAX_K, TEXT)
    assert [(one.completion, one.slot) for one in pooled] == [(0, 0), (3, 0), (1, 0)]  # where each is most confident
    means = [(0.6 + 0.2) / 4, (0.3 + 0.4) / 4, 0.5 / 4]
    assert [one.confidence for one in pooled] == pytest.approx(means)
    assert pool_answers(completions, 2, TEXT) == pooled[:2]


def test_ties_rank_by_place_and_then_by_text_whatever_the_order_of_the_completions() -> None:
    completions = [[("gout", 0.25), ("flu", 0.25)], [("cold", 0.25), ("asthma", 0.25)]]
    for own in (completions, completions[::-1]):
        pooled = pool_answers(own, 3, TEXT)
        assert [own[one.completion][one.slot][0] for one in pooled] == ["cold", "gout", "asthma"]


@given(SETS.flatmap(lambda own: st.tuples(st.just(own), st.permutations(own))), st.integers(1, 4))
def test_the_order_of_the_completions_makes_no_difference(orders, k: int) -> None:
    def answers(own: list) -> list[tuple[str, float]]:
        return [(own[one.completion][one.slot][0], one.confidence) for one in pool_answers(own, k, TEXT)]

    assert answers(orders[0]) == answers(orders[1])


@given(SETS)
def test_it_is_the_average_over_completions_of_the_first_of_equal_answers(completions) -> None:
    pooled = pool_answers(completions, MAX_K, TEXT)
    texts = [completions[one.completion][one.slot][0] for one in pooled]
    assert not any(TEXT(a, b) for i, a in enumerate(texts) for b in texts[:i])
    assert [one.confidence for one in pooled] == sorted((one.confidence for one in pooled), reverse=True)
    assert {text for own in completions for text, _ in own if not any(TEXT(text, other) for other in texts)} == set()
    for text, one in zip(texts, pooled, strict=True):
        stated = [next((q for other, q in own if TEXT(text, other)), 0.0) for own in completions]
        assert one.confidence == pytest.approx(sum(stated) / len(stated))


@given(SETS, st.lists(st.booleans(), min_size=4, max_size=4))
def test_the_brier_score_of_the_average_is_no_worse_than_the_average_one(completions, right) -> None:
    labels = dict(zip(["flu", "The Flu", "cold", "gout"], [right[0], right[0], right[1], right[2]], strict=True))
    for one in pool_answers(completions, MAX_K, TEXT):
        text = completions[one.completion][one.slot][0]
        stated = [next((q for other, q in own if TEXT(text, other)), 0.0) for own in completions]
        each = sum((q - labels[text]) ** 2 for q in stated) / len(stated)
        assert (one.confidence - labels[text]) ** 2 <= each + 1e-12


def test_a_pooled_set_holds_the_k_best_answers_of_the_completions_that_can_be_used() -> None:
    bad = parse_answers("I do not know.", 2, confidence=True)
    pooled = pool_sets([bad, parsed(("cold", 0.4), ("flu", 0.2)), parsed(("flu", 0.9), ("gout", 0.1))], TEXT)
    assert (pooled.status, pooled.k) == (ParseStatus.CLEAN, 2)
    thirds = [("flu", pytest.approx(1.1 / 3)), ("cold", pytest.approx(0.4 / 3))]  # gout would be third
    assert [(a.text, a.confidence) for a in pooled.answers] == thirds
    one = parsed(("cold", 0.1), ("flu", 0.2))
    assert pool_sets([one], TEXT) is one  # neither ranked nor changed
    alone = pool_sets([bad, one, bad, bad], TEXT)  # three completions say nothing for its answers
    assert [(a.text, a.confidence) for a in alone.answers] == [("flu", 0.05), ("cold", 0.025)]
    same = pool_sets([parsed(("flu", 0.5), ("The flu", 0.4)), parsed(("FLU", 0.1), ("flu", 0.8))], TEXT)
    assert [(a.text, a.confidence) for a in same.answers] == [("flu", pytest.approx(0.3))]  # the first of equal ones


def test_completions_none_of_which_can_be_used() -> None:
    bad, cut = (parse_answers("Well,", 2, confidence=True, finished=finished) for finished in (True, False))
    pair = parsed(("a", 0.5), ("b", 0.1))
    silent = replace(pair, answers=tuple(replace(answer, confidence=None) for answer in pair.answers))
    for sets, status in (
        ([bad, bad], ParseStatus.MALFORMED),
        ([cut, bad], ParseStatus.MALFORMED),
        ([cut, cut, cut], ParseStatus.TRUNCATED),
        ([silent, silent], ParseStatus.MALFORMED),
    ):
        pooled = pool_sets(sets, TEXT)
        assert (pooled.status, pooled.answers, pooled.k) == (status, (), 2)
        assert pooled.reason.startswith(f"none of {len(sets)} completions can be used, the first because ")
        assert sets[0].reason in pooled.reason
    mixed = pool_sets([silent, pair], TEXT)
    assert [a.confidence for a in mixed.answers] == [0.25, 0.05]


def test_answers_that_cannot_be_compared() -> None:
    def fails(a: str, b: str) -> bool:
        raise VerifierFault("down")

    pooled = pool_sets([parsed(("a", 0.1), ("c", 0.2)), parsed(("b", 0.1), ("c", 0.2))], fails)
    assert (pooled.status, pooled.reason) == (ParseStatus.MALFORMED, "its answers cannot be compared: down")


@pytest.mark.parametrize("n", [0, -1, 65, 1.5, True])
def test_sizes_of_pools(n) -> None:
    with pytest.raises(ConfigError, match="pool = "):
        check_pool(n)
