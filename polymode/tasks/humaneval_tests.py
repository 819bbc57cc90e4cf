"""The ``check`` of a HumanEval record as tests that are compared outside of the program's process."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from polymode.errors import RecordError, VerifierFault
from polymode.sandbox import Sandbox, parse_quietly
from polymode.sandbox.constants import NotConstantError, literal
from polymode.sandbox.inside.values import decode
from polymode.sandbox.program_tests import expressions, names_outside


@dataclass(frozen=True, slots=True)
class Check:
    """A record's tests."""

    preamble: str
    """What the prompt holds before the function: imports and helpers."""
    asserts: tuple[str, ...]
    """Tests of the function by its own name."""


def read_check(record: Mapping[str, Any], sandbox: Callable[[], Sandbox]) -> Check:
    """The tests of one record.

    Args:
        record: with ``prompt``, ``test`` and ``entry_point``.
        sandbox: gives the sandbox in which helpers of the prompt make inputs; called only where some do.

    Raises:
        RecordError: prompt or test is not Python, there is no ``check(candidate)``, or it cannot be taken apart.
        ConfigError: from ``sandbox``.
    """
    name = record["entry_point"]
    before = [node for node in _parsed(record, "prompt").body if getattr(node, "name", None) != name]
    preamble = "\n".join(map(ast.unparse, before))
    helpers = {node.name for node in before if isinstance(node, ast.FunctionDef)}
    block = ast.unparse(ast.Module(_statements(_parsed(record, "test"), name), []))
    tests = expressions(block, preamble, names_outside(preamble) - {name})
    inputs = [call for test in tests.tests for call in _inputs(test, name, helpers)]
    if not inputs:
        return Check(preamble, (block,))
    texts = list(dict.fromkeys(map(ast.unparse, inputs)))
    try:
        lines = sandbox().evaluate(preamble, texts)
        values = {text: literal(decode(line["value"])) for text, line in zip(texts, lines, strict=True)}
    except (VerifierFault, NotConstantError, KeyError, ValueError, TypeError) as exc:
        raise RecordError(
            f"tests: inputs such as {texts[0]!r} cannot be made before the program runs ({exc})"
        ) from None
    replaced = [ast.unparse(_Values(name, values).visit(test)) for test in tests.tests]
    own = "\n".join(tests.imports)
    return Check(preamble, tuple(f"{own}\nassert {text}".strip() for text in replaced))


def _parsed(record: Mapping[str, Any], field: str) -> ast.Module:
    try:
        return parse_quietly(record[field])
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise RecordError(f"field {field!r} is not Python ({exc})") from None


def _statements(test: ast.Module, name: str) -> list[ast.stmt]:
    """The body of ``check``, after what the test defines around it, with the function's name for the parameter."""
    others: list[ast.stmt] = []
    body: list[ast.stmt] | None = None
    for node in test.body:
        if isinstance(node, ast.FunctionDef) and node.name == "check" and len(node.args.args) == 1:
            _Renamed(node.args.args[0].arg, name).visit(node)
            body = node.body
        elif isinstance(node, ast.Expr) and ast.unparse(node).startswith("check("):
            continue  # some copies of the file call it
        elif not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "METADATA"):
            others.append(node)
    if body is None:
        raise RecordError("field 'test' has no function check(candidate)")
    return [*others, *[node for node in body if not _is_text(node)]]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _inputs(test: ast.AST, name: str, helpers: set[str]) -> list[ast.Call]:
    """Calls of helpers within the arguments of calls of the function."""
    calls = [n for n in ast.walk(test) if isinstance(n, ast.Call) and _is_call_of(n, {name})]
    parts = [part for call in calls for part in (*call.args, *(keyword.value for keyword in call.keywords))]
    return [n for part in parts for n in ast.walk(part) if isinstance(n, ast.Call) and _is_call_of(n, helpers)]


def _is_call_of(node: ast.Call, names: set[str]) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id in names


class _Renamed(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.new, node.ctx) if node.id == self.old else node


class _Values(ast.NodeTransformer):
    """Values for the calls of helpers in the arguments of the function."""

    def __init__(self, name: str, values: Mapping[str, ast.expr]) -> None:
        self.name, self.values = name, values
        self._inside = False

    def visit_Call(self, node: ast.Call) -> ast.AST:
        text = ast.unparse(node)
        if self._inside and text in self.values:
            return self.values[text]
        before, self._inside = self._inside, self._inside or _is_call_of(node, {self.name})
        new = self.generic_visit(node)
        self._inside = before
        return new
