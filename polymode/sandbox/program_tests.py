"""Tests of a program, taken apart: the calls that the program's process makes, the comparisons that another makes.

``assert set(f([1, 2])) == {1, 2}`` becomes the call ``f([1, 2])``, evaluated beside the program, and the expression
``set(_0) == {1, 2}``, evaluated elsewhere with the value that came back. So the program never meets an expected value,
and nothing it does to its own process changes a comparison.
"""

from __future__ import annotations

import ast
import builtins
import json
import warnings
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, cast

from polymode.errors import RecordError
from polymode.sandbox.inside.values import digest

JsonForm = Any
"""A value in the form of `polymode.sandbox.inside.values`."""

MAX_DOMAIN_CHARS = 100_000
"""Longest calls by which it is told what a program does on no input of the tests."""
MAX_TESTS_CHARS = 2_000_000
"""Longest JSON text of one question's tests."""


@dataclass(frozen=True, slots=True)
class Case:
    """A call with the value it must give; for tests whose expected values come from a solution, not from a text."""

    call: str
    """The call, such as ``f(1, 2)``."""
    expected: str
    """The value, as the JSON text of its form in `polymode.sandbox.inside.values`."""
    view: str = "_"
    """What is compared, as an expression of the value ``_``: ``set(_)`` where order does not matter."""
    tolerance: float = 0.0
    """Numbers may differ by ``tolerance + 1e-7 |expected|``."""


@dataclass(frozen=True, slots=True)
class ProgramTests:
    """When a program is right.

    Raises:
        RecordError: from `plan`, for a test that is not an assert with a call of the program in it, or that does not
            parse.
    """

    asserts: tuple[str, ...] = ()
    """Assert statements. Names that neither Python nor ``imports`` know are the program's."""
    entry: str = ""
    """The function asked for; needed where Python has one of the same name, such as ``sum``."""
    imports: str = ""
    """Executed before the program, and before the comparisons."""
    setup: str = ""
    """Executed after the program, in its process."""
    cases: tuple[Case, ...] = ()
    inputs: tuple[str, ...] = ()
    """Further calls, compared with nothing: they tell programs apart by what they do."""

    def to_json(self) -> str:
        """The tests as one line of JSON, without the fields that are empty."""
        record = {field.name: getattr(self, field.name) for field in fields(self)}
        record["cases"] = [[case.call, json.loads(case.expected), case.view, case.tolerance] for case in self.cases]
        return json.dumps({name: value for name, value in record.items() if value})

    @staticmethod
    @lru_cache(maxsize=4096)  # the answers to one question share its tests
    def from_json(text: str) -> ProgramTests:
        """The tests that `to_json` wrote, or that a person did.

        Raises:
            RecordError: not JSON, an unknown field, or a field of the wrong type.
        """
        if len(text) > MAX_TESTS_CHARS:
            raise RecordError(f"tests: {len(text)} characters, at most {MAX_TESTS_CHARS} are read; use fewer cases")
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as exc:
            reason = f"{text[:80]!r} is not JSON ({exc}); a question's reference holds its tests"
            raise RecordError(f"tests: {reason}") from None
        if not isinstance(record, dict):
            raise RecordError(f"tests: {text[:80]!r} is not an object; write {{'asserts': [...]}}")
        return ProgramTests(**{name: _checked(name, value) for name, value in record.items()})


@dataclass(frozen=True, slots=True)
class Plan:
    """The tests as the sandbox uses them."""

    run: str
    """JSON fields of a job that runs a program: everything but the program."""
    check: str
    """JSON object by which a program's values are judged."""
    name: str
    """Digest of everything that decides about a program: what results are remembered by."""


@lru_cache(maxsize=4096)
def plan(tests: ProgramTests) -> Plan:
    """Take the tests apart.

    Raises:
        RecordError: a test that cannot be taken apart; says which and why.
    """
    outer_names = _names_outside(tests.imports) - {tests.entry}
    calls: list[str] = []
    checks: list[dict[str, Any]] = []
    keep = _names_in(_parse(tests.setup, "setup")) - outer_names
    for text in tests.asserts:
        expression, calls_of_test = _take_apart(text, outer_names)
        values = {f"_{i}": len(calls) + i for i in range(len(calls_of_test))}
        checks.append({"test": " ".join(text.split()), "expression": expression, "values": values})
        calls += calls_of_test
    for case in tests.cases:
        view = f"(lambda _: {ast.unparse(_parse(case.view, 'cases'))})"
        expression = f"_close({view}(_0), {view}(_expected), {case.tolerance!r})"
        check = {"test": case.call, "expression": expression, "values": {"_0": len(calls)}}
        checks.append({**check, "expected": json.loads(case.expected)})
        calls.append(case.call)
    if not checks:
        raise RecordError("tests: there is neither an assert nor a case, so every program would pass; add one")
    n_tested = len(calls)
    calls += tests.inputs
    for call in calls:
        keep |= _names_in(_parse(call, "calls")) - outer_names
    run = {"imports": tests.imports, "setup": tests.setup, "calls": calls, "n_tested": n_tested}
    check = {"imports": tests.imports, "checks": checks, "keep": sorted(keep)}
    tested = calls[:n_tested]
    is_short = sum(map(len, tested)) <= MAX_DOMAIN_CHARS  # long ones would be read again with every batch
    check |= {"n_tested": n_tested, "n_calls": len(calls), "calls": tested if is_short else []}
    return Plan(json.dumps(run)[1:-1], json.dumps(check), digest(tests.to_json()))


