"""Expressions in one form: what is written differently and computes the same in the same way.

Constants are folded, operands of commutative operators sorted, comparisons turned the same way, neutral elements and
double negations dropped, a list that is only consumed becomes the generator it came from. Numbers are taken for
numbers: ``a + b`` is ``b + a`` unless one of them is visibly a text or a list.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, TypeGuard

_PURE_NAMES = """
abs all any ascii bin bool bytes chr complex dict divmod enumerate float format frozenset hash hex int isinstance
issubclass len list max min oct ord pow range repr reversed round set slice sorted str sum tuple type zip
"""
PURE = frozenset(_PURE_NAMES.split())
"""Built-in functions that change nothing."""
_CONSUMERS = frozenset({"all", "any", "dict", "frozenset", "list", "max", "min", "set", "sorted", "sum", "tuple"})
"""Functions for which it does not matter whether their only argument is a list or an iterator."""
_IDEMPOTENT = frozenset({"abs", "bool", "float", "int", "list", "set", "sorted", "str", "tuple"})
_SEQUENCE_MAKERS = frozenset({"bytes", "list", "repr", "sorted", "str", "tuple", "chr", "input"})
_TEXT_METHODS = frozenset({"join", "lower", "upper", "replace", "strip", "format", "title", "zfill", "split"})
_EMPTY = {"dict": "{}", "list": "[]", "str": "''", "tuple": "()", "int": "0"}
_COMMUTATIVE = (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr, ast.BitXor)
_NEUTRAL: dict[type[ast.operator], int] = {ast.Add: 0, ast.Mult: 1, ast.BitOr: 0, ast.BitXor: 0}
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
_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_NEGATIVE: dict[Any, type[ast.cmpop]] = {ast.NotEq: ast.Eq, ast.NotIn: ast.In, ast.IsNot: ast.Is, ast.LtE: ast.Lt}
"""Comparisons that are written by their opposite where two branches can change places."""
_OPPOSITE = _NEGATIVE | {positive: negative for negative, positive in _NEGATIVE.items()}
_MAX_TEXT = 1000
_MAX_NUMBER = 2**200


def fold(tree: ast.AST) -> None:
    """Fold every expression of a tree in place, from the leaves up."""
    _Folding().visit(tree)


class _Folding(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        left, op, right = node.left, node.op, node.right
        if isinstance(op, (ast.Add, ast.Sub)):
            return self._sum(node)
        if isinstance(op, _COMMUTATIVE):
            return self._commuted(node)
        number = _number(right)
        if isinstance(op, ast.Pow) and isinstance(number, int):
            if number == 1:
                return left
            if number % 2 == 0:
                node.left = self._without_sign(left)
        return _computed(op, left, right) or node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        op, value = node.op, node.operand
        if isinstance(op, ast.UAdd):
            return value
        if isinstance(op, ast.USub):
            return self._sum(node)
        if isinstance(op, ast.Not):
            if isinstance(value, ast.Constant):
                return ast.Constant(not value.value)
            return opposite(value) or node
        if isinstance(value, ast.UnaryOp) and type(value.op) is type(op):  # --x, ~~x
            return value.operand
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        operands = [node.left, *node.comparators]
        if all(isinstance(op, (ast.Gt, ast.GtE)) for op in node.ops):
            operands.reverse()
            node.ops = [_TURNED[type(op)]() for op in reversed(node.ops)]
        if len(node.ops) == 1:
            both = [operand.value for operand in operands if isinstance(operand, ast.Constant)]
            compare = _COMPUTED.get(type(node.ops[0]))
            if len(both) == 2 and compare is not None:
                try:
                    return ast.Constant(bool(compare(*both)))
                except TypeError:
                    return node
            if isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
                operands.sort(key=shape)
        node.left, *node.comparators = operands
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        is_and = isinstance(node.op, ast.And)
        values: list[ast.expr] = []
        for value in node.values:
            values += value.values if isinstance(value, ast.BoolOp) and type(value.op) is type(node.op) else [value]
        while len(values) > 1 and isinstance(values[0], ast.Constant) and bool(values[0].value) is is_and:
            del values[0]
        if isinstance(values[0], ast.Constant) and bool(values[0].value) is not is_and:
            return values[0]
        node.values = values
        return node if len(values) > 1 else values[0]

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        if ast.dump(node.body) == ast.dump(node.orelse) and is_pure(node.test):
            return node.body
        turned = positive(node.test)
        if turned is not None:
            node.test, node.body, node.orelse = turned, node.orelse, node.body
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        self.generic_visit(node)
        parts: list[ast.expr] = []
        for value in node.values:
            if isinstance(value, ast.FormattedValue) and value.format_spec is None and value.conversion in (-1, 115):
                inner = value.value
                if isinstance(inner, ast.Constant) and isinstance(inner.value, (str, int)):
                    value = ast.Constant(str(inner.value))
            if parts and isinstance(value, ast.Constant) and isinstance(parts[-1], ast.Constant):
                value = ast.Constant(f"{parts.pop().value}{value.value}")  # type: ignore[attr-defined]
            parts.append(value)
        if all(isinstance(part, ast.Constant) for part in parts):
            return parts[0] if parts else ast.Constant("")
        node.values = parts
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        items, index = node.value, node.slice
        if not (isinstance(items, (ast.List, ast.Tuple)) and isinstance(index, ast.Constant)):
            return node
        i = index.value
        is_inside = isinstance(i, int) and -len(items.elts) <= i < len(items.elts) and all(map(is_pure, items.elts))
        return items.elts[i] if is_inside else node  # type: ignore[index]

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        is_bare = not node.args and not node.keywords
        if isinstance(node.func, ast.Lambda) and is_bare and not any(ast.iter_child_nodes(node.func.args)):
            return node.func.body
        if node.keywords:
            node.keywords.sort(key=lambda keyword: keyword.arg or "")
        is_join = isinstance(node.func, ast.Attribute) and node.func.attr == "join"
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        operation = _operation(node, name)
        if operation is not None:
            return self.visit_BinOp(operation)
        if name == "abs" and len(node.args) == 1:
            node.args = [self._without_sign(node.args[0])]
        if is_bare and name in _EMPTY:
            return ast.parse(_EMPTY[name], mode="eval").body
        if name == "range":
            _shorten_range(node)
        if len(node.args) == 1 and (name in _CONSUMERS or is_join):
            return self._consuming(node, name)
        if len(node.args) == 1 and not node.keywords and _is_call_of(node.args[0], name) and name in _IDEMPOTENT:
            return node.args[0]
        return node

    def _consuming(self, node: ast.Call, name: str) -> ast.expr:
        argument = node.args[0]
        if name not in ("dict", "") and not node.keywords and _is_call_of(argument, "list", "tuple", "iter"):
            argument = argument.args[0]
        if isinstance(argument, ast.ListComp):
            argument = ast.GeneratorExp(argument.elt, argument.generators)
        node.args = [argument]
        if isinstance(argument, ast.GeneratorExp) and name in ("list", "set"):
            return (ast.ListComp if name == "list" else ast.SetComp)(argument.elt, argument.generators)
        if not node.keywords and name in _IDEMPOTENT and _is_call_of(argument, name):
            return argument
        return node

    def _sum(self, node: ast.expr) -> ast.expr:
        """One chain of + and -: what is added in order of its shape, what is subtracted, then one constant."""
        operands = list(_signed_operands(node, True))
        if any(_is_sequence(operand) for operand, _ in operands):
            if not isinstance(node, ast.BinOp):
                return node
            return _computed(node.op, node.left, node.right) or node
        total: Any = 0
        rest: dict[bool, list[ast.expr]] = {True: [], False: []}
        for operand, is_added in operands:
            number = _number(operand)
            if number is not None and abs(number) <= _MAX_NUMBER:
                total = total + number if is_added else total - number
            else:
                rest[is_added].append(operand)
        added, subtracted = (sorted(rest[is_added], key=shape) for is_added in (True, False))
        constant = ast.Constant(total)
        if not added and (total or isinstance(total, float) or not subtracted):
            added, total = [constant], 0
        result = _chain(ast.Add, added) if added else ast.UnaryOp(ast.USub(), subtracted.pop(0))
        result = _chain(ast.Sub, [result, *subtracted])
        return result if isinstance(total, int) and total == 0 else ast.BinOp(result, ast.Add(), constant)

    def _without_sign(self, node: ast.expr) -> ast.expr:
        """Of a value and its negative, of which only the size matters, the one that is written first."""
        if not isinstance(node, (ast.BinOp, ast.UnaryOp)):
            return node
        return min(node, self._sum(ast.UnaryOp(ast.USub(), node)), key=shape)

    def _commuted(self, node: ast.BinOp) -> ast.expr:
        """One chain of the operator: operands that are no constants in order of their shape, then one constant."""
        op = type(node.op)
        operands = list(_operands(node, op))
        is_negative = False
        if op is ast.Mult:
            for i, operand in enumerate(operands):
                if isinstance(operand, ast.UnaryOp) and isinstance(operand.op, ast.USub):
                    operands[i], is_negative = operand.operand, not is_negative
        numbers = [operand for operand in operands if _number(operand) is not None]
        rest = sorted((operand for operand in operands if _number(operand) is None), key=shape)
        if op is ast.Mult and any(map(_is_sequence, rest)):
            return _chain(op, [*rest, *numbers])
        total: ast.expr | None = None
        for number in numbers:
            total = number if total is None else _computed(op(), total, number) or total
        if op is ast.Mult and total is not None and _number(total) < 0:
            total, is_negative = ast.Constant(-_number(total)), not is_negative
        neutral = isinstance(total, ast.Constant) and isinstance(total.value, int) and total.value == _NEUTRAL.get(op)
        result = _chain(op, rest if total is None or (rest and neutral) else [*rest, total])
        return self._sum(ast.UnaryOp(ast.USub(), result)) if is_negative else result


def nodes(tree: ast.AST) -> list[ast.AST]:
    """The nodes of a tree without operators and contexts; `ast.walk`, half as fast, would take most of the time."""
    out = [tree]
    for node in out:
        for name in _FIELDS[type(node)]:
            value = getattr(node, name, None)
            if type(value) is list:
                out += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                out.append(value)
    return out


class _Fields(dict[type[ast.AST], list[str]]):
    """Fields of a class of nodes that can hold further nodes."""

    def __missing__(self, kind: type[ast.AST]) -> list[str]:
        plain = {"ctx", "op", "ops", "id", "attr", "arg", "kind", "type_comment", "lineno", "level", "names", "name"}
        self[kind] = [] if kind is ast.Constant else [name for name in kind._fields if name not in plain]
        if kind in (ast.Import, ast.ImportFrom):
            self[kind] = ["names"]
        return self[kind]


_FIELDS = _Fields()


def is_pure(node: ast.AST) -> bool:
    """Whether evaluating an expression changes nothing; in a right program it does not raise either."""
    for part in nodes(node):
        if isinstance(part, (ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)):
            return False
        if isinstance(part, ast.Call):
            is_builtin = isinstance(part.func, ast.Name) and part.func.id in PURE
            is_method = isinstance(part.func, ast.Attribute) and isinstance(part.func.value, ast.Constant)
            if not (is_builtin or is_method):
                return False
    return True


def opposite(test: ast.expr) -> ast.expr | None:
    """``not test`` without ``not``, where that can be written."""
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
    return None


def shape(node: ast.AST) -> str:
    """A text of a node without its variable names, to sort by; names that were numbered already count."""
    if isinstance(node, ast.Name):
        return node.id if node.id.startswith("_") and node.id[1:].isdigit() else "name"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Constant):
        return repr(node.value)
    parts: list[str] = []
    for name in node._fields:
        value = getattr(node, name, None)
        parts += [shape(item) for item in value] if isinstance(value, list) else [shape(value)]  # type: ignore[arg-type]
    return f"{type(node).__name__}({','.join(parts)})"


def _operands(node: ast.expr, op: type[ast.operator]) -> Iterable[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, op):
        yield from _operands(node.left, op)
        yield from _operands(node.right, op)
    else:
        yield node


def _signed_operands(node: ast.expr, is_added: bool) -> Iterable[tuple[ast.expr, bool]]:
    """What a chain of + and - adds, and what it subtracts."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield from _signed_operands(node.left, is_added)
        yield from _signed_operands(node.right, is_added is isinstance(node.op, ast.Add))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        yield from _signed_operands(node.operand, is_added is isinstance(node.op, ast.UAdd))
    else:
        yield node, is_added


