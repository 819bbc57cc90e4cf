"""Signing in and out: with and without keys, where it leads, and what the cookie is."""

from pathlib import Path

import pytest

from polymode.web.gate import HEADERS
from polymode.web.keys import Caller, Keys, hash_of, new_key, read_keys
from polymode.web.pages import sessions
from polymode.web.pages.forms import own_path
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue

from .conftest import Visit, shown_text

KEYS = Keys({hash_of("right"): Caller("anna"), hash_of("shared"): Caller("team")})


def test_without_keys_a_name_is_enough(visit: Visit) -> None:
    visitor = visit()
    assert 'type="password"' not in visitor.get("/sign-in").text
    reply = visitor.sign_in(" ann ", next="/sign-in?a=1")
    assert (reply.status_code, reply.headers["location"]) == (303, "/sign-in?a=1")
    assert "Signed in: ann Sign out" in shown_text(visitor.get("/sign-in").text)
    assert visitor.post("/sign-out").status_code == 303
    assert "Signed in" not in visitor.get("/sign-in").text


@pytest.mark.parametrize("name", ["", "  ", "system", "x" * 201, "a\tb"])
def test_a_name_that_is_not_allowed_is_explained_and_kept_in_the_form(visit: Visit, name: str) -> None:
    visitor = visit()
    reply = visitor.sign_in(name)
    assert reply.status_code == 422
    assert "give a name of at most 200 characters" in shown_text(reply.text)
    assert "Signed in" not in visitor.get("/sign-in").text


@pytest.mark.parametrize(
    ("name", "key", "reviewer"),
    [
        ("", "right", "anna"),
        ("anna", " right ", "anna"),
        ("ben", "shared", "ben (team)"),
        ("anna", "shared", "anna (team)"),
    ],
)  # fmt: skip
def test_with_keys_nobody_acts_under_the_name_of_anothers_key(visit: Visit, name: str, key: str, reviewer: str) -> None:
    visitor = visit(keys=KEYS)
    assert visitor.sign_in(name, key=key).status_code == 303
    assert f"Signed in: {reviewer} Sign out" in shown_text(visitor.get("/sign-in").text)


@pytest.mark.parametrize("key", ["", "wrong", hash_of("right"), "right wrong"])
def test_a_wrong_key_is_refused(visit: Visit, key: str) -> None:
    visitor = visit(keys=KEYS)
    reply = visitor.sign_in("anna", key=key)
    assert reply.status_code == 403
    assert "the API key is not known" in shown_text(reply.text)
    assert key == "" or key not in reply.text
    assert visitor.get("/").status_code == 303


