"""Numbers the names that a program gives, scope by scope, so that two programs that differ in names alone are the same.

Attributes and methods that the program gives are numbered by themselves, wherever they are read, and so are arguments
that it passes by name. Left as they are: names that nothing in the program gives (``len``, ``append``), names with two
underscores, and the names that the tests use.
"""

from __future__ import annotations

import ast
from typing import Any

from .trees import Walker, nodes

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def number_names(tree: ast.Module, keep: frozenset[str]) -> int:
    """Rename in place; ``keep`` are names of the module that stay. How many names have a number now."""
    renaming = _Renaming(tree, keep)
    renaming.module(tree)
    return renaming.count


class _Renaming(Walker):
    def __init__(self, tree: ast.AST, keep: frozenset[str]) -> None:
        self.keep = keep
        every = nodes(tree)
        # An argument that is passed by name has one number everywhere, as nobody knows which function a call reaches.
        arguments = {node.arg for node in every if isinstance(node, ast.arg)}
        self.keywords = dict.fromkeys(
            (node.arg for node in every if isinstance(node, ast.keyword) and node.arg in arguments), ""
        )
        self.attributes = dict.fromkeys(
            (name for name in _attributes(every) if not name.startswith("__") and name not in keep), ""
        )
        self.scopes: list[tuple[dict[str, str], bool]] = []  # new name by name, and whether it is a class
        self.count = 0

    def module(self, tree: ast.Module) -> None:
        self._scope(tree, dict.fromkeys(_bound(tree), "") | {name: name for name in self.keep}, list(tree.body))

    def visit_FunctionDef(self, node: Any) -> None:
        is_lambda = isinstance(node, ast.Lambda)
        if not is_lambda:
            node.name = self._new(node.name)
        decorators = [] if is_lambda else node.decorator_list
        for outside in [*decorators, *node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(outside)
        arguments = [part for part in ast.iter_child_nodes(node.args) if isinstance(part, ast.arg)]
        names = dict.fromkeys(_bound(node) | {argument.arg for argument in arguments}, "")
        names |= {argument.arg: self._keyword(argument.arg) for argument in arguments if argument.arg in self.keywords}
        self._scope(node, names, [*arguments, *([node.body] if is_lambda else node.body)])

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        node.name = self._new(node.name)
        for part in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(part)
        self.scopes.append(({name: self._attribute(name) for name in _bound(node)}, True))
        for statement in node.body:
            self.visit(statement)
        self.scopes.pop()

    def visit_ListComp(self, node: Any) -> None:
        elements = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for part in [*node.generators, *elements]:  # first what gives the names
            self.visit(part)

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp

    def visit_Name(self, node: ast.Name) -> None:
        node.id = self._new(node.id)

    def visit_arg(self, node: ast.arg) -> None:
        node.arg = self._new(node.arg)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        node.attr = self._attribute(node.attr)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg in self.keywords:
            node.arg = self._keyword(node.arg)
        elif node.arg in self.attributes:  # a field of a dataclass
            node.arg = self._attribute(node.arg)
        self.visit(node.value)

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

    def _scope(self, node: ast.AST, names: dict[str, str], parts: list[Any]) -> None:
        outer = {name for n in _own(node) if isinstance(n, (ast.Global, ast.Nonlocal)) for name in n.names}
        self.scopes.append(({name: new for name, new in names.items() if name not in outer}, False))
        for part in parts:
            self.visit(part)
        self.scopes.pop()

    def _attribute(self, name: str) -> str:
        return self._numbered(self.attributes, name, "_a")

    def _keyword(self, name: str) -> str:
        return self._numbered(self.keywords, name, "_k")

    @staticmethod
    def _numbered(names: dict[str, str], name: str, prefix: str) -> str:
        """The number of a name in a table of names that are numbered by themselves; a name that is not in it stays."""
        if names.get(name) == "":
            names[name] = f"{prefix}{sum(bool(number) for number in names.values())}"
        return names.get(name, name)

    def _new(self, name: str) -> str:
        """The new name in the innermost scope that gives it; a name given by none stays."""
        for depth, (names, is_class) in reversed(list(enumerate(self.scopes))):
            if name in names and (not is_class or depth == len(self.scopes) - 1):  # methods do not see the class's
                if not names[name]:
                    names[name] = f"_{self.count}"
                    self.count += 1
                return names[name]
        return name


def _own(node: ast.AST) -> list[ast.AST]:
    """The nodes of one scope: those below ``node`` without the insides of further functions and classes."""
    out = list(ast.iter_child_nodes(node))
    for child in out:
        if not isinstance(child, _SCOPES):
            out.extend(ast.iter_child_nodes(child))
    return out


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


def _attributes(every: list[ast.AST]) -> list[str]:
    """Names that are set as attributes somewhere, or given in a class, in the order of the tree."""
    names: list[str] = []
    for node in every:
        if isinstance(node, ast.ClassDef):
            names += sorted(_bound(node))
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            names.append(node.attr)
    return names
