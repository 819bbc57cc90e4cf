"""Behind a proxy that shows the server under a path: no link, form, redirect or cookie leads out of it."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.pages.site import open_pages
from polymode.web.reviews import ReviewQueue

from ..conftest import SURE, Model, Start
from ..run_folders import write_run

BASE = "/answers"
UNSURE = SURE.replace("0.85", "0.30").replace("0.40", "0.10")
App = Callable[[Any, Any, Any], Any]


def proxy(server: App, *, takes_off: bool) -> App:
    """A reverse proxy that shows ``server`` under BASE alone; nothing else of its host is the server's."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            inside = scope["path"].removeprefix(BASE)
            if inside == scope["path"] or inside[:1] not in ("", "/"):
                await send({"type": "http.response.start", "status": 418, "headers": []})
                await send({"type": "http.response.body", "body": b"not the server's"})
                return
            scope = {**scope, "path": inside or "/"} if takes_off else scope
        await server(scope, receive, send)

    return app


@pytest.mark.parametrize("takes_off", [True, False])
def test_a_visitor_never_leaves_the_base_path(
    start: Start, model: Model, queue: ReviewQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes_off: bool
) -> None:
    monkeypatch.setattr("polymode.report.page.build_figures", lambda arms, reference: [])  # takes seconds to draw
    write_run(tmp_path / "runs" / "one")
    model.scripted = Model(UNSURE).scripted
    server = start(
        pages=open_pages(queue, runs=tmp_path / "runs"),
        escalations=queue,
        base_path=BASE,
        keys=Keys({hash_of("right"): Caller("anna")}),
    )
    client = TestClient(proxy(server.app, takes_off=takes_off), base_url="http://desk.example")
    own = {"origin": "http://desk.example", "sec-fetch-site": "same-origin"}

    def token(page: str) -> str:
        return re.findall(r'name="csrf" value="([0-9a-f]{64})"', page)[-1]

    first = client.get(f"{BASE}/")  # leads to signing in
    assert first.status_code == 200 and first.url.path == f"{BASE}/sign-in"
    [cookie] = client.cookies.jar
    assert cookie.path == BASE
    fields = {"csrf": token(first.text), "key": "right", "next": "/"}
    page = client.post(f"{BASE}/sign-in", data=fields, headers=own)
    assert page.status_code == 200 and page.url.path == f"{BASE}/"
    asked = client.post(f"{BASE}/", data={"csrf": token(page.text), "question": "Fever?"}, headers=own)
    assert asked.status_code == 200 and asked.url.path.startswith(f"{BASE}/escalations/")

    reached, ahead = set(), [f"{BASE}/", asked.url.path, f"{BASE}/sign-in"]
    while ahead:
        path = ahead.pop()
        if path in reached:
            continue
        reached.add(path)
        page = client.get(path)
        while page.status_code == 202:  # a report that is being made
            page = client.get(path)
        assert page.status_code == 200, path
        if not page.headers["content-type"].startswith("text/html"):
            continue
        for place in re.findall(r'\s(?:href|src|action)="([^"]*)"', page.text):
            assert place.startswith((f"{BASE}/", "#", "data:")), (path, place)
        links = re.findall(r'<(?:a|link|script)\b[^>]*?\s(?:href|src)="(/[^"#]*)', page.text)
        ahead += [html.unescape(link) for link in links if len(reached) < 60]
    parts = {path.removeprefix(BASE).split("/")[1].partition("?")[0] for path in reached}
    assert {"", "reviews", "runs", "compare", "escalations", "static", "sign-in"} <= parts


@pytest.mark.parametrize("takes_off", [True, False])
def test_the_api_is_there_too(start: Start, takes_off: bool) -> None:
    server = start(base_path=BASE)
    client = TestClient(proxy(server.app, takes_off=takes_off), base_url="http://desk.example")
    assert client.get(f"{BASE}/health").json() == {"status": "ok"}
    assert client.get(f"{BASE}/openapi.json").json()["servers"] == [{"url": BASE}]
    assert client.post(f"{BASE}/v1/answer-sets", json={"question": "q"}).json()["decision"] == "answer"
    assert client.get(f"{BASE}/v1/none").json()["error"]["type"] == "not_found_error"
    moved = client.get(f"{BASE}/health/", follow_redirects=False)
    assert moved.headers["location"] == f"{BASE}/health"
    assert client.get("/answersx/health").status_code == 418
    assert server.get("/health").status_code == 200  # without the proxy, for a supervisor on this machine


def test_without_a_base_path_nothing_is_in_front(start: Start) -> None:
    client = start(pages=open_pages())
    assert 'href="/static/style.css"' in client.get("/").text
    assert client.get("/health/", follow_redirects=False).headers["location"] == "/health"
