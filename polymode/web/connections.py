"""Limits on connections by what they do, so that idle ones never keep others out (layer L6).

A connection waits for a request (it has sent nothing, or only the beginning of one), or a request of it is being
answered. Those that wait too long are closed; when there are too many in all, the one that has waited longest is closed
for the one that comes. Requests under way have limits of their own (`polymode.web.gate.Limits`, the queue).

uvicorn's own ``limit_concurrency`` is not used: it counts idle connections, so that a thousand of them would make every
request fail, that of a load balancer to /health too. Nor does it limit how slowly a request's head arrives.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""From the start of a connection, or the first byte of a later request, to the end of the request's head."""
MAX_CONNECTIONS = 4096
GRACE_SECONDS = 2.0
"""A connection that is younger has not had time to send its request, and is not closed for another."""
BEYOND = 128
"""Connections beyond the limit that may be open because of that."""
SPARE_FILES = 256
"""Open files for everything but connections: model, review queue, runs."""
LEAST_CONNECTIONS = 64


def most_connections() -> int:
    """Connections that this process may have, having raised its limit of open files as far as it may."""
    try:
        import resource
    except ImportError:  # a system without such limits
        return MAX_CONNECTIONS
    enough = MAX_CONNECTIONS + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < enough:
        soft = enough if hard == resource.RLIM_INFINITY else min(hard, enough)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = enough if soft == resource.RLIM_INFINITY else soft
    return max(LEAST_CONNECTIONS, min(MAX_CONNECTIONS, files - SPARE_FILES))


def bounded_protocol(
    limit: int, head_seconds: float = HEAD_SECONDS, grace_seconds: float = GRACE_SECONDS
) -> type[H11Protocol]:
    """The protocol of one server.

    Args:
        limit: connections at once, as long as one of them waits.
        head_seconds: longest time for the head of a request.
        grace_seconds: how long a connection may wait in any case, up to `BEYOND` the limit.
    """
    waiting: dict[Any, float] = {}  # since when connections have had no request, the one that has waited longest first

    class BoundedProtocol(H11Protocol):
        """One connection."""

        head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limit and waiting:
                longest, since = next(iter(waiting.items()))
                if self.loop.time() - since >= grace_seconds or len(self.connections) > limit + BEYOND:
                    longest.close()
            self._note_state()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._note_state()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._note_state(is_kept=True)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            waiting.pop(self, None)
            self._end_timer()

        def close(self) -> None:
            """End a connection that waits."""
            waiting.pop(self, None)
            if not self.transport.is_closing():
                self.transport.close()

        def _note_state(self, *, is_kept: bool = False) -> None:
            """Put the connection among those that wait, or take it out; a kept one has uvicorn's own, shorter timer."""
            if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
                waiting.pop(self, None)
                self._end_timer()
                return
            waiting.setdefault(self, self.loop.time())
            if self.head_timer is None and not is_kept:
                self.head_timer = self.loop.call_later(head_seconds, self.close)

        def _end_timer(self) -> None:
            if self.head_timer is not None:
                self.head_timer.cancel()
                self.head_timer = None

    return BoundedProtocol
