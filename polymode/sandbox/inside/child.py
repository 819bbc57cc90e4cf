"""One child of the fork server: it reads one job from descriptor 3, writes lines of JSON to it, and ends.

- ``run`` executes a program and the calls that the tests make, and writes the values as data. It never sees an expected
  value; what it writes is believed to be no more than a claim of what the program's functions return.
- ``check`` reads such values and decides. It executes the tests' own expressions and no line of the program, which it
  only parses, for its normal form.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import signal
import sys
import types
from collections.abc import Sequence
from functools import cache
from typing import Any, NoReturn

from . import normal
from .values import canonical, decode, digest, encode

JOB = 3
"""Descriptor of the job."""

MAX_REASON_CHARS = 300
RELATIVE_TOLERANCE = 1e-7
"""Of numbers compared within a tolerance, as EvalPlus does with numpy's default."""


def main(descriptor: int, uid: int, isolated: bool) -> NoReturn:
    """Give up what the server has, do the job, end."""
    leave = os._exit
    try:
        _keep_only(descriptor)
        if not isolated:
            os.setsid()
        with open(JOB, "rb", buffering=0, closefd=False) as order:
            job = json.loads(order.read())
        _limit(job["limits"], uid)
        os.chdir("/tmp")
        random.seed(0)
        (run if job["kind"] == "run" else check)(job)
        leave(0)
    except BaseException as error:
        _emit([{"broken": describe(error)}])
    finally:
        leave(1)
        signal.raise_signal(signal.SIGKILL)  # if a program has replaced what `leave` calls


def run(job: dict[str, Any]) -> None:
    """Execute the program, then each call; one line for the loading and one for each call, as far as it gets."""
    module = types.ModuleType("program")
    sys.modules["program"] = module  # dataclasses look their module up by name
    names = module.__dict__
    for part in ("imports", "program", "setup"):
        try:
            exec(compile(job[part], part, "exec", dont_inherit=True), names)
        except BaseException as error:  # also SystemExit and KeyboardInterrupt, which programs raise
            _emit([{"load": describe(error), "part": part}])
            return
    lines: list[dict[str, Any]] = [{"load": None}]
    patience = job.get("call_seconds")
    if patience is not None:
        signal.signal(signal.SIGPROF, _give_up)
    for number, call in enumerate(job["calls"]):
        if number == job["n_tested"]:  # what the extra inputs do must not take the tests' values along
            _emit(lines)
            lines = []
        try:
            if patience is not None:
                signal.setitimer(signal.ITIMER_PROF, patience)
            value = eval(compile(call, "call", "eval", dont_inherit=True), names)
            if patience is not None:
                signal.setitimer(signal.ITIMER_PROF, 0)
            lines.append({"value": encode(value)})
        except BaseException as error:
            lines.append({"error": describe(error)})
    _emit(lines)


def check(job: dict[str, Any]) -> None:
    """Hold the written values of several programs against their tests; then the programs' normal forms.

    The normal forms come last, because a text can crash the parser.
    """
    _emit([{"item": number, **_compare(item, job["tests"][item["tests"]])} for number, item in enumerate(job["items"])])
    for number, item in enumerate(job["items"]):
        tests = job["tests"][item["tests"]]
        _emit([{"item": number, "key": normal.key(item["program"], tests["keep"], tests["calls"])}])


def _compare(item: dict[str, Any], tests: dict[str, Any]) -> dict[str, Any]:
    """Why one program fails (None when it does not), whether it made all calls of the tests, and what it did."""
    names: dict[str, Any] = {"__name__": "tests"}
    try:
        exec(compile(tests["imports"], "imports", "exec", dont_inherit=True), names)
    except BaseException as error:
        return {"fault": f"the imports of the tests fail: {describe(error)}"}
    lines = _lines(item["output"])
    load = lines[0].get("load", "nothing was written") if lines else "it ended before it was loaded"
    failure = None
    if load is not None:
        failure = f"{load} in the {lines[0].get('part', 'program')}" if lines else load
    for one in [] if failure else tests["checks"]:
        failure = _failure(one, lines[1:], names)
        if failure:
            break
    return {
        "failure": failure if failure is None else str(failure)[:MAX_REASON_CHARS],
        "complete": load is None and len(lines) > tests["n_tested"],
        "behaviour": _behaviour(lines, tests["n_calls"]) if load is None else "",
        "values": _behaviour(lines, tests["n_tested"]) if load is None else "",
    }


