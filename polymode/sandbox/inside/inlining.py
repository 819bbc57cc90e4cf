"""Functions that only pass a value on: a call of one is what it returns."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Container

from .trees import Rewriter, count_plain_reads, nodes

_MAX_NODES = 100
"""Longest expression that is written in place of a call."""


class Replacing(Rewriter):
    """Reads of names as the expressions that they stand for."""

    def __init__(self, values: dict[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The expression in place of a read of the name."""
        is_replaced = node.id in self.values and isinstance(node.ctx, ast.Load)
        return copy.deepcopy(self.values[node.id]) if is_replaced else node


def called(call: ast.Call, parameters: ast.arguments, body: ast.expr) -> ast.expr | None:
    """What a function of one expression returns for a call; None where that cannot be written in its place."""
    if parameters.vararg or parameters.kwarg or parameters.kwonlyargs or parameters.defaults:
        return None
    names = [parameter.arg for parameter in [*parameters.posonlyargs, *parameters.args]]
    values: dict[str, ast.expr] = dict(zip(names, call.args, strict=False))
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in values:
            return None
        values[keyword.arg] = keyword.value
    if len(call.args) > len(names) or set(values) != set(names):
        return None
    for name, value in values.items():
        if isinstance(value, ast.Starred):
            return None
        if not isinstance(value, (ast.Constant, ast.Name)) and count_plain_reads(body, name) != 1:
            return None
    return Replacing(values).visit(copy.deepcopy(body))


def inline(tree: ast.Module, keep: frozenset[str]) -> None:
    """Calls of the program's own functions that only return an expression, as that expression.

    Only functions of one name each, which is never set otherwise, and first those that call none of the others: so this
    ends, and what is short stays short.
    """
    every = nodes(tree)
    if not any(isinstance(node, ast.FunctionDef) and node.name not in keep for node in every):
        return
    names = Counter(node.id for node in every if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load))
    names.update(node.arg for node in every if isinstance(node, ast.arg))
    methods = {child for node in every if isinstance(node, ast.ClassDef) for child in node.body}
    functions: dict[str, tuple[ast.arguments, ast.expr]] = {}
    for node in every:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names[node.name] += 1
            if isinstance(node, ast.FunctionDef) and node not in methods and not node.decorator_list:
                value = _as_expression(node.body)
                if value is not None and _is_short(value):
                    functions[node.name] = node.args, value
    functions = {name: function for name, function in functions.items() if names[name] == 1 and name not in keep}
    leaves = {name: function for name, function in functions.items() if not _names_one_of(function[1], functions)}
    if leaves:
        _Inlining(leaves).visit(tree)


def _as_expression(body: list[ast.stmt]) -> ast.expr | None:
    """What a block returns, branches as conditional expressions; None where it does anything else."""
    first = body[0] if body else None
    if isinstance(first, ast.Return):
        return first.value
    if isinstance(first, ast.If) and not first.orelse:
        value, other = _as_expression(first.body), _as_expression(body[1:])
        return ast.IfExp(first.test, value, other) if value is not None and other is not None else None
    return None


def _is_short(value: ast.expr) -> bool:
    inside = nodes(value)
    return len(inside) <= _MAX_NODES and not any(isinstance(part, (ast.Yield, ast.Await)) for part in inside)


def _names_one_of(value: ast.expr, names: Container[str]) -> bool:
    return any(isinstance(part, ast.Name) and part.id in names for part in nodes(value))


class _Inlining(Rewriter):
    def __init__(self, functions: dict[str, tuple[ast.arguments, ast.expr]]) -> None:
        self.functions = functions

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        function = self.functions.get(node.func.id) if isinstance(node.func, ast.Name) else None
        return (called(node, *function) or node) if function else node
