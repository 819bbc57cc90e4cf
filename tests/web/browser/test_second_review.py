"""Two reviewers who do not see each other, and a third who decides, in a real browser."""

from pathlib import Path

from polymode.types import Verdict
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue

from .conftest import Opens, Started, Window
from .test_ask_and_review import add

PHONE = {"width": 390, "height": 844}


def judge(one: Window, flu: str, note: str = "") -> None:
    """Claim the next item with the keyboard, mark its answers, and resolve it."""
    with one.page.expect_navigation():
        one.page.keyboard.press("n")
    one.page.get_by_role("group", name="flu").first.get_by_label(flu, exact=True).check()
    for group in ("influenza", "alert"):
        one.page.get_by_role("group", name=group).first.get_by_label("wrong", exact=True).check()
    one.page.get_by_label("Note").fill(note)


def test_a_second_review_is_blind_and_a_third_decides(window: Opens, served: Started, tmp_path: Path) -> None:
    with ReviewQueue(tmp_path / "twice.db", wait_seconds=20, second_review=1) as queue:
        original = add(queue)
        base = served(PageOptions(reviews=queue))
        ann, ben = window(base), window(base, viewport=PHONE, color_scheme="dark")
        ann.sign_in("Ann")
        judge(ann, "correct", "seen in winter")
        ann.press("Resolve")
        ann.see("Resolved by Ann")
        ann.open("/reviews")
        ann.press("Claim the next item")
        ann.see("There is no open item to claim.")  # the second review is for somebody else

        ben.sign_in("Ben")
        ben.open(f"/reviews/{original}")
        ben.see("Another reviewer is to judge it again.")
        ben.look("hidden")
        judge(ben, "wrong")
        for page in (f"/reviews/{original}", ben.page.url.removeprefix(base)):
            ben.open(page)
            text = ben.page.locator("main").inner_text()
            assert "Ann" not in text and "winter" not in text
        assert ben.page.locator("input[type=radio]:checked").count() == 3  # Ben's own draft, nothing of Ann's
        ben.look("second-review")
        ben.press("Resolve")

        eve = window(base, viewport=PHONE)
        eve.sign_in("Eve")
        eve.see("two reviewers disagree")
        with eve.page.expect_navigation():
            eve.page.keyboard.press("n")
        eve.see("First review: correct; second review: wrong")
        eve.see("seen in winter")
        eve.look("adjudication")
        eve.page.get_by_role("group", name="flu").first.get_by_label("correct", exact=True).check()
        eve.press("Resolve")
        assert [one.verdict for one in queue.item(original).answers] == [Verdict.CORRECT, Verdict.WRONG, Verdict.WRONG]
        eve.open(f"/reviews/{original}")
        eve.see("decided between two reviews: correct, wrong, wrong")
        eve.look("settled")
        eve.open("/reviews")
        eve.see("1 item was judged by two reviewers.")
        eve.look("agreement")
