"""What the normal form of programs asks of a piece of a syntax tree: its nodes, its order, whether it does anything."""

from __future__ import annotations

import ast
from collections.abc import Callable, Container
from typing import Any, ClassVar, TypeGuard

_PURE_NAMES = """
abs all any ascii bin bool bytes chr complex dict divmod enumerate float format frozenset hash hex int isinstance
issubclass len list max min oct ord pow range repr reversed round set slice sorted str sum tuple type zip
"""
PURE = frozenset(_PURE_NAMES.split())
"""Built-in functions that change nothing."""
_PURE_MODULES = tuple(
    f"import {name}." for name in ("math", "cmath", "operator", "statistics", "string", "fractions", "re")
)
"""Modules whose functions change nothing, as `normal` writes imported names."""
_SEQUENCE_MAKERS = frozenset({"bytes", "list", "repr", "sorted", "str", "tuple", "chr", "input"})
_TEXT_METHODS = frozenset({"join", "lower", "upper", "replace", "strip", "format", "title", "zfill", "split"})
_BOOLEAN_FUNCTIONS = frozenset({"all", "any", "bool", "isinstance", "issubclass"})
_DELAYED = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr)


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


class Walker:
    """What `ast.NodeVisitor` does, twice as fast: without operators and contexts, methods looked up once a class."""

    _methods: ClassVar[dict[type[ast.AST], Callable[..., Any]]]

    def __init_subclass__(cls) -> None:
        cls._methods = {}

    def visit(self, node: ast.AST) -> Any:
        """Call ``visit_NAME`` of the node's class, or `generic_visit`."""
        kind = type(node)
        method = self._methods.get(kind)
        if method is None:
            method = self._methods[kind] = getattr(type(self), f"visit_{kind.__name__}", type(self).generic_visit)
        return method(self, node)

    def generic_visit(self, node: ast.AST) -> Any:
        """Visit what the node holds."""
        for name in _FIELDS[type(node)]:
            value = getattr(node, name, None)
            if type(value) is list:
                for item in value:
                    if isinstance(item, ast.AST):
                        self.visit(item)
            elif isinstance(value, ast.AST):
                self.visit(value)


class Rewriter(Walker):
    """The same for `ast.NodeTransformer`: what a method returns takes the node's place; None takes it away."""

    def generic_visit(self, node: ast.AST) -> Any:
        """Rewrite what the node holds."""
        for name in _FIELDS[type(node)]:
            value = getattr(node, name, None)
            if type(value) is list:
                items: list[Any] = []
                for item in value:
                    new = self.visit(item) if isinstance(item, ast.AST) else item
                    if type(new) is list:
                        items += new
                    elif new is not None or item is None:
                        items.append(new)
                value[:] = items
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node


def dump(node: Any) -> str:
    """What `ast.dump` writes, shorter and faster: equal for equal trees alone."""
    if isinstance(node, ast.AST):
        kind = type(node)
        if isinstance(node, ast.Name):
            return f"{node.id}{'' if type(node.ctx) is ast.Load else '='}"
        return f"{kind.__name__}({','.join([dump(getattr(node, name, None)) for name in kind._fields])})"
    if type(node) is list:
        return f"[{','.join(map(dump, node))}]"
    return repr(node)


def is_pure(node: ast.AST) -> bool:
    """Whether evaluating an expression changes nothing; in a right program it does not raise either."""
    for part in nodes(node):
        if isinstance(part, (ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)):
            return False
        if isinstance(part, ast.Call):
            name = part.func.id if isinstance(part.func, ast.Name) else ""
            is_builtin = name in PURE or name.startswith(_PURE_MODULES)
            is_method = isinstance(part.func, ast.Attribute) and isinstance(part.func.value, ast.Constant)
            if not (is_builtin or is_method):
                return False
    return True


def is_boolean(node: ast.AST) -> bool:
    """Whether the value is visibly True or False."""
    if isinstance(node, ast.BoolOp):
        return all(map(is_boolean, node.values))
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool)
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BOOLEAN_FUNCTIONS
    return is_call or isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def is_sequence(node: ast.AST, names: Container[str] = ()) -> bool:
    """Whether the value is visibly a text, a list or a tuple; ``names`` are variables that are."""
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (str, bytes))
    if isinstance(node, ast.Call):
        func = node.func
        name = func.id if isinstance(func, ast.Name) else ""
        return name in _SEQUENCE_MAKERS or (isinstance(func, ast.Attribute) and func.attr in _TEXT_METHODS)
    if isinstance(node, ast.BinOp):
        return is_sequence(node.left, names) or is_sequence(node.right, names)
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Slice)
    return isinstance(node, (ast.JoinedStr, ast.List, ast.ListComp, ast.Tuple))


def is_call_of(node: ast.expr, *names: str) -> TypeGuard[ast.Call]:
    """Whether it calls one of these functions with one plain argument."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names):
        return False
    return len(node.args) == 1 and not node.keywords and not isinstance(node.args[0], ast.Starred)


def is_read(node: ast.AST) -> TypeGuard[ast.Name]:
    """Whether it is a name whose value is used."""
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def count_reads(tree: ast.AST, name: str) -> int:
    """How often a tree reads a name."""
    return sum(is_read(node) and node.id == name for node in nodes(tree))


def count_plain_reads(value: ast.expr | None, name: str) -> int:
    """Reads of a name that happen once each, when the statement runs; anything else counts as several."""
    if value is None:
        return 0
    is_repeated = any(count_reads(node, name) for node in nodes(value) if isinstance(node, _DELAYED))
    return 2 if is_repeated else count_reads(value, name)


def number(node: ast.expr) -> Any:
    """The value of a constant that is a number, else None; True and False are none."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


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
        if name in ("name", "arg"):
            continue
        value = getattr(node, name, None)
        parts += [shape(item) for item in value] if isinstance(value, list) else [shape(value)]  # type: ignore[arg-type]
    return f"{type(node).__name__}({','.join(parts)})"
