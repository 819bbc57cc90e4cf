"""The review queue locked, its disk full, its file away: the page says so, nothing is lost, no restart is needed."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from polymode.parsing import parse_answers
from polymode.policy import Policy, decide
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue, ReviewState

from ..conftest import Model
from .conftest import HERE, Visit, Visitor, shown_text

TEXT = "<answer1>flu</answer1><confidence1>0.3</confidence1><answer2>cold</answer2><confidence2>0.1</confidence2>"
NOTE = "a long note, " * 700
MARKS = {"act": "resolve", "verdict-0": "correct", "verdict-1": "wrong", "missing": "covid", "note": NOTE}


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ReviewQueue]:
    with ReviewQueue(tmp_path / "reviews.db", wait_seconds=0.2) as queue:
        answers = parse_answers(TEXT, 2, confidence=True)
        queue.add("Fever?", answers, decide(answers, Policy()))
        yield queue


@pytest.fixture
def ann(visit: Visit, queue: ReviewQueue, model: Model) -> Visitor:
    model.scripted = Model(TEXT).scripted
    visitor = visit(PageOptions(reviews=queue), escalations=queue)
    visitor.sign_in("ann")
    visitor.post("/reviews")
    return visitor


@contextmanager
def locked(queue: ReviewQueue, path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    yield
    other.execute("ROLLBACK")
    other.close()


@contextmanager
def disk_full(queue: ReviewQueue, path: Path) -> Iterator[None]:
    for pages in (1, 1_000_000):  # SQLite makes of 1 what it has
        with queue.store.reading() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        if pages == 1:
            yield


@contextmanager
def taken_away(queue: ReviewQueue, path: Path) -> Iterator[None]:
    folder = path.parent / "elsewhere"
    folder.mkdir()
    for file in path.parent.glob("reviews.db*"):
        file.rename(folder / file.name)
    yield
    for file in folder.iterdir():
        file.rename(path.parent / file.name)


Fault = Callable[[ReviewQueue, Path], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("fault", "reason", "is_readable"),
    [
        (locked, "database is locked", True),
        (disk_full, "database or disk is full", True),
        (taken_away, "unable to open database file", False),
    ],
)
def test_a_queue_that_cannot_be_used_is_said_to_be_and_found_again(
    ann: Visitor, queue: ReviewQueue, tmp_path: Path, fault: Fault, reason: str, is_readable: bool
) -> None:
    with fault(queue, tmp_path / "reviews.db"):
        failed = ann.post("/reviews/1", MARKS)
        said = shown_text(failed.text)
        assert (failed.status_code, failed.headers["retry-after"]) == (503, "2")
        assert "Not available now" in said and reason in said and "nothing was saved" in said
        assert ann.get("/reviews").status_code == ann.get("/reviews/1").status_code == (200 if is_readable else 503)
        assert is_readable or "Try again" in ann.get("/reviews").text

        asked = ann.post("/", {"question": "How long? " * 1500})  # must go to a person, and cannot
        assert asked.status_code == 503 and reason in shown_text(asked.text) and "How long? How long?" in asked.text
        assert "A person decides" not in asked.text
        assert ann.get("/").status_code == ann.get("/health").status_code == 200

    # The page of the failure holds all that was written: nothing is typed twice.
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', failed.text))
    again = ann.client.post("/reviews/1", data=fields, headers=HERE)
    assert again.headers["location"] == "/reviews/1?done=resolve"
    item = queue.item(1)
    assert (item.state, item.note) == (ReviewState.RESOLVED, NOTE.strip())
    assert [answer.text for answer in item.answers] == ["flu", "cold", "covid"]
    assert [event.what for event in queue.events(1)] == ["added", "claimed", "marked", "answer_added", "resolved"]
    asked = ann.post("/", {"question": "How long? " * 1500})
    assert "review item 2" in shown_text(ann.get(asked.headers["location"]).text)
