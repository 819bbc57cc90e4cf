"""A few child processes that answer JSON lines, each killed at a deadline and replaced (layer L1; POSIX systems).

For work that may hang, die or eat memory whatever one does inside the same process: arithmetic on huge numbers never
returns to the interpreter, so neither a thread nor an alarm can stop it. Children are started by ``python -m``, not by
`multiprocessing`: that would import the user's script again, and run it where it has no ``__main__`` guard.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

START_SECONDS = 120.0
"""Longest wait for a new child's first line; long, because a busy machine imports slowly."""
WAIT_FACTOR = 10.0
"""A child is waited for this many times its processor time: the machine may be busy."""
MAX_STARTS = 3
"""Attempts to start a child, after which it fails the rest of the requests."""
MAX_LINE_BYTES = 1 << 16
"""Longest line of a child."""
_PUBLIC_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")  # no secrets for a child

Reply = dict[str, Any]
Chain = Sequence[Mapping[str, Any]]


class ChildPool:
    """Children that run one module of polymode.

    Args:
        module: run as ``python -m MODULE SECONDS``; says ``{"ready": true}``, then answers each line in turn, with the
            line's ``id``.
        size: most children at once; they are started when there is work for them.
        seconds: most processor time of one request, which the child holds itself to; SIGPROF ends it.
    """

    def __init__(self, module: str, *, size: int, seconds: float) -> None:
        self._seconds = seconds
        self._children = [_Child(module, seconds) for _ in range(size)]
        self._idle: queue.LifoQueue[_Child] = queue.LifoQueue()  # last in, first out: those that are started come first
        for child in self._children:
            self._idle.put(child)
        self._lock = threading.Lock()
        weakref.finalize(self, _end_all, self._children)

    def ask(self, chains: Sequence[Chain], advance: Callable[[], Any] | None = None) -> list[list[Reply]]:
        """The replies to each chain of requests; never raises for a child that was too slow or died.

        A reply is the child's, or ``{"exhausted": TEXT}`` where the request took more than its deadline or killed the
        child, or ``{"error": TEXT}`` where the child failed for another reason. What exhausts a child ends its chain:
        the rest of the chain has the same reply and costs nothing.

        Args:
            chains: JSON objects, asked one after the other within a chain; an ``id`` is added.
            advance: called after each chain.
        """
        n_threads = max(1, min(len(self._children), len(chains)))
        with self._lock, ThreadPoolExecutor(n_threads, "polymode-child") as threads:
            for child in self._children:
                child.may_start = True
            try:
                replies = [threads.submit(self._ask, chain) for chain in chains]
                for _ in as_completed(replies):
                    if advance is not None:
                        advance()
            except BaseException:  # nobody waits for the children any more
                for child in self._children:
                    child.interrupt()
                threads.shutdown(cancel_futures=True)
                _end_all(self._children)
                raise
            return [reply.result() for reply in replies]

    def close(self) -> None:
        """End the children; a later `ask` starts new ones."""
        with self._lock:
            _end_all(self._children)

    def _ask(self, chain: Chain) -> list[Reply]:
        child = self._idle.get()
        replies: list[Reply] = []
        try:
            for request in chain:
                is_over = bool(replies) and "exhausted" in replies[-1]
                replies.append(replies[-1] if is_over else child.ask(request, self._seconds))
        finally:
            self._idle.put(child)
        return replies


class _ChildError(Exception):
    """Why a child gave no reply; what it says later belongs to no request, so it has to end."""


class _Child:
    """One process, started for its first request and again after it had to be ended. For one thread at a time."""

    def __init__(self, module: str, seconds: float) -> None:
        self._command = [sys.executable, "-P", "-m", module, str(seconds)]
        self._module = module
        self.process: subprocess.Popen[bytes] | None = None
        self.may_start = True
        self._unread = b""
        self._id = 0

    def ask(self, request: Mapping[str, Any], seconds: float) -> Reply:
        """The reply, ``{"exhausted": TEXT}`` or ``{"error": TEXT}``; ``seconds`` are of the child's processor time."""
        process = self.process or self._started()
        if process is None:
            return {"error": f"{self._module} does not start"}
        assert process.stdin is not None
        self._id += 1
        try:
            process.stdin.write(json.dumps({**request, "id": self._id}).encode() + b"\n")
            reply = self._reply(process, WAIT_FACTOR * seconds)
            if reply.pop("id", None) != self._id:
                raise _ChildError("the process that compares answered something else")
        except (_ChildError, OSError) as exc:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)  # its pipe ends a little before it does
            status = process.poll()
            self.end()
            if status == -signal.SIGPROF:
                return {"exhausted": f"no result within {seconds:g} s"}
            if status in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):  # too deep, or out of memory
                return {"exhausted": "it makes the process that compares crash"}
            return {"error": str(exc) if isinstance(exc, _ChildError) else "the process that compares died"}
        return reply

    def interrupt(self) -> None:
        """Let the `ask` under way in another thread end soon."""
        self.may_start = False
        if (process := self.process) is not None:
            process.kill()

    def end(self) -> None:
        """End the process and forget its pipes."""
        process, self.process, self._unread = self.process, None, b""
        if process is not None:
            with process:  # closes the pipes and waits
                process.kill()

    def _started(self) -> subprocess.Popen[bytes] | None:
        """A process that is ready, or None."""
        root = str(Path(__file__).resolve().parents[2])  # the same polymode, also when it is not installed
        environment = {name: os.environ[name] for name in _PUBLIC_VARIABLES if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        for _ in range(MAX_STARTS):
            if not self.may_start:
                break
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=environment,
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
            with suppress(_ChildError):
                if self._reply(self.process, START_SECONDS).get("ready") is True:
                    return self.process
            self.end()
        self.may_start = False
        return None

    def _reply(self, process: subprocess.Popen[bytes], seconds: float) -> Reply:
        """The JSON object on the next line."""
        assert process.stdout is not None
        poll, deadline = select.poll(), time.monotonic() + seconds
        poll.register(process.stdout, select.POLLIN)
        while b"\n" not in self._unread:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise _ChildError(f"no result within {seconds:g} s")
            part = os.read(process.stdout.fileno(), MAX_LINE_BYTES)
            self._unread += part
            if not part or len(self._unread) > MAX_LINE_BYTES:
                raise _ChildError("the process that compares died")
        line, _, self._unread = self._unread.partition(b"\n")
        with suppress(ValueError):
            if isinstance(reply := json.loads(line), dict):
                return reply
        raise _ChildError("the process that compares wrote nonsense")


def _end_all(children: Sequence[_Child]) -> None:
    for child in children:
        child.end()
