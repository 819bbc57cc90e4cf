"""What counts as another idea: trivial edits of MBPP's solutions, solutions that are one, and what a key costs.

    python bench/program_ideas.py [--data DIR]

Every edit leaves what a program does as it is, so none may be a new answer. Solutions of different tasks, under one
function name, that have one key are printed to be looked at. At last, how many of the normal forms, executed, pass the
tests of the solution that they were made from.
"""

from __future__ import annotations

import argparse
import ast
import collections
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from polymode.sandbox import Outcome, ProgramTests, Sandbox
from polymode.sandbox.inside.normal import key, normal_form
from polymode.tasks.lab.program_grammar import INPUTS, Grammar
from polymode.tasks.mbpp import Mbpp
from polymode.verifiers.programs import tests_of

_HEAD = r"(def f\(.*?\):[^\n]*\n)([ \t]+)"
"""The first line of the function, and the indentation of the next."""

EDITS: dict[str, Callable[[str], str]] = {
    "a statement 1+1 before": lambda text: f"1+1\n{text}",
    "a statement None inside": lambda text: re.sub(_HEAD, r"\1\2None\n\2", text, count=1),
    "an unread variable": lambda text: f"zz = 3\n{text}",
    "output": lambda text: f"{text}\nprint(1)",
    "a text": lambda text: f"{text}\n'x'",
    "an import": lambda text: f"import os\n{text}",
    "a name mentioned": lambda text: f"{text}\nvars",
    "an unused function": lambda text: f"def zz(): return 1\n{text}",
    "a branch never taken": lambda text: f"if 0 > 1: zz = 1\n{text}",
    "a counter of calls": lambda text: re.sub(_HEAD, r"zz = 0\n\1\2global zz\n\2zz += 1\n\2", text, count=1),
    "an unread argument": lambda text: re.sub(r"def f\((.*?)\):", r"def f(\1, zz=None):", text, count=1),
}


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    programs = list(_solutions(Mbpp(data=parser.parse_args().data)))
    for name, edit in EDITS.items():
        edited = [(text, edit(text)) for text, _ in programs]
        edited = [(text, new) for text, new in edited if new != text and _parses(new)]
        n_new = sum(key(text, ["f"]) != key(new, ["f"]) for text, new in edited)
        print(f"{name}: a new answer for {n_new} of {len(edited)} solutions")

    groups: dict[str, set[str]] = collections.defaultdict(set)
    for text, _ in programs:
        groups[key(text, ["f"])].add(text)
    print(f"\n{len(programs)} solutions under one name have {len(groups)} keys; those that share one:")
    for texts in groups.values():
        if len(texts) > 1:
            print("---", *sorted(texts), sep="\n")

    jobs = [(_executable(text, tests), tests) for text, tests in programs]
    with Sandbox() as sandbox:
        results = sandbox.run(jobs)
    print(f"\nnormal forms that pass the solution's tests: {sum(r.outcome is Outcome.PASS for r in results)}")
    for (_, tests), result in zip(jobs, results, strict=True):
        if result.outcome is not Outcome.PASS:
            print(f"  {tests.asserts[0]}: {result.reason}")

    lab = [(text, [f"f({x})" for x in INPUTS]) for text in Grammar().number_of]
    for name, rows in (("the lab", lab), ("MBPP", [(text, _calls(tests)) for text, tests in programs])):
        start = time.process_time()
        for text, calls in rows:
            key(text, ["f"], calls)
        print(f"a key of a program of {name}: {(time.process_time() - start) / len(rows) * 1000:.2f} ms")


def _solutions(task: Mbpp) -> Iterator[tuple[str, ProgramTests]]:
    """Solutions and their tests, with the function named ``f``."""
    for split in ("train", "validation", "test"):
        for example in task.examples(split):
            tests = tests_of(example)
            text = str(example.meta["solution"])
            rename = re.compile(rf"\b{tests.entry}\b")
            asserts = tuple(rename.sub("f", one) for one in tests.asserts)
            yield rename.sub("f", text), ProgramTests(asserts, "f", setup=tests.setup, imports=tests.imports)


def _calls(tests: ProgramTests) -> list[str]:
    parts = [part for one in tests.asserts for part in ast.walk(ast.parse(one)) if isinstance(part, ast.Call)]
    return [ast.unparse(part) for part in parts if isinstance(part.func, ast.Name) and part.func.id == "f"]


def _executable(text: str, tests: ProgramTests) -> str:
    """The normal form as a program; imported names stand in it as ``import math.pow``."""
    keep = ["f", *re.findall(r"\w+", " ".join([tests.setup, *tests.asserts]))]
    normal = ast.unparse(ast.fix_missing_locations(normal_form(text, keep, _calls(tests))))
    modules = {name.split(".")[0] for name in re.findall(r"import ([\w.]+)", normal)}
    plain = re.sub(r"import ([\w.]+)(?=[(\[.,) \]:}]|$)", r"\1", normal, flags=re.MULTILINE)
    return "".join(f"import {name}\n" for name in sorted(modules)) + plain


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


if __name__ == "__main__":
    main()
