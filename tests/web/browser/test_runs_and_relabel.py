"""Looking at runs, comparing and relabelling in a real browser: wide, narrow, dark, and with hostile files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.relabel import DataFields, Proposal, read_proposals, write_proposals
from polymode.relabel.data import read_data
from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.pages.site import open_pages

from ..run_folders import GOOD, POOR, answers, write_run, write_training
from .conftest import PHONE, Opens, Started

PHONE_LOOK: dict[str, Any] = {"viewport": PHONE, "is_mobile": True, "has_touch": True}
LOOKS: dict[str, dict[str, Any]] = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE_LOOK}
LONG = "A question with a word that is longer than any phone is wide: " + "x" * 90
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)><style>*{display:none}</style>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two arms of an experiment, with several samples and long texts."""
    root = tmp_path / "runs"
    for arm, texts in (("multi-rlcr-k2", GOOD), ("multi-rlvr-k2", POOR)):
        home = root / "lab" / arm / "seed-0"
        write_training(home, seed=0, method=arm.removesuffix("-k2"))
        more = [answers(("flu", 0.9), (f"something else {i}", 0.2), thought="so " * 40) for i in range(3)]
        write_run(home / "set", {**texts, "q1": [*texts["q1"], *more]}, questions={"q2": LONG},
                  p_correct={"flu": 0.7, "gout": 0.25})  # fmt: skip
    (root / "lab" / runs.REPORT).write_text("<style>p{font-weight:700}</style><p>The report.<script>alert(1)</script>")
    return root


@pytest.mark.parametrize("look", LOOKS)
def test_from_the_list_to_a_question(window: Opens, served: Started, folder: Path, look: str) -> None:
    one = window(served(open_pages(runs=folder)), **LOOKS[look])
    one.open("/runs")
    one.look("list")
    one.page.get_by_role("link", name="multi-rlcr-k2/seed-0/set").click()
    one.see("Report: figures and every metric")
    one.look("run")
    one.page.get_by_role("link", name="overconfident").click()
    one.page.get_by_role("link", name="longer than any phone").click()
    one.see("sprain")
    answer = one.page.locator(".segment.answer.wrong").first
    assert answer.inner_text().replace("\n", " ").startswith("1 ✗ wrong")
    one.look("question")
    one.open("/runs/lab/multi-rlcr-k2/seed-0/set?question=1")
    one.see("Sample 3")
    one.look("samples")
    one.page.get_by_role("link", name="Next").click()
    one.see("2 of 3")


def test_marks_can_be_told_apart_without_colour(window: Opens, served: Started, folder: Path) -> None:
    one = window(served(open_pages(runs=folder)))
    one.open("/runs/lab/multi-rlcr-k2/seed-0/set?question=1")
    styles = one.page.evaluate(
        "[...document.querySelectorAll('.legend .answer')].map(e => getComputedStyle(e).borderStyle)"
    )
    words = one.page.locator(".legend .answer .label").all_inner_texts()
    assert len(set(styles)) == len(set(words)) == 4


def test_a_stored_report_cannot_do_anything(window: Opens, served: Started, folder: Path) -> None:
    one = window(served(open_pages(runs=folder)))
    one.open("/runs/lab?part=report")
    weight = one.page.evaluate("getComputedStyle(document.querySelector('p')).fontWeight")
    assert weight == "700"
    [complaint] = one.complaints  # its script did not run
    assert "script" in complaint and "sandboxed" in complaint
    one.complaints.clear()


