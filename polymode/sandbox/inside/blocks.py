"""Statements in one form: those without effect left out, branches and returns written one way."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeGuard

from .folding import is_pure, nodes, positive

_JUMPS = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS = ("body", "orelse", "finalbody")


class Blocks:
    """One round over the statements of a module.

    Args:
        tree: the module; changed in place by `rewrite`.
        keep: names that the tests use.
    """

    def __init__(self, tree: ast.Module, keep: frozenset[str]) -> None:
        self.tree = tree
        self.used = keep | _names_read(tree)
        self.reads = Counter(node.id for node in nodes(tree) if _is_read(node))
        self.shared = {
            name for node in nodes(tree) if isinstance(node, (ast.Global, ast.Nonlocal)) for name in node.names
        } | keep

    def rewrite(self) -> None:
        """Rewrite every block."""
        self.tree.body = self._block(self.tree.body, "module") or [ast.Pass()]

    def _block(self, body: list[ast.stmt], place: str) -> list[ast.stmt]:
        """The statements of a block that have an effect, in one form; empty when none has.

        Args:
            body: of a module, class, function or compound statement.
            place: ``module``, ``class``, ``function`` or ``loop``: what encloses it.
        """
        out: list[ast.stmt] = []
        queue = list(reversed(body))
        while queue:
            statement = queue.pop()
            if isinstance(statement, (ast.If, ast.While)) and isinstance(statement.test, ast.Constant):
                if not statement.test.value:
                    queue.extend(reversed(statement.orelse))
                    continue
                if isinstance(statement, ast.If):
                    queue.extend(reversed(statement.body))
                    continue
                statement.test = ast.Constant(True)
            for rewritten in self._statement(statement, place):
                out.append(rewritten)
                if isinstance(rewritten, ast.If) and rewritten.orelse and _always_jumps(rewritten.body):
                    queue.extend(reversed(rewritten.orelse))  # else after return
                    rewritten.orelse = []
            if out and _always_jumps(out[-1:]):
                break
        out = self._through_variables(out)
        _sort_imports(out)
        _turn_last_branch(out)
        idle_end = {"loop": ast.Continue, "function": ast.Return}.get(place)
        if out and idle_end is not None and isinstance(out[-1], idle_end) and getattr(out[-1], "value", None) is None:
            out.pop()
        return out

    def _statement(self, node: Any, place: str) -> Iterator[ast.stmt]:
        """What is left of one statement."""
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.NamedExpr):  # (x := value) as a statement
            node = ast.Assign([node.value.target], node.value.value)
        if self._is_idle(node, place):
            return
        if isinstance(node, ast.Return) and isinstance(node.value, ast.IfExp):
            choice = node.value
            node = ast.If(choice.test, [ast.Return(choice.body)], [ast.Return(choice.orelse)])
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            node = ast.Assign([node.target], ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value))
        if isinstance(node, ast.Assign) and len(node.targets) > 1 and isinstance(node.value, ast.Constant):
            for target in node.targets:
                yield from self._statement(ast.Assign([target], copy.copy(node.value)), place)
            return
        inner = self._inner(node, place)
        for name in _BLOCKS:
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                setattr(node, name, self._block(block, inner))
        for part in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
            part.body = self._block(part.body, inner) or [ast.Pass()]
        yield from self._emptied(node)

    @staticmethod
    def _inner(node: ast.AST, place: str) -> str:
        if isinstance(node, _FUNCTIONS):
            return "function"
        if isinstance(node, ast.ClassDef):
            return "class"
        # The end of a branch is not the end of its function or loop.
        return "loop" if isinstance(node, (ast.For, ast.AsyncFor, ast.While)) else "class" if place == "class" else ""

    def _emptied(self, node: Any) -> Iterator[ast.stmt]:
        """A compound statement whose blocks may have become empty."""
        if isinstance(node, ast.If):
            if not node.body and not node.orelse and is_pure(node.test):
                return
            if [ast.dump(s) for s in node.body] == [ast.dump(s) for s in node.orelse] and is_pure(node.test):
                yield from node.body
                return
            turned = positive(node.test)
            if node.orelse and (turned is not None or not node.body):
                node.test = turned or ast.UnaryOp(ast.Not(), node.test)
                node.body, node.orelse = node.orelse, node.body
        if isinstance(node, ast.For) and not node.body and not node.orelse and is_pure(node.iter):
            names = {name.id for name in nodes(node.target) if isinstance(name, ast.Name)}
            if names.isdisjoint(self.used):
                return
        if isinstance(node, ast.Try) and not node.finalbody and not node.orelse:
            is_passed_on = all(isinstance(h.body[0], ast.Raise) and h.body[0].exc is None for h in node.handlers)
            if is_passed_on or not node.body:
                yield from node.body
                return
        if hasattr(node, "body") and isinstance(node.body, list) and not node.body:
            node.body = [ast.Pass()]
        yield node

    def _is_idle(self, node: Any, place: str) -> bool:
        """Whether a statement has no effect in a program that passes its tests."""
        if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and _is_idle_value(node.value)):
            return True
        if isinstance(node, ast.Assert):
            return is_pure(node.test) and (node.msg is None or is_pure(node.msg))
        if isinstance(node, ast.Delete):
            return all(isinstance(target, ast.Name) for target in node.targets)
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            node.names = [name for name in node.names if name in self.used]
            return not node.names
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if getattr(node, "module", "") == "__future__":
                return False
            node.names = [a for a in node.names if a.name == "*" or (a.asname or a.name.split(".")[0]) in self.used]
            return not node.names
        if place == "class":  # its names are read as attributes
            return False
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            return node.name not in self.used and not node.decorator_list
        targets: list[Any] = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, (ast.Assign, ast.AugAssign)) and all(isinstance(target, ast.Name) for target in targets):
            names = {target.id for target in targets}
            is_self = len(targets) == 1 and isinstance(node.value, ast.Name) and node.value.id in names
            return is_self or (names.isdisjoint(self.used | self.shared) and is_pure(node.value))
        return False

    def _through_variables(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """``x = value; return x`` as ``return value``, also where the one use of ``x`` stands in the next statement."""
        out: list[ast.stmt] = []
        for statement in body:
            previous = out[-1] if out else None
            name = _single_target(previous)
            if name is not None and name not in self.shared and isinstance(statement, (ast.Return, ast.Assign)):
                assert isinstance(previous, ast.Assign)
                reads = _plain_reads(statement.value, name)
                is_last = isinstance(statement, ast.Return) or self.reads[name] == 1
                if reads == 1 and is_last and statement.value is not None:
                    statement.value = _Replacing(name, previous.value).visit(statement.value)
                    out.pop()
            out.append(statement)
        return out


class _Replacing(ast.NodeTransformer):
    def __init__(self, name: str, value: ast.expr) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.value) if node.id == self.name and isinstance(node.ctx, ast.Load) else node


def propagate(tree: ast.Module, keep: frozenset[str]) -> None:
    """Replace variables that are set once, to a constant or to a name that never changes, by what they stand for."""
    stores: Counter[str] = Counter(keep)
    values: dict[str, ast.expr] = {}
    for node in nodes(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            stores[node.id] += 1
        elif isinstance(node, ast.arg):
            stores[node.arg] += 1
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            stores[node.name] += 1
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            stores.update(node.names * 2)
        elif isinstance(node, ast.alias):
            stores[node.asname or node.name.split(".")[0]] += 2
        elif isinstance(node, ast.ExceptHandler) and node.name:
            stores[node.name] += 2
        name = _single_target(node)
        if name is not None and isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.Name)):
            values[name] = node.value
    for name, value in values.items():
        is_steady = isinstance(value, ast.Constant) or (stores[value.id] == 1 and value.id != name)  # type: ignore[attr-defined]
        if stores[name] == 1 and is_steady:
            _Replacing(name, value).visit(tree)


def _single_target(node: Any) -> str | None:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


def _is_idle_value(node: ast.expr) -> bool:
    """An expression that does nothing as a statement; what is printed is never looked at."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
        return all(map(is_pure, [*node.args, *(keyword.value for keyword in node.keywords)]))
    return is_pure(node)


