"""Second reviews: who gets them, what they show, what they lead to, and how far reviewers agree."""

import json
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.errors import ConfigError, ReviewConflictError
from polymode.types import Verdict
from polymode.web.reviews import ReviewQueue, ReviewState, export_judged, export_records
from polymode.web.reviews.agreement import cohen_kappa
from polymode.web.reviews.records import ADJUDICATION, SECOND

CORRECT, WRONG, UNSCORED = Verdict
Add = Callable[..., int]


@pytest.fixture
def twice(place: str, clock: Callable) -> Iterator[ReviewQueue]:
    """A queue in which every item is reviewed twice."""
    with ReviewQueue(place, second_review=1, clock=clock) as queue:  # type: ignore[arg-type]
        yield queue


def review(
    queue: ReviewQueue, who: str, first: Verdict, second: Verdict, item: int | None = None, **more: object
) -> int:
    """Claim the next item, or a certain one, and resolve it; its id."""
    claimed = queue.claim(who, item)
    assert claimed is not None
    queue.resolve(claimed.id, who, verdicts={0: first, 1: second}, **more)  # type: ignore[arg-type]
    return claimed.id


def verdicts(queue: ReviewQueue, item: int) -> list[Verdict | None]:
    return [answer.verdict for answer in queue.item(item).answers]


def test_only_the_share_that_is_drawn_is_reviewed_again(place: str, add: Add) -> None:
    draws = iter([0.09, 0.1, 0.5])
    with ReviewQueue(place, second_review=0.1, draw=lambda: next(draws)) as queue:
        for question in "abc":
            add(queue, question)
            review(queue, "ann", CORRECT, WRONG)
        [second] = [item for item in queue.items() if item.review_round == SECOND]
        assert second.question == "a"


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), True, "all"])
def test_a_share_is_a_number_from_0_to_1(place: str, share: object) -> None:
    with pytest.raises(ConfigError, match="second_review = .* is not allowed"):
        ReviewQueue(place, second_review=share)  # type: ignore[arg-type]


def test_a_second_review_goes_to_another_and_shows_nothing_of_the_first(twice: ReviewQueue, add: Add) -> None:
    original = add(twice, request_id="r")
    review(twice, "Ann", CORRECT, WRONG, missing=["covid"], note="it was clear", same_as={1: None})
    [second] = [item for item in twice.items() if item.id != original]
    assert (second.state, second.review_of, second.request_id) == (ReviewState.OPEN, original, None)
    assert (second.note, second.finished_by, second.claimed_by, second.asked_by) == ("", None, None, None)
    assert [(answer.text, answer.verdict) for answer in second.answers] == [("flu", None), ("cold", None)]
    assert "Ann" not in json.dumps([[e.who, e.detail] for e in twice.events(second.id)], default=dict)
    assert twice.claim("Ann") is None and twice.claim("ann") is None  # nothing else is there for them
    with pytest.raises(ReviewConflictError, match="reviewed the question of item 2 already"):
        twice.claim("Ann", second.id)
    with pytest.raises(ReviewConflictError, match="'Ann' has reviewed this question already"):
        twice.assign(second.id, "bob", "Ann")
    assert twice.is_hidden(twice.item(original), "bob") and twice.is_hidden(twice.item(original), None)
    assert not twice.is_hidden(twice.item(original), "Ann")
    assert review(twice, "bob", CORRECT, WRONG) == second.id
    assert not twice.is_hidden(twice.item(original), "bob")


def test_agreement_leaves_the_verdicts_and_adds_what_the_second_added(twice: ReviewQueue, add: Add) -> None:
    original = add(twice)
    review(twice, "ann", CORRECT, WRONG, missing=["covid"])
    review(twice, "bob", CORRECT, WRONG, missing=["measles"])
    assert twice.claim("eve") is None
    assert [(a.text, a.verdict) for a in twice.item(original).answers] == [
        ("flu", CORRECT),
        ("cold", WRONG),
        ("covid", CORRECT),
        ("measles", CORRECT),
    ]
    assert [(one.round, one.reviewer, one.added) for one in twice.rounds(original)] == [
        (1, "ann", ("covid",)),
        (2, "bob", ("measles",)),
    ]
    assert twice.events(original)[-1].detail == {"agrees": True}


def test_a_third_decides_where_two_disagree(twice: ReviewQueue, add: Add, tmp_path: Path) -> None:
    original = add(twice)
    review(twice, "ann", CORRECT, WRONG, missing=["covid"], note="sure")
    review(twice, "bob", WRONG, WRONG, missing=["Covid", "measles"])
    [disputed] = twice.resolved()
    assert [answer.verdict for answer in disputed.answers][:2] == [UNSCORED, WRONG]  # until it is decided
    [third] = [item for item in twice.items() if item.review_round == ADJUDICATION]
    assert [(a.text, a.verdict) for a in third.answers] == [
        ("flu", None),
        ("cold", WRONG),  # what they agree on
        ("covid", None),
        ("measles", None),
    ]
    for name in ("ann", "bob"):
        assert twice.claim(name) is None
    twice.claim("eve", third.id)
    twice.resolve(third.id, "eve", verdicts={0: CORRECT, 2: WRONG, 3: CORRECT}, same_as={3: 0}, missing=["cough"])
    assert [(a.text, a.verdict, a.same_as) for a in twice.item(original).answers] == [
        ("flu", CORRECT, None),
        ("cold", WRONG, None),
        ("covid", WRONG, None),
        ("measles", CORRECT, 0),
        ("cough", CORRECT, None),
    ]
    assert twice.claim("dan") is None and len(twice.items()) == 3
    [item] = twice.resolved()
    assert (item.id, item.finished_by) == (original, "ann")
    export_records(twice, tmp_path / "records.jsonl")
    export_judged(twice, tmp_path / "judged.jsonl")
    [record], [judged] = (
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()[-1:]]
        for name in ("records", "judged")
    )
    assert [reference["text"] for reference in record["references"]] == ["flu", "cough"]
    assert judged["verdicts"] == ["correct", "wrong"] and judged["sample"] == 0
    expected = [(1, "ann", ["correct", "wrong"]), (2, "bob", ["wrong", "wrong"]), (3, "eve", ["correct", "wrong"])]
    for reviews in (record["meta"]["reviews"][0]["reviews"], judged["review"]["reviews"]):
        assert [(one["round"], one["reviewer"], one["verdicts"]) for one in reviews] == expected


