"""POST /v1/outcomes: what turned out to be right (layer L6)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from polymode.errors import ReviewStoreError
from polymode.prompts import MAX_K
from polymode.web.description import responses
from polymode.web.live.answers import LiveAnswers
from polymode.web.live.outcomes import Outcome, post_outcome
from polymode.web.problems import Problem
from polymode.web.schema import Strict

PATH = "/v1/outcomes"
MAX_CORRECT = 100
REFUSALS = (400, 401, 403, 404, 408, 409, 413, 421, 422, 500, 503)
CorrectText = Annotated[str, Field(max_length=10_000)]


class OutcomeRequest(Strict):
    """What turned out to be right about a stored answer: ``correct`` or ``verdicts``."""

    request_id: str = Field(description="of the reply, a text", min_length=1, max_length=200)
    correct: Annotated[list[CorrectText], Field(max_length=MAX_CORRECT)] | None = Field(
        None,
        description=f"texts of everything that is right, at most {MAX_CORRECT}; a candidate that equals none of them "
        "is wrong, and with an empty list all are",
    )
    verdicts: Annotated[list[bool], Field(max_length=64 * MAX_K)] | None = Field(
        None, description="instead: true or false for each candidate, in the order of the reply"
    )


class OutcomeReply(BaseModel):
    """What was stored."""

    request_id: str
    verdicts: list[bool] = Field(description="whether each candidate is right, in the order of the reply")


def outcome_routes(live: LiveAnswers, equality: str) -> APIRouter:
    """The route.

    Args:
        live: the stored answers.
        equality: of answers, as the policy calls it.
    """
    router = APIRouter()

    @router.post(PATH, tags=["answers"], operation_id="createOutcome", responses=responses(*REFUSALS))
    async def outcomes(body: OutcomeRequest, request: Request) -> OutcomeReply:
        """Say what turned out to be right about an answer, once."""
        if (body.correct is None) == (body.verdicts is None):
            title = "two outcomes at once" if body.correct is not None else "no outcome"
            allowed, fix = "one of the two", "give correct, or verdicts, and not both"
            raise Problem(422, title, field="correct, verdicts", allowed=allowed, fix=fix)
        outcome = Outcome(
            None if body.correct is None else tuple(body.correct),
            None if body.verdicts is None else tuple(body.verdicts),
        )
        try:
            verdicts = await run_in_threadpool(
                post_outcome, live, body.request_id, outcome, request.state.caller, equality_name=equality
            )
        except ReviewStoreError as exc:
            fix = "send it again in a moment; nothing was stored"
            raise Problem(503, str(exc), fix=fix, headers={"Retry-After": "2"}) from None
        return OutcomeReply(request_id=body.request_id, verdicts=list(verdicts))

    return router
