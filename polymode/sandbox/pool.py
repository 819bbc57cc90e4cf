"""Several sandboxes side by side, one for each core, with the results remembered.

A program is judged in two processes. A *run* has the program and the calls to make, never the expected values, and
writes data of limited length. A *check* compares what was written with the expected values, and executes nothing of
the program's.

Each program gets a process of its own for its run, so that none can prepare the ground for another. A check takes up to
`BATCH` programs, because starting a process costs more than comparing; where one program's values are huge or crash the
parser, each is checked again alone.

Whatever a program can bring about, such as the end of its sandbox, is FAIL or TIMEOUT. FAULT is left for sandboxes that
do not start and tests that cannot be used; faults are tried again the next time, everything else is remembered.
"""

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

from polymode.cores import cores
from polymode.errors import ConfigError, RecordError, VerifierFault
from polymode.sandbox.bubblewrap import UNSAFE_LOCAL, reason_against
from polymode.sandbox.inside.normal import text_key
from polymode.sandbox.inside.values import digest
from polymode.sandbox.packages import locate_packages
from polymode.sandbox.program_tests import JsonForm, Plan, ProgramTests, plan
from polymode.sandbox.records import MIB, Limits, Outcome, Result
from polymode.sandbox.worker import NotStartedError, Report, SandboxDiedError, SandboxStartError, Worker

MAX_REMEMBERED = 1 << 16
"""Results that a sandbox keeps; the least recently used goes first."""

BATCH = 16
"""Programs whose values are compared in one process."""

CHECK_BYTES = MIB
"""Values that are compared in one process, in bytes; longer ones get a process each."""

MEMORY_OF_A_BYTE = 64
"""What comparing takes, in bytes, for each byte of a value as it was written."""

_NO_SANDBOX = (NotStartedError, SandboxDiedError, SandboxStartError)
_UNSAFE = "programs cannot be run safely here: "

_Job = tuple[str, Plan]

_PROBE = """
def probe():
    import os
    import xml.dom.minidom  # the standard library must be readable for the user that a program becomes
    reached = []
    for path in ("/etc/passwd", "/proc/self", "/sys/kernel", "/var", "/run", "/bin/sh"):
        if os.path.exists(path):
            reached.append(path)
    if set(os.environ) - {"PYTHONHASHSEED", "PWD", "LC_CTYPE"}:
        reached.append("the environment")
    attempts = {"network": lambda: __import__("socket").socket(), "processes": os.fork}
    attempts["the file system"] = lambda: open("/polymode", "w")
    for name, attempt in attempts.items():
        try:
            if attempt() == 0:
                os._exit(0)
            reached.append(name)
        except OSError:
            pass
    return reached
"""
"""Looks for what must be out of reach; run in the first sandbox before any other program."""


