"""How a sandbox is started: the command line of bubblewrap, and whether it works here.

Inside there are the interpreter with its standard library, the shared libraries, this package's folder ``inside``, an
empty ``/tmp`` of limited size and five devices. There is no ``/proc``, no ``/sys``, no shell, no home folder, no
network and no environment. As root, a program becomes a user of its own who owns nothing; as an ordinary user, the
sandbox is a user namespace in which the program has no capability.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from polymode.sandbox.records import Limits
from polymode.sandbox.seccomp import architecture

INSIDE = Path(__file__).resolve().parent / "inside"
LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/etc/ld.so.cache", "/nix/store")
DEVICES = ("null", "zero", "full", "random", "urandom")
ROOT_KEEPS = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL")
"""What the fork server of root needs: to make a program another user, and to kill it."""
FIRST_USER, USERS = 61_000, 4_000
"""User numbers that programs get when root starts the sandbox; each sandbox of a process another one."""
UNSAFE_LOCAL = "POLYMODE_UNSAFE_LOCAL"
"""Environment variable that, when it is 1, takes isolation away where ``unsafe_local`` is None. ``--unsafe-local`` sets
it, so that the processes that a command starts follow it too."""

_sandbox_numbers = itertools.count(1)


def server_command(uid: int, isolated: bool, folder: str) -> list[str]:
    """Python with the fork server; the standard library alone, nothing of the user's."""
    code = f"import sys; sys.path.insert(0, {folder!r}); from inside.server import serve; serve({uid}, {isolated})"
    return [_python(), "-S", "-s", "-P", "-B", "-c", code]


def bubblewrap_command(seccomp_fd: int, uid: int, limits: Limits) -> list[str]:
    """The command line; the control socket is its standard input.

    Args:
        seccomp_fd: where bubblewrap reads the filter of `polymode.sandbox.seccomp`.
        uid: user that a program becomes, -1 for an ordinary user's sandbox.
        limits: of a program; ``file_bytes`` is also the size of ``/tmp``.
    """
    bwrap = shutil.which("bwrap") or "bwrap"
    command = [bwrap, "--as-pid-1", "--new-session", "--clearenv"]
    if uid >= 0:
        command += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        command += ["--cap-drop", "ALL", *(part for name in ROOT_KEEPS for part in ("--cap-add", name))]
    else:
        command += ["--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    command += ["--hostname", "sandbox", "--seccomp", str(seccomp_fd)]
    for folder in _folders(_readable()):  # as they are outside, a home folder would be closed to the program's user
        command += ["--perms", "0755", "--dir", folder]
    for path in _readable():
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        else:
            command += ["--ro-bind-try", path, path]
    command += ["--ro-bind", str(INSIDE), "/sandbox/inside"]
    for device in DEVICES:
        command += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    if "--size" in _help(bwrap):
        command += ["--perms", "1777", "--size", str(limits.file_bytes), "--tmpfs", "/tmp"]
    else:  # without a limit of its size, nothing may be written there
        command += ["--tmpfs", "/tmp", "--remount-ro", "/tmp"]
    command += ["--remount-ro", "/", "--chdir", "/", "--setenv", "PYTHONHASHSEED", "0"]
    return [*command, "--", *server_command(uid, True, "/sandbox")]


def next_user() -> int:
    """A user number for one more sandbox, or -1 when this process is not root."""
    if os.geteuid() != 0:
        return -1
    return FIRST_USER + (os.getpid() * 16 + next(_sandbox_numbers)) % USERS


def reason_against() -> str | None:
    """Why no sandbox can be started here, as far as it shows without starting one; None when nothing speaks against."""
    if sys.platform != "linux":
        return "the sandbox needs Linux with bubblewrap"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed: sudo apt install bubblewrap"
    if architecture() is None:
        return "there is no filter of system calls for this kind of processor; x86_64 and aarch64 have one"
    return None


def _python() -> str:
    """The interpreter itself, not the link of a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


@cache
def _readable() -> Sequence[str]:
    """What is mounted read-only: libraries, the interpreter, its standard library."""
    paths = dict.fromkeys(path for path in LIBRARIES if os.path.lexists(path))
    prefix = os.path.realpath(sys.base_prefix)
    stdlib = os.path.realpath(sysconfig.get_path("stdlib", vars={"installed_base": prefix, "base": prefix}))
    for path in (f"{prefix}/lib", f"{prefix}/lib64", stdlib, _python()):
        if os.path.lexists(path) and not any(path == other or path.startswith(f"{other}/") for other in paths):
            paths[path] = None
    return tuple(paths)


def _folders(paths: Sequence[str]) -> Sequence[str]:
    """The folders above the paths, outermost first."""
    parents = {str(parent) for path in paths for parent in Path(path).parents if str(parent) != "/"}
    return sorted(parents - set(paths))


@cache
def _help(bwrap: str) -> str:
    command = [bwrap, "--help"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10).stdout
