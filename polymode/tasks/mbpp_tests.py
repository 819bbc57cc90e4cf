"""The tests of an MBPP program: its asserts, the inputs of MBPP+, and inputs that distinguish right programs.

MBPP+ (EvalPlus, https://arxiv.org/abs/2305.01210) stores further inputs as JSON, which has no tuples and no sets,
and no expected values. The types are restored from the arguments in the asserts, the values from its solution.
"""

from __future__ import annotations

import ast
import contextlib
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from polymode.errors import RecordError, VerifierFault
from polymode.sandbox import Case, Sandbox, parse_quietly

FLOAT_TOLERANCE = 1e-6
"""Absolute tolerance of MBPP+ for floats where a task names none."""

PLUS_CALL_SECONDS = 0.02
"""Inputs of MBPP+ on which its solution takes longer are left out, so that all of a task's inputs fit into the time
of one program."""
PLUS_CASE_CHARS, PLUS_CHARS = 20_000, 200_000
"""Size limits of one input with its value and of all inputs of a task: they are part of every training row."""


def entry_point(asserts: Sequence[str], solution: str) -> str:
    """The function that the first assert calls and the solution defines.

    Raises:
        RecordError: there is none, or one of the two is not Python.
    """
    try:
        defined = {node.name for node in ast.walk(parse_quietly(solution)) if isinstance(node, ast.FunctionDef)}
        called = [node.func for node in ast.walk(parse_quietly(asserts[0])) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError) as exc:
        raise RecordError(f"test {asserts[0]!r} or its reference solution is not Python ({exc})") from None
    for function in called:
        if isinstance(function, ast.Name) and function.id in defined:
            return function.id
    raise RecordError(f"test {asserts[0]!r} calls no function that the reference solution defines")


