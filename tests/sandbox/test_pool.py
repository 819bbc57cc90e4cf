"""Programs that mean no harm, with and without isolation, and a sandbox that cannot be had."""

import gc
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from polymode.errors import ConfigError, VerifierFault
from polymode.sandbox import Limits, Outcome, ProgramTests, Sandbox, pool, reason_unavailable
from polymode.sandbox.bubblewrap import UNSAFE_LOCAL
from polymode.sandbox.inside.seccomp import REFUSED, filter_program

if TYPE_CHECKING:
    from tests.sandbox.conftest import Judge
else:
    Judge = object

PASSES = {
    "function": ("def f(n): return n * n", "assert f(2) == 4"),
    "lambda": ("f = lambda n: n * n", "assert f(2) == 4"),
    "class": (
        "class Square:\n    def __init__(self, n): self.n = n\n    def area(self): return self.n ** 2",
        "assert Square(2).area() == 4",
    ),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef f(n): return P(n).x",
        "assert f(2) == 2",
    ),
    "late import": ("def f(n):\n    import xml.dom.minidom, difflib\n    return n", "assert f(2) == 2"),
    "future import": ("from __future__ import annotations\ndef f(n: Undefined): return n", "assert f(2) == 2"),
    "set": ("def f(x): return list(reversed(x))", "assert set(f([1, 2])) == {1, 2}"),
    "dictionary": (
        "from collections import Counter\ndef f(x): return Counter(x)",
        "assert f('aab') == {'a': 2, 'b': 1}",
    ),
    "tuple of lists": ("def f(n): return ([n], (n,))", "assert f(1) == ([1], (1,))"),
    "float": ("def f(n): return n / 3", "assert f(1) == 1 / 3"),
    "large number": ("def f(n): return 7 ** n", "assert f(5000) == 7 ** 5000"),
    "none": ("def f(n): pass", "assert f(1) is None"),
    "truth": ("def f(n): return [n]", "assert f(1)"),
    "two calls": ("def f(n): return n % 2", "assert f(1) == f(3)"),
    "state between calls": ("c = []\ndef f(n):\n    c.append(n)\n    return len(c)", "assert f(1) < f(1)"),
    "windows line ends": ("def f(n):\r\n\treturn n\r\n", "assert f(1) == 1"),
    "print": ("def f(n):\n    print(n, 'é\\udc80'[:1])\n    return n", "assert f(1) == 1"),
    "writes to tmp": (
        "import os\ndef f(n):\n    open('/tmp/polymode', 'w').write('a')\n    os.remove('/tmp/polymode')\n    return n",
        "assert f(1) == 1",
    ),
    "input that would wait": ("def f(n):\n    try: return input()\n    except EOFError: return n", "assert f(1) == 1"),
    "recursion": ("def f(n): return 1 if n == 0 else n * f(n - 1)", "assert f(500) % 7 == 0"),
}
FAILS = {
    "wrong value": ("def f(n): return n", "assert f(2) == 4", "assert f(2) == 4: not with 2"),
    "exception": (
        "def f(n): return 1 / 0",
        "assert f(2) == 4",
        "assert f(2) == 4: ZeroDivisionError: division by zero",
    ),
    "no such function": (
        "def g(n): return n",
        "assert f(2) == 4",
        "assert f(2) == 4: NameError: name 'f' is not defined",
    ),
    "does not parse": (
        "def f(n) return n",
        "assert f(2) == 4",
        "SyntaxError: expected ':' (program, line 1) in the program",
    ),
    "prose": ("I think the answer is 4.", "assert f(2) == 4", "SyntaxError"),
    "empty": ("", "assert f(2) == 4", "NameError"),
    "zero byte": ("def f(n): return n\0", "assert f(2) == 4", "source code string cannot contain null bytes"),
    "not UTF-8": ("def f(n): return '\udc80\udcff'", "assert f(2) == 4", "UnicodeEncodeError"),
    "fails to load": ("import no_such_module\ndef f(n): return 4", "assert f(2) == 4", "ModuleNotFoundError"),
    "object": ("class A: pass\ndef f(n): return A()", "assert f(2) == 4", "assert f(2) == 4: not with <A>"),
    "generator": ("def f(n): yield n", "assert f(2) == 4", "assert f(2) == 4: not with <generator>"),
    "value the test cannot take": (
        "def f(n): return None",
        "assert len(f(2)) == 4",
        "TypeError: object of type 'NoneType' has no len()",
    ),
    "not a number": ("def f(n): return float('nan')", "assert f(2) == f(2)", "not with nan, nan"),
}


