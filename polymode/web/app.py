"""The server's paths (layer L6): answer sets, chat completions, health and metrics, pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from polymode.generate import Generator
from polymode.web.answer_service import AnswerService, ServingConfig
from polymode.web.batching import Batcher
from polymode.web.chat_paths import chat_paths
from polymode.web.chat_schema import ChatRequest
from polymode.web.description import PLAIN_TEXT, QUESTION_STATUSES, TAGS, describe, responses
from polymode.web.gate import Gate, Limits, ServerMetrics, refusal, run_until_disconnect
from polymode.web.keys import Caller, Keys
<<<<<<< HEAD
from polymode.web.problems import Problem, SafeJSON, problem_of_exception
=======
from polymode.web.live.answers import LiveAnswers
from polymode.web.live.metrics import LiveMetrics
from polymode.web.live.monitor import LiveMonitor
from polymode.web.live.routes import PATH as OUTCOMES
from polymode.web.live.routes import OutcomeRequest, outcome_routes
from polymode.web.problems import PROBLEM_TYPE, Problem, ProblemBody, SafeJSON, problem_of
>>>>>>> cb52477 (wip)
from polymode.web.reviews.queue import ReviewQueue
from polymode.web.schema import AnswerSetReply, AnswerSetRequest, Health, Readiness

if TYPE_CHECKING:
    from polymode.web.pages.site import PageOptions

<<<<<<< HEAD
_BODIES = {"/v1/answer-sets": AnswerSetRequest, "/v1/chat/completions": ChatRequest}
=======
_QUESTIONS = {"/v1/answer-sets": AnswerSetRequest, "/v1/chat/completions": ChatRequest}
_BODIES = {**_QUESTIONS, OUTCOMES: OutcomeRequest}
_STATUS_TEXT = {
    400: "the body is not JSON",
    401: "no API key, or one that is not known",
    403: "the API key lacks the scope",
    404: "the model is not served here, or there is no such answer",
    408: "the body came too slowly",
    409: "the answer has an outcome or a review already",
    413: "the body is too long",
    421: "the server is not called by this name",
    422: "a field is not allowed",
    429: "too many requests wait; Retry-After says when to ask again",
    503: "the model, or the review queue, cannot be used now",
    504: "no completion in time",
}
_QUESTION_STATUSES = (400, 401, 403, 408, 413, 421, 422, 429, 503, 504)
>>>>>>> cb52477 (wip)
_SHUTDOWN_SECONDS = 5.0
WATCH_SECONDS = 30.0
"""Between two looks at the stored answers."""


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
<<<<<<< HEAD
    base_path: str = "",
    allow_origins: Sequence[str] = (),
=======
    live: LiveAnswers | None = None,
>>>>>>> cb52477 (wip)
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
<<<<<<< HEAD
        base_path: where a proxy shows the server, such as ``/answers``; whether it takes that off or passes it on.
        allow_origins: other sites whose scripts may call the API from a browser; ``*`` for all.
=======
        live: where answers are stored, to see whether guarantees still hold; by default nothing is stored.
>>>>>>> cb52477 (wip)
    """
    server_metrics, access = (
        ServerMetrics(),
        Access(keys or Keys(), hosts, limits or Limits(), base_path, allow_origins),
    )
    batcher = Batcher(generator, size=size, wait=wait, room=room, workers=workers, on_batch=server_metrics.count_batch)
    server_metrics.watch_queue(lambda: batcher.n_waiting)
    monitor = None if live is None else LiveMonitor(live, serving.policy)
    answer_service = AnswerService(serving, batcher, server_metrics, escalations, monitor)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watch = None
        if monitor is not None:
            await asyncio.to_thread(monitor.keep_up)
            watch = asyncio.create_task(_watch(monitor))
        yield
        if watch is not None:
            watch.cancel()
        await asyncio.to_thread(batcher.close, _SHUTDOWN_SECONDS)
        answer_service.close()

    app = _new_app(access, lifespan)
    _add_questions(app, answer_service)
    _add_operations(app, answer_service, batcher, server_metrics)
<<<<<<< HEAD
    return _finished(app, answer_service, pages, access, server_metrics)
=======
    if monitor is not None:
        server_metrics.add(LiveMetrics(monitor))
        refusals = _responses(400, 401, 403, 404, 408, 409, 413, 421, 422, 503)
        app.include_router(outcome_routes(monitor.live, serving.policy.equality, refusals))
    return _finished(app, answer_service, pages, keys, hosts, limits, server_metrics, monitor)