def arguments(asserts: Sequence[str], name: str) -> list[list[Any]]:
    """Arguments of the calls of ``name``, those that are plain data."""
    calls: list[list[Any]] = []
    for text in asserts:
        for node in ast.walk(parse_quietly(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                try:
                    calls.append([ast.literal_eval(argument) for argument in node.args])
                except (ValueError, TypeError, SyntaxError):
                    continue
    return calls


def call_text(name: str, values: Sequence[Any]) -> str:
    """The call as source text."""
    return f"{name}({', '.join(map(repr, values))})"


def plus_cases(record: Mapping[str, Any], sandbox: Sandbox) -> tuple[Case, ...]:
    """The inputs of an MBPP+ record with the values that its solution gives, without those that it gives none for."""
    asserts = [line for line in record["assertion"].splitlines() if line.startswith("assert ")]
    calls = plus_calls(record)
    tolerance = float(record["atol"]) or FLOAT_TOLERANCE
    lines = _evaluated(record["canonical_solution"], calls, sandbox)
    view = view_of(asserts[0], record["entry_point"])
    cases: list[Case] = []
    room = PLUS_CHARS
    for call, line in zip(calls, lines, strict=True):
        if "value" in line:
            case = Case(call, json.dumps(line["value"]), view, tolerance)
            size = len(case.call) + len(case.expected)
            if size <= min(room, PLUS_CASE_CHARS):
                cases.append(case)
                room -= size
    return tuple(cases)


def plus_calls(record: Mapping[str, Any]) -> list[str]:
    """The calls of an MBPP+ record: its own inputs with the types of the asserts' arguments."""
    name = record["entry_point"]
    asserted = arguments(record["assertion"].strip().splitlines(), name)
    if not asserted:
        return []
    calls = (call_text(name, _typed_arguments(values, asserted)) for values in record["plus_input"])
    return [call for call in dict.fromkeys(calls) if _is_literal(call)]


def view_of(text: str, name: str) -> str:
    """What an assert compares, as an expression of the function's value ``_``.

    >>> view_of("assert set(f(1)) == {1}", "f"), view_of("assert f(1) == 1", "f"), view_of("assert not f(1)", "f")
    ('set(_)', '_', 'bool(_)')
    """
    (statement,) = parse_quietly(text).body
    test = statement.test if isinstance(statement, ast.Assert) else None
    if isinstance(test, ast.Compare):
        return ast.unparse(_Hole(name).visit(test.left))
    if isinstance(test, ast.Call) and ast.unparse(test.func) == "math.isclose":
        return "_"
    return "bool(_)"


def varied_calls(name: str, asserted: Sequence[Sequence[Any]], count: int, seed: object) -> list[str]:
    """Up to ``count`` calls that differ from the asserted ones in one argument, never by much.

    Small changes keep most of them sensible and quick. Right programs differ where the text leaves the behaviour
    open: empty lists, zero, negative numbers.
    """
    asserted_calls = {call_text(name, values) for values in asserted}
    calls = [
        call_text(name, [*values[:place], changed, *values[place + 1 :]])
        for values in asserted
        for place, value in enumerate(values)
        for changed in _neighbours(value)
    ]
    fresh = [call for call in dict.fromkeys(calls) if call not in asserted_calls and _is_literal(call)]
    random.Random(f"{name} {seed}").shuffle(fresh)
    return fresh[:count]


class _Hole(ast.NodeTransformer):
    def __init__(self, name: str) -> None:
        self.name = name

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == self.name:
            return ast.Name("_", ast.Load())
        return self.generic_visit(node)


def _evaluated(solution: str, calls: Sequence[str], sandbox: Sandbox) -> list[Any]:
    """The value of each call; in halves when the solution does not finish all of them within the limits."""
    try:
        return sandbox.evaluate(solution, calls, call_seconds=PLUS_CALL_SECONDS)
    except VerifierFault as exc:
        if len(calls) <= 1:
            return [{"error": str(exc)} for _ in calls]
        half = len(calls) // 2
        return [line for part in (calls[:half], calls[half:]) for line in _evaluated(solution, part, sandbox)]


def _typed_arguments(values: Sequence[Any], asserted: Sequence[Sequence[Any]]) -> list[Any]:
    examples = [one for one in asserted if len(one) == len(values)] or asserted
    return [_typed(value, [one[place] for one in examples if place < len(one)]) for place, value in enumerate(values)]


def _typed(value: Any, examples: Sequence[Any]) -> Any:
    """``value`` from JSON with the container types that the examples have in its place."""
    if isinstance(value, str) and examples and all(isinstance(one, (int, float, complex)) for one in examples):
        with contextlib.suppress(ValueError):
            return complex(value)  # JSON has no complex numbers
    containers = [example for example in examples if isinstance(example, (list, tuple, set, dict))]
    if isinstance(value, dict):
        inner = [item for example in containers if isinstance(example, dict) for item in example.values()]
        return {key: _typed(item, inner) for key, item in value.items()}
    if not isinstance(value, list) or not containers:
        return value
    inner = [item for example in containers for item in example]
    by_place = [[e[i] for e in containers if not isinstance(e, (set, dict)) and i < len(e)] for i in range(len(value))]
    mixed = len({type(item) for item in inner}) > 1  # a tuple of a list and a number, say: go by the place
    items = [_typed(item, by_place[i] if mixed and by_place[i] else inner) for i, item in enumerate(value)]
    kind = type(containers[0])
    return kind(items) if kind in (list, tuple, set) else items


def _neighbours(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value - 1, value + 1, 0, -value]
    if isinstance(value, float):
        return [value + 0.5, 0.0, -value]
    if isinstance(value, str):
        return ["", value[:-1], value[::-1], value.upper(), value + value[:1], " " + value]
    if isinstance(value, (list, tuple)):
        kind = type(value)
        inner = [kind([other, *value[1:]]) for other in _neighbours(value[0])[:2]] if value else []
        return [kind(()), value[:-1], value[::-1], kind([*value, *value[:1]]), *inner]
    return []


def _is_literal(call: str) -> bool:
    """Whether the arguments read back as what they are; nan and inf do not."""
    try:
        (statement,) = parse_quietly(call).body
        assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        for argument in statement.value.args:
            ast.literal_eval(argument)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return False
    return True
