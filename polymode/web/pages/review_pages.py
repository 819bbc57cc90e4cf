"""Pages of the review queue: the list, one item, and what a reviewer does with it (layer L6).

Every action is one of the queue's methods, so what a page reports as saved is on disk. Database work runs in threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from polymode.errors import ConfigError, ReviewConflictError
from polymode.web.pages.forms import Form, read_form
from polymode.web.pages.rendering import pages_of, render
from polymode.web.pages.review_messages import CONFIRMATIONS, line_of
from polymode.web.pages.sign_in_page import reviewer_of
from polymode.web.pages.verdict_form import VerdictForm, verdict_form
from polymode.web.problems import Problem
from polymode.web.reviews.records import ReviewItem, ReviewState
from polymode.web.reviews.verdicts import repeats

if TYPE_CHECKING:
    from polymode.web.reviews import ReviewQueue

REVIEWS = "/reviews"
PAGE = 50
"""Items of one page of the list."""
MAX_ID = 2**31 - 1
"""Highest id that every database takes."""


def review_pages(queue: ReviewQueue) -> APIRouter:
    """Routes of the list and of the items."""
    router = APIRouter()

    @router.get(REVIEWS)
    async def show_list(request: Request) -> Response:
        return await run_in_threadpool(_list, request, queue)

    @router.post(REVIEWS)
    async def claim_next(request: Request) -> Response:
        await read_form(request)
        item = await run_in_threadpool(queue.claim, reviewer_of(request))
        return _redirect(f"{REVIEWS}?done=none" if item is None else f"{REVIEWS}/{item.id}?done=claimed")

    @router.get(REVIEWS + "/{item_id:int}")
    async def item(request: Request, item_id: int) -> Response:
        return await run_in_threadpool(_item, request, queue, _checked(item_id))

    @router.post(REVIEWS + "/{item_id:int}")
    async def act(request: Request, item_id: int) -> Response:
        form = await read_form(request)
        return await run_in_threadpool(_apply, request, queue, _checked(item_id), form, reviewer_of(request))

    return router


def _list(request: Request, queue: ReviewQueue) -> Response:
    query, reviewer = request.query_params, _reviewer(request)
    chosen = query.get("state", "open")
    state = next((state for state in ReviewState if state.value == chosen), None)
    is_mine = chosen == "mine" and reviewer is not None
    if state is None and chosen != "all" and not is_mine:
        chosen, state = "open", ReviewState.OPEN
    number = query.get("page", "1")
    page = int(number) if number.isascii() and number.isdecimal() and 0 < len(number) < 7 and int(number) else 1
    items = queue.items(
        None if is_mine else state,
        claimed_by=reviewer if is_mine else None,
        limit=PAGE + 1,
        offset=(page - 1) * PAGE,
    )
    return render(
        request,
        "reviews.html",
        counts=queue.counts(),
        items=items[:PAGE],
        chosen=chosen,
        page=page,
        is_more=len(items) > PAGE,
        done=CONFIRMATIONS.get(query.get("done", "")),
    )


def _item(request: Request, queue: ReviewQueue, item_id: int) -> Response:
    return _item_page(request, queue, item_id, done=CONFIRMATIONS.get(request.query_params.get("done", "")))


def _apply(request: Request, queue: ReviewQueue, item_id: int, posted: Form, reviewer: str) -> Response:
    act = posted.get("act")
    if act not in _ACTS:
        raise Problem(
            422, "no such act", field="act", value=act, allowed=", ".join(_ACTS), fix="use the page's buttons"
        )
    item = queue.item(item_id)
    form = verdict_form(posted, item)
    try:
        _ACTS[act](queue, item, reviewer, form)
    except (ConfigError, ReviewConflictError) as exc:
        status = 422 if isinstance(exc, ConfigError) else 409
        return _item_page(request, queue, item_id, status=status, error=str(exc), form=form)
    return _redirect(f"{REVIEWS}/{item_id}?done={act}")


def _item_page(
    request: Request,
    queue: ReviewQueue,
    item_id: int,
    *,
    status: int = 200,
    error: str = "",
    form: VerdictForm | None = None,
    done: str | None = None,
) -> Response:
    item, reviewer = queue.item(item_id), _reviewer(request)
    is_finished = item.state in (ReviewState.RESOLVED, ReviewState.DISMISSED)
    return render(
        request,
        "review.html",
        status=status,
        item=item,
        repeats=repeats(item.answers, item.equality),
        trail=[(event.at, event.who, line_of(event, item.answers)) for event in queue.events(item_id)],
        is_finished=is_finished,
        # A reviewer whose claim expired may continue until somebody else claims the item.
        is_held=reviewer is not None and not is_finished and item.claimed_by == reviewer,
        draft=form or verdict_form(None, item),
        error=error,
        done=done,
    )


def _save(queue: ReviewQueue, item: ReviewItem, reviewer: str, form: VerdictForm) -> None:
    queue.mark(item.id, reviewer, form.verdicts, same_as=form.same_as)
    if form.missing:
        queue.add_answer(item.id, reviewer, form.missing)


def _resolve(queue: ReviewQueue, item: ReviewItem, reviewer: str, form: VerdictForm) -> None:
    queue.resolve(
        item.id,
        reviewer,
        verdicts=form.verdicts,
        same_as=form.same_as,
        missing=[form.missing] if form.missing else [],
        note=form.note,
    )


def _release(queue: ReviewQueue, item: ReviewItem, reviewer: str, form: VerdictForm) -> None:
    if form.verdicts or form.same_as:
        queue.mark(item.id, reviewer, form.verdicts, same_as=form.same_as)
    queue.release(item.id, reviewer)


_ACTS: dict[str, Any] = {
    "claim": lambda queue, item, reviewer, form: queue.claim(reviewer, item.id),
    "save": _save,
    "resolve": _resolve,
    "release": _release,
    "dismiss": lambda queue, item, reviewer, form: queue.dismiss(item.id, reviewer, form.note),
    "reopen": lambda queue, item, reviewer, form: queue.reopen(item.id, reviewer, form.note),
}


def _reviewer(request: Request) -> str | None:
    session = pages_of(request).sessions.of(request)
    return None if session is None else session.reviewer


def _checked(item_id: int) -> int:
    if item_id > MAX_ID:
        raise Problem(404, "no such review item", fix="go back to the list")
    return item_id


def _redirect(path: str) -> Response:
    return RedirectResponse(path, 303)
