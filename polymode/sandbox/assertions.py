"""One test, taken apart: calls that the program's process makes, and an expression over their values.

``set(f([1, 2])) == {1, 2}`` becomes the call ``f([1, 2])`` and ``_value(0, lambda _: set(_)) == {1, 2}``, evaluated
elsewhere. A *step* such as ``set(_)`` is what the test does first with a value. It needs nothing but the value, so the
program's process may do it where the value is not plain (an iterator, an object); what is compared with an expected
value is always plain and always outside.

A step never holds what the value is compared with and never decides: no operator, no comparison, no truth, no predicate
such as ``startswith``.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from polymode.errors import RecordError
from polymode.sandbox import constants
from polymode.sandbox.constants import NotConstantError, literal

Call = list[str]
"""A call of the program, and the steps that follow it."""
_Chain = tuple[ast.expr, list[ast.expr]]
"""The same as expressions; a step's ``_`` is the value."""

TOOLS = frozenset({"_value", "_attempt", "_close", "_expected", "_"})
"""Names that an expression uses beside those of Python and the imports."""

MAX_UNROLLED = 10_000
"""Most values that a comprehension over constants is written out for."""

_STEP_NAMES = (
    "abs bytearray bytes complex dict enumerate float frozenset getattr int iter len list max min next repr reversed"
    " round set sorted str sum tuple type"
)
_STEPS = frozenset(_STEP_NAMES.split())
"""Built-in functions that are steps when the value is their first argument."""
_PREDICATE_NAMES = (
    "startswith endswith issubset issuperset isdisjoint union intersection difference symmetric_difference equals"
    " __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __contains__"
)
_PREDICATES = frozenset(_PREDICATE_NAMES.split())
"""Methods that decide, or give their argument back: never called in the program's process."""
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
_READING = (ast.Name, ast.Subscript, ast.Slice, ast.Constant, ast.Tuple, ast.List, ast.keyword, ast.expr_context)


def take_apart(test: ast.expr, outer_names: set[str], first: int = 0) -> tuple[str, list[Call]]:
    """The expression and the calls of one test.

    Args:
        test: what is asserted.
        outer_names: names that are not the program's.
        first: number of its first call.

    Raises:
        RecordError: it calls nothing of the program, or cannot be taken apart; says why.
    """
    extractor = _Extractor(outer_names, first)
    extractor.bind(n.target.id for n in ast.walk(test) if isinstance(n, ast.NamedExpr))
    expression = ast.fix_missing_locations(extractor.rewrite(test))
    text = ast.unparse(expression)
    strange = free_names(expression) - outer_names - TOOLS
    if strange:
        names = ", ".join(sorted(strange))
        raise RecordError(f"tests: {ast.unparse(test)!r} uses {names} outside of a call; put it inside a call")
    if not extractor.calls:
        raise RecordError(
            f"tests: {ast.unparse(test)!r} calls nothing of the program; call the function that is asked for"
        )
    return text, extractor.calls


def free_names(node: ast.AST) -> set[str]:
    """Names that are read and not bound within."""
    nodes = list(ast.walk(node))
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    bound |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)} - bound


