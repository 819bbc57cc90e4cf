"""Asking and reviewing in a real browser: wide, narrow, dark, and with the keyboard alone."""

import re
from typing import Any

import pytest

from polymode.errors import GeneratorFault
from polymode.parsing import parse_answers
from polymode.policy import Policy, decide
from polymode.types import Verdict
from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.reviews import ReviewQueue, ReviewState

from ..conftest import Model
from .conftest import PHONE, Opens, Started

SET = (
    "<think> headache : migraine ; headache : tension headache ; tremor : panic attack ; dizziness : panic attack "
    "</think>"
    "<answer1>panic attack</answer1><confidence1>0.45</confidence1>"
    "<answer2>migraine</answer2><confidence2>0.20</confidence2>"
    "<answer3>tension headache</answer3><confidence3>0.10</confidence3>"
)
UNSURE = (
    "<think> hm </think><answer1>flu</answer1><confidence1>0.30</confidence1>"
    "<answer2>influenza</answer2><confidence2>0.15</confidence2>"
    "<answer3><script>alert('x')</script> and a very long answer that no phone shows on one line, whatever it does"
    "</answer3><confidence3>0.05</confidence3>"
)
MALFORMED = "<think> hm </think><answer1>flu</answer1><confidence1>eighty</confidence1>"
QUESTION = "A 31 year old man has headache, tremor, dizziness; no back pain"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "phone": {"viewport": PHONE, "is_mobile": True, "has_touch": True},
}


def add(queue: ReviewQueue, question: str = QUESTION) -> int:
    answers = parse_answers(UNSURE, 3, confidence=True)
    return queue.add(question, answers, decide(answers, Policy(answer_at=0.8)), completion=UNSURE, model_id="clinic")


@pytest.mark.parametrize("look", LOOKS)
def test_ask(window: Opens, served: Started, model: Model, look: str) -> None:
    one = window(served(), **LOOKS[look])
    one.open("/")
    one.look("empty")
    for number, (text, says) in enumerate(
        [(SET, "A set to choose from"), (UNSURE, "A person decides"), (MALFORMED, "malformed output")]
    ):
        model.scripted = Model(text).scripted
        one.open("/")
        one.page.get_by_label("Question").fill(QUESTION)
        one.press("Ask")
        one.see(says)
        one.look(f"answer-{number}")
    model.fault = lambda prompts: GeneratorFault("server behind: Connection refused")
    one.open("/")
    one.page.get_by_label("Question").fill(QUESTION)
    one.press("Ask")
    one.see("the model cannot answer now")
    assert one.page.get_by_label("Question").input_value() == QUESTION
    one.look("down")
    model.fault = lambda prompts: None
    one.press("Ask")
    one.see("malformed output")


def test_bars_are_as_long_as_the_confidences(window: Opens, served: Started, model: Model) -> None:
    model.scripted = Model(SET).scripted
    one = window(served())
    one.open("/")
    one.page.get_by_label("Question").fill(QUESTION)
    one.press("Ask")
    widths = one.page.evaluate(
        "[...document.querySelectorAll('.bar')].map(b => b.querySelector('.fill').getBoundingClientRect().width"
        " / b.querySelector('.track').getBoundingClientRect().width)"
    )
    assert widths == pytest.approx([0.45, 0.20, 0.10], abs=0.005)


@pytest.mark.parametrize("look", LOOKS)
def test_review_from_claim_to_resolve(window: Opens, served: Started, queue: ReviewQueue, look: str) -> None:
    item_id = add(queue)
    add(queue, "Another question, " * 30)
    one = window(served(), **LOOKS[look])
    one.open("/reviews")
    one.look("list-of-anybody")
    one.page.get_by_role("link", name="Sign in to review").click()
    one.page.get_by_label("Your name").fill("Ann")
    one.look("sign-in")
    one.press("Sign in")
    one.look("list")
    one.press("Claim the next item")
    one.see("You have claimed this item")
    one.look("claimed")
    one.press("Resolve")
    one.see("Not saved.")
    one.look("refused")
    one.page.get_by_role("group", name="flu").first.get_by_label("correct", exact=True).check()
    second = one.page.get_by_role("group", name="influenza")
    second.get_by_label("correct", exact=True).check()
    second.get_by_label("says the same as").select_option("flu")
    one.page.get_by_role("group", name="alert").get_by_label("cannot be decided").check()
    one.page.get_by_label("A correct answer that is missing").fill("covid")
    one.press("Save and continue")
    one.see("Saved. The item is still claimed by you.")
    one.see("added by Ann")
    one.page.get_by_label("Note").fill("seen")
    one.press("Resolve")
    one.see("Resolved by Ann")
    one.look("resolved")
    item = queue.item(item_id)
    assert (item.state, item.note, item.answers[1].same_as) == (ReviewState.RESOLVED, "seen", 0)
    right = Verdict.CORRECT
    assert [answer.verdict for answer in item.answers] == [right, right, Verdict.UNSCORED, right]
    one.press("Claim the next item")
    one.see("Another question")
    one.press("Dismiss")
    one.see("Dismissed by Ann")
    one.open("/reviews?state=all")
    one.look("all")
    one.open("/reviews/77")
    one.see("Not found")
    one.look("not-found")