def _operation(node: ast.Call, name: str) -> ast.BinOp | None:
    """``pow(a, b)``, ``operator.add(a, b)`` and ``a.__add__(b)`` as the operator that they are."""
    if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
        return None
    if len(node.args) == 2 and (name == "pow" or name.startswith("operator.")):
        op = _OPERATORS.get(name.removeprefix("operator.").strip("_"))
        return ast.BinOp(node.args[0], op(), node.args[1]) if op else None
    if len(node.args) == 1 and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("__"):
        name, value = node.func.attr.strip("_"), node.func.value
        swapped = name[:1] == "r" and name[1:] in _OPERATORS
        op = _OPERATORS.get(name[1:] if swapped else name)
        return ast.BinOp(*((node.args[0], op(), value) if swapped else (value, op(), node.args[0]))) if op else None
    return None


def _chain(op: type[ast.operator], operands: list[ast.expr]) -> ast.expr:
    return reduce(lambda left, right: ast.BinOp(left, op(), right), operands)


def _computed(op: ast.operator, left: ast.expr, right: ast.expr) -> ast.Constant | None:
    """The value of an operation on two constants, unless it is large, raises, or is of no plain kind."""
    compute = _COMPUTED.get(type(op))
    if compute is None or not isinstance(left, ast.Constant) or not isinstance(right, ast.Constant):
        return None
    values: list[Any] = [left.value, right.value]
    if any(isinstance(value, (str, bytes)) for value in values):
        if not isinstance(op, ast.Add):
            return None
    elif _number(left) is None or _number(right) is None or any(abs(value) > _MAX_NUMBER for value in values):
        return None
    try:
        value = compute(*values)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return None if isinstance(value, (str, bytes)) and len(value) > _MAX_TEXT else ast.Constant(value)


def _number(node: ast.expr) -> Any:
    """The value of a constant that is a number, else None; True and False are none."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _is_sequence(node: ast.expr) -> bool:
    """Whether the value is visibly a text, a list or a tuple."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (str, bytes))
    if isinstance(node, ast.Call):
        func = node.func
        name = func.id if isinstance(func, ast.Name) else ""
        return name in _SEQUENCE_MAKERS or (isinstance(func, ast.Attribute) and func.attr in _TEXT_METHODS)
    if isinstance(node, ast.BinOp):
        return _is_sequence(node.left) or _is_sequence(node.right)
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Slice)
    return isinstance(node, (ast.JoinedStr, ast.List, ast.ListComp, ast.Tuple))


def _is_call_of(node: ast.expr, *names: str) -> TypeGuard[ast.Call]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names):
        return False
    return len(node.args) == 1 and not node.keywords and not isinstance(node.args[0], ast.Starred)


def _shorten_range(node: ast.Call) -> None:
    """``range(0, n, 1)`` as ``range(n)``."""
    args = node.args
    if len(args) == 3 and _number(args[2]) == 1:
        del args[2]
    if len(args) == 2 and _number(args[0]) == 0:
        del args[0]
