"""The table of pages, who may see them, and the page of a problem (layer L6).

A page is one module with its template beside, and one line of PAGES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from polymode.errors import ConfigError, PolymodeError
from polymode.relabel import DataFields, Desk
from polymode.web.answer_service import AnswerService
from polymode.web.browsing.run_folders import RunFolders
from polymode.web.gate import out_of_scope
from polymode.web.keys import NOBODY, Caller, Keys
from polymode.web.live.monitor import LiveMonitor
from polymode.web.pages.ask_page import ask_page
from polymode.web.pages.compare_page import compare_page
from polymode.web.pages.escalation_page import escalation_page
from polymode.web.pages.forms import SIGN_IN, StaleFormError, give_back, sign_in_page, typed_fields
from polymode.web.pages.live_page import live_page
from polymode.web.pages.relabel_page import relabel_page
from polymode.web.pages.rendering import SCRIPT, caller_of, render, script, style_sheet
from polymode.web.pages.review_list import review_list
from polymode.web.pages.run_pages import run_pages
from polymode.web.pages.run_reader import NotReadyError, RunReader
from polymode.web.pages.sessions import Sessions
from polymode.web.problems import Problem, problem_of_error
from polymode.web.reviews.queue import ReviewQueue

OPEN_PATHS = (SIGN_IN, "/static/style.css", SCRIPT)
"""Pages for everybody, also where the server has keys."""
DATA_FIELDS = ("question", "references", "id", "strings", "equality")
"""What may be named in ``data_fields``."""


@dataclass(frozen=True, slots=True)
class PageOptions:
    """The parts of the pages; a part that is None has no page."""

    reviews: ReviewQueue | None = None
    """The review queue."""
    runs: RunFolders | None = None
    """The folder of runs to browse and compare."""
    proposals: Desk | None = None
    """Proposed references to decide on."""
    public_url: str = ""
    """Address by which browsers reach the server, where a proxy stands in front."""


def open_pages(
    reviews: ReviewQueue | None = None,
    *,
    runs: Path | None = None,
    proposals: Path | None = None,
    data: Path | None = None,
    relabelled: Path | None = None,
    data_fields: Mapping[str, object] | None = None,
    public_url: str = "",
) -> PageOptions:
    """The parts of the pages, from the paths that `polymode serve` takes.

    Args:
        reviews: the review queue.
        runs: folder of runs.
        proposals: proposals file.
        data: the records that the proposals were made for.
        relabelled: the new version of the records.
        data_fields: names of the fields in the records, and which answers are equal.
        public_url: address by which browsers reach the server.

    Raises:
        ConfigError: a flag is missing or not allowed.
        DataNotFoundError, RecordError: a folder or file cannot be used.
    """
    for name, value in (data_fields or {}).items():
        if name not in DATA_FIELDS or not isinstance(value, str):
            raise ConfigError(f"--data-fields {name}={value} is not known: use {', '.join(DATA_FIELDS)} with a text")
    desk = None
    if proposals is not None:
        if data is None:
            raise ConfigError("--data FILE is missing: name the records that the proposals were made for")
        fields: dict[str, Any] = {"equality": "text", **(data_fields or {})}
        equality = fields.pop("equality")
        desk = Desk(proposals, data, relabelled, named=DataFields(**fields), equality=equality)
    elif relabelled or data_fields:
        flag = "relabelled" if relabelled else "data-fields"
        raise ConfigError(f"--{flag} is given without --proposals: name the proposals file, or leave it out")
    return PageOptions(reviews, None if runs is None else RunFolders(runs), desk, public_url)


class Page(NamedTuple):
    """One page, or several whose paths begin with the same name."""

    name: str
    """First part of its paths; empty for the start page."""
    label: str
    """In the navigation; empty for none."""
    routes: Callable[..., APIRouter]
    """Makes its routes."""
    needs: str = ""
    """What ``routes`` gets: the answer service, or a part of `PageOptions`; without it there is no page."""
    scope: str = ""
    """Scope that a visitor's key needs; empty for none."""


PAGES = (
    Page("", "Ask", ask_page, "answer_service", "ask"),
    Page("reviews", "Reviews", review_list, "reviews", "review"),
    Page("live", "Live", live_page, "monitor", "operate"),
    Page("escalations", "", escalation_page, "reviews", "ask"),
    Page("runs", "Runs", run_pages, "runs", "operate"),
    Page("compare", "Compare", compare_page, "runs", "operate"),
    Page("relabel", "Relabel", relabel_page, "proposals", "review"),
    Page("sign-in", "", sign_in_page),
    Page("resend", "", APIRouter),  # beside signing in
    Page("sign-out", "", APIRouter),  # beside signing in
    Page("static", "", APIRouter),  # the style sheet, see `add_pages`
)
"""Every page, in the order of the navigation."""


