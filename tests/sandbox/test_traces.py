"""What one program might leave for the next, or read of ours or of the machine: nothing may come of it."""

import json
import sys
from typing import TYPE_CHECKING

import pytest

from polymode.errors import ConfigError
from polymode.sandbox import Outcome, ProgramTests, Sandbox, reason_unavailable
from polymode.sandbox.inside.seccomp import REFUSED, REFUSED_TO_CHILDREN, filter_program_of_children
from polymode.verifiers.programs import ProgramVerifier

if TYPE_CHECKING:
    from tests.sandbox.conftest import Judge
else:
    Judge = object

RIGHT, WRONG = "def f(n): return n * n", "def f(n): return n + 1"
ASSERTS = ("assert f(2) == 4", "assert f(3) == 9")
SYSCALL = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nx86 = os.uname().machine == 'x86_64'\n"

LOOKS = """
import os, resource, signal, socket
def f():
    tmp = os.stat("/tmp")
    state = [tmp.st_mode, tmp.st_uid, tmp.st_gid, tmp.st_nlink, tmp.st_size, tmp.st_atime, tmp.st_mtime, tmp.st_blocks]
    state += [sorted(os.listdir("/tmp")), sorted(os.listxattr("/tmp")), os.getcwd(), sorted(os.environ.items())]
    state += [os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0)), os.sched_getscheduler(0)]
    state += [resource.getrlimit(number) for number in range(resource.RLIM_NLIMITS)]
    state += [sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), signal.getitimer(signal.ITIMER_REAL)[0]]
    state += [str(signal.getsignal(signal.SIGALRM)), os.umask(0), os.getpgid(0) == os.getsid(0)]
    for path in ("/dev/null", "/dev/zero", os.__file__):
        status = os.stat(path)
        state.append([path, status.st_mode, status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns])
    with open("/tmp/new", "w") as new:
        state.append(os.fstat(new.fileno()).st_ino)
    pair = socket.socketpair()
    try: pair[0].bind("\\0polymode")
    except OSError: state.append("no names for sockets")
    return str(state)
"""
"""All that a program can read of its surroundings, the time of day and counters of the whole machine apart."""

