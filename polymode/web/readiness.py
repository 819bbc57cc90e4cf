"""Whether the model would answer now (layer L4).

The verdict is that of the last request that reached the model. When it was a failure, or nobody asked for a while, the
model itself is asked for one token: so a server that comes back is found without a restart and without users.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

GOOD_SECONDS = 10.0
"""How long an answer proves that the model answers."""
BAD_SECONDS = 2.0
"""How long a failure is believed before the model is tried again."""


class Readiness:
    """Remembers how the model did last.

    Args:
        trial: asks the model for next to nothing; calls `note`, and never raises.
    """

    def __init__(self, trial: Callable[[], Awaitable[None]]) -> None:
        self._trial = trial
        self._problem: str | None = None
        self._until = 0.0
        self._trying: asyncio.Task[None] | None = None

    def note(self, problem: str | None) -> None:
        """The model answered (None), or failed for this reason."""
        self._problem = problem
        self._until = time.monotonic() + (GOOD_SECONDS if problem is None else BAD_SECONDS)

    async def problem(self) -> str | None:
        """Why the model would not answer; None when it would. Several callers share one trial."""
        if time.monotonic() >= self._until:
            if self._trying is None or self._trying.done():
                self._trying = asyncio.ensure_future(self._trial())
            await asyncio.shield(self._trying)
        return self._problem