def test_with_keys_every_page_but_signing_in_asks_for_it_first(visit: Visit) -> None:
    visitor = visit(keys=KEYS)
    for path in ("/", "/reviews", "/reviews/1", "/runs/x", "/compare", "/relabel", "/static/other.css", "/static/../"):
        assert visitor.get(path).headers["location"].startswith("/sign-in?next="), path
    assert visitor.get("/reviews/1?page=2").headers["location"] == "/sign-in?next=%2Freviews%2F1%3Fpage%3D2"
    refused = visitor.post("/reviews/1")
    assert (refused.status_code, refused.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert visitor.get("/static/style.css").status_code == visitor.get("/sign-in").status_code == 200
    assert visitor.client.get("/", headers={"authorization": "Bearer right"}).status_code == 303
    visitor.sign_in("", key="right")
    assert visitor.get("/").status_code != 303
    assert visitor.get("/metrics").status_code == 401  # the API still asks for the key itself


def test_the_cookie_is_out_of_reach_and_changes_when_somebody_signs_in(visit: Visit) -> None:
    visitor = visit()
    first = visitor.get("/sign-in").headers["set-cookie"]
    assert first.endswith("; HttpOnly; Path=/; SameSite=strict") and first.startswith("polymode=")
    second = visitor.sign_in("ann").headers["set-cookie"]
    assert second.split(";")[0] != first.split(";")[0] and "HttpOnly" in second
    assert "set-cookie" not in visitor.get("/sign-in").headers
    other = visit()
    planted = "polymode=" + "a" * 43
    reply = other.client.get("/sign-in", headers={"cookie": planted})
    assert "set-cookie" not in reply.headers and "Signed in" not in reply.text


def test_a_public_address_with_tls_keeps_the_cookie_within_it(visit: Visit) -> None:
    for url, is_secure in (("https://answers.example", True), ("http://answers.example", False), ("", False)):
        visitor = visit(PageOptions(public_url=url))
        first = visitor.get("/sign-in").headers["set-cookie"]
        token = first.partition("=")[2].partition(";")[0]
        assert ("; Secure" in first) == is_secure
        sent = {"csrf": visitor.client.app.state.pages.sessions.form_token(token), "name": "a"}  # type: ignore[attr-defined]
        headers = {"origin": "https://answers.example", "cookie": f"polymode={token}", "sec-fetch-site": "same-origin"}
        reply = visitor.client.post("/sign-in", data=sent, headers=headers)
        assert (reply.status_code, "; Secure" in reply.headers.get("set-cookie", "")) == (
            (303, True) if url else (403, False)
        )


def test_a_session_may_do_what_its_key_may(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    keys = {scope: new_key(path, f"{scope}-key", [scope]) for scope in ("ask", "review", "operate")}
    with ReviewQueue(tmp_path / "reviews.db") as queue:
        visitor = visit(PageOptions(reviews=queue), keys=read_keys(path), escalations=queue)
        visitor.sign_in("", key=keys["ask"])
        page = visitor.get("/")
        assert page.status_code == 200 and 'href="/reviews"' not in page.text
        assert visitor.get("/reviews").status_code == visitor.get("/reviews/1").status_code == 403
        assert "a key with the scope review" in shown_text(visitor.get("/reviews").text)
        answered = visitor.post("/", {"question": "q", "risk": "normal"}, form_at="/").text
        assert "panic attack" in answered and "migraine" not in answered and "Model output" not in answered
        visitor.sign_in("", key=keys["review"])
        assert visitor.get("/").headers["location"] == "/reviews"  # what they may do
        assert visitor.get("/reviews").status_code == 200
        assert visitor.post("/", {"question": "q"}, form_at="/reviews").status_code == 403
        path.write_text("\n".join(line for line in path.read_text().splitlines() if "review-key" not in line))
        assert visitor.get("/reviews").headers["location"].startswith("/sign-in")


def test_behind_tls_the_cookie_never_leaves_it(visit: Visit) -> None:
    visitor = visit()
    token = visitor.token()
    reply = visitor.client.post("/sign-in", data={"csrf": token, "name": "a"}, headers={"origin": "https://testserver"})
    assert "; Secure" in reply.headers["set-cookie"]


def test_servers_on_two_ports_do_not_share_a_cookie(visit: Visit) -> None:
    client = visit().client
    for host, name in (("localhost:8000", "polymode-8000"), ("localhost", "polymode"), ("[::1]", "polymode"),
                       ("localhost:x;y", "polymode")):  # fmt: skip
        assert client.get("/sign-in", headers={"host": host}).headers["set-cookie"].startswith(name + "=")
        client.cookies.clear()


def test_a_session_ends_by_itself(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = visit()
    monkeypatch.setattr(sessions, "SESSION_SECONDS", 0.0)
    visitor.sign_in("ann")
    assert "Signed in" not in visitor.get("/sign-in").text


def test_sessions_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    held = sessions.Sessions(Keys())
    for number in range(10):
        held.sign_in(f"ann {number}", "")
    assert [session.reviewer for session in held._sessions.values()] == ["ann 7", "ann 8", "ann 9"]


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\/evil.example", "", "evil", "javascript:alert(1)",
     "/a\nb", "/\t/evil.example", " //evil.example", "/%0d%0aX: y\r\nX: y", "/" + "a" * 2000, "/\u2028"],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(visit: Visit, wanted: str) -> None:
    assert own_path(wanted) == "/"
    visitor = visit()
    assert visitor.sign_in("ann", next=wanted).headers["location"] == "/"


def test_every_reply_forbids_foreign_scripts_frames_and_guessing(visit: Visit) -> None:
    visitor = visit()
    replies = [visitor.get(path) for path in ("/", "/sign-in", "/reviews/9", "/static/style.css", "/health", "/none")]
    replies += [visitor.client.post("/sign-in"), visitor.sign_in("ann")]
    for reply in replies:
        for name, value in HEADERS.items():
            assert reply.headers[name] == value, (reply.url, name)
        assert "script-src 'self';" in reply.headers["content-security-policy"]  # one file, and nothing written inline
        assert "unsafe" not in reply.headers["content-security-policy"]
