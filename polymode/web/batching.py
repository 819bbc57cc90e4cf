"""Concurrent requests to one model, answered in batches by worker threads (layer L6).

A worker takes the oldest waiting request and those behind it that can share a batch with it: as soon as there are
enough of them, or when the oldest has waited long enough. The queue is bounded, and a cancelled request leaves it. No
request fails because of another: when a batch fails for a reason that may lie in one prompt, each is asked alone.

Each request has a seed, and what it gets depends on that, not on its neighbours: only a generator that takes a seed for
each prompt is given several at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from polymode.errors import GeneratorFault, PromptRefusedError
from polymode.generate import Generated, Generator

log = logging.getLogger(__name__)

FIRST_GUESS = 1.0
"""Assumed seconds of a batch before the first one was measured."""
MEMORY = 16
"""Last batches by which the speed is measured."""
OVERDUE = 0.25
"""A batch that lasts longer than the mean is expected to last this share of what it has lasted, once more."""


class QueueFullError(Exception):
    """The queue has no room for another request."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        """After which a place is expected to be free."""


class ShareFullError(QueueFullError):
    """One owner's share of the queue has no room for another request."""


class ClosedError(Exception):
    """The server is shutting down."""


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """One prompt and how to sample from it."""

    prompt: str
    k: int
    """Answers that it asks for; longer sets would hold up shorter ones of the same batch."""
    max_tokens: int
    temperature: float
    seed: int = 0
    n: int = 1
    """Completions of it."""

    def joins(self, other: PromptRequest) -> bool:
        """Whether both may be in one batch."""
        own, others = ((one.k, one.max_tokens, one.temperature, one.n) for one in (self, other))
        return own == others


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    request: PromptRequest
    since: float
    future: Future[list[Generated]]
    owner: str
    on_text: Callable[[int, str], None] | None


