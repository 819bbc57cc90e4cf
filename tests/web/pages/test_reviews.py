"""Reviewing through the pages, from claim to resolve; two reviewers; what is refused."""

from typing import Any

import pytest

from polymode.parsing import parse_answers
from polymode.policy import Policy, decide
from polymode.types import Verdict
from polymode.web.pages import review_list
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue, ReviewState

from .conftest import Visit, Visitor, shown_text

TEXT = (
    "<answer1>flu</answer1><confidence1>0.5</confidence1><answer2>influenza</answer2><confidence2>0.3</confidence2>"
    "<answer3>Flu</answer3><confidence3>0.1</confidence3>"
)


def add(
    queue: ReviewQueue, question: str = "Fever?", text: str = TEXT, risk: str = "normal", origin: str | None = None
) -> int:
    answers = parse_answers(text, 3, confidence=True)
    decision = decide(answers, Policy(answer_at=0.9), risk=risk)
    own = {"completion": text, "model_id": "m/1", "policy_id": "p1", "risk": risk, "origin": origin}
    return queue.add(question, answers, decision, **own)


@pytest.fixture
def ann(visit: Visit, queue: ReviewQueue) -> Visitor:
    visitor = visit(PageOptions(reviews=queue))
    visitor.sign_in("ann")
    return visitor


def act(visitor: Visitor, item_id: int, name: str, **fields: Any) -> Any:
    return visitor.post(f"/reviews/{item_id}", {"act": name, **{k.replace("_", "-"): v for k, v in fields.items()}})


def test_the_list_shows_counts_states_and_who_has_what(ann: Visitor, queue: ReviewQueue) -> None:
    assert "No items are waiting for review." in shown_text(ann.get("/reviews").text)
    first, urgent = add(queue), add(queue, "Chest pain?", risk="high")
    queue.claim("ben", first)
    said = shown_text(ann.get("/reviews").text)
    assert "1 item is waiting for review" in said and "open 1 claimed 1 resolved 0 dismissed 0 all 2 mine" in said
    assert "Chest pain?" in said and "Fever?" not in said
    everything = shown_text(ann.get("/reviews?state=all").text)
    assert everything.index("Chest pain?") < everything.index("Fever?") and "claimed by ben" in everything
    assert "No item is yours." in shown_text(ann.get("/reviews?state=mine").text)
    queue.claim("ann", urgent)
    assert "Chest pain?" in shown_text(ann.get("/reviews?state=mine").text)
    assert "Chest pain?" not in shown_text(ann.get("/reviews?state=no-such-state&page=x").text)


def test_a_long_list_has_pages(ann: Visitor, queue: ReviewQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_list, "PAGE", 2)
    for number in range(3):
        add(queue, f"Question {number}")
    first, second = (shown_text(ann.get(f"/reviews?page={page}").text) for page in (1, 2))
    assert "Question 1" in first and "Question 2" not in first and "1 to 2 of 3 Next" in first
    assert "Question 2" in second and "Previous 3 to 3 of 3" in second and "Next" not in second.split("3 to 3")[1]


def test_an_item_shows_everything(ann: Visitor, queue: ReviewQueue) -> None:
    page = ann.get(f"/reviews/{add(queue, risk='high')}").text
    said = shown_text(page)
    for text in ("Fever?", "open escalate high risk", "below the 0.9 required for a single answer",
                 "1. flu rank 1, confidence 0.50", "2. influenza rank 2, confidence 0.30",
                 "3. Flu not ranked, stated confidence 0.10 repeats answer 1 and shares its verdict",
                 TEXT, "Model m/1 Policy p1", "system added it to the queue (escalate, risk high)"):  # fmt: skip
        assert text in said, text
    assert 'type="radio"' not in page  # only who holds it may judge


