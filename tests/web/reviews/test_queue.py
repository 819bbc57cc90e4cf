"""What happens to an item: added, claimed, judged, finished; who may do what, and what is kept of it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from polymode.errors import ConfigError, DataNotFoundError, ReviewConflictError
from polymode.parsing import parse_answers
from polymode.policy import Policy, Recalibration, decide
from polymode.types import DecisionKind, ParseStatus, Verdict
from polymode.web.reviews import ReviewState
from polymode.web.reviews.listing import ItemFilter
from polymode.web.reviews.queue import ReviewQueue

RIGHT, WRONG, UNSCORED = Verdict.CORRECT, Verdict.WRONG, Verdict.UNSCORED
Add = Callable[..., int]


def kinds(queue: ReviewQueue, item_id: int) -> list[str]:
    return [f"{event.who}: {event.what}" for event in queue.events(item_id)]


# --- added -----------------------------------------------------------------------------------------------------------


def test_an_item_shows_everything_that_was_shown_and_decided(queue: ReviewQueue, clock) -> None:
    text = "<answer1>cold</answer1><confidence1>0.2</confidence1><answer2>flu</answer2><confidence2>0.6</confidence2>"
    answer_set = parse_answers(text, 2, confidence=True)
    halved = Recalibration("isotonic", 10, points=((0.0, 0.0), (1.0, 0.5)))
    decision = decide(answer_set, Policy(answer_at=0.9, recalibration=halved), risk="high")
    item_id = queue.add(
        "31 years, headache?",
        answer_set,
        decision,
        completion=text,
        model_id="m-1",
        policy_id="p-1",
        risk="high",
        request_id="r-1",
    )
    item = queue.item(item_id)
    assert (item.question, item.completion, item.k, item.risk) == ("31 years, headache?", text, 2, "high")
    assert (item.model_id, item.policy_id, item.request_id) == ("m-1", "p-1", "r-1")
    assert (item.kind, item.reason, item.status) == (DecisionKind.ESCALATE, decision.reason, ParseStatus.CLEAN)
    assert (item.state, item.created_at, item.claimed_by) == (ReviewState.OPEN, clock.now, None)
    # Slot order; flu ranks first, and half of 0.6 was decided on.
    cold, flu = item.answers
    assert (cold.text, cold.confidence, cold.rank, cold.decided_on) == ("cold", 0.2, 1, pytest.approx(0.1))
    assert (flu.text, flu.confidence, flu.rank, flu.decided_on) == ("flu", 0.6, 0, pytest.approx(0.3))
    assert {answer.verdict for answer in item.answers} == {None}
    assert kinds(queue, item_id) == ["system: added"]


def test_rationales_are_kept_as_far_as_the_question_holds_them(queue: ReviewQueue) -> None:
    whys = ["dizziness; Tremor", "blue skin", "chest pain", ""]  # a symptom that is not there, one that is denied
    slots = "".join(
        f"<answer{i}>d{i}</answer{i}><why{i}>{why}</why{i}><confidence{i}>0.2</confidence{i}>"
        for i, why in enumerate(whys, 1)
    )
    answer_set = parse_answers(slots, 4, confidence=True)
    assert [answer.rationale for answer in answer_set.answers][:2] == whys[:2]
    decision = decide(answer_set, Policy(answer_at=0.9))
    item_id = queue.add("Headache, tremor, dizziness; no chest pain", answer_set, decision)
    assert [answer.rationale for answer in queue.item(item_id).answers] == ["dizziness, tremor", None, None, None]
    queue.claim("ann")
    queue.resolve(item_id, "ann", verdicts=dict.fromkeys(range(4), WRONG))
    assert queue.resolved()[0].answers[0].rationale == "dizziness, tremor"


def test_a_repeat_has_no_rank(queue: ReviewQueue, add: Add) -> None:
    item = queue.item(add(queue, pairs=(("flu", 0.2), ("The flu!", 0.2), ("cold", 0.1))))
    assert [answer.rank for answer in item.answers] == [0, None, 1]


def test_a_completion_without_answers_is_an_item_too(queue: ReviewQueue) -> None:
    answer_set = parse_answers("I do not know", 2, confidence=True)
    item_id = queue.add("What?", answer_set, decide(answer_set, Policy()), completion="I do not know")
    queue.claim("ann")
    item = queue.resolve(item_id, "ann", missing=["flu"])
    assert (item.status, item.status_reason) == (ParseStatus.MALFORMED, answer_set.reason)
    assert [(answer.text, answer.added_by) for answer in item.answers] == [("flu", "ann")]


def test_a_request_that_comes_again_is_added_once(queue: ReviewQueue, add: Add) -> None:
    first = add(queue, request_id="r")
    assert add(queue, request_id="r") == first
    assert add(queue, request_id=None) != first
    with pytest.raises(ReviewConflictError, match="request_id = 'r' names another question already"):
        add(queue, "Another?", request_id="r")
    assert queue.counts().open == 2


def test_what_no_database_holds_is_replaced_character_by_character(queue: ReviewQueue, add: Add) -> None:
    item = queue.item(add(queue, "a\0b\ud800c", (("x\0y", 0.2), ("z", 0.1)), model_id="m\udfff"))
    assert (item.question, item.answers[0].text, item.model_id) == ("a\ufffdb\ufffdc", "x\ufffdy", "m\ufffd")


def test_what_cannot_be_added_is_refused(queue: ReviewQueue, add: Add) -> None:
    answer_set = parse_answers("<answer>flu</answer><confidence>1</confidence>", 1, confidence=True)
    decision = decide(answer_set, Policy())
    other = replace(decision, ranked=(replace(decision.ranked[0], text="cold"),))
    with pytest.raises(ConfigError, match="decision ranks 'cold', which is no answer of the set"):
        queue.add("What?", answer_set, other)
    with pytest.raises(ConfigError, match="risk = '' is not allowed: give a printable text"):
        queue.add("What?", answer_set, decision, risk="")
    with pytest.raises(ConfigError, match="equality = 'fuzzy' is not known: use one of text, exact"):
        queue.add("What?", answer_set, decision, equality="fuzzy")
    assert queue.counts().open == 0


# --- the line --------------------------------------------------------------------------------------------------------


def test_high_risk_comes_first_then_the_oldest(queue: ReviewQueue, add: Add) -> None:
    risks = ("normal", "high", "normal", "high")
    first, second, third, fourth = (add(queue, f"{risk} {n}?", risk=risk) for n, risk in enumerate(risks))
    line = [second, fourth, first, third]
    assert [item.id for item in queue.items()] == line
    assert [item.id for item in queue.items(limit=2, offset=1)] == line[1:3]
    claimed = [queue.claim("ann") for _ in range(5)]
    assert [item and item.id for item in claimed] == [*line, None]


def test_counts_and_lists_tell_the_states_apart(queue: ReviewQueue, add: Add, clock) -> None:
    began = clock.now
    done, bad, held, waiting = (add(queue, f"{n}?") for n in range(4))
    clock.pass_(5)
    for item_id in (done, bad, held):
        queue.claim("ann", item_id)
    queue.resolve(done, "ann", verdicts={0: WRONG, 1: WRONG})
    queue.dismiss(bad, "ann", "no question")
    counts = queue.counts()
    assert (counts.open, counts.claimed, counts.resolved, counts.dismissed) == (1, 1, 1, 1)
    assert counts.oldest_open == began
    ids = {state: [item.id for item in queue.items(ItemFilter(state))] for state in ReviewState}
    assert list(ids.values()) == [[waiting], [held], [done], [bad]]
    assert [item.id for item in queue.items(ItemFilter(claimed_by="ann"))] == [held]
    assert queue.items(ItemFilter(claimed_by="bob")) == ()
    queue.claim("ann")
    assert queue.counts().oldest_open is None


def test_an_item_that_is_not_there_is_named(queue: ReviewQueue) -> None:
    for act in (queue.item, lambda i: queue.claim("ann", i), lambda i: queue.dismiss(i, "ann")):
        with pytest.raises(DataNotFoundError, match="review item 7 does not exist"):
            act(7)
    assert queue.events(7) == ()


# --- claims ----------------------------------------------------------------------------------------------------------


def test_nobody_else_can_have_a_claimed_item(queue: ReviewQueue, add: Add) -> None:
    item_id = add(queue)
    item = queue.claim(" ann ")
    assert item is not None and (item.id, item.claimed_by, item.state) == (item_id, "ann", ReviewState.CLAIMED)
    assert queue.claim("bob") is None
    with pytest.raises(ReviewConflictError, match=f"review item {item_id} is claimed by 'ann': take another"):
        queue.claim("bob", item_id)
    for act in (
        lambda: queue.mark(item_id, "bob", {0: RIGHT}),
        lambda: queue.add_answer(item_id, "bob", "covid"),
        lambda: queue.resolve(item_id, "bob"),
        lambda: queue.dismiss(item_id, "bob"),
        lambda: queue.release(item_id, "bob"),
    ):
        with pytest.raises(ReviewConflictError, match="claimed by 'ann'"):
            act()


def test_a_released_item_is_open_and_keeps_its_verdicts(queue: ReviewQueue, add: Add) -> None:
    item_id = add(queue)
    queue.claim("ann")
    queue.mark(item_id, "ann", {0: RIGHT})
    assert queue.release(item_id, "ann").state is ReviewState.OPEN
    with pytest.raises(ReviewConflictError, match="is not claimed by you: claim it first"):
        queue.mark(item_id, "ann", {1: WRONG})
    item = queue.claim("bob")
    assert item is not None and [answer.verdict for answer in item.answers] == [RIGHT, None]


def test_an_expired_claim_can_be_taken_by_another(queue: ReviewQueue, add: Add, clock) -> None:
    item_id = add(queue)
    queue.claim("ann")
    clock.pass_(59)
    assert queue.claim("bob") is None
    clock.pass_(1)
    assert queue.item(item_id).state is ReviewState.OPEN
    assert queue.claim("bob") is not None
    with pytest.raises(ReviewConflictError, match="claimed by 'bob'"):
        queue.resolve(item_id, "ann", verdicts={0: RIGHT, 1: WRONG})


def test_who_held_an_expired_claim_may_finish_while_nobody_took_it(queue: ReviewQueue, add: Add, clock) -> None:
    item_id = add(queue)
    queue.claim("ann")
    clock.pass_(1000)
    assert queue.mark(item_id, "ann", {0: RIGHT}).state is ReviewState.CLAIMED


def test_every_act_and_a_second_claim_prolong_the_claim(queue: ReviewQueue, add: Add, clock) -> None:
    item_id = add(queue)
    queue.claim("ann")
    for act in (lambda: queue.mark(item_id, "ann", {0: RIGHT}), lambda: queue.claim("ann", item_id)):
        clock.pass_(40)
        act()
    clock.pass_(59)
    assert queue.claim("bob") is None


# --- verdicts --------------------------------------------------------------------------------------------------------


def test_a_review_from_claim_to_end(queue: ReviewQueue, add: Add, clock) -> None:
    item_id = add(queue)
    queue.claim("ann")
    queue.mark(item_id, "ann", {0: RIGHT})
    queue.add_answer(item_id, "ann", "  covid ")
    clock.pass_(7)
    item = queue.resolve(item_id, "ann", verdicts={1: UNSCORED}, note="asked a colleague")
    assert item == queue.item(item_id)
    assert [(a.text, a.verdict, a.added_by) for a in item.answers] == [
        ("flu", RIGHT, ""),
        ("cold", UNSCORED, ""),
        ("covid", RIGHT, "ann"),
    ]
    assert (item.state, item.finished_by, item.finished_at) == (ReviewState.RESOLVED, "ann", clock.now)
    assert (item.claimed_by, item.claimed_until, item.note) == (None, None, "asked a colleague")
    steps = ["system: added", "ann: claimed", "ann: marked", "ann: answer_added", "ann: marked", "ann: resolved"]
    assert kinds(queue, item_id) == steps
    [*_, added, marked, resolved] = queue.events(item_id)
    assert (added.detail, marked.detail) == ({"number": 2, "text": "covid"}, {"verdicts": {"1": "unscored"}})
    assert (resolved.at, resolved.detail) == (clock.now, {"note": "asked a colleague"})


def test_everything_can_be_said_at_once_or_nothing_is(queue: ReviewQueue, add: Add) -> None:
    item_id = add(queue)
    queue.claim("ann")
    before = queue.item(item_id)
    with pytest.raises(ConfigError, match="answer 'cold' has no verdict: mark it right, wrong or unscored, or"):
        queue.resolve(item_id, "ann", verdicts={0: RIGHT}, missing=["covid"])
    assert queue.item(item_id) == before
    assert kinds(queue, item_id) == ["system: added", "ann: claimed"]
    item = queue.resolve(item_id, "ann", verdicts={0: RIGHT, 1: WRONG}, missing=["covid"])
    assert [answer.verdict for answer in item.answers] == [RIGHT, WRONG, RIGHT]


def test_an_added_answer_can_be_taken_back(queue: ReviewQueue, add: Add) -> None:
    item_id = add(queue)
    queue.claim("ann")
    queue.add_answer(item_id, "ann", "covd")
    item = queue.resolve(item_id, "ann", verdicts={0: WRONG, 1: WRONG, 2: WRONG}, missing=["covid"])
    assert [answer.verdict for answer in item.answers] == [WRONG, WRONG, WRONG, RIGHT]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" ", "answer is empty: write the correct answer"),
        ("The Flu", "answer 'The Flu' is there already as 'flu': mark that one"),
        ("x" * 10_001, "answer has 10,001 characters: write at most 10,000"),
    ],
)
def test_an_answer_that_cannot_be_added(file, clock, add: Add, text: str, said: str) -> None:
    with ReviewQueue(file, clock=clock) as queue:
        item_id = add(queue)
        queue.claim("ann")
        with pytest.raises(ConfigError) as caught:
            queue.add_answer(item_id, "ann", text)
        assert said in str(caught.value)


@pytest.mark.parametrize("name", ["", "  ", "system", "a\nb", "x" * 201])
def test_a_reviewer_needs_a_name(file, name: str) -> None:
    with (
        ReviewQueue(file) as queue,
        pytest.raises(ConfigError, match="reviewer = .* is not allowed: give a name"),
    ):
        queue.claim(name)


def test_a_finished_item_can_be_reopened_and_nothing_else(queue: ReviewQueue, add: Add) -> None:
    item_id = add(queue)
    with pytest.raises(ReviewConflictError, match=f"review item {item_id} is open: only a finished one is reopened"):
        queue.reopen(item_id, "ann")
    queue.claim("ann")
    queue.resolve(item_id, "ann", verdicts={0: RIGHT, 1: WRONG})
    for act in (lambda: queue.claim("bob", item_id), lambda: queue.mark(item_id, "ann", {0: WRONG})):
        with pytest.raises(ReviewConflictError, match=f"review item {item_id} is resolved: reopen it first"):
            act()
    item = queue.reopen(item_id, "bob", "the first is wrong")
    assert (item.state, item.finished_by, item.finished_at) == (ReviewState.OPEN, None, None)
    assert [answer.verdict for answer in item.answers] == [RIGHT, WRONG]
    assert queue.events(item_id)[-1].detail == {"note": "the first is wrong"}


@pytest.mark.parametrize("named", [{"claim_seconds": 0}, {"wait_seconds": -1}, {"claim_seconds": float("inf")}])
def test_times_must_be_above_zero(tmp_path, named: dict) -> None:
    with pytest.raises(ConfigError, match="is not allowed: give a number of seconds above 0"):
        ReviewQueue(tmp_path / "x.db", **named)