class Batcher:
    """Collects requests and passes them to a generator in batches.

    Args:
        generator: called from the worker threads only.
        size: most completions in a batch, where that is more than those of one request.
        wait: seconds that the oldest request waits for others to join it.
        room: requests that may wait; more are refused.
        workers: threads; more than one for a generator that may be called from several (a server elsewhere).
        on_batch: called with the number of requests and the duration in seconds of every batch.
        clock: in seconds, by which the speed is measured.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        size: int = 16,
        wait: float = 0.01,
        room: int = 64,
        workers: int = 1,
        on_batch: Callable[[int, float], None] = lambda size, seconds: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._generator, self._size, self._wait, self._room, self._on_batch = generator, size, wait, room, on_batch
        self._takes_seeds = bool(getattr(generator, "takes_seeds", False))
        self._tells_texts = bool(getattr(generator, "tells_texts", False))
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._is_closing = False
        self._clock = clock
        self._durations: deque[float] = deque(maxlen=MEMORY)
        self._starts: dict[int, float] = {}
        """When the batches under way began, by the worker."""
        self._n_refused = 0
        """Requests refused since a worker last took some; they come back before those that are refused after them."""
        self._threads = [
            threading.Thread(target=self._work, name=f"polymode-batch-{i}", daemon=True) for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        request: PromptRequest,
        *,
        owner: str = "",
        share: float = 1.0,
        on_text: Callable[[int, str], None] | None = None,
    ) -> Future[list[Generated]]:
        """The completions to come; cancelling it while it waits takes it out of the queue.

        Args:
            request: the prompt and how to sample.
            owner: whose request it is.
            share: of the waiting places, the most that this owner's requests may take, but always one.
            on_text: called from the worker with the number of a completion and its text so far, as it grows; never
                where the generator does not tell.

        Raises:
            QueueFullError: too many wait; ShareFullError when they are this owner's.
            ClosedError: `close` was called.
        """
        with self._changed:
            if self._is_closing:
                raise ClosedError
            self._drop_cancelled()
            own = [place for place, waiting in enumerate(self._queue) if waiting.owner == owner]
            if len(self._queue) >= self._room:
                raise QueueFullError(self._seconds_until_room(0))
            if len(own) >= max(1, int(share * self._room)):
                raise ShareFullError(self._seconds_until_room(own[0]))
            waiting = _Waiting(request, time.monotonic(), Future(), owner, on_text)
            self._queue.append(waiting)
            self._changed.notify_all()
        return waiting.future

    @property
    def n_waiting(self) -> int:
        """Requests that wait for a worker."""
        with self._changed:
            self._drop_cancelled()
            return len(self._queue)

    @property
    def is_alive(self) -> bool:
        """Whether every worker runs."""
        return not self._is_closing and all(thread.is_alive() for thread in self._threads)

    def _seconds_until_room(self, n_ahead: int) -> float:
        """Seconds until a worker takes the request with ``n_ahead`` before it, and each earlier refusal has its place.

        Workers take a batch whenever one ends. Batches are expected to last as long as the last ones did on average,
        and to be as large as the next one would be.
        """
        now = self._clock()
        lasted = [now - start for start in self._starts.values()]
        mean = sum(self._durations) / len(self._durations) if self._durations else max([FIRST_GUESS, *lasted])
        left = [mean - seconds if seconds < mean else OVERDUE * seconds for seconds in lasted]
        first = min(left) if len(left) == len(self._threads) else self._wait
        n_batches = (n_ahead + self._n_refused) // len(self._batch_of(self._queue[0]))
        self._n_refused = min(self._n_refused + 1, self._room)
        return first + n_batches * mean / len(self._threads)

    def close(self, seconds: float = 5.0) -> None:
        """Refuse new requests, fail the waiting ones, and give the batches under way some time to end."""
        with self._changed:
            self._is_closing = True
            while self._queue:
                waiting = self._queue.popleft()
                if waiting.future.set_running_or_notify_cancel():
                    waiting.future.set_exception(ClosedError())
            self._changed.notify_all()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while batch := self._next_batch():
            live = [waiting for waiting in batch if waiting.future.set_running_or_notify_cancel()]
            if live:
                worker, start = threading.get_ident(), self._clock()
                self._starts[worker] = start
                outcomes = self._outcomes(live)
                seconds = self._clock() - start
                with self._changed:
                    del self._starts[worker]
                    self._durations.append(seconds)
                self._on_batch(len(live), seconds)  # counted before its answers are returned
                for waiting, outcome in zip(live, outcomes, strict=True):
                    if isinstance(outcome, GeneratorFault):
                        waiting.future.set_exception(outcome)
                    else:
                        waiting.future.set_result(outcome)

    def _next_batch(self) -> list[_Waiting]:
        """Requests to answer now; empty when the batcher is closed."""
        with self._changed:
            while not self._is_closing:
                self._drop_cancelled()
                if not self._queue:
                    self._changed.wait()
                    continue
                first = self._queue[0]
                batch = self._batch_of(first)
                patience = first.since + self._wait - time.monotonic()
                if len(batch) == self._size_for(first) or patience <= 0:
                    self._queue = deque(w for w in self._queue if w not in batch)
                    self._n_refused = 0
                    return batch
                self._changed.wait(patience)
            return []

    def _size_for(self, first: _Waiting) -> int:
        """Most requests in a batch with this one."""
        return max(1, self._size // first.request.n) if self._takes_seeds else 1

    def _batch_of(self, first: _Waiting) -> list[_Waiting]:
        """The oldest request and those behind it that can share a batch with it."""
        return [w for w in self._queue if w is first or w.request.joins(first.request)][: self._size_for(first)]

    def _drop_cancelled(self) -> None:
        self._queue = deque(waiting for waiting in self._queue if not waiting.future.cancelled())

    def _outcomes(self, batch: list[_Waiting]) -> list[list[Generated] | GeneratorFault]:
        """Completions or fault of each request; a batch that fails, though the server is up, is asked one by one."""
        request = batch[0].request
        extra = {}
        if self._tells_texts and any(waiting.on_text for waiting in batch):
            extra = {"on_text": lambda i, sample, text: (tell := batch[i].on_text) and tell(sample, text)}
        try:
            seeds: Any = [waiting.request.seed for waiting in batch]
            generated = self._generator.generate(
                [waiting.request.prompt for waiting in batch],
                n=request.n,
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                seed=seeds if self._takes_seeds else request.seed,
                **extra,
            )
            sizes = [len(texts) for texts in generated]
            if sizes != [request.n] * len(batch):
                raise ValueError(f"{sizes} completions of {len(batch)} prompts, {request.n} of each are needed")
        except Exception as exc:  # the requests of the batch get the error; the thread must live on
            is_down = isinstance(exc, GeneratorFault) and not isinstance(exc, PromptRefusedError)
            if len(batch) > 1 and not is_down:
                return [outcome for waiting in batch for outcome in self._outcomes([waiting])]
            if not isinstance(exc, GeneratorFault):
                log.error("the model failed", exc_info=exc)
                exc = GeneratorFault(f"the model failed with {type(exc).__name__}; the log of the server says more")
            return [exc] * len(batch)
        return list(generated)
