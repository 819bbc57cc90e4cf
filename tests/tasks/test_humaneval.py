"""HumanEval on records of our own in the official format, with the constructions that the file is known for."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polymode.cli import main
from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.prompts import build_prompt
from polymode.sandbox import Outcome, ProgramTests, reason_unavailable
from polymode.tasks import Task, Verifies, open_task
from polymode.tasks.humaneval import Humaneval

METADATA = "\n\nMETADATA = {\n    'author': 'us',\n    'dataset': 'test'\n}\n\n\n"
RECORDS = {
    "literal values": (
        'from typing import List\n\n\ndef near(xs: List[float], gap: float) -> int:\n    """ Count close pairs. """\n',
        "    return sum(abs(a - b) < gap for a, b in zip(xs, xs[1:]))\n",
        "    assert candidate([1.0, 1.1, 3.0], 0.5) == 1\n    assert candidate([], 0.5) == 0\n",
    ),
    "within a tolerance, with messages": (
        'def half(n):\n    """Half of it."""\n',
        "    return n / 2\n",
        '    assert abs(candidate(3) - 3.0/2) < 1e-6, "This prints"\n    assert True, "This prints too"\n',
    ),
    "a helper of the prompt in the comparison": (
        "import math\n\n\ndef line(cs: list, x: float):\n    return sum(c * math.pow(x, i) for i, c in enumerate(cs))\n"
        '\n\ndef root(cs: list):\n    """ x with line(cs, x) = 0 """\n',
        "    return -cs[0] / cs[1]\n",
        "    import math\n    import random\n    rng = random.Random(7)\n    import copy\n    for _ in range(20):\n"
        "        cs = []\n        for _ in range(2):\n            c = rng.randint(-10, 10)\n            if c == 0:\n"
        "                c = 1\n            cs.append(c)\n        solution = candidate(copy.deepcopy(cs))\n"
        "        assert math.fabs(line(cs, solution)) < 1e-4\n",
    ),
    "a helper of the prompt makes the input": (
        'def turned(s: str):\n    return s[::-1]\n\n\ndef turned_back(s: str):\n    """ undoes turned """\n',
        "    return s[::-1]\n",
        "    from random import randint, choice\n    import string\n\n    letters = string.ascii_lowercase\n"
        "    for _ in range(10):\n        str = ''.join(choice(letters) for i in range(randint(10, 20)))\n"
        "        encoded_str = turned(str)\n        assert candidate(encoded_str) == str\n",
    ),
    "a loop over a range": (
        'def text(x: int, y: int):\n    """ digits of x """\n',
        "    return str(x)\n",
        "    for x in range(2, 8):\n        assert candidate(x, x + 1) == str(x)\n",
    ),
    "the function by its own name": (
        'def ordered(xs: list):\n    """ sorted """\n',
        "    return sorted(xs)\n",
        "    assert tuple(candidate([1, 2])) == tuple(ordered([1, 2]))\n    assert candidate([3, 1]) == [1, 3]\n",
    ),
    "random inputs": (
        'def add(x: int, y: int):\n    """ adds """\n',
        "    return x + y\n",
        "    import random\n\n    assert candidate(0, 1) == 1\n    for i in range(100):\n"
        "        x, y = random.randint(0, 1000), random.randint(0, 1000)\n        assert candidate(x, y) == x + y\n",
    ),
    "an expected value that is calculated": (
        'def odds(xs):\n    """ sum of squares of odd positive numbers """\n',
        "    return sum(x**2 for x in xs if x > 0 and x % 2)\n",
        "    lst = list(range(-99, 100, 2))\n    odd_sum = sum([i**2 for i in lst if i%2!=0 and i > 0])\n"
        '    assert candidate(lst) == odd_sum, "Error: " + str(candidate(lst))\n',
    ),
    "an exception that is expected": (
        'def whole(x):\n    """ x; ValueError below 0 """\n',
        "    if x < 0:\n        raise ValueError(x)\n    return x\n",
        "    assert candidate(4) == 4\n    try:\n        candidate(-1)\n        assert False\n    except ValueError:\n"
        "        pass\n",
    ),
    "a helper that the solution calls": (
        'def is_mirror(s: str) -> bool:\n    return s == s[::-1]\n\n\ndef extended(s: str):\n    """ shortest """\n',
        "    return next(s + s[:i][::-1] for i in range(len(s) + 1) if is_mirror(s[i:]))\n",
        '    assert candidate("") == ""\n    assert candidate("xyz") == "xyzyx"\n',
    ),
    "all of a generator": (
        'def square(x):\n    """ square """\n',
        "    return x * x\n",
        "    assert all(candidate(i) == i ** 2 for i in range(5))\n    assert candidate(2) is not None\n",
    ),
}
UNUSABLE = (
    'def odd(x):\n    """ o """\n',
    "    return x\n",
    "    n = 0\n    while n < 3:\n        assert candidate(n) == n\n        n = candidate(n) + 1\n",
)


def record(number: int, prompt: str, solution: str, body: str, **changes: Any) -> dict[str, Any]:
    return {
        "task_id": f"HumanEval/{number}",
        "prompt": prompt,
        "entry_point": prompt.rsplit("def ", 1)[1].split("(")[0],
        "canonical_solution": solution,
        "test": f"{METADATA}def check(candidate):\n{body}\n",
    } | changes


def write(folder: Path, *records: dict[str, Any]) -> Path:
    with gzip.open(folder / "HumanEval.jsonl.gz", "wt", encoding="utf-8") as handle:
        handle.writelines(json.dumps(one) + "\n" for one in records)
    return folder


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Humaneval]:
    reason = reason_unavailable()
    if reason is not None:
        pytest.skip(f"no sandbox here: {reason}")
    folder = write(tmp_path_factory.mktemp("humaneval"), *(record(i, *r) for i, r in enumerate(RECORDS.values())))
    made = Humaneval(folder, workers=1)
    yield made
    made.verifier().sandbox.close()


def outcomes(task: Humaneval, program: str) -> dict[str, Outcome]:
    """By question, of a program in which NAME is the function asked for."""
    examples = sorted(task.examples("test"), key=lambda e: int(e.id.removeprefix("humaneval-")))
    pairs = [
        (program.replace("SOLUTION", str(e.meta["solution"])).replace("NAME", str(e.meta["entry_point"])), e.references)
        for e in examples
    ]
    results = task.verifier().sandbox.run([(text, ProgramTests.from_json(r.text)) for text, (r,) in pairs])
    return dict(zip(RECORDS, (result.outcome for result in results), strict=True))


def test_the_solution_of_every_question_is_right(task: Humaneval) -> None:
    assert outcomes(task, "SOLUTION") == dict.fromkeys(RECORDS, Outcome.PASS) and task.skipped == {}


@pytest.mark.parametrize(
    "program",
    [
        "def NAME(*args): return None",
        "def NAME(*args): return args[0]\nturned = lambda s: s\nline = lambda *_: 0\nis_mirror = lambda _: True",
        "class Near(float):\n    pass\ndef NAME(*args): return Near('nan')",
    ],
    ids=["nothing", "helpers replaced", "nan"],
)
def test_a_wrong_program_is_wrong_whatever_it_replaces(program: str, task: Humaneval) -> None:
    assert Outcome.PASS not in outcomes(task, program).values()


def test_an_object_that_equals_everything_is_never_right(task: Humaneval) -> None:
    forged = (
        "class A:\n    def __eq__(s, o): return True\n    def __sub__(s, o): return 0\n    __rsub__ = __sub__\n"
        "    def __float__(s): return 0.0\n    def __iter__(s): return iter([7])\n    def __abs__(s): return 0\n"
        "def NAME(*args): return A()"
    )
    found = outcomes(task, forged)
    assert Outcome.PASS not in found.values() and found["literal values"] is Outcome.FAULT


def test_the_question_is_the_prompt_and_says_what_may_be_imported(task: Humaneval) -> None:
    example = next(e for e in task.examples("test") if e.id == "humaneval-1")
    assert example.question == (
        'def half(n):\n    """Half of it."""\n\nComplete the function half. Each answer is a complete Python program'
        " that defines it; it is run on tests. It may import the standard library."
    )
    tests = ProgramTests.from_json(example.references[0].text)
    assert tests.entry == "half" and len(tests.inputs) == 4 and isinstance(task, Verifies)
    assert example.meta["solution"] == 'def half(n):\n    """Half of it."""\n    return n / 2\n'
    assert "exactly 3 answers that differ" in build_prompt(example.question, 3, confidence=True, style="full")


def test_inputs_that_a_helper_makes_are_made_before_the_program_runs(task: Humaneval) -> None:
    example = next(e for e in task.examples("test") if e.id == "humaneval-3")
    tests = ProgramTests.from_json(example.references[0].text)
    assert len(tests.asserts) == 10 and not any("turned(" in text for text in tests.asserts)
    for text in tests.asserts:
        turned, plain = text.split("'")[1::2]
        assert turned == plain[::-1]


def test_what_cannot_be_taken_apart_is_left_out_and_named(tmp_path: Path) -> None:
    made = Humaneval(
        write(
            tmp_path,
            record(0, *RECORDS["literal values"]),
            record(1, *UNUSABLE),
            record(2, *UNUSABLE, test="def examine(candidate): pass"),
            record(3, "def odd(", *UNUSABLE[1:]),
        )
    )
    with pytest.warns(UserWarning, match="humaneval: 3 of 4 questions left out, such as HumanEval/1: .*line 2: tests"):
        examples = made.examples("test")
    assert [e.id for e in examples] == ["humaneval-0"]
    assert "'while n < 3:' cannot be taken apart" in made.skipped["HumanEval/1"]
    assert "field 'test' has no function check(candidate)" in made.skipped["HumanEval/2"]
    assert "field 'prompt' is not Python" in made.skipped["HumanEval/3"]


def test_the_split_is_test_and_the_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, record(0, *RECORDS["literal values"]))
    made: Task = open_task("humaneval", data=folder, packages="numpy")
    assert len(made.examples("test")) == 1 and "standard library and numpy." in made.examples("test")[0].question
    for split in ("train", "validation"):
        with pytest.raises(DataNotFoundError, match=f"humaneval has no {split} split"):
            made.examples(split)
    assert main(["tasks", "humaneval", "--data", str(folder)]) == 0
    assert "humaneval-0: from typing import List" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="unknown option 'shown'"):
        open_task("humaneval", data=folder, shown=3)
    with pytest.raises(DataNotFoundError, match=r"holds none of HumanEval\.jsonl"):
        Humaneval(tmp_path / "..")


def test_a_record_without_a_field_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"line 1, field 'entry_point'"):
        Humaneval(write(tmp_path, record(0, *UNUSABLE, entry_point=""))).examples("test")