async def _watch(monitor: LiveMonitor) -> None:
    """Test what is new, and delete what is old, as long as the server runs."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        await asyncio.to_thread(monitor.keep_up)
>>>>>>> cb52477 (wip)


def create_pages_app(
    pages: PageOptions,
    *,
    keys: Keys | None = None,
    limits: Limits | None = None,
    hosts: Collection[str] | None = None,
    base_path: str = "",
) -> FastAPI:
    """The pages alone, without a model: to review, to look at runs, to relabel. Arguments as of `create_app`."""
    access = Access(keys or Keys(), hosts, limits or Limits(), base_path)
    return _finished(_new_app(access), None, pages, access, ServerMetrics())


@dataclass(frozen=True, slots=True)
class Access:
    """Who reaches the server, and how; arguments of `create_app`."""

    keys: Keys
    hosts: Collection[str] | None
    limits: Limits
    base_path: str = ""
    allow_origins: Sequence[str] = ()


def _new_app(access: Access, lifespan: Any = None) -> FastAPI:
    return FastAPI(
        title="polymode",
        summary="Ranked answers with confidences, and a decision about them",
        version=metadata.version("polymode"),
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        default_response_class=SafeJSON,
        openapi_tags=TAGS,
        servers=[{"url": access.base_path}] if access.base_path else None,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if access.keys.are_required else [],
    )


def _finished(
    app: FastAPI,
    answer_service: AnswerService | None,
    pages: PageOptions | None,
    access: Access,
    server_metrics: ServerMetrics,
    monitor: LiveMonitor | None = None,
) -> FastAPI:
    """The application with its pages and the replies to errors, behind its gate."""

    @app.get("/health", tags=["operation"], operation_id="getHealth", responses=responses(408, 413, 421, 500))
    async def health() -> Health:
        """Whether the process answers; nothing else is looked at."""
        return Health()

    site = None
    if pages is not None:
        from polymode.web.pages.site import add_pages

<<<<<<< HEAD
        site = add_pages(app, answer_service, pages, access.keys)
=======
        site = add_pages(app, answer_service, pages, keys, monitor)
>>>>>>> cb52477 (wip)

    async def on_error(request: Request, exc: Exception) -> Response:
        return refusal(problem_of_exception(exc, _BODIES.get(request.scope["path"])), request.scope, site)

    for kind in (Problem, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, on_error)
    app.add_middleware(
        Gate,
        keys=access.keys,
        hosts=access.hosts,
        limits=access.limits,
        metrics=server_metrics,
        paths={getattr(route, "path", "") for route in app.routes},
        pages=site,
        base_path=access.base_path,
    )
    if access.allow_origins:  # outside the gate, so that a browser lets its page read refusals too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=access.allow_origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],
            expose_headers=["Retry-After", "X-Request-Id"],
        )
    describe(app, None if answer_service is None else answer_service.serving.policy)
    return app


def _add_questions(app: FastAPI, answer_service: AnswerService) -> None:
    @app.post(
        "/v1/answer-sets", tags=["answers"], operation_id="createAnswerSet", responses=responses(*QUESTION_STATUSES)
    )
    async def answer_sets(body: AnswerSetRequest, request: Request) -> AnswerSetReply:
        """Ranked answers to one question, and what to do with them."""
        caller: Caller = request.state.caller
        answer = answer_service.answer(body, request.state.request_id, caller=caller)
        reply, _ = await run_until_disconnect(request, answer)
        return SafeJSON(reply.visible_to(caller).model_dump())  # type: ignore[return-value]  # the annotation describes its content

<<<<<<< HEAD
    app.include_router(chat_paths(answer_service))
=======
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
        for body in _QUESTIONS.values():
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
>>>>>>> cb52477 (wip)


def _add_operations(app: FastAPI, answer_service: AnswerService, batcher: Batcher, counters: ServerMetrics) -> None:
    @app.get("/ready", tags=["operation"], operation_id="getReadiness", responses=responses(408, 413, 421, 500, 503))
    async def ready() -> Readiness:
        """Whether the model answers, as far as its last reply or one token asked for now tells."""
        problem = await answer_service.model_problem() if batcher.is_alive else "the server is shutting down"
        if problem is not None:
            raise Problem(503, problem, fix="wait, or look into the server's log", headers={"Retry-After": "2"})
        return Readiness(model_id=answer_service.serving.model_id, policy_id=answer_service.policy_id)

    @app.get(
        "/metrics",
        tags=["operation"],
        operation_id="getMetrics",
        responses=PLAIN_TEXT | responses(401, 403, 408, 413, 421, 500),
        response_class=Response,
    )
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(counters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
