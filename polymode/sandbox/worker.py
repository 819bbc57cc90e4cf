"""One sandbox from outside: started once, given one program after the other, replaced when it is not as new any more.

Only bytes come back, of limited length; nothing here reads what a program wrote. So that a program can never speak for
the server, there are two sockets:

- The *control* socket leads to the server and lives as long as it does. An order goes in, with the other end of a job
  socket; one report comes back when the program and all that it started are gone. SEQPACKET keeps messages apart.
- The *job* socket leads to the one child: the job goes in, the output comes back. The server closes its copy at once,
  so the end of the output means that nobody is left who could write.

Each order has one report. Whatever breaks that rule (a timeout, an interrupt, an error of the sockets) closes the
sandbox: a late report would be taken for that of the next program.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymode.sandbox.bubblewrap import bubblewrap_command, next_user, server_command
from polymode.sandbox.inside.seccomp import architecture, filter_program
from polymode.sandbox.records import Limits

START_SECONDS = 30.0
"""Longest wait for a sandbox to be ready."""
GRACE_SECONDS = 10.0
"""Longest wait for the server's report after a program's time is over."""
CLOSE_SECONDS = 2.0
"""Longest wait for a sandbox to end by itself."""
_CHUNK = 1 << 16


class SandboxDiedError(RuntimeError):
    """The server ended, or did not report in time."""


class SandboxStartError(RuntimeError):
    """The server did not come up."""


class NotStartedError(RuntimeError):
    """The server's child could not get as far as the program, so nothing that a program does leads here."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one child of the server did."""

    output: bytes
    """What it wrote, at most one byte more than ``output_bytes``."""
    code: int
    """Exit status, negative for a signal."""
    timed_out: bool
    cpu_seconds: float


