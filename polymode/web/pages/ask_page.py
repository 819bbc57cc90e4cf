"""The start page: ask a question, see candidates, decision and reason (layer L6).

It works as POST /v1/answer-sets does: the same batches, limits, policy and review queue.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
import uuid
from collections.abc import Sequence
from urllib.parse import quote

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from polymode.policy.deciding import effective_number
from polymode.prompts import MAX_K
from polymode.web.answer_service import AnswerService, joined
from polymode.web.gate import run_until_disconnect
from polymode.web.pages.forms import Form, read_form
from polymode.web.pages.rendering import caller_of, number_in, pages_of, render
from polymode.web.problems import Problem, problem_of
from polymode.web.schema import MAX_QUESTION_CHARS, AnswerItem, AnswerSetReply, AnswerSetRequest

_ONCE = re.compile("[0-9a-f]{32}")


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
            risks=answer_service.serving.policy.risks,
            by=answer_service.by,
            group_names=list(answer_service.serving.policy.groups),
            max_k=MAX_K,
            max_chars=MAX_QUESTION_CHARS,
            once=form.get("once") if status != 200 and _ONCE.fullmatch(form.get("once")) else uuid.uuid4().hex,
            **{"reply": None, "problem": None, **result},
        )

    @router.get("/")
    async def start(request: Request) -> Response:
        path, fields = pages_of(request).sessions.typed(request)
        return page(request, Form(fields if path == "/" else ()))

    @router.post("/")
    async def ask(request: Request) -> Response:
        form = await read_form(request)
        start_time = time.monotonic()
        try:
            question = _answer_request(form, answer_service.by)
            caller = caller_of(request)
            request.state.request_id = _request_id(form) or request.state.request_id
            answer = answer_service.answer(question, request.state.request_id, caller=caller)
            reply, completions = await run_until_disconnect(request, answer)
            reply = reply.visible_to(caller)
        except Problem as problem:
            response = page(request, form, problem.status, problem=problem.body(request.state.request_id))
            response.headers.update(problem.headers)
            return response
        if reply.escalation_id is not None and pages_of(request).has("escalations"):
            return RedirectResponse(f"/escalations/{quote(request.state.request_id)}", 303)
        is_reviewer = "review" in caller.scopes
        return page(
            request,
            form,
            reply=reply,
            completion=joined(completions) if is_reviewer else None,
            groups=grouped(reply),
            dispersion=dispersion(reply.candidates),
            seconds=time.monotonic() - start_time,
        )

    return router


def grouped(reply: AnswerSetReply) -> list[tuple[str | None, list[tuple[int, AnswerItem]]]]:
    """The candidates, each with its rank from 1, by what of the question speaks for them, in any order.

    Groups are in the order of their best candidate, the one without a rationale last.
    """
    groups: dict[frozenset[str], list[tuple[int, AnswerItem]]] = {}
    for rank, item in enumerate(reply.candidates, 1):
        parts = (item.rationale or "").casefold().split(", ")
        groups.setdefault(frozenset(filter(None, parts)), []).append((rank, item))
    ordered = sorted(groups.values(), key=lambda group: group[0][1].rationale is None)
    return [(group[0][1].rationale, group) for group in ordered]


def dispersion(candidates: Sequence[AnswerItem]) -> tuple[float, float]:
    """Effective number and entropy in nats of the confidences divided by their sum; NaN when no answer has any."""
    effective = effective_number([item.confidence for item in candidates])
    return effective, math.log(effective) + 0.0


def _request_id(form: Form) -> str | None:
    """One name for one question sent from one form, so that sending it twice never adds two items to the queue."""
    once = form.get("once")
    if not _ONCE.fullmatch(once):
        return None
    content = "\0".join([once, *(form.get(name) for name in ("question", "risk", "k", "group"))])
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _answer_request(form: Form, by: str) -> AnswerSetRequest:
    k = form.get("k").strip() or None
    number = k and number_in(k)
    fields = {
        "question": form.get("question"),
        "risk": form.get("risk", "normal"),
        "k": k if number is None else number,
        **({"meta": {by: form.get("group")}} if by and form.get("group") else {}),
    }
    try:
        return AnswerSetRequest.model_validate(fields)
    except ValidationError as exc:
        errors = [{**error, "loc": ("body", *error["loc"])} for error in exc.errors(include_url=False)]
        raise problem_of(errors, AnswerSetRequest, fields) from None
