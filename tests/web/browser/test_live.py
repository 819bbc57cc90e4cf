"""The page of live calibration in a real browser: an alarm, dark, and on a phone; the mark of the random share."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from polymode.types import Verdict
from polymode.web.app import create_app
from polymode.web.live.answers import LiveAnswer, LiveAnswers
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue

from ..conftest import Live, Model, serving
from ..live.conftest import GUARANTEED
from .conftest import Opens

DAYS = 10


@pytest.fixture
def deployment(queue: ReviewQueue) -> LiveAnswers:
    """Ten days of answers, those of the last four to questions that fail more often and with other confidences."""
    now = datetime.now(UTC)
    times = iter([now - timedelta(days=DAYS) + timedelta(days=DAYS * i / 400) for i in range(400)])
    clock: list[datetime] = [now]
    live = LiveAnswers(queue.store, "this one", clock=lambda: clock[0], share=0.2)
    rng = np.random.default_rng(0)
    for number, at in enumerate(times):
        clock[0] = at
        is_late = number > 240
        q = (round(0.82 + 0.15 * rng.random(), 2), round(0.3 * rng.random(), 2))
        kind = ["answer", "answer", "answer", "escalate", "offer_set"][int(rng.integers(5))]
        reads = (float(rng.random()) * (0.4 if is_late else 1), float(rng.random()) * 1.5)
        item_id = None
        is_random = rng.random() < 0.2
        live.record(
            LiveAnswer(
                f"request {number}", f"Question {number}?", ("panic attack", "migraine"), q,
                {"answer": 1, "offer_set": 2}.get(kind, 0), kind, "normal", "", kind == "answer", bool(is_random),
                ((), reads), item_id,
            )
        )  # fmt: skip
        if is_random and number < 395:
            right = rng.random() < (0.45 if is_late else 0.95)
            from polymode.web.keys import EVERYBODY
            from polymode.web.live.outcomes import Outcome, post_outcome

            outcome = Outcome(verdicts=(bool(right), not right))
            post_outcome(live, f"request {number}", outcome, EVERYBODY, equality_name="text")
    clock[0] = now
    return live


def test_the_page_of_live_calibration(
    window: Opens, live: Live, model: Model, queue: ReviewQueue, deployment: LiveAnswers
) -> None:
    def app() -> Any:
        pages = PageOptions(reviews=queue)
        settings = serving(policy=GUARANTEED)
        return create_app(settings, model, escalations=queue, pages=pages, live=deployment)

    base = f"http://127.0.0.1:{live(app())}"
    one = window(base)
    one.open("/")
    one.page.get_by_role("link", name="Live", exact=True).click()
    one.see("Live calibration")
    one.see("Alarm:")
    assert one.page.get_by_text("No guarantee is claimed any more").is_visible()
    one.look("wide")
    for name, options in {
        "dark": {"color_scheme": "dark"},
        "phone": {"viewport": {"width": 390, "height": 780}},
        "phone-dark": {"viewport": {"width": 390, "height": 780}, "color_scheme": "dark"},
    }.items():
        other = window(base, **options)
        other.open("/live")
        other.see("Over time")
        other.look(name)


def test_a_question_of_the_random_share_is_marked(window: Opens, live: Live, model: Model, queue: ReviewQueue) -> None:
    answers = LiveAnswers(queue.store, "this one", share=1.0, draw=lambda: 0.0)
    settings = serving(policy=GUARANTEED)
    app = create_app(settings, model, escalations=queue, pages=PageOptions(reviews=queue), live=answers)
    one = window(f"http://127.0.0.1:{live(app)}")
    one.open("/")
    one.page.get_by_label("Question").fill("Is it so?")
    one.press("Ask")
    one.see("panic attack")
    one.sign_in("Ann")
    one.see("random share")
    one.press("Claim the next item")
    one.see("random share")
    item = queue.claim("Ann", 1)
    assert item is not None and item.origin == "random"
    queue.resolve(1, "Ann", verdicts={0: Verdict.CORRECT, 1: Verdict.WRONG})
    for _ in range(60):  # the page shows what the last refresh of the monitor read
        one.open("/live")
        if "1 drawn, 1 reviewed" in one.page.inner_text("body"):
            break
        one.page.wait_for_timeout(1000)
    one.see("1 drawn, 1 reviewed")
    one.look("reviewed")
