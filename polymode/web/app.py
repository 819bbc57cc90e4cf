"""The server's paths (layer L6): answer sets, chat completions, health and metrics, pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from polymode.generate import Generator
from polymode.policy import Policy
from polymode.policy.policy import RISK
from polymode.web.answer_service import AnswerService, ServingConfig
from polymode.web.batching import Batcher
from polymode.web.gate import Gate, Limits, ServerMetrics, refusal, run_until_disconnect
from polymode.web.keys import Caller, Keys
from polymode.web.problems import PROBLEM_TYPE, Problem, ProblemBody, SafeJSON, problem_of
from polymode.web.reviews.queue import ReviewQueue
from polymode.web.schema import (
    AnswerSetReply,
    AnswerSetRequest,
    ChatRequest,
    chat_completion,
    chat_events,
    model_list,
)

if TYPE_CHECKING:
    from polymode.web.pages.site import PageOptions

_BODIES = {"/v1/answer-sets": AnswerSetRequest, "/v1/chat/completions": ChatRequest}
_STATUS_TEXT = {
    400: "the body is not JSON",
    401: "no API key, or one that is not known",
    403: "the API key lacks the scope",
    404: "the model is not served here",
    408: "the body came too slowly",
    413: "the body is too long",
    421: "the server is not called by this name",
    422: "a field is not allowed",
    429: "too many requests wait; Retry-After says when to ask again",
    503: "the model, or the review queue, cannot be used now",
    504: "no completion in time",
}
_QUESTION_STATUSES = (400, 401, 403, 408, 413, 421, 422, 429, 503, 504)
_SHUTDOWN_SECONDS = 5.0


def create_app(
    serving: ServingConfig,
    generator: Generator,
    *,
    keys: Keys | None = None,
    escalations: ReviewQueue | None = None,
    limits: Limits | None = None,
    hosts: Collection[str] | None = None,
    size: int = 16,
    wait: float = 0.01,
    room: int = 64,
    workers: int = 1,
    pages: PageOptions | None = None,
) -> FastAPI:
    """The server as an ASGI application.

    Args:
        serving: model, policy and settings.
        generator: source of completions.
        keys: of those who may ask; without any, everybody may.
        escalations: queue of the questions that a person must answer.
        limits: of a request's body.
        hosts: names by which clients may call the server; any by default.
        size: most completions in a batch.
        wait: seconds that a request waits for others to share a batch with.
        room: requests that may wait; more get status 429.
        workers: batches at once, for a generator that may be called from several threads.
        pages: what the pages for people show; no pages by default.
    """
    server_metrics, keys = ServerMetrics(), keys or Keys()
    batcher = Batcher(generator, size=size, wait=wait, room=room, workers=workers, on_batch=server_metrics.count_batch)
    server_metrics.watch_queue(lambda: batcher.n_waiting)
    answer_service = AnswerService(serving, batcher, server_metrics, escalations)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(batcher.close, _SHUTDOWN_SECONDS)
        answer_service.close()

    app = _new_app(keys, lifespan)
    _add_questions(app, answer_service)
    _describe_groups(app, serving.policy)
    _add_operations(app, answer_service, batcher, server_metrics)
    return _finished(app, answer_service, pages, keys, hosts, limits, server_metrics)


def create_pages_app(
    pages: PageOptions, *, keys: Keys | None = None, limits: Limits | None = None, hosts: Collection[str] | None = None
) -> FastAPI:
    """The pages alone, without a model: to review, to look at runs, to relabel. Arguments as of `create_app`."""
    keys = keys or Keys()
    return _finished(_new_app(keys), None, pages, keys, hosts, limits, ServerMetrics())


def _new_app(keys: Keys, lifespan: Any = None) -> FastAPI:
    return FastAPI(
        title="polymode",
        summary="Ranked answers with confidences, and a decision about them",
        version=metadata.version("polymode"),
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        default_response_class=SafeJSON,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if keys.are_required else [],
    )


def _finished(
    app: FastAPI,
    answer_service: AnswerService | None,
    pages: PageOptions | None,
    keys: Keys,
    hosts: Collection[str] | None,
    limits: Limits | None,
    server_metrics: ServerMetrics,
) -> FastAPI:
    """The application with its pages and the replies to errors, behind its gate."""

    @app.get("/health", responses=_responses(408, 413, 421))
    async def health() -> dict[str, str]:
        """Whether the process answers; nothing else is looked at."""
        return {"status": "ok"}

    site = None
    if pages is not None:
        from polymode.web.pages.site import add_pages

        site = add_pages(app, answer_service, pages, keys)

    async def on_error(request: Request, exc: Exception) -> Response:
        return refusal(_problem(exc, request.url.path), request.scope, site)

    for kind in (Problem, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, on_error)
    app.add_middleware(
        Gate,
        keys=keys,
        hosts=hosts,
        limits=limits or Limits(),
        metrics=server_metrics,
        paths={getattr(route, "path", "") for route in app.routes},
        pages=site,
    )
    return app


def _problem(exc: Exception, path: str) -> Problem:
    """Why a request is not answered, whatever was raised."""
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, RequestValidationError):
        return problem_of(exc.errors(), _BODIES[path])
    if isinstance(exc, HTTPException):
        messages = {
            400: ("the body cannot be read", "send valid JSON"),
            404: ("no such path", "GET /openapi.json lists the paths"),
            405: ("no such method here", f"use {(exc.headers or {}).get('Allow', 'another one')}"),
        }
        title, fix = messages.get(exc.status_code, (str(exc.detail), "GET /openapi.json describes the requests"))
        return Problem(exc.status_code, title, fix=fix, headers=exc.headers)
    return Problem(500, "the server failed", fix="report it with the request_id and the log")


def _add_questions(app: FastAPI, answer_service: AnswerService) -> None:
    @app.post("/v1/answer-sets", responses=_responses(*_QUESTION_STATUSES))
    async def answer_sets(body: AnswerSetRequest, request: Request) -> AnswerSetReply:
        """Ranked answers to one question, and what to do with them."""
        caller: Caller = request.state.caller
        answer = answer_service.answer(body, request.state.request_id, caller=caller)
        reply, _ = await run_until_disconnect(request, answer)
        return SafeJSON(reply.visible_to(caller).model_dump())  # type: ignore[return-value]  # the annotation describes its content

    created = int(time.time())

    @app.get("/v1/models", responses=_responses(401, 403, 408, 413, 421, openai=True))
    async def models() -> dict[str, Any]:
        """The model that is served, as OpenAI's API lists models."""
        return model_list(answer_service.serving.model_id, created)

    streamed: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {}}}}}

    @app.post("/v1/chat/completions", responses=streamed | _responses(*_QUESTION_STATUSES, 404, openai=True))
    async def chat_completions(body: ChatRequest, request: Request) -> dict[str, Any]:
        """The answer set as the content of a chat completion, for clients of OpenAI's API."""
        question = body.answer_request(answer_service.serving.model_id)
        caller: Caller = request.state.caller
        answer = answer_service.answer(question, request.state.request_id, caller=caller, **body.sampling())
        reply, _ = await run_until_disconnect(request, answer)
        reply = reply.visible_to(caller)
        if not body.stream:
            return SafeJSON(chat_completion(reply))  # type: ignore[return-value]
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        events = chat_events(reply, with_usage=with_usage)
        return StreamingResponse(events, media_type="text/event-stream")  # type: ignore[return-value]


