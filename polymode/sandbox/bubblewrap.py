"""How a sandbox is started: the command line of bubblewrap, and whether it works here.

Inside there are the interpreter with its standard library, the shared libraries, the packages that are allowed, this
package's folder ``inside``, an empty ``/tmp`` of limited size and five devices. There is no ``/proc``, no ``/sys``, no
shell, no home folder, no network and no environment. As root, a program becomes a user of its own who owns nothing; as
an ordinary user, the sandbox is a user namespace in which the program has no capability.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from glob import escape, glob
from pathlib import Path

from polymode.sandbox.inside.seccomp import architecture
from polymode.sandbox.records import Limits

INSIDE = Path(__file__).resolve().parent / "inside"
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/nix/store")
FOREIGN = tuple(
    f"{above}{name}"
    for above in ("", "python*/", "*/lib/python*/")
    for name in ("site-packages", "dist-packages", "ensurepip")
)
"""Where, in a folder of libraries, Python finds more than its standard library: covered by empty folders."""
PACKAGES = "/sandbox/packages"
"""Where allowed packages are mounted."""
DEVICES = ("null", "zero", "full", "random", "urandom")
KEEPS = ("CAP_SYS_ADMIN",)
"""What each fork server needs in its namespaces: to mount a new ``/tmp``. Its children give it up."""
ROOT_KEEPS = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL")
"""What the fork server of root needs as well: to make a program another user, and to kill it."""
FIRST_USER, USERS = 61_000, 4_000
"""User numbers that programs get when root starts the sandbox; each sandbox of a process another one."""
UNSAFE_LOCAL = "POLYMODE_UNSAFE_LOCAL"
"""Environment variable that, when it is 1, takes isolation away where ``unsafe_local`` is None. ``--unsafe-local`` sets
it, so that the processes that a command starts follow it too."""

_sandbox_numbers = itertools.count(1)


def server_command(uid: int, isolated: bool, limits: Limits, packages: Mapping[str, Path]) -> list[str]:
    """Python with the fork server; the standard library and the allowed packages, nothing else of the user's.

    ``-i`` is what makes the interpreter go on when the script has ended; see `polymode.sandbox.inside.running`.
    """
    own = "/sandbox" if isolated else str(INSIDE.parent)
    folders = [PACKAGES] if isolated else sorted({str(path.parent) for path in packages.values()})
    names = [name.removesuffix(".py").partition(".")[0] for name in packages if not name.endswith(".libs")]
    code = f"""
import os, sys
sys.path.insert(0, {own!r})
try:
    from inside.server import serve
    serve({uid}, {isolated}, {limits.file_bytes}, {names!r}, {folders!r})
except BaseException as error:
    print(f"{{type(error).__name__}}: {{error}}", file=sys.stderr, flush=True)
    os._exit(1)
"""
    return [_python(), "-i", "-S", "-s", "-P", "-B", "-c", code]


def bubblewrap_command(seccomp_fd: int, uid: int, limits: Limits, packages: Mapping[str, Path]) -> list[str]:
    """The command line; the control socket is its standard input.

    Args:
        seccomp_fd: where bubblewrap reads the filter of `polymode.sandbox.inside.seccomp`.
        uid: user that a program becomes, -1 for an ordinary user's sandbox.
        limits: of a program; ``file_bytes`` is also the size of ``/tmp``.
        packages: what `polymode.sandbox.packages.locate_packages` gives.
    """
    bwrap = shutil.which("bwrap") or "bwrap"
    command = [bwrap, "--as-pid-1", "--new-session", "--clearenv"]
    if uid >= 0:
        command += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    else:
        command += ["--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    keeps = [*KEEPS, *(ROOT_KEEPS if uid >= 0 else ())]
    command += ["--cap-drop", "ALL", *(part for name in keeps for part in ("--cap-add", name))]
    command += ["--hostname", "sandbox", "--seccomp", str(seccomp_fd)]
    # As they are outside, a home folder would be closed to the program's user.
    for folder in (*_folders(_readable()), "/dev", "/sandbox", PACKAGES):
        command += ["--perms", "0755", "--dir", folder]
    for path in _readable():
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        else:
            command += ["--ro-bind-try", path, path]
    for path in _foreign():
        command += ["--perms", "0755", "--tmpfs", path, "--remount-ro", path]
    command += ["--ro-bind", str(INSIDE), "/sandbox/inside"]
    for name, path in packages.items():
        command += ["--ro-bind", str(path), f"{PACKAGES}/{name}"]
    for device in DEVICES:
        command += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    if "--size" in _help(bwrap):
        command += ["--perms", "1777", "--size", str(limits.file_bytes), "--tmpfs", "/tmp"]
    else:  # without a limit of its size, nothing may be written there
        command += ["--tmpfs", "/tmp", "--remount-ro", "/tmp"]
    command += ["--remount-ro", "/", "--chdir", "/", "--setenv", "PYTHONHASHSEED", "0"]
    return [*command, "--", *server_command(uid, True, limits, packages)]


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
    """What is mounted read-only: shared libraries, the interpreter, its standard library."""
    paths: dict[str, None] = {}
    machine = sysconfig.get_config_var("MULTIARCH")
    for path in LIBRARIES:
        # Debian keeps shared libraries apart from what else is in /usr/lib, all kinds of programs and packages.
        own = f"{path}/{machine}"
        paths[own if machine and not os.path.islink(path) and os.path.isdir(own) else path] = None
    prefix = os.path.realpath(sys.base_prefix)
    inside = {"installed_base": prefix, "installed_platbase": prefix, "base": prefix, "platbase": prefix}
    libraries = [f"{prefix}/lib"] if os.path.isdir(f"{prefix}/conda-meta") else glob(f"{prefix}/lib*/libpython*.so*")
    standard = [os.path.realpath(sysconfig.get_path(name, vars=inside)) for name in ("stdlib", "platstdlib")]
    for path in (*libraries, *standard, _python()):
        if not any(path.startswith(f"{other}/") for other in paths):
            paths[path] = None
    return tuple(path for path in paths if os.path.lexists(path))


@cache
def _foreign() -> Sequence[str]:
    """Folders of packages inside of what is mounted."""
    folders = [path for path in _readable() if os.path.isdir(path) and not os.path.islink(path)]
    places = {place for folder in folders for pattern in FOREIGN for place in glob(f"{escape(folder)}/{pattern}")}
    return sorted(place for place in places if os.path.isdir(place) and not os.path.islink(place))


def _folders(paths: Sequence[str]) -> Sequence[str]:
    """The folders above the paths, outermost first."""
    parents = {str(parent) for path in paths for parent in Path(path).parents if str(parent) != "/"}
    return sorted(parents - set(paths))


@cache
def _help(bwrap: str) -> str:
    command = [bwrap, "--help"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10).stdout
