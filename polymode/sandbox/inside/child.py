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
from typing import Any

from . import normal
from .comparison import compare
from .confinement import JOB, give_up_privileges, keep_only, limit
from .running import arrange, emit
from .values import describe

STARTED = b"started"
"""What a child tells the server when it is ready for the job."""


def main(descriptor: int, started: int, uid: int, isolated: bool) -> None:
    """Give up what the server has and do the job. A check is done here; a program runs when this has returned.

    Args:
        descriptor: the job's socket.
        started: a pipe to the server. Once it says `STARTED`, whatever happens is the program's doing;
            until then, ours. It is closed before the program is looked at.
        uid: user and group to become; -1 to stay what the server is.
        isolated: whether this is a namespace of our own.
    """
    leave, pipe = os._exit, started
    try:
        pipe = keep_only(descriptor, started)
        if not isolated:
            os.setsid()
        with open(JOB, "rb", buffering=0, closefd=False) as order:
            job = json.loads(order.read())
        limit(job["limits"], uid)
        give_up_privileges(uid, isolated)
        os.chdir("/tmp")
        random.seed(0)
        task = {"run": arrange, "check": check}[job["kind"]]
    except BaseException as error:
        os.write(pipe, describe(error).encode(errors="replace"))
        leave(1)
    os.write(pipe, STARTED)
    os.close(pipe)
    try:
        task(job)
        if task is check:
            leave(0)
    except BaseException:  # nothing that was written says that it went well
        leave(1)


def check(job: dict[str, Any]) -> None:
    """Hold the written values of several programs against their tests; then the programs' normal forms.

    The normal forms come last, because a text can crash the parser.
    """
    items = enumerate(job["items"])
    emit([{"item": number, **compare(item["output"], job["tests"][item["tests"]])} for number, item in items])
    for number, item in enumerate(job["items"]):
        tests = job["tests"][item["tests"]]
        emit([{"item": number, "key": normal.key(item["program"], tests["keep"], tests["calls"])}])
