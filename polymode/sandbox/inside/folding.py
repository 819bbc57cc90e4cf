"""Expressions in one form: what is written differently and computes the same in the same way.

Numbers are taken for numbers: ``a + b`` is ``b + a`` unless one of them is visibly a text or a list.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Container
from typing import Any

from .arithmetic import is_chained, named_operation, operation, total, without_sign
from .assignments import single_target
from .conditions import choice, comparison, condition, conjunction, negation
from .inlining import called
from .trees import Rewriter, dump, is_boolean, is_call_of, is_pure, is_sequence, nodes, number, shape

_CONSUMERS = frozenset({"all", "any", "dict", "frozenset", "list", "max", "min", "set", "sorted", "sum", "tuple"})
"""Functions for which it does not matter whether their only argument is a list or an iterator."""
_IDEMPOTENT = frozenset({"abs", "bool", "float", "int", "list", "set", "sorted", "str", "tuple"})
_EMPTY = {"dict": "{}", "list": "[]", "str": "''", "tuple": "()", "int": "0"}
_DEFAULTS: dict[str, Any] = {"sum": 0, "enumerate": 0}
"""Functions whose second argument has this default."""
_OF_CONSTANTS: dict[str, Callable[..., Any]] = {
    one.__name__: one for one in (abs, bool, chr, float, int, len, max, min, ord, round, str)
}
_METHODS = {
    kind.__name__: {name for name, value in vars(kind).items() if not isinstance(value, (classmethod, staticmethod))}
    for kind in (str, int, float, list, dict, set, tuple, frozenset)
}
"""Methods of built-in types that take the object first."""
_MAX_TEXT = 1000


def fold(tree: ast.AST) -> None:
    """Fold every expression of a tree in place, from the leaves up."""
    names = ((single_target(node), node) for node in nodes(tree))
    sequences = {name for name, node in names if name is not None and is_sequence(node.value)}  # type: ignore[attr-defined]
    _Folding(sequences).visit(tree)


class _Folding(Rewriter):
    def __init__(self, sequences: Container[str]) -> None:
        self.sequences = sequences

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        chain: list[ast.BinOp] = [node]  # a long sum is put in order once, not once for each of its operands
        while chain:
            inner = chain.pop()
            for side in ("left", "right"):
                operand: ast.expr = getattr(inner, side)
                if is_chained(operand, inner.op):
                    chain.append(operand)
                else:
                    setattr(inner, side, self.visit(operand))
        return operation(node, self.sequences)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        op, value = node.op, node.operand
        if isinstance(op, ast.UAdd):
            return value
        if isinstance(op, ast.USub):
            return total(node, self.sequences)
        if isinstance(op, ast.Not):
            return negation(value)
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Invert):
            return value.operand
        return ast.Constant(~number(value)) if isinstance(number(value), int) else node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        return comparison(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        return conjunction(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        return choice(node)

    def visit_If(self, node: ast.If | ast.While) -> ast.AST:
        self.generic_visit(node)
        node.test = condition(node.test)
        return node

    visit_While = visit_If

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node, ast.GeneratorExp) or not _is_identity(node):
            return node
        name = "list" if isinstance(node, ast.ListComp) else "set"
        return ast.Call(ast.Name(name, ast.Load()), [node.generators[0].iter], [])

    visit_SetComp = visit_ListComp

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.ifs = [test for test in map(condition, node.ifs) if not (isinstance(test, ast.Constant) and test.value)]
        if isinstance(node.iter, (ast.List, ast.Set)):
            node.iter = ast.Tuple(node.iter.elts, ast.Load())
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.iter, ast.List):
            node.iter = ast.Tuple(node.iter.elts, ast.Load())
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
        node.values = parts
        if len(parts) > 1:
            return node
        only = parts[0] if parts else ast.Constant("")
        if isinstance(only, ast.FormattedValue):
            is_plain = only.format_spec is None and only.conversion in (-1, 115)
            return ast.Call(ast.Name("str", ast.Load()), [only.value], []) if is_plain else node
        return only

    def visit_Slice(self, node: ast.Slice) -> ast.AST:
        self.generic_visit(node)
        if node.lower is not None and number(node.lower) == 0 and (node.step is None or (number(node.step) or -1) > 0):
            node.lower = None
        if node.step is not None and number(node.step) == 1:
            node.step = None
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        items, index = node.value, node.slice
        if not isinstance(index, ast.Constant):
            return node
        if isinstance(items, ast.Dict) and all(isinstance(key, ast.Constant) for key in items.keys):
            table = {key.value: value for key, value in zip(items.keys, items.values, strict=True)}  # type: ignore[union-attr]
            return table[index.value] if index.value in table and all(map(is_pure, items.values)) else node
        if not isinstance(items, (ast.List, ast.Tuple)) or any(isinstance(one, ast.Starred) for one in items.elts):
            return node
        i = index.value
        is_inside = isinstance(i, int) and -len(items.elts) <= i < len(items.elts) and all(map(is_pure, items.elts))
        return items.elts[i] if is_inside else node  # type: ignore[index]

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        is_bare = not node.args and not node.keywords
        if isinstance(node.func, ast.Lambda) and (value := called(node, node.func.args, node.func.body)) is not None:
            return value
        node.keywords.sort(key=lambda keyword: keyword.arg or "")
        is_join = isinstance(node.func, ast.Attribute) and node.func.attr == "join"
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        methods = _METHODS.get(owner.id, ()) if isinstance(owner, ast.Name) else ()
        is_plain = bool(node.args) and not isinstance(node.args[0], ast.Starred)
        if isinstance(node.func, ast.Attribute) and node.func.attr in methods and is_plain:  # str.upper(s)
            node.func = ast.Attribute(node.args.pop(0), node.func.attr, ast.Load())
        named = named_operation(node, name)
        if named is not None:
            return operation(named, self.sequences)
        if is_bare and name in _EMPTY:
            return ast.parse(_EMPTY[name], mode="eval").body
        if node.args and not node.keywords and all(isinstance(one, ast.Constant) for one in node.args):
            return _of_constants(node, name)
        if len(node.args) == 2 and not node.keywords and number(node.args[1]) == _DEFAULTS.get(name, ""):
            del node.args[1]
        if name == "sorted":
            values = ((keyword, keyword.value) for keyword in node.keywords)
            node.keywords = [keyword for keyword, value in values if not isinstance(value, ast.Constant) or value.value]
        if name == "range":
            _shorten_range(node)
        if name in ("max", "min") and not node.keywords:
            return _extreme(node)
        if len(node.args) == 1 and (name in _CONSUMERS or is_join):
            return self._consuming(node, name)
        if is_call_of(node, "bool") and is_boolean(node.args[0]):
            return node.args[0]
        if is_call_of(node, "abs"):
            node.args = [without_sign(node.args[0], self.sequences)]
        if is_call_of(node, *_IDEMPOTENT) and is_call_of(node.args[0], name):
            return node.args[0]
        return node

    def _consuming(self, node: ast.Call, name: str) -> ast.expr:
        argument = node.args[0]
        if name != "dict" and not node.keywords and is_call_of(argument, "list", "tuple", "iter"):
            argument = argument.args[0]
        if isinstance(argument, ast.ListComp):
            argument = ast.GeneratorExp(argument.elt, argument.generators)
        if isinstance(argument, ast.List) and name:
            argument = ast.Tuple(argument.elts, ast.Load())
        if isinstance(argument, ast.GeneratorExp) and name != "dict" and _is_identity(argument):
            argument = argument.generators[0].iter
        node.args = [argument]
        if isinstance(argument, ast.GeneratorExp) and name in ("list", "set"):
            return (ast.ListComp if name == "list" else ast.SetComp)(argument.elt, argument.generators)
        if not node.keywords and name in _IDEMPOTENT and is_call_of(argument, name):
            return argument
        if name == "sum" and not node.keywords and isinstance(argument, ast.Tuple) and len(argument.elts) == 1:
            return argument.elts[0]
        return node


def _is_identity(node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> bool:
    """``x for x in xs``."""
    [only, *others] = node.generators
    if others or only.ifs or only.is_async or not isinstance(only.target, ast.Name):
        return False
    return isinstance(node.elt, ast.Name) and node.elt.id == only.target.id


def _of_constants(node: ast.Call, name: str) -> ast.expr:
    """The value of a plain function of constants; the call where there is none."""
    values: list[Any] = [one.value for one in node.args]  # type: ignore[attr-defined]
    if name not in _OF_CONSTANTS or any(isinstance(one, int) and abs(one) > 2**64 for one in values):
        return node
    try:
        value = _OF_CONSTANTS[name](*values)
    except (ArithmeticError, TypeError, ValueError):
        return node
    return node if isinstance(value, str) and len(value) > _MAX_TEXT else ast.Constant(value)


def _extreme(node: ast.Call) -> ast.expr:
    """``max`` and ``min`` of single values, each once and in order; of a list as of its items."""
    if len(node.args) == 1:
        only = node.args[0]
        if not isinstance(only, (ast.List, ast.Tuple)) or not only.elts:
            if is_call_of(only, "list", "tuple", "set", "sorted", "iter"):
                only = only.args[0]
            is_list = isinstance(only, (ast.ListComp, ast.SetComp))
            node.args = [ast.GeneratorExp(only.elt, only.generators) if is_list else only]  # type: ignore[attr-defined]
            return node
        node.args = list(only.elts)
    if not all(map(is_pure, node.args)) or any(isinstance(one, ast.Starred) for one in node.args):
        return node
    node.args = sorted({dump(one): one for one in node.args}.values(), key=shape)
    return node if len(node.args) > 1 else node.args[0]


def _shorten_range(node: ast.Call) -> None:
    """``range(0, n, 1)`` as ``range(n)``."""
    args = node.args
    if len(args) == 3 and number(args[2]) == 1:
        del args[2]
    if len(args) == 2 and number(args[0]) == 0:
        del args[0]