class _Extractor:
    def __init__(self, outer_names: set[str], first: int) -> None:
        self.outer_names, self.first = outer_names, first
        self.calls: list[Call] = []
        self._bound: list[set[str]] = []
        """Names bound around the node that is looked at."""
        self._chains: dict[int, tuple[ast.expr, _Chain | None]] = {}

    def bind(self, names: Iterable[str]) -> None:
        """Names that the whole test binds."""
        self._bound.append(set(names))

    def rewrite(self, node: ast.expr) -> ast.expr:
        """``node`` with values of calls for calls."""
        if self._is_outer(node):
            return node
        chain = self._chain(node)
        if chain is not None:
            return self._value(*chain)
        if isinstance(node, _COMPREHENSIONS):
            return self._comprehension(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("all", "any", "map"):
            return self._call_of_built_in(node)
        bound = (
            {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)} if isinstance(node, ast.Lambda) else set[str]()
        )
        return self._parts(node, bound)

    def _parts(self, node: Any, bound: set[str]) -> Any:
        """A copy of the node whose parts are rewritten."""
        self._bound.append(bound)
        fields: dict[str, Any] = {}
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.expr):
                value = self.rewrite(value)
            elif isinstance(value, (ast.keyword, ast.comprehension)):
                value = self._parts(value, set())
            elif isinstance(value, list):
                value = [
                    self.rewrite(one)
                    if isinstance(one, ast.expr)
                    else self._parts(one, set())
                    if isinstance(one, (ast.keyword, ast.comprehension))
                    else one
                    for one in value
                ]
            fields[name] = value
        self._bound.pop()
        return type(node)(**fields)

    def _value(self, call: ast.expr, steps: Sequence[ast.expr]) -> ast.expr:
        inner = free_names(call).intersection(*[set().union(*self._bound)]) if self._bound else set[str]()
        if inner:
            raise RecordError(
                f"tests: {ast.unparse(call)!r} calls the program for values of {', '.join(sorted(inner))}, which are "
                "not known before it runs; write one assert for each"
            )
        texts = [ast.unparse(step) for step in steps]
        self.calls.append([ast.unparse(call), *texts])
        number = self.first + len(self.calls) - 1
        arguments = "".join(f", lambda _: {text}" for text in texts)
        return ast.parse(f"_value({number}{arguments})", mode="eval").body

    def _call_of_built_in(self, node: ast.Call) -> ast.expr:
        """``all`` and ``any`` stop at what decides; ``map`` may call the program."""
        name = cast(ast.Name, node.func).id
        if name == "map" and len(node.args) == 2 and not self._is_outer(node.args[0]):
            target, element = (
                ast.Name("_each", ast.Store()),
                ast.Call(node.args[0], [ast.Name("_each", ast.Load())], []),
            )
            generator = ast.GeneratorExp(element, [ast.comprehension(target, node.args[1], [], 0)])
            return self.rewrite(generator)
        if name in ("all", "any") and len(node.args) == 1:
            [argument] = node.args
            if isinstance(argument, (ast.ListComp, ast.GeneratorExp)):
                argument = self._unrolled(argument) or argument
            if isinstance(argument, (ast.List, ast.Tuple)):
                # As ``and`` and ``or`` and not as a list: what comes after the one that decides is not looked at.
                operator = ast.And() if name == "all" else ast.Or()
                values = [ast.Constant(name == "all"), *map(self.rewrite, argument.elts)]
                return ast.Call(ast.Name("bool", ast.Load()), [ast.BoolOp(operator, values)], [])
        return self._parts(node, set())

    def _comprehension(self, node: Any) -> ast.expr:
        unrolled = self._unrolled(node)
        if unrolled is None:
            return self._parts(node, _targets(node))
        inner = self._parts(unrolled, set())
        if isinstance(node, ast.GeneratorExp):
            return ast.Call(ast.Name("iter", ast.Load()), [inner], [])
        return inner

    def _unrolled(self, node: Any) -> ast.expr | None:
        """A comprehension over constants written out, where its parts call the program for each; else None."""
        targets = _targets(node)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        parts += [condition for generator in node.generators for condition in generator.ifs]
        if not any(self._calls_with(part, targets) for part in parts):
            return None
        try:
            rows = [
                [substituted(part, names) for part in parts[: 2 if isinstance(node, ast.DictComp) else 1]]
                for names in _bindings(node.generators, {})
            ]
        except NotConstantError as exc:
            raise RecordError(
                f"tests: {ast.unparse(node)!r} calls the program for values that it binds itself, and {exc}; "
                "write one assert for each"
            ) from None
        if isinstance(node, ast.DictComp):
            return ast.Dict([row[0] for row in rows], [row[1] for row in rows])
        elements = [row[0] for row in rows]
        if isinstance(node, ast.SetComp):
            return ast.Call(ast.Name("set", ast.Load()), [ast.List(elements, ast.Load())], [])
        return ast.List(elements, ast.Load())

    def _calls_with(self, part: ast.AST, names: set[str]) -> bool:
        return any(
            isinstance(node, ast.Call) and not self._is_outer(node.func) and free_names(node) & names
            for node in ast.walk(part)
        )

    def _is_outer(self, node: ast.AST) -> bool:
        """Whether it names nothing of the program."""
        return free_names(node) <= self.outer_names | TOOLS | set().union(*self._bound)

    def _chain(self, node: ast.expr) -> _Chain | None:
        """The call of the program that a node starts with, and the steps on it; None where it does not start so."""
        if id(node) not in self._chains:  # with the node, so that its id stays its own
            self._chains[id(node)] = (node, self._new_chain(node))
        return self._chains[id(node)][1]

    def _new_chain(self, node: ast.expr) -> _Chain | None:
        hole = ast.Name("_", ast.Load())
        inner: ast.expr | None = None
        step: ast.expr | None = None
        needs_program = False
        if isinstance(node, ast.Call):
            others = [*node.args, *(keyword.value for keyword in node.keywords)]
            if isinstance(node.func, ast.Name) and node.func.id in self.outer_names:
                if node.func.id in _STEPS and node.args and all(map(self._is_outer, others[1:])):
                    inner, step = node.args[0], ast.Call(node.func, [hole, *node.args[1:]], node.keywords)
            elif isinstance(node.func, ast.Attribute) and self._is_call(node.func.value):
                if not (node.func.attr in _PREDICATES and others):
                    inner = node.func.value
                    step = ast.Call(ast.Attribute(hole, node.func.attr, ast.Load()), node.args, node.keywords)
                    needs_program = not all(map(self._is_outer, others))
            elif self._is_call(node.func):
                inner, step = node.func, ast.Call(hole, node.args, node.keywords)
                needs_program = not all(map(self._is_outer, others))
            elif not self._is_outer(node.func):
                return self._root(node)
        elif isinstance(node, ast.Attribute) and node.attr not in _PREDICATES:
            inner, step = node.value, ast.Attribute(hole, node.attr, ast.Load())
        elif isinstance(node, ast.Subscript) and _is_index(node.slice):
            inner, step = node.value, ast.Subscript(hole, node.slice, ast.Load())
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)) and self._reads_only(node):
            first, *more = node.generators
            inner = first.iter
            step = type(node)(node.elt, [ast.comprehension(first.target, hole, first.ifs, 0), *more])
        if inner is None or step is None:
            return None
        chain = self._chain(inner)
        if chain is None:
            return None
        if needs_program:  # its arguments are the program's, so it is made beside the program as a whole
            return node, []
        return chain[0], [*chain[1], step]

    def _root(self, node: ast.Call) -> _Chain | None:
        """A call of a name of the program, or of an attribute of one; None for other functions."""
        root = node.func
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            if isinstance(root, ast.Attribute) and root.attr in _PREDICATES:
                raise RecordError(
                    f"tests: {ast.unparse(node)!r} lets the program decide by {root.attr!r}; use an operator"
                )
            root = root.value
        return (node, []) if isinstance(root, ast.Name) and root.id not in self.outer_names else None

    def _is_call(self, node: ast.expr) -> bool:
        return self._chain(node) is not None

    def _reads_only(self, node: Any) -> bool:
        """Whether a comprehension does no more with its items than read parts of them."""
        parts = [node.elt, *[part for g in node.generators for part in (g.target, *g.ifs)]]
        parts += [g.iter for g in node.generators[1:]]
        for one in itertools.chain.from_iterable(map(ast.walk, parts)):
            is_method = isinstance(one, ast.Attribute) and one.attr not in _PREDICATES
            is_call = isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in _STEPS
            is_call |= isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)
            if not (is_method or is_call or isinstance(one, _READING)):
                return False
        return all(free_names(part) <= _targets(node) | self.outer_names for part in parts)


