"""Normal form of a program's syntax tree: programs that are one idea written down twice have the same key.

Of no effect, and so left out: comments, layout, doc strings, annotations, statements that only compute, print or log
something, loops that only count for themselves, what follows a jump, branches of a constant condition, ``if __name__ ==
"__main__"``, calls of the program's own functions after their definition, assignments to names that nothing reads or
that are set again first, lists that are only filled, imports, functions and classes that nothing names, arguments that
nothing reads, ``try`` without handlers. Written one way: constants (folded), chains of + and - and of other commutative
operators (sorted), ``pow``, ``operator.add`` and ``a.__add__(b)`` (as operators), comparisons, ``and``, ``or``, ``not``
and branches (`conditions`, `blocks`), ``lambda`` and ``def``, variables and functions that only pass a value on
(`assignments`, `inlining`), imported names (``math.pow`` however it was imported). Names that the program gives
(variables, arguments, functions, methods, attributes) are numbered in order of appearance (`naming`). What the inputs
of the tests decide is decided (`domain`, `counting`). A tree that is too deep to walk is compared by its tokens.

It is a normal form of the text, not of the meaning: ``n * n`` and ``n ** 2`` differ. It may call two programs the same
of which only one is right, so sameness never decides what is right.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Sequence
from typing import Any

from .assignments import propagate, single_target
from .blocks import Blocks
from .counting import decide_counts
from .domain import decide
from .folding import fold
from .inlining import Replacing, inline
from .naming import number_names
from .token_key import text_key, token_key
from .trees import Rewriter, dump, nodes
from .values import digest

_BUILTINS = frozenset(dir(builtins))
MAX_ROUNDS = 12
"""Leaving something out can leave something else without use; more often than this is not looked."""


def key(program: str, keep: Collection[str] = (), calls: Sequence[str] = ()) -> str:
    """``ast:`` and a digest of the normal form; of the tokens where the tree is too deep, of the text without a tree.

    Args:
        program: the text.
        keep: names that the tests use.
        calls: the calls of the tests; what has one value on all of them is written as that value (`domain`).

    >>> key("f = lambda x: x+1  # one", ["f"]) == key("f = lambda n: 1 + n; 'Next.'", ["f"])
    True
    """
    try:
        return "ast:" + digest(dump(normal_form(program, keep, calls)))
    except (RecursionError, MemoryError):
        return token_key(program, keep)
    except (SyntaxError, ValueError) as exc:  # ValueError: zero bytes, lone surrogates
        return token_key(program, keep) if "nested" in str(exc) else text_key(program)


def normal_form(program: str, keep: Collection[str] = (), calls: Sequence[str] = ()) -> ast.Module:
    """The normal form as a tree; see `key`.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: a program that cannot be parsed.
    """
    names = frozenset(keep)
    tree: ast.Module = _Plain().visit(ast.parse(program))
    _rename_shadows(tree, names)
    _resolve_imports(tree, names)
    _resolve_aliases(tree, names)
    fold(tree)
    before = dump(tree)
    for _ in range(MAX_ROUNDS):
        propagate(tree, names)
        if calls:
            decide(tree, calls)
            decide_counts(tree, calls)
        Blocks(tree, names).rewrite()
        inline(tree, names)
        _drop_unread_arguments(tree)
        fold(tree)
        after = dump(tree)
        if after == before:
            break
        before = after
    if number_names(tree, names) > 1:
        fold(tree)  # operands that look alike are sorted by their numbers, which come from where the names are given
        number_names(tree, names)
    return tree


class _Plain(Rewriter):
    """Annotations away, and a condition on ``__name__`` decided."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = node.type_comment = None
        return node

    def visit_FunctionDef(self, node: Any) -> Any:
        node.returns = node.type_comment = None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Return(self, node: ast.Return) -> ast.AST:
        if isinstance(node.value, ast.Constant) and node.value.value is None:
            node.value = None
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """The module is imported by its tests, so ``__name__ == "__main__"`` never holds."""
        sides = [node.left, *node.comparators]
        texts = {part.id if isinstance(part, ast.Name) else getattr(part, "value", None) for part in sides}
        if isinstance(node.ops[0], ast.Eq) and texts == {"__name__", "__main__"}:
            return ast.Constant(False)
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        """``f = lambda x: ...`` as ``def f(x): return ...``."""
        self.generic_visit(node)
        function = node.value
        if not isinstance(function, ast.Lambda):
            return node
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if len(names) < len(node.targets):
            return node
        define = ast.FunctionDef(names[0], function.args, [ast.Return(function.body)], [], None, None)
        same = ast.Name(names[0], ast.Load())
        return [define, *(ast.Assign([ast.Name(name, ast.Store())], same) for name in names[1:])]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | list[ast.stmt] | None:
        if node.value is None:
            return None if isinstance(node.target, ast.Name) else self.generic_visit(node)
        return self.visit_Assign(ast.Assign([node.target], node.value))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        # Annotations of a class stay: dataclasses read them.
        node.body = [child if isinstance(child, ast.AnnAssign) else self.visit(child) for child in node.body]
        return node