def test_dark_where_the_person_wants_it(window: Opens, served: Started, queue: ReviewQueue, model: Model) -> None:
    model.scripted = Model(SET).scripted
    base = served()
    colours = []
    for scheme in ("light", "dark"):
        one = window(base, color_scheme=scheme)
        one.open("/")
        one.page.get_by_label("Question").fill(QUESTION)
        one.press("Ask")
        one.look(f"answer-{scheme}")
        add(queue)
        one.sign_in(f"Ann {scheme}")
        one.press("Claim the next item")
        one.look(f"review-{scheme}")
        style = "(e => { const s = getComputedStyle(e); return [s.backgroundColor, s.color] })"
        colours.append([one.page.evaluate(f"{style}(document.querySelector('{at}'))") for at in ("body", "textarea")])
    light, dark = ([[sum(map(int, re.findall(r"\d+", c))) for c in pair] for pair in scheme] for scheme in colours)
    assert all(background > 700 and text < 150 for background, text in light)
    assert all(background < 150 and text > 650 for background, text in dark)


def test_two_reviewers_cannot_claim_one_item(window: Opens, served: Started, queue: ReviewQueue) -> None:
    item_id = add(queue)
    base = served()
    ann, ben = window(base), window(base)
    for one, name in ((ann, "Ann"), (ben, "Ben")):
        one.sign_in(name, f"/reviews/{item_id}")
    ann.press("Claim this item")
    ann.see("You have claimed this item")
    ben.press("Claim this item")  # the page of before is still open
    ben.see("is claimed by 'Ann': take another")
    ben.look("conflict")
    ben.press("Claim the next item")
    ben.see("There is no open item")
    ann.press("Release")
    ben.open(f"/reviews/{item_id}")
    ben.press("Claim this item")
    ben.see("You have claimed this item")
    assert queue.item(item_id).claimed_by == "Ben"


def test_with_the_keyboard_alone(window: Opens, served: Started, queue: ReviewQueue, model: Model) -> None:
    model.scripted = Model(UNSURE).scripted
    one = window(served())
    one.open("/")
    keys = one.page.keyboard

    def go_to(name: str) -> None:
        """Press Tab until what has the focus has this name; it must be seen to have it."""
        for _ in range(40):
            keys.press("Tab")
            found = one.page.evaluate(
                "(() => { const e = document.activeElement, s = getComputedStyle(e);"
                " return [(e.labels && e.labels[0] || e).textContent.trim(), s.outlineStyle] })()"
            )
            if found[0].startswith(name):
                assert found[1] != "none", name
                return
        raise AssertionError(f"Tab does not lead to {name!r}")

    def press(key: str) -> None:
        with one.page.expect_navigation():
            keys.press(key)

    keys.press("Tab")
    assert one.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    one.look("skip")
    go_to("Question")
    keys.type("Fever?")
    go_to("normal")
    keys.press("ArrowRight")
    go_to("Ask")
    press("Enter")
    one.see("high risk")
    go_to("review item 1")
    press("Enter")
    go_to("Sign in")
    press("Enter")
    go_to("Your name")
    keys.type("Ann")
    press("Enter")
    one.see("Signed in: Ann")
    one.open("/reviews/1")
    go_to("Claim this item")
    press("Enter")
    for _ in range(3):
        go_to("correct")
        keys.press("Space")
        keys.press("ArrowRight")  # from correct to wrong
    go_to("A correct answer that is missing")
    keys.type("covid")
    go_to("Resolve")
    one.look("focus")
    press("Enter")
    one.see("There is no further open item for you.")
    assert [answer.verdict for answer in queue.item(1).answers] == [*[Verdict.WRONG] * 3, Verdict.CORRECT]


def test_with_keys_one_signs_in_first_and_comes_back(window: Opens, served: Started, queue: ReviewQueue) -> None:
    add(queue)
    one = window(served(keys=Keys({hash_of("right"): Caller("anna")})))
    one.open("/reviews/1")
    one.page.get_by_label("API key").fill("wrong")
    one.press("Sign in")
    one.see("the API key is not known")
    one.look("wrong-key")
    one.page.get_by_label("API key").fill("right")
    one.press("Sign in")
    one.see("Signed in: anna")
    assert one.page.url.endswith("/reviews/1")
    [cookie] = one.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    one.press("Sign out")
    one.see("API key")


def test_a_foreign_page_can_neither_act_nor_show_ours(window: Opens, served: Started, queue: ReviewQueue) -> None:
    add(queue)
    base = served()
    one = window(base)
    one.sign_in("Ann")
    token = one.page.locator("input[name=csrf]").first.input_value()
    # The same machine under another name: to a browser another site, which has even stolen the token.
    foreign = base.replace("127.0.0.1", "localhost")
    page = one.context.new_page()
    page.route(
        f"{foreign}/evil",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f"<form method=post action={base}/reviews><input name=csrf value={token}><button>Win</button></form>"
            f"<iframe src={base}/reviews></iframe>",
        ),
    )
    page.goto(f"{foreign}/evil")
    assert page.frames[1].url == "chrome-error://chromewebdata/"
    with page.expect_navigation():
        page.get_by_role("button", name="Win").click()
    page.get_by_text("the form was sent from another site").wait_for()
    assert queue.item(1).claimed_by is None