def _always_jumps(body: list[ast.stmt]) -> bool:
    last = body[-1] if body else None
    if isinstance(last, ast.If):
        return _always_jumps(last.body) and _always_jumps(last.orelse)
    return isinstance(last, _JUMPS)


def _turn_last_branch(body: list[ast.stmt]) -> None:
    """``if not c: return a`` before what always jumps, with the two in the order of the positive condition."""
    for i, statement in enumerate(body):
        if isinstance(statement, ast.If) and not statement.orelse and _always_jumps(statement.body):
            turned, rest = positive(statement.test), body[i + 1 :]
            if turned is not None and _always_jumps(rest):
                body[i:] = [ast.If(turned, rest, []), *statement.body]
                return


def _sort_imports(body: list[ast.stmt]) -> None:
    """One name an import, imports in a row sorted."""
    start = 0
    while start < len(body):
        end = start
        single: list[ast.stmt] = []
        while end < len(body):
            node = body[end]
            if isinstance(node, ast.Import):
                single += [ast.Import([alias]) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                single += [ast.ImportFrom(node.module, [alias], node.level) for alias in node.names]
            else:
                break
            end += 1
        body[start:end] = sorted(single, key=ast.dump)
        start += len(single) + 1


def _is_read(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def _plain_reads(value: ast.expr | None, name: str) -> int:
    """Reads of a name that happen once each, when the statement runs; anything else counts as several."""
    if value is None:
        return 0
    delayed = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr)
    is_repeated = any(_count_reads(node, name) for node in nodes(value) if isinstance(node, delayed))
    return 2 if is_repeated else _count_reads(value, name)


def _count_reads(tree: ast.AST, name: str) -> int:
    return sum(_is_read(node) and node.id == name for node in nodes(tree))


def _names_read(tree: ast.AST) -> frozenset[str]:
    """Names that something reads; a function's use of itself and ``t = t + 1`` count not, nor does ``global`` alone."""
    used: Counter[str] = Counter()
    own: Counter[str] = Counter()
    for node in nodes(tree):
        if _is_read(node):
            used[node.id] += 1
        name = _single_target(node)
        if name is None and isinstance(node, _FUNCTIONS):
            name = node.name
        if name is not None:
            own[name] += _count_reads(node, name)
    return frozenset(name for name, count in used.items() if count > own[name])
