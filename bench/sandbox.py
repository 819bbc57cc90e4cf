"""Speed of the sandbox: programs per second and core, against a `bwrap` started for each, and the time of a reward.

    python bench/sandbox.py                       about half a minute on an idle machine
    python bench/sandbox.py --data DIR            reward time on MBPP tasks of that folder

Targets: 300 small programs/s on a core in steady state, 100/s that write a file, and 4 times `bwrap` per program; the
reward of 256 completions with 3 MBPP programs each in at most 5 s on 2 cores. Every program is a different text, so
nothing is cached. `per core` divides by the processor time of everything involved, this process and the sandboxes,
which other work on the machine disturbs less than the clock; `by the clock` is what one worker reached.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from polymode import METHODS
from polymode.errors import DataNotFoundError
from polymode.sandbox import Limits, Outcome, ProgramTests, Sandbox
from polymode.sandbox.bubblewrap import bubblewrap_command
from polymode.sandbox.inside.seccomp import architecture, filter_program
from polymode.tasks.mbpp import Mbpp
from polymode.training.reward import make_reward_function
from polymode.verifiers.programs import ProgramVerifier

TARGET_RATE, TARGET_WRITING, TARGET_RATIO, TARGET_REWARD = 300, 100, 4, 5.0
TESTS = ProgramTests(("assert double(2) == 4", "assert double(3) == 6", "assert set(double([1])) == {1}"))
COMPLETIONS, K = 256, 3


def processor_time() -> float:
    """Seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Processor time and time by the clock."""
    cpu, clock = processor_time(), time.perf_counter()
    work()
    return processor_time() - cpu, time.perf_counter() - clock


def warm(n: int, first_line: str = "") -> tuple[float, float]:
    """Seconds per program, processor and clock, with one worker; starting it is measured apart and taken off."""

    def run(count: int) -> None:
        with Sandbox(1) as sandbox:
            results = sandbox.run([(f"{first_line}\ndef double(n): return 2 * n  # {i}", TESTS) for i in range(count)])
        assert all((result.outcome is Outcome.PASS) for result in results[1:]), results[1]

    few, many = timed(lambda: run(10)), timed(lambda: run(10 + n))
    return (many[0] - few[0]) / n, (many[1] - few[1]) / n


def cold(n: int) -> tuple[float, float]:
    """Seconds per program when each gets a bubblewrap and an interpreter of its own, and its asserts run beside it."""
    program = "def double(n): return 2 * n\nassert double(2) == 4\nassert double(3) == 6\nassert double(4) == 8\n"
    machine = architecture()
    assert machine is not None

    def run() -> None:
        for _ in range(n):
            reading, writing = os.pipe()
            os.write(writing, filter_program(machine))
            os.close(writing)
            command = bubblewrap_command(reading, -1, Limits(), {})
            command = [*command[: command.index("--") + 2], "-S", "-s", "-c", program]
            subprocess.run(command, pass_fds=(reading,), check=True, stdin=subprocess.DEVNULL, env={})
            os.close(reading)

    cpu, clock = timed(run)
    return cpu / n, clock / n


def reward(data: Path | None) -> None:
    """Parse, judge and score 256 completions of 3 programs: reference solutions, renamed, broken, and never ending."""
    task = Mbpp(data)
    examples = task.examples("train", 32)
    rng = random.Random(0)
    completions, references = [], []
    for i in range(COMPLETIONS):
        example = examples[i % len(examples)]
        solution = str(example.meta["solution"])
        answers = []
        for slot in range(K):
            broken = rng.random() < 0.5
            text = solution.replace("return", "return not", 1) if broken else solution
            answers.append(f"{text}\n\nunused_{i}_{slot} = len('x')")
        completions.append("<think></think>" + "".join(f"<answer{s}>{a}</answer{s}>" for s, a in enumerate(answers, 1)))
        references.append(json.dumps([{"text": example.references[0].text}]))
    verifier = ProgramVerifier(workers=2)
    score = make_reward_function(METHODS["multi-rlvr"], K, verifier=verifier)
    verifier.sandbox.run([(f"def double(n): return {i}", TESTS) for i in range(4)])
    totals: list[float | None] = []
    cpu, clock = timed(lambda: totals.extend(score(completions, references)))
    own_cpu = cpu
    cpu, _ = timed(verifier.sandbox.close)
    unscored = sum(total is None for total in totals)
    verdict = "reached" if clock <= TARGET_REWARD else "MISSED"
    print(
        f"\nreward of {COMPLETIONS} completions x {K} MBPP programs, 2 workers: {clock:.1f} s by the clock, {verdict}"
    )
    print(f"processor time {own_cpu + cpu:.1f} s, so {(own_cpu + cpu) / 2:.1f} s on 2 idle cores; {unscored} unscored")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=600, help="programs of the warm measurement")
    parser.add_argument("--starts", type=int, default=30, help="programs that get a bubblewrap each")
    parser.add_argument("--data", type=Path, help="folder of the MBPP files; by default $POLYMODE_DATA/mbpp")
    options = parser.parse_args()
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"Python {sys.version.split()[0]}, load per core before: {load:.1f}" + (" (busy)" if load > 0.3 else ""))
    rates = {}
    print(f"{'':28} {'per core':>10} {'by the clock':>14}")
    measured = {
        "warm fork server": warm(options.programs),
        "the same, writing a file": warm(options.programs // 2, "open('/tmp/x', 'w').write('x')"),
        "bwrap for each": cold(options.starts),
    }
    for name, seconds in measured.items():
        rates[name] = 1 / seconds[0]
        print(f"{name:28} {1 / seconds[0]:8.0f}/s {1 / seconds[1]:12.0f}/s")
    rate, ratio = rates["warm fork server"], rates["warm fork server"] / rates["bwrap for each"]
    print(f"target {TARGET_RATE}/s: {'reached' if rate >= TARGET_RATE else 'MISSED'}; ", end="")
    print(f"{ratio:.1f} times as fast, target {TARGET_RATIO}: {'reached' if ratio >= TARGET_RATIO else 'MISSED'}")
    writing = rates["the same, writing a file"]
    print(f"writing a file: target {TARGET_WRITING}/s: {'reached' if writing >= TARGET_WRITING else 'MISSED'}")
    try:
        reward(options.data)
    except DataNotFoundError as exc:
        print(f"\nreward: {exc}")


if __name__ == "__main__":
    main()
