"""MBPP on handmade records, and on the real subset where it is at hand."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.prompts import build_prompt
from polymode.sandbox import Outcome, ProgramTests, reason_unavailable
from polymode.tasks import Task, Verifies, open_task, verifier_of
from polymode.tasks.mbpp import Mbpp
from polymode.tasks.mbpp_tests import arguments, entry_point, plus_calls, varied_calls, view_of


def record(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "text": f"Write a function to add {number}.",
        "code": f"def add(n):\r\n  return n + {number}",
        "task_id": number,
        "test_setup_code": "",
        "test_list": [f"assert add({i}) == {i + number}" for i in (1, 2, 3)],
        "challenge_test_list": [],
    } | changes


def plus_record(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "task_id": f"Mbpp/{number}",
        "entry_point": "add",
        "canonical_solution": f"\ndef add(n):\n\treturn n + {number}\n",
        "base_input": [[1], [2], [3]],
        "atol": 0,
        "plus_input": [[10], [20], ["x"]],
        "assertion": "\n" + "\n".join(f"assert add({i}) == {i + number}" for i in (1, 2, 3)) + "\n",
    } | changes


def write(folder: Path, *records: dict[str, Any], plus: list[dict[str, Any]] | None = None) -> Path:
    (folder / "mbpp.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    if plus is not None:
        with gzip.open(folder / "MbppPlus.jsonl.gz", "wt", encoding="utf-8") as handle:
            handle.writelines(json.dumps(one) + "\n" for one in plus)
    return folder


@pytest.fixture
def needs_sandbox() -> None:
    reason = reason_unavailable()
    if reason is not None:
        pytest.skip(f"no sandbox here: {reason}")


def test_splits_are_the_official_ones_by_number(tmp_path: Path) -> None:
    numbers = [1, 10, 11, 510, 511, 600, 601, 974]
    task: Task = Mbpp(write(tmp_path, *map(record, numbers)))
    found = {
        split: sorted(int(e.id.removeprefix("mbpp-")) for e in task.examples(split))
        for split in ("train", "validation", "test")
    }  # type: ignore[arg-type]
    assert found == {"train": [601, 974], "validation": [511, 600], "test": [11, 510]}
    assert [e.meta["task_id"] for e in Mbpp(tmp_path).prompt_examples()] == [1, 10]


def test_the_question_shows_one_test_and_the_reference_holds_all(tmp_path: Path) -> None:
    task = Mbpp(write(tmp_path, record(11)))
    (example,) = task.examples("test")
    assert example.question == (
        "Write a function to add 11.\n"
        "Each answer is a complete Python program that defines the function. It may import the standard library."
        " It is run on this test and on others:\n"
        "assert add(1) == 12"
    )
    (reference,) = example.references
    tests = ProgramTests.from_json(reference.text)
    assert tests.asserts == ("assert add(1) == 12", "assert add(2) == 13", "assert add(3) == 14")
    assert (tests.entry, len(tests.inputs), example.exclusive) == ("add", 5, False)
    assert set(tests.inputs) == {"add(0)", "add(4)", "add(-1)", "add(-2)", "add(-3)"}
    assert example.meta["solution"] == "def add(n):\r\n  return n + 11"
    assert json.loads(json.dumps(example.meta)) == example.meta
    assert task.prompt_style == "full"
    assert "exactly 3 answers that differ" in build_prompt(example.question, 3, confidence=True, style="full")


@pytest.mark.parametrize(
    ("shown", "ending"),
    [(0, "defines the function add. It may import the standard library. It is run on tests."), (3, "add(3) == 14")],
)
def test_more_or_fewer_tests_may_be_shown(shown: int, ending: str, tmp_path: Path) -> None:
    (example,) = Mbpp(write(tmp_path, record(11)), shown_tests=shown).examples("test")
    assert example.question.endswith(ending) and example.question.count("assert") == shown


def test_the_question_names_the_packages_that_may_be_imported(tmp_path: Path) -> None:
    (example,) = Mbpp(write(tmp_path, record(11)), packages=("numpy", "scipy")).examples("test")
    assert "It may import the standard library and numpy and scipy." in example.question
    assert Mbpp(tmp_path, packages="numpy, sympy").packages == ("numpy", "sympy")
    with pytest.raises(ConfigError, match="packages = 'num py' is not a name to import; write packages=numpy,sympy"):
        Mbpp(tmp_path, packages=("num py",))


def test_examples_are_the_same_every_time_and_shuffled_by_the_seed(tmp_path: Path) -> None:
    write(tmp_path, *(record(n) for n in range(11, 41)))
    first, again, other = (Mbpp(tmp_path).examples("test", 10, seed=s) for s in (1, 1, 2))
    assert first == again and [e.id for e in first] != [e.id for e in other]
    assert len(Mbpp(tmp_path).examples("test", 100)) == 30


@pytest.mark.usefixtures("needs_sandbox")
def test_programs_are_judged_by_running_them(tmp_path: Path) -> None:
    task = open_task("mbpp", data=write(tmp_path, record(11)), workers=1)
    assert isinstance(task, Verifies)
    (example,) = task.examples("test")
    verifier = verifier_of(task)
    programs = [
        "def add(n): return n + 11",
        "def add(x):\n    return x + 11",
        "def add(n): return sum((11, n))",
        "def add(n): return 12",
    ]
    text = "<think></think>" + "".join(f"<answer{i}>{p}</answer{i}>" for i, p in enumerate(programs, 1))
    assert judge(example, parse_answers(text, 4, confidence=False), verifier).hits == (1, 0, 1, 0)
    assert task.verifier() is verifier
    verifier.sandbox.close()  # type: ignore[union-attr]


@pytest.mark.usefixtures("needs_sandbox")
def test_with_plus_the_inputs_of_mbpp_plus_decide_too(tmp_path: Path) -> None:
    # Right on the three asserts, wrong on the input 20; the input "x" has no value, because the solution raises on it.
    cheat = "def add(n): return n + 11 if n < 15 else 0"
    write(tmp_path, record(11), record(12), plus=[plus_record(11)])
    for plus, passes in ((False, True), (True, False)):
        task = Mbpp(tmp_path, plus=plus, workers=1)
        example, other = sorted(task.examples("test"), key=lambda e: e.id)
        equality = task.verifier().at(example)
        assert equality.matches("def add(n): return n + 11", example.references[0])
        assert equality.matches(cheat, example.references[0]) is passes
        assert (example.meta["plus_cases"], other.meta["plus_cases"]) == (2 if plus else 0, 0)
        task.verifier().sandbox.close()


@pytest.mark.parametrize(
    ("asserted", "values", "call"),
    [
        ("assert f((1, 2)) == 1", [[3, 4]], "f((3, 4))"),
        ("assert f([(1, 2)]) == 1", [[[3, 4], [5, 6]]], "f([(3, 4), (5, 6)])"),
        ("assert f([1], 2) == 1", [[3], 4], "f([3], 4)"),
        ("assert f({1, 2}) == 1", [[3]], "f({3})"),
        ("assert f({'a': (1,)}) == 1", [{"b": [2]}], "f({'b': (2,)})"),
        ("assert f(([1], 2)) == 1", [[[3], 4]], "f(([3], 4))"),
        ("assert f(1) == 1", ["(1+2j)"], "f((1+2j))"),
        ("assert f('a') == 1", ["1j"], "f('1j')"),
    ],
)
def test_inputs_from_json_get_the_types_of_the_asserts(asserted: str, values: list[Any], call: str) -> None:
    assert plus_calls({"entry_point": "f", "assertion": asserted, "plus_input": [values]}) == [call]


def test_inputs_that_cannot_be_written_down_are_left_out() -> None:
    given = {
        "entry_point": "f",
        "assertion": "assert f(1.0) == 1",
        "plus_input": [[float("nan")], [float("inf")], [2.0]],
    }
    assert plus_calls(given) == ["f(2.0)"]


def test_varied_inputs_differ_a_little_from_the_asserted_ones() -> None:
    calls = varied_calls("f", [[[1, 2], "ab"]], 100, seed=0)
    assert {"f([], 'ab')", "f([2, 1], 'ab')", "f([1, 2], '')", "f([1, 2], 'ba')"} <= set(calls)
    assert "f([1, 2], 'ab')" not in calls and len(calls) == len(set(calls))
    assert varied_calls("f", [[[1, 2], "ab"]], 3, seed=0) == calls[:3]
    assert varied_calls("f", [[None]], 3, seed=0) == []


def test_parts_of_an_assert() -> None:
    asserts = ["assert set(f([1], x)) == {1}", "assert f((2,), 3) == 1"]
    assert entry_point(asserts, "def g(): pass\ndef f(a, b): pass") == "f"
    assert arguments(asserts, "f") == [[(2,), 3]]
    assert [view_of(text, "f") for text in asserts] == ["set(_)", "_"]
    assert view_of("assert math.isclose(f(1), 2.0, rel_tol=0.001)", "f") == "_"
    assert view_of("assert not f(1)", "f") == "bool(_)"


def test_missing_data_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYMODE_DATA", raising=False)
    for call, said in (
        (lambda: Mbpp(), "mbpp: no data folder was given and POLYMODE_DATA is not set.*mbpp.jsonl"),
        (lambda: Mbpp(tmp_path / "none"), "does not exist: name the folder that holds the mbpp files"),
        (lambda: Mbpp(tmp_path), "holds none of mbpp.jsonl"),
        (lambda: Mbpp(write(tmp_path, record(11)), plus=True), "holds none of MbppPlus.jsonl"),
        (lambda: Mbpp(tmp_path, sanitized=True), "holds none of sanitized-mbpp.json"),
        (lambda: Mbpp(tmp_path).examples("train"), "holds no task of the train split .numbers 601 to 974"),
    ):
        with pytest.raises(DataNotFoundError, match=said):
            call()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shown_tests": 4}, "shown_tests = 4 is not allowed: give a whole number from 0 to 3"),
        ({"extra_inputs": -1}, "extra_inputs = -1 is not allowed: give a whole number from 0"),
        ({"distinct": "text"}, "distinct = 'text' is not known: use one of ast, behaviour"),
        ({"cpu_seconds": 0}, "cpu_seconds = 0 must be a whole number of at least 1"),
        ({"speed": 1}, "task 'mbpp': unknown option 'speed'; known: data, "),
    ],
)
def test_options_out_of_range(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        open_task("mbpp", data=write(tmp_path, record(11)), **options)


def test_a_split_or_number_that_is_not_there(tmp_path: Path) -> None:
    task = Mbpp(write(tmp_path, record(11)))
    with pytest.raises(ConfigError, match="split = 'dev' is not known"):
        task.examples("dev")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="n = -1 must not be negative"):
        task.examples("test", -1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: not valid JSON"),
        ("[1]", "item 1: an object is needed, got int"),
        (json.dumps(record(11, code="")), "field 'code': '' must be a text that is not empty"),
        (json.dumps(record(11, task_id="x")), "field 'task_id': 'x' must be a number"),
        (json.dumps(record(11, test_list=[])), "field 'test_list': .. must be a list of assert statements"),
        (json.dumps(record(11)) + "\n" + json.dumps(record(11)), "line 2: task 11 is also that of .*line 1"),
        (json.dumps(record(11, code="def other(): pass")), "calls no function that the reference solution defines"),
        (json.dumps(record(11, code="def (")), "is not Python"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mbpp.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=said):
        Mbpp(tmp_path).examples("test")


# --- the real subset -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Iterator[Mbpp]:
    if not (shared_data / "mbpp").is_dir():
        pytest.skip("no real data: the folder mbpp/ is not there")
    reason = reason_unavailable()
    if reason is not None:
        pytest.skip(f"no sandbox here: {reason}")
    task = Mbpp(shared_data / "mbpp")
    yield task
    task.verifier().sandbox.close()


def test_every_real_task_can_be_made_into_a_question(shared_data: Path) -> None:
    if not (shared_data / "mbpp").is_dir():
        pytest.skip("no real data: the folder mbpp/ is not there")
    for task in (Mbpp(shared_data / "mbpp"), Mbpp(shared_data / "mbpp", sanitized=True)):
        examples = [e for split in ("train", "validation", "test") for e in task.examples(split)]  # type: ignore[arg-type]
        assert len({e.id for e in examples}) == len(examples) > 150
        assert all(ProgramTests.from_json(e.references[0].text).asserts for e in examples)


@pytest.mark.slow
def test_real_reference_solutions_pass(real: Mbpp) -> None:
    # A share of them, so that the suite stays short; bench/mbpp_solutions.py runs all.
    share = int(os.environ.get("POLYMODE_MBPP_TASKS", "60"))
    examples = real.examples("test", share)
    prepared = real.verifier().prepare([(e, [str(e.meta["solution"])]) for e in examples])
    results = {e.id: prepared.at(e).result(str(e.meta["solution"])) for e in examples}
    assert {name: result.reason for name, result in results.items() if result.outcome is not Outcome.PASS} == {}
