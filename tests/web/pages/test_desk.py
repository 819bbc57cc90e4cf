"""A reviewer's day: nothing typed is lost, permanent addresses, lists, several items at once, and the export."""

import html
import json
import re
from typing import Any

import pytest

from polymode.types import DecisionKind, Verdict
from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue, ReviewState
from polymode.web.reviews.listing import ItemFilter
from polymode.web.reviews.records import RANDOM

from ..conftest import SURE, Model
from .conftest import HERE, Visit, Visitor, shown_text
from .test_reviews import act, add

UNSURE = SURE.replace("0.85", "0.30").replace("0.40", "0.10")
TYPED = {"verdict-0": "correct", "missing": "Grippe <b>", "note": "asked the ward"}


@pytest.fixture
def ann(visit: Visit, queue: ReviewQueue) -> Visitor:
    visitor = visit(PageOptions(reviews=queue))
    visitor.sign_in("ann")
    return visitor


def holds_what_was_typed(page: str) -> bool:
    texts = re.findall(r"<textarea[^>]*>\n?([^<]*)</textarea>", page)
    return texts == ["Grippe &lt;b&gt;", "asked the ward"] and 'name="verdict-0" value="correct" checked' in page


# --- nothing typed is lost -------------------------------------------------------------------------------------------


def test_after_a_restart_one_signs_in_and_the_text_is_in_the_form(visit: Visit, queue: ReviewQueue) -> None:
    item_id = add(queue)
    before = visit(PageOptions(reviews=queue))
    before.sign_in("ann")
    act(before, item_id, "claim")
    old = {"csrf": before.token(f"/reviews/{item_id}"), "act": "resolve", **TYPED}
    after = visit(PageOptions(reviews=queue))  # another process on the same queue; the browser has its old cookie
    after.client.cookies = before.client.cookies
    refused = after.client.post(f"/reviews/{item_id}", data=old, headers=HERE)
    assert refused.status_code == 403 and "What you typed comes back" in shown_text(refused.text)
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', refused.text))
    fields = {name: html.unescape(value) for name, value in fields.items()}
    wrong = after.client.post("/sign-in", data={**fields, "name": ""}, headers=HERE)
    assert wrong.status_code == 422 and 'name="typed"' in wrong.text  # a mistake there does not lose it either
    back = after.client.post("/sign-in", data={**fields, "name": "ann"}, headers=HERE)
    assert back.headers["location"] == f"/reviews/{item_id}"
    for _ in range(2):  # however often the page is loaded
        page = after.get(f"/reviews/{item_id}").text
        assert holds_what_was_typed(page) and "and not saved is in the form" in page
    assert queue.item(item_id).state is ReviewState.CLAIMED  # nothing was done in between
    done = after.post(f"/reviews/{item_id}", {"act": "resolve", **TYPED, "verdict-1": "wrong"})
    assert done.headers["location"] == f"/reviews/{item_id}?done=resolve"
    assert queue.draft(item_id, "ann") is None


def test_a_question_typed_before_a_restart_is_in_the_form(visit: Visit, model: Model) -> None:
    before, after = visit(), visit()
    token = before.token("/")
    after.client.cookies = before.client.cookies
    reply = after.client.post("/", data={"csrf": token, "question": "Long question?", "risk": "high"}, headers=HERE)
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    page = after.get("/").text
    assert "Long question?" in page and 'value="high" checked' in page and model.calls == []


