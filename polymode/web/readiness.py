"""Whether the model would answer now (layer L6).

The last request that reached the model decides. When it failed, or was too long ago, the model is asked for one token,
so that a server that is back is noticed without a restart and without users.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

GOOD_SECONDS = 10.0
"""How long after an answer the model counts as ready."""
BAD_SECONDS = 2.0
"""How long after a failure the model is not tried again."""


class Readiness:
    """Remembers whether the model answered last.

    Args:
        probe: asks the model for one token, calls `note`, and never raises.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]]) -> None:
        self._probe = probe
        self._problem: str | None = None
        self._until = 0.0
        self._running: asyncio.Task[None] | None = None

    def note(self, problem: str | None) -> None:
        """The model answered (None), or failed for this reason."""
        self._problem = problem
        self._until = time.monotonic() + (GOOD_SECONDS if problem is None else BAD_SECONDS)

    async def problem(self) -> str | None:
        """Why the model would not answer; None when it would. Concurrent callers share one probe."""
        if time.monotonic() >= self._until:
            if self._running is None or self._running.done():
                self._running = asyncio.ensure_future(self._probe())
            await asyncio.shield(self._running)
        return self._problem
