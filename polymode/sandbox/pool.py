"""Several sandboxes side by side, one for each core, with the results remembered."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from polymode.errors import ConfigError, RecordError, VerifierFault
from polymode.sandbox.bubblewrap import reason_against, refusal, without_isolation
from polymode.sandbox.inside.normal import text_key
from polymode.sandbox.inside.values import digest
from polymode.sandbox.program_tests import JsonForm, Plan, ProgramTests, plan
from polymode.sandbox.records import Limits, Outcome, Result
from polymode.sandbox.worker import Report, SandboxDiedError, SandboxStartError, Worker

MAX_REMEMBERED = 1 << 16
"""Results that a sandbox keeps; the least recently used goes first."""

BATCH = 16
"""Programs whose values are compared in one process."""

_Job = tuple[str, Plan]

_PROBE = """
def probe():
    import os
    import xml.dom.minidom  # the standard library must be readable for the user that a program becomes
    found = []
    for path in ("/etc/passwd", "/proc/self", "/sys/kernel", "/var", "/run", "/bin/sh"):
        if os.path.exists(path):
            found.append(path)
    if set(os.environ) - {"PYTHONHASHSEED", "PWD", "LC_CTYPE"}:
        found.append("the environment")
    attempts = {"network": lambda: __import__("socket").socket(), "processes": os.fork}
    attempts["the file system"] = lambda: open("/polymode", "w")
    for name, attempt in attempts.items():
        try:
            if attempt() == 0:
                os._exit(0)
            found.append(name)
        except OSError:
            pass
    return found