def test_an_operator_may_decide_between_their_own_review_and_anothers(twice: ReviewQueue, add: Add) -> None:
    original = add(twice)
    review(twice, "ann", CORRECT, WRONG)
    second = twice.items()[-1].id
    with pytest.raises(ReviewConflictError):  # the second review is never theirs
        twice.claim("ann", second, is_operator=True)
    review(twice, "bob", WRONG, WRONG)
    third = max(item.id for item in twice.items())
    with pytest.raises(ReviewConflictError):
        twice.claim("ann", third)
    twice.claim("ann", third, is_operator=True)
    twice.resolve(third, "ann", verdicts={0: WRONG})
    assert verdicts(twice, original) == [WRONG, WRONG]


def test_reopening(twice: ReviewQueue, add: Add) -> None:
    original = add(twice)
    review(twice, "ann", CORRECT, WRONG)
    twice.reopen(original, "ann")
    review(twice, "ann", CORRECT, WRONG, original)  # drawn once only
    second = review(twice, "bob", CORRECT, WRONG)
    assert len(twice.items()) == 2
    with pytest.raises(ReviewConflictError, match=f"has been compared: reopen item {original}"):
        twice.reopen(second, "bob")


def test_a_second_review_that_is_dismissed_can_be_taken_up_again(twice: ReviewQueue, add: Add) -> None:
    original = add(twice)
    review(twice, "ann", CORRECT, WRONG)
    item = twice.claim("bob")
    assert item is not None
    twice.dismiss(item.id, "bob")
    assert twice.agreement().n_items == 0 and verdicts(twice, original) == [CORRECT, WRONG]
    twice.reopen(item.id, "bob")
    review(twice, "eve", CORRECT, WRONG)
    assert twice.agreement().n_items == 1


def test_the_queue_tells_how_far_reviewers_agree(twice: ReviewQueue, add: Add) -> None:
    assert math.isnan(twice.agreement().kappa.value) and twice.agreement().n_answers == 0
    judged = [(CORRECT, WRONG, CORRECT, WRONG), (CORRECT, CORRECT, WRONG, CORRECT), (WRONG, WRONG, WRONG, WRONG)]
    for number, (a, b, c, d) in enumerate(judged):
        add(twice, f"question {number}")
        review(twice, "ann", a, b)
        review(twice, "bob", c, d)
    agreement = twice.agreement()
    # Pairs: CC WW, CW CC, WW WW: 5 of 6 agree. Ann says C 3 of 6 times, Bob 2 of 6: p_e = 3/6 2/6 + 3/6 4/6 = 1/2.
    assert (agreement.n_items, agreement.n_answers, agreement.n_waiting) == (3, 6, 1)
    assert agreement.share.value == pytest.approx(5 / 6)
    assert agreement.kappa.value == pytest.approx((5 / 6 - 1 / 2) / (1 - 1 / 2))
    assert -1 <= agreement.kappa.low < agreement.kappa.value <= agreement.kappa.high <= 1


pairs = st.lists(
    st.lists(st.tuples(*[st.sampled_from(["correct", "wrong", "unscored"])] * 2), min_size=1, max_size=4),
    min_size=1,
    max_size=12,
)


@settings(derandomize=True, max_examples=60)
@given(pairs)
def test_kappa_is_scikit_learns(pairs_P: list[list[tuple[str, str]]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    flat = [pair for pairs in pairs_P for pair in pairs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides 0 by 0 where we say NaN
        expected = metrics.cohen_kappa_score(*zip(*flat, strict=True))
    share, kappa = cohen_kappa(pairs_P)
    assert share.value == pytest.approx(np.mean([a == b for a, b in flat]))
    assert kappa.n == len(flat)
    assert kappa.value == pytest.approx(expected, nan_ok=True)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    # Two reviewers say "correct" for the same 60% of answers, and each changes 15% of the verdicts on their own.
    # p_o = 0.85^2 + 0.15^2 = 0.745; each says "correct" with 0.6 * 0.85 + 0.4 * 0.15 = 0.57, so p_e = 0.5098.
    truth = (0.745 - 0.5098) / (1 - 0.5098)
    rng = np.random.default_rng(0)
    n_hits = 0
    for _ in range(100):
        right = rng.random((40, 3)) < 0.6
        said = [np.where(right ^ (rng.random(right.shape) < 0.15), "correct", "wrong") for _ in range(2)]
        _, kappa = cohen_kappa([list(zip(a, b, strict=True)) for a, b in zip(*said, strict=True)])
        n_hits += kappa.low <= truth <= kappa.high
    assert 88 <= n_hits <= 100  # binomial(100, 0.95) is outside with probability 0.003
