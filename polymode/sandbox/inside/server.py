"""The fork server: the first process of a sandbox, warm, and the only one that outlives a program.

It never reads a program, a test or a result, so a child forked from it finds none of another program in its memory:
each order brings a socket through which the child alone talks. After each child, everything that still runs is killed,
and ``/tmp`` is new. Where it cannot be made new, and where a child could not even begin, the server reports itself as
dirty and ends; with its namespaces everything in them is gone.

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
from collections.abc import Sequence

from . import child
from .confinement import Scratch
from .running import warm_up

PRELOADED = (
    *("array", "bisect", "calendar", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "enum"),
    *("fractions", "functools", "heapq", "itertools", "math", "operator", "random", "re", "statistics", "string"),
    *("struct", "textwrap", "typing"),
)
"""Modules that programs often import: loaded once, here, and with them the packages that are allowed."""

DESCRIPTORS = 64
"""Most open files of the server and of a program."""

_NOT_RUN = {"code": 0, "timed_out": False, "cpu": 0.0}
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 3, 4, 36


def serve(uid: int, isolated: bool, file_bytes: int, packages: Sequence[str], folders: Sequence[str]) -> None:
    """Take orders until the other side closes the control socket, a SEQPACKET socket on descriptor 0.

    Returns in a child that is to run a program: it does so when the script that called this has ended (`running`).

    Args:
        uid: user and group that a program becomes; -1 to stay what the server is.
        isolated: whether this is PID 1 of a namespace of its own.
        file_bytes: size of ``/tmp``.
        packages: names to import besides the standard library.
        folders: where they lie.
    """
    _harden(isolated)
    os.closerange(3, 65536)
    control = socket.socket(fileno=0)
    for name in PRELOADED:
        importlib.import_module(name)
    _load_packages(packages, folders)
    sys.path[:] = [path for path in sys.path if not path.endswith("sandbox")]
    scratch = Scratch(file_bytes) if isolated else None
    warm_up()
    gc.collect()
    gc.freeze()  # pages that the collector would otherwise touch in every child stay shared
    control.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1024, 1)
        if not message:
            os._exit(0)
        if not descriptors:  # a stop for a program that had ended already
            continue
        report = _take(message, descriptors[0], control, uid, isolated)
        if report is None:
            control.detach()  # its number means something else here
            return
        clean = report["started"] and (scratch is None or scratch.renew())
        control.send(json.dumps({**report, "dirty": not clean}).encode())
        if not clean:
            os._exit(0)


def _take(message: bytes, job: int, control: socket.socket, uid: int, isolated: bool) -> dict[str, object] | None:
    """Have one job done; the report about it, or None in a child that is to run a program."""
    reading, writing = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        for descriptor in (job, reading, writing):
            os.close(descriptor)
        return {"started": False, "problem": f"no process could be made: {error}", **_NOT_RUN}
    if pid == 0:
        child.main(job, writing, uid, isolated)
        return None
    os.close(job)
    os.close(writing)
    report = _watch(pid, json.loads(message)["wall"], control)
    _kill_all(pid, isolated)
    words = os.read(reading, 1024)
    os.close(reading)
    problem = "" if words == child.STARTED else words.decode(errors="replace") or "it ended before it was ready"
    return {"started": not problem, "problem": problem, **report}


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


def _load_packages(packages: Sequence[str], folders: Sequence[str]) -> None:
    """Import what is allowed, in one thread; its own modules are found later by the package's path."""
    sys.path += folders
    before = dict(os.environ)
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    for name in packages:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise SystemExit(f"packages: {name!r} cannot be imported in the sandbox ({error})") from None
    if "numpy" in packages:  # the same random numbers for each program
        importlib.import_module("numpy.random").seed(0)
    for name in set(os.environ) - set(before):
        del os.environ[name]
    sys.path[:] = [path for path in sys.path if path not in folders]


def _watch(pid: int, wall: float, control: socket.socket) -> dict[str, object]:
    """Wait for the child, its time, or a word from outside (a stop, or the end of the other side)."""
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
