"""Numbers the names that a program gives, scope by scope, so that two programs that differ in names alone are the same.

Left as they are: names that nothing in the program gives (``len``), attributes, names in a class body (they are read as
attributes), arguments that some call passes by name, and the names that the tests use.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def number_names(tree: ast.Module, keep: frozenset[str]) -> None:
    """Rename in place; ``keep`` are names of the module that stay."""
    _Renaming(tree, keep).module(tree)


class _Renaming(ast.NodeVisitor):
    def __init__(self, tree: ast.AST, keep: frozenset[str]) -> None:
        self.keep = keep
        self.keywords = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
        self.scopes: list[tuple[dict[str, str], bool]] = []  # new name by name, and whether it is a class
        self.count = 0

    def module(self, tree: ast.Module) -> None:
        self._scope(tree, dict.fromkeys(_bound(tree), "") | {name: name for name in self.keep}, list(tree.body))

    def visit_FunctionDef(self, node: Any) -> None:
        node.name = self._new(node.name)
        for outside in [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(outside)
        self._scope(node, self._names(node), [*_argument_nodes(node), *node.body])

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for outside in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(outside)
        self._scope(node, self._names(node), [*_argument_nodes(node), node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        node.name = self._new(node.name)
        for part in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(part)
        self.scopes.append(({name: name for name in _bound(node)}, True))
        for statement in node.body:
            self.visit(statement)
        self.scopes.pop()

    def visit_Name(self, node: ast.Name) -> None:
        node.id = self._new(node.id)

    def visit_arg(self, node: ast.arg) -> None:
        node.arg = self._new(node.arg)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        node.names = sorted(map(self._new, node.names))

    visit_Nonlocal = visit_Global

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            node.name = self._new(node.name)
        self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> None:
        if node.name == "*" or (not node.asname and "." in node.name):
            return
        bound = self._new(node.asname or node.name)
        node.asname = bound if bound != node.name else None

    def _names(self, node: ast.AST) -> dict[str, str]:
        arguments = {argument.arg for argument in _argument_nodes(node)}
        return dict.fromkeys(_bound(node) | arguments, "") | {name: name for name in arguments & self.keywords}

    def _scope(self, node: ast.AST, names: dict[str, str], parts: list[Any]) -> None:
        outer = {name for n in _own(node) if isinstance(n, (ast.Global, ast.Nonlocal)) for name in n.names}
        self.scopes.append(({name: new for name, new in names.items() if name not in outer}, False))
        for part in parts:
            self.visit(part)
        self.scopes.pop()

    def _new(self, name: str) -> str:
        """The new name in the innermost scope that gives it; a name given by none stays."""
        for depth, (names, is_class) in reversed(list(enumerate(self.scopes))):
            if name in names and (not is_class or depth == len(self.scopes) - 1):  # methods do not see the class's
                if not names[name]:
                    names[name] = f"_{self.count}"
                    self.count += 1
                return names[name]
        return name


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of one scope: those below ``node`` without the insides of further functions and classes."""
    stack = list(ast.iter_child_nodes(node))
    while stack:
        child = stack.pop()
        yield child
        if not isinstance(child, _SCOPES):
            stack.extend(ast.iter_child_nodes(child))


def _bound(node: ast.AST) -> set[str]:
    """Names that a scope gives, comprehensions counted with the scope around them."""
    names: set[str] = set()
    for child in _own(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            names.add(child.id)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(child.name)
        elif isinstance(child, ast.alias) and (child.asname or ("." not in child.name and child.name != "*")):
            names.add(child.asname or child.name)
        elif isinstance(child, ast.ExceptHandler) and child.name:
            names.add(child.name)
    return names


def _argument_nodes(node: Any) -> list[ast.arg]:
    args = node.args
    return [a for a in (*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg) if a is not None]
