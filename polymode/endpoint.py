"""JSON requests to an HTTP endpoint that may be down, slow, overloaded or broken (layer L1; extra ``http``).

Every request ends: the time limit is for the whole exchange, a reply has a largest size, only failures that may pass
are tried again, a `Retry-After` is kept to, and an endpoint that fails again and again is left alone for a while, so
that a batch of thousands does not wait for each. Every failure is a VerifierFault with the reason.

Redirects are not followed and proxy variables are not read: the key goes to the address the user gave, nowhere else.

Requests of all threads run as coroutines on one event loop, which lives while there are any. There a deadline, or
`Endpoint.stop`, cancels whatever a request is waiting for, and what the requests share (pace, failures) needs no lock.
"""

from __future__ import annotations

import json
import math
import os
import random
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from itertools import count
from typing import Any, Protocol

from polymode.errors import ConfigError, MissingExtraError, VerifierFault
from polymode.http_replies import check_address, root_reason, seconds_to_wait, status_within

MAX_REPLY_BYTES = 1 << 20
"""Longer replies are refused."""
MAX_STREAMED_BYTES = 16 * MAX_REPLY_BYTES
"""The same for replies in parts, because each part has a frame around a few characters."""
MAX_WAIT = 60.0
"""Seconds; an endpoint that asks to wait longer counts as failed."""
FIRST_WAIT = 0.5
"""Seconds before the second attempt, a quarter more or less; doubles with each further one."""
GIVE_UP_AFTER = 16
"""Failed attempts in a row, over all requests, after which the endpoint is left alone."""
REST_SECONDS = 60.0
"""How long it is left alone."""

_TEMPORARY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class Refused(VerifierFault):
    """The endpoint answered that it cannot work with this request (status 400 or 422)."""


class Reader(Protocol):
    """What puts a reply together that comes in parts."""

    def feed(self, part: bytes) -> None:
        """The next bytes."""
        ...

    def reply(self) -> Any:
        """The whole; raises ValueError where it cannot be read."""
        ...


class _AttemptFailed(VerifierFault):
    """One attempt failed, for a reason that may pass."""

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait
        """Seconds that the endpoint asks to wait."""


