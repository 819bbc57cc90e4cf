"""The fork server: the first process of a sandbox, warm, and the only one that outlives a program.

It never reads a program, a test or a result, so a child forked from it finds none of another program in its memory:
each order brings a socket through which the child alone talks. After each child, everything that still runs is killed.
Files left in ``/tmp`` make the server report itself as dirty and end; with its mount namespace they are gone.

As PID 1 it is out of reach of signals from inside, and it cannot be traced or read because it is not dumpable.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import NoReturn

from . import child

PRELOADED = (
    *("array", "bisect", "calendar", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "enum"),
    *("fractions", "functools", "heapq", "itertools", "math", "operator", "random", "re", "statistics", "string"),
    *("struct", "textwrap", "typing"),
)
"""Modules that programs often import: loaded once, here."""

DESCRIPTORS = 64
"""Most open files of the server and of a program."""

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 3, 4, 36


def serve(uid: int, isolated: bool) -> NoReturn:
    """Take orders until the other side closes the control socket, a SEQPACKET socket on descriptor 0.

    Args:
        uid: user and group that a program becomes; -1 to stay what the server is.
        isolated: whether this is PID 1 of a namespace of its own.
    """
    _harden(isolated)
    os.closerange(3, 65536)
    control = socket.socket(fileno=0)
    for name in PRELOADED:
        importlib.import_module(name)
    sys.path[:] = [path for path in sys.path if not path.endswith("sandbox")]
    gc.collect()
    gc.freeze()  # pages that the collector would otherwise touch in every child stay shared
    control.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1024, 1)
        if not message:
            os._exit(0)
        if not descriptors:  # a stop for a program that had ended already
            continue
        (job,) = descriptors
        order = json.loads(message)
        pid = os.fork()
        if pid == 0:
            child.main(job, uid, isolated)
        os.close(job)
        report = _watch(pid, order["wall"], control)
        _kill_all(pid, isolated)
        report["dirty"] = isolated and bool(os.listdir("/tmp"))
        control.send(json.dumps(report).encode())
        if report["dirty"]:
            os._exit(0)


def _harden(isolated: bool) -> None:
    if isolated and os.getpid() != 1:
        raise SystemExit("the sandbox's server must be PID 1 of its own namespace")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a handler the kernel drops it, as all others, for PID 1
    libc = ctypes.CDLL(None, use_errno=True)
    if not isolated:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise SystemExit("the sandbox's server could not be made non-dumpable")
    for name in ("RLIMIT_CORE", "RLIMIT_MSGQUEUE", "RLIMIT_MEMLOCK"):
        resource.setrlimit(getattr(resource, name), (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def _watch(pid: int, wall: float, control: socket.socket) -> dict[str, object]:
    """Wait for the child, its time, or a word from outside (a stop, or the end of the other side)."""
    start = time.monotonic()
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(control, select.POLLIN)
    ready = [descriptor for descriptor, _ in poll.poll(wall * 1000)]
    os.close(handle)
    timed_out = not ready
    os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number still means this child
    _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return {
        "code": code,
        "timed_out": timed_out or code == -signal.SIGXCPU,
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.monotonic() - start,
    }


def _kill_all(pid: int, isolated: bool) -> None:
    """Kill and reap whatever the program started."""
    while True:
        with contextlib.suppress(ProcessLookupError):
            # In a namespace of its own -1 is everybody but PID 1, in one stroke that no fork can outrun.
            os.kill(-1, signal.SIGKILL) if isolated else _kill_family(pid)
        try:
            reaped, _ = os.waitpid(-1, 0 if isolated else os.WNOHANG)
        except ChildProcessError:
            return
        if not reaped:  # a process may become ours after we looked
            time.sleep(0.001)


def _kill_family(pid: int) -> None:
    """Without a namespace: the program's process group, and what it left to this process when it ended."""
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as listing:
        for orphan in listing.read().split():
            os.kill(int(orphan), signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)
