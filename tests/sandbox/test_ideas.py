"""Which programs are one idea: pairs judged by hand, and what the normal form computes against the program itself."""

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.sandbox.inside.folding import fold
from polymode.sandbox.inside.normal import key, normal_form
from polymode.tasks.lab.program_grammar import INPUTS, Grammar

SQUARE = "def f(n): return n * n"
IDEAS = [json.loads(line) for line in (Path(__file__).parent / "ideas.jsonl").read_text().splitlines()]
"""Programs judged by hand: ``square`` is the square in other words, ``one`` a pair of one idea, ``two`` a pair of two,
``beyond`` the square on the inputs of `CALLS`."""
CALLS = [f"f({n})" for n in (2, 3, 5, -1)]


def compiled(program: str) -> Callable[..., object]:
    names: dict[str, object] = {}
    exec(program, names)
    function = names["f"]
    assert callable(function)
    return function


def programs(kind: str) -> list[str]:
    return [row["first"] for row in IDEAS if row["kind"] == kind]


def pairs(kind: str) -> list[tuple[str, str]]:
    return [(row["first"], row["second"]) for row in IDEAS if row["kind"] == kind]


@pytest.mark.parametrize("program", programs("square"))
def test_the_square_in_other_words_is_the_square(program: str) -> None:
    assert [compiled(program)(n) for n in (2, 3, 5, -1)] == [4, 9, 25, 1]  # the list is right
    assert key(program, ["f"]) == key(SQUARE, ["f"])


@pytest.mark.parametrize(("first", "second"), pairs("one"))
def test_one_idea_has_one_key(first: str, second: str) -> None:
    assert key(first, ["f"]) == key(second, ["f"])


@pytest.mark.parametrize(("first", "second"), pairs("two"))
def test_two_ideas_have_two_keys(first: str, second: str) -> None:
    assert key(first, ["f"]) != key(second, ["f"])


def test_pairs_of_others(shared_cases: Path) -> None:
    rows = [json.loads(line) for line in (shared_cases / "programs_same.jsonl").read_text().splitlines()]
    assert len(rows) > 20
    wrong = [r["name"] for r in rows if (key(r["first"], ["f"]) == key(r["second"], ["f"])) is not r["same_idea"]]
    assert wrong == []


# --- What the tests do not ask for -----------------------------------------------------------------------------------


@pytest.mark.parametrize("program", programs("beyond"))
def test_what_differs_beyond_the_tests_is_no_idea_of_its_own(program: str) -> None:
    assert [compiled(program)(n) for n in (2, 3, 5, -1)] == [4, 9, 25, 1]
    assert key(program, ["f"], CALLS) == key(SQUARE, ["f"], CALLS)
    assert key(program, ["f"]) != key(SQUARE, ["f"])  # it is the tests that decide


@pytest.mark.parametrize(
    "program",
    [
        "def f(n): return n ** 2 if n != 12345 else 7",  # another idea on the inputs of the tests
        "def f(n):\n    if n < 0: n = -n\n    return n * n",  # decided by them, both ways
        "def f(n): return n * n if n > 2 else n + n",
        "def f(n):\n    for i in range(n):\n        if i > 50: return 1\n    return n * n",  # not by an argument
    ],
)
def test_what_the_tests_tell_apart_stays_apart(program: str) -> None:
    assert key(program, ["f"], CALLS) != key(SQUARE, ["f"], CALLS)


def test_one_input_decides_nothing_and_calls_that_cannot_be_read_decide_nothing() -> None:
    guarded = "def f(n): return n * n if n != 12345 else 7"
    for calls in (["f(2)"], ["f(2)", "f(2)"], ["f(2)", "f(g(3))", "f(x)"], ["f(n=2)", "f(n=3)"], ["f(*a)", "f(3)"], []):
        assert key(guarded, ["f"], calls) != key(SQUARE, ["f"], calls)
    recursive = "def f(n): return 0 if n == 99 else 1 + f(n - 1) if n else 0"
    assert key(recursive, ["f"], CALLS) != key("def f(n): return 1 + f(n - 1) if n else 0", ["f"], CALLS)


# --- Against Python --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", programs("square")[40::2])
def test_a_normal_form_computes_what_the_program_does(program: str) -> None:
    text = ast.unparse(ast.fix_missing_locations(normal_form(program, ["f"])))
    assert [compiled(text)(n) for n in (2, 3, -1)] == [4, 9, 1]


def test_normal_forms_of_the_labs_programs_compute_what_they_do() -> None:
    grammar = Grammar()
    calls = [f"f({x})" for x in INPUTS]
    for text, number in list(grammar.number_of.items())[::7]:
        normal = compiled(ast.unparse(ast.fix_missing_locations(normal_form(text, ["f"], calls))))
        assert tuple(map(normal, INPUTS)) == grammar.functions[number].values, text


NUMBERS = st.one_of(st.just("n"), st.just("m"), st.integers(-3, 3).map(str), st.sampled_from(["True", "False"]))
TWO_NUMBERS = st.sampled_from(["+", "-", "*", "&", "|", "^", "<", "<=", "==", "!=", ">", "and", "or"])


def combined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(parts, TWO_NUMBERS, parts).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(st.sampled_from(["-", "+", "not ", "~"]), parts).map(lambda p: f"({p[0]}{p[1]})"),
        st.tuples(parts, parts, parts).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        st.tuples(parts, parts).map(lambda p: f"(max({p[0]}, {p[1]}) - min({p[1]}, {p[0]}, 1))"),
        st.tuples(parts, parts).map(lambda p: f"(abs({p[0]} - {p[1]}) ** 2)"),
        st.tuples(parts, parts, parts).map(lambda p: f"({p[0]} < {p[1]} <= {p[2]})"),
    )


@given(st.recursive(NUMBERS, combined, max_leaves=12))
def test_folding_changes_no_value(text: str) -> None:
    tree = ast.parse(text, mode="eval")
    fold(tree)
    folded = ast.unparse(ast.fix_missing_locations(tree))
    for n, m in ((0, 0), (1, -2), (-3, 2), (5, 5)):
        names = {"n": n, "m": m}
        assert eval(folded, names) == eval(text, names), folded


@given(st.recursive(NUMBERS, combined, max_leaves=12), st.recursive(NUMBERS, combined, max_leaves=6))
def test_one_key_means_one_value(first: str, second: str) -> None:
    written = [f"def f(n, m): return {text}" for text in (first, second, f"({first}) + 0", f"0 + ({second})")]
    keys = [key(program, ["f"]) for program in written]
    for i, program in enumerate(written):
        for j in range(i):
            if keys[i] == keys[j]:
                for n, m in ((0, 0), (1, -2), (-3, 2)):
                    assert compiled(program)(n, m) == compiled(written[j])(n, m)
