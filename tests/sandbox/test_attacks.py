"""What a hostile program may try. Every test here is an attack, and every one must come to nothing."""

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from polymode.sandbox import Limits, Outcome, ProgramTests, Sandbox
from polymode.sandbox.inside.values import encode

if TYPE_CHECKING:
    from tests.sandbox.conftest import Judge
else:
    Judge = object

RIGHT = "def f(n):\n    return n * n"
ASSERTS = ("assert f(2) == 4", "assert f(3) == 9")

_number = itertools.count()


@pytest.fixture(autouse=True)
def right_and_wrong_are_told_apart_afterwards(sandbox: Sandbox) -> Iterator[None]:
    """Directly after each attack, in the worker that it ran in; texts of their own, so that nothing is remembered."""
    yield
    number = next(_number)
    programs = [f"def f(n):\n    return n * n + {number} - {number}", f"def f(n):\n    return n * n + {number + 1}"]
    results = sandbox.run([(program, ProgramTests(ASSERTS)) for program in programs])
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL]


# --- forging a result ------------------------------------------------------------------------------------------------

ALWAYS_EQUAL = """
class Equal{base}:
    __hash__ = None
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
def f(n): return Equal({value})
"""
WRITES = (
    "import os, json\ndef say(*lines):\n    os.write(3, ''.join(json.dumps(x) + chr(10) for x in lines).encode())\n"
)

OWN_METHODS = {
    "object equal to all": ALWAYS_EQUAL.format(base="", value=""),
    "int equal to all": ALWAYS_EQUAL.format(base="(int)", value="7"),
    "str equal to all": ALWAYS_EQUAL.format(base="(str)", value="'x'"),
    "list equal to all": ALWAYS_EQUAL.format(base="(list)", value="[1]"),
    "float equal to all": ALWAYS_EQUAL.format(base="(float)", value="float('nan')"),
    "mock that equals all": "from unittest.mock import ANY\ndef f(n): return ANY",
    "object true of a subtraction": "class A:\n    def __sub__(s, o): return 0\n    __rsub__ = __sub__\n"
    "    def __eq__(s, o): return s.x if hasattr(s, 'x') else True\ndef f(n): return A()",
    "named tuple": "from collections import namedtuple\nclass P(namedtuple('P', 'x')):\n"
    "    def __eq__(s, o): return True\ndef f(n): return P(1)",
    "class that lies": "class A:\n    __class__ = int\n    def __eq__(s, o): return True\ndef f(n): return A()",
    "metaclass": "class M(type):\n    def __eq__(c, o): return True\n    __hash__ = None\nclass A(metaclass=M): pass\n"
    "def f(n): return A",
    "enumeration": "import enum\nclass E(int, enum.Enum):\n    A = 1\n    def __eq__(s, o): return True\n"
    "def f(n): return E.A",
}
"""Values that would pass in plain Python, because a method of the program's own decides: neither right nor wrong."""

