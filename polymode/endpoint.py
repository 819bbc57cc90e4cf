"""JSON requests to an HTTP endpoint that may be down, slow, busy or talking nonsense (layer L1; standard library only).

Made for the judge; `polymode.generate.openai_http` asks model servers by it too.

Every request ends: the time limit is for the whole exchange, a reply has a largest size, only failures that may pass
are tried again, a `Retry-After` is kept to, and an endpoint that fails again and again is left alone for a while, so
that a batch of thousands does not wait for each. Every failure is a VerifierFault with the reason.

Redirects are not followed and proxy variables are not read: the key goes to the address the user gave, nowhere else.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from polymode.errors import ConfigError, VerifierFault

MAX_REPLY_BYTES = 1 << 20
"""Longer replies are refused."""
MAX_WAIT = 60.0
"""Seconds; an endpoint that asks to wait longer counts as failed."""
FIRST_WAIT = 0.5
"""Seconds before the second attempt; doubles with each further one."""
GIVE_UP_AFTER = 16
"""Failed attempts in a row, over all requests, after which the endpoint is left alone."""
REST_SECONDS = 60.0
"""How long it is left alone."""

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class Refused(VerifierFault):
    """The endpoint answered that it cannot work with this request (status 400 or 422)."""


class Endpoint:
    """One address that takes JSON by POST. Safe to use from several threads.

    Args:
        url: full address, http or https.
        api_key_env: environment variable that holds the key; read for each request, never kept.
        timeout: seconds for one attempt, from connecting to the last byte.
        retries: further attempts after one that may pass.
        requests_per_minute: most attempts started in a minute, evenly spaced; 0 means no limit.
        seconds_in_all: limit for all attempts of a `post` together.
        rest_seconds: how long it is left alone after many failures, REST_SECONDS by default.

    Raises:
        ConfigError: an option out of its range, or no usable key in the environment.
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
    ) -> None:
        self._is_secure, self._host, self._port, self._path = _address(url)
        self.url = url
        self._api_key_env = api_key_env
        self._timeout, self._retries = timeout, retries
        self._seconds_in_all = seconds_in_all
        self._rest_seconds = rest_seconds
        self._pace = _Pace(60 / requests_per_minute if requests_per_minute else 0.0)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._failures = 0
        self._rests_until = 0.0
        self._last_problem = ""
        self._key()

    def post(self, body: Mapping[str, Any]) -> Any:
        """The JSON reply to ``body``.

        Raises:
            Refused: status 400 or 422.
            VerifierFault: no usable reply, after all attempts; or none was made, because the endpoint is left alone.
        """
        data = json.dumps(body).encode("ascii")
        deadline = time.monotonic() + self._seconds_in_all
        for attempt in range(self._retries + 1):
            self._wait_for_turn()
            outcome = self._attempt(data, min(self._timeout, max(0.001, deadline - time.monotonic())))
            if isinstance(outcome, bytes):
                return _parsed(outcome, self.url)
            problem, passes, asked = outcome
            wait = FIRST_WAIT * 2**attempt * random.uniform(0.75, 1.25) if asked is None else asked
            if not passes or attempt == self._retries:
                break
            if wait > MAX_WAIT:
                problem += f" (asks to wait {wait:.0f} s)"
                break
            if time.monotonic() + wait >= deadline:
                break
            if asked is not None:
                self._pace.pause(asked)  # what it asks of one request it means for all
            self._stop.wait(wait)
        raise VerifierFault(f"{self.url}: {problem}")

    def stop(self) -> None:
        """Cut off every `post` under way in other threads; `resume` allows new ones."""
        self._stop.set()
        with self._lock:
            for sock in self._sockets:
                _hang_up(sock)

    def resume(self) -> None:
        """Undo `stop`."""
        self._stop.clear()

    def _wait_for_turn(self) -> None:
        rest = self._rests_until - time.monotonic()
        if rest > 0:
            raise VerifierFault(f"{self.url}: not asked, left alone for {rest:.0f} s more; last: {self._last_problem}")
        self._stop.wait(self._pace.delay())
        if self._stop.is_set():
            raise VerifierFault(f"{self.url}: not asked, stopped")

    def _attempt(self, data: bytes, seconds: float) -> bytes | _Problem:
        """The reply's content, or what went wrong."""
        try:
            status, retry_after, content = self._exchange(data, seconds)
        except TimeoutError:
            problem = _Problem(f"no reply within {seconds:.3g} s", True, None)
        except (OSError, http.client.HTTPException) as exc:
            problem = _Problem(" ".join(f"{type(exc).__name__}: {exc}".split())[:200], True, None)
        else:
            if status == 200 and len(content) <= MAX_REPLY_BYTES:
                self._failures = 0
                return content
            said = f"status {status}: {self._excerpt(content)}"
            if status in (200, 400, 413, 422):  # alive, but this request leads nowhere
                self._failures = 0
                if status == 200:
                    return _Problem(f"reply longer than {MAX_REPLY_BYTES:,} bytes", False, None)
                raise Refused(f"{self.url}: {said}")
            problem = _Problem(said, status in _PASSING, retry_after)
        self._note_failure(problem)
        return problem

    def _exchange(self, data: bytes, seconds: float) -> tuple[int, float | None, bytes]:
        """Status, seconds of `Retry-After`, and content of one request."""
        kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=seconds)
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
        key = self._key()
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        deadline = time.monotonic() + seconds
        watch: threading.Timer | None = None
        sock: Any = None
        try:
            connection.connect()
            sock = connection.sock
            with self._lock:
                self._sockets.add(sock)
            # The timeout of a socket is for each piece of a reply; a slow drip of pieces is cut off here.
            watch = threading.Timer(max(0.0, deadline - time.monotonic()), _hang_up, [sock])
            watch.daemon = True
            watch.start()
            connection.request("POST", self._path, body=data, headers=headers)
            response = connection.getresponse()
            content = response.read(MAX_REPLY_BYTES + 1)
            if time.monotonic() > deadline:
                raise TimeoutError
            if response.length and len(content) <= MAX_REPLY_BYTES:  # less came than was announced
                raise http.client.IncompleteRead(b"", response.length)
            return response.status, _seconds(response.headers.get("Retry-After")), content
        except (OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise TimeoutError from None
            raise
        finally:
            if watch is not None:
                watch.cancel()
            with self._lock:
                self._sockets.discard(sock)
            connection.close()

    def _note_failure(self, problem: _Problem) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= GIVE_UP_AFTER or not problem.passes:
                self._failures = 0
                self._last_problem = problem.text
                self._rests_until = time.monotonic() + (
                    REST_SECONDS if self._rest_seconds is None else self._rest_seconds
                )

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


def _address(url: str) -> tuple[bool, str, int, str]:
    """Whether it is https, host, port and path."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username is not None
        or parts.query
        or not (parts.path.isascii() and parts.path.isprintable() and " " not in parts.path)
    ):
        shown = repr(url) if "@" not in url else "with a name or password"
        raise ConfigError(
            f"base_url {shown} is not allowed: give an address such as http://localhost:8000/v1, without name, password"
            " or query; a key goes into an environment variable, see api_key_env"
        )
    is_secure = parts.scheme == "https"
    return is_secure, parts.hostname, port or (443 if is_secure else 80), parts.path


class _Problem(NamedTuple):
    """Why an attempt failed."""

    text: str
    passes: bool
    """Whether another attempt may succeed."""
    wait: float | None
    """Seconds the endpoint asks to wait."""


class _Pace:
    """Spaces attempts of all threads."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = 0.0
        self._lock = threading.Lock()

    def delay(self) -> float:
        """Seconds until the next free turn, which is taken."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval
            return turn - now

    def pause(self, seconds: float) -> None:
        """No turn before so many seconds from now."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def _hang_up(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _parsed(content: bytes, url: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        start = " ".join(content[:80].decode("utf-8", "replace").split())
        raise VerifierFault(f"{url}: the reply is not JSON: {start!r}") from None


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After` in seconds: a number, or the time of day; None when there is none that can be read."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
