"""Variables that only pass a value on, and assignments that come to nothing."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from .inlining import Replacing
from .trees import count_plain_reads, count_reads, is_pure, is_read, nodes, shape

_MAX_NODES = 200
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def single_target(node: Any) -> str | None:
    """The name that an assignment gives; None where it gives several, none, or is none."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


def split(node: ast.stmt) -> list[ast.stmt]:
    """``a = b = 0`` and ``a, b = 0, c`` as one assignment for each name, where the order does not matter."""
    if not isinstance(node, ast.Assign):
        return [node]
    if len(node.targets) > 1 and isinstance(node.value, (ast.Constant, ast.Name, ast.Lambda)):
        return [ast.Assign([target], copy.deepcopy(node.value)) for target in node.targets]
    [target, *others], value = node.targets, node.value
    if others or not isinstance(target, (ast.Tuple, ast.List)) or not isinstance(value, (ast.Tuple, ast.List)):
        return [node]
    names = [one.id for one in target.elts if isinstance(one, ast.Name)]
    if not len(target.elts) == len(names) == len(value.elts) == len(set(names)):
        return [node]
    if any(isinstance(one, ast.Starred) or any(count_reads(one, name) for name in names) for one in value.elts):
        return [node]
    return [ast.Assign([one], part) for one, part in zip(target.elts, value.elts, strict=True)]


def through_variables(body: list[ast.stmt], reads: Mapping[str, int], shared: Collection[str]) -> list[ast.stmt]:
    """``x = value; return x`` as ``return value``, also where the one use of ``x`` stands in the next statement.

    Args:
        body: statements of a block.
        reads: how often each name is read in the program.
        shared: names that others may read.
    """
    out: list[ast.stmt] = []
    for statement in body:
        while out and isinstance(statement, (ast.Return, ast.Assign)) and statement.value is not None:
            previous = out[-1]
            name = single_target(previous)
            if name is None or name in shared:
                break
            assert isinstance(previous, ast.Assign)
            # After a return nothing reads it again, and what is set again is another value.
            is_last = isinstance(statement, ast.Return) or reads[name] == 1 or single_target(statement) == name
            if not is_last or count_plain_reads(statement.value, name) != 1 or len(nodes(statement.value)) > _MAX_NODES:
                break
            statement.value = Replacing({name: previous.value}).visit(statement.value)
            out.pop()
        out.append(statement)
    return out


def drop_overwritten(body: list[ast.stmt], shared: Collection[str]) -> list[ast.stmt]:
    """Leave out what is set again before anything could read it."""
    out: list[ast.stmt] = []
    for i, statement in enumerate(body):
        name = single_target(statement)
        if name is not None and name not in shared and is_pure(statement.value):  # type: ignore[attr-defined]
            for later in body[i + 1 :]:
                if not isinstance(later, (ast.Assign, ast.Return)) or count_reads(later, name):
                    break
                if single_target(later) == name:
                    name = None
                    break
            if name is None:
                continue
        out.append(statement)
    return out


def sort_independent(body: list[ast.stmt]) -> list[ast.stmt]:
    """Neighbouring assignments of constants to different names, by constant, then in the order of their first use."""
    out = list(body)
    uses: dict[str, int] = {}
    start = 0
    while start < len(out):
        end = start
        while end < len(out) and single_target(out[end]) is not None and isinstance(out[end].value, ast.Constant):  # type: ignore[attr-defined]
            end += 1
        if len({single_target(one) for one in out[start:end]}) == end - start:
            if end - start > 1 and not uses:
                reads = [part.id for part in nodes(ast.Module(out, [])) if is_read(part)]
                uses = {name: i for i, name in reversed(list(enumerate(reads)))}
            out[start:end] = sorted(out[start:end], key=lambda one: (shape(one), uses.get(single_target(one) or "", 0)))
        start = end + 1
    return out


def return_in_branches(body: list[ast.stmt]) -> list[ast.stmt]:
    """A variable that every branch sets and that is then returned, as a return in every branch."""
    out = list(body)
    last = out[-1] if out else None
    name = last.value.id if isinstance(last, ast.Return) and isinstance(last.value, ast.Name) else None
    if name is None or len(out) < 2 or not isinstance(out[-2], ast.If):
        return out
    branch = out[-2]
    if not branch.orelse and len(out) > 2 and single_target(out[-3]) == name:  # a value, and another one if
        default = out[-3].value  # type: ignore[attr-defined]
        if is_pure(default) and not count_reads(branch, name) and _sets(branch.body, name):
            branch.orelse = [ast.Assign([ast.Name(name, ast.Store())], default)]
            del out[-3]
    if _sets([branch], name):
        _return_instead([branch])
        del out[-1]
    return out


def _sets(body: list[ast.stmt], name: str) -> bool:
    """Whether a block ends with setting a name, whichever way it goes."""
    last = body[-1] if body else None
    if isinstance(last, ast.If):
        return _sets(last.body, name) and _sets(last.orelse, name)
    return single_target(last) == name


def _return_instead(body: list[ast.stmt]) -> None:
    last = body[-1]
    if isinstance(last, ast.If):
        _return_instead(last.body)
        _return_instead(last.orelse)
    else:
        body[-1] = ast.Return(last.value)  # type: ignore[attr-defined]


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
        name = single_target(node)
        if name is not None and isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.Name)):
            values[name] = node.value
    steady = {
        name: value
        for name, value in values.items()
        if stores[name] == 1 and (not isinstance(value, ast.Name) or (stores[value.id] == 1 and value.id not in values))
    }
    if steady:
        Replacing(steady).visit(tree)