def _describe_groups(app: FastAPI, policy: Policy) -> None:
    """Say in the description which classes of risk, and which values of another field, the policy has rules for."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        description = describe()
        for body in _BODIES.values():
            schema = description["components"]["schemas"][body.__name__]
            needed = set(schema["required"])
            schema["properties"]["risk"]["enum"] = list(policy.risks)
            if "normal" not in policy.risks:
                schema["properties"]["risk"].pop("default", None)
                needed.add("risk")
            if policy.by not in ("", RISK):
                field = {"type": "string", "enum": list(policy.groups)}
                schema["properties"]["meta"] |= {"properties": {policy.by: field}, "required": [policy.by]}
                needed.add("meta")
            schema["required"] = sorted(needed)
        return description

    app.openapi = openapi  # type: ignore[method-assign]


def _add_operations(app: FastAPI, answer_service: AnswerService, batcher: Batcher, counters: ServerMetrics) -> None:
    @app.get("/ready", responses=_responses(408, 413, 421, 503))
    async def ready() -> dict[str, str]:
        """Whether the model answers, as far as its last reply or one token asked for now tells."""
        problem = await answer_service.model_problem() if batcher.is_alive else "the server is shutting down"
        if problem is not None:
            raise Problem(503, problem, fix="wait, or look into the server's log", headers={"Retry-After": "2"})
        return {"status": "ready", "model_id": answer_service.serving.model_id, "policy_id": answer_service.policy_id}

    @app.get("/metrics", responses=_responses(401, 403, 408, 413, 421), response_class=Response)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(counters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _responses(*statuses: int, openai: bool = False) -> dict[int | str, dict[str, Any]]:
    """Descriptions of the replies to requests that are not answered."""
    problem = ProblemBody.model_json_schema()
    error = {"type": "object", "properties": {"error": problem}, "required": ["error"]}
    content = {"application/json": {"schema": error}} if openai else {PROBLEM_TYPE: {"schema": problem}}
    return {status: {"description": _STATUS_TEXT[status], "content": content} for status in statuses}
