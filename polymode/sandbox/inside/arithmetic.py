"""Sums, products and other operators in one form; whatever has constants alone is computed."""

from __future__ import annotations

import ast
import operator
from collections import Counter
from collections.abc import Callable, Container, Iterable
from functools import reduce
from typing import Any, TypeGuard

from .trees import dump, is_pure, is_sequence, number, shape

_NEUTRAL: dict[type[ast.operator], int] = {ast.Mult: 1, ast.BitOr: 0, ast.BitXor: 0, ast.BitAnd: -1}
_NEUTRAL_RIGHT: dict[type[ast.operator], int] = {ast.FloorDiv: 1, ast.Pow: 1, ast.LShift: 0, ast.RShift: 0}
_COMPUTED: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv},
    **{ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod},
    **{ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor},
    **{ast.Eq: operator.eq, ast.NotEq: operator.ne},
    **{ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge},
}
_OPERATORS: dict[str, type[ast.operator]] = {
    **{"add": ast.Add, "sub": ast.Sub, "mul": ast.Mult, "truediv": ast.Div, "floordiv": ast.FloorDiv},
    **{"mod": ast.Mod, "pow": ast.Pow, "and": ast.BitAnd, "or": ast.BitOr, "xor": ast.BitXor},
    **{"lshift": ast.LShift, "rshift": ast.RShift},
}
"""Operators by the name of the function or method that does the same."""
_MAX_TEXT = 1000
_MAX_NUMBER = 2**200
_MAX_EXPONENT = 64


def is_chained(node: ast.expr, outer: ast.operator) -> TypeGuard[ast.BinOp]:
    """Whether an operand belongs to the same chain as the operator around it."""
    if not isinstance(node, ast.BinOp):
        return False
    if isinstance(outer, (ast.Add, ast.Sub)):
        return isinstance(node.op, (ast.Add, ast.Sub))
    return type(outer) in _NEUTRAL and type(node.op) is type(outer)


def operation(node: ast.BinOp, sequences: Container[str] = ()) -> ast.expr:
    """A binary operation in its one form; ``sequences`` are variables whose sums have an order."""
    node.left, node.right = _as_number(node.left), _as_number(node.right)
    left, op, right = node.left, node.op, node.right
    if isinstance(op, (ast.Add, ast.Sub)):
        return total(node, sequences)
    if type(op) in _NEUTRAL:
        return _commuted(node, sequences)
    value = number(right)
    if isinstance(value, int) and value == _NEUTRAL_RIGHT.get(type(op)):
        return left
    if isinstance(op, ast.Pow) and isinstance(value, int) and value % 2 == 0:
        node.left = without_sign(left, sequences)
    return computed(op, left, right) or node


def total(node: ast.expr, sequences: Container[str] = ()) -> ast.expr:
    """One chain of + and -: what is added in order of its shape, what is subtracted, then one constant."""
    operands = list(_signed_operands(node, True))
    if any(is_sequence(operand, sequences) for operand, _ in operands):
        return _joined([operand for operand, _ in operands]) if all(is_added for _, is_added in operands) else node
    constant: Any = 0
    added: list[ast.expr] = []
    subtracted: list[ast.expr] = []
    for operand, is_added in operands:
        value = number(_as_number(operand))
        if value is not None and abs(value) <= _MAX_NUMBER:
            constant = constant + value if is_added else constant - value
        else:
            (added if is_added else subtracted).append(operand)
    if added and subtracted:
        _cancel(added, subtracted)
    added.sort(key=shape)
    subtracted.sort(key=shape)
    last = ast.Constant(constant)
    if not added and (constant or isinstance(constant, float) or not subtracted):
        return _chain(ast.Sub, [last, *subtracted])
    first = _chain(ast.Add, added) if added else ast.UnaryOp(ast.USub(), subtracted.pop(0))
    result = _chain(ast.Sub, [first, *subtracted])
    return result if isinstance(constant, int) and constant == 0 else ast.BinOp(result, ast.Add(), last)


def without_sign(node: ast.expr, sequences: Container[str] = ()) -> ast.expr:
    """Of a value and its negative, of which only the size matters, the one that comes first."""
    if not isinstance(node, (ast.BinOp, ast.UnaryOp)):
        return node
    return min(node, total(ast.UnaryOp(ast.USub(), node), sequences), key=shape)


def named_operation(node: ast.Call, name: str) -> ast.BinOp | None:
    """``pow(a, b)``, ``operator.add(a, b)`` and ``a.__add__(b)`` as the operator that they are."""
    if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
        return None
    if len(node.args) == 2 and (name == "pow" or name.startswith("import operator.")):
        op = _OPERATORS.get(name.removeprefix("import operator.").strip("_"))
        return ast.BinOp(node.args[0], op(), node.args[1]) if op else None
    if len(node.args) == 1 and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("__"):
        name, value = node.func.attr.strip("_"), node.func.value
        is_swapped = name[:1] == "r" and name[1:] in _OPERATORS
        op = _OPERATORS.get(name[1:] if is_swapped else name)
        return ast.BinOp(*((node.args[0], op(), value) if is_swapped else (value, op(), node.args[0]))) if op else None
    return None


