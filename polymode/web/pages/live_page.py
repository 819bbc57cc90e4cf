"""Live calibration as a page: whether the guarantees' conditions still hold, and what happened over time (layer L6)."""

from __future__ import annotations

import math

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from polymode.policy.monitoring import ALARM_RATE, GUARANTEE, QUESTIONS, SETS, Evidence
from polymode.web.keys import EVERYBODY
from polymode.web.live.labels import PATIENCE
from polymode.web.live.monitor import LiveMonitor
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
            n_reviewed=sum(label.verdicts is not None for label in state.labels),
            n_different=state.n_answers - state.n_repeats,
            evidence=[(HEADINGS[kind], [one for one in state.evidence if one.kind == kind]) for kind in HEADINGS],
            strength=strength,
            largest_alpha=max((one.alpha for _, one in policy.promises), default=None),
            review=f"/reviews/{item_id}" if item_id is not None and may_review else None,
            patience=PATIENCE.days,
            alarm_rate=ALARM_RATE,
        )

    return router


def strength(one: Evidence) -> float:
    """How far the evidence has come to its limit, from 0 to 1, in logarithms."""
    return min(1.0, max(0.0, math.log(max(one.peak, 1.0)) / math.log(one.limit)))
