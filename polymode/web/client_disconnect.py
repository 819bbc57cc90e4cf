"""Work for a client that may leave before it is done (layer L4)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from polymode.web.gate import CLIENT_LEFT
from polymode.web.problems import Problem

T = TypeVar("T")


async def run_until_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the client leaves; then raises Problem."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Problem(CLIENT_LEFT, "the client left", fix="stay until the reply is there")
    finally:
        for task in (working, leaving):
            task.cancel()
        # Out of the queue before anybody hears of it, so that the model is not asked in between.
        await asyncio.gather(working, leaving, return_exceptions=True)
        await asyncio.sleep(0)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
