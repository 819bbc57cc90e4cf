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
import re
import signal
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from .confinement import JOB
from .foreign import built_in_base, encode_any
from .values import UncarriedError, describe, encode

_Step = Callable[[], object]
_ATTRIBUTE = re.compile(r"_\.(\w+)")
_modules: dict[str, types.ModuleType] = {}
"""Ours by name. A program does not find them, but they are not freed, which would take longer than many a program."""
_SAMPLE = {
    "imports": "",
    "program": "def f(n): return [n]",
    "setup": "",
    "calls": ["f(1)", ["f(2)", "len(_)"]],
    "n_tested": 2,
}
_ENDING = 3
"""Steps at the end that write and leave."""
_PARTS = ("imports", "program", "setup")


class _Notes:
    """What came of the steps so far, and the lines to be written."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.forms: list[Any] = []
        self.errors: list[BaseException] = []
        self.failures: list[dict[str, Any]] = []
        self.next: list[Any] = []
        """Code of the next thing that the test does with the value, where the value is not plain."""
        self.hole: dict[str, Any] = {}
        """The value under the name that such code has for it."""
        self.n_done = 0
        self.is_derived = False
        self.lines: list[dict[str, Any]] = []

    def catch(self, raised: Any) -> None:
        self.errors.append(raised.exc_value)

    def loaded(self, part: str, leave: Callable[[int], NoReturn]) -> None:
        """After a part: its error ends everything; without one the next part follows."""
        if not self.values:
            emit([{"load": self._failure()["error"], "part": part}])
            leave(0)
        self._forget()

    def called(self) -> None:
        """After a call: its value, or why there is none."""
        line: dict[str, Any] = {"value": self.forms[0]} if self.forms else self._failure()
        self.lines.append({**line, "steps": self.n_done} if self.n_done else line)
        self._forget()

    def look(self, step: str, attribute: str | None) -> None:
        """Before a further step on a value: it is taken only where the value is not plain and cannot be carried.

        An instance of a class derived from a built-in one is the value that it holds; only what it has beyond that
        (the ``name`` of an enumeration) is read here.
        """
        self.next.clear()
        if not self.values or self.is_derived:
            return
        with suppress(Exception):
            try:
                encode(self.values[0])
            except UncarriedError:
                base = built_in_base(type(self.values[0]))
                self.is_derived = base is not None and (attribute is None or hasattr(base, attribute))
                if self.is_derived:
                    return
                self.hole["_"] = self.values.pop()
                self.next.append(_compiled(step))
                self.n_done += 1

    def write(self) -> None:
        lines, self.lines = self.lines, []
        emit(lines)

    def _failure(self) -> dict[str, Any]:
        return self.failures[-1] if self.failures else {"error": "an exception that was kept from being reported"}

    def _forget(self) -> None:
        for one in (self.values, self.forms, self.errors, self.failures, self.next, self.hole):
            one.clear()
        self.n_done, self.is_derived = 0, False


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
        text, *further = [call] if isinstance(call, str) else call
        steps += _execute(notes, eval, _compiled(text), module, patience)
        for one in further:
            attribute = _ATTRIBUTE.match(one)
            steps.append(partial(notes.look, one, attribute and attribute[1]))
            steps.append(partial(notes.values.extend, map(eval, notes.next, (module.__dict__,), (notes.hole,))))
            steps += _untrace()
        steps += [partial(notes.forms.extend, map(encode_any, notes.values)), *_finish(notes), notes.called]
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
    return [*steps, *_untrace()]


def _untrace() -> list[_Step]:
    return [partial(sys.settrace, None), partial(sys.setprofile, None)]


def _compiled(text: str) -> Any:
    with suppress(SyntaxError, ValueError, MemoryError, RecursionError):  # the step raises it again
        return compile(text, "call", "eval", dont_inherit=True)
    return text


def _finish(notes: _Notes) -> list[_Step]:
    """The step that turns what was raised into text, for which a class of the program may have its own method."""
    return [partial(notes.failures.extend, map(_failure_line, notes.errors))]


def _failure_line(error: BaseException) -> dict[str, Any]:
    return {"error": describe(error), "types": [kind.__name__ for kind in type(error).__mro__[:-1]]}


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


def emit(lines: Sequence[dict[str, Any]]) -> None:
    """Write lines of JSON to the job's socket."""
    data = memoryview("".join(json.dumps(line) + "\n" for line in lines).encode())
    while data:
        data = data[os.write(JOB, data) :]


def _give_up(*_: object) -> NoReturn:
    raise TimeoutError("not done within its share of the time")