def computed(op: ast.AST, left: ast.expr, right: ast.expr) -> ast.Constant | None:
    """The value of an operation on two constants, unless it is large, raises, or is of no plain kind."""
    if not isinstance(left, ast.Constant) or not isinstance(right, ast.Constant):
        return None
    values: list[Any] = [left.value, right.value]
    compute = _COMPUTED.get(type(op))
    is_small = all(isinstance(value, int) and abs(value) <= 2**64 for value in values)
    if isinstance(op, (ast.Pow, ast.LShift, ast.RShift)) and is_small and 0 <= values[1] <= _MAX_EXPONENT:
        compute = {ast.Pow: operator.pow, ast.LShift: operator.lshift}.get(type(op), operator.rshift)
    if compute is None:
        return None
    if isinstance(op, ast.operator):
        if any(isinstance(value, (str, bytes)) for value in values):
            if not isinstance(op, ast.Add):
                return None
        elif number(left) is None or number(right) is None or any(abs(value) > _MAX_NUMBER for value in values):
            return None
    try:
        value = compute(*values)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return None if isinstance(value, (str, bytes)) and len(value) > _MAX_TEXT else ast.Constant(value)


def _commuted(node: ast.BinOp, sequences: Container[str]) -> ast.expr:
    """One chain of the operator: operands that are no constants in order of their shape, then one constant."""
    op = type(node.op)
    operands = list(map(_as_number, _operands(node, op)))
    is_negative = False
    if op is ast.Mult:
        for i, operand in enumerate(operands):
            if isinstance(operand, ast.UnaryOp) and isinstance(operand.op, ast.USub):
                operands[i], is_negative = operand.operand, not is_negative
    numbers = [operand for operand in operands if number(operand) is not None]
    rest = sorted((operand for operand in operands if number(operand) is None), key=shape)
    if op is ast.Mult and any(is_sequence(operand, sequences) for operand in rest):
        return _chain(op, [*rest, *numbers])
    constant: ast.expr | None = None
    for one in numbers:
        constant = one if constant is None else computed(op(), constant, one) or constant
    value = None if constant is None else number(constant)
    if op is ast.Mult and value is not None:
        if value == 0 and isinstance(value, int) and all(map(is_pure, rest)):
            return ast.Constant(0)
        if value < 0:
            constant, value, is_negative = ast.Constant(-value), -value, not is_negative
    is_neutral = isinstance(value, int) and value == _NEUTRAL[op]
    result = _chain(op, rest if constant is None or (rest and is_neutral) else [*rest, constant])
    return total(ast.UnaryOp(ast.USub(), result), sequences) if is_negative else result


def _joined(operands: list[ast.expr]) -> ast.expr:
    """Texts and lists added in their order, neighbouring constants put together."""
    out = operands[:1]
    for operand in operands[1:]:
        both = computed(ast.Add(), out[-1], operand)
        if both is not None:
            out[-1] = both
        else:
            out.append(operand)
    return _chain(ast.Add, out)


def _cancel(added: list[ast.expr], subtracted: list[ast.expr]) -> None:
    """Leave out what is added and subtracted again."""
    texts = {id(one): dump(one) for one in [*added, *subtracted] if is_pure(one)}
    both = Counter(texts.get(id(one)) for one in added) & Counter(texts.get(id(one)) for one in subtracted)
    del both[None]
    if both:
        for operands in (added, subtracted):
            left = both.copy()
            for one in list(operands):
                text = texts.get(id(one))
                if left[text] > 0:
                    left[text] -= 1
                    operands.remove(one)


def _signed_operands(node: ast.expr, is_added: bool) -> Iterable[tuple[ast.expr, bool]]:
    """What a chain of + and - adds, and what it subtracts."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield from _signed_operands(node.left, is_added)
        yield from _signed_operands(node.right, is_added is isinstance(node.op, ast.Add))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        yield from _signed_operands(node.operand, is_added is isinstance(node.op, ast.UAdd))
    else:
        yield node, is_added


def _operands(node: ast.expr, op: type[ast.operator]) -> Iterable[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, op):
        yield from _operands(node.left, op)
        yield from _operands(node.right, op)
    else:
        yield node


def _chain(op: type[ast.operator], operands: list[ast.expr]) -> ast.expr:
    return reduce(lambda left, right: ast.BinOp(left, op(), right), operands)


def _as_number(node: ast.expr) -> ast.expr:
    """True and False beside an operator are 1 and 0."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return ast.Constant(int(node.value))
    return node
