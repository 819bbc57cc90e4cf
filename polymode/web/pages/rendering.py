"""Templates to responses, addresses, and lists in parts (layer L6; the only place of the server that imports Jinja2).

All inserted values are escaped, and control characters replaced. A name that a template does not get is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response

from polymode.report.words import row_of, step_row_of, words_of
from polymode.web.keys import NOBODY, Caller
from polymode.web.pages.sessions import base_path_of, new_token
from polymode.web.problems import Problem

if TYPE_CHECKING:
    from polymode.web.pages.site import Site

T = TypeVar("T")
_HERE = Path(__file__).parent
SCRIPT = "/static/desk.js"
_ADDRESS = re.compile(r' (?:href|action|formaction|src)="(?=/(?!/))')
"""Where an address of this server begins in a page. Templates write it from the root, and the base path is put in front
of all of them at once, so that no page can forget it. Inserted texts have no quotation marks that are not escaped."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def pages_of(request: Request) -> Site:
    """What the pages of the request's server share."""
    return request.app.state.pages


def caller_of(request: HTTPConnection) -> Caller:
    """Who sends the request; nobody where it was refused before that was known."""
    return request.scope.get("state", {}).get("caller", NOBODY)


def render(request: Request, name: str, /, *, status: int = 200, **context: Any) -> Response:
    """The page that the template ``name`` makes of ``context``.

    Templates also get ``navigation``, ``here`` (the path), ``session`` (None when nobody signed in), ``needs_key``,
    ``csrf_field()``, which every form contains, and the macros of parts.html.
    """
    sessions = pages_of(request).sessions
    token = sessions.token(request)
    cookies: list[str] = []  # a page without a form gives none

    def csrf_field() -> Markup:
        if token is None and not cookies:
            cookies.append(new_token())
        return Markup('<input type="hidden" name="csrf" value="{}">').format(sessions.form_token(token or cookies[0]))

    template = _templates().get_template(name)
    shared = {
        "navigation": pages_of(request).navigation_for(caller_of(request)),
        "here": request.scope["path"],
        "session": sessions.of(request),
        "needs_key": sessions.needs_key,
        "csrf_field": csrf_field,
    }
    response = HTMLResponse(below_base_path(request, template.render(shared, **context)), status)
    for cookie in cookies:
        sessions.give_cookie(response, request, cookie)
    return response


def below_base_path(request: Request, page: str) -> str:
    """A page whose addresses begin with the path under which a proxy shows the server."""
    base_path = base_path_of(request)
    return _ADDRESS.sub(rf"\g<0>{base_path}", page) if base_path else page


@lru_cache(maxsize=1)
def script() -> str:
    """The one script: shortcuts, drafts, progress and counts. Every page works without it."""
    return (_HERE / "static" / "desk.js").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def style_sheet() -> str:
    """The one style sheet, from its parts."""
    return "".join((_HERE / "static" / name).read_text(encoding="utf-8") for name in ("style.css", "runs.css"))


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True,
        finalize=_clean,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
    )
    environment.filters |= {"number": number, "minute": minute, "thousands": "{:,.0f}".format, "duration": duration}
    environment.globals |= {
        "run_url": run_url,
        "compare_url": compare_url,
        "row_of": row_of,
        "words_of": words_of,
        "step_row_of": step_row_of,
    }
    macros = vars(environment.get_template("parts.html").module)
    environment.globals |= {name: macro for name, macro in macros.items() if not name.startswith("_")}
    return environment


def number(value: float | None, digits: int = 2) -> str:
    """A number with this many decimals; a dash for what is undefined."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(value, digits) + 0.0:,.{digits}f}"  # + 0.0 makes a zero of a negative one


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them: 12 s, 5 min, 3 h, 2 days."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def minute(at: datetime) -> Markup:
    """A time in UTC, to the minute."""
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(at.isoformat(), f"{at:%Y-%m-%d %H:%M}")


def _clean(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value)
    return value


def run_url(name: str, **query: object) -> str:
    """Address of a run's page; empty values are left out."""
    return _url("/runs/" + quote(name), query)


def runs_url(**query: object) -> str:
    """Address of the list of runs; empty values are left out."""
    return _url("/runs", query)


def compare_url(names: Sequence[str], **query: object) -> str:
    """Address of a comparison of runs; empty values are left out."""
    return _url("/compare", {"run": list(names), **query})


def _url(path: str, query: Mapping[str, object]) -> str:
    fields = {key: value for key, value in query.items() if value not in (None, "", [], ())}
    return f"{path}?{urlencode(fields, doseq=True, errors='replace')}" if fields else path


def number_in(text: str) -> int | None:
    """A text of one to nine digits as a number; None for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None


def whole_number(request: Request, name: str, default: int, *, low: int = 1) -> int:
    """A whole number from the address; raises Problem."""
    text = request.query_params.get(name) or str(default)
    number = number_in(text)
    if number is None or number < low:
        raise Problem(422, "a number is not allowed", field=name, value=text, allowed=f"from {low}", fix="change it")
    return number


def list_name(request: Request, lists: Mapping[str, object], default: str) -> str:
    """Which of several lists the address names in ``show``; raises Problem."""
    show = request.query_params.get("show", default)
    if show not in lists:
        raise Problem(422, "no such list", field="show", value=show, allowed=", ".join(lists), fix="choose one")
    return show


@dataclass(frozen=True, slots=True)
class ListPart(Generic[T]):
    """The part of a list that is on one page."""

    items: Sequence[T]
    first: int
    """Number of its first item, from 1."""
    total: int
    """Items of the whole list."""
    page: int
    n_pages: int


def list_part(request: Request, items: Sequence[T], per_page: int) -> ListPart[T]:
    """The part that the address asks for by ``page``; a number beyond the end gives the last part. Raises Problem."""
    n_pages = max(-(-len(items) // per_page), 1)
    page = min(whole_number(request, "page", 1), n_pages)
    start = (page - 1) * per_page
    return ListPart(items[start : start + per_page], start + 1, len(items), page, n_pages)