@pytest.mark.parametrize("look", LOOKS)
def test_three_runs_are_compared(window: Opens, served: Started, folder: Path, look: str) -> None:
    write_run(folder / "third", {**GOOD, "q2": POOR["q2"]})
    one = window(served(open_pages(runs=folder), keys=Keys({hash_of("pm-secret"): Caller("ann")})), **LOOKS[look])
    one.open("/compare")
    one.page.get_by_label("API key").fill("pm-secret")
    one.page.get_by_label("Your name").fill("Ann")
    one.press("Sign in")
    for name in ("multi-rlcr-k2", "multi-rlvr-k2", "third"):
        one.page.get_by_label(name).check()
    one.page.get_by_label("Differences to").select_option("third")
    one.look("choose")
    one.press("Compare")
    one.page.get_by_role("heading", name="Comparison of 3 runs").wait_for()  # the page comes back until it is there
    one.page.locator("#figure-training svg.chart").first.wait_for()  # the rest of a long page may follow its heading
    assert one.page.get_by_text("minus the baseline, third").is_visible()
    row = one.page.locator("#table tr", has_text="distinct references found per set: coverage")
    cells = row.locator("td")
    assert cells.count() == 3
    for i in range(3):  # on a phone, too, all can be read without scrolling sideways
        box = cells.nth(i).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= one.page.viewport_size["width"]
    one.look("report")
    one.page.get_by_role("link", name="Questions that differ").click()  # and the report did not sign anybody out
    one.look("questions")
    one.page.get_by_role("link", name="What is it, q1?").click()
    one.see("Back to the comparison")
    assert one.page.locator(".side").count() == 3
    one.look("beside")


@pytest.mark.parametrize("look", LOOKS)
def test_runs_and_questions_are_searched_sorted_and_noted(
    window: Opens, served: Started, folder: Path, look: str
) -> None:
    write_run(folder / "third", {**GOOD, "q2": POOR["q2"]}, questions={"q1": "Fever and rash", "q3": "Red eyes"})
    one = window(served(open_pages(runs=folder)), **LOOKS[look])
    one.sign_in("Ann", "/runs")
    one.page.get_by_label("Order").select_option("Coverage, worst first")
    one.page.get_by_text("Columns").click()
    one.page.get_by_label("Recall", exact=True).check()
    one.press("Apply")
    labels = one.page.locator("tbody th[scope=row] a").all_inner_texts()
    assert [label for label in labels if label != "third"] == ["multi-rlvr-k2/seed-0/set", "multi-rlcr-k2/seed-0/set"]
    cells = one.page.locator("td", has_text="[").all()
    assert len(cells) >= 15 and one.page.locator("td[data-of^=Recall]").count() == 3
    for cell in cells:  # nothing is hidden to the right of a narrow window
        box = cell.bounding_box()
        assert box["x"] + box["width"] <= one.page.viewport_size["width"]
    one.look("list")
    one.page.get_by_role("searchbox").fill("third")
    one.press("Apply")
    assert one.page.locator("tbody th[scope=row]").count() == 1
    one.page.get_by_role("link", name="third").click()
    one.page.get_by_text("Write a note").click()
    one.page.get_by_label("Note, for all").fill("Compare it with the first one")
    one.press("Save the note")
    assert one.page.locator("p.note").inner_text() == "Compare it with the first one"
    one.page.get_by_role("searchbox").fill("RASH")
    one.press("Apply")
    rows = one.page.locator("ol.questions li")
    assert rows.count() == 1 and "Fever and rash" in rows.inner_text()
    one.page.get_by_role("searchbox").fill("")
    one.page.get_by_label("Order").select_option("references found, lowest first")
    one.page.get_by_label("surest wrong answer").check()
    one.press("Apply")
    assert rows.locator(".line span:first-child").all_inner_texts() == ["q3", "q2", "q1"]
    assert "surest wrong answer: 0.30" in rows.first.inner_text()
    one.look("questions")
    one.open("/runs")
    one.see("Note: Compare it with the first one")
    for name in ("multi-rlcr-k2/seed-0/set", "multi-rlvr-k2/seed-0/set", "third"):
        one.page.get_by_label(f"Compare {name}").check()
    one.press("Compare the ticked runs")
    one.page.get_by_role("heading", name="Comparison of 3 runs").wait_for()