TRACES = {
    "mode of /tmp": "os.chmod('/tmp', 0o444)",
    "mode of /tmp and back": "os.chmod('/tmp', 0o700); os.chmod('/tmp', 0o1777)",
    "no entry to /tmp": "os.chmod('/tmp', 0)",
    "owner of /tmp": "os.chown('/tmp', os.getuid(), os.getgid())",
    "times of /tmp": "os.utime('/tmp', (1, 1))",
    "listing of /tmp": "os.listdir('/tmp')",
    "attribute of /tmp": "os.setxattr('/tmp', 'user.word', b'secret')",
    "attribute of a file": "open('x', 'w').close(); os.setxattr('x', 'user.word', b'secret' * 9)",
    "file": "open('/tmp/x', 'w').write('secret')",
    "file that is gone": "open('/tmp/x', 'w').close(); os.remove('/tmp/x')",
    "many numbers of files": "[(open('/tmp/x', 'w').close(), os.remove('/tmp/x')) for _ in range(500)]",
    "file without a name": "os.open('/tmp', os.O_TMPFILE | os.O_RDWR)",
    "folders that cannot be read": "os.makedirs('/tmp/a/b'); os.chmod('/tmp/a', 0)",
    "pipe": "os.mkfifo('/tmp/p')",
    "link out": "os.symlink('/', '/tmp/root')",
    "name of a socket in /tmp": "import socket\n    socket.socketpair()[0].bind('/tmp/s')",
    "name of a socket in no folder": "import socket\n    socket.socketpair()[0].bind('\\0word')",
    "times of a device": "os.utime('/dev/null')",
    "mode of a device": "os.chmod('/dev/null', 0)",
    "lock on a library": "import fcntl\n    fcntl.flock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_EX)",
    "lock on a device": "import fcntl\n    fcntl.lockf(os.open('/dev/null', os.O_RDWR), fcntl.LOCK_EX)",
    "lease": "import fcntl\n    fcntl.fcntl(os.open(os.__file__, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)",
    "reads a library": "open(os.__file__).read()",
    "nice": "os.nice(5)",
    "priority of the server": "os.setpriority(os.PRIO_PROCESS, 1, 10)",
    "affinity": "os.sched_setaffinity(0, {0})",
    "scheduler": "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
    "limits": "import resource\n    resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))",
    "limits of the server": "import resource\n    resource.prlimit(1, resource.RLIMIT_NPROC, (0, 0))",
    "environment": "os.environ['WORD'] = 'secret'; os.putenv('OTHER', 'secret')",
    "umask and folder": "os.umask(0o777); os.chdir('/')",
    "timer": "import signal\n    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)",
    "masked signals": "import signal\n    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
    "signals to the server": "import signal\n    [os.kill(os.getppid(), s) for s in (1, 2, 9, 15, 19, 30)]",
    "own session": "os.setsid()",
    "descriptors": "[os.dup(0) for _ in range(500)]",
    "other modules": "import sys\n    sys.modules.clear(); sys.path.clear()",
    "steps of the run": "import atexit\n    atexit._clear()",
    "reports of errors": "import sys\n    sys.unraisablehook = print; sys.__interactivehook__ = None",
    "dumps": "libc.prctl(4, 1, 0, 0, 0)",
    "kept capabilities": "libc.prctl(8, 1, 0, 0, 0)",
    "killer of out of memory": "open('/proc/self/oom_score_adj', 'w').write('-1000')",
    "new /tmp": "libc.umount2(b'/tmp', 2)",
    "mount": "libc.mount(b'x', b'/tmp', b'tmpfs', 0, None)",
    "other interpreter": "import sys\n    os.execv(sys.executable, [sys.executable, '-c', 'pass'])",
}


@pytest.mark.parametrize("name", TRACES)
def test_nothing_is_left_for_the_next_program(name: str, judge: "Judge") -> None:
    before = judge.value(LOOKS)
    attack = f"{SYSCALL}def attack():\n    {TRACES[name]}\ntry: attack()\nexcept BaseException: pass\n{WRONG}"
    assert judge.outcome(attack, *ASSERTS) is Outcome.FAIL
    for number in range(3):  # also not for the one after the next
        assert judge.outcome(f"{RIGHT}  # {number} after {name}", *ASSERTS) is Outcome.PASS
        assert judge.outcome(f"{WRONG}  # {number} after {name}", *ASSERTS) is Outcome.FAIL
    assert judge.outcome(f"{attack}\n{RIGHT}", *ASSERTS) in (Outcome.PASS, Outcome.FAIL)
    assert judge.value(LOOKS) == before


def test_every_refused_system_call_is_refused(judge: "Judge") -> None:
    calls = {name: list(numbers) for name, numbers in {**REFUSED, **REFUSED_TO_CHILDREN}.items()}
    program = f"""{SYSCALL}
def f(calls):
    done = []
    for name, numbers in calls.items():
        ctypes.set_errno(0)
        libc.syscall(numbers[0 if x86 else 1], 0, 0, 0, 0, 0, 0)
        if ctypes.get_errno() != (1 if x86 or numbers[1] != 0xffff else 38): done.append(name)
    return done
"""
    assert judge.value(program, f"f({calls!r})") == []
    for name in (
        "setxattr",
        "inotify_init1",
        "fanotify_init",
        "add_key",
        "keyctl",
        "bpf",
        "userfaultfd",
        "memfd_secret",
    ):
        assert name in REFUSED
    assert len(filter_program_of_children("aarch64")) == 8 * (2 * len(REFUSED_TO_CHILDREN) + 2)


