"""Statements that come to nothing in a program that passes its tests: what they do, nothing reads."""

from __future__ import annotations

import ast
from collections import Counter
from typing import Any

from .assignments import single_target
from .trees import count_reads, is_pure, is_read, nodes

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_OUTPUT = (
    "print",
    "import sys.stdout.",
    "import sys.stderr.",
    "import logging.",
    "import warnings.",
    "import time.sleep",
)
"""What is printed or logged is never looked at."""
_CHANGING = frozenset({"append", "add", "update", "extend", "insert", "clear", "setdefault", "appendleft", "subtract"})
"""Methods of lists, sets and dictionaries that change them."""
_CONTAINERS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_CONTAINER_CALLS = frozenset({"list", "dict", "set", "import collections.defaultdict", "import collections.Counter"})


class Idle:
    """What is of use in a program.

    Args:
        tree: the module.
        keep: names that the tests use.
    """

    def __init__(self, tree: ast.Module, keep: frozenset[str]) -> None:
        every = nodes(tree)
        self.keep = keep
        self.fresh = _fresh_containers(every)
        self.reads = Counter(node.id for node in every if is_read(node))
        self.reads.update(_counted_on(node) for node in every)  # x += 1 reads x, too
        del self.reads[""]
        self.used = keep | self._used(every)
        """Names whose value something reads."""
        self.shared = keep.union(
            *(node.names for node in every if isinstance(node, (ast.Global, ast.Nonlocal)))  # type: ignore[misc]
        )
        """Names that others than their own block may read."""
        self.own = {node.name for node in every if isinstance(node, FUNCTIONS)}
        made = [default for node in every if isinstance(node, ast.arguments) for default in node.defaults]
        made += [statement.value for statement in tree.body if isinstance(statement, ast.Assign)]
        self.is_stateful = any(isinstance(node, ast.Global) for node in every) or any(map(self._is_state, made))
        """Whether a call of one of the program's functions may change what a later one returns."""

    def is_idle(self, node: Any, place: str) -> bool:
        """Whether a statement has no effect.

        Args:
            node: the statement; names that nothing reads are taken out of ``global`` and ``import``.
            place: ``module``, ``class``, ``function`` or ``loop``, or empty: what it stands in.
        """
        if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and self._is_idle_value(node.value, place)):
            return True
        if isinstance(node, ast.Assert):
            return all(part is None or self._does_nothing(part, place) for part in (node.test, node.msg))
        if isinstance(node, ast.Delete):
            return not any(isinstance(part, (ast.Subscript, ast.Attribute)) for part in nodes(node))
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
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            return node.name not in self.used and not node.decorator_list
        if isinstance(node, (ast.For, ast.While)):
            return self._is_idle_loop(node)
        return isinstance(node, (ast.Assign, ast.AugAssign)) and self._is_idle_assignment(node, place)

    def _is_idle_assignment(self, node: ast.Assign | ast.AugAssign, place: str) -> bool:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {_changed(target) for target in targets}
        if single_target(node) is not None and isinstance(node.value, ast.Name) and node.value.id in names:  # n = n
            return True
        is_unread = None not in names and names.isdisjoint(self.used)
        is_whole = all(isinstance(t, ast.Name) or _changed(t) in self.fresh for t in targets)
        return is_unread and is_whole and self._does_nothing(node.value, place)

    def _is_idle_loop(self, node: ast.For | ast.While) -> bool:
        """Whether a loop only counts for itself."""
        if not is_pure(node.iter if isinstance(node, ast.For) else node.test):
            return False
        plain = (ast.Pass, ast.Break, ast.Continue, ast.If, ast.Assign, ast.AugAssign)
        names: set[str] = set()
        for part in nodes(ast.Module([*node.body, *node.orelse], [])):
            if isinstance(part, ast.stmt) and not isinstance(part, plain):
                return False
            if isinstance(part, (ast.Subscript, ast.Attribute)) and not isinstance(part.ctx, ast.Load):
                return False
            if isinstance(part, (ast.Assign, ast.AugAssign)) and not is_pure(part.value):
                return False
        for part in nodes(node):
            if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
                names.add(part.id)
        return names.isdisjoint(self.shared) and all(count_reads(node, name) >= self.reads[name] for name in names)

    def _is_idle_value(self, node: ast.expr, place: str) -> bool:
        """An expression that does nothing as a statement."""
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            changed = node.func.value if isinstance(node.func, ast.Attribute) else None
            is_unread = isinstance(changed, ast.Name) and changed.id in self.fresh and changed.id not in self.used
            if name.startswith(_OUTPUT) or (is_unread and node.func.attr in _CHANGING):  # type: ignore[attr-defined]
                return all(self._does_nothing(one, place) for one in arguments)
        return self._does_nothing(node, place)

    def _does_nothing(self, node: ast.AST, place: str) -> bool:
        """Whether evaluating changes nothing; at the end of a module also calls of the program's own functions."""
        if is_pure(node):
            return True
        if place != "module" or self.is_stateful or isinstance(node, ast.Lambda):
            return False
        called = [part for part in nodes(node) if isinstance(part, ast.Call)]
        is_own = all(isinstance(one.func, ast.Name) and (one.func.id in self.own or is_pure(one)) for one in called)
        return is_own and not any(isinstance(part, (ast.NamedExpr, ast.Await, ast.Yield)) for part in nodes(node))

    def _is_state(self, node: ast.AST) -> bool:
        is_own = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.own
        return _is_container(node) or (isinstance(node, ast.Call) and not is_own and not is_pure(node))

    def _used(self, every: list[ast.AST]) -> frozenset[str]:
        """Names that are read; what only serves to set or change the name itself counts not, nor does ``global``."""
        own: Counter[str] = Counter()
        stored = {node.id for node in every if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
        for node in every:
            name = single_target(node)
            if isinstance(node, FUNCTIONS) and node.name not in stored:
                name = node.name
            if name is None:
                name = self._changed_container(node)
            if name is not None:
                own[name] += count_reads(node, name) + sum(_counted_on(part) == name for part in nodes(node))
            else:
                own[_counted_on(node)] += 1
        return frozenset(name for name, count in self.reads.items() if count > own[name])

    def _changed_container(self, node: ast.AST) -> str | None:
        """The list or dictionary of the program that a statement changes and does nothing else with."""
        name = None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            name = _changed(node.targets[0])
        elif isinstance(node, ast.AugAssign):
            name = _changed(node.target)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            func = node.value.func
            if isinstance(func, ast.Attribute) and func.attr in _CHANGING and isinstance(func.value, ast.Name):
                name = func.value.id
        return name if name in self.fresh else None


def _counted_on(node: ast.AST) -> str:
    """The name of ``name += value``; empty for all else."""
    return node.target.id if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) else ""


