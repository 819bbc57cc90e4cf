"""The start page: ask a question, see candidates, decision and reason (layer L6).

It works as POST /v1/answer-sets does: the same batches, limits, policy and review queue.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from polymode.policy.deciding import effective_number
from polymode.prompts import MAX_K
from polymode.web.answer_service import AnswerService
from polymode.web.gate import run_until_disconnect
from polymode.web.pages.forms import Form, read_form
from polymode.web.pages.rendering import pages_of, render
from polymode.web.problems import Problem, problem_of
from polymode.web.schema import MAX_QUESTION_CHARS, AnswerItem, AnswerSetReply, AnswerSetRequest

EMPTY = Form(())


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer as the page lists it."""

    rank: int
    """From 1."""
    text: str
    confidence: float
    is_released: bool
    """Whether the policy lets it be shown as an answer."""


class Group(NamedTuple):
    """Candidates with the same support in the reasoning."""

    rationale: str | None
    candidates: list[Candidate]


class Dispersion(NamedTuple):
    """How far the confidences are spread; NaN when no answer has any."""

    effective: float
    entropy: float
    """In nats."""


def ask_page(answer_service: AnswerService) -> APIRouter:
    """Routes of the start page."""
    router = APIRouter()

    def page(request: Request, form: Form, status: int = 200, **result: object) -> Response:
        return render(
            request,
            "ask.html",
            status=status,
            form=form,
            fixed_k=answer_service.serving.policy.k,
            default_k=answer_service.serving.k,
            max_k=MAX_K,
            max_chars=MAX_QUESTION_CHARS,
            **{"reply": None, "problem": None, **result},
        )

    @router.get("/")
    async def start(request: Request) -> Response:
        return page(request, EMPTY)

    @router.post("/")
    async def ask(request: Request) -> Response:
        form = await read_form(request)
        start_time = time.monotonic()
        try:
            question = _answer_request(form)
            answer = answer_service.answer(question, request.state.request_id)
            reply, completion = await run_until_disconnect(request, answer)
        except Problem as problem:
            response = page(request, form, problem.status, problem=problem.body(request.state.request_id))
            response.headers.update(problem.headers)
            return response
        has_reviews = "/reviews" in dict(pages_of(request).navigation)
        return page(
            request,
            form,
            reply=reply,
            completion=completion,
            groups=grouped(reply),
            dispersion=dispersion(reply.candidates),
            seconds=time.monotonic() - start_time,
            review=f"/reviews/{reply.escalation_id}" if has_reviews and reply.escalation_id is not None else None,
        )

    return router


def grouped(reply: AnswerSetReply) -> list[Group]:
    """The candidates by their support; groups in the order of their best, those without a rationale last."""
    groups: dict[str | None, Group] = {}
    for rank, item in enumerate(reply.candidates, 1):
        group = groups.setdefault(item.rationale, Group(item.rationale, []))
        group.candidates.append(Candidate(rank, item.text, item.confidence, rank <= len(reply.answers)))
    return sorted(groups.values(), key=lambda group: group.rationale is None)


def dispersion(candidates: Sequence[AnswerItem]) -> Dispersion:
    """Of the confidences divided by their sum."""
    effective = effective_number([item.confidence for item in candidates])
    return Dispersion(effective, math.log(effective) + 0.0)


def _answer_request(form: Form) -> AnswerSetRequest:
    k = form.get("k").strip()
    fields: dict[str, object] = {"question": form.get("question"), "risk": form.get("risk", "normal")}
    if k:
        fields["k"] = int(k) if k.isdecimal() and k.isascii() and len(k) < 10 else k
    try:
        return AnswerSetRequest.model_validate(fields)
    except ValidationError as exc:
        errors = [{**error, "loc": ("body", *error["loc"])} for error in exc.errors(include_url=False)]
        raise problem_of(errors, AnswerSetRequest) from None