def test_commands_of_files_are_few(judge: "Judge") -> None:
    program = """
import fcntl, os
def f():
    done = []
    descriptor = os.open("/dev/null", os.O_RDWR)
    for number in range(5, 1100):
        if number != 1030:
            try: fcntl.fcntl(descriptor, number, 0); done.append(number)
            except PermissionError: pass
            except OSError as error: done.append((number, error.errno))
    for number in (0x5452, 0x5460, 0x80086601, 0x40086602, 0x5412, 0x80045200):
        try: fcntl.ioctl(descriptor, number, bytes(64)); done.append(hex(number))
        except PermissionError: pass
    return done + [os.isatty(0), os.get_inheritable(descriptor), fcntl.fcntl(descriptor, fcntl.F_GETFD)]
"""
    assert judge.value(program) == [False, False, 1]


FRAMES = """
import gc, sys, types
def frames():
    seen = []
    for start in [sys._getframe(), *sys._current_frames().values()]:
        while start is not None:
            seen.append(start.f_code.co_filename)
            start = start.f_back
    return seen
seen = frames()
class Text(Exception):
    def __str__(self):
        seen.extend(frames())
        return ""
def f(n):
    seen.extend(frames())
    try: raise ValueError
    except ValueError as error:
        trace = error.__traceback__
        while trace: seen.append(trace.tb_frame.f_code.co_filename); trace = trace.tb_next
    seen.extend(o.f_code.co_filename for o in gc.get_objects() if isinstance(o, types.FrameType))
    return sorted(set(seen))
def ours():
    words = {"report", "control", "expected", "checks", "order"}
    dicts = [o for o in gc.get_objects() if type(o) is dict and words & {k for k in o if type(k) is str}]
    names = [name for name in sys.modules if name.split(".")[0] == "inside"]
    return [len(dicts), names, sorted(n for n in vars(sys.modules["__main__"]) if n[:2] != "__")]
"""


def test_no_frame_of_ours_is_on_the_stack(any_judge: "Judge") -> None:
    assert any_judge.value(FRAMES, "f(1)") == ["call", "program"]
    assert any_judge.value(FRAMES, "ours()") == [0, ["list"], ["list"]]


def test_a_program_that_traces_does_not_see_how_its_value_is_noted(judge: "Judge") -> None:
    program = """
import sys
seen = []
def trace(frame, event, arg):
    seen.append(frame.f_code.co_filename)
    return trace
def f(n):
    sys.settrace(trace); sys.setprofile(trace)
    return sorted(set(seen) - {"program", "call"})
"""
    values = judge.sandbox.evaluate(program, ["f(1)", "f(2)", "f(3)"])
    assert values == [{"value": ["list"]}] * 3


