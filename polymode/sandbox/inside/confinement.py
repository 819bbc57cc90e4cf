"""What a child of the fork server gives up before it runs a program, and the ``/tmp`` that the server gives it."""

from __future__ import annotations

import ctypes
import os
import resource

from .seccomp import architecture, filter_program_of_children

JOB = 3
"""Descriptor of the job's socket in a child."""
_PIPE = 4
MAX_FILES = 4096
"""Most files and folders in ``/tmp``: each takes memory of the kernel that its size does not count."""

_CAPABILITIES_VERSION = 0x20080522
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_DETACH = 2

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


# Made once, in the server: what each child makes for itself costs it more than all of its system calls.
_libc = ctypes.CDLL(None, use_errno=True)
_prctl, _capset, _mount, _umount2 = _libc.prctl, _libc.capset, _libc.mount, _libc.umount2
_machine = architecture()
_program = filter_program_of_children(_machine) if _machine else b""
_filter = ctypes.byref(_Filter(len(_program) // 8, _program))
_header, _no_capabilities = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0), (ctypes.c_uint32 * 6)()


def keep_only(job: int, pipe: int) -> int:
    """Have the job's socket as descriptor `JOB`, the pipe as the number returned, and ``/dev/null`` as 0, 1 and 2."""
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    if pipe == JOB:
        pipe = os.dup(pipe)
    if job != JOB:
        os.dup2(job, JOB)
    if pipe != _PIPE:
        os.dup2(pipe, _PIPE)
    os.closerange(_PIPE + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return _PIPE


def limit(limits: dict[str, int], uid: int) -> None:
    """Set the limits of a program."""
    bounds = {"CPU": (limits["cpu"], limits["cpu"] + 1), "AS": (limits["memory"],) * 2, "FSIZE": (limits["file"],) * 2}
    if limits["processes"] > 0:
        bounds["NPROC"] = (limits["processes"] + (uid < 0),) * 2  # the server counts when it is the same user
    for name, bound in bounds.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), bound)


def give_up_privileges(uid: int, isolated: bool) -> None:
    """Become the user ``uid`` unless it is -1, without any capability and with the short filter of system calls."""
    if uid >= 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        if os.getresuid() != (uid, uid, uid):
            raise PermissionError("the program could not be given a user of its own")
    if isolated:
        _check(_prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "capabilities could not be given up")
        _check(_capset(_header, _no_capabilities), "capabilities could not be given up")
        # bubblewrap has set that no new privileges can be had, without which the kernel would refuse this.
        _check(_prctl(_PR_SET_SECCOMP, _MODE_FILTER, _filter, 0, 0), "the filter of system calls could not be loaded")


class Scratch:
    """The folder ``/tmp``: empty and as new for each program, also in what can be read from it with ``stat``.

    A program that did anything there gets the next one a new file system, because one that was used tells what was
    done: by its times, by the numbers of its files, by what is attached to it. Without the right to mount one, which
    some machines refuse inside of a sandbox, `renew` says no, and the sandbox has to end.
    """

    def __init__(self, size: int) -> None:
        self._options = f"mode=1777,size={size},nr_inodes={MAX_FILES}".encode()
        self._can_mount = self._mount()
        self._mark()

    def renew(self) -> bool:
        """Make ``/tmp`` as new if it is not; False when that cannot be done."""
        if _look() != self._state and not (self._can_mount and self._mount()):
            return False
        self._mark()
        return True

    def _mount(self) -> bool:
        if _umount2(b"/tmp", _DETACH) != 0:
            return False
        flags = _NOSUID | _NODEV | _NOEXEC
        _check(_mount(b"tmpfs", b"/tmp", b"tmpfs", flags, self._options), "/tmp could not be mounted")
        return True

    def _mark(self) -> None:
        # A time that nothing else sets: the clock of files is too coarse to show every change. It also makes the time
        # of the folder's last change that of this moment, which tells of no program.
        os.utime("/tmp", (0, 0))
        self._state = _look()


def _look() -> tuple[int, ...]:
    status = os.stat("/tmp")
    sizes = (status.st_size, status.st_blocks, status.st_nlink)
    return (
        *status[:3],
        status.st_uid,
        status.st_gid,
        *sizes,
        status.st_atime_ns,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _check(result: int, problem: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{problem}: {os.strerror(code)}")
