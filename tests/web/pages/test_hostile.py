"""Text that is HTML, forms that are not ours, bodies that are too long or never end: nothing of it does anything."""

import html
import re
import socket
import time
from html.parser import HTMLParser
from typing import Any

import pytest

from polymode.parsing import parse_answers
from polymode.policy import Policy, decide
from polymode.web.app import create_app
from polymode.web.gate import Limits
from polymode.web.pages.forms import MAX_FIELDS
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue

from ..conftest import Live, Model, serving
from .conftest import HERE, Visit, Visitor, shown_text

HOSTILE = (
    "</textarea></pre><script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg/onload=alert(1)>"
    "{{ 7777 * 7777 }}{% include 'base.html' %}<style>*{display:none}</style>&lt;b&gt;\u202e\x1b[31m<!--"
)
SHORT = "<script>alert(1)</script>\"'>"
TAGS = {"html", "head", "meta", "title", "link", "body", "a", "header", "nav", "form", "input", "span", "bdi", "button",
        "main", "h1", "h2", "h3", "p", "section", "div", "strong", "dl", "dt", "dd", "details", "summary", "pre", "ul",
        "ol", "li", "kbd", "datalist", "textarea",
        "fieldset", "legend", "label", "select", "option", "svg", "rect", "time"}  # fmt: skip


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if (tag, attrs) != ("script", [("src", "/static/desk.js"), ("defer", None)]):  # the one that is ours
            self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def is_inert(page: str) -> bool:
    found = Tags(page)
    bad = {name for name in found.attributes if name.startswith("on") or name == "style"}
    assert found.tags <= TAGS and not bad, (found.tags - TAGS, bad)
    assert "\x1b" not in page
    return True


def completion(answer: str) -> str:
    return f"<think> {SHORT} : {answer} ; </think><answer1>{answer}</answer1><confidence1>0.5</confidence1>" \
           f"<answer2>cold</answer2><confidence2>0.1</confidence2>"  # fmt: skip


# --- text ------------------------------------------------------------------------------------------------------------


def test_questions_answers_and_reasons_are_text(visit: Visit, model: Model, queue: ReviewQueue) -> None:
    visitor = visit(PageOptions(reviews=queue), escalations=queue)
    for answer, risk in ((HOSTILE, "normal"), (SHORT, "normal"), (SHORT, "high")):
        model.scripted = Model(completion(answer)).scripted
        page = visitor.post("/", {"question": HOSTILE, "risk": risk}).text
        assert is_inert(page) and "60481729" not in page
        assert html.escape(SHORT, quote=False).split("&gt;")[0] in page  # it is there, as text
    refused = visitor.post("/", {"question": HOSTILE, "k": HOSTILE, "risk": HOSTILE})
    assert refused.status_code == 422 and is_inert(refused.text)


def test_what_reviewers_write_is_text(visit: Visit, queue: ReviewQueue) -> None:
    visitor = visit(PageOptions(reviews=queue))
    assert visitor.sign_in(SHORT).status_code == 303
    answers = parse_answers(completion(SHORT), 2, confidence=True)
    item_id = queue.add(
        HOSTILE, answers, decide(answers, Policy()), completion=completion(HOSTILE), model_id=HOSTILE,
        policy_id=HOSTILE, request_id=HOSTILE,
    )  # fmt: skip
    at = f"/reviews/{item_id}"
    visitor.post(at, {"act": "claim"})
    assert is_inert(visitor.get(at).text)
    refused = visitor.post(at, {"act": "resolve", "missing": HOSTILE, "note": HOSTILE, "verdict-0": HOSTILE})
    assert refused.status_code == 422 and is_inert(refused.text)
    fields = {"verdict-0": "correct", "verdict-1": "wrong", "missing": HOSTILE, "note": HOSTILE}
    assert visitor.post(at, {"act": "resolve", **fields}).status_code == 303
    for path in (at, f"{at}?done={SHORT}", "/reviews?state=all", f"/reviews?state={SHORT}&page={SHORT}"):
        assert is_inert(visitor.get(path).text), path
    assert queue.item(item_id).note.startswith("</textarea>")
    assert is_inert(visitor.get("/reviews/" + SHORT).text)
    assert is_inert(visitor.post(at, {"act": SHORT}).text)


def test_names_and_addresses_of_the_sign_in_page_are_text(visit: Visit) -> None:
    visitor = visit()
    page = visitor.get(f"/sign-in?next=/{SHORT}")
    assert is_inert(page.text)
    refused = visitor.sign_in(HOSTILE * 2, next=f"/{SHORT}")
    assert refused.status_code == 422 and is_inert(refused.text)


# --- forms of others -------------------------------------------------------------------------------------------------


@pytest.fixture
def ann(visit: Visit, queue: ReviewQueue) -> Visitor:
    visitor = visit(PageOptions(reviews=queue))
    visitor.sign_in("ann")
    answers = parse_answers(completion("flu"), 2, confidence=True)
    queue.add("q", answers, decide(answers, Policy()))
    return visitor


ACTS = [("/reviews", {"a": "b"}), ("/reviews/1", {"act": "claim"}), ("/", {"question": "q"}), ("/sign-out", {"a": "b"}),
        ("/sign-in", {"name": "eve"})]  # fmt: skip


