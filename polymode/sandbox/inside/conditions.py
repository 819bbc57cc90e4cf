"""Comparisons and conditions in one form: turned the same way, without double negation, written in the positive."""

from __future__ import annotations

import ast
from itertools import pairwise
from typing import Any

from .arithmetic import computed
from .trees import dump, is_boolean, is_pure, nodes, shape

_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_NEGATIVE: dict[Any, type[ast.cmpop]] = {ast.NotEq: ast.Eq, ast.NotIn: ast.In, ast.IsNot: ast.Is, ast.LtE: ast.Lt}
"""Comparisons that are written by their opposite where two branches can change places."""
_OPPOSITE = _NEGATIVE | {positive: negative for negative, positive in _NEGATIVE.items()}

_MAX_NODES_TWICE = 5


def comparison(node: ast.Compare) -> ast.expr:
    """A comparison in its one form; ``a < b < c`` as ``a < b and b < c``."""
    operands = [node.left, *node.comparators]
    if len(node.ops) > 1:
        # What stands in the middle is written twice, so only what is short; nested, it would double again and again.
        if any(len(nodes(operand)) > _MAX_NODES_TWICE or not is_pure(operand) for operand in operands[1:-1]):
            return node
        pairs = zip(operands, node.ops, operands[1:], strict=False)
        return conjunction(ast.BoolOp(ast.And(), [comparison(ast.Compare(a, [op], [b])) for a, op, b in pairs]))
    op = node.ops[0]
    if isinstance(op, (ast.Gt, ast.GtE)):
        operands.reverse()
        op = _TURNED[type(op)]()
    left, right = operands
    if isinstance(op, (ast.Eq, ast.NotEq, ast.Is, ast.IsNot)):
        is_equal = isinstance(op, (ast.Eq, ast.Is))
        for value, other in ((left, right), (right, left)):
            if isinstance(value, ast.Constant) and isinstance(value.value, bool) and is_boolean(other):
                return other if value.value is is_equal else opposite(other) or ast.UnaryOp(ast.Not(), other)
            if isinstance(value, ast.Constant) and value.value is None:
                op = ast.Is() if is_equal else ast.IsNot()
        left, right = sorted((left, right), key=shape)
        if is_pure(left) and dump(left) == dump(right):
            return ast.Constant(is_equal)
    if isinstance(op, (ast.In, ast.NotIn)) and isinstance(right, (ast.List, ast.Set, ast.Tuple)):
        right = ast.Tuple(sorted(right.elts, key=shape), ast.Load())
    known = computed(op, left, right)
    return ast.Constant(bool(known.value)) if known is not None else ast.Compare(left, [op], [right])


def conjunction(node: ast.BoolOp) -> ast.expr:
    """``and`` or ``or``: one chain without constants and repeats, sorted where only truth matters."""
    is_and = isinstance(node.op, ast.And)
    values: list[ast.expr] = []
    for value in node.values:
        values += value.values if isinstance(value, ast.BoolOp) and type(value.op) is type(node.op) else [value]
    while len(values) > 1 and isinstance(values[0], ast.Constant) and bool(values[0].value) is is_and:
        del values[0]
    for i, value in enumerate(values):
        if isinstance(value, ast.Constant) and bool(value.value) is not is_and:
            del values[i + 1 :]  # what follows is never reached
            break
    repeats = {i for i, (a, b) in enumerate(pairwise(values)) if is_pure(a) and dump(a) == dump(b)}
    values = [value for i, value in enumerate(values) if i not in repeats]
    if all(map(is_boolean, values)):
        values = [v for v in values if not isinstance(v, ast.Constant) or v.value is not is_and] or values[:1]
        if all(map(is_pure, values)):
            constants = [value for value in values if isinstance(value, ast.Constant)]
            unique = {dump(value): value for value in values}
            values = [*constants[:1]] if constants else sorted(unique.values(), key=shape)
    node.values = values
    return node if len(values) > 1 else values[0]


def condition(test: ast.expr) -> ast.expr:
    """An expression of which only the truth is used."""
    if (
        isinstance(test, ast.Call)
        and isinstance(test.func, ast.Name)
        and test.func.id == "bool"
        and len(test.args) == 1
    ):
        return condition(test.args[0])
    if isinstance(test, ast.BoolOp):
        test.values = list(map(condition, test.values))
        if all(map(is_pure, test.values)):
            test.values.sort(key=shape)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test.operand = condition(test.operand)
        if isinstance(test.operand, ast.UnaryOp) and isinstance(test.operand.op, ast.Not):
            return test.operand.operand
    return test


def choice(node: ast.IfExp) -> ast.expr:
    """A conditional expression in its one form."""
    node.test = condition(node.test)
    if isinstance(node.test, ast.Constant):
        return node.body if node.test.value else node.orelse
    if dump(node.body) == dump(node.orelse) and is_pure(node.test):
        return node.body
    truths = [branch.value if isinstance(branch, ast.Constant) else None for branch in (node.body, node.orelse)]
    if is_boolean(node.test) and truths in ([True, False], [False, True]) and is_boolean(node.body):
        return node.test if node.body.value else negation(node.test)  # type: ignore[attr-defined]
    turned = positive(node.test)
    if turned is not None:
        node.test, node.body, node.orelse = turned, node.orelse, node.body
    return node


def negation(test: ast.expr) -> ast.expr:
    """``not test``, without ``not`` where that can be written."""
    return opposite(test) or ast.UnaryOp(ast.Not(), test)


def opposite(test: ast.expr) -> ast.expr | None:
    """``not test`` without ``not``, where that can be written."""
    if isinstance(test, ast.Constant):
        return ast.Constant(not test.value)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and is_boolean(test.operand):
        return test.operand
    if isinstance(test, ast.BoolOp):
        op = ast.Or() if isinstance(test.op, ast.And) else ast.And()
        return conjunction(ast.BoolOp(op, [negation(value) for value in test.values]))
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        op = type(test.ops[0])
        if op in (ast.Lt, ast.LtE):  # not a < b is b <= a
            return ast.Compare(test.comparators[0], [_OPPOSITE[op]()], [test.left])
        if op in _OPPOSITE:
            return ast.Compare(test.left, [_OPPOSITE[op]()], test.comparators)
    return None


def positive(test: ast.expr) -> ast.expr | None:
    """The opposite of a condition that is written in the negative; None where it is not."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in _NEGATIVE:
        return opposite(test)
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return opposite(test)
    return None