def test_from_claim_to_resolve(ann: Visitor, queue: ReviewQueue) -> None:
    item_id = add(queue)
    reply = ann.post("/reviews")
    assert reply.headers["location"] == f"/reviews/{item_id}?done=claimed"
    said = shown_text(ann.get(reply.headers["location"]).text)
    assert (
        "You have claimed this item" in said
        and "You have claimed this item until" in said
        and "Which answers are correct?" in said
    )

    saved = act(ann, item_id, "save", verdict_0="correct", same_1="0", missing=" grippe\r\n", note="later")
    assert saved.headers["location"] == f"/reviews/{item_id}?done=save"
    item = queue.item(item_id)
    assert [answer.verdict for answer in item.answers] == [Verdict.CORRECT] * 4
    assert (item.answers[1].same_as, item.answers[3].text, item.answers[3].added_by) == (0, "grippe", "ann")

    # Of answers that say the same, the one that changed decides.
    changed = {"verdict-0": "wrong", "verdict-1": "correct", "same-1": "0", "verdict-3": "correct"}
    done = ann.post(f"/reviews/{item_id}", {"act": "resolve", "note": "checked", **changed})
    assert done.headers["location"] == f"/reviews/{item_id}?done=resolve"
    item = queue.item(item_id)
    assert (item.state, item.finished_by, item.note) == (ReviewState.RESOLVED, "ann", "checked")
    wrong, right = Verdict.WRONG, Verdict.CORRECT
    assert [answer.verdict for answer in item.answers] == [wrong, wrong, wrong, right]
    said = shown_text(ann.get(f"/reviews/{item_id}").text)
    assert "Resolved by ann at" in said and "checked" in said
    assert "ann marked 'flu' correct, 'influenza' equals 'flu'" in said
    assert "ann added the correct answer 'grippe'" in said and "ann resolved it: checked" in said

    assert act(ann, item_id, "reopen").headers["location"] == f"/reviews/{item_id}?done=reopen"
    assert queue.item(item_id).state is ReviewState.OPEN


def test_nothing_to_claim(ann: Visitor) -> None:
    reply = ann.post("/reviews")
    assert reply.headers["location"] == "/reviews?done=none"
    assert "There is no open item" in shown_text(ann.get("/reviews?done=none").text)
    assert "<b>" not in ann.get("/reviews?done=<b>").text


def test_given_back_with_its_draft_and_dismissed(ann: Visitor, queue: ReviewQueue) -> None:
    item_id = add(queue)
    act(ann, item_id, "claim")
    assert act(ann, item_id, "release", verdict_0="unscored").status_code == 303
    item = queue.item(item_id)
    assert (item.state, item.claimed_by, item.answers[0].verdict) == (ReviewState.OPEN, None, Verdict.UNSCORED)
    act(ann, item_id, "claim")
    assert act(ann, item_id, "dismiss", note="not a question").status_code == 303
    assert queue.item(item_id).state is ReviewState.DISMISSED


def test_two_reviewers_cannot_have_one_item(ann: Visitor, queue: ReviewQueue, visit: Visit) -> None:
    item_id = add(queue)
    ben = visit(PageOptions(reviews=queue))
    ben.sign_in("ben")
    act(ann, item_id, "claim")
    for name in ("claim", "save", "resolve", "release", "dismiss"):
        reply = act(ben, item_id, name, verdict_0="wrong", missing="x", note="mine")
        assert reply.status_code == 409, name
        assert f"Not saved. review item {item_id} is claimed by 'ann': take another" in shown_text(reply.text)
    assert "ann has claimed this item until" in shown_text(ben.get(f"/reviews/{item_id}").text)
    assert [event.what for event in queue.events(item_id)] == ["added", "claimed"]
    assert ben.post("/reviews").headers["location"] == "/reviews?done=none"
    assert act(ben, item_id, "reopen").status_code == 409


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"verdict-0": "correct"}, "answer 'influenza' has no verdict"),
        ({"verdict-0": "correct", "verdict-1": "wrong", "same-1": "0"}, "are the same and must have one verdict"),
        ({"verdict-0": "wrong", "verdict-1": "wrong", "missing": "FLU"}, "answer 'FLU' is there already as 'flu'"),
        ({"verdict-0": "wrong", "verdict-1": "wrong", "note": "x" * 10_001}, "note has 10,001 characters"),
    ],
)
def test_what_cannot_be_saved_is_explained_and_kept_in_the_form(
    ann: Visitor, queue: ReviewQueue, fields: dict[str, str], said: str
) -> None:
    item_id = add(queue)
    act(ann, item_id, "claim")
    reply = ann.post(f"/reviews/{item_id}", {"act": "resolve", "note": "a note", **fields})
    assert reply.status_code == 422 and said in shown_text(reply.text)
    item = queue.item(item_id)
    assert item.state is ReviewState.CLAIMED and all(answer.verdict is None for answer in item.answers)
    assert f'name="verdict-0" value="{fields["verdict-0"]}" checked' in reply.text
    assert ("a note" in reply.text) == ("note" not in fields)
    assert fields.get("missing", "") in reply.text


