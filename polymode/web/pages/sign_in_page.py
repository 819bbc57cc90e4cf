"""Signing in and out (layer L6)."""

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


def sign_in_page() -> APIRouter:
    """Routes for signing in and out."""
    router = APIRouter()

    @router.get(SIGN_IN)
    async def show(request: Request) -> Response:
        return _form(request, request.query_params.get("next", "/"))

    @router.post(SIGN_IN)
    async def sign_in(request: Request) -> Response:
        form = await read_form(request)
        try:
            token = pages_of(request).sessions.sign_in(form.get("name"), form.get("key"))
        except (Problem, UserError) as exc:
            error = exc.line() if isinstance(exc, Problem) else str(exc)
            status = exc.status if isinstance(exc, Problem) else 422
            return _form(request, form.get("next"), name=form.get("name"), error=error, status=status)
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


def _form(request: Request, target: str, *, name: str = "", error: str = "", status: int = 200) -> Response:
    return render(request, "sign_in.html", status=status, next=own_path(target), name=name, error=error)