class Endpoint:
    """One address that takes JSON by POST. Safe to use from several threads.

    Args:
        url: full address, http or https.
        api_key_env: environment variable that holds the key; read for each request, never kept.
        timeout: seconds for one attempt, to the last byte of the reply; a name that the system is still looking up then
            is waited for.
        retries: further attempts after one that may pass.
        requests_per_minute: most attempts started in a minute, evenly spaced; 0 means no limit.
        seconds_in_all: limit for all attempts of a `post` together.
        rest_seconds: how long it is left alone after many failures, REST_SECONDS by default.
        is_patient: for long runs. A request made meanwhile waits for the end of that time instead of failing; but until
            the first reply ever, which an address that is wrong never gives, there are at most two further attempts.

    Raises:
        ConfigError: an option out of its range, or no usable key in the environment.
        MissingExtraError: the packages of the extra ``http`` are not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key_env: str | None,
        timeout: float,
        retries: int,
        requests_per_minute: float,
        seconds_in_all: float = math.inf,
        rest_seconds: float | None = None,
        is_patient: bool = False,
    ) -> None:
        try:
            import httpx2  # noqa: F401
            from anyio.from_thread import BlockingPortalProvider
        except ImportError as exc:
            raise MissingExtraError(exc.name or "httpx2", "http", "a model behind an HTTP endpoint") from None
        check_address(url)
        self.url = url
        self._api_key_env = api_key_env
        self._timeout, self._retries = timeout, retries
        self._interval = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_in_all = seconds_in_all
        self._rest_seconds, self._is_patient = rest_seconds, is_patient
        self._certificates = ssl.create_default_context()  # the machine's, as for Python's own client
        self._event_loops = BlockingPortalProvider()
        self._pending: set[Future[Any]] = set()
        self._is_stopped = self._has_replied = False
        self._next_turn = self._rest_end = 0.0
        self._failures = 0
        self._last_problem = ""
        self._key()

    def post(self, body: Mapping[str, Any], reader: Callable[[], Reader] | None = None) -> Any:
        """The JSON reply to ``body``.

        Args:
            body: what is sent, as JSON.
            reader: makes what puts the reply together as it comes, anew for each attempt; called from a thread of the
                endpoint. By default the reply is one JSON text.

        Raises:
            Refused: status 400 or 422.
            VerifierFault: no usable reply, after all attempts; or none was made, because the endpoint is left alone.
        """
        content = json.dumps(body).encode("ascii")
        with self._event_loops as loop:
            reply = loop.start_task_soon(self._post, content, reader)
            self._pending.add(reply)
            try:
                return reply.result()
            except CancelledError:
                raise VerifierFault(f"{self.url}: no reply, stopped") from None
            except VerifierFault as exc:
                raise (Refused if isinstance(exc, Refused) else VerifierFault)(f"{self.url}: {exc}") from None
            finally:
                reply.cancel()  # of use when the waiting was interrupted
                self._pending.discard(reply)

    def stop(self) -> None:
        """Cut off every `post` under way in other threads; `resume` allows new ones."""
        self._is_stopped = True
        for reply in list(self._pending):
            reply.cancel()

    def resume(self) -> None:
        """Undo `stop`."""
        self._is_stopped = False

    async def _post(self, content: bytes, reader: Callable[[], Reader] | None) -> Any:
        from anyio import sleep

        deadline = time.monotonic() + self._seconds_in_all
        for attempt in count():
            try:
                return await self._attempt(content, deadline, None if reader is None else reader())
            except _AttemptFailed as exc:
                # The server's word is the least: 0, or the time of a clock that is behind, must not end all patience.
                wait = max(FIRST_WAIT * 2**attempt * random.uniform(0.75, 1.25), exc.wait or 0.0)
                retries = self._retries if self._has_replied or not self._is_patient else min(2, self._retries)
                if attempt >= retries or time.monotonic() + wait >= deadline:
                    raise
            await sleep(wait)

    async def _attempt(self, content: bytes, deadline: float, reader: Reader | None) -> Any:
        """The reply; raises _AttemptFailed where another attempt may succeed, else VerifierFault."""
        from anyio import fail_after
        from httpx2 import HTTPError

        await self._wait_for_turn(deadline)
        left = max(0.001, deadline - time.monotonic())
        seconds, limit = min((self._timeout, self._timeout), (left, self._seconds_in_all))
        try:
            with fail_after(seconds):
                status, retry_after, reply = await self._exchange(content, reader)
        except TimeoutError:
            raise self._failure(f"no reply within {limit:g} s") from None
        except (HTTPError, OSError) as exc:
            raise self._failure(root_reason(exc)) from None
        if status == 200:
            value = self._value(reply, reader)
            status = status_within(value)
            if status == 200:
                self._failures, self._has_replied = 0, True
                return value
        told = "status 200 with an error" if status is None else f"status {status}"
        problem = f"{told}: {self._excerpt(reply)}"
        if status in (400, 413, 422):  # alive, but this request leads nowhere
            self._failures = 0
            raise Refused(problem)
        wait = seconds_to_wait(retry_after)
        if wait is not None and wait > MAX_WAIT:
            raise self._failure(f"{problem} (asks to wait {wait:.0f} s)", may_pass=False)
        if wait is not None:  # what it asks of one request it means for all
            self._next_turn = max(self._next_turn, time.monotonic() + wait)
        raise self._failure(problem, may_pass=status is None or status in _TEMPORARY, wait=wait)

    def _value(self, reply: bytes, reader: Reader | None) -> Any:
        """What a reply with status 200 says; raises VerifierFault where it cannot be read."""
        if len(reply) > (longest := _longest(reader)):
            raise self._unreadable(f"reply longer than {longest:,} bytes")
        try:
            return json.loads(reply) if reader is None else reader.reply()
        except (ValueError, RecursionError) as exc:
            if reader is not None and not isinstance(exc, json.JSONDecodeError):
                raise self._unreadable(f"the reply broke off: {exc}") from None
            start = " ".join(reply[:80].decode("utf-8", "replace").split())
            raise self._unreadable(f"the reply is not JSON: {start!r}") from None

    def _unreadable(self, problem: str) -> VerifierFault:
        """The error of a reply that nobody can read, from an endpoint that is alive."""
        self._failures, self._has_replied = 0, True
        return VerifierFault(problem)

    async def _wait_for_turn(self, deadline: float) -> None:
        from anyio import sleep

        while (rest := self._rest_end - time.monotonic()) > 0:
            if not self._is_patient or time.monotonic() + rest >= deadline:
                raise VerifierFault(f"not asked, left alone for {rest:.0f} s more; last: {self._last_problem}")
            await sleep(rest)
        turn = max(time.monotonic(), self._next_turn)
        self._next_turn = turn + self._interval
        await sleep(max(0.0, turn - time.monotonic()))
        if self._is_stopped:
            raise VerifierFault("not asked, stopped")

    async def _exchange(self, content: bytes, reader: Reader | None) -> tuple[int, str | None, bytes]:
        """Status, `Retry-After`, and content of one request, which ``reader`` gets as it comes."""
        from httpx2 import AsyncClient

        headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
        headers["Accept-Encoding"] = "identity"
        if (key := self._key()) is not None:
            headers["Authorization"] = f"Bearer {key}"
        reply = bytearray()
        # No timeout here: it would be one for each step, and `_attempt` has one for all of them.
        async with (
            AsyncClient(verify=self._certificates, trust_env=False, follow_redirects=False, timeout=None) as client,
            client.stream("POST", self.url, content=content, headers=headers) as response,
        ):
            async for part in response.aiter_raw():  # as sent: a small compressed reply can be a huge text
                reply += part
                if len(reply) > _longest(reader):
                    break
                if reader is not None and response.status_code == 200:
                    reader.feed(part)
        return response.status_code, response.headers.get("Retry-After"), bytes(reply)

    def _failure(self, problem: str, *, may_pass: bool = True, wait: float | None = None) -> VerifierFault:
        """The error of a failed attempt, which is counted: after many, or one that will not pass, comes a rest."""
        self._failures += 1
        if self._failures >= GIVE_UP_AFTER or not may_pass:
            self._failures = 0
            self._last_problem = problem
            seconds = REST_SECONDS if self._rest_seconds is None else self._rest_seconds
            self._rest_end = time.monotonic() + seconds
        return _AttemptFailed(problem, wait) if may_pass else VerifierFault(problem)

    def _key(self) -> str | None:
        if self._api_key_env is None:
            return None
        key = os.environ.get(self._api_key_env, "")
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            state = "is not set" if not key else "holds white space or other characters that no key has"
            raise ConfigError(
                f"api_key_env = {self._api_key_env!r}: this environment variable {state}; set it to the key, or leave "
                "api_key_env out for an endpoint without keys"
            )
        return key

    def _excerpt(self, content: bytes) -> str:
        """The start of an error message, on one line and without the key, should the endpoint repeat it."""
        text = content[:4096].decode("utf-8", "replace")
        if self._api_key_env is not None and (key := os.environ.get(self._api_key_env)):
            text = text.replace(key, "***")
        return " ".join(text.split())[:200] or "empty reply"


def _longest(reader: Reader | None) -> int:
    return MAX_REPLY_BYTES if reader is None else MAX_STREAMED_BYTES
