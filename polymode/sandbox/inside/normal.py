"""Normal form of a program's syntax tree: programs that differ in nothing that matters have the same key.

Of no effect, and so left out: comments, layout, doc strings, annotations, ``pass``, a constant or name as a statement,
``print`` of such, what follows ``return``, ``raise``, ``break`` or ``continue``, branches of a constant condition,
``if __name__ == "__main__"``, assignments of effect-free values to names that nothing reads, imports, functions and
classes that nothing names, ``return None`` at the end of a function. Names that the program gives (variables,
arguments, functions, imports) are numbered in order of appearance (`naming`). Imports in a row are sorted.

It is a normal form of the text, not of the meaning: ``a + b`` and ``b + a`` differ.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from typing import Any

from .naming import number_names
from .values import digest

MAX_ROUNDS = 10
"""Leaving something out can leave something else without use; more often than this is not looked."""

_READ_NAMES = frozenset({"eval", "exec", "globals", "locals", "vars"})
"""Programs that use one of these may read their own names: nothing is left out or renamed."""

_JUMPS = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_BLOCKS = ("body", "orelse", "finalbody")


def key(program: str, keep: Collection[str] = ()) -> str:
    """``ast:`` and a digest of the normal form, or `text_key` of a program that cannot be parsed.

    >>> key("f = lambda x: x+1  # one", ["f"]) == key("f = lambda n: n + 1; 'Next.'", ["f"])
    True
    """
    try:
        return "ast:" + digest(normal_form(program, keep))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # ValueError: zero bytes, lone surrogates
        return text_key(program)


def text_key(program: str) -> str:
    """``text:`` and a digest of the text with single spaces."""
    return "text:" + digest(" ".join(program.split()))


def normal_form(program: str, keep: Collection[str] = ()) -> str:
    """The normal form as text; ``keep`` are names that the tests use.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: a program that cannot be parsed.
    """
    tree = _Plain().visit(ast.parse(program))
    if _READ_NAMES & _used(tree):
        return ast.dump(tree)
    before = ast.dump(tree)
    for _ in range(MAX_ROUNDS):
        used = set(keep) | _used(tree)
        tree.body = _block(tree.body, used, frozenset(keep), True)
        after = ast.dump(tree)
        if after == before:
            break
        before = after
    number_names(tree, frozenset(keep))
    return ast.dump(tree)


class _Plain(ast.NodeTransformer):
    """Annotations and doc strings away, one way of writing a plain return."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = node.type_comment = None
        return node

    def visit_FunctionDef(self, node: Any) -> Any:
        node.returns = node.type_comment = None
        node = self.generic_visit(node)
        if node.body and isinstance(node.body[-1], ast.Return) and node.body[-1].value is None:
            node.body = node.body[:-1] or [ast.Pass()]
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Return(self, node: ast.Return) -> ast.AST:
        if isinstance(node.value, ast.Constant) and node.value.value is None:
            node.value = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None if isinstance(node.target, ast.Name) else self.generic_visit(node)
        return self.generic_visit(ast.Assign([node.target], node.value))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        # Annotations of a class stay: dataclasses read them.
        node.body = [child if isinstance(child, ast.AnnAssign) else self.visit(child) for child in node.body]
        return node


def _block(body: list[ast.stmt], used: set[str], keep: frozenset[str], droppable: bool) -> list[ast.stmt]:
    """The statements of a block that have an effect; imports in a row sorted."""
    out: list[ast.stmt] = []
    for statement in body:
        for replaced in _statement(statement, used, keep, droppable):
            out.append(replaced)
        if out and isinstance(out[-1], _JUMPS):
            break
    start = 0
    while start < len(out):
        end = start
        while end < len(out) and isinstance(out[end], (ast.Import, ast.ImportFrom)):
            end += 1
        out[start:end] = sorted(out[start:end], key=ast.dump)
        start = end + 1
    return out or [ast.Pass()]


def _statement(node: Any, used: set[str], keep: frozenset[str], droppable: bool) -> Iterator[ast.stmt]:
    """What is left of one statement."""
    if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and _is_idle(node.value)):
        return
    if isinstance(node, (ast.If, ast.While)):
        truth = _constant_truth(node.test)
        if truth is False:
            yield from _rest(node.orelse, used, keep, droppable)
            return
        if truth is True and isinstance(node, ast.If):
            yield from _rest(node.body, used, keep, droppable)
            return
    if isinstance(node, (ast.Import, ast.ImportFrom)) and getattr(node, "module", "") != "__future__":
        for alias in node.names:
            bound = alias.asname or alias.name.split(".")[0]
            if bound in used or alias.name == "*":
                single = ast.alias(alias.name, alias.asname)
                yield (
                    ast.Import([single])
                    if isinstance(node, ast.Import)
                    else ast.ImportFrom(node.module, [single], node.level)
                )
        return
    if droppable and _is_unused(node, used):
        return
    inner = droppable and not isinstance(node, ast.ClassDef)  # names of a class are read as attributes
    for name in _BLOCKS:
        block = getattr(node, name, None)
        if isinstance(block, list) and block:
            new = _block(block, used, keep, inner)
            setattr(node, name, [] if name != "body" and isinstance(new[0], ast.Pass) else new)
    for part in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
        part.body = _block(part.body, used, keep, inner)
    yield node


def _rest(body: list[ast.stmt], used: set[str], keep: frozenset[str], droppable: bool) -> Iterator[ast.stmt]:
    for statement in body:
        yield from _statement(statement, used, keep, droppable)


def _is_unused(node: ast.stmt, used: set[str]) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name not in used and not node.decorator_list
    if isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        is_self = len(node.targets) == 1 and isinstance(node.value, ast.Name) and node.value.id in names
        return is_self or (names.isdisjoint(used) and _has_no_effect(node.value))
    return False


def _is_idle(node: ast.expr) -> bool:
    """An expression that does nothing as a statement; what is printed is never looked at."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
        return all(map(_has_no_effect, node.args)) and not node.keywords
    return _has_no_effect(node)


def _has_no_effect(node: ast.expr) -> bool:
    """Constants, names, and containers of them. Operators and calls may raise, so they count as an effect."""
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return all(map(_has_no_effect, node.elts))
    if isinstance(node, ast.Dict):
        return not node.keys or (None not in node.keys and all(_has_no_effect(e) for e in [*node.keys, *node.values]))
    return isinstance(node, (ast.Constant, ast.Name, ast.Lambda))


def _constant_truth(test: ast.expr) -> bool | None:
    """Truth of a condition that is a constant, and of ``__name__ == "__main__"``, which never holds here."""
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__":
        right = test.comparators[0]
        if isinstance(test.ops[0], ast.Eq) and isinstance(right, ast.Constant) and right.value == "__main__":
            return False
    return None


def _used(tree: ast.AST) -> set[str]:
    """Names that are read, deleted, or declared global or nonlocal, anywhere; a function's use of itself counts not."""
    used: set[str] = set()
    own: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            used.add(node.id)
            own[node.id] = own.get(node.id, 0) + 1
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            used.update(node.names)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            used.add(node.target.id)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside = sum(
                isinstance(n, ast.Name) and n.id == node.name and not isinstance(n.ctx, ast.Store)
                for n in ast.walk(node)
            )
            if inside and own.get(node.name) == inside:
                used.discard(node.name)
    return used