def _targets(node: Any) -> set[str]:
    """Names that a comprehension binds."""
    return {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}


def _is_index(node: ast.expr) -> bool:
    return all(
        isinstance(one, (ast.Constant, ast.Slice, ast.Tuple, ast.UnaryOp, ast.USub, ast.Load)) for one in ast.walk(node)
    )


def _bindings(generators: Sequence[ast.comprehension], names: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The names of each round of a comprehension; raises NotConstantError."""
    rows = [names]
    for generator in generators:
        longer: list[dict[str, Any]] = []
        for row in rows:
            for item in constants.evaluate(generator.iter, {**constants.namespace(), **row}):
                bound = bind_target(generator.target, item, row)
                scope = {**constants.namespace(), **bound}
                if all(constants.evaluate(condition, scope) for condition in generator.ifs):
                    longer.append(bound)
                if len(longer) > MAX_UNROLLED:
                    raise NotConstantError(f"there are more than {MAX_UNROLLED} of them")
        rows = longer
    yield from rows


def bind_target(target: ast.expr, item: Any, names: dict[str, Any]) -> dict[str, Any]:
    """``names`` and those that assigning ``item`` to the target of a loop binds; raises NotConstantError."""
    scope = {**constants.namespace(), **names, "_item": item}
    constants.execute(ast.fix_missing_locations(ast.Assign([target], ast.Name("_item", ast.Load()))), scope)
    return {name: value for name, value in scope.items() if name not in ("_item", "__builtins__")}


def substituted(node: ast.expr, names: dict[str, Any]) -> ast.expr:
    """A copy of an expression with values, or expressions, for names; raises NotConstantError."""
    return cast(ast.expr, _Substitution(names).visit(_copied(node)))


def _copied(node: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(ast.fix_missing_locations(node)), mode="eval").body


class _Substitution(ast.NodeTransformer):
    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if not isinstance(node.ctx, ast.Load) or node.id not in self.names:
            return node
        value = self.names[node.id]
        if isinstance(value, ast.expr):
            return _copied(value)
        return literal(value) if value not in constants.MODULES.values() and not callable(value) else node

    def _with_bound(self, node: Any) -> Any:
        bound = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        bound |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        inner = {name: value for name, value in self.names.items() if name not in bound}
        return _Substitution(inner).generic_visit(node)

    visit_Lambda = visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _with_bound
