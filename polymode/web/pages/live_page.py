"""Live calibration as a page: whether the guarantees' conditions still hold, and what happened over time (layer L6)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from polymode.policy.monitoring import ALARM_RATE, GUARANTEE, QUESTIONS, SETS
from polymode.web.keys import EVERYBODY
from polymode.web.live.labels import PATIENCE
from polymode.web.live.monitor import FRESH_SECONDS, LiveMonitor
from polymode.web.live.summary import summarise
from polymode.web.pages.rendering import caller_of, render

HEADINGS = {GUARANTEE: "Guarantees", QUESTIONS: "Questions", SETS: "Confidences"}


def live_page(monitor: LiveMonitor) -> APIRouter:
    """Its route."""
    router = APIRouter()

    @router.get("/live")
    async def show(request: Request) -> Response:
        state = await run_in_threadpool(monitor.refresh)
        policy = monitor.policy
        may_review = "review" in (caller_of(request) or EVERYBODY).scopes
        item_id = state.waits_for.item_id if state.waits_for is not None else None
        return render(
            request,
            "live.html",
            state=state,
            summary=await run_in_threadpool(summarise, state),
            live=monitor.live,
            evidence=[(HEADINGS[kind], [one for one in state.evidence if one.kind == kind]) for kind in HEADINGS],
            largest_alpha=max((one.alpha for _, one in policy.promises), default=None),
            review=f"/reviews/{item_id}" if item_id is not None and may_review else None,
            patience=PATIENCE.days,
            fresh_seconds=FRESH_SECONDS,
            alarm_rate=ALARM_RATE,
        )

    return router