class Sandbox:
    """Runs programs against tests, on all cores, each program in a fresh process that has nothing of the others.

    Args:
        workers: programs that run at once; by default one for each core of the machine, shared by the processes that
            a launcher started on it.
        limits: what each may use.
        packages: what programs may import besides the standard library, by the names under which it is imported, such
            as ``("numpy",)``: mounted read-only and loaded once, from where it is installed for this Python.
        unsafe_local: run without isolation, for programs that you trust and machines without bubblewrap. None: only if
            the environment variable POLYMODE_UNSAFE_LOCAL is 1, as ``--unsafe-local`` makes it.

    Raises:
        ConfigError: no isolation can be had here, says what is missing; ``workers`` is not a number above 0; or a
            package cannot be mounted or imported.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        limits: Limits | None = None,
        packages: Sequence[str] = (),
        unsafe_local: bool | None = None,
    ) -> None:
        if isinstance(workers, bool) or (workers is not None and workers < 1):
            raise ConfigError(f"workers = {workers!r} must be a whole number of at least 1, or None for all cores")
        self.limits = limits or Limits()
        self.unsafe_local = os.environ.get(UNSAFE_LOCAL) == "1" if unsafe_local is None else unsafe_local
        places = locate_packages(packages)
        self.packages = tuple(dict.fromkeys(packages))
        count = cores() if workers is None else workers
        self._workers = [Worker(self.limits, unsafe_local=self.unsafe_local, packages=places) for _ in range(count)]
        # Not `__del__`: this also runs at the end of Python, while there still is what closing needs.
        weakref.finalize(self, _close, self._workers)
        # A worker is out of the queue while a thread uses it. That is all the locking that workers need.
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._owner = os.getpid()  # threads do not survive a fork; the copy of this object in a fork makes its own
        reason = None if self.unsafe_local else reason_against()
        try:
            reason = reason or self._probe()
        except BaseException:
            self.close()
            raise
        if reason is not None:
            self.close()
            if reason.startswith("packages: "):
                raise ConfigError(f"{reason}; name all that it imports, or leave it out")
            raise ConfigError(
                f"{_UNSAFE}{reason}; --unsafe-local (in Python unsafe_local=True) runs them with limits but without "
                "isolation, only for programs that you trust"
            )
        for worker in self._workers:
            self._idle.put(worker)

    def run(self, items: Sequence[tuple[str, ProgramTests]]) -> list[Result]:
        """One result for each program and its tests, in order. What is remembered is not run again, except a FAULT."""
        names: list[str] = []
        results: dict[str, Result] = {}
        jobs: dict[str, _Job] = {}  # by name, so that a program that comes twice runs once
        with self._lock:
            for program, tests in items:
                try:
                    prepared = plan(tests)
                except RecordError as exc:  # tests that cannot be used, whatever the program
                    names.append(str(exc))
                    results[str(exc)] = Result(Outcome.FAULT, str(exc), "", "")
                    continue
                name = digest(f"{prepared.name}\0{program}")
                names.append(name)
                if name in self._results and self._results[name].outcome is not Outcome.FAULT:
                    self._results.move_to_end(name)
                    results[name] = self._results[name]
                else:
                    jobs[name] = (program, prepared)
        # Without the lock: other threads may look things up meanwhile. Two that lack the same result both run it.
        fresh = dict(zip(jobs, self._judge_all(list(jobs.values())), strict=True))
        with self._lock:
            self._results |= fresh
            while len(self._results) > MAX_REMEMBERED:
                self._results.popitem(last=False)
        results |= fresh  # not looked up again: more may be fresh than is remembered
        return [results[name] for name in names]

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
        except _NO_SANDBOX as exc:
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

    def _judge_all(self, jobs: Sequence[_Job]) -> list[Result]:
        # Two batches for each worker, or more: then the others have work left while one is busy with slow programs.
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
            reports = [self._run(worker, *job) for job in jobs]
            to_check = [(job, report) for job, report in zip(jobs, reports, strict=True) if isinstance(report, Report)]
            checked = iter([result for batch in _batches(to_check) for result in self._check(worker, batch)])
            return [next(checked) if isinstance(report, Report) else report for report in reports]
        except (NotStartedError, SandboxStartError) as exc:
            return [Result(Outcome.FAULT, f"no sandbox could be started: {exc}", "", "")] * len(jobs)
        finally:
            self._idle.put(worker)

    def _run(self, worker: Worker, program: str, tests: Plan) -> Report | Result:
        """What the program wrote; the result itself where there is nothing to check."""
        if len(program) > self.limits.program_chars:
            reason = f"the program has {len(program)} characters, more than {self.limits.program_chars}"
            return Result(Outcome.FAIL, reason, text_key(program), "")
        job = self._run_job(program, tests.run)
        result = Result(Outcome.FAULT, "", "", "")
        for _ in range(2):  # once may be the machine's fault
            try:
                return worker.do(job)
            except NotStartedError as exc:
                result = Result(Outcome.FAULT, f"the sandbox could not begin with the program: {exc}", "", "")
            except SandboxDiedError as exc:
                # A fresh sandbox started and ended again. That is no fault of ours that a program could choose to have.
                result = Result(Outcome.FAIL, f"two sandboxes ended under this program: {exc}", text_key(program), "")
        return result

    def _check(self, worker: Worker, runs: Sequence[tuple[_Job, Report]]) -> list[Result]:
        if not runs:
            return []
        # Many programs are held against the same tests, which are sent once and referred to by number.
        tests = {plan.name: plan for (_, plan), _ in runs}
        numbers = {name: number for number, name in enumerate(tests)}
        outputs = [report.output[: self.limits.output_bytes].decode(errors="replace") for _, report in runs]
        items = [
            {"program": program, "tests": numbers[plan.name], "output": output}
            for ((program, plan), _), output in zip(runs, outputs, strict=True)
        ]
        shared = ", ".join(plan.check for plan in tests.values())
        limits = self._limits(max(map(len, outputs)))
        job = f'{{"kind": "check", {limits}, "tests": [{shared}], "items": {json.dumps(items)}}}'
        findings: list[dict[str, Any]] = [{} for _ in runs]
        with contextlib.suppress(SandboxDiedError):
            # First what comparing gave, for all programs, then one normal form after the other. What follows the last
            # line end was cut off when the process ended.
            try:
                written = worker.do(job.encode()).output
            except NotStartedError:  # in a new sandbox, then
                written = worker.do(job.encode()).output
            for line in written.split(b"\n")[:-1]:
                finding = json.loads(line)
                if "item" in finding:
                    findings[finding["item"]] |= finding
        # Values can be made to take long, and a text can crash the parser: then each program is looked at alone.
        return [
            self._check(worker, [run])[0] if len(runs) > 1 and "key" not in finding else self._result(run, finding)
            for run, finding in zip(runs, findings, strict=True)
        ]

    def _result(self, run: tuple[_Job, Report], finding: dict[str, Any]) -> Result:
        (program, _), report = run
        if "fault" in finding:
            return Result(Outcome.FAULT, finding["fault"], "", "")
        failure = finding.get("failure", "its values could not be compared within the limits")
        outcome = Outcome.PASS if failure is None else Outcome.FAIL
        # A program that wrote all values of the tests is judged by them, whatever became of it afterwards. Only without
        # them is the limit that it met the better reason.
        if failure is not None and not finding.get("complete"):
            if report.timed_out:
                outcome, failure = Outcome.TIMEOUT, f"not done after {report.cpu_seconds:.1f} s of processor time"
            elif len(report.output) > self.limits.output_bytes:
                failure = f"its values are longer than {self.limits.output_bytes} bytes"
        key = finding.get("key") or text_key(program)
        behaviour, values = finding.get("behaviour", ""), finding.get("values", "")
        return Result(outcome, failure or "", key, behaviour, report.cpu_seconds, values)

    def _run_job(self, program: str, tests: str) -> bytes:
        return f'{{"kind": "run", {self._limits()}, "program": {json.dumps(program)}, {tests}}}'.encode()

    def _limits(self, value_bytes: int = 0) -> str:
        """The limits of a child; one that compares long values may take more, because their length is not its doing."""
        limits = self.limits
        names = {"cpu": limits.cpu_seconds + value_bytes // MIB, "file": limits.file_bytes}
        names["memory"] = limits.memory_bytes + MEMORY_OF_A_BYTE * value_bytes
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
            _, is_package, problem = str(exc).partition("packages: ")
            if is_package:
                return f"packages: {problem}"
            return f"bubblewrap is installed but may not make namespaces here ({exc})"
        except (NotStartedError, SandboxDiedError, VerifierFault) as exc:
            return f"a first program could not be run ({exc})"
        # A list is written as its kind and then its items; an error of the probe counts as something it reached.
        reached = list(line.get("value", ["", line.get("error")])[1:])
        if self.limits.processes != 1 and "processes" in reached:
            reached.remove("processes")
        if reached and not self.unsafe_local:
            return f"a program in the sandbox reaches {', '.join(map(str, reached))}"
        return None


def reason_unavailable() -> str | None:
    """Why programs cannot be run in isolation here; None when they can. Starts a sandbox to find out."""
    try:
        Sandbox(1, unsafe_local=False).close()
    except ConfigError as exc:
        return reason_against() or str(exc).removeprefix(_UNSAFE).rpartition("; ")[0]
    return None


def _close(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.close()


def _batches(runs: Sequence[tuple[_Job, Report]]) -> list[list[tuple[_Job, Report]]]:
    """The runs in a row, as many together as have no more than `CHECK_BYTES` of values."""
    batches: list[list[tuple[_Job, Report]]] = []
    size = 0
    for run in runs:
        size += len(run[1].output)
        if not batches or size > CHECK_BYTES:
            batches.append([])
            size = len(run[1].output)
        batches[-1].append(run)
    return batches


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