def _rename_shadows(tree: ast.Module, keep: frozenset[str]) -> None:
    """Other names for those of Python's own functions that the program gives to something else, ``list = [1]``."""
    every = nodes(tree)
    given = {node.id for node in every if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    given |= {node.arg for node in every if isinstance(node, ast.arg)}
    given |= {node.name for node in every if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    shadows = {name: f"{name}_" for name in given & _BUILTINS - keep}
    for node in every if shadows else ():
        for field in ("id", "arg", "name"):
            if getattr(node, field, None) in shadows and not isinstance(node, ast.alias):
                setattr(node, field, shadows[getattr(node, field)])
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            node.names = [shadows.get(name, name) for name in node.names]


def _resolve_imports(tree: ast.Module, keep: frozenset[str]) -> None:
    """Imported names as the dotted name they stand for; the imports themselves are then without use.

    A name that the program gives otherwise too stays as it is, and so does what the tests use.
    """
    own_names = {node.id for node in nodes(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    own_names |= {node.arg for node in nodes(tree) if isinstance(node, ast.arg)} | keep
    own_names |= {n.name for n in nodes(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    dotted: dict[str, str] = {}
    for node in nodes(tree):
        for alias in node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else []:
            if isinstance(node, ast.ImportFrom) and (node.level or not node.module or alias.name == "*"):
                continue
            bound = alias.asname or alias.name.split(".")[0]
            prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            path = prefix + (alias.name if alias.asname or prefix else bound)
            if dotted.setdefault(bound, path) != path:
                own_names.add(bound)
    _Dotted({name: path for name, path in dotted.items() if name not in own_names}).visit(tree)


def _resolve_aliases(tree: ast.Module, keep: frozenset[str]) -> None:
    """A function of the module that the tests know by a second name alone, ``f = g``, under that name."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    bound = {node.id for node in nodes(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes(tree) if isinstance(node, ast.arg)}
    for statement in list(tree.body):
        value = statement.value if isinstance(statement, ast.Assign) else None
        name = single_target(statement)
        if isinstance(value, ast.Name) and name in keep and name not in functions and value.id not in keep | bound:
            function = functions.pop(value.id, None)
            if function is not None:
                tree.body.remove(statement)
                Replacing({value.id: ast.Name(name, ast.Load())}).visit(tree)
                function.name = name


class _Dotted(Rewriter):
    def __init__(self, paths: dict[str, str]) -> None:
        self.paths = paths

    def visit_Name(self, node: ast.Name) -> ast.Name:
        path = self.paths.get(node.id)
        return node if path is None else ast.Name(f"import {path}", node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id.startswith("import ") and isinstance(node.ctx, ast.Load):
            return ast.Name(f"{node.value.id}.{node.attr}", ast.Load())
        return node


def _drop_unread_arguments(tree: ast.Module) -> None:
    """Arguments with a default that the body does not read, from the last on."""
    for node in nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            args = node.args
            args.args, args.posonlyargs = [*args.posonlyargs, *args.args], []
            body = node.body if isinstance(node.body, list) else [node.body]
            read = {name.id for part in body for name in nodes(part) if isinstance(name, ast.Name)}
            args.vararg = args.vararg if args.vararg and args.vararg.arg in read else None
            args.kwarg = args.kwarg if args.kwarg and args.kwarg.arg in read else None
            while args.defaults and args.args and args.args[-1].arg not in read and not args.vararg:
                args.args.pop()
                args.defaults.pop()
            pairs = [
                (a, d) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d is None or a.arg in read
            ]
            args.kwonlyargs, args.kw_defaults = [a for a, _ in pairs], [d for _, d in pairs]
