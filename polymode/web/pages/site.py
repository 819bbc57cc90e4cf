"""The pages put together: which there are, who may see them, and what is read when something fails (layer L4)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from polymode.errors import (
    DataNotFoundError,
    PolymodeError,
    ReviewConflictError,
    ReviewStoreError,
    UserError,
    WriteError,
)
from polymode.web.answering import Answering
from polymode.web.keys import Keys
from polymode.web.pages.asking import ask_pages
from polymode.web.pages.compare import compare_pages
from polymode.web.pages.reading import Reader
from polymode.web.pages.relabel import relabel_pages
from polymode.web.pages.rendering import render, style_sheet
from polymode.web.pages.reviewing import review_pages
from polymode.web.pages.runs import runs_pages
from polymode.web.pages.sessions import Sessions
from polymode.web.pages.signing import SIGN_IN, signing_pages
from polymode.web.problems import Problem
from polymode.web.shown import Shown

OPEN_PATHS = (SIGN_IN, "/static/style.css")
"""Pages for everybody, also where the server has keys."""
_NAMES = ("", "sign-in", "sign-out", "static", "reviews", "runs", "compare", "relabel")
"""First parts of the pages' paths; nothing else is answered with a page."""


class Site:
    """What the gate and every page know of the pages."""

    def __init__(self, keys: Keys) -> None:
        self.sessions = Sessions(keys)
        self.navigation: tuple[tuple[str, str], ...] = ()

    def owns(self, path: str) -> bool:
        """Whether a path is a page's."""
        return path.startswith("/") and path[1:].partition("/")[0] in _NAMES and path != "//"

    def admits(self, scope: Scope) -> bool:
        """Whether the request may see the page: where there are keys, only who signed in with one."""
        if not self.sessions.needs_key or scope["path"] in OPEN_PATHS:
            return True
        return self.sessions.of(HTTPConnection(scope)) is not None

    def problem(self, problem: Problem, scope: Scope) -> Response:
        """The page that says why a request is not answered; who must sign in first is led there."""
        request = Request(scope)
        if problem.status == 401 and request.method == "GET":
            query = scope["query_string"].decode("latin-1")
            wanted = scope["path"] + (f"?{query}" if query else "")
            return RedirectResponse(f"{SIGN_IN}?{urlencode({'next': wanted})}", 303)
        body = problem.body(request.state.request_id)
        form = request.scope.get("state", {}).get("form")
        resend = form.fields if form is not None and problem.status in (429, 503, 504) else ()
        response = render(
            request, "problem.html", status=problem.status, problem=body, method=request.method, resend=resend
        )
        response.headers.update(problem.headers)
        return response


def add_pages(app: FastAPI, answering: Answering | None, shown: Shown, *, keys: Keys) -> Site:
    """Add the pages to an application.

    Args:
        app: the application; it must answer `Problem` with `Site.problem` where the site owns the path.
        answering: what asks the model, the same as the API's; None without a model.
        shown: what there are pages of.
        keys: who may sign in.
    """
    site = Site(keys)
    app.state.pages = site
    routers: list[tuple[APIRouter, tuple[tuple[str, str], ...]]] = [
        (_style(), ()),
        (signing_pages(), ()),
    ]
    if answering is not None:
        routers.append((ask_pages(answering, has_reviews=shown.reviews is not None), (("/", "Ask"),)))
    if shown.reviews is not None:
        routers.append((review_pages(shown.reviews), (("/reviews", "Reviews"),)))
    if shown.looking is not None:
        reader = Reader(shown.looking)
        routers.append((runs_pages(reader), (("/runs", "Runs"),)))
        routers.append((compare_pages(reader), (("/compare", "Compare"),)))
    if shown.relabelling is not None:
        routers.append((relabel_pages(shown.relabelling), (("/relabel", "Relabel"),)))
    for router, links in routers:
        app.include_router(router, include_in_schema=False)
        site.navigation += links

    if answering is None:

        @app.get("/", include_in_schema=False)
        async def start() -> Response:
            return RedirectResponse(site.navigation[0][0], 307)

    async def on_error(request: Request, exc: Any) -> Response:
        return site.problem(problem_of_error(exc), request.scope)

    app.add_exception_handler(PolymodeError, on_error)
    return site


def problem_of_error(error: PolymodeError) -> Problem:
    """What a person reads of one of the package's errors."""
    said = str(error)
    if isinstance(error, ReviewStoreError):
        return Problem(503, said, fix="send it again in a moment; nothing was saved", headers={"Retry-After": "2"})
    if isinstance(error, WriteError):
        return Problem(503, said, fix="free space, or repair the file, then send it again; nothing was written")
    if isinstance(error, ReviewConflictError):
        return Problem(409, said, fix="go back to the list")
    if isinstance(error, DataNotFoundError):
        return Problem(404, said, fix="go back to the list")
    if isinstance(error, UserError):
        return Problem(422, said, fix="go back, change it, and send it again; nothing was written")
    return Problem(500, said, fix="tell the operator of the server; its log says more")


def _style() -> APIRouter:
    router = APIRouter()

    @router.get("/static/style.css")
    async def style() -> Response:
        return Response(style_sheet(), media_type="text/css")

    return router