FORGERIES = {
    "prints that it passed": "print('passed', 'PASS', 'ok', flush=True)\ndef f(n): print('PASS'); return None",
    "ends early with status 0": "import os\nos._exit(0)",
    "ends early in the function": "import os\ndef f(n): os._exit(0)",
    "sys.exit in the function": "import sys\ndef f(n): sys.exit(0)",
    "raises SystemExit": "def f(n): raise SystemExit(0)",
    "raises KeyboardInterrupt": "def f(n): raise KeyboardInterrupt",
    "kills itself": "import os, signal\ndef f(n): os.kill(os.getpid(), signal.SIGKILL)",
    "patches builtins": "import builtins\nfor name in ('all', 'any', 'bool', 'isinstance', 'len', 'eval', 'compile'):\n"
    "    setattr(builtins, name, lambda *a, **k: True)\ndef f(n): return 0",
    "patches AssertionError": "import builtins\nbuiltins.AssertionError = None\ndef f(n): return 0",
    "patches int equality": "import ctypes\ndef f(n): return 0\n"
    "import gc\ngc.get_referents(int.__dict__)[0]['__eq__'] = lambda a, b: True",
    "patches json": 'import json\njson.dumps = lambda *a, **k: \'{"failure": null, "key": "x"}\'\ndef f(n): return 0',
    "patches the encoder": "import sys\nfor m in list(sys.modules.values()):\n"
    "    if hasattr(m, 'encode'): m.encode = lambda v: True\ndef f(n): return 0",
    "patches os.write": "import os\nold = os.write\n"
    'os.write = lambda fd, data: old(fd, b\'{"failure": null, "item": 0, "key": "x"}\\n\') and len(data)\n'
    "def f(n): return 0",
    "patches the exit": "import os\nos._exit = lambda *a: None\ndef f(n): return 0",
    "reply of the checking process": WRITES
    + 'say({"item": 0, "failure": None, "complete": True, "behaviour": "", "key": "x"})\nos._exit(0)',
    "reply after a right line": WRITES
    + 'say({"load": None}, {"item": 0, "failure": None, "complete": True, "key": "x"})\nos._exit(0)',
    "report of the server": WRITES + 'say({"code": 0, "timed_out": False, "cpu": 0, "dirty": False})\nos._exit(0)',
    "values of the wrong kind": WRITES + 'say({"load": None}, {"value": ["list", 4]}, {"value": ["int"]})\nos._exit(0)',
    "value with code": WRITES
    + 'say({"load": None}, {"value": ["eval", "4"]}, {"value": {"__reduce__": "4"}})\nos._exit(0)',
    "wrong values early, then nothing": WRITES + 'say({"load": None}, {"value": True}, {"value": True})\nos._exit(0)',
    "a fault": WRITES + 'say({"fault": "x"}, {"broken": "x"})\nos._exit(0)',
    "no JSON": "import os\nos.write(3, b'\\xff\\x00[[[[' * 1000)\nos._exit(0)",
    "deep JSON": "import os\nos.write(3, b'[' * 100000 + b'\\n')\nos._exit(0)",
    "huge number": WRITES + "os.write(3, b'{\"load\": null}\\n' + b'9' * 500000 + b'\\n')\nos._exit(0)",
    "looks for the expected value": "import gc\ndef f(n):\n"
    "    for o in gc.get_objects():\n"
    "        if isinstance(o, dict) and 'checks' in o and 'expected' in str(o): return n * n\n"
    "    return None",
    "looks up the frames": "import sys\ndef f(n):\n    frame = sys._getframe()\n    while frame:\n"
    "        for v in list(frame.f_locals.values()):\n"
    "            if isinstance(v, str) and '==' in v: return n * n\n"
    "        frame = frame.f_back\n    return None",
    "trace function": "import sys\ndef f(n): return 0\n"
    "def trace(frame, event, arg):\n    if event == 'return': return 4\n    return trace\nsys.settrace(trace)",
    "replaces itself with a shell": "import os\nos.execv('/bin/true', ['true'])",
    "replaces the interpreter": "import os, sys\ndef f(n): os.execv(sys.executable, [sys.executable, '-c', 'pass'])",
    "passes on to a child": "import os\ndef f(n):\n    if os.fork() == 0: return n * n\n    os._exit(0)",
    "name of the test": "_0 = 4\nexpected = _expected = 4\n_close = lambda *a: True\ndef f(n): return None",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_result_does_not_pass(name: str, judge: "Judge") -> None:
    result = judge.result(FORGERIES[name], *ASSERTS)
    assert result.outcome is Outcome.FAIL, result
    assert judge.outcome(RIGHT, *ASSERTS) is Outcome.PASS  # and the next program is judged as ever


@pytest.mark.parametrize("name", OWN_METHODS)
def test_no_method_of_the_programs_own_decides(name: str, judge: "Judge") -> None:
    result = judge.result(OWN_METHODS[name], *ASSERTS)
    assert result.outcome is Outcome.FAULT, result
    assert "which is the program's own" in result.reason
    assert judge.outcome(RIGHT, *ASSERTS) is Outcome.PASS


def test_truth_is_that_of_the_value_and_not_of_the_programs_class(judge: "Judge") -> None:
    assert judge.outcome("class A(int):\n    def __bool__(s): return True\ndef f(n): return A(0)", "assert f(2)") is (
        Outcome.FAULT
    )
    assert judge.outcome("def f(n): return 0", "assert not f(2)") is Outcome.PASS


def test_a_hostile_value_in_one_program_leaves_the_others_of_its_batch_alone(sandbox: Sandbox) -> None:
    # Multiples of the prime 2^61 - 1 all have the hash 0, so a set of them takes quadratic time to build.
    flood = "def f(n): return [i * (2**61 - 1) for i in range(40000)]\n"
    flood += 'import os, json\nos.write(3, b\'{"load": null}\\n{"value": ["set"\' + '
    flood += (
        "b''.join(b', ' + json.dumps(['int', hex(i * (2**61 - 1))]).encode() for i in range(1, 25000)) + b']}\\n')\n"
    )
    flood += "os._exit(0)"
    tests = ProgramTests(ASSERTS)
    programs = [RIGHT + "  # beside a flood", flood, "def f(n): return n"]
    found = sandbox.run([(program, tests) for program in programs])
    assert [result.outcome for result in found] == [Outcome.PASS, Outcome.FAIL, Outcome.FAIL]


# --- reaching out ----------------------------------------------------------------------------------------------------


def test_no_file_outside_is_seen(judge: "Judge", tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    program = "import os\ndef f(*paths): return [path for path in paths if os.path.exists(path)]"
    home = os.path.expanduser("~")
    places = [str(secret), __file__, "/etc/passwd", "/etc/shadow", "/proc/self", "/proc/1", "/sys/kernel", "/bin/sh"]
    places += ["/usr/bin/env", "/var", "/run", "/dev/sda", "/dev/tty", "/dev/shm", "/dev/pts", f"{home}/.ssh"]
    assert judge.value(program, f"f(*{places!r})") == []


def test_nothing_outside_of_tmp_can_be_written(judge: "Judge") -> None:
    program = """
import os, sys
def f():
    done = []
    for root in ("/", "/dev", "/usr/lib", "/sandbox", "/sandbox/inside", os.path.dirname(os.__file__)):
        for attempt in (lambda p: open(p, "w"), os.mkdir, lambda p: os.symlink("/", p), lambda p: os.mkfifo(p)):
            try: attempt(root + "/planted"); done.append(root)
            except OSError: pass
    for path in (os.__file__, "/sandbox/inside/server.py", sys.executable):
        for attempt in (lambda p: open(p, "a"), os.remove, lambda p: os.chmod(p, 7), lambda p: os.rename(p, "/tmp/x")):
            try: attempt(path); done.append(path)
            except OSError: pass
    return done
"""
    assert judge.value(program) == []


def test_no_network(judge: "Judge") -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    program = """
import socket
def f(port):
    done = []
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
            try:
                s = socket.socket(family, kind)
                done.append(str(family))
                s.connect(("127.0.0.1", port))
            except OSError: pass
    try: socket.getaddrinfo("localhost", port); done.append("names")
    except OSError: pass
    return done
"""
    with listener:
        assert judge.value(program, f"f({listener.getsockname()[1]})") == []


def test_neither_environment_nor_descriptors_nor_arguments_come_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    kept = [open(tmp_path / "open", "w"), *socket.socketpair()]  # noqa: SIM115
    for one in kept:
        os.set_inheritable(one.fileno(), True)
    try:
        with _sandbox() as sandbox:
            program = """
import os, sys
def f():
    descriptors = []
    for number in range(4096):
        try: os.fstat(number); descriptors.append(number)
        except OSError: pass
    return [dict(os.environ), descriptors, sys.argv, os.getcwd()]
"""
            (line,) = sandbox.evaluate(program, ["f()"])
    finally:
        for one in kept:
            one.close()
    environment = {"PYTHONHASHSEED": "0", "PWD": "/", "LC_CTYPE": "C.UTF-8"}
    found = line["value"]
    assert all(environment.get(key) == value for key, value in found[1][1:])
    assert found[2:] == [encode([0, 1, 2, 3]), encode(["-c"]), "/tmp"]


def test_the_program_is_nobody_and_may_nothing(judge: "Judge") -> None:
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
x86 = os.uname().machine == "x86_64"
def f():
    done = []
    for name, attempt in {
        "user": lambda: os.setuid(0), "group": lambda: os.setgid(0), "chroot": lambda: os.chroot("/tmp"),
        "groups": lambda: os.setgroups([0]), "priority": lambda: os.nice(-5), "chown": lambda: os.chown("/tmp", 0, 0),
    }.items():
        try: attempt(); done.append(name)
        except OSError: pass
    calls = {
        "unshare": lambda: libc.unshare(0x10000000), "mount": lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
        "setns": lambda: libc.setns(3, 0), "umount": lambda: libc.umount2(b"/tmp", 2),
        "namespace by clone": lambda: libc.syscall(56 if x86 else 220, 0x10000011, 0, 0, 0, 0),
        "bpf": lambda: libc.syscall(321 if x86 else 280, 0, 0, 0),
        "hostname": lambda: libc.sethostname(b"x", 1),
    }
    for name, attempt in calls.items():
        if attempt() >= 0: done.append(name)
    if os.getuid() == 0 or os.geteuid() == 0: done.append("root")
    return done
"""
    assert judge.value(program) == []


def test_the_server_can_be_neither_signalled_nor_traced_nor_read(judge: "Judge") -> None:
    program = """
import ctypes, os, signal, resource
libc = ctypes.CDLL(None, use_errno=True)
def f():
    done = []
    for number in range(1, 65):
        if number in (signal.SIGKILL, signal.SIGSTOP): pass
        for target in (1, os.getppid()):
            try: os.kill(target, number)
            except (OSError, ValueError): pass
    for request in (16, 0x4206, 8):  # attach, seize, kill
        if libc.ptrace(request, 1, 0, 0) >= 0: done.append("ptrace")
    buffer = ctypes.create_string_buffer(8)
    class Vec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
    local = Vec(ctypes.addressof(buffer), 8)
    if libc.process_vm_readv(1, ctypes.byref(local), 1, ctypes.byref(local), 1, 0) >= 0: done.append("memory")
    try: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)); done.append("limits")
    except OSError: pass
    try: os.setpriority(os.PRIO_PROCESS, 1, 19); done.append("priority")
    except OSError: pass
    try: os.setpgid(1, 0); done.append("group")
    except OSError: pass
    try: os.sched_setaffinity(1, {0}); done.append("affinity")
    except OSError: pass
    for name in ("1", "self", "thread-self"):
        if os.path.exists(f"/proc/{name}"): done.append("proc")
    return done