class Site:
    """What the gate and every page know of the pages."""

    def __init__(self, keys: Keys, public_url: str = "") -> None:
        self.sessions = Sessions(keys, public_url=public_url)
        self.pages: tuple[Page, ...] = ()
        """Those that this server has."""
        self._scopes = {page.name: page.scope for page in PAGES}

    def owns(self, path: str) -> bool:
        """Whether a path is a page's: its visitors sign in instead of sending a key."""
        return path.startswith("/") and path[1:].partition("/")[0] in self._scopes and path != "//"

    def has(self, name: str) -> bool:
        """Whether this server has a page."""
        return any(page.name == name for page in self.pages)

    def navigation_for(self, caller: Caller) -> tuple[tuple[str, str], ...]:
        """Address and label of the pages that a visitor may see."""
        may_see = {"", *caller.scopes}
        return tuple((f"/{page.name}", page.label) for page in self.pages if page.label and page.scope in may_see)

    def caller(self, scope: Scope) -> Caller:
        """The visitor of a page, where the server has keys; raises Problem when their key does not allow it."""
        caller = self.sessions.caller(HTTPConnection(scope))
        if scope["path"] in OPEN_PATHS:
            return caller or NOBODY
        if caller is None:
            raise Problem(401, "nobody is signed in", fix="sign in, and send it again; nothing was changed")
        scope["state"]["caller"] = caller
        needed = self._scopes[scope["path"][1:].partition("/")[0]]
        if needed and needed not in caller.scopes:
            raise out_of_scope(needed)
        return caller

    def problem(self, problem: Problem, scope: Scope) -> Response:
        """The page that says why a request is not answered; a visitor who must sign in first is sent there."""
        request = Request(scope)
        if problem.status == 401 and request.method == "GET":
            query = scope["query_string"].decode("latin-1")
            target = scope["path"] + (f"?{query}" if query else "")
            return RedirectResponse(f"{SIGN_IN}?{urlencode({'next': target})}", 303)
        if problem.status == 403 and request.method == "GET" and scope["path"] == "/":
            others = self.navigation_for(caller_of(request))
            if others:  # signing in leads to the start page, which is for those who ask
                return RedirectResponse(others[0][0], 303)
        if request.method == "POST" and (problem.status == 401 or isinstance(problem, StaleFormError)):
            fields = typed_fields(request)
            response = give_back(request, problem, fields) if fields else None
            if response is not None:
                return response
        body = problem.body(request.state.request_id)
        form = request.scope.get("state", {}).get("form")
        resend = form.fields if form is not None and problem.status in (429, 503, 504) else ()
        response = render(
            request, "problem.html", status=problem.status, problem=body, method=request.method, resend=resend
        )
        response.headers.update(problem.headers)
        return response


def add_pages(
    app: FastAPI,
    answer_service: AnswerService | None,
    options: PageOptions,
    keys: Keys,
    monitor: LiveMonitor | None = None,
) -> Site:
    """Add the pages to an application.

    Args:
        app: the application; it must answer `Problem` with `Site.problem` where the site owns the path.
        answer_service: what asks the model, the same as the API's; None without a model.
        options: what there are pages of.
        keys: of those who may sign in.
        monitor: of the answers in service; None where they are not stored.
    """
    site = Site(keys, options.public_url)
    app.state.pages = site
    parts = {
        "answer_service": answer_service,
        "reviews": options.reviews,
        "monitor": monitor,
        "runs": None if options.runs is None else RunReader(options.runs),
        "proposals": options.proposals,
    }
    for page in PAGES:
        arguments = [parts[page.needs]] if page.needs else []
        if None in arguments:
            continue
        app.include_router(page.routes(*arguments), include_in_schema=False)
        site.pages += (page,)
    if answer_service is None:

        @app.get("/", include_in_schema=False)
        async def start(request: Request) -> Response:
            return RedirectResponse(site.navigation_for(caller_of(request))[0][0], 307)

    @app.get("/static/style.css", include_in_schema=False)
    async def style() -> Response:
        return Response(style_sheet(), media_type="text/css")

    @app.get(SCRIPT, include_in_schema=False)
    async def own_script() -> Response:
        return Response(script(), media_type="text/javascript")

    async def on_error(request: Request, exc: Any) -> Response:
        if not site.owns(request.url.path):
            raise exc
        return site.problem(problem_of_error(exc), request.scope)

    async def on_not_ready(request: Request, exc: Any) -> Response:
        """The page that reloads until what it shows is ready."""
        what = request.path_params.get("name") or ", ".join(request.query_params.getlist("run"))
        response = render(request, "prepared.html", status=202, what=what)
        response.headers["Refresh"] = "2"
        return response

    app.add_exception_handler(PolymodeError, on_error)
    app.add_exception_handler(OSError, on_error)
    app.add_exception_handler(NotReadyError, on_not_ready)
    return site
