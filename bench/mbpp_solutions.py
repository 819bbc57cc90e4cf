"""MBPP's own solutions and single-token mutants of them, judged by the sandbox and by plain Python.

    python bench/mbpp_solutions.py                every solution, and 200 mutants for each 100 tasks
    python bench/mbpp_solutions.py --plus --data DIR
    python bench/mbpp_solutions.py --tasks 100    a share of the tasks

A mutant is the reference solution with one token changed: an operator, a number, ``True`` and ``False``, ``and`` and
``or``, ``range`` and ``len``'s neighbours. Whether a test distinguishes it is established without the sandbox: a plain
interpreter executes the mutant and then the asserts as they stand in the file. Such a mutant must be rejected, and one
that passes there must pass here.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import random
import subprocess
import sys
import time
import tokenize
from collections.abc import Sequence
from pathlib import Path

from polymode.sandbox import Outcome, ProgramTests, Result
from polymode.tasks.mbpp import Mbpp
from polymode.types import Example

MUTANTS_PER_TASK, ROUNDS = 2, 6
"""Mutants for each task on average, and at most."""
SECONDS = 2.0
"""Processor time of one mutant under plain Python."""

SWAPS = {
    **{"+": "-", "-": "+", "*": "+", "/": "*", "//": "*", "%": "//", "**": "*"},
    **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "+=": "-=", "-=": "+=", "*=": "+="},
    **{"and": "or", "or": "and", "True": "False", "False": "True", "min": "max", "max": "min", "in": "not in"},
    **{"&": "|", "|": "&", "^": "&", "<<": ">>", ">>": "<<"},
}

PLAIN = """
import json, os, signal, sys, warnings
warnings.simplefilter("ignore")
def stop(*_): raise TimeoutError
signal.signal(signal.SIGPROF, stop)
found = []
out, sys.stdout = sys.stdout, open(os.devnull, "w")
for imports, program, setup, asserts, seconds in json.load(sys.stdin):
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        names = {}
        for part in (imports, program, setup, *asserts):
            exec(part, names)
        verdict = "pass"
    except BaseException as error:
        verdict = type(error).__name__
    signal.setitimer(signal.ITIMER_PROF, 0)
    found.append(verdict)
json.dump(found, out)
"""


def mutants(program: str, count: int, rng: random.Random) -> list[str]:
    """Up to ``count`` programs that differ from ``program`` in one token and compile."""
    program = program.replace("\r\n", "\n")
    lines = program.splitlines(keepends=True)
    places: list[tuple[tuple[int, int], tuple[int, int], str]] = []
    for token in tokenize.generate_tokens(io.StringIO(program).readline):
        new = SWAPS.get(token.string)
        if token.type == tokenize.NUMBER and token.string.isdecimal():
            new = str(int(token.string) + 1)
        if new is not None and token.type in (tokenize.OP, tokenize.NAME, tokenize.NUMBER):
            places.append((token.start, token.end, new))
    rng.shuffle(places)
    found: list[str] = []
    for (row, start), (_, end), new in places:
        line = lines[row - 1]
        text = "".join([*lines[: row - 1], line[:start], new, line[end:], *lines[row:]])
        try:
            compile(text, "mutant", "exec")
        except SyntaxError:
            continue
        found.append(text)
        if len(found) == count:
            break
    return found


def plain_verdicts(pairs: Sequence[tuple[str, ProgramTests]]) -> list[str]:
    """What an interpreter without any of this package says: ``pass`` or the name of an exception."""
    jobs = [(tests.imports, program, tests.setup, tests.asserts, SECONDS) for program, tests in pairs]
    code = [sys.executable, "-I", "-c", PLAIN]
    done = subprocess.run(code, input=json.dumps(jobs), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def judged(task: Mbpp, pairs: Sequence[tuple[str, ProgramTests]]) -> list[Result]:
    started = time.perf_counter()
    results = task.verifier().sandbox.run(pairs)
    print(f"  {len(pairs)} programs in {time.perf_counter() - started:.1f} s", file=sys.stderr)
    return results


def report_solutions(task: Mbpp, examples: Sequence[Example]) -> set[str]:
    """Print the reference solutions that fail and why; their ids."""
    pairs = [(str(e.meta["solution"]), ProgramTests.from_json(e.references[0].text)) for e in examples]
    results = judged(task, pairs)
    failed = {e.id: r for e, r in zip(examples, results, strict=True) if r.outcome is not Outcome.PASS}
    print(f"{len(examples) - len(failed)} of {len(examples)} reference solutions pass")
    for name, result in failed.items():
        print(f"  {name}: {result.outcome.value}: {result.reason}")
    return set(failed)


def report_mutants(task: Mbpp, examples: Sequence[Example], seed: int) -> None:
    rng = random.Random(seed)
    by_round: list[list[tuple[str, str, ProgramTests]]] = [[] for _ in range(ROUNDS)]
    for example in examples:
        tests = ProgramTests.from_json(example.references[0].text)
        # Asserts only: what a plain interpreter can be asked.
        tests = ProgramTests(tests.asserts, tests.entry, tests.imports, tests.setup)
        for number, mutant in enumerate(mutants(str(example.meta["solution"]), ROUNDS, rng)):
            by_round[number].append((example.id, mutant, tests))
    # Tasks with fewer places than two are made up for by others.
    named = [one for found in by_round for one in found][: MUTANTS_PER_TASK * len(examples)]
    pairs = [(program, tests) for _, program, tests in named]
    plain = plain_verdicts(pairs)
    results = judged(task, pairs)
    distinguished = [verdict != "pass" for verdict in plain]
    rejected = [result.outcome in (Outcome.FAIL, Outcome.TIMEOUT) for result in results]
    both = sum(d and r for d, r in zip(distinguished, rejected, strict=True))
    print(f"{len(named)} mutants of {len(examples)} tasks; a test distinguishes {sum(distinguished)}, rejected {both}")
    print(f"  plain Python: {dict(collections.Counter(plain).most_common(6))}")
    print(f"  sandbox: {dict(collections.Counter(result.outcome.value for result in results))}")
    for (name, program, _), verdict, result in zip(named, plain, results, strict=True):
        if (verdict != "pass") != (result.outcome in (Outcome.FAIL, Outcome.TIMEOUT)):
            print(f"  DISAGREE {name}: plain {verdict}, sandbox {result.outcome.value} {result.reason}\n{program}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the MBPP files; by default $POLYMODE_DATA/mbpp")
    parser.add_argument("--tasks", type=int, help="at most this many tasks")
    parser.add_argument("--plus", action="store_true", help="with the inputs of MBPP+")
    parser.add_argument("--sanitized", action="store_true", help="the sanitized file")
    parser.add_argument("--seed", type=int, default=0, help="of the mutants")
    options = parser.parse_args()
    task = Mbpp(options.data, plus=options.plus, sanitized=options.sanitized, extra_inputs=0)
    examples = [*task.prompt_examples()]
    for split in ("train", "validation", "test"):
        examples += task.examples(split)
    examples = sorted(examples, key=lambda e: int(e.id.removeprefix("mbpp-")))[: options.tasks]
    broken = report_solutions(task, examples)
    report_mutants(task, [e for e in examples if e.id not in broken], options.seed)
    task.verifier().sandbox.close()


if __name__ == "__main__":
    main()
