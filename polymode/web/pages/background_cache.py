"""Background cache: slow results are computed once, in a thread, and kept for later requests (layer L6)."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from polymode.web.problems import Problem

T = TypeVar("T")


class NotReadyError(Exception):
    """The result is still being computed; ask again."""


class BackgroundCache(Generic[T]):
    """The most recently used results by key; one is computed at a time.

    A key must name everything that the result depends on, such as the versions of files.

    Args:
        size: results that are kept.
        waiting: results that may wait to be computed; more are refused with status 503.
    """

    def __init__(self, *, size: int, waiting: int = 8) -> None:
        self._size, self._waiting = size, waiting
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._futures: OrderedDict[Hashable, Future[T]] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], T], *, patience: float = 2.0) -> T:
        """The result of this key, computed by ``make`` if it is not in the cache.

        Raises:
            NotReadyError: it is not ready within ``patience`` seconds; a later call finds it.
            Problem: too many results wait.
            Exception: what ``make`` raised; the next call tries again.
        """
        future = self._start(key, make)
        try:
            async with asyncio.timeout(patience):
                while not future.done():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise NotReadyError from None
        if future.exception() is not None:
            with self._lock:
                if self._futures.get(key) is future:
                    del self._futures[key]
        return future.result()

    def _start(self, key: Hashable, make: Callable[[], T]) -> Future[T]:
        with self._lock:
            if key in self._futures:
                self._futures.move_to_end(key)
                return self._futures[key]
            if sum(not future.done() for future in self._futures.values()) >= self._waiting:
                raise Problem(
                    503, "too many pages are being prepared", fix="wait a little", headers={"Retry-After": "5"}
                )
            finished = [old for old, future in self._futures.items() if future.done()]
            for old in finished[: max(len(self._futures) - self._size + 1, 0)]:
                del self._futures[old]
            future: Future[T] = Future()
            self._futures[key] = future
        # A daemon: a server that shuts down does not wait for a page that nobody will see.
        threading.Thread(target=self._run, args=(future, make), daemon=True).start()
        return future

    def _run(self, future: Future[T], make: Callable[[], T]) -> None:
        with self._turn:
            try:
                future.set_result(make())
            except BaseException as exc:  # those who wait must get it
                future.set_exception(exc)
