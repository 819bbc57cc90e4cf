"""The table of pages: a new page is one module and one line; what it needs decides whether it is there."""

import pytest
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from polymode.web.keys import Caller, Keys, hash_of
from polymode.web.pages import site
from polymode.web.pages.rendering import render
from polymode.web.pages.site import PageOptions
from polymode.web.reviews import ReviewQueue

from .conftest import Visit, shown_text


def queue_page(queue: ReviewQueue) -> APIRouter:
    """A page of its own: how many items are open."""
    router = APIRouter()

    @router.get("/queue")
    async def show(request: Request) -> Response:
        return render(request, "prepared.html", what=f"{queue.counts().open} open")

    return router


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "PAGES", (*site.PAGES, site.Page("queue", "Queue", queue_page, "reviews")))


@pytest.mark.usefixtures("one_more")
def test_a_page_is_one_line_of_the_table(visit: Visit, queue: ReviewQueue) -> None:
    visitor = visit(PageOptions(reviews=queue))
    assert "0 open" in shown_text(visitor.get("/queue").text)
    assert '<a href="/queue" aria-current="page">Queue</a>' in visitor.get("/queue").text
    assert '<a href="/queue">Queue</a>' in visitor.get("/").text


@pytest.mark.usefixtures("one_more")
def test_without_what_it_needs_there_is_no_page(visit: Visit) -> None:
    visitor = visit()
    reply = visitor.get("/queue")
    assert reply.status_code == 404 and reply.headers["content-type"].startswith("text/html")
    assert "Queue" not in visitor.get("/").text


@pytest.mark.usefixtures("one_more")
def test_a_new_page_asks_for_the_key_like_all_others(visit: Visit, queue: ReviewQueue) -> None:
    visitor = visit(PageOptions(reviews=queue), keys=Keys({hash_of("right"): Caller("anna")}))
    assert visitor.get("/queue").headers["location"] == "/sign-in?next=%2Fqueue"


def test_names_are_different() -> None:
    names = [page.name for page in site.PAGES]
    assert len(set(names)) == len(names)
