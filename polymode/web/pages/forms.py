"""Posted forms, and who posts them: their fields, signing in and out (layer L6).

A form is read once it is certain that it was one of this server. Three things must agree: the cookie, which other sites
cannot make a browser send; the token in the form, which they cannot read; and the origin of the form that the browser
states.
"""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from polymode.errors import UserError
from polymode.web.pages.rendering import pages_of, render
from polymode.web.pages.sessions import Fields
from polymode.web.problems import Problem

TOKEN_FIELD = "csrf"
MAX_FIELDS = 1000
"""Most fields of a form; the gate bounds the bytes and the seconds."""
FORM_TYPE = "application/x-www-form-urlencoded"
SIGN_IN = "/sign-in"
MAX_NEXT = 2000
RESEND = "/resend"
"""The page that offers to send again what was posted to an address without a page of its own."""


@dataclass(frozen=True, slots=True)
class Form:
    """Fields in the order of the form, without the token; lines end with one character."""

    fields: tuple[tuple[str, str], ...]

    def get(self, name: str, default: str = "") -> str:
        """The first value of a field."""
        return next((value for field, value in self.fields if field == name), default)


async def read_form(request: Request) -> Form:
    """The fields that were posted.

    Raises:
        Problem: it is not a form that this server gave to this browser (403), or no form at all (400).
    """
    _check_origin(request)
    pairs = _pairs(request, await request.body())
    form = Form(tuple((name, value) for name, value in pairs if name != TOKEN_FIELD))
    request.state.form = form  # so that a page can give back what was typed
    sessions = pages_of(request).sessions
    token = sessions.token(request)
    tokens = [value for name, value in pairs if name == TOKEN_FIELD]
    if token is None or len(tokens) != 1 or not _is_equal(tokens[0], sessions.form_token(token)):
        raise StaleFormError
    sessions.forget_typed(request)
    return form


class StaleFormError(Problem):
    """A form of before a restart or before signing in, or a forged one."""

    def __init__(self) -> None:
        super().__init__(
            403,
            "the form is not one that this server gave to this browser",
            fix="open the page again and send the form again; nothing was changed. A form is also refused after a "
            "restart of the server, after signing in or out in between, and when cookies are disabled",
        )


def _pairs(request: Request, body: bytes) -> Fields:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise Problem(400, "not a form", field="Content-Type", allowed=FORM_TYPE, fix="send the form of the page")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        allowed, fix = f"{MAX_FIELDS} fields", "send the form of the page"
        raise Problem(400, "the form cannot be read", field="body", allowed=allowed, fix=fix) from None
    return tuple((name, value.replace("\r\n", "\n")) for name, value in pairs)


def typed_fields(request: Request) -> Fields:
    """What a refused form held, if the browser states that it was a page of this server; else nothing.

    Fields of a form from elsewhere must not come back in a form with a valid token.
    """
    state, headers = request.scope.get("state", {}), request.headers
    is_own = headers.get("sec-fetch-site") == "same-origin" or headers.get("origin", "null") != "null"
    try:
        _check_origin(request)
        fields = state["form"].fields if "form" in state else _pairs(request, state.get("form_body", b""))
    except Problem:
        return ()
    return tuple((name, value) for name, value in fields if name != TOKEN_FIELD and value) if is_own else ()


def give_back(request: Request, problem: Problem, fields: Fields) -> Response | None:
    """Back to the form with what was typed in it, after signing in where that is needed; None when it cannot be kept.

    Nothing of it has been done: the person sends it again.
    """
    sessions, path = pages_of(request).sessions, request.url.path
    token = sessions.token(request)
    is_signed_in = sessions.of(request) is not None or (path == "/" and not sessions.needs_key)
    if problem.status == 401 or not is_signed_in:
        error = "" if path == SIGN_IN else "Your session has ended. What you typed comes back once you have signed in."
        return _form(request, path, error=error, status=problem.status, typed=fields)
    if token is None:
        return None
    sessions.keep_typed(token, path, fields)
    return RedirectResponse(_page_of(path), 303)


