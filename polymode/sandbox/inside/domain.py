"""What the inputs of the tests decide: conditions that never hold on them, and terms that are 0 on all of them.

The tests say which inputs matter. ``n * n if n != 12345 else 7`` and ``n * n + n // 10**6`` do the same as ``n * n`` on
small numbers, and there is no end of such variants; so they are one idea. Only arguments that the function never sets
are followed, only in functions that nothing but the tests calls, and only through plain operators and functions.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from .inlining import Replacing
from .trees import Rewriter, is_boolean, is_sequence, nodes

Arguments = tuple[tuple[Any, ...], ...]
"""The arguments of each call."""

MAX_CALLS = 1000
_MAX_EVALUATIONS = 20_000
_MAX_NODES = 40
_NAMES = """
abs all any bool float int isinstance len list max min round set sorted str sum tuple type
"""
_FUNCTIONS = frozenset(_NAMES.split())
_TYPES = frozenset({"bool", "dict", "float", "int", "list", "set", "str", "tuple"})
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr, ast.BitXor)
_PARTS = (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Constant, ast.Subscript, ast.Slice, ast.Tuple, ast.List)
_STEADY_METHODS = frozenset(name for name in dir(str) if name[0] != "_") | {"get", "items", "keys", "values", "copy"}
"""Methods that do not change what they belong to."""
_BUILTINS = {name: getattr(builtins, name) for name in _FUNCTIONS | _TYPES}


def decide(tree: ast.Module, calls: Sequence[str]) -> None:
    """Replace in place what has one value on all calls of the tests: conditions, and terms that are always 0 or 1."""
    arguments = arguments_of(tuple(calls))
    every = nodes(tree)
    read = {part.id for part in every if isinstance(part, ast.Name)}
    bound = {part.id for part in every if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load)}
    bound |= {part.name for part in every if isinstance(part, (ast.FunctionDef, ast.ClassDef))}
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or function.decorator_list or function.name in read:
            continue
        called_with = arguments.get(function.name, ())
        values = _values(function, called_with)
        if len(values) > 1:
            _Deciding(values, bound).visit(function)
            n_given = max(map(len, called_with))
            unused: dict[str, ast.expr] = {
                argument.arg: ast.Constant(values[0][argument.arg])
                for argument in function.args.args[n_given:]
                if argument.arg in values[0]
            }
            function.body = [Replacing(unused).visit(statement) for statement in function.body]


@lru_cache(maxsize=64)  # the programs of a batch often share their tests
def arguments_of(calls: tuple[str, ...]) -> dict[str, Arguments]:
    """The different arguments that each function gets, of functions that are only called with plain values."""
    found: dict[str, dict[str, tuple[Any, ...]]] = {}
    unclear: set[str] = set()
    for text in calls[:MAX_CALLS]:
        tree = ast.parse(text, mode="eval").body
        name = tree.func.id if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) else ""
        inside = {part.id for part in ast.walk(tree) if isinstance(part, ast.Name)} - {name}
        unclear |= inside
        if not isinstance(tree, ast.Call) or not name:
            continue
        try:
            values = tuple(map(ast.literal_eval, tree.args))
        except (ValueError, TypeError):
            unclear.add(name)
            continue
        if tree.keywords:
            unclear.add(name)
        found.setdefault(name, {})[repr(values)] = values
    if len(calls) > MAX_CALLS:
        return {}
    return {name: tuple(values.values()) for name, values in found.items() if name not in unclear}


def _values(function: ast.FunctionDef, calls: Arguments) -> list[dict[str, Any]]:
    """The values of the arguments that never change, for each call; empty where they are not plain."""
    args = function.args
    if args.vararg or args.kwarg or args.kwonlyargs or args.posonlyargs or not calls:
        return []
    names = [argument.arg for argument in args.args]
    defaults = [one.value if isinstance(one, ast.Constant) else ... for one in args.defaults]
    lowest = len(names) - len(defaults)
    if not all(lowest <= len(call) <= len(names) for call in calls) or ... in defaults:
        return []
    changing: set[str] = set()
    for part in nodes(function):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            changing.add(part.id)
        elif isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.value, ast.Name):
            is_method = isinstance(part, ast.Attribute) and part.attr not in _STEADY_METHODS
            if is_method or not isinstance(part.ctx, ast.Load):
                changing.add(part.value.id)
        elif isinstance(part, (ast.FunctionDef, ast.Lambda)) and part is not function:
            changing |= {argument.arg for argument in part.args.args}
    steady = [name for name in names if name not in changing]
    rows = (dict(zip(names, [*call, *defaults[len(call) - lowest :]], strict=True)) for call in calls)
    return [{name: row[name] for name in steady} for row in rows]


class _Deciding(Rewriter):
    def __init__(self, values: list[dict[str, Any]], bound: set[str]) -> None:
        self.values = values
        self.plain = frozenset(values[0]).intersection(*values) - bound
        self.bound = bound
        self.left = _MAX_EVALUATIONS

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, (ast.If, ast.While, ast.IfExp)):
            value = self._one_value(node.test)
            if value is not None:
                node.test = ast.Constant(bool(value[0]))
        if isinstance(node, (ast.Compare, ast.BoolOp, ast.BinOp, ast.Call)):
            value = self._one_value(node)
            if value is not None and (is_boolean(node) or type(value[0]) is int) and value[0] in (0, 1):
                return ast.Constant(value[0])
        return super().generic_visit(node)

    def _one_value(self, node: ast.expr) -> tuple[Any] | None:
        """The value of an expression on all calls; None where it has several or cannot be told."""
        if isinstance(node, ast.Constant) or not self._is_plain(node):
            return None
        code = compile(ast.fix_missing_locations(ast.Expression(node)), "condition", "eval")
        seen: list[Any] = []
        is_test = not isinstance(node, (ast.BinOp, ast.Call))
        for values in self.values:
            self.left -= 1
            try:
                value = eval(code, {"__builtins__": _BUILTINS}, values)
                value = bool(value) if is_test else value
            except Exception:
                return None
            if self.left < 0 or (seen and (type(value) is not type(seen[0]) or value != seen[0])):
                return None
            seen = [value]
        return (seen[0],)

    def _is_plain(self, node: ast.expr) -> bool:
        has_argument = False
        inside = nodes(node)
        if len(inside) > _MAX_NODES:
            return False
        for part in inside:
            if isinstance(part, ast.Name):
                has_argument |= part.id in self.plain
                if part.id not in self.plain and (part.id not in _FUNCTIONS | _TYPES or part.id in self.bound):
                    return False
            elif isinstance(part, ast.BinOp):
                is_text = isinstance(part.op, ast.Mult) and (is_sequence(part.left) or is_sequence(part.right))
                if not isinstance(part.op, _OPERATORS) or is_text:
                    return False
            elif isinstance(part, ast.Call):
                if part.keywords or not isinstance(part.func, ast.Name) or part.func.id not in _FUNCTIONS:
                    return False
            elif not isinstance(part, _PARTS):
                return False
        return has_argument