def test_what_a_session_that_ended_had_typed_comes_back(visit: Visit, queue: ReviewQueue) -> None:
    item_id = add(queue)
    visitor = visit(PageOptions(reviews=queue), keys=Keys({hash_of("right"): Caller("ann")}))
    visitor.sign_in("", key="right")
    act(visitor, item_id, "claim")
    token = visitor.token(f"/reviews/{item_id}")
    visitor.client.app.state.pages.sessions._sessions.clear()  # type: ignore[attr-defined]
    refused = visitor.client.post(f"/reviews/{item_id}", data={"csrf": token, "act": "save", **TYPED}, headers=HERE)
    assert refused.status_code == 401
    [typed] = re.findall(r'name="typed" value="([^"]*)"', refused.text)
    typed = html.unescape(typed)
    assert dict(json.loads(typed)) == {"act": "save", **TYPED}
    visitor.sign_in("", key="right", next=f"/reviews/{item_id}", typed=typed)
    assert holds_what_was_typed(visitor.get(f"/reviews/{item_id}").text)


def test_a_form_from_elsewhere_does_not_come_back(visit: Visit) -> None:
    visitor = visit()
    visitor.get("/sign-in")
    for headers in ({}, {"origin": "null"}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        reply = visitor.client.post("/", data={"question": "planted"}, headers=headers)
        assert reply.status_code == 403 and "planted" not in reply.text
        assert "planted" not in visitor.get("/").text


def test_a_lost_claim_keeps_the_text(ann: Visitor, queue: ReviewQueue) -> None:
    item_id = add(queue)
    act(ann, item_id, "claim")
    queue.release(item_id, "ann")
    queue.claim("ben", item_id)
    lost = ann.post(f"/reviews/{item_id}", {"act": "resolve", **TYPED})
    said = shown_text(lost.text)
    assert lost.status_code == 409 and "What you had entered" in said and "it is not lost" in said
    assert "'flu' correct Missing answer Grippe <b> Note asked the ward" in said
    queue.release(item_id, "ben")
    act(ann, item_id, "claim")
    assert holds_what_was_typed(ann.get(f"/reviews/{item_id}").text)
    queue.claim("ann", item_id)
    assert queue.item(item_id).answers[0].verdict is None


def test_texts_that_an_act_does_not_save_stay_a_draft(ann: Visitor, queue: ReviewQueue) -> None:
    item_id = add(queue)
    act(ann, item_id, "claim")
    ann.post(f"/reviews/{item_id}", {"act": "save", **TYPED})
    assert queue.item(item_id).answers[-1].text == "Grippe <b>"
    assert "asked the ward" in ann.get(f"/reviews/{item_id}").text
    ann.post(f"/reviews/{item_id}", {"act": "release", "missing": "cold?", "note": "n"})
    act(ann, item_id, "claim")
    page = ann.get(f"/reviews/{item_id}").text
    assert "cold?" in page


def test_the_script_saves_drafts_for_their_reviewer_alone(ann: Visitor, visit: Visit, queue: ReviewQueue) -> None:
    item_id = add(queue)
    act(ann, item_id, "claim")
    assert ann.post(f"/reviews/{item_id}", {"act": "draft", **TYPED}).status_code == 204
    assert holds_what_was_typed(ann.get(f"/reviews/{item_id}").text)
    ben = visit(PageOptions(reviews=queue))
    ben.sign_in("ben")
    assert "asked the ward" not in ben.get(f"/reviews/{item_id}").text
    assert ann.post(f"/reviews/{item_id}", {"act": "draft"}).status_code == 204
    assert queue.draft(item_id, "ann") is None
    queue.resolve(item_id, "ann", verdicts={0: Verdict.WRONG, 1: Verdict.WRONG})
    ann.post(f"/reviews/{item_id}", {"act": "draft", **TYPED})  # it was under way when its reviewer resolved the item
    assert queue.draft(item_id, "ann") is None
    assert ann.post("/reviews/77", {"act": "draft", **TYPED}).status_code == 404


# --- permanent addresses ---------------------------------------------------------------------------------------------


def test_a_reload_never_makes_a_second_item(visit: Visit, queue: ReviewQueue, model: Model) -> None:
    model.scripted = Model(UNSURE).scripted
    visitor = visit(PageOptions(reviews=queue), escalations=queue)
    page = visitor.get("/").text
    [once] = re.findall(r'name="once" value="([0-9a-f]{32})"', page)
    form = {"question": "q", "risk": "normal", "once": once}
    first = visitor.post("/", form)
    assert first.status_code == 303 and first.headers["location"].startswith("/escalations/")
    for _ in range(3):
        shown = visitor.get(first.headers["location"])
        assert shown.status_code == 200 and "It waits for a person" in shown_text(shown.text)
    assert visitor.post("/", form).headers["location"] == first.headers["location"]  # the form sent twice
    assert len(queue.items()) == 1
    other = visitor.post("/", {**form, "question": "another"})
    assert other.headers["location"] != first.headers["location"] and len(queue.items()) == 2
    assert first.headers["x-request-id"] == first.headers["location"].rpartition("/")[2]


def test_who_asked_reads_what_a_person_answered(visit: Visit, queue: ReviewQueue, model: Model) -> None:
    model.scripted = Model(UNSURE).scripted
    keys = {hash_of(name): Caller(name, frozenset({"ask"})) for name in ("one", "two")}
    visitor = visit(PageOptions(reviews=queue), escalations=queue, keys=Keys(keys))
    visitor.sign_in("", key="one")
    address = visitor.post("/", {"question": "q"}, form_at="/").headers["location"]
    waiting = shown_text(visitor.get(address).text)
    assert "panic attack" not in waiting and "review item" not in waiting
    item = queue.claim("ben")
    assert item is not None and item.asked_by == "one"
    assert "A person is working on it" in shown_text(visitor.get(address).text)
    queue.resolve(item.id, "ben", verdicts={0: Verdict.WRONG, 1: Verdict.CORRECT}, missing=["vertigo"], note="secret")
    said = shown_text(visitor.get(address).text)
    assert "migraine vertigo" in said and "panic attack" not in said and "secret" not in said
    visitor.sign_in("", key="two")
    assert visitor.get(address).status_code == visitor.get("/escalations/none").status_code == 404


# --- the list --------------------------------------------------------------------------------------------------------


def test_the_list_is_searched_filtered_and_ordered(ann: Visitor, queue: ReviewQueue) -> None:
    fever, chest, both = add(queue), add(queue, "Chest pain 100%?", risk="high"), add(queue, "Chest or fever?")
    queue.assign(both, "ann", "ben")

    def listed(query: str) -> list[int]:
        return [
            int(number)
            for number in re.findall(r'class="head" href="/reviews/(\d+)"', ann.get(f"/reviews?{query}").text)
        ]

    assert listed("q=FEVER") == [fever, both] and listed("q=100%25") == [chest] and listed("q=100_") == []
    assert listed("risk=high") == [chest] and listed("risk=none") == [chest, fever, both]
    assert listed("kind=escalate&sort=newest") == [both, chest, fever] and listed("kind=answer") == []
    assert listed("assigned=ben") == [both] and listed("assigned=nobody") == [chest, fever]
    assert listed("assigned=me") == [] and listed("sort=oldest") == [fever, chest, both]
    assert listed("sort=least-certain&page=99") == [fever, chest, both] and listed("sort=x") == [chest, fever, both]
    shared = add(queue, "Cough?", origin=RANDOM)
    assert listed("origin=random") == [shared] and listed("origin=escalated") == [] and len(listed("origin=x")) == 4
    assert "No item is open and matches." in shown_text(ann.get("/reviews?q=zebra").text)
    assert 'value="&lt;b&gt;&#34;"' in ann.get('/reviews?q=<b>"').text


def test_an_assigned_item_is_taken_by_whom_it_is_assigned_to(ann: Visitor, queue: ReviewQueue) -> None:
    first, second = add(queue, "1?"), add(queue, "2?")
    assert ann.post(f"/reviews/{first}", {"act": "assign", "to": " ben "}).headers["location"].endswith("done=assign")
    queue.assign(second, "ann", "cay")
    assert "assigned it to ben" in shown_text(ann.get(f"/reviews/{first}").text)
    assert queue.claim("ann") is None
    claimed = queue.claim("ben")
    assert claimed is not None and claimed.id == first
    queue.assign(second, "ann", None)
    assert queue.claim("ann", second) is not None
    queue.dismiss(second, "ann")
    assert ann.post(f"/reviews/{second}", {"act": "assign", "to": "x"}).status_code == 409
    assert ann.post(f"/reviews/{first}", {"act": "assign", "to": "system"}).status_code == 422


def test_several_items_at_once(ann: Visitor, queue: ReviewQueue) -> None:
    numbers = [add(queue, f"{n}?") for n in range(4)]
    queue.claim("ben", numbers[3])

    def do(act: str, **fields: Any) -> str:
        reply = ann.post("/reviews", {"act": act, "item": [*map(str, numbers), "77", "x"], "q": "?", **fields})
        return shown_text(ann.get(reply.headers["location"]).text)

    assert "Changed 4 items. 1 could not be changed" in do("assign", to="ann")
    assert "Changed 3 items. 2 could not be changed" in do("claim")
    assert [item.id for item in queue.items(ItemFilter(claimed_by="ann"))] == numbers[:3]
    assert "Changed 3 items." in do("release")
    assert "Changed 3 items." in do("dismiss", note="tests")
    assert {queue.item(number).note for number in numbers[:3]} == {"tests"}
    assert "Changed 3 items." in do("reopen") and queue.item(numbers[0]).state is ReviewState.OPEN
    assert "Changed 0 items." in shown_text(ann.get(ann.post("/reviews", {"act": "claim"}).headers["location"]).text)
    assert ann.post("/reviews", {"act": "delete"}).status_code == 422


def test_resolving_leads_to_the_next_item(ann: Visitor, queue: ReviewQueue) -> None:
    first, second = add(queue, "1?"), add(queue, "2?")
    act(ann, first, "claim")
    done = {"verdict-0": "wrong", "verdict-1": "wrong"}
    reply = ann.post(f"/reviews/{first}", {"act": "resolve+next", **done})
    assert reply.headers["location"] == f"/reviews/{second}?done=next"
    assert "This is the next item; you have claimed it" in shown_text(ann.get(reply.headers["location"]).text)
    assert ann.post(f"/reviews/{second}", {"act": "resolve+next"}).status_code == 422  # no verdicts: it stays here
    reply = ann.post(f"/reviews/{second}", {"act": "resolve+next", **done})
    assert reply.headers["location"] == "/reviews?done=last"
    assert "no further open item" in shown_text(ann.get(reply.headers["location"]).text)


def test_the_export_button_gives_what_the_command_writes(ann: Visitor, queue: ReviewQueue) -> None:
    assert ann.get("/reviews/export?what=records").status_code == 404  # nothing is resolved
    item_id = add(queue)
    act(ann, item_id, "claim")
    ann.post(f"/reviews/{item_id}", {"act": "resolve", "verdict-0": "correct", "verdict-1": "wrong"})
    assert 'href="/reviews/export?what=records"' in ann.get("/reviews").text
    reply = ann.get("/reviews/export?what=records")
    assert reply.headers["content-disposition"] == 'attachment; filename="records.jsonl"'
    [record] = [json.loads(line) for line in reply.text.splitlines()]
    assert (record["question"], record["references"][0]["text"]) == ("Fever?", "flu")
    [judged] = [json.loads(line) for line in ann.get("/reviews/export?what=judged").text.splitlines()]
    assert judged["verdicts"] == ["correct", "wrong", "correct"]
    assert ann.get("/reviews/export?what=all").status_code == 422
    counts = ann.get("/reviews/counts").json()
    assert counts == {"open": 0, "claimed": 0, "resolved": 1, "dismissed": 0}
    assert queue.item(item_id).kind is DecisionKind.ESCALATE