def _page_of(path: str) -> str:
    """The page whose form shows what was posted to ``path``."""
    return path if path == "/" or re.fullmatch(r"/reviews/[0-9]+", path) else RESEND


def _check_origin(request: Request) -> None:
    """Refuse forms that come from elsewhere, according to the browser.

    A browser that hides where its forms come from says ``null``; then the cookie and the token decide.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "null").lower()
    own_hosts = {request.headers.get("host", "").lower(), pages_of(request).sessions.public_host}
    is_own = origin == "null" or origin.partition("://")[2] in own_hosts
    if site not in ("same-origin", "none") or not is_own:
        title, allowed = "the form was sent from another site", "a page of this server"
        fix = "open the page at this server's address and send its form; nothing was changed"
        raise Problem(403, title, field="Origin", value=origin, allowed=allowed, fix=fix)


def _is_equal(sent: str, expected: str) -> bool:
    return hmac.compare_digest(sent.encode("utf-8", "surrogatepass"), expected.encode())


def sign_in_page() -> APIRouter:
    """Routes for signing in and out."""
    router = APIRouter()

    @router.get(RESEND)
    async def resend(request: Request) -> Response:
        path, fields = pages_of(request).sessions.typed(request)
        return render(request, "resend.html", path=path, fields=fields)

    @router.get(SIGN_IN)
    async def show(request: Request) -> Response:
        return _form(request, request.query_params.get("next", "/"))

    @router.post(SIGN_IN)
    async def sign_in(request: Request) -> Response:
        form, sessions = await read_form(request), pages_of(request).sessions
        typed, target = _typed_in(form), own_path(form.get("next"))
        try:
            token = sessions.sign_in(form.get("name"), form.get("key"))
        except (Problem, UserError) as exc:
            error = exc.line() if isinstance(exc, Problem) else str(exc)
            status = exc.status if isinstance(exc, Problem) else 422
            return _form(request, target, name=form.get("name"), error=error, status=status, typed=typed)
        sessions.sign_out(request)
        if typed:
            sessions.keep_typed(token, target, typed)
        response = RedirectResponse(_page_of(target) if typed else target, 303)
        sessions.give_cookie(response, request, token)
        return response

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        await read_form(request)
        pages_of(request).sessions.sign_out(request)
        return RedirectResponse("/", 303)

    return router


def own_path(target: str) -> str:
    """``target`` if it is a path of this server, else the start page."""
    is_own = target.startswith("/") and not target.startswith(("//", "/\\")) and len(target) <= MAX_NEXT
    return target if is_own and target.isascii() and target.isprintable() and "\\" not in target else "/"


def reviewer_of(request: Request) -> str:
    """Name of the person who signed in; raises Problem when nobody did."""
    session = pages_of(request).sessions.of(request)
    if session is None:
        title = "nobody is signed in, and what is done here is recorded with a name"
        raise Problem(401, title, fix="sign in, then send it again; nothing was changed")
    return session.reviewer


def _form(
    request: Request, target: str, *, name: str = "", error: str = "", status: int = 200, typed: Fields = ()
) -> Response:
    if target == SIGN_IN:  # the form of signing in itself was too old
        old = Form(typed)
        target, name, typed = own_path(old.get("next")), old.get("name"), _typed_in(old)
        error = "The page was too old. Please sign in again."
    text = json.dumps(typed) if typed else ""
    return render(request, "sign_in.html", status=status, next=own_path(target), name=name, error=error, typed=text)


def _typed_in(form: Form) -> Fields:
    """The form that somebody had posted before they had to sign in."""
    try:
        pairs = json.loads(form.get("typed") or "[]")
        return tuple((str(name), str(value)) for name, value in pairs)
    except (ValueError, TypeError):
        return ()
