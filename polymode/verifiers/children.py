"""A few child processes that answer JSON lines, each killed at a deadline and replaced (layer L1; POSIX systems).

For work that may hang, die or eat memory whatever one does inside the same process: arithmetic on huge numbers never
returns to the interpreter, so neither a thread nor an alarm can stop it. One thread, no signals: `selectors` waits for
whichever child speaks first.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

START_SECONDS = 120.0
"""Longest wait for a new child's first line; long, because a busy machine imports slowly."""
MAX_FAILED_STARTS = 3
"""Children in a row that end before they are ready, after which the rest of the requests fail."""
MAX_LINE_BYTES = 1 << 16
"""Longest line of a child."""
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")  # no secrets for a child

Reply = dict[str, Any]


class ChildPool:
    """Children that run one module of polymode.

    Args:
        module: run as ``python -m MODULE SECONDS``; says ``{"ready": true}``, then answers each line in turn, with the
            line's ``id``.
        size: most children at once; they are started when there is work for them.
        seconds: deadline of one request.
    """

    def __init__(self, module: str, *, size: int, seconds: float) -> None:
        self._module, self._size, self._seconds = module, size, seconds
        self._children: list[_Child] = []
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._failed_starts = 0
        self._last_id = 0
        self._finalizer = weakref.finalize(self, _kill_all, self._children, self._selector)

    def ask(self, requests: Sequence[Mapping[str, Any]], advance: Callable[[], Any] | None = None) -> list[Reply]:
        """The reply to each request, ``{"error": TEXT}`` where the child was too slow or died; never raises for those.

        Args:
            requests: JSON objects; an ``id`` is added.
            advance: called after each reply.
        """
        replies: list[Reply] = [{} for _ in requests]
        waiting = deque(range(len(requests)))
        with self._lock:
            self._failed_starts = 0
            try:
                while waiting or any(child.task is not None for child in self._children):
                    self._give(waiting, requests)
                    for number, reply in self._finished():
                        replies[number] = reply
                        if advance is not None:
                            advance()
                    if self._failed_starts >= MAX_FAILED_STARTS:
                        for number in waiting:
                            replies[number] = {"error": f"{self._module} does not start"}
                        waiting.clear()
            except BaseException:  # a reply that is still under way must not answer a later request
                self._end_all()
                raise
        return replies

    def close(self) -> None:
        """End the children; a later `ask` starts new ones."""
        with self._lock:
            self._end_all()

    def _end_all(self) -> None:
        for child in list(self._children):
            self._end(child)

    def _end(self, child: _Child) -> None:
        self._children.remove(child)
        self._selector.unregister(child.out)
        child.kill()

    def _give(self, waiting: deque[int], requests: Sequence[Mapping[str, Any]]) -> None:
        idle = [child for child in self._children if child.task is None]
        while len(idle) < len(waiting) and len(self._children) < self._size:
            child = _Child(self._module, self._seconds)
            self._children.append(child)
            self._selector.register(child.out, selectors.EVENT_READ, child)
            idle.append(child)
        for child in idle:
            if waiting and child.is_ready:
                self._last_id += 1
                number = waiting.popleft()
                child.send(number, {**requests[number], "id": self._last_id}, self._seconds)

    def _finished(self) -> list[tuple[int, Reply]]:
        """Wait until a child speaks or is overdue; what became of the requests of those that did."""
        awaited = [child.deadline for child in self._children if child.task is not None or not child.is_ready]
        events = self._selector.select(max(0.0, min(awaited) - time.monotonic()) if awaited else 0)
        done: list[tuple[int, Reply]] = []
        for key, _ in events:
            child: _Child = key.data
            done += self._heard(child, child.read())
        for child in [c for c in self._children if time.monotonic() > c.deadline]:
            reason = f"no result within {self._seconds:g} s" if child.is_ready else "not started in time"
            done += self._drop(child, reason)
        return done

    def _heard(self, child: _Child, line: bytes | None) -> list[tuple[int, Reply]]:
        if line is None:
            return self._drop(child, "the process that compares died")
        if not line:
            return []
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if not isinstance(reply, dict):
            return self._drop(child, "the process that compares wrote nonsense")
        if not child.is_ready and reply.get("ready") is True:
            child.is_ready, child.deadline = True, float("inf")
            self._failed_starts = 0
            return []
        if child.task is None or reply.pop("id", None) != child.id:
            return self._drop(child, "the process that compares answered something else")
        done = [(child.task, reply)]
        child.task, child.deadline = None, float("inf")
        return done

    def _drop(self, child: _Child, reason: str) -> list[tuple[int, Reply]]:
        if not child.is_ready:
            self._failed_starts += 1
        self._end(child)
        return [] if child.task is None else [(child.task, {"error": reason})]


class _Child:
    """One process and what it is doing."""

    def __init__(self, module: str, seconds: float) -> None:
        root = str(Path(__file__).resolve().parents[2])  # the same polymode, also when it is not installed
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**environment, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self.out = self._process.stdin, self._process.stdout
        self._unread = b""
        self.task: int | None = None
        self.id = 0
        self.is_ready = False
        self.deadline = time.monotonic() + START_SECONDS

    def send(self, task: int, request: Mapping[str, Any], seconds: float) -> None:
        """Start on a request; one that cannot be sent is noticed as the end of the child's output."""
        self.task, self.id = task, request["id"]
        self.deadline = time.monotonic() + seconds
        with suppress(OSError):
            self._in.write(json.dumps(request).encode() + b"\n")

    def read(self) -> bytes | None:
        """The line that is complete now, nothing while it is not, None at the end of the output."""
        part = os.read(self.out.fileno(), MAX_LINE_BYTES)
        self._unread += part
        if not part or len(self._unread) > MAX_LINE_BYTES:
            return None
        line, newline, rest = self._unread.partition(b"\n")
        if not newline:
            return b""
        self._unread = rest
        return line

    def kill(self) -> None:
        """End the process and forget its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._in, self.out):
            with suppress(OSError):
                pipe.close()


def _kill_all(children: list[_Child], selector: selectors.BaseSelector) -> None:
    while children:
        children.pop().kill()
    selector.close()
