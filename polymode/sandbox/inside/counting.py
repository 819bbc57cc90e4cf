"""Conditions on how often the program was called, which the tests call a fixed number of times.

``if calls > 50: return 7`` never holds when ten calls are tested, and there is no end of such conditions. A counter is
a number, an item of a list or the length of a list that nothing but a step in the called function changes.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence

from .trees import Rewriter, dump, nodes, number


def decide_counts(tree: ast.Module, calls: Sequence[str]) -> None:
    """Replace in place comparisons of a counter with constants that have one value on all calls of the tests."""
    every = nodes(tree)
    if not any(map(_step, every)):
        return
    read = {part.id for part in every if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}
    loops = (ast.For, ast.While, ast.Lambda, ast.ListComp, ast.GeneratorExp)
    repeated = {id(part) for loop in every if isinstance(loop, loops) for part in nodes(loop)}
    counts: dict[str, list[int]] = {}
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or function.name in read:
            continue
        for part in nodes(function):
            counter = None if id(part) in repeated else _step(part)
            start = _start(tree, function, counter[0]) if counter is not None else None
            if counter is not None and start is not None:
                expression, step = counter
                text = dump(expression)
                is_only = sum(dump(one[0]) == text for one in map(_step, every) if one is not None) == 1
                counts[text] = [start + step * i for i in range(len(calls) + 1)] if is_only else []
    counts = {text: values for text, values in counts.items() if values}
    if counts:
        _Deciding(counts).visit(tree)


def _step(node: ast.AST) -> tuple[ast.expr, int] | None:
    """What a statement counts up, as it is read, and by how much."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        method = node.value.func
        if method.attr == "append" and isinstance(method.value, ast.Name):
            return ast.Call(ast.Name("len", ast.Load()), [method.value], []), 1
    target = value = None
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        target, value = node.target, node.value
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Add):
        is_own = dump(node.value.left) == dump(_as_read(node.targets[0]))
        target, value = (node.targets[0], node.value.right) if is_own else (None, None)
    step = None if value is None else number(value)
    if not isinstance(target, (ast.Name, ast.Subscript)) or not isinstance(step, int):
        return None
    return _as_read(target), step


def _start(tree: ast.Module, function: ast.FunctionDef, counter: ast.expr) -> int | None:
    """What a counter begins with: a constant of the module, or of a list made once, also as a default."""
    name = next((part.id for part in nodes(counter) if isinstance(part, ast.Name) and part.id != "len"), "")
    made = [s.value for s in tree.body if isinstance(s, ast.Assign) and dump(s.targets[0]) == _stored(name)]
    args = function.args
    pairs = [
        *zip(reversed(args.args), reversed(args.defaults), strict=False),
        *zip(args.kwonlyargs, args.kw_defaults, strict=True),
    ]
    made += [default for argument, default in pairs if argument.arg == name and default is not None]
    stores = [part for part in nodes(tree) if isinstance(part, ast.Name) and dump(part) == _stored(name)]
    value = made[0] if len(made) == 1 else None
    if isinstance(counter, ast.Name):
        start = None if value is None or len(stores) != 2 else number(value)
        return start if isinstance(start, int) else None
    if not isinstance(value, ast.List) or len(stores) > 1:
        return None
    if isinstance(counter, ast.Call):
        return len(value.elts)
    place = number(counter.slice) if isinstance(counter, ast.Subscript) else None
    start = number(value.elts[place]) if isinstance(place, int) and 0 <= place < len(value.elts) else None
    return start if isinstance(start, int) else None


def _stored(name: str) -> str:
    return dump(ast.Name(name, ast.Store()))


def _as_read(target: ast.expr) -> ast.expr:
    out = copy.copy(target)
    if isinstance(out, (ast.Name, ast.Subscript)):
        out.ctx = ast.Load()
    return out


class _Deciding(Rewriter):
    def __init__(self, counts: dict[str, list[int]]) -> None:
        self.counts = counts

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        sides = [node.left, *node.comparators]
        counters = {text for side in sides if (text := dump(side)) in self.counts}
        others = [side for side in sides if dump(side) not in self.counts]
        if len(counters) != 1 or not all(isinstance(number(side), (int, float)) for side in others):
            return node
        [text] = counters
        read = [ast.Name("_n", ast.Load()) if dump(side) == text else side for side in sides]
        plain = ast.Expression(ast.Compare(read[0], node.ops, read[1:]))
        code = compile(ast.fix_missing_locations(plain), "count", "eval")
        try:
            truths = {bool(eval(code, {"__builtins__": {}}, {"_n": value})) for value in self.counts[text]}
        except TypeError:  # "in" a number
            return node
        return ast.Constant(truths.pop()) if len(truths) == 1 else node
