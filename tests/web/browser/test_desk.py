"""A reviewer's day in a real browser: ten items by keyboard, a restart, addresses that may be reloaded."""

from pathlib import Path
from typing import Any

from polymode.policy import Policy
from polymode.types import Verdict
from polymode.web.app import create_app
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue, ReviewState
from polymode.web.reviews.listing import ItemFilter

from ..conftest import Live, Model, serving
from .conftest import PHONE, Opens, Started
from .test_ask_and_review import UNSURE, add

FIELDS = {"A correct answer that is missing": "Grippe", "Note": "asked the ward"}


def test_ten_items_with_the_keyboard_alone(window: Opens, served: Started, queue: ReviewQueue) -> None:
    for number in range(10):
        add(queue, f"Question {number}?")
    one = window(served())
    one.sign_in("Ann")
    keys = one.page.keyboard
    with one.page.expect_navigation():
        keys.press("n")  # claim the next item
    one.look("keys")
    for number in range(10):
        one.see(f"Question {number}?")
        keys.press("r")
        keys.press("k")
        keys.press("j")
        keys.press("w")
        keys.press("3")
        keys.press("u")
        with one.page.expect_navigation():
            keys.press("Enter")
    one.see("There is no further open item for you.")
    resolved = queue.items(ItemFilter(ReviewState.RESOLVED))
    verdicts = [Verdict.CORRECT, Verdict.WRONG, Verdict.UNSCORED]
    assert [[answer.verdict for answer in item.answers] for item in resolved] == [verdicts] * 10
    add(queue, "One more?")
    one.open("/reviews")
    keys.press("j")
    keys.press("x")
    assert one.page.get_by_label("Item 11").is_checked()
    with one.page.expect_navigation():
        keys.press("Enter")
    one.see("One more?")
    with one.page.expect_navigation():
        keys.press("c")
    one.page.get_by_label("Note").focus()
    keys.type("rwj1 is text here")
    assert one.page.get_by_label("Note").input_value() == "rwj1 is text here"


def test_a_restart_while_reviewing_loses_nothing(window: Opens, live: Live, model: Model, tmp_path: Path) -> None:
    def app(queue: ReviewQueue) -> Any:
        settings = serving(policy=Policy(answer_at=0.8, offer_at=0.6), k=3)
        return create_app(settings, model, escalations=queue, pages=PageOptions(reviews=queue))

    with ReviewQueue(tmp_path / "reviews.db", wait_seconds=20) as queue:
        item_id = add(queue)
        process = [app(queue)]

        async def server(scope: Any, receive: Any, send: Any) -> None:
            await process[-1](scope, receive, send)

        one = window(f"http://127.0.0.1:{live(server)}")
        one.sign_in("Ann", f"/reviews/{item_id}")
        one.press("Claim this item")
        one.page.route("**/reviews/*", lambda route: route.abort() if is_draft(route) else route.continue_())
        for label, text in FIELDS.items():
            one.page.get_by_label(label).fill(text)
        one.page.get_by_role("group", name="flu").first.get_by_label("correct", exact=True).check()
        one.page.get_by_text("The draft is kept in this browser").wait_for()  # the server was not reached
        one.complaints.clear()
        process.append(app(queue))  # all that the server held in memory is gone
        one.press("Resolve")
        one.see("Your session has ended. What you typed comes back once you have signed in.")
        one.look("session-ended")
        one.page.get_by_label("Your name").fill("Ann")
        one.press("Sign in")
        one.see("and not saved is in the form")
        one.look("text-is-back")
        for label, text in FIELDS.items():
            assert one.page.get_by_label(label).input_value() == text
        assert one.page.get_by_role("group", name="flu").first.get_by_label("correct", exact=True).is_checked()
        assert queue.item(item_id).state is ReviewState.CLAIMED


def is_draft(route: Any) -> bool:
    return "act=draft" in (route.request.post_data or "")


def test_a_draft_survives_the_window(window: Opens, served: Started, queue: ReviewQueue) -> None:
    item_id = add(queue)
    base = served()
    one = window(base)
    one.sign_in("Ann", f"/reviews/{item_id}")
    one.press("Claim this item")
    one.page.get_by_label("Note").fill("asked the ward")
    one.see("Draft saved.")
    one.context.close()
    other = window(base)
    other.sign_in("Ann", f"/reviews/{item_id}")
    assert other.page.get_by_label("Note").input_value() == "asked the ward"


def test_an_escalated_question_has_an_address(window: Opens, served: Started, queue: ReviewQueue, model: Model) -> None:
    model.scripted = Model(UNSURE).scripted
    one = window(served(), viewport=PHONE)
    one.open("/")
    one.page.get_by_label("Question").fill("Fever?")
    one.press("Ask")
    one.see("It waits for a person")
    address = one.page.url
    assert "/escalations/" in address
    for _ in range(3):
        one.page.reload()
        one.see("It waits for a person")
    assert one.page.url == address and len(queue.items()) == 1
    one.look("escalation")
    item = queue.claim("Ben")
    assert item is not None
    queue.resolve(item.id, "Ben", verdicts=dict.fromkeys(range(3), Verdict.WRONG), missing=["covid"])
    one.page.reload()
    one.see("covid")


def test_everything_works_without_the_script(window: Opens, served: Started, queue: ReviewQueue) -> None:
    first, second = add(queue, "1?"), add(queue, "2?")
    one = window(served(), java_script_enabled=False)
    one.sign_in("Ann")
    one.look("list")
    one.press("Claim the next item")
    for group in ("flu", "influenza", "alert"):
        one.page.get_by_role("group", name=group).first.get_by_label("wrong", exact=True).check()
    one.press("Resolve and take the next")
    one.see("This is the next item")
    assert (queue.item(first).state, queue.item(second).claimed_by) == (ReviewState.RESOLVED, "Ann")
    one.open("/reviews?state=all")
    one.page.get_by_label(f"Item {second}").check()
    one.page.get_by_label("Assign to", exact=True).fill("Ben")
    one.press("Assign")
    one.see("Changed 1 item.")
    assert queue.item(second).assigned_to == "Ben"
    one.look("several")