def test_who_held_an_expired_claim_may_finish(visit: Visit, tmp_path: Any) -> None:
    with ReviewQueue(tmp_path / "short.db", claim_seconds=0.001) as queue:
        ann = visit(PageOptions(reviews=queue))
        ann.sign_in("ann")
        item_id = add(queue)
        act(ann, item_id, "claim")
        said = shown_text(ann.get(f"/reviews/{item_id}").text)
        assert "Your claim expired at" in said and "Which answers are correct?" in said
        assert act(ann, item_id, "resolve", verdict_0="wrong", verdict_1="wrong").status_code == 303


def test_fields_that_no_form_of_ours_has_change_nothing(ann: Visitor, queue: ReviewQueue) -> None:
    item_id = add(queue)
    act(ann, item_id, "claim")
    odd = {"verdict-9": "wrong", "verdict--1": "wrong", "verdict-x": "wrong", "verdict-0": "maybe", "same-0": "99",
           "same-٣": "1", "verdict-" + "9" * 5000: "wrong"}  # fmt: skip
    assert ann.post(f"/reviews/{item_id}", {"act": "save", **odd}).status_code == 303
    assert all(answer.verdict is answer.same_as is None for answer in queue.item(item_id).answers)
    assert act(ann, item_id, "explode").status_code == 422


@pytest.mark.parametrize("path", ["/reviews/999", "/reviews/99999999999999999999", "/reviews/x", "/reviews/1/2"])
def test_an_item_that_is_not_there_is_a_page(ann: Visitor, path: str) -> None:
    reply = ann.get(path)
    assert (reply.status_code, reply.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Not found" in shown_text(reply.text)


def test_without_a_name_one_may_look_and_nothing_else(visit: Visit, queue: ReviewQueue) -> None:
    item_id = add(queue)
    nobody = visit(PageOptions(reviews=queue))
    page = nobody.get(f"/reviews/{item_id}").text
    assert f'href="/sign-in?next=/reviews/{item_id}"' in page and "<form" not in page
    for path in ("/reviews", f"/reviews/{item_id}"):
        reply = nobody.post(path, {"act": "claim"})
        assert reply.status_code == 401 and f'name="next" value="{path}"' in reply.text
    assert queue.item(item_id).state is ReviewState.OPEN


def test_without_a_queue_there_is_no_review_page(visit: Visit) -> None:
    visitor = visit()
    assert visitor.get("/reviews").status_code == 404
    assert "Reviews" not in visitor.get("/").text


def test_an_item_shows_what_speaks_for_each_answer(ann: Visitor, queue: ReviewQueue) -> None:
    why = "<answer1>flu</answer1><why1>fever <b>high</why1><confidence1>0.5</confidence1>"
    rest = "<answer2>cold</answer2><why2>rash</why2><confidence2>0.3</confidence2>"
    answers = parse_answers(why + rest, 2, confidence=True)
    decision = decide(answers, Policy(answer_at=0.9))
    item_id = queue.add("Cough; Fever <b>high</b>?", answers, decision, completion="hidden")
    for page in (ann.get(f"/reviews/{item_id}"), act(ann, item_id, "claim")):
        text = ann.get(f"/reviews/{item_id}").text if page.status_code != 200 else page.text
        assert "Supported by: Fever <b>high" in shown_text(text)
        assert text.count("Supported by") == 1 and "<b>high" not in text
