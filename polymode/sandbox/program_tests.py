"""Tests of a program, taken apart: the calls that the program's process makes, the comparisons that another makes.

``assert set(f([1, 2])) == {1, 2}`` becomes the call ``f([1, 2])``, evaluated beside the program, and an expression,
evaluated elsewhere with the value that came back (`polymode.sandbox.assertions`). So the program never meets an
expected value, and nothing it does to its own process changes a comparison. Tests that cannot be taken apart are
refused when they are loaded; they are never run beside the program.
"""

from __future__ import annotations

import ast
import builtins
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from polymode.errors import RecordError
from polymode.sandbox.assertions import Call, substituted, take_apart
from polymode.sandbox.blocks import Block
from polymode.sandbox.constants import begin, bind_import
from polymode.sandbox.inside.values import digest

_IMPLIED = frozenset({"math", "cmath", "re", "collections", "itertools", "functools", "datetime", "statistics"})
"""Modules that tests use without importing them."""

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
    """Tests: assert statements, or blocks of statements (`polymode.sandbox.blocks`). Names that neither Python nor
    ``imports`` know are the program's."""
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
    try:
        return _plan(tests)
    except RecursionError:
        raise RecordError("tests: an expression is nested too deep; write several asserts") from None


def _plan(tests: ProgramTests) -> Plan:
    outer_names = names_outside(tests.imports) - {tests.entry}
    calls: list[Call] = []
    checks: list[dict[str, Any]] = []
    imports = [tests.imports]
    keep = _names_in(_parse(tests.setup, "setup")) - outer_names
    for text in tests.asserts:
        block = expressions(text, tests.imports, outer_names)
        for test in block.tests:
            expression, more = take_apart(test, block.outer_names, len(calls))
            inner = set().union(*(_names_in(_parse(call[0], "asserts")) for call in more)) & block.own_names
            if inner:
                names = ", ".join(sorted(inner))
                raise RecordError(f"tests: {text!r} uses {names} inside a call; put what defines it into 'imports'")
            label = (
                text if text.lstrip().startswith("assert") and len(block.tests) == 1 else f"assert {ast.unparse(test)}"
            )
            checks.append({"test": " ".join(label.split()), "expression": expression})
            calls += more
        imports += block.imports
    for case in tests.cases:
        value, [first, *more] = _viewed(case.view, outer_names, len(calls))
        expression = f"_close({value}, (lambda _: {case.view})(_expected), {case.tolerance!r})"
        checks.append({"test": case.call, "expression": expression, "expected": json.loads(case.expected)})
        calls += [[case.call, *first[1:]], *([case.call, *steps] for _, *steps in more)]
    imports = _without_pytest(imports, [*(check["expression"] for check in checks), *(call[0] for call in calls)])
    if not checks:
        raise RecordError("tests: there is neither an assert nor a case, so every program would pass; add one")
    n_tested = len(calls)
    calls += [[text] for text in tests.inputs]
    for call in calls:
        keep |= _names_in(_parse(call[0], "calls")) - outer_names
    run = {"imports": imports[0], "setup": tests.setup, "n_tested": n_tested}
    run["calls"] = [call[0] if len(call) == 1 else call for call in calls]
    check = {"imports": "\n".join(imports), "checks": checks, "keep": sorted(keep)}
    tested = [call[0] for call in calls[:n_tested]]
    is_short = sum(map(len, tested)) <= MAX_DOMAIN_CHARS  # long ones would be read again with every batch
    check |= {"n_tested": n_tested, "n_calls": len(calls), "calls": tested if is_short else []}
    return Plan(json.dumps(run)[1:-1], json.dumps(check), digest(tests.to_json()))


def _without_pytest(imports: Sequence[str], uses: Sequence[str]) -> list[str]:
    """The imports without those of pytest, which is not in the sandbox; ``pytest.raises`` has been taken apart."""
    trees = [_parse(text, "imports") for text in imports]
    for tree in trees:
        for node in [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]:
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            names = {alias.asname or alias.name for alias in node.names}
            if modules == ["pytest"] and not any(names & _names_in(_parse(text, "asserts")) for text in uses):
                tree.body.remove(node)
    pairs = zip(imports, trees, strict=True)
    return [text if "pytest" not in text else ast.unparse(tree) for text, tree in pairs]


@lru_cache(maxsize=256)  # most cases have the same view
def _parsed_view(view: str) -> ast.expr:
    [statement] = _parse(f"({view})", "cases").body
    assert isinstance(statement, ast.Expr)
    return statement.value


def _viewed(view: str, outer_names: set[str], first: int) -> tuple[str, list[Call]]:
    """A view of the value of a call, taken apart; the call itself is left open."""
    call = ast.Call(ast.Name("_call", ast.Load()), [], [])
    return take_apart(substituted(_parsed_view(view), {"_": call}), outer_names, first)


def expressions(text: str, imports: str = "", outer_names: set[str] | None = None) -> Block:
    """What one test asserts, a statement or a block of several; raises RecordError where it cannot be taken apart."""
    statements = _parse(text, "asserts").body
    outer_names = names_outside(imports) if outer_names is None else outer_names
    known: dict[str, Any] = {}
    for node in _parse(imports, "imports").body:
        bind_import(node, known)
    begin()
    block = Block(outer_names, known)
    for name in (
        _modules_in(statements) - outer_names
    ):  # a program that imports it gives it to its tests in plain Python
        block.run([ast.Import([ast.alias(name)])])
    if len(statements) == 1 and isinstance(statements[0], ast.Assert):
        block.tests.append(statements[0].test)
        return block
    block.run(statements)
    if all(isinstance(test, ast.Tuple) for test in block.tests):  # calls alone
        raise RecordError(f"tests: {text!r} asserts nothing; write 'assert f(...) == ...'")
    return block


def _modules_in(statements: Sequence[ast.stmt]) -> set[str]:
    """Modules whose functions the tests call by their full names."""
    nodes = [node for statement in statements for node in ast.walk(statement)]
    attributes = [n for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
    return {n.value.id for n in attributes if isinstance(n.value, ast.Name) and n.value.id in _IMPLIED}


def names_outside(imports: str) -> set[str]:
    """Names that Python and the imports give; all others in a test are the program's."""
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