"""
    assert judge.value(program) == []
    assert judge.outcome(RIGHT + " # after signals", *ASSERTS) is Outcome.PASS


def test_killing_everything_kills_only_itself(judge: "Judge") -> None:
    killer = "import os, signal\nos.kill(-1, signal.SIGKILL)\nos.kill(0, signal.SIGKILL)\ndef f(n): return n * n"
    assert judge.outcome(killer, *ASSERTS) is not Outcome.FAULT
    assert judge.outcome(RIGHT + " # after a massacre", *ASSERTS) is Outcome.PASS


# --- using it all up -------------------------------------------------------------------------------------------------

BOMBS = {
    "fork bomb": (
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: break\ndef f(n): return 0",
        Outcome.FAIL,
    ),
    "endless fork bomb": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", Outcome.TIMEOUT),
    "threads": (
        "import threading\nthreading.Thread(target=lambda: None).start()\ndef f(n): return n * n",
        Outcome.FAIL,
    ),
    "memory bomb": ("x = []\nwhile True: x.append(bytearray(10**7))", Outcome.FAIL),
    "one large block": ("def f(n): return len(bytearray(10**10))", Outcome.FAIL),
    "memory by mmap": (
        "import mmap\nx = [mmap.mmap(-1, 10**8) for _ in range(100)]\ndef f(n): return n * n",
        Outcome.FAIL,
    ),
    "large power": ("def f(n): return len(str(9 ** 9 ** 9))", Outcome.TIMEOUT),
    "constant folding": ("x = 'a' * 10**9 * 10\ndef f(n): return n * n", Outcome.FAIL),
    "endless loop": ("while True: pass", Outcome.TIMEOUT),
    "endless loop in the function": ("def f(n):\n    while True: pass", Outcome.TIMEOUT),
    "loop that catches all": (
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True:\n"
        "    try:\n        while True: pass\n    except BaseException: pass",
        Outcome.TIMEOUT,
    ),
    "recursion": ("def f(n): return f(n)", Outcome.FAIL),
    "deep recursion": ("import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n) + repr(f)", Outcome.FAIL),
    "huge value": ("def f(n): return [0] * 10**6", Outcome.FAIL),
    "endless value": ("import itertools\ndef f(n): return itertools.count()", Outcome.FAIL),
    "value that holds itself": ("x = []\nx.append(x)\ndef f(n): return x", Outcome.FAIL),
    "deep value": ("def f(n):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x", Outcome.FAIL),
    "huge print": ("for _ in range(2000): print('x' * 10**6)\ndef f(n): return 0", Outcome.FAIL),
    "huge line to the judge": (
        "import os\ntry:\n    while True: os.write(3, b'x' * 10**6)\nexcept OSError: pass\ndef f(n): return n * n",
        Outcome.FAIL,
    ),
    "large file": ("open('/tmp/x', 'wb').write(bytes(10**8))\ndef f(n): return n * n", Outcome.FAIL),
    "many files": (
        "for i in range(200): open(f'/tmp/{i}', 'wb').write(bytes(2**20))\ndef f(n): return n * n",
        Outcome.FAIL,
    ),
    "many descriptors": ("import os\nwhile True: os.dup(0)", Outcome.FAIL),
    "raised limits": (
        "import resource\nfor name in ('RLIMIT_CPU', 'RLIMIT_AS', 'RLIMIT_NPROC', 'RLIMIT_FSIZE', 'RLIMIT_NOFILE'):\n"
        "    resource.setrlimit(getattr(resource, name), (resource.RLIM_INFINITY,) * 2)\ndef f(n): return n * n",
        Outcome.FAIL,
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_go_off(name: str, judge: "Judge") -> None:
    program, expected = BOMBS[name]
    started = time.monotonic()
    result = judge.result(program, *ASSERTS)
    allowed = {expected, Outcome.TIMEOUT}  # a busy machine may be too slow to get as far as the other limit
    assert result.outcome in allowed, result
    assert time.monotonic() - started < 60
    assert judge.outcome(f"{RIGHT}  # after {name}", *ASSERTS) is Outcome.PASS


def test_a_sleeper_is_woken() -> None:
    with _sandbox(wall_seconds=1) as sandbox:
        [result] = sandbox.run([("import time\ntime.sleep(100)", ProgramTests(ASSERTS))])
    assert result.outcome is Outcome.TIMEOUT


# --- leaving something behind ----------------------------------------------------------------------------------------


def test_files_are_gone_before_the_next_program(judge: "Judge") -> None:
    leaves = "import os\nos.makedirs('/tmp/a/b')\nopen('/tmp/a/b/c', 'w').write('x')\nos.chmod('/tmp/a', 0)\n"
    assert judge.value(leaves + "def f(): return os.listdir('/tmp')") == ["a"]
    assert judge.value("import os\ndef f(): return os.listdir('/tmp')") == []


def test_processes_are_gone_before_the_next_program() -> None:
    daemon = """