@pytest.fixture
def proposals(tmp_path: Path) -> Path:
    data = tmp_path / "questions.jsonl"
    runs.write_jsonl(
        data, [{"question": LONG, "references": ["flu"]}, {"question": "Rash?", "references": ["measles"]}]
    )
    mark = read_data(data, DataFields()).fingerprint
    one = Proposal("record-1", LONG, ("flu",), "cold", 0.48, 0.6, 0.8, 3, 5, ("runs/a", "runs/b"), mark)
    other = replace(one, id="record-2", question="Rash?", references=("measles",), answer="rubeola")
    write_proposals(tmp_path / "proposals.jsonl", [one, other, replace(one, answer="gout", score=0.1)])
    return tmp_path / "proposals.jsonl"


def relabelling(proposals: Path) -> Any:
    home = proposals.parent
    return open_pages(proposals=proposals, data=home / "questions.jsonl", relabelled=home / "new.jsonl")


@pytest.mark.parametrize("look", LOOKS)
def test_from_a_proposal_to_the_new_version(window: Opens, served: Started, proposals: Path, look: str) -> None:
    one = window(served(relabelling(proposals)), **LOOKS[look])
    one.open("/relabel")
    one.see("sign in")
    one.sign_in("Ann", "/relabel")
    one.look("proposals")
    first = one.page.get_by_role("article", name="Proposal 1")
    first.get_by_label("Answer").fill("the common cold")
    with one.page.expect_navigation():
        first.get_by_role("button", name="Accept as a further reference").click()
    one.see("accepted as a further reference")
    with one.page.expect_navigation():
        one.page.get_by_role("article", name="Proposal 2").get_by_role("button", name="Accept as an alias").click()
    one.see("accepted as an alias of measles")
    with one.page.expect_navigation():
        one.page.get_by_role("article", name="Proposal 3").get_by_role("button", name="Refuse").click()
    one.see("No proposal is undecided")
    one.page.get_by_role("link", name="accepted").click()
    one.look("accepted")
    one.press("Write the new version")
    one.see("New version written")
    one.look("written")
    first_row, second_row = runs.read_jsonl(proposals.parent / "new.jsonl")
    assert first_row["references"] == ["flu", "the common cold"]
    assert second_row["references"] == [["measles", "rubeola"]]
    assert [p.accepted for p in read_proposals(proposals)] == [True, True, False]


def test_two_people_cannot_decide_about_one_proposal(window: Opens, served: Started, proposals: Path) -> None:
    base = served(relabelling(proposals))
    ann, ben = window(base), window(base)
    for one, name in ((ann, "Ann"), (ben, "Ben")):
        one.sign_in(name, "/relabel")
    with ann.page.expect_navigation():
        ann.page.get_by_role("article", name="Proposal 1").get_by_role("button", name="Refuse").click()
    with ben.page.expect_navigation():
        ben.page.get_by_role("article", name="Proposal 1").get_by_role("button", name="Accept as a further").click()
    ben.see("Ann refused this proposal already")
    ben.look("conflict")
    assert read_proposals(proposals)[0].accepted is False


def test_hostile_files_do_nothing(window: Opens, served: Started, tmp_path: Path) -> None:
    name = "<script>alert(1)<&script>"
    write_run(tmp_path / "shown" / name, {"q1": [answers((HOSTILE.replace("</", "<\\/"), 0.9), ("b", 0.1)), HOSTILE]},
              questions={"q1": HOSTILE}, references={"q1": [HOSTILE]})  # fmt: skip
    one = window(served(open_pages(runs=tmp_path / "shown")))
    one.open("/runs")
    one.page.get_by_role("link", name=name).click()
    one.page.get_by_role("link", name="alert(1)").first.click()
    one.see("Sample 1")
    one.look("hostile")
    assert one.page.locator("script:not([src='/static/desk.js']), img[src=x]").count() == 0