def test_a_child_that_cannot_begin_is_a_fault_and_the_next_sandbox_is_new(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = ProgramTests(ASSERTS)
    first = sandbox._workers[0]._process
    with monkeypatch.context() as patched:
        patched.setattr(Sandbox, "_limits", lambda self, size=0: '"limits": {"cpu": 1, "memory": "much"}')
        [result] = sandbox.run([(f"{RIGHT}  # cannot begin", tests)])
    assert result.outcome is Outcome.FAULT
    assert result.reason.startswith("the sandbox could not begin with the program: ")
    [result] = sandbox.run([(f"{RIGHT}  # cannot begin", tests)])  # a fault is not remembered
    assert result.outcome is Outcome.PASS and sandbox._workers[0]._process is not first


def test_a_program_cannot_pretend_that_it_did_not_begin(judge: "Judge") -> None:
    for descriptor in range(3, 64):
        text = f"import os\ntry: os.write({descriptor}, b'no')\nexcept OSError: pass\nos._exit(1)"
        assert judge.outcome(text, *ASSERTS) is Outcome.FAIL
    assert judge.outcome(f"{RIGHT}  # after pretending", *ASSERTS) is Outcome.PASS


def test_devices_open(any_judge: "Judge") -> None:
    program = """
import os, subprocess
def f():
    with open("/dev/null", "w") as null: print("x", file=null)
    with open("/dev/null") as null: text = null.read()
    return [text, open("/dev/zero", "rb").read(2), len(open("/dev/urandom", "rb").read(3)), os.devnull]
"""
    assert any_judge.value(program) == ["", ["bytes", "0000"], 3, "/dev/null"]


def test_values_of_several_megabytes_are_carried(any_judge: "Judge") -> None:
    assert any_judge.outcome("def f(n): return list(range(n))", "assert f(500_000) == list(range(500_000))") is (
        Outcome.PASS
    )
    assert any_judge.outcome("def f(n): return 'x' * n", "assert f(10_000_000) == 'x' * 10_000_000") is Outcome.PASS
    result = any_judge.result("def f(n): return 'x' * n", "assert f(20_000_000) == 'x' * 20_000_000")
    assert (result.outcome, result.reason) == (Outcome.FAIL, "its values are longer than 16777216 bytes")


PACKAGES = """
import importlib, os, sys
def f(*folders):
    sys.path += folders
    found = []
    for name in ("pip", "setuptools", "pytest", "hypothesis", "yaml", "packaging"):
        try: importlib.import_module(name); found.append(name)
        except ImportError: pass
    for folder, names, files in os.walk("/"):
        if os.path.basename(folder) in ("site-packages", "dist-packages", "ensurepip") and names + files:
            found.append(folder)
    return found
"""


def test_only_the_standard_library_and_allowed_packages_can_be_imported(judge: "Judge") -> None:
    folders = [path for path in sys.path if "site-packages" in path]
    base = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    folders += [f"{sys.base_prefix}/{base}/site-packages", "/usr/lib/python3/dist-packages"]
    call = f"f(*{json.dumps(folders)})"
    assert judge.value(PACKAGES, call) == []
    assert judge.outcome("import numpy\n" + RIGHT, *ASSERTS) is Outcome.FAIL
    with Sandbox(1, packages=("numpy",)) as sandbox:
        assert sandbox.evaluate(PACKAGES, [call]) == [{"value": ["list"]}]
        program = "import numpy as np, numpy.linalg\ndef f(n): return int(np.linalg.norm([n, 0]) ** 2)"
        [result] = sandbox.run([(program, ProgramTests(ASSERTS))])
        assert result.outcome is Outcome.PASS, result
        writes = "import numpy, os\ndef f(): return os.access(numpy.__file__, os.W_OK)"
        assert sandbox.evaluate(writes, ["f()"]) == [{"value": False}]


@pytest.mark.parametrize(
    ("packages", "problem"),
    [
        ("numpy", "packages = 'numpy' must be names as they are imported"),
        (("no-name",), "packages = ('no-name',) must be names"),
        (("no_such_package",), "packages: 'no_such_package' is not installed here"),
        (("json",), "packages: 'json' is part of Python"),
        (("pytest",), "packages: 'pytest' cannot be imported in the sandbox"),
    ],
)
def test_packages_that_cannot_be_had(packages: tuple[str, ...], problem: str) -> None:
    reason = reason_unavailable()
    if reason is not None:
        pytest.skip(f"no sandbox here: {reason}")
    with pytest.raises(ConfigError) as caught:
        Sandbox(1, packages=packages)
    assert problem in str(caught.value)


def test_the_verifier_takes_packages_as_text(sandbox: Sandbox) -> None:
    verifier = ProgramVerifier(workers=1, packages="numpy, numpy")
    with verifier.sandbox:
        assert verifier.sandbox.packages == ("numpy",) and verifier.options == {"distinct": "ast", "packages": "numpy"}
    assert ProgramVerifier(sandbox).options == {"distinct": "ast"}
    with pytest.raises(ConfigError, match="packages: the sandbox that is passed decides"):
        ProgramVerifier(sandbox, packages="numpy")
