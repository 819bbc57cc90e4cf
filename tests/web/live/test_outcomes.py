"""POST /v1/outcomes: accepted once; anything else is refused and in the audit trail."""

from typing import Any

import pytest
import sqlalchemy as sa

from polymode.types import Verdict
from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.live.tables import live_events, live_outcomes
from polymode.web.reviews.records import ReviewState

from .conftest import OUTCOMES, Served, Serves

ANNA, BEN, RITA = "key of anna", "key of ben", "key of rita"
KEYS = {
    hash_of(ANNA): Caller("anna", frozenset({"ask"})),
    hash_of(BEN): Caller("ben", frozenset({"ask"})),
    hash_of(RITA): Caller("rita", frozenset({"ask", "review"})),
}


def post(served: Served, status: int, key: str = "", **body: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    reply = served.client.post(OUTCOMES, json=body, headers=headers)
    assert reply.status_code == status, reply.text
    return reply.json()


def trail(served: Served) -> list[tuple[str, str, dict[str, Any]]]:
    with served.queue.store.reading() as connection:
        rows = connection.execute(sa.select(live_events).order_by(live_events.c.id)).mappings()
        return [(row["who"], row["what"], row["detail"]) for row in rows]


def test_texts_are_compared_as_the_policy_does(serve: Serves) -> None:
    served = serve(share=0)
    name = served.ask()["request_id"]
    assert post(served, 200, request_id=name, correct=["Migraine ", "zebra"]) == {
        "request_id": name,
        "verdicts": [False, True],
    }
    assert trail(served) == [("", "outcome_accepted", {"verdicts": [False, True]})]


def test_nothing_is_right(serve: Serves) -> None:
    served = serve(share=0)
    assert post(served, 200, request_id=served.ask()["request_id"], correct=[])["verdicts"] == [False, False]


def test_an_unknown_answer(serve: Serves) -> None:
    served = serve()
    problem = post(served, 404, request_id="nobody", verdicts=[True])
    assert problem["field"] == "request_id" and problem["title"] == "no answer with this request_id" and problem["fix"]
    [(who, what, detail)] = trail(served)
    assert (who, what) == ("", "outcome_refused")
    assert detail == {"reason": problem["title"], "status": 404, "verdicts": [True]}


@pytest.mark.parametrize(
    ("second", "title"),
    [
        ([True, False], "the answer has an outcome already, which says the same"),
        ([True, True], "the answer has an outcome already, which contradicts this one"),
    ],
)
def test_a_second_outcome(serve: Serves, second: list[bool], title: str) -> None:
    served = serve(share=0)
    name = served.ask()["request_id"]
    post(served, 200, request_id=name, verdicts=[True, False])
    assert post(served, 409, request_id=name, verdicts=second)["title"] == title
    assert [what for _, what, _ in trail(served)] == ["outcome_accepted", "outcome_refused"]
    with served.queue.store.reading() as connection:
        assert connection.execute(sa.select(live_outcomes.c.verdicts)).scalars().all() == [[True, False]]


def test_one_that_does_not_fit(serve: Serves) -> None:
    served = serve(share=0)
    problem = post(served, 422, request_id=served.ask()["request_id"], verdicts=[True])
    assert problem["allowed"] == "2 of true and false" and problem["value"] == 1
    assert trail(served)[0][2]["reason"] == "the verdicts do not fit the answer"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"request_id": "a"},
        {"request_id": "a", "correct": [], "verdicts": []},
        {"request_id": "a", "correct": [1]},
        {"request_id": "a", "verdicts": [1]},
        {"request_id": "", "correct": []},
        {"request_id": "a", "correct": [], "colour": "red"},
    ],
)
def test_malformed_ones(serve: Serves, body: dict[str, Any]) -> None:
    served = serve()
    problem = post(served, 422, **body)
    assert problem["title"] and problem["fix"] and problem["request_id"]
    assert "JSON object" not in problem["title"]


