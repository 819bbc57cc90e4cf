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
from polymode.web.live.answers import LiveAnswers
from polymode.web.live.metrics import LiveMetrics
from polymode.web.live.monitor import LiveMonitor, watched
from polymode.web.live.routes import PATH as OUTCOMES
from polymode.web.live.routes import OutcomeRequest, outcome_routes
from polymode.web.problems import Problem, SafeJSON, problem_of_exception
from polymode.web.reviews.queue import ReviewQueue
from polymode.web.schema import AnswerSetReply, AnswerSetRequest, Health, Readiness
from polymode.web.typed_questions import PATH as TYPED
from polymode.web.typed_questions import TypedRequest, typed_paths

if TYPE_CHECKING:
    from polymode.web.pages.site import PageOptions

_BODIES = {
    "/v1/answer-sets": AnswerSetRequest,
    "/v1/chat/completions": ChatRequest,
    TYPED: TypedRequest,
    OUTCOMES: OutcomeRequest,
}
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
    base_path: str = "",
    allow_origins: Sequence[str] = (),
    live: LiveAnswers | None = None,
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
        base_path: where a proxy shows the server, such as ``/answers``; whether it takes that off or passes it on.
        allow_origins: other sites whose scripts may call the API from a browser; ``*`` for all.
        live: where answers are stored, to see whether guarantees still hold; by default nothing is stored.
    """
    access = Access(keys or Keys(), hosts, limits or Limits(), base_path, allow_origins)
    server_metrics = ServerMetrics()
    batcher = Batcher(generator, size=size, wait=wait, room=room, workers=workers, on_batch=server_metrics.count_batch)
    server_metrics.watch_queue(lambda: batcher.n_waiting)
    monitor = None if live is None else LiveMonitor(live, serving.policy)
    answer_service = AnswerService(serving, batcher, server_metrics, escalations, monitor)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with watched(monitor):
            yield
        await asyncio.to_thread(batcher.close, _SHUTDOWN_SECONDS)
        answer_service.close()

    app = _new_app(access, lifespan)
    _add_questions(app, answer_service)
    _add_operations(app, answer_service, batcher, server_metrics)
    if monitor is not None:
        server_metrics.add(LiveMetrics(monitor))
        app.include_router(outcome_routes(monitor.live, serving.policy.equality))
    return _finished(app, answer_service, pages, access, server_metrics, monitor)


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

        site = add_pages(app, answer_service, pages, access.keys, monitor)

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
        paths={"/openapi.json", *app.openapi()["paths"]},
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
    policy = None if answer_service is None else answer_service.serving.policy
    describe(app, policy, [AnswerSetRequest, ChatRequest, TypedRequest])
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

    app.include_router(chat_paths(answer_service))
    app.include_router(typed_paths(answer_service))


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
