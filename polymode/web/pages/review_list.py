"""The list of the review queue: search, filters, order, several items at once, and its export (layer L6)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from polymode.errors import ConfigError, DataNotFoundError, ReviewConflictError
from polymode.types import DecisionKind
from polymode.web.pages.forms import Form, read_form, reviewer_of
from polymode.web.pages.rendering import ListPart, number_in, pages_of, render
from polymode.web.pages.review_pages import CONFIRMATIONS, MAX_ID, REVIEWS, review_pages
from polymode.web.problems import Problem, SafeJSON
from polymode.web.reviews.export import export_judged, export_records
from polymode.web.reviews.listing import ORDERS, ItemFilter
from polymode.web.reviews.queue import ReviewQueue
from polymode.web.reviews.records import ESCALATED, RANDOM, ReviewState

PAGE = 50
"""Items of one page of the list."""
SORTS = {
    "line": "in the order of claiming",
    "newest": "newest first",
    "oldest": "oldest first",
    "least-certain": "least confident first",
    "most-certain": "most confident first",
}
assert SORTS.keys() == ORDERS.keys()
ORIGINS = {ESCALATED: "escalated", RANDOM: "random share"}
FILTERS = ("q", "risk", "kind", "origin", "assigned", "sort")
"""Parameters of the address that restrict and order the list."""
EXPORTS: dict[str, Callable[..., Any]] = {"records": export_records, "judged": export_judged}


def review_list(queue: ReviewQueue) -> APIRouter:
    """Routes of the list, and of the items in it."""
    router = APIRouter()
    router.include_router(review_pages(queue))

    @router.get(REVIEWS)
    async def show_list(request: Request) -> Response:
        return await run_in_threadpool(_list, request, queue)

    @router.post(REVIEWS)
    async def act(request: Request) -> Response:
        form = await read_form(request)
        return await run_in_threadpool(_act, queue, form, reviewer_of(request))

    @router.get(REVIEWS + "/counts")
    async def counts() -> Response:
        counts = await run_in_threadpool(queue.counts)
        return SafeJSON({state.value: getattr(counts, state.value) for state in ReviewState})

    @router.get(REVIEWS + "/export")
    async def export(request: Request) -> Response:
        return await run_in_threadpool(_export, request, queue)

    return router


def _list(request: Request, queue: ReviewQueue) -> Response:
    query = {name: value for name, value in request.query_params.items() if value}
    session = pages_of(request).sessions.of(request)
    reviewer = None if session is None else session.reviewer
    shown = query.get("state", "open")
    state = next((state for state in ReviewState if state.value == shown), None)
    is_mine = shown == "mine" and reviewer is not None
    if state is None and shown != "all" and not is_mine:
        shown, state = "open", ReviewState.OPEN
    risks = queue.risks()
    kinds = {kind.value: kind for kind in DecisionKind}
    who = query.get("assigned")
    chosen = ItemFilter(
        state=state,
        search=query.get("q", "")[:1000],
        risk=query["risk"] if query.get("risk") in risks else None,
        kind=kinds.get(query.get("kind", "")),
        origin=query["origin"] if query.get("origin") in ORIGINS else None,
        claimed_by=reviewer if is_mine else None,
        assigned_to={"nobody": "", "me": reviewer}.get(who, who) if who else None,
    )
    sort = query.get("sort", "line")
    sort = sort if sort in ORDERS else "line"
    total = queue.count(chosen)
    n_pages = max(-(-total // PAGE), 1)
    page = min(max(number_in(query.get("page", "1")) or 1, 1), n_pages)
    items = queue.items(chosen, sort=sort, limit=PAGE, offset=(page - 1) * PAGE)
    counts = queue.counts()
    totals = {state.value: getattr(counts, state.value) for state in ReviewState}
    totals["all"] = sum(totals.values())
    kept = {name: query[name] for name in FILTERS if name in query}
    return render(
        request,
        "reviews.html",
        counts=counts,
        part=ListPart(items, (page - 1) * PAGE + 1, total, page, n_pages),
        totals=totals,
        chosen=shown,
        query=query,
        is_filtered=bool(kept.keys() - {"sort"}),
        risks=risks,
        kinds=list(kinds),
        origins=ORIGINS,
        sorts=SORTS,
        sort=sort,
        state_url=lambda state: f"{REVIEWS}?{urlencode({'state': state, **kept})}",
        page_url=lambda page: f"{REVIEWS}?{urlencode({'state': shown, **kept, 'page': page})}",
        message=_message(query),
        agreement=queue.agreement(),
    )


def _message(query: dict[str, str]) -> str | None:
    done, failed = number_in(query.get("n", "")), number_in(query.get("failed", "0"))
    if query.get("done") != "several" or done is None:
        return CONFIRMATIONS.get(query.get("done", ""))
    left = f" {failed} could not be changed: they are finished, or other reviewers have claimed them." if failed else ""
    return f"Changed {done} item{'' if done == 1 else 's'}.{left}"


def _act(queue: ReviewQueue, form: Form, reviewer: str) -> Response:
    """Claim the next item, or do one thing with all the items that are ticked."""
    act = form.get("act", "next")
    if act == "next":
        item = queue.claim(reviewer)
        return RedirectResponse(f"{REVIEWS}?done=none" if item is None else f"{REVIEWS}/{item.id}?done=claimed", 303)
    to = form.get("to").strip() or None
    acts: dict[str, Callable[[int], object]] = {
        "claim": lambda number: queue.claim(reviewer, number),
        "release": lambda number: queue.release(number, reviewer),
        "assign": lambda number: queue.assign(number, reviewer, to),
        "dismiss": lambda number: _dismiss(queue, number, reviewer, form.get("note")),
        "reopen": lambda number: queue.reopen(number, reviewer, form.get("note")),
    }
    if act not in acts:
        allowed = f"next, {', '.join(acts)}"
        raise Problem(422, "no such act", field="act", value=act, allowed=allowed, fix="use the page's buttons")
    numbers = [number_in(value) for name, value in form.fields if name == "item"]
    done = failed = 0
    for number in dict.fromkeys(number for number in numbers if number is not None and number <= MAX_ID):
        try:
            acts[act](number)
        except (ReviewConflictError, DataNotFoundError):
            failed += 1
        else:
            done += 1
    back = dict(item for item in form.fields if item[0] in ("state", *FILTERS, "page"))
    query = urlencode({**back, "done": "several", "n": done, "failed": failed})
    return RedirectResponse(f"{REVIEWS}?{query}", 303)


def _dismiss(queue: ReviewQueue, number: int, reviewer: str, note: str) -> None:
    queue.claim(reviewer, number)
    queue.dismiss(number, reviewer, note)


def _export(request: Request, queue: ReviewQueue) -> Response:
    what = request.query_params.get("what", "records")
    if what not in EXPORTS:
        raise Problem(422, "no such export", field="what", value=what, allowed=", ".join(EXPORTS), fix="choose one")
    k = number_in(request.query_params.get("k", ""))
    fields: dict[str, Any] = {"model_id": request.query_params.get("model_id") or None}
    if what == "judged":
        fields["k"] = k
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{what}.jsonl"
        try:
            EXPORTS[what](queue, path, **fields)
        except ConfigError as exc:
            fix = "add &k=NUMBER or &model_id=NAME to the address"
            raise Problem(422, str(exc), field="k, model_id", fix=fix) from None
        content = path.read_bytes()
    disposition = {"content-disposition": f'attachment; filename="{what}.jsonl"'}
    return Response(content, media_type="application/x-ndjson", headers=disposition)
