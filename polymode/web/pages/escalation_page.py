"""The permanent address of an escalated question: what was decided, and what a person answered (layer L6).

It is for whoever asked. What the policy withholds is on the review item, for those who review.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from polymode.types import Verdict
from polymode.web.pages.rendering import caller_of, render
from polymode.web.problems import Problem
from polymode.web.reviews.queue import ReviewQueue
from polymode.web.reviews.records import ReviewState, classes


def escalation_page(queue: ReviewQueue) -> APIRouter:
    """Its route."""
    router = APIRouter()

    @router.get("/escalations/{request_id}")
    async def show(request: Request, request_id: str) -> Response:
        item, caller = await run_in_threadpool(queue.item_of_request, request_id), caller_of(request)
        is_reviewer = "review" in caller.scopes
        if item is None or not (is_reviewer or (item.asked_by or "") == caller.name):
            raise Problem(404, "no such escalated question", fix="check the address, or ask again")
        labels = classes(item.answers, item.equality)
        correct = [
            answer.text
            for number, answer in enumerate(item.answers)
            if answer.verdict is Verdict.CORRECT and labels[number] == number
        ]
        is_resolved = item.state is ReviewState.RESOLVED
        return render(
            request,
            "escalation.html",
            item=item,
            is_resolved=is_resolved,
            correct=correct if is_resolved else [],
            candidates=sorted((one for one in item.answers if one.rank is not None), key=lambda one: one.rank or 0),
            review=f"/reviews/{item.id}" if is_reviewer else None,
        )

    return router