def describe(error: BaseException) -> str:
    """Type and text of an exception, cut to a readable length."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    return f"{type(error).__name__}: {text}"[:MAX_REASON_CHARS].rstrip(": ")


def is_close(value: Any, expected: Any, tolerance: float) -> bool:
    """Equality, but of numbers within ``tolerance + 1e-7 |expected|``, also in lists and tuples.

    >>> is_close([1.0, 2.0], [1.0, 2.00005], 1e-4), is_close((1,), [1], 1e-4)
    (True, False)
    """
    if isinstance(value, (list, tuple)) and type(value) is type(expected):
        return len(value) == len(expected) and all(map(is_close, value, expected, [tolerance] * len(value)))
    if isinstance(value, (int, float)) and isinstance(expected, float) and math.isfinite(value - expected):
        return abs(value - expected) <= tolerance + RELATIVE_TOLERANCE * abs(expected)
    return bool(value == expected)


def _give_up(*_: object) -> NoReturn:
    raise TimeoutError("not done within its share of the time")


def _failure(item: dict[str, Any], lines: Sequence[dict[str, Any]], names: dict[str, Any]) -> str | None:
    """Why one check does not hold; None when it does."""
    values: dict[str, Any] = {}
    for name, number in item["values"].items():
        line = lines[number] if number < len(lines) else {"error": "the program ended before this call was done"}
        if "value" not in line:
            return f"{item['test']}: {line.get('error', 'nothing was written')}"
        try:
            values[name] = decode(line["value"])
        except Exception as error:
            return f"{item['test']}: what was written is no value ({describe(error)})"
    if "expected" in item:
        values["_expected"] = decode(item["expected"])
        values["_close"] = is_close
    try:
        holds = eval(_compiled(item["expression"]), {**names, **values})
        if holds:
            return None
        texts = [repr(value) for name, value in values.items() if name not in ("_expected", "_close")]
        texts = [text if len(text) <= 80 else text[:77] + "..." for text in texts]
        return f"{item['test']}: not with {', '.join(texts) or 'no value'}"
    except Exception as error:  # a value that the test's expression cannot take, such as len(None)
        return f"{item['test']}: {describe(error)}"


@cache  # the programs of a batch often share their tests
def _compiled(expression: str) -> types.CodeType:
    return compile(expression, "test", "eval", dont_inherit=True)


def _behaviour(lines: Sequence[dict[str, Any]], n_calls: int) -> str:
    """Digest of all values and of the types of exceptions."""
    texts: list[str] = []
    for number in range(1, n_calls + 1):
        line = lines[number] if number < len(lines) else {}
        try:
            texts.append(canonical(decode(line["value"])) if "value" in line else str(line.get("error")).split(":")[0])
        except Exception:
            texts.append("unreadable")
    return digest("\0".join(texts))


def _lines(output: str) -> list[dict[str, Any]]:
    """The lines that were written, as far as they can be read."""
    records: list[dict[str, Any]] = []
    for line in output.split("\n")[:-1]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        records.append(value)
    return records


def _keep_only(descriptor: int) -> None:
    if descriptor != JOB:
        os.dup2(descriptor, JOB)
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.closerange(JOB + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _emit(lines: Sequence[dict[str, Any]]) -> None:
    data = memoryview("".join(json.dumps(line) + "\n" for line in lines).encode())
    while data:
        data = data[os.write(JOB, data) :]


def _limit(limits: dict[str, int], uid: int) -> None:
    """Set the limits, then become the user ``uid`` unless it is -1."""
    bounds = {"CPU": (limits["cpu"], limits["cpu"] + 1), "AS": (limits["memory"],) * 2, "FSIZE": (limits["file"],) * 2}
    if limits["processes"] > 0:
        bounds["NPROC"] = (limits["processes"] + (uid < 0),) * 2  # the server counts when it is the same user
    for name, bound in bounds.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), bound)
    if uid >= 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        if os.getresuid() != (uid, uid, uid):
            raise PermissionError("the program could not be given a user of its own")
