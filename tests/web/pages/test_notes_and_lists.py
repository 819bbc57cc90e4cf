"""Lists of runs and of questions as one asks for them; notes on runs: who may write them, and what goes wrong."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.errors import WriteError
from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.pages.note_form import LONGEST

from ..run_folders import GOOD, POOR, answers, write_run, write_training
from .conftest import HERE, Visit, Visitor, shown_text
from .test_runs import quick_reports, shown  # noqa: F401  # the fixture acts on its own

NOTE = "Too warm.\nAgain with <b>0.7</b>?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    questions = {"q1": "Fever and RASH", "q2": "A swollen toe", "q3": "Rash, red eyes"}
    more = [answers(("gout", 0.95), ("flu", 0.1)), "nothing"]
    write_run(root / "good", {**GOOD, "q3": [*GOOD["q3"], *more]}, questions=questions)
    write_run(root / "poor", POOR, questions=questions)
    write_training(root / "arm" / "seed-0", max_steps=9)
    return root


@pytest.fixture
def pages(visit: Visit, folder: Path) -> Visitor:
    visitor = visit(shown(folder))
    visitor.sign_in("Ann")
    return visitor


def write(pages: Visitor, text: str, path: str = "/runs/good") -> Any:
    page = pages.get(path).text
    mark = re.search(r'name="mark" value="([0-9a-f]+)"', page)
    assert mark is not None
    return pages.post(path, {"note": text, "mark": mark[1]}, form_at=path)


def test_runs_are_searched_sorted_and_have_chosen_columns(pages: Visitor) -> None:
    page = pages.get("/runs?sort=-coverage&column=coverage&column=recall").text
    text = shown_text(page)
    assert text.index("good k = 2") < text.index("poor k = 2") and "2 runs" in text
    heads = re.findall(r'<th scope="col"[^>]*>(?:<a [^>]*>)?([^<]*)<', page)
    assert heads == ["Run", "Coverage", "Recall"] and 'aria-sort="descending"' in page
    [turned] = re.findall(r'aria-sort="descending"><a href="([^"]*)"', page)
    assert html.unescape(turned) == "/runs?sort=coverage&column=coverage&column=recall"
    again = shown_text(pages.get(html.unescape(turned)).text)
    assert again.index("poor k = 2") < again.index("good k = 2")
    assert "1 of 2 runs" in shown_text(pages.get("/runs?find=GOOD").text)
    assert "No run matches" in pages.get("/runs?find=zebra").text
    assert pages.get("/runs?sort=%00&column=%3Cb%3E&find=all").status_code == 200


def test_ticked_runs_are_compared(pages: Visitor) -> None:
    page = pages.get("/runs").text
    assert re.findall(r'<input type="checkbox" name="run" value="(\w+)"', page) == ["good", "poor"]
    assert re.search(r'<form method="get" action="/compare">', page)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("find=rash", ["q1", "q3"]),
        ("find=red+rash", ["q3"]),
        ("find=Q2", ["q2"]),  # the id too
        ("find=toe&show=missed", []),
        ("find=all", []),
        ("sort=found", ["q3", "q2", "q1"]),
        ("sort=-found", ["q1", "q2", "q3"]),
        ("sort=-wrong", ["q3", "q2", "q1"]),  # 0.95, 0.85, and one without a wrong answer
        ("sort=wrong", ["q2", "q3", "q1"]),
        ("sort=-completions", ["q3", "q1", "q2"]),
        ("sort=-score&find=rash", ["q1", "q3"]),
    ],
)
def test_questions_are_found_by_text_and_sorted(pages: Visitor, query: str, found: list[str]) -> None:
    page = pages.get(f"/runs/good?{query}").text
    assert re.findall(r'<div class="line"><span class="muted text">(q\d)</span>', page) == found


def test_questions_show_the_chosen_figures(pages: Visitor) -> None:
    text = shown_text(pages.get("/runs/good?column=wrong&column=completions&column=tokens").text)
    assert "q3 surest wrong answer: 0.95 tokens per completion: 20.0 completions: 3" in text
    assert "q1 surest wrong answer: – tokens" in text
    refused = pages.get("/runs/good?sort=nonsense")
    assert refused.status_code == 422 and "no such order" in shown_text(refused.text)


def test_the_neighbours_of_a_question_are_those_of_its_list(pages: Visitor) -> None:
    page = pages.get("/runs/good?question=2&sort=-wrong&find=").text
    around = [html.unescape(link) for link in re.findall(r'rel="(?:prev|next)" href="([^"]*)"', page)]
    assert around == ["/runs/good?question=3&sort=-wrong", "/runs/good?question=1&sort=-wrong"]


def test_a_note_is_written_whole_beside_the_run(pages: Visitor, folder: Path) -> None:
    reply = write(pages, NOTE)
    assert (reply.status_code, reply.headers["location"]) == (303, "/runs/good#note")
    stored = json.loads((folder / "good" / "note.json").read_text())
    assert (stored["text"], stored["by"]) == (NOTE, "Ann") and stored["at"].endswith("+00:00")
    page = pages.get("/runs/good").text
    assert "Too warm.\nAgain with &lt;b&gt;0.7&lt;/b&gt;?" in page and "Ann, 20" in shown_text(page)
    listed = pages.get("/runs?find=AGAIN").text
    assert "Note: Too warm." in shown_text(listed) and "1 of 2 runs" in shown_text(listed)
    assert write(pages, "").status_code == 303
    assert json.loads((folder / "good" / "note.json").read_text())["text"] == ""
    assert sorted(path.name for path in (folder / "good").iterdir() if "note" in path.name) == ["note.json"]


def test_a_training_has_a_note_too(pages: Visitor, folder: Path) -> None:
    assert write(pages, NOTE, "/runs/arm/seed-0").status_code == 303
    assert (folder / "arm" / "seed-0" / "note.json").exists()
    assert "Too warm." in pages.get("/runs/arm/seed-0").text


def test_two_people_do_not_overwrite_each_other(pages: Visitor, folder: Path) -> None:
    mark = re.search(r'name="mark" value="(\w+)"', pages.get("/runs/good").text)
    assert mark is not None
    runs.write_note(folder / "good", runs.Note("Ben was here", "Ben", "2026-11-27T10:00:00+00:00"))
    reply = pages.post("/runs/good", {"note": "Mine", "mark": mark[1]}, form_at="/runs/good")
    text = shown_text(reply.text)
    assert reply.status_code == 422 and "changed by Ben meanwhile" in text and "Ben was here" in text
    assert re.search(r"<textarea[^>]*>\nMine</textarea>", reply.text)
    assert runs.read_note(folder / "good" / runs.NOTE).text == "Ben was here"
    again = re.search(r'name="mark" value="(\w+)"', reply.text)
    assert again is not None
    assert pages.post("/runs/good", {"note": "Both", "mark": again[1]}, form_at="/runs/good").status_code == 303


def test_what_is_too_long_stays_in_the_form(pages: Visitor, folder: Path) -> None:
    reply = write(pages, "x" * (LONGEST + 1))
    assert reply.status_code == 422 and "at most 10,000 are allowed" in shown_text(reply.text)
    assert "x" * (LONGEST + 1) in reply.text and not (folder / "good" / runs.NOTE).exists()
    assert write(pages, "x" * LONGEST).status_code == 303


def test_a_note_needs_a_name_and_what_was_typed_is_not_lost(visit: Visit, folder: Path) -> None:
    pages = visit(shown(folder))
    reply = write(pages, NOTE)
    assert reply.status_code == 401 and "What you typed comes back" in reply.text
    assert not (folder / "good" / runs.NOTE).exists()


def test_a_form_of_another_site_writes_nothing(pages: Visitor, folder: Path) -> None:
    fields = {"note": NOTE, "mark": runs.Note().mark, "csrf": "0" * 64}
    for headers in (HERE, {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}, {}):
        assert pages.client.post("/runs/good", data=fields, headers=headers).status_code in (303, 403)
    assert not (folder / "good" / runs.NOTE).exists()


def test_a_key_needs_the_scope_of_the_pages(visit: Visit, folder: Path) -> None:
    keys = Keys({hash_of("may"): Caller("olga"), hash_of("asks"): Caller("client", frozenset({"ask"}))})
    pages = visit(shown(folder), keys=keys)
    pages.sign_in("client", key="asks")
    assert pages.post("/runs/good", {"note": NOTE, "mark": runs.Note().mark}).status_code == 403
    assert not (folder / "good" / runs.NOTE).exists()
    pages.sign_in("", key="may")
    assert write(pages, NOTE).status_code == 303
    assert runs.read_note(folder / "good" / runs.NOTE).by == "olga"


def test_a_note_never_leaves_the_folder(pages: Visitor, folder: Path) -> None:
    outside = folder.parent / "secret.json"
    outside.write_text('{"text": "SECRET"}')
    (folder / "good" / runs.NOTE).symlink_to(outside)
    assert "SECRET" not in pages.get("/runs/good").text and "SECRET" not in pages.get("/runs").text
    assert write(pages, NOTE).status_code == 303  # takes the place of the link
    assert outside.read_text() == '{"text": "SECRET"}' and not (folder / "good" / runs.NOTE).is_symlink()
    (folder / "empty").mkdir()
    for path in (
        "/runs/none",
        "/runs/%2e%2e",
        "/runs/%2e%2e/secret",
        "/runs/good%2f%2e%2e",
        "/runs/empty",
        "/runs/arm",
    ):
        fields = {"note": NOTE, "mark": runs.Note().mark}
        assert pages.post(path, fields).status_code == 404
    assert not list(folder.parent.glob("note.json")) and not list(folder.glob("note.json"))


def test_a_damaged_note_is_said_and_not_overwritten(pages: Visitor, folder: Path) -> None:
    (folder / "good" / runs.NOTE).write_text("{")
    assert "good/note.json: not valid JSON" in shown_text(pages.get("/runs/good").text)
    assert pages.get("/runs").status_code == 200
    assert write(pages, NOTE).status_code == 422
    assert (folder / "good" / runs.NOTE).read_text() == "{"


def test_a_folder_that_cannot_be_written_keeps_the_form(
    pages: Visitor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise WriteError("cannot write /a/path/of/this/machine")

    monkeypatch.setattr(runs, "write_note", refuse)
    reply = write(pages, NOTE)
    text = shown_text(reply.text)
    assert reply.status_code == 503 and "cannot be written into the folder" in text and "/a/path" not in text
    assert "Send it again" in text and "Too warm." in reply.text