import os, time
def f():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    time.sleep(0.2)
    return True
"""
    looks = """
import os
def f():
    seen = []
    for pid in range(2, 300):
        try: os.kill(pid, 0)
        except ProcessLookupError: continue
        except PermissionError: pass
        if pid != os.getpid(): seen.append(pid)
    return seen
"""
    with _sandbox(processes=5) as sandbox:
        assert sandbox.evaluate(daemon, ["f()"]) == [{"value": True}]
        assert sandbox.evaluate(looks, ["f()"]) == [{"value": ["list"]}]


def test_shared_memory_semaphores_queues_and_keys_cannot_be_made(judge: "Judge") -> None:
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
x86 = os.uname().machine == "x86_64"
def f():
    done = []
    for name, attempt in {
        "shared memory": lambda: libc.shmget(1234, 4096, 0o1666), "semaphore": lambda: libc.semget(1234, 1, 0o1666),
        "queue": lambda: libc.msgget(1234, 0o1666),
        "posix queue": lambda: libc.syscall(240 if x86 else 180, b"q", 0o102, 0o666, None),
        "key": lambda: libc.syscall(248 if x86 else 217, b"user", b"name", b"secret", 6, -3),
        "memory file": lambda: libc.syscall(319 if x86 else 279, b"m", 0),
    }.items():
        if attempt() >= 0: done.append(name)
    return done
"""
    assert judge.value(program) == []