def test_only_who_asked_or_reviews_may_say_so(serve: Serves) -> None:
    served = serve(share=0, keys=Keys(KEYS))
    name = served.ask(headers={"Authorization": f"Bearer {ANNA}"})["request_id"]
    assert post(served, 404, BEN, request_id=name, correct=[])["title"] == "no answer with this request_id"
    assert post(served, 401, request_id=name, correct=[])["title"] == "no API key"
    post(served, 200, RITA, request_id=name, correct=[])
    other = served.ask("Another?", headers={"Authorization": f"Bearer {ANNA}"})["request_id"]
    post(served, 200, ANNA, request_id=other, correct=[])
    assert [(who, what) for who, what, _ in trail(served)] == [
        ("ben", "outcome_refused"),
        ("rita", "outcome_accepted"),
        ("anna", "outcome_accepted"),
    ]


def test_deleted_texts_leave_verdicts(serve: Serves) -> None:
    served = serve(share=0, days=1)
    name = served.ask()["request_id"]
    served.clock.pass_(2 * 86400)
    served.live.expire()
    assert "deleted" in post(served, 409, request_id=name, correct=["migraine"])["title"]
    post(served, 200, request_id=name, verdicts=[False, True])


def test_an_open_item_is_resolved_with_it(serve: Serves) -> None:
    served = serve(share=1.0, keys=Keys(KEYS))
    name = served.ask(headers={"Authorization": f"Bearer {ANNA}"})["request_id"]
    assert served.queue.claim("eve") is not None  # who may go on with something else
    post(served, 200, ANNA, request_id=name, correct=["migraine", "zebra"])
    [item] = served.queue.resolved()
    assert (item.finished_by, item.state) == ("outcome (anna)", ReviewState.RESOLVED)
    assert [(answer.text, answer.verdict) for answer in item.answers] == [
        ("panic attack", Verdict.WRONG),
        ("migraine", Verdict.CORRECT),
        ("zebra", Verdict.CORRECT),
    ]
    [label] = served.monitor().refresh().labels
    assert label.verdicts == (False, True) and label.has_failed


@pytest.mark.parametrize(("right", "words"), [(1, "says the same"), (0, "contradicts this one")])
def test_a_review_counts_as_well(serve: Serves, right: int, words: str) -> None:
    served = serve(share=1.0)
    name = served.ask()["request_id"]
    item = served.queue.claim("eve")
    assert item is not None
    verdicts = {n: Verdict.CORRECT if n == 1 else Verdict.WRONG for n in (0, 1)}
    served.queue.resolve(item.id, "eve", verdicts=verdicts)
    problem = post(served, 409, request_id=name, verdicts=[n == right for n in (0, 1)])
    assert problem["title"] == f"the answer has a review already, which {words}"


def test_a_dismissed_item_stays_dismissed(serve: Serves) -> None:
    served = serve(share=1.0)
    name = served.ask()["request_id"]
    item = served.queue.claim("eve")
    assert item is not None
    served.queue.dismiss(item.id, "eve")
    post(served, 200, request_id=name, correct=[])
    assert served.queue.item(item.id).state is ReviewState.DISMISSED


def test_a_draft_that_calls_two_answers_the_same_is_left_to_its_reviewer(serve: Serves) -> None:
    served = serve(share=1.0)
    name = served.ask()["request_id"]
    item = served.queue.claim("eve")
    assert item is not None
    served.queue.mark(item.id, "eve", {0: Verdict.WRONG}, same_as={1: 0})
    assert post(served, 200, request_id=name, verdicts=[True, False])["verdicts"] == [True, False]
    assert served.queue.item(item.id).state is ReviewState.CLAIMED
    [label] = served.monitor().refresh().labels
    assert label.verdicts == (True, False)


def test_the_description_of_the_api_has_it(serve: Serves) -> None:
    description = serve().client.get("/openapi.json").json()
    post_outcome = description["paths"][OUTCOMES]["post"]
    assert post_outcome["operationId"] == "createOutcome" and {"200", "404", "409", "422"} <= set(
        post_outcome["responses"]
    )
    body = description["components"]["schemas"]["OutcomeRequest"]
    assert body["required"] == ["request_id"] and set(body["properties"]) == {"request_id", "correct", "verdicts"}
    assert "risk" not in body["properties"]