def _take_apart(text: str, outer_names: set[str]) -> tuple[str, list[str]]:
    """An assert as an expression over ``_0``, ``_1``, ... and the calls they stand for."""
    body = _parse(text, "asserts").body
    if len(body) != 1 or not isinstance(body[0], ast.Assert):
        raise RecordError(f"tests: {text!r} is not one assert statement; write 'assert f(...) == ...'")
    extractor = _CallExtractor(outer_names)
    expression = ast.unparse(ast.fix_missing_locations(extractor.visit(body[0].test)))
    if not extractor.calls:
        raise RecordError(f"tests: {text!r} calls nothing of the program; call the function that is asked for")
    strange = {name for name in _names_in(parse_quietly(expression)) - outer_names if not name[1:].isdecimal()}
    if strange:
        raise RecordError(f"tests: {text!r} uses {', '.join(sorted(strange))} outside of a call; put it inside a call")
    return expression, extractor.calls


class _CallExtractor(ast.NodeTransformer):
    """Replaces outermost calls of unknown names by names of values."""

    def __init__(self, outer_names: set[str]) -> None:
        self.outer_names = outer_names
        self.calls: list[str] = []

    def visit_Call(self, node: ast.Call) -> ast.expr:
        root: ast.expr = node.func
        while isinstance(root, (ast.Attribute, ast.Call, ast.Subscript)):
            root = root.func if isinstance(root, ast.Call) else root.value
        if not isinstance(root, ast.Name) or root.id in self.outer_names:
            return cast(ast.expr, self.generic_visit(node))
        self.calls.append(ast.unparse(node))
        return ast.Name(f"_{len(self.calls) - 1}", ast.Load())

    def _refuse(self, node: Any) -> ast.expr:
        inner = [n for n in ast.walk(node) if isinstance(n, ast.Name) and n.id not in self.outer_names]
        if any(isinstance(n.ctx, ast.Load) for n in inner):
            raise RecordError(
                f"tests: {ast.unparse(node)!r} calls the program for values that it binds itself; "
                "write one assert for each"
            )
        return node

    visit_Lambda = visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _refuse


def _names_outside(imports: str) -> set[str]:
    """What Python and the imports give."""
    names = set(dir(builtins))
    for node in ast.walk(_parse(imports, "imports")):
        if isinstance(node, ast.alias):
            names.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def parse_quietly(text: str) -> ast.Module:
    """`ast.parse` without a word about escape sequences and the like, also where warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _parse(text: str, field: str) -> ast.Module:
    try:
        return parse_quietly(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise RecordError(f"tests, field {field!r}: {text[:200]!r} is not Python ({exc}); correct it") from None


def _names_in(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _checked(name: str, value: Any) -> Any:
    """The value of a field of `ProgramTests` from its JSON form."""
    if name in ("entry", "imports", "setup"):
        if not isinstance(value, str):
            raise RecordError(f"tests, field {name!r}: {value!r} must be a text of Python statements")
        return value
    if name in ("asserts", "inputs"):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise RecordError(f"tests, field {name!r}: {str(value)[:80]!r} must be a list of texts")
        return tuple(value)
    if name != "cases":
        raise RecordError(f"tests: field {name!r} is not known; use {', '.join(f.name for f in fields(ProgramTests))}")
    if not isinstance(value, list) or not all(map(_is_case, value)):
        raise RecordError("tests, field 'cases': each must be [call, expected, view, tolerance]")
    return tuple(Case(call, json.dumps(expected), *more) for call, expected, *more in value)


def _is_case(case: Any) -> bool:
    if not isinstance(case, list) or not 2 <= len(case) <= 4 or not isinstance(case[0], str):
        return False
    view, tolerance = [*case[2:], *("_", 0.0)[len(case) - 2 :]]
    return isinstance(view, str) and isinstance(tolerance, (int, float)) and tolerance >= 0