def test_nothing_of_an_earlier_program_is_in_memory(judge: "Judge") -> None:
    # Put together at run time, so that the word is not in the second program's own text.
    word = "".join(["xyzzy", "plugh", "41207"])
    assert judge.outcome(f"secret = '{word}'\ndef f(n): return n * n", *ASSERTS) is Outcome.PASS
    looks = """
import gc, ctypes
def f():
    word = "".join(["xyzzy", "plugh", "41207"])
    hits = [o for o in gc.get_objects() if isinstance(o, (dict, list, tuple)) and word in str(o)[:10000]]
    return len([h for h in hits if "looks" not in str(h)])
"""
    own = judge.value(looks)
    with _sandbox() as fresh:  # the same program in a sandbox where nothing ran before
        (line,) = fresh.evaluate(looks, ["f()"])
    assert own == line["value"]


def test_no_program_is_left_when_the_owner_is_killed() -> None:
    code = (
        "import sys, threading, time\nfrom polymode.sandbox import *\n"
        "s = Sandbox(1, limits=Limits(cpu_seconds=100, wall_seconds=100))\n"
        "print(s._workers[0]._process.pid, flush=True)\n"
        "s.run([('import time\\ntime.sleep(90)', ProgramTests(('assert f()',)))])"
    )
    with _sandbox():
        pass
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    outer = int(owner.stdout.readline())
    time.sleep(0.5)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{outer}") and _state(outer) != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{outer}") or _state(outer) == "Z"


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def _sandbox(**limits: int) -> Sandbox:
    from polymode.sandbox import reason_unavailable

    reason = reason_unavailable()
    if reason is not None:
        pytest.skip(f"no sandbox here: {reason}")
    return Sandbox(1, limits=Limits(**{"cpu_seconds": 2, "wall_seconds": 20, **limits}))
