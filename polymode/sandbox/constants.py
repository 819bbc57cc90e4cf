"""Values of expressions in tests that need nothing of the program, such as the range that a loop runs over.

A closed part of Python is evaluated, because the tests come from a file: literals, operators, comprehensions, the
built-in functions in `BUILTINS`, methods of the built-in types, and the functions in `MODULES`. Nothing here leads to
a file, an import or another object's inside. Random numbers are those of a fixed seed.
"""

from __future__ import annotations

import ast
import collections
import copy
import itertools
import math
import random
import string
from types import SimpleNamespace
from typing import Any

_NAMES = (
    "abs all any bin bool bytes chr complex dict divmod enumerate filter float frozenset hex int len list map max min"
    " oct ord pow range repr reversed round set sorted str sum tuple zip"
)
BUILTINS: dict[str, Any] = {name: __builtins__[name] for name in _NAMES.split()}  # type: ignore[index]
"""Functions that may be called."""

_SEEDED = random.Random(0)
_RANDOM = "choice choices randint random randrange sample seed shuffle uniform"
MODULES: dict[str, Any] = {
    "math": math,
    "itertools": itertools,
    "copy": SimpleNamespace(copy=copy.copy, deepcopy=copy.deepcopy),
    "string": SimpleNamespace(**{n: v for n, v in vars(string).items() if n.isidentifier() and isinstance(v, str)}),
    "collections": SimpleNamespace(
        **{n: getattr(collections, n) for n in ("Counter", "OrderedDict", "defaultdict", "deque")}
    ),
    "random": SimpleNamespace(
        Random=random.Random,
        **{n: getattr(_SEEDED, n) for n in _RANDOM.split()},
    ),
}
"""Modules that tests may import, with what may be used of them."""

_TYPES = (str, bytes, int, float, complex, list, tuple, set, frozenset, dict, collections.deque, random.Random)
_ATTRIBUTES = {name for kind in (*_TYPES, *MODULES.values()) for name in dir(kind) if not name.startswith("_")}
_STATEMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.For, ast.If, ast.Pass, ast.Break, ast.Continue)
_REFUSED = (ast.stmt, ast.Await, ast.Yield, ast.YieldFrom)


class NotConstantError(ValueError):
    """An expression that needs the program, or more of Python than is evaluated here."""


def namespace() -> dict[str, Any]:
    """Names that constants are evaluated with."""
    return {"__builtins__": BUILTINS}


def begin() -> None:
    """Let random numbers begin anew, so that they do not depend on what was evaluated before."""
    _SEEDED.seed(0)


def is_closed(node: ast.AST, names: dict[str, Any]) -> bool:
    """Whether an expression or a statement uses nothing but ``names`` and the closed part of Python."""
    nodes = list(ast.walk(node))
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    bound |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    for one in nodes:
        if isinstance(one, ast.Name) and one.id not in bound and one.id not in names and one.id not in BUILTINS:
            return False
        if isinstance(one, ast.Attribute) and one.attr not in _ATTRIBUTES:
            return False
        if isinstance(one, _REFUSED) and not isinstance(one, _STATEMENTS):
            return False
    return True


def evaluate(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of an expression.

    Raises:
        NotConstantError: it needs more than ``names``, or it raises; says which.
    """
    if not is_closed(node, names):
        raise NotConstantError(f"{ast.unparse(node)!r} is not known before the program runs")
    try:
        return eval(compile(ast.fix_missing_locations(ast.Expression(node)), "test", "eval", dont_inherit=True), names)
    except Exception as exc:
        raise NotConstantError(f"{ast.unparse(node)!r} raises {type(exc).__name__}: {exc}") from None


def execute(node: ast.stmt, names: dict[str, Any]) -> None:
    """Execute a statement, which changes ``names``; raises as `evaluate`."""
    if not is_closed(node, names):
        raise NotConstantError(f"{ast.unparse(node)!r} is not known before the program runs")
    try:
        exec(compile(ast.Module([node], []), "test", "exec", dont_inherit=True), names)
    except Exception as exc:
        raise NotConstantError(f"{ast.unparse(node)!r} raises {type(exc).__name__}: {exc}") from None


def literal(value: Any) -> ast.expr:
    """An expression that gives the value back; raises NotConstantError for what has no such form."""
    text = f"float('{value}')" if isinstance(value, float) and not math.isfinite(value) else repr(value)
    try:
        node = ast.parse(text, mode="eval").body
        again = eval(compile(text, "test", "eval"), {"__builtins__": BUILTINS})
    except Exception:
        raise NotConstantError(f"a value of type {type(value).__name__!r} cannot be written into a test") from None
    if type(again) is not type(value) or (again != value and value == value):
        raise NotConstantError(f"a value of type {type(value).__name__!r} cannot be written into a test")
    return node


def bind_import(node: ast.stmt, names: dict[str, Any]) -> None:
    """Bind what an import statement gives, as far as it is in `MODULES`."""
    if isinstance(node, ast.Import):
        names |= {alias.asname or alias.name: MODULES[alias.name] for alias in node.names if alias.name in MODULES}
    elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
        module = MODULES[node.module]
        names |= {
            alias.asname or alias.name: getattr(module, alias.name)
            for alias in node.names
            if alias.name in _ATTRIBUTES and hasattr(module, alias.name)
        }