@pytest.mark.parametrize("name", PASSES)
def test_right_programs_pass(name: str, any_judge: "Judge") -> None:
    program, test = PASSES[name]
    result = any_judge.result(program, test)
    assert (result.outcome, result.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize("name", FAILS)
def test_wrong_programs_fail_with_the_reason(name: str, any_judge: "Judge") -> None:
    program, test, said = FAILS[name]
    result = any_judge.result(program, test)
    assert result.outcome is Outcome.FAIL and said in result.reason, result


def test_limits_hold_without_isolation_too(any_judge: "Judge") -> None:
    assert any_judge.outcome("while True: pass") is Outcome.TIMEOUT
    assert any_judge.outcome("x = bytearray(10**10)") is Outcome.FAIL
    assert any_judge.outcome("import os\nos._exit(0)") is Outcome.FAIL


def test_what_a_program_started_is_killed_without_isolation_too(tmp_path: Path) -> None:
    program = f"""
import os, time
def f(n):
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open({str(tmp_path)!r} + f"/{{os.getpid()}}", "w").close()
                time.sleep(1000)
            os._exit(0)
    time.sleep(0.3)
    return n
"""
    with Sandbox(1, unsafe_local=True, limits=Limits(wall_seconds=20)) as sandbox:
        [result] = sandbox.run([(program, ProgramTests(("assert f(1) == 1",)))])
    assert result.outcome is Outcome.PASS
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_a_program_of_ten_megabytes_fails_without_being_run(judge: "Judge") -> None:
    started = time.monotonic()
    result = judge.result("x = 1\n" * (10 * 2**20 // 6) + "def f(n): return 4")
    assert result.outcome is Outcome.FAIL and result.key.startswith("text:")
    assert "characters, more than 100000" in result.reason
    assert time.monotonic() - started < 10


def test_broken_tests_are_a_fault_and_not_the_programs(judge: "Judge") -> None:
    for fields, said in (
        ({"imports": "import no_such_module"}, "the imports of the tests fail: ModuleNotFoundError"),
        ({"imports": "import ("}, "is not Python"),
        ({"asserts": ("assert 1",)}, "calls nothing of the program"),
    ):
        tests = ProgramTests(**{"asserts": ("assert f(2) == 4",), **fields})  # type: ignore[arg-type]
        [result] = judge.sandbox.run([("def f(n): return n * n", tests)])
        assert result.outcome is Outcome.FAULT and said in result.reason


def test_setup_runs_after_the_program_and_may_use_it(judge: "Judge") -> None:
    program = "class Node:\n    def __init__(self, x): self.x = x\ndef f(node): return node.x"
    assert judge.outcome(program, "assert f(root) == 3", setup="root = Node(3)") is Outcome.PASS
    result = judge.result("def f(node): return 3", "assert f(root) == 3", setup="root = Node(3)")
    assert (result.outcome, result.reason) == (Outcome.FAIL, "NameError: name 'Node' is not defined in the setup")


def test_extra_inputs_tell_programs_apart_and_decide_nothing(judge: "Judge") -> None:
    absolute = "def f(n): return abs(n)"
    root = "def f(n): return int((n * n) ** 0.5)"
    plain = "def f(n): return n"
    extra = {"inputs": ("f(-2)", "f(0)")}
    a, b, c = (judge.result(program, "assert f(2) == 2", **extra) for program in (absolute, root, plain))
    assert a.outcome is b.outcome is c.outcome is Outcome.PASS
    assert a.behaviour == b.behaviour != c.behaviour and a.key != b.key
    for ending in ("import os; os._exit(1)", "raise SystemExit", "while True: pass", "return [0] * 10**7"):
        program = f"def f(n):\n    if n < 0:\n        {ending}\n    return n"
        assert judge.outcome(program, "assert f(2) == 2", **extra) is Outcome.PASS


def test_chance_and_hashes_are_the_same_every_time(judge: "Judge") -> None:
    program = "import random\ndef f(): return [random.random(), hash('a'), list({'a', 'b', 'c'})]"
    assert judge.value(program) == judge.value(program + "\n")


def test_results_are_in_order_and_remembered(judge: "Judge") -> None:
    tests = ProgramTests(("assert f(2) == 4",))
    programs = [f"def f(n): return n * {i % 3}  # {i}" for i in range(40)]
    items = [(program, tests) for program in programs]
    first = judge.sandbox.run(items)
    assert [result.outcome is Outcome.PASS for result in first] == [i % 3 == 2 for i in range(40)]
    started = time.process_time()
    again = judge.sandbox.run([*items, *items])
    assert again == [*first, *first] and time.process_time() - started < 0.5
    assert judge.sandbox.run([items[3]])[0] is first[3]


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, judge: "Judge") -> None:
    monkeypatch.setattr(pool, "MAX_REMEMBERED", 5)
    tests = ProgramTests(("assert f(2) == 4",))
    results = judge.sandbox.run([(f"def f(n): return {i}", tests) for i in range(8)])
    assert len(results) == 8 and len(judge.sandbox._results) == 5


def test_several_threads_may_ask_at_once(sandbox: Sandbox) -> None:
    tests = ProgramTests(("assert f(2) == 4",))
    found: dict[int, Outcome] = {}

    def ask(i: int) -> None:
        found[i] = sandbox.run([(f"def f(n): return n * n  # thread {i}", tests)])[0].outcome

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(6), Outcome.PASS)


def test_a_sandbox_that_died_is_replaced(sandbox: Sandbox) -> None:
    tests = ProgramTests(("assert f(2) == 4",))
    process = sandbox._workers[0]._process
    assert process is not None
    process.kill()  # bubblewrap itself; its sandbox ends when it is noticed
    sandbox._workers[0]._control.shutdown(2)  # type: ignore[union-attr]
    [result] = sandbox.run([("def f(n): return n * n  # after death", tests)])
    assert result.outcome is Outcome.PASS


def test_the_values_of_a_trusted_program(judge: "Judge") -> None:
    assert judge.sandbox.evaluate("def f(n): return 1 / n", ["f(2)", "f(0)"]) == [
        {"value": ["float", "0x1.0000000000000p-1"]},
        {
            "error": "ZeroDivisionError: division by zero",
            "types": ["ZeroDivisionError", "ArithmeticError", "Exception", "BaseException"],
        },
    ]
    slow = "def f(n):\n    while n: pass\n    return n"
    assert [*judge.sandbox.evaluate(slow, ["f(1)", "f(0)"], call_seconds=0.05)[1].values()] == [0]
    for program, said in (
        ("def f(", "SyntaxError"),
        ("import os\nos._exit(3)", "it wrote no values|it ended early"),
        ("def f(n):\n    while True: pass", "not done after"),
    ):
        with pytest.raises(VerifierFault, match=said):
            judge.sandbox.evaluate(program, ["f(1)"])


def test_closing_leaves_no_process_and_nothing_open() -> None:
    with Sandbox(2, unsafe_local=True) as sandbox:
        sandbox.run([(f"def f(n): return {i}", ProgramTests(("assert f(2) == 4",))) for i in range(4)])
        processes = [worker._process for worker in sandbox._workers]
        assert all(process is not None and process.poll() is None for process in processes)
    assert all(process is not None and process.returncode is not None for process in processes)
    del sandbox
    gc.collect()  # a forgotten one is closed as well; an open socket would be a warning, and so an error
    Sandbox(1, unsafe_local=True)
    gc.collect()


def test_without_bubblewrap_it_refuses_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = "bubblewrap is not installed: sudo apt install bubblewrap; --unsafe-local .in Python unsafe_local=True. runs"
    with pytest.raises(ConfigError, match=said):
        Sandbox(1)
    assert reason_unavailable() == "bubblewrap is not installed: sudo apt install bubblewrap"


@pytest.mark.parametrize(
    ("value", "asked", "runs"),
    [("1", None, True), ("0", None, False), ("", None, False), ("true", None, False), ("1", False, False)],
)
def test_the_environment_decides_only_where_nothing_else_is_said(
    value: str, asked: bool | None, runs: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(UNSAFE_LOCAL, value)
    if not runs:
        with pytest.raises(ConfigError, match="programs cannot be run safely here"):
            Sandbox(1, unsafe_local=asked)
        return
    with Sandbox(1, unsafe_local=asked) as sandbox:
        assert sandbox.run([("def f(): return 1", ProgramTests(("assert f() == 1",)))])[0].outcome is Outcome.PASS
    assert "bubblewrap is not installed" in str(reason_unavailable())  # which speaks of isolation, whatever is allowed


def test_without_namespaces_it_refuses_with_bubblewraps_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    said = "may not make namespaces here .bwrap: No permissions to create new namespace"
    with pytest.raises(ConfigError, match=said):
        Sandbox(1)


def test_a_sandbox_that_does_not_isolate_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A bubblewrap that only runs the command: the server notices that it is not PID 1 of a namespace.
    script = '#!/bin/sh\n[ "$1" = --help ] && exit\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    (tmp_path / "bwrap").write_text(script)
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ConfigError, match="programs cannot be run safely here"):
        Sandbox(1)


@pytest.mark.parametrize(
    ("workers", "said"),
    [(0, "workers = 0 must be a whole number"), (True, "workers = True must be")],
)
def test_options_out_of_range(workers: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Sandbox(workers)
    with pytest.raises(ConfigError, match="cpu_seconds = 0 must be a whole number of at least 1"):
        Limits(cpu_seconds=0)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_has_a_sandbox_too() -> None:
    reason = reason_unavailable()
    if reason is not None:
        pytest.skip(f"no sandbox here: {reason}")
    root = Path(pool.__file__).parents[2]
    user = ["setpriv", "--reuid=60999", "--regid=60999", "--clear-groups"]
    asks = "import sys, json, ctypes, xml.dom; assert sys.version_info >= (3, 11); print(sys.prefix)"
    for interpreter in (os.path.realpath(getattr(sys, "_base_executable", sys.executable)), "/usr/bin/python3"):
        tried = subprocess.run([*user, interpreter, "-S", "-c", asks], capture_output=True, text=True, cwd="/")
        if tried.returncode == 0 and interpreter.startswith(tried.stdout.strip()):
            break
    else:
        pytest.skip("no Python here that another user may run")
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r})\nfrom polymode.sandbox import *\n"
        "tests = ProgramTests(('assert f(1) == 1',))\n"
        "with Sandbox(1) as s: print(s.run([('def f(n): return n', tests)])[0].outcome.name)"
    )
    done = subprocess.run([*user, interpreter, "-S", "-c", code], capture_output=True, text=True, timeout=100, cwd="/")
    if "No module named 'polymode'" in done.stderr or "Can't find source path" in done.stderr:
        pytest.skip("this folder cannot be read by another user")
    assert done.stdout.strip() == "PASS", done.stderr


def test_the_filter_of_system_calls_is_well_formed() -> None:
    for place, machine in enumerate(("x86_64", "aarch64")):
        data = filter_program(machine)
        assert len(data) % 8 == 0 and len(data) // 8 < 4096  # the kernel's limit
        assert all(data.count(struct.pack("<HBBI", 0x15, 0, 1, numbers[place])) >= 1 for numbers in REFUSED.values())