class Worker:
    """A sandbox that runs one job at a time; started when it gets its first. Not for several threads at once."""

    def __init__(
        self, limits: Limits, *, unsafe_local: bool = False, packages: Mapping[str, Path] | None = None
    ) -> None:
        self.limits = limits
        self.packages = packages or {}
        self.unsafe_local = unsafe_local
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._owner = 0  # the process that started the sandbox

    def do(self, job: bytes) -> Report:
        """Hand a job to a fresh child and return what came of it.

        Raises:
            SandboxStartError: no sandbox could be started.
            SandboxDiedError: it ended under the job; the next job gets a new one.
            NotStartedError: a process of its own could not be made ready for the job; the next job gets a new sandbox.
        """
        control = self._ready()
        ours, theirs = socket.socketpair()
        try:
            with theirs:  # closed here as soon as it is sent, or the output would never end
                order = json.dumps({"wall": self.limits.wall_seconds}).encode()
                socket.send_fds(control, [order], [theirs.fileno()])
            output, report = self._exchange(ours, control, job)
        except BaseException as exc:  # an interrupt too: the report is still under way
            self.close()
            if isinstance(exc, OSError):
                raise SandboxDiedError(f"the sandbox is gone ({exc})") from None
            raise
        finally:
            ours.close()
        if report["dirty"]:  # the server has ended itself, and the files with it
            self.close()
        if not report["started"]:
            raise NotStartedError(report["problem"])
        # A program that handles the soft limit's signal is killed a second later, by a signal that may mean anything.
        timed_out = report["timed_out"] or report["cpu"] >= self.limits.cpu_seconds
        return Report(output, report["code"], timed_out, report["cpu"])

    def close(self) -> None:
        """End the sandbox and everything in it."""
        if self._control is not None:
            self._control.close()
        process, self._process, self._control = self._process, None, None
        if process is None:
            return
        if self._owner == os.getpid():  # a fork of this process has only copies
            try:
                process.wait(CLOSE_SECONDS)  # the server ends, and all with it, when the control socket closes
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        else:
            process.returncode = 0  # not its child, so it cannot be waited for; Popen would warn that it still runs
        if process.stderr is not None:
            process.stderr.close()

    def _ready(self) -> socket.socket:
        if self._control is not None and self._owner == os.getpid():
            return self._control
        self.close()  # in a fork: one server for two processes would mix up their reports
        self._owner = os.getpid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = self._spawn(theirs)
        self._control = ours
        ours.settimeout(START_SECONDS)
        try:
            greeting = ours.recv(64)
        except OSError as exc:
            greeting = str(exc).encode()
        if greeting != b"ready":
            self._process.kill()
            _, errors = self._process.communicate()
            lines = errors.decode(errors="replace").strip().splitlines()
            self.close()
            raise SandboxStartError(lines[-1] if lines else "it ended without a word")
        return ours

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        descriptors: tuple[int, ...] = ()
        if self.unsafe_local:
            command = server_command(-1, False, self.limits, self.packages)
        else:
            machine = architecture()
            assert machine is not None
            # bubblewrap reads the filter from a descriptor. It fits into a pipe, so writing it at once cannot block.
            reading, writing = os.pipe()
            os.write(writing, filter_program(machine))
            os.close(writing)
            descriptors = (reading,)
            command = bubblewrap_command(reading, next_user(), self.limits, self.packages)
        try:
            return subprocess.Popen(
                command,
                stdin=control.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=descriptors,
                env={"PYTHONHASHSEED": "0"},
                start_new_session=True,  # an interrupt from the keyboard is for this process alone
            )
        except OSError as exc:
            raise SandboxStartError(f"{command[0]}: {exc.strerror}") from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _exchange(self, job: socket.socket, control: socket.socket, data: bytes) -> tuple[bytes, dict[str, Any]]:
        """Write the job, read what comes back, until the server says that the child and all it started are gone.

        Raises:
            SandboxDiedError, OSError: the server ended, or does not report in time.
        """
        # Reading and writing take turns as the child allows: one that writes before it has read its whole job would
        # otherwise wait for us while we wait for it.
        job.setblocking(False)
        unsent = memoryview(data)
        chunks: list[bytes] = []
        room = self.limits.output_bytes + 1  # the one byte more tells too long from exactly long enough
        poll = select.poll()
        poll.register(job, select.POLLIN | select.POLLOUT)
        poll.register(control, select.POLLIN)
        # The server ends the program in time. This clock is for a server that is gone, or starved by a busy machine.
        deadline = time.monotonic() + self.limits.wall_seconds + GRACE_SECONDS
        while True:
            events = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if not events:
                raise SandboxDiedError("the sandbox did not report in time")
            state = events.get(job.fileno(), 0)
            if state & select.POLLOUT and unsent:
                try:
                    unsent = unsent[job.send(unsent) :]
                except BlockingIOError:
                    pass
                except OSError:  # the child ended without reading its job
                    unsent = unsent[len(unsent) :]
                if not unsent:
                    poll.modify(job, select.POLLIN)
                    with contextlib.suppress(OSError):  # the child has ended
                        job.shutdown(socket.SHUT_WR)
            if state & (select.POLLIN | select.POLLHUP) and room:
                room, is_open = _take(job, chunks, room)
                if not room:  # what it goes on to write is of no use: end it now, not when its time is up
                    control.send(b"stop")
                if not room or not is_open:
                    poll.unregister(job)
            if control.fileno() in events:
                # All writers are dead, but their last bytes may still be in the socket.
                message = control.recv(4096)
                if not message:
                    raise SandboxDiedError("the sandbox ended")
                is_open = True
                while room and is_open:
                    room, is_open = _take(job, chunks, room)
                return b"".join(chunks), json.loads(message)


def _take(job: socket.socket, chunks: list[bytes], room: int) -> tuple[int, bool]:
    """Read one chunk if there is one; the room left, and whether more may come."""
    try:
        chunk = job.recv(min(_CHUNK, room))
    except BlockingIOError:
        return room, False
    except OSError:
        chunk = b""
    chunks.append(chunk)
    return room - len(chunk), bool(chunk)