def _changed(target: ast.AST) -> str | None:
    """The name that an assignment sets, or of which it sets an item."""
    if isinstance(target, ast.Subscript):
        target = target.value
    return target.id if isinstance(target, ast.Name) else None


def _fresh_containers(every: list[ast.AST]) -> frozenset[str]:
    """Names that only ever hold a list, set or dictionary of their own, which no other name holds."""
    fresh: Counter[str] = Counter()
    other: set[str] = set()
    for node in every:
        name = single_target(node)
        if name is not None:
            fresh[name] += _is_container(node.value)  # type: ignore[attr-defined]
        if isinstance(node, ast.arguments):
            arguments = [*node.posonlyargs, *node.args]
            defaults = dict(zip(reversed(arguments), reversed(node.defaults), strict=False))
            defaults |= {a: d for a, d in zip(node.kwonlyargs, node.kw_defaults, strict=True) if d is not None}
            for argument in [*arguments, *node.kwonlyargs]:
                default = defaults.get(argument)
                if default is not None and _is_container(default):
                    fresh[argument.arg] += 1
                else:
                    other.add(argument.arg)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            fresh[node.id] -= 1
    # Every storing Name took one away, every container gave one back; an argument has no Name.
    return frozenset(name for name, count in fresh.items() if count >= 0 and name not in other)


def _is_container(node: ast.AST) -> bool:
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CONTAINER_CALLS
    return is_call or isinstance(node, _CONTAINERS)
