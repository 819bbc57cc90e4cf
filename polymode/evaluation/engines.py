"""Where the parts of a large evaluation are worked on: here, in processes of this machine, or on Ray (layer L4).

Every engine is a `map` whose results come in the order of the items, with a bound on how many wait. The function and
the items are plain data, so what is computed does not depend on where.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from polymode.cores import cores
from polymode.errors import ConfigError, WorkerDiedError, number_in, one_of
from polymode.runs import Map
from polymode.verifiers import QuestionVerifier

ENGINES = ("local", "ray")
LARGE = 16 * 2**20
"""Bytes of a file that are worth further processes, which take about a second to start."""


def n_workers(workers: int | None, size: int, verifier: object) -> int:
    """Processes that judge a file of ``size`` bytes: as many as named, else all cores where the file is large.

    A slow verifier has workers of its own (`QuestionVerifier`) and is asked by one process, so that no machine gets the
    square of its cores.

    Raises:
        ConfigError: not a whole number from 1.
    """
    if workers is not None:
        number_in("workers", workers, 1, whole=True)
    if isinstance(verifier, QuestionVerifier):
        return 1
    if workers is not None:
        return workers
    return cores() if size >= LARGE else 1


@contextmanager
def engine_for(engine: str, workers: int | None, size: int, verifier: object) -> Iterator[Map]:
    """A `map` for a file of ``size`` bytes, while it is needed; ``workers`` as for `n_workers`.

    Raises:
        ConfigError: an engine that is not known, cannot be reached, or does not suit the verifier.
        MissingExtraError: its package is not installed.
    """
    one_of("engine", engine, ENGINES)
    n = n_workers(workers, size, verifier)
    if engine == "ray":
        if isinstance(verifier, QuestionVerifier):
            raise ConfigError(
                f"engine = 'ray' with {type(verifier).__name__}, which has workers of its own and is asked by one "
                "process: give --engine local"
            )
        from polymode.evaluation.ray_engine import ray_tasks

        with ray_tasks(workers) as mapped:
            yield mapped
    elif n == 1:
        yield map
    else:
        with _processes(n) as mapped:
            yield mapped


@contextmanager
def _processes(workers: int) -> Iterator[Map]:
    # Fresh processes: a fork of one with threads (progress bars, BLAS) may wait for ever for a lock that it copied.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)

    def mapped(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        try:
            pickled = pickle.dumps(function)
        except (pickle.PicklingError, AttributeError, TypeError):  # a verifier that cannot travel judges here
            yield from map(function, items)
            return
        try:
            yield from in_order(
                lambda item: pool.submit(apply_pickled, pickled, item), Future.result, items, 2 * workers
            )
        except BrokenProcessPool:
            raise WorkerDiedError(
                "a worker process died (killed, or out of memory); what was finished is kept: go on with --resume, and "
                f"with fewer --workers than {workers} if memory was short"
            ) from None

    try:
        yield mapped
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(
    submit: Callable[[Any], Any], result: Callable[[Any], Any], items: Iterable[Any], limit: int
) -> Iterator[Any]:
    """The results in the order of the items, of which at most ``limit`` are under way."""
    waiting: deque[Any] = deque()
    for item in items:
        waiting.append(submit(item))
        if len(waiting) >= limit:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())


def _begin() -> None:
    """Leave Ctrl-C to the process that started this one, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def apply_pickled(pickled: bytes, item: Any) -> Any:
    """The result of a pickled function, which a worker loads once."""
    return _loaded(pickled)(item)


@lru_cache(maxsize=4)
def _loaded(pickled: bytes) -> Callable[[Any], Any]:
    try:
        return pickle.loads(pickled)
    except Exception as exc:
        raise ConfigError(
            f"what judges cannot be loaded in another process ({type(exc).__name__}: {exc}): give --workers 1 "
            "--engine local"
        ) from None
