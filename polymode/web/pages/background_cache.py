"""What takes a while to make and is wanted again: made once, in a thread of its own, and kept (layer L4)."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from typing import Generic, TypeVar

from polymode.web.problems import Problem

T = TypeVar("T")


class NotReadyError(Exception):
    """It is being made; ask again."""


class BackgroundCache(Generic[T]):
    """Things by key, the last few asked for; one is made at a time.

    A key must name everything that the thing depends on, such as the versions of files.

    Args:
        size: things that are kept.
        waiting: things that may wait to be made; more are refused with status 503.
    """

    def __init__(self, *, size: int, waiting: int = 8) -> None:
        self._size, self._waiting = size, waiting
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._held: OrderedDict[Hashable, Future[T]] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], T], *, patience: float = 2.0) -> T:
        """The thing of this key, made by ``make`` if it is not kept.

        Raises:
            NotYetError: it is not ready within ``patience`` seconds; it will be found when asked for again.
            Problem: too many wait.
            Exception: what ``make`` raised; asked again, it is tried again.
        """
        future = self._begun(key, make)
        if not future.done():
            await _done(future, patience)
        if future.exception() is not None:
            with self._lock:
                if self._held.get(key) is future:
                    del self._held[key]
        return future.result()

    def _begun(self, key: Hashable, make: Callable[[], T]) -> Future[T]:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
            if sum(not future.done() for future in self._held.values()) >= self._waiting:
                raise Problem(
                    503, "too many pages are being prepared", fix="wait a little", headers={"Retry-After": "5"}
                )
            finished = [known for known, future in self._held.items() if future.done()]
            for known in finished[: max(len(self._held) - self._size + 1, 0)]:
                del self._held[known]
            future: Future[T] = Future()
            self._held[key] = future
        # A daemon: a server that ends does not wait for a page that nobody will see.
        threading.Thread(target=self._make, args=(future, make), daemon=True).start()
        return future

    def _make(self, future: Future[T], make: Callable[[], T]) -> None:
        with self._turn:
            try:
                future.set_result(make())
            except BaseException as exc:  # whoever waits must hear of it
                future.set_exception(exc)


async def _done(future: Future[T], patience: float) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: Future[T]) -> None:
        with suppress(RuntimeError):  # the server ended meanwhile
            loop.call_soon_threadsafe(ready.set)

    future.add_done_callback(tell)
    try:
        async with asyncio.timeout(patience):
            await ready.wait()
    except TimeoutError:
        raise NotReadyError from None
