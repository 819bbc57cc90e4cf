"""Statements in one form: those without effect left out, branches and returns written one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from .assignments import drop_overwritten, return_in_branches, sort_independent, split, through_variables
from .conditions import conjunction, negation, positive
from .idle import FUNCTIONS, Idle
from .trees import dump, is_boolean, is_call_of, is_pure, nodes, number, shape

_JUMPS = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_BLOCKS = ("body", "orelse", "finalbody")


class Blocks:
    """One round over the statements of a module.

    Args:
        tree: the module; changed in place by `rewrite`.
        keep: names that the tests use.
    """

    def __init__(self, tree: ast.Module, keep: frozenset[str]) -> None:
        self.tree = tree
        self.idle = Idle(tree, keep)

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
            if isinstance(statement, (ast.For, ast.While)) and self._runs_once(statement):
                queue.extend(reversed(statement.body))
                continue
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
        out = drop_overwritten(out, self.idle.shared)
        out = return_in_branches(through_variables(sort_independent(out), self.idle.reads, self.idle.shared))
        _sort_imports(out)
        _sort_definitions(out)
        _turn_last_branch(out)
        _return_condition(out)
        idle_end = {"loop": ast.Continue, "function": ast.Return}.get(place)
        if out and idle_end is not None and isinstance(out[-1], idle_end) and getattr(out[-1], "value", None) is None:
            out.pop()
        return out

    def _statement(self, node: Any, place: str) -> Iterator[ast.stmt]:
        """What is left of one statement."""
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.NamedExpr):  # (x := value) as a statement
            node = ast.Assign([node.value.target], node.value.value)
        if self.idle.is_idle(node, place):
            return
        walrus = node.value if isinstance(node, (ast.Return, ast.Assign)) else None
        if isinstance(walrus, ast.NamedExpr) and walrus.target.id not in self.idle.used:
            node.value = walrus.value
        if isinstance(node, ast.Return) and isinstance(node.value, ast.IfExp):
            choice = node.value
            node = ast.If(choice.test, [ast.Return(choice.body)], [ast.Return(choice.orelse)])
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            node = ast.Assign([node.target], ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value))
        parts = split(node)
        if len(parts) > 1:
            for part in parts:
                yield from self._statement(part, place)
            return
        inner = self._inner(node, place)
        for name in _BLOCKS:
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                setattr(node, name, self._block(block, inner))
        for handler in getattr(node, "handlers", []):
            handler.name = handler.name if handler.name in self.idle.used else None
        for part in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
            part.body = self._block(part.body, inner) or [ast.Pass()]
        yield from self._emptied(node)

    def _runs_once(self, loop: ast.For | ast.While) -> bool:
        """Whether a loop that runs at all returns at the end of its first round."""
        if not isinstance(loop.body[-1], ast.Return) or any(
            isinstance(n, (ast.Break, ast.Continue)) for n in nodes(loop)
        ):
            return False
        if isinstance(loop, ast.While):
            return isinstance(loop.test, ast.Constant) and bool(loop.test.value)
        names = {part.id for part in nodes(loop.target) if isinstance(part, ast.Name)}
        return names.isdisjoint(self.idle.used) and _is_not_empty(loop.iter)

    @staticmethod
    def _inner(node: ast.AST, place: str) -> str:
        if isinstance(node, FUNCTIONS):
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
            if [dump(s) for s in node.body] == [dump(s) for s in node.orelse] and is_pure(node.test):
                yield from node.body
                return
            [inner] = node.body if len(node.body) == 1 else [None]
            if isinstance(inner, ast.If) and not node.orelse and not inner.orelse:
                node.test, node.body = conjunction(ast.BoolOp(ast.And(), [node.test, inner.test])), inner.body
            turned = positive(node.test)
            if node.orelse and (turned is not None or not node.body):
                node.test = turned or ast.UnaryOp(ast.Not(), node.test)
                node.body, node.orelse = node.orelse, node.body
        if isinstance(node, ast.For) and is_call_of(node.iter, "enumerate") and isinstance(node.target, ast.Tuple):
            [first, *others] = node.target.elts
            if len(others) == 1 and isinstance(first, ast.Name) and first.id not in self.idle.used:
                node.iter, node.target = node.iter.args[0], others[0]
        if isinstance(node, ast.Try) and not node.finalbody and not node.orelse:
            is_passed_on = all(isinstance(h.body[0], ast.Raise) and h.body[0].exc is None for h in node.handlers)
            if is_passed_on or not node.body:
                yield from node.body
                return
        if hasattr(node, "body") and isinstance(node.body, list) and not node.body:
            node.body = [ast.Pass()]
        yield node


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


def _return_condition(body: list[ast.stmt]) -> None:
    """``if c: return True`` before ``return False`` as ``return c``, where c is True or False itself."""
    if len(body) < 2:
        return
    branch, last = body[-2:]
    if not isinstance(branch, ast.If) or branch.orelse or not is_boolean(branch.test) or len(branch.body) != 1:
        return
    truths = [one.value.value if _returns_constant(one) else None for one in (branch.body[0], last)]  # type: ignore[attr-defined]
    if truths in ([True, False], [False, True]) and all(isinstance(truth, bool) for truth in truths):
        body[-2:] = [ast.Return(branch.test if truths[0] else negation(branch.test))]


def _returns_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Return) and isinstance(node.value, ast.Constant)


def _is_not_empty(node: ast.expr) -> bool:
    """Whether a loop over a value visibly has a first round."""
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return bool(node.elts) and is_pure(node)
    if is_call_of(node, "range"):
        return (number(node.args[0]) or 0) > 0
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(node.value)


def _sort_definitions(body: list[ast.stmt]) -> None:
    """Neighbouring functions, whose order does not matter, by their shape."""
    start = 0
    while start < len(body):
        end = start
        while end < len(body) and isinstance(body[end], FUNCTIONS):
            end += 1
        if end - start > 1 and len({one.name for one in body[start:end]}) == end - start:  # type: ignore[attr-defined]
            body[start:end] = sorted(body[start:end], key=shape)
        start = end + 1


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
        body[start:end] = sorted(single, key=dump)
        start += len(single) + 1
