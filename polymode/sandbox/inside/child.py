"""One child of the fork server: it reads one job from descriptor 3, writes lines of JSON to it, and ends.

- ``run`` executes a program and the calls that the tests make, and writes the values as data. It never sees an expected
  value; what it writes is believed to be no more than a claim of what the program's functions return.
- ``check`` reads such values and decides. It executes the tests' own expressions and no line of the program, which it
  only parses, for its normal form.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import types
from collections.abc import Sequence
from typing import Any, NoReturn

from . import normal
from .comparison import compare, describe, error_line, value_line

JOB = 3
"""Descriptor of the job."""


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
            text, *steps = [call] if isinstance(call, str) else call
            value = eval(compile(text, "call", "eval", dont_inherit=True), names)
            if patience is not None:
                signal.setitimer(signal.ITIMER_PROF, 0)
            lines.append(value_line(value, steps, names))
        except BaseException as error:
            lines.append(error_line(error))
    _emit(lines)


def check(job: dict[str, Any]) -> None:
    """Hold the written values of several programs against their tests; then the programs' normal forms.

    The normal forms come last, because a text can crash the parser.
    """
    items = enumerate(job["items"])
    _emit([{"item": number, **compare(item["output"], job["tests"][item["tests"]])} for number, item in items])
    for number, item in enumerate(job["items"]):
        _emit([{"item": number, "key": normal.key(item["program"], job["tests"][item["tests"]]["keep"])}])


def _give_up(*_: object) -> NoReturn:
    raise TimeoutError("not done within its share of the time")


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
