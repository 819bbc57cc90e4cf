"""Checks before a request is handled, and the counters of the server (layer L6; plain ASGI).

Each request gets an id, is counted, timed and logged; neither questions nor answers are logged. The whole body is read
here, bounded in bytes and in seconds however it is sent, before anything else is done with it.

Starlette's TrustedHostMiddleware is not used: it answers 400 in plain text, before requests have an id and are counted,
where clients of this server get 421 as problem JSON or as a page.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polymode.web.keys import EVERYBODY, NOBODY, Caller, Keys
from polymode.web.problems import Problem, problem_of_exception, problem_response

if TYPE_CHECKING:
    from polymode.web.pages.site import Site

T = TypeVar("T")
log = logging.getLogger("polymode.web")

OPEN_PATHS = ("/health", "/ready")
"""Paths that need no key: process supervisors and load balancers call them."""
MODELS = "/v1/models/"
API_SCOPES = {"/v1/": "ask", "/metrics": "operate"}
"""Scope that a key needs, by how a path begins; any key may read the rest (the description of the API)."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
CLIENT_CLOSED_REQUEST = 499
"""Status in log and counters of a request whose client disconnected."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    # Not no-referrer: browsers would then call the origin of this server's own forms null.
    "referrer-policy": "same-origin",
    # No script but the server's own file runs, whatever a user or a model wrote, and no other site shows a page inside
    # its own.
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
}
"""Headers of every reply that does not set them itself: a file of a run folder has a content policy of its own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a request before it is handled."""

    body_bytes: int = 262_144
    """Longest body; a longer one gets status 413."""
    body_seconds: float = 10.0
    """Longest time to send a body; a slower one gets status 408."""
    active: int = 1000
    """Requests at once; more get status 503, except on the paths that supervisors call."""


class ServerMetrics:
    """Metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.n_active = 0
        """Requests that are being answered now."""
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        histogram = partial(Histogram, registry=self._registry)
        self.requests = counter(
            "polymode_requests", "Requests, by path, status and name of the key", ["path", "status", "key"]
        )
        self.seconds = histogram(
            "polymode_request_seconds", "Seconds from a request to its reply", ["path"], buckets=SECONDS
        )
        self._waiting = Gauge("polymode_queue_length", "Requests that wait for the model", registry=self._registry)
        active = Gauge("polymode_active_requests", "Requests that are being answered", registry=self._registry)
        active.set_function(lambda: self.n_active)
        self._batch_size = histogram("polymode_batch_size", "Requests of a batch", buckets=SIZES)
        self._batch_seconds = histogram("polymode_batch_seconds", "Seconds of a batch", buckets=SECONDS)
        self.decisions = counter("polymode_decisions", "Decisions, by kind and risk", ["kind", "risk"])
        self.completions = counter("polymode_completions", "Completions, by how they were read", ["status"])
        self.tokens = counter("polymode_tokens", "Tokens, where they are known", ["kind"])
        self.faults = counter("polymode_model_faults", "Requests that the model or its server failed")
        self.store_faults = counter("polymode_live_store_faults", "Answers that could not be stored")

    def count_batch(self, size: int, seconds: float) -> None:
        """Count one batch."""
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Read the length of the queue from ``length`` at every scrape."""
        self._waiting.set_function(length)

    def add(self, collector: Collector) -> None:
        """Ask ``collector`` for further metrics at every scrape."""
        self._registry.register(collector)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


@dataclass(frozen=True, slots=True)
class Gate:
    """ASGI middleware."""

    app: ASGIApp
    keys: Keys
    """Of those who may ask; without any, everybody may."""
    hosts: Collection[str] | None
    """Names by which clients may call the server; None for any. They stop DNS rebinding, by which a page in a browser
    reaches a server on the same machine under a host name of its own."""
    limits: Limits
    metrics: ServerMetrics
    paths: Collection[str]
    """That exist; all others are counted as one."""
    pages: Site | None = None
    base_path: str = ""
    """Where a proxy shows the server. Within the server every path begins at its root; what leaves gets it in front."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method, state = scope["method"], scope.setdefault("state", {})
        state |= {"request_id": uuid.uuid4().hex, "base_path": self.base_path}
        # A HEAD is answered as the GET would be, without its body.
        scope = {**scope, "method": "GET" if method == "HEAD" else method, "path": self._own_path(scope["path"])}
        start, status, is_started = time.monotonic(), 500, False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, is_started
            if message["type"] == "http.response.start":
                status, is_started = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in {"x-request-id": scope["state"]["request_id"], **HEADERS}.items():
                    headers.setdefault(name, value)
                if "location" in headers:
                    headers["location"] = self._address(headers["location"], scope)
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        self.metrics.n_active += 1
        try:
            try:
                request = Request(scope, receive)
                self._check_host(request.headers)
                self._check_room(scope["path"])
                scope["state"]["caller"] = self._caller(request.headers, scope)
                body = await self._body(request)
            except Problem as problem:
                await self._keep_form(problem, Request(scope, receive))
                await refusal(problem, scope, self.pages)(scope, receive, send_with_headers)
            except ClientDisconnect:
                status = CLIENT_CLOSED_REQUEST
            else:
                await self.app(scope, _replayed(body, receive), send_with_headers)
        except Exception as exc:
            log.exception("the server failed")
            if is_started:
                raise
            await refusal(problem_of_exception(exc), scope, self.pages)(scope, receive, send_with_headers)
        finally:
            self.metrics.n_active -= 1
            seconds = time.monotonic() - start
            path = self._path_label(scope["path"])
            caller: Caller = scope["state"].get("caller", NOBODY)
            self.metrics.requests.labels(path, status, caller.name).inc()
            self.metrics.seconds.labels(path).observe(seconds)
            name = caller.name or "-"
            request_id = scope["state"]["request_id"]  # a page's form may have one already, see ask_page
            log.info("%s %s %d %.0f ms %s %s", method, path, status, 1000 * seconds, request_id, name)

    def _own_path(self, path: str) -> str:
        """A path without the base path, which some proxies pass on and others take off."""
        rest = path.removeprefix(self.base_path)
        return (rest or "/") if rest[:1] in ("", "/") else path

    def _address(self, location: str, scope: Scope) -> str:
        """Where a redirect leads, as the browser must call it: without a host, which a proxy changes."""
        host = Headers(scope=scope).get("host", "")
        own = re.sub(rf"^https?://{re.escape(host)}(?=/)", "", location) if host else location
        return self.base_path + own if own.startswith("/") and not own.startswith("//") else location

    async def _keep_form(self, problem: Problem, request: Request) -> None:
        """Read the form of somebody who must sign in first, so that what they typed comes back afterwards."""
        is_form = request.method == "POST" and self.pages is not None and self.pages.owns(request.url.path)
        if problem.status == 401 and is_form:
            with suppress(Problem, ClientDisconnect):
                request.state.form_body = await self._body(request)

    def _path_label(self, path: str) -> str:
        """The path as counters and log name it: one of a few, whatever was requested."""
        if path in self.paths:
            return path
        if path.startswith(MODELS):
            return MODELS + "{model}"
        return "/" + path[1:].partition("/")[0] if self.pages is not None and self.pages.owns(path) else "other"

    def _check_host(self, headers: Headers) -> None:
        if self.hosts is not None and _host(headers.get("host", "")) not in self.hosts:
            raise Problem(
                421,
                "the server is not called by this name",
                field="Host",
                value=headers.get("host"),
                allowed=", ".join(sorted(self.hosts)),
                fix="use the address that the server printed when it started",
            )

    def _check_room(self, path: str) -> None:
        if self.metrics.n_active > self.limits.active and path not in OPEN_PATHS:
            title, fix = "the server answers as many requests as it can", "send it again in a moment"
            raise Problem(503, title, fix=fix, headers={"Retry-After": "1", "Connection": "close"})

    def _caller(self, headers: Headers, scope: Scope) -> Caller:
        """Who sends the request; raises Problem when their key does not allow it."""
        path = scope["path"]
        if not self.keys.are_required:
            return EVERYBODY
        if path in OPEN_PATHS:
            return NOBODY
        if self.pages is not None and self.pages.owns(path):
            return self.pages.caller(scope)
        scheme, _, key = headers.get("authorization", "").partition(" ")
        caller = self.keys.owner(key.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise Problem(
                401,
                "no API key" if not key else "the API key is not known",
                field="Authorization",
                allowed="Bearer KEY",
                fix="send the key that the operator of the server gave you in the header Authorization",
                headers={"WWW-Authenticate": "Bearer"},
            )
        scope["state"]["caller"] = caller  # so that a refusal is logged and counted with its name
        needed = next((needed for start, needed in API_SCOPES.items() if path.startswith(start)), None)
        if needed is not None and needed not in caller.scopes:
            raise out_of_scope(needed)
        return caller

    async def _body(self, request: Request) -> bytes:
        """The whole body; raises Problem when it is too long or too slow, and ClientDisconnect."""
        limits, close = self.limits, {"Connection": "close"}
        too_long = Problem(
            413,
            "the body is too long",
            field="body",
            allowed=f"{limits.body_bytes:,} bytes",
            fix="send a shorter question",
            headers=close,
        )
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limits.body_bytes:
            raise too_long
        body = bytearray()
        try:
            async with asyncio.timeout(limits.body_seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > limits.body_bytes:
                        raise too_long
        except TimeoutError:
            allowed, fix = f"{limits.body_seconds:g} s", "send the request again"
            slow = Problem(408, "the body came too slowly", field="body", allowed=allowed, fix=fix, headers=close)
            raise slow from None
        return bytes(body)


def out_of_scope(scope: str) -> Problem:
    """The refusal of a request that the caller's key does not allow."""
    return Problem(
        403,
        "the API key does not allow this",
        field="Authorization",
        allowed=f"a key with the scope {scope}",
        fix="ask the operator of the server for a key with that scope",
    )


def refusal(problem: Problem, scope: Scope, pages: Site | None) -> Response:
    """The reply to a request that is not answered: a page where one was asked for, else JSON."""
    if pages is not None and pages.owns(scope["path"]):
        return pages.problem(problem, scope)
    return problem_response(problem, scope["state"]["request_id"], scope["path"])


def _host(header: str) -> str:
    """Host name or address of a Host header, without port and brackets."""
    if header.startswith("["):
        address, _, rest = header[1:].partition("]")
        return address if not rest or rest.startswith(":") else header
    return header.partition(":")[0].lower()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the whole body at once, then waits for the client to disconnect."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


async def run_until_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the client disconnects; then raises Problem."""
    result = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({result, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            return result.result()
        raise Problem(CLIENT_CLOSED_REQUEST, "the client disconnected", fix="wait for the reply")
    finally:
        for task in (result, disconnect):
            task.cancel()
        # The request must be out of the queue before this returns, so that the model is not asked in between.
        await asyncio.gather(result, disconnect, return_exceptions=True)
        await asyncio.sleep(0)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
