"""Pages of the review queue: the line, one item, and what a reviewer does with it (layer L4).

Every act is one of the queue's methods, so what a page says was saved is on disk. Database work runs in threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from polymode.errors import ConfigError, ReviewConflictError
from polymode.web.pages.forms import Form, read_form
from polymode.web.pages.judging_form import Judged, judged_form
from polymode.web.pages.rendering import pages_of, render
from polymode.web.pages.review_words import DONE, line_of
from polymode.web.pages.signing import reviewer_of
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
    async def line(request: Request) -> Response:
        return await run_in_threadpool(_line, request, queue)

    @router.post(REVIEWS)
    async def claim_next(request: Request) -> Response:
        await read_form(request)
        item = await run_in_threadpool(queue.claim, reviewer_of(request))
        return _see(f"{REVIEWS}?done=none" if item is None else f"{REVIEWS}/{item.id}?done=claimed")

    @router.get(REVIEWS + "/{item_id:int}")
    async def item(request: Request, item_id: int) -> Response:
        return await run_in_threadpool(_item, request, queue, _checked(item_id))

    @router.post(REVIEWS + "/{item_id:int}")
    async def act(request: Request, item_id: int) -> Response:
        form = await read_form(request)
        return await run_in_threadpool(_acted, request, queue, _checked(item_id), form, reviewer_of(request))

    return router


def _line(request: Request, queue: ReviewQueue) -> Response:
    asked, reviewer = request.query_params, _reviewer(request)
    chosen = asked.get("state", "open")
    state = next((state for state in ReviewState if state.value == chosen), None)
    is_mine = chosen == "mine" and reviewer is not None
    if state is None and chosen != "all" and not is_mine:
        chosen, state = "open", ReviewState.OPEN
    number = asked.get("page", "1")
    page = int(number) if number.isascii() and number.isdecimal() and 0 < len(number) < 7 and int(number) else 1
    found = queue.items(
        None if is_mine else state,
        claimed_by=reviewer if is_mine else None,
        limit=PAGE + 1,
        offset=(page - 1) * PAGE,
    )
    return render(
        request,
        "reviews.html",
        counts=queue.counts(),
        items=found[:PAGE],
        chosen=chosen,
        page=page,
        is_more=len(found) > PAGE,
        done=DONE.get(asked.get("done", "")),
    )


def _item(request: Request, queue: ReviewQueue, item_id: int) -> Response:
    return _item_page(request, queue, item_id, done=DONE.get(request.query_params.get("done", "")))


def _acted(request: Request, queue: ReviewQueue, item_id: int, form: Form, reviewer: str) -> Response:
    act = form.get("act")
    if act not in _ACTS:
        raise Problem(
            422, "no such act", field="act", value=act, allowed=", ".join(_ACTS), fix="use the page's buttons"
        )
    item = queue.item(item_id)
    judged = judged_form(form, item)
    try:
        _ACTS[act](queue, item, reviewer, judged)
    except (ConfigError, ReviewConflictError) as exc:
        status = 422 if isinstance(exc, ConfigError) else 409
        return _item_page(request, queue, item_id, status=status, said=str(exc), judged=judged)
    return _see(f"{REVIEWS}/{item_id}?done={act}")


def _item_page(
    request: Request,
    queue: ReviewQueue,
    item_id: int,
    *,
    status: int = 200,
    said: str = "",
    judged: Judged | None = None,
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
        # Who held an expired claim may go on while nobody else has taken it.
        is_held=reviewer is not None and not is_finished and item.claimed_by == reviewer,
        draft=judged or judged_form(None, item),
        said=said,
        done=done,
    )


def _save(queue: ReviewQueue, item: ReviewItem, reviewer: str, judged: Judged) -> None:
    queue.mark(item.id, reviewer, judged.verdicts, same_as=judged.same_as)
    if judged.missing:
        queue.add_answer(item.id, reviewer, judged.missing)


def _resolve(queue: ReviewQueue, item: ReviewItem, reviewer: str, judged: Judged) -> None:
    queue.resolve(
        item.id,
        reviewer,
        verdicts=judged.verdicts,
        same_as=judged.same_as,
        missing=[judged.missing] if judged.missing else [],
        note=judged.note,
    )


def _release(queue: ReviewQueue, item: ReviewItem, reviewer: str, judged: Judged) -> None:
    if judged.verdicts or judged.same_as:
        queue.mark(item.id, reviewer, judged.verdicts, same_as=judged.same_as)
    queue.release(item.id, reviewer)


_ACTS: dict[str, Any] = {
    "claim": lambda queue, item, reviewer, judged: queue.claim(reviewer, item.id),
    "save": _save,
    "resolve": _resolve,
    "release": _release,
    "dismiss": lambda queue, item, reviewer, judged: queue.dismiss(item.id, reviewer, judged.note),
    "reopen": lambda queue, item, reviewer, judged: queue.reopen(item.id, reviewer, judged.note),
}


def _reviewer(request: Request) -> str | None:
    session = pages_of(request).sessions.of(request)
    return None if session is None else session.reviewer


def _checked(item_id: int) -> int:
    if item_id > MAX_ID:
        raise Problem(404, "no such review item", fix="go back to the list")
    return item_id


def _see(path: str) -> Response:
    return RedirectResponse(path, 303)