@pytest.mark.parametrize(("path", "fields"), ACTS)
def test_a_form_without_the_right_token_is_refused(
    ann: Visitor, visit: Visit, queue: ReviewQueue, model: Model, path: str, fields: dict[str, str]
) -> None:
    right = ann.token()
    other = visit(PageOptions(reviews=queue))
    other.sign_in("ann")
    stranger = visit(PageOptions(reviews=queue)).token()
    for csrf in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": right[:-1]}, {"csrf": right.upper() + "é"},
                 {"csrf": [right, right]}, {"csrf": other.token()}, {"csrf": stranger}):  # fmt: skip
        reply = ann.client.post(path, data={**fields, **csrf}, headers=HERE)
        if reply.status_code == 303:  # nothing was done: the form comes back to whom it was sent from
            assert reply.headers["location"] in (path, "/resend"), csrf
        else:
            assert reply.status_code == 403, csrf
            assert "not one that this server gave to this browser" in reply.text or 'name="typed"' in reply.text
    bare = ann.client.post(path, data={**fields, "csrf": right}, headers={**HERE, "cookie": "polymode=" + "a" * 43})
    assert bare.status_code in (303, 403)
    assert queue.item(1).claimed_by is None and model.calls == []
    assert "Signed in: ann" in shown_text(ann.get("/sign-in").text)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://testserver.evil.example"},
        {"origin": "http://testserver:81"},
        {"origin": "http://[evil"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "null"},
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
    ],
)
@pytest.mark.parametrize(("path", "fields"), ACTS)
def test_a_form_on_another_site_is_refused(
    ann: Visitor, queue: ReviewQueue, path: str, fields: dict[str, str], headers: dict[str, str]
) -> None:
    sent = {**fields, "csrf": ann.token()}
    reply = ann.client.post(path, data=sent, headers=headers)
    assert reply.status_code == 403 and "sent from another site" in reply.text and is_inert(reply.text)
    assert queue.item(1).claimed_by is None
    assert "Signed in: ann" in shown_text(ann.get("/sign-in").text)


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "null"}, {"origin": "http://testserver"}, {"sec-fetch-site": "none"}]
)
def test_a_form_of_ours_is_taken_whatever_the_browser_leaves_out(ann: Visitor, headers: dict[str, str]) -> None:
    reply = ann.client.post("/reviews", data={"csrf": ann.token()}, headers=headers)
    assert reply.headers["location"] == "/reviews/1?done=claimed"


def test_acts_are_never_done_by_a_link(ann: Visitor, queue: ReviewQueue) -> None:
    ann.get("/reviews/1?act=claim")
    assert ann.get("/sign-out").status_code == 405
    assert queue.item(1).claimed_by is None and "Signed in: ann" in shown_text(ann.get("/sign-in").text)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"act": "claim"}', "application/json"),
        (b"act=claim", "text/plain"),
        (b"act=claim", ""),
        (b"a=%ff%fe", "application/x-www-form-urlencoded"),
        (b"a=\xff", "application/x-www-form-urlencoded"),
        (b"a=1&" * (MAX_FIELDS + 1), "application/x-www-form-urlencoded"),
    ],
)
def test_what_is_no_form_is_not_read(ann: Visitor, body: bytes, kind: str) -> None:
    reply = ann.client.post("/reviews/1", content=body, headers={**HERE, "content-type": kind})
    assert (reply.status_code, reply.headers["content-type"]) == (400, "text/html; charset=utf-8")


# --- bodies ----------------------------------------------------------------------------------------------------------

HEAD = b"POST /reviews/1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"


def said_to(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:  # it has hung up already
                break
            time.sleep(pause)
        said = b""
        try:
            while more := connection.recv(65536):
                said += more
        except ConnectionResetError:
            pass
        return said


def test_long_and_slow_forms_are_given_up_with_a_page(live: Live, model: Model, queue: ReviewQueue) -> None:
    limits = Limits(body_bytes=2000, body_seconds=0.3)
    port = live(app=create_app(serving(), model, limits=limits, pages=PageOptions(reviews=queue)))
    long = said_to(port, HEAD + b"Content-Length: 99999999\r\n\r\n")
    assert long.startswith(b"HTTP/1.1 413 ") and b"<h1>Too long</h1>" in long
    slow = said_to(port, HEAD + b"Content-Length: 1000\r\n\r\n", *[b"a"] * 40, pause=0.02)
    assert slow.startswith(b"HTTP/1.1 408 ") and b"<h1>Too slow</h1>" in slow and b"connection: close" in slow.lower()
    for said in (long, slow):
        assert re.search(rb"content-security-policy: default-src 'none'", said, re.IGNORECASE)
    well = said_to(port, b"GET /reviews HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert well.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", "", "style.css/x"])
def test_there_is_one_static_file(visit: Visit, path: str) -> None:
    assert visit().get(f"/static/{path}").status_code == 404


def test_a_host_name_of_someone_elses_page_is_refused_as_a_page(visit: Visit) -> None:
    reply = visit(hosts={"testserver"}).client.get("/reviews", headers={"host": "evil.example"})
    assert reply.status_code == 421 and is_inert(reply.text)


def test_no_name_or_question_stands_in_the_log(visit: Visit, caplog: Any) -> None:
    caplog.set_level("INFO", "polymode.web")
    visitor = visit()
    visitor.sign_in("secret name")
    visitor.post("/", {"question": "secret question"})
    visitor.get("/reviews/77?secret=secret")
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("GET /reviews 404 ") for line in said) and any("POST / 200" in line for line in said)
    assert not any("secret" in line for line in said)