"""
"""Looks for what must be out of reach; run in the first sandbox before any other program."""


class Sandbox:
    """Runs programs against tests, on all cores, each program in a fresh process that has nothing of the others.

    Args:
        workers: programs that run at once; by default one for each core.
        limits: what each may use.
        unsafe_local: run without isolation, for programs that you trust and machines without bubblewrap. None: only if
            the environment variable POLYMODE_UNSAFE_LOCAL is 1, as ``--unsafe-local`` makes it.

    Raises:
        ConfigError: no isolation can be had here, says what is missing; or ``workers`` is not a number above 0.
    """

    def __init__(
        self, workers: int | None = None, *, limits: Limits | None = None, unsafe_local: bool | None = None
    ) -> None:
        count = len(os.sched_getaffinity(0)) if workers is None and hasattr(os, "sched_getaffinity") else workers or 1
        if isinstance(workers, bool) or (workers is not None and workers < 1):
            raise ConfigError(f"workers = {workers!r} must be a whole number of at least 1, or None for all cores")
        self.limits = limits or Limits()
        self.unsafe_local = without_isolation(unsafe_local)
        self._workers = [Worker(self.limits, unsafe_local=self.unsafe_local) for _ in range(count)]
        # Also at the end of Python, while there still is what closing needs.
        weakref.finalize(self, _close, self._workers)
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._owner = os.getpid()
        reason = None if self.unsafe_local else reason_against()
        try:
            reason = reason or self._probe()
        except BaseException:
            self.close()
            raise
        if reason is not None:
            self.close()
            raise refusal(reason)
        for worker in self._workers:
            self._idle.put(worker)

    def run(self, items: Sequence[tuple[str, ProgramTests]]) -> list[Result]:
        """One result for each program and its tests, in order. What is remembered is not run again, except a FAULT."""
        plans = [_plan(tests) for _, tests in items]
        names = [_name(program, found) for (program, _), found in zip(items, plans, strict=True)]
        known: dict[str, Result] = {}
        missing: dict[str, tuple[str, Plan]] = {}
        with self._lock:
            for name, (program, _), found in zip(names, items, plans, strict=True):
                remembered = found if isinstance(found, Result) else self._recall(name)
                if remembered is not None:
                    known[name] = remembered
                if isinstance(found, Plan) and (remembered is None or remembered.outcome is Outcome.FAULT):
                    missing[name] = (program, found)
        fresh = dict(zip(missing, self._judge_all(list(missing.values())), strict=True))
        known |= fresh
        with self._lock:
            self._results |= fresh
            while len(self._results) > MAX_REMEMBERED:
                self._results.popitem(last=False)
        return [known[name] for name in names]

    def evaluate(
        self,
        program: str,
        calls: Sequence[str],
        *,
        imports: str = "",
        setup: str = "",
        call_seconds: float | None = None,
    ) -> list[JsonForm]:
        """What each call gives, ``{"value": ...}`` in the form of `inside.values` or ``{"error": ...}``.

        For programs that are believed, such as reference solutions: their values become expected ones. A call that
        takes more than ``call_seconds`` of processor time gives an error and does not stop the others.

        Raises:
            VerifierFault: the program does not load, does not get through its calls within the limits, or the
                sandbox failed; says why.
        """
        job = {"imports": imports, "setup": setup, "calls": list(calls), "n_tested": len(calls)}
        if call_seconds is not None:
            job["call_seconds"] = call_seconds
        worker = self._idle.get()
        try:
            report = worker.do(self._run_job(program, json.dumps(job)[1:-1]))
        except (SandboxDiedError, SandboxStartError) as exc:
            raise VerifierFault(f"sandbox: {exc}") from None
        finally:
            self._idle.put(worker)
        return _values(report, len(calls), self.limits)

    def close(self) -> None:
        """End all sandboxes. The object can be used again; it starts new ones."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _recall(self, name: str) -> Result | None:
        result = self._results.get(name)
        if result is not None:
            self._results.move_to_end(name)
        return result

    def _judge_all(self, jobs: Sequence[_Job]) -> list[Result]:
        size = min(BATCH, -(-len(jobs) // (2 * len(self._workers)))) or 1
        batches = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        if len(batches) <= 1:
            return [result for batch in batches for result in self._judge(batch)]
        if self._threads is None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._threads = ThreadPoolExecutor(len(self._workers), thread_name_prefix="polymode-sandbox")
        return [result for results in self._threads.map(self._judge, batches) for result in results]

    def _judge(self, jobs: Sequence[_Job]) -> list[Result]:
        """Run each program by itself, then compare the values of all in one further process."""
        worker = self._idle.get()
        try:
            ran = [self._run(worker, *job) for job in jobs]
            found = [(job, report) for job, report in zip(jobs, ran, strict=True) if isinstance(report, Report)]
            results = iter(self._check(worker, found))
            return [next(results) if isinstance(report, Report) else report for report in ran]
        except SandboxStartError as exc:
            return [Result(Outcome.FAULT, f"no sandbox could be started: {exc}", "", "")] * len(jobs)
        finally:
            self._idle.put(worker)

    def _run(self, worker: Worker, program: str, tests: Plan) -> Report | Result:
        if len(program) > self.limits.program_chars:
            reason = f"the program has {len(program)} characters, more than {self.limits.program_chars}"
            return Result(Outcome.FAIL, reason, text_key(program), "")
        job = self._run_job(program, tests.run)
        try:
            try:
                return worker.do(job)
            except SandboxDiedError:  # once may be the machine's fault
                return worker.do(job)
        except SandboxDiedError as exc:
            # A fresh sandbox started and ended again. That is no fault of ours that a program could choose to have.
            return Result(Outcome.FAIL, f"two sandboxes ended under this program: {exc}", text_key(program), "")

    def _check(self, worker: Worker, ran: Sequence[tuple[_Job, Report]]) -> list[Result]:
        if not ran:
            return []
        tests = {plan.name: plan for (_, plan), _ in ran}
        numbers = {name: number for number, name in enumerate(tests)}
        items = [
            {
                "program": program,
                "tests": numbers[plan.name],
                "output": report.output[: self.limits.output_bytes].decode(errors="replace"),
            }
            for (program, plan), report in ran
        ]
        shared = ", ".join(plan.check for plan in tests.values())
        job = f'{{"kind": "check", {self._limits()}, "tests": [{shared}], "items": {json.dumps(items)}}}'
        said: list[dict[str, Any]] = [{} for _ in ran]
        with contextlib.suppress(SandboxDiedError):
            for line in worker.do(job.encode()).output.split(b"\n")[:-1]:
                reply = json.loads(line)
                if "item" in reply:
                    said[reply["item"]] |= reply
        # Values can be made to take long, and a text can crash the parser: then each program is looked at alone.
        return [
            self._check(worker, [one])[0] if len(ran) > 1 and "key" not in reply else self._result(one, reply)
            for one, reply in zip(ran, said, strict=True)
        ]

    def _result(self, ran: tuple[_Job, Report], said: dict[str, Any]) -> Result:
        (program, _), report = ran
        if "fault" in said:
            return Result(Outcome.FAULT, f"tests: {said['fault']}", "", "")
        failure = said.get("failure", "its values could not be compared within the limits")
        outcome = Outcome.PASS if failure is None else Outcome.FAIL
        if failure is not None and not said.get("complete"):
            if report.timed_out:
                outcome, failure = Outcome.TIMEOUT, f"not done after {report.cpu_seconds:.1f} s of processor time"
            elif len(report.output) > self.limits.output_bytes:
                failure = f"its values are longer than {self.limits.output_bytes} bytes"
        key = said.get("key") or text_key(program)
        return Result(outcome, failure or "", key, said.get("behaviour", ""), report.cpu_seconds)

    def _run_job(self, program: str, tests: str) -> bytes:
        return f'{{"kind": "run", {self._limits()}, "program": {json.dumps(program)}, {tests}}}'.encode()

    def _limits(self) -> str:
        limits = self.limits
        names = {"cpu": limits.cpu_seconds, "memory": limits.memory_bytes, "file": limits.file_bytes}
        # Without a namespace all processes of the user would be counted.
        names["processes"] = 0 if self.unsafe_local else limits.processes
        return f'"limits": {json.dumps(names)}'

    def _probe(self) -> str | None:
        """Start one sandbox and look whether it holds; the reason why not."""
        worker = self._workers[0]
        try:
            job = self._run_job(_PROBE, '"imports": "", "setup": "", "calls": ["probe()"], "n_tested": 1')
            [line] = _values(worker.do(job), 1, self.limits)
        except SandboxStartError as exc:
            return f"bubblewrap is installed but may not make namespaces here ({exc})"
        except (SandboxDiedError, VerifierFault) as exc:
            return f"a first program could not be run ({exc})"
        found = list(line.get("value", ["", line.get("error")])[1:])
        if self.limits.processes != 1 and "processes" in found:
            found.remove("processes")
        if found and not self.unsafe_local:
            return f"a program in the sandbox reaches {', '.join(map(str, found))}"
        return None


def reason_unavailable() -> str | None:
    """Why programs cannot be run in isolation here; None when they can. Starts a sandbox to find out."""
    try:
        Sandbox(1, unsafe_local=False).close()
    except ConfigError as exc:
        return reason_against() or str(exc).removeprefix("programs cannot be run safely here: ").rpartition("; ")[0]
    return None


def _close(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.close()


def _plan(tests: ProgramTests) -> Plan | Result:
    try:
        return plan(tests)
    except RecordError as exc:
        return Result(Outcome.FAULT, str(exc), "", "")


def _name(program: str, tests: Plan | Result) -> str:
    about = tests.name if isinstance(tests, Plan) else tests.reason
    return digest(f"{about}\0{program}")


def _values(report: Report, n_calls: int, limits: Limits) -> list[JsonForm]:
    if report.timed_out:
        raise VerifierFault(f"program: not done after {report.cpu_seconds:.1f} s of processor time")
    if len(report.output) > limits.output_bytes:
        raise VerifierFault(f"program: its values are longer than {limits.output_bytes} bytes")
    try:
        first, *lines = [json.loads(line) for line in report.output.split(b"\n")[:-1]]
        load = first.get("load", "it ended early") or first.get("broken")
    except (ValueError, AttributeError, RecursionError) as exc:
        raise VerifierFault(f"program: it wrote no values ({exc})") from None
    if load:
        raise VerifierFault(f"program: {load}")
    if len(lines) != n_calls:
        raise VerifierFault(f"program: it ended after {len(lines)} of {n_calls} calls, exit status {report.code}")
    return lines
