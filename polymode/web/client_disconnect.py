"""Work for a client that may disconnect before it is done (layer L6)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from polymode.web.gate import CLIENT_CLOSED_REQUEST
from polymode.web.problems import Problem

T = TypeVar("T")


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
