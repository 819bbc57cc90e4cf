import json
from typing import Any

import pytest

from polymode.errors import RecordError
from polymode.sandbox import Case, ProgramTests
from polymode.sandbox.program_tests import plan


def parts(text: str, **fields: str) -> tuple[list[Any], list[str]]:
    """The calls and the expressions of one assert."""
    found = plan(ProgramTests((text,), **fields))  # type: ignore[arg-type]
    return json.loads(f"{{{found.run}}}")["calls"], [check["expression"] for check in json.loads(found.check)["checks"]]


@pytest.mark.parametrize(
    ("text", "calls", "expression"),
    [
        ("assert f(2) == 4", ["f(2)"], "_value(0) == 4"),
        ("assert f(2)", ["f(2)"], "_value(0)"),
        ("assert not f(2), 'message'", ["f(2)"], "not _value(0)"),
        ("assert f(2) is True", ["f(2)"], "_value(0) is True"),
        ("assert set(f([1, 2])) == {1, 2}", [["f([1, 2])", "set(_)"]], "_value(0, lambda _: set(_)) == {1, 2}"),
        (
            "assert sorted(f(x=[2]), key=str) == [2]",
            [["f(x=[2])", "sorted(_, key=str)"]],
            "_value(0, lambda _: sorted(_, key=str)) == [2]",
        ),
        ("assert f(1) == f(2)", ["f(1)", "f(2)"], "_value(0) == _value(1)"),
        ("assert f(g(1)) == 2", ["f(g(1))"], "_value(0) == 2"),
        (
            "assert f(1)[0] in (1, 2) and f(2) > 0",
            [["f(1)", "_[0]"], "f(2)"],
            "_value(0, lambda _: _[0]) in (1, 2) and _value(1) > 0",
        ),
        ("assert Thing(1).area() == 3", [["Thing(1)", "_.area()"]], "_value(0, lambda _: _.area()) == 3"),
        ("assert f(root) == False", ["f(root)"], "_value(0) == False"),
        ("assert abs(f(1) - 2) < 1e-6", ["f(1)"], "abs(_value(0) - 2) < 1e-06"),
    ],
)
def test_an_assert_is_taken_apart_into_calls_and_a_comparison(text: str, calls: list[Any], expression: str) -> None:
    assert parts(text) == (calls, [expression])


def test_imports_and_the_entry_decide_whose_a_name_is() -> None:
    text = "assert math.isclose(f(1), 2.0, rel_tol=0.001)"
    assert parts(text, imports="import math") == (["f(1)"], ["math.isclose(_value(0), 2.0, rel_tol=0.001)"])
    assert parts(text) == parts(text, imports="import math")  # as if the program had imported it
    assert parts("assert sum(10, 15) == 6", entry="sum") == (["sum(10, 15)"], ["_value(0) == 6"])


def test_cases_carry_their_expected_value_as_data() -> None:
    tests = ProgramTests(cases=(Case("f(1)", '["float", "0x1p+0"]', "set(_)", 0.5),), inputs=("f(9)",))
    found = plan(tests)
    assert json.loads(f"{{{found.run}}}")["calls"] == [["f(1)", "set(_)"], "f(9)"]
    [check] = json.loads(found.check)["checks"]
    assert check["expression"] == "_close(_value(0, lambda _: set(_)), (lambda _: set(_))(_expected), 0.5)"
    assert "0x1p" not in found.run  # what the program's process gets to see


def test_expected_values_are_not_in_what_the_programs_process_gets() -> None:
    found = plan(ProgramTests(("assert f(2) == 'the expected value'",)))
    assert "expected" not in found.run and "the expected value" in found.check


def test_tests_survive_the_way_through_json() -> None:
    tests = ProgramTests(
        ("assert f(1) == 'é'",), "f", "import math", "x = 1", (Case("f(2)", '["list", 1]'),), ("f(3)",)
    )
    assert ProgramTests.from_json(tests.to_json()) == tests
    assert ProgramTests.from_json('{"asserts": ["assert f(1)"]}') == ProgramTests(("assert f(1)",))
    assert ProgramTests.from_json('{"cases": [["f(1)", 2]]}').cases == (Case("f(1)", "2"),)


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        (ProgramTests(), "there is neither an assert nor a case, so every program would pass"),
        (ProgramTests(("x = 1",)), "asserts nothing; write 'assert f(...) == ...'"),
        (ProgramTests(("assert f(1",)), "field 'asserts': 'assert f(1' is not Python"),
        (ProgramTests(("assert 1 == 1",)), "calls nothing of the program"),
        (ProgramTests(("assert len('a') == 1",)), "calls nothing of the program"),
        (ProgramTests(("assert f(1) == expected",)), "uses expected outside of a call; put it inside a call"),
        (
            ProgramTests(("assert all(f(i) == i for i in f(3))",)),
            "for values that it binds itself, and 'f(3)' is not known before the program runs",
        ),
        (ProgramTests(("assert f(1)",), imports="import ("), "field 'imports': 'import (' is not Python"),
        (ProgramTests(("assert f(1)",), setup="x ="), "field 'setup': 'x =' is not Python"),
        (ProgramTests(("assert f(1)",), inputs=("f(",)), "field 'calls': 'f(' is not Python"),
    ],
)
def test_tests_that_cannot_be_used_are_named(tests: ProgramTests, said: str) -> None:
    with pytest.raises(RecordError) as caught:
        plan(tests)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Paris", "tests: 'Paris' is not JSON"),
        ("[1]", "tests: '[1]' is not an object"),
        ('{"assert": []}', "field 'assert' is not known; use asserts, entry, imports, setup, cases, inputs"),
        ('{"asserts": "assert f(1)"}', "field 'asserts': 'assert f(1)' must be a list of texts"),
        ('{"imports": ["math"]}', "field 'imports': ['math'] must be a text of Python statements"),
        ('{"cases": [["f(1)"]]}', "field 'cases': each must be [call, expected, view, tolerance]"),
        ('{"cases": [["f(1)", 1, "_", -1]]}', "field 'cases': each must be"),
        ("[" * 100_000, "is not JSON"),
        (" " * 3_000_000, "3000000 characters, at most 2000000 are read"),
    ],
)
def test_text_that_holds_no_tests_is_refused(text: str, said: str) -> None:
    with pytest.raises(RecordError) as caught:
        ProgramTests.from_json(text)
    assert said in str(caught.value)
