"""Signing in and out (layer L4)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from polymode.errors import UserError
from polymode.web.pages.forms import read_form
from polymode.web.pages.rendering import pages_of, render
from polymode.web.pages.sessions import give_cookie
from polymode.web.problems import Problem

SIGN_IN = "/sign-in"
MAX_NEXT = 2000


def signing_pages() -> APIRouter:
    """Routes for signing in and out."""
    router = APIRouter()

    @router.get(SIGN_IN)
    async def ask_who(request: Request) -> Response:
        return _form(request, request.query_params.get("next", "/"))

    @router.post(SIGN_IN)
    async def sign_in(request: Request) -> Response:
        form = await read_form(request)
        try:
            token = pages_of(request).sessions.sign_in(form.get("name"), form.get("key"))
        except (Problem, UserError) as exc:
            said = exc.line() if isinstance(exc, Problem) else str(exc)
            status = exc.status if isinstance(exc, Problem) else 422
            return _form(request, form.get("next"), name=form.get("name"), said=said, status=status)
        pages_of(request).sessions.sign_out(request)
        response = RedirectResponse(own_path(form.get("next")), 303)
        give_cookie(response, request, token)
        return response

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        await read_form(request)
        pages_of(request).sessions.sign_out(request)
        return RedirectResponse("/", 303)

    return router


def own_path(wanted: str) -> str:
    """``wanted`` where it is a path of this server; the start page where it could lead elsewhere."""
    is_own = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and len(wanted) <= MAX_NEXT
    return wanted if is_own and wanted.isascii() and wanted.isprintable() and "\\" not in wanted else "/"


def reviewer_of(request: Request) -> str:
    """Who acts; raises Problem when nobody signed in."""
    session = pages_of(request).sessions.of(request)
    if session is None:
        raise Problem(
            401,
            "nobody is signed in, and what is done here is kept with a name",
            fix="sign in, then send it again; nothing was changed",
        )
    return session.reviewer


def _form(request: Request, wanted: str, *, name: str = "", said: str = "", status: int = 200) -> Response:
    return render(request, "sign_in.html", status=status, next=own_path(wanted), name=name, said=said)
