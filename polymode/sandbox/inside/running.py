"""Runs a program with nothing of ours beneath it on the stack.

A program that is called by a function of ours reads that function's variables through ``sys._getframe().f_back``. So
none calls it: `arrange` hands the interpreter a list of steps, the server's script ends, and with it the last of our
frames. Then the interpreter itself, in C, takes one step after the other: it calls ``sys.__interactivehook__``, which
it does for ``python -i`` when a script has ended, and that is `atexit`'s function that calls all that was registered,
whatever any of it raises. Where Python code is needed to note a value down, it is a step of its own, taken when the
program's has returned.

Each step that executes the program is made of functions written in C: ``values.extend(map(eval, [code], [names]))``.
What it raises arrives at ``sys.unraisablehook``.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from .confinement import JOB
from .values import encode

MAX_REASON_CHARS = 300

_Step = Callable[[], object]
_modules: dict[str, types.ModuleType] = {}
"""Ours by name. A program does not find them, but they are not freed, which would take longer than many a program."""
_SAMPLE = {"imports": "", "program": "def f(n): return [n]", "setup": "", "calls": ["f(1)", "f(2)"], "n_tested": 2}
_ENDING = 3
"""Steps at the end that write and leave."""
_PARTS = ("imports", "program", "setup")


class _Notes:
    """What came of the steps so far, and the lines to be written."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.forms: list[Any] = []
        self.errors: list[BaseException] = []
        self.texts: list[str] = []
        self.lines: list[dict[str, Any]] = []

    def catch(self, raised: Any) -> None:
        self.errors.append(raised.exc_value)

    def loaded(self, part: str, leave: Callable[[int], NoReturn]) -> None:
        """After a part: its error ends everything; without one the next part follows."""
        if not self.values:
            emit([{"load": self._reason(), "part": part}])
            leave(0)
        self._forget()

    def called(self) -> None:
        """After a call: its value, or why there is none."""
        self.lines.append({"value": self.forms[0]} if self.forms else {"error": self._reason()})
        self._forget()

    def write(self) -> None:
        lines, self.lines = self.lines, []
        emit(lines)

    def _reason(self) -> str:
        return self.texts[-1] if self.texts else "an exception that was kept from being reported"

    def _forget(self) -> None:
        for one in (self.values, self.forms, self.errors, self.texts):
            one.clear()


def arrange(job: dict[str, Any]) -> None:
    """Prepare the program and each call as steps; they are taken when the server's script has ended.

    One line is written for the loading and one for each call, as far as the program gets.
    """
    module = types.ModuleType("program")
    notes = _Notes()
    steps = _prepare(job, module, notes)
    sys.modules["program"] = module  # dataclasses look their module up by name
    _hand_over(steps, notes)


def warm_up() -> None:
    """Do once, in the server, what the interpreter otherwise does anew in each child when it first runs our code."""
    package = __name__.partition(".")[0]
    _modules.update((name, module) for name, module in sys.modules.items() if name.partition(".")[0] == package)
    for _ in range(20):
        module, notes = types.ModuleType("program"), _Notes()
        for step in _prepare(_SAMPLE, module, notes)[:-_ENDING]:
            step()
        json.dumps(notes.lines)


def _prepare(job: dict[str, Any], module: types.ModuleType, notes: _Notes) -> list[_Step]:
    leave = os._exit
    steps: list[_Step] = []
    for part in _PARTS:
        try:
            code = compile(job[part], part, "exec", dont_inherit=True)
        except BaseException as error:
            emit([{"load": describe(error), "part": part}])
            leave(0)
        steps += [*_execute(notes, exec, code, module), *_finish(notes), partial(notes.loaded, part, leave)]
    steps.append(partial(notes.lines.append, {"load": None}))
    patience = job.get("call_seconds")
    if patience is not None:
        signal.signal(signal.SIGPROF, _give_up)
    for number, call in enumerate(job["calls"]):
        if number == job["n_tested"]:  # what the extra inputs do must not take the tests' values along
            steps.append(notes.write)
        with suppress(SyntaxError, ValueError, MemoryError, RecursionError):  # the step raises it again
            call = compile(call, "call", "eval", dont_inherit=True)
        steps += _execute(notes, eval, call, module, patience)
        steps += [partial(notes.forms.extend, map(encode, notes.values)), *_finish(notes), notes.called]
    steps += [notes.write, partial(leave, 0), partial(signal.raise_signal, signal.SIGKILL)]
    return steps


def _execute(
    notes: _Notes, function: Callable[..., Any], code: Any, module: types.ModuleType, patience: float | None = None
) -> list[_Step]:
    """The steps that execute a program's code, and take away what would follow it into our own."""
    steps: list[_Step] = [partial(notes.values.extend, map(function, (code,), (module.__dict__,)))]
    if patience is not None:
        clock = partial(signal.setitimer, signal.ITIMER_PROF)
        steps = [partial(clock, patience), *steps, partial(clock, 0)]
    return [*steps, partial(sys.settrace, None), partial(sys.setprofile, None)]


def _finish(notes: _Notes) -> list[_Step]:
    """The step that turns what was raised into text, for which a class of the program may have its own method."""
    return [partial(notes.texts.extend, map(describe, notes.errors))]


def _hand_over(steps: Sequence[_Step], notes: _Notes) -> None:
    """Let the interpreter take the steps as soon as nothing of ours is on the stack any more."""
    atexit._clear()  # what modules of the server registered
    for step in reversed(steps):  # the last that is registered is called first
        atexit.register(step)
    sys.unraisablehook = notes.catch
    sys.__interactivehook__ = atexit._run_exitfuncs  # type: ignore[attr-defined]
    names = sys.modules["__main__"].__dict__
    for name in [name for name in names if not name.startswith("__")]:
        del names[name]
    for name in _modules:
        del sys.modules[name]


def describe(error: BaseException) -> str:
    """Type and text of an exception, cut to a readable length."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    return f"{type(error).__name__}: {text}"[:MAX_REASON_CHARS].rstrip(": ")


def emit(lines: Sequence[dict[str, Any]]) -> None:
    """Write lines of JSON to the job's socket."""
    data = memoryview("".join(json.dumps(line) + "\n" for line in lines).encode())
    while data:
        data = data[os.write(JOB, data) :]


def _give_up(*_: object) -> NoReturn:
    raise TimeoutError("not done within its share of the time")
