"""Tests of several statements, taken apart into single ones.

A test may be any block of these statements, such as the body of HumanEval's ``check``: assert, assignments, loops over
what is known before the program runs, conditions on such values, ``try`` around calls that should raise, imports, and
functions that call nothing of the program. Loops are written out, and variables stand for what they were assigned::

    for n in range(2):          assert f(0) == [0]
        found = f(n)       ->   assert f(1) == [1]
        assert found == [n]

What uses more of Python is refused by name, when the tests are loaded.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Sequence
from typing import Any

from polymode.errors import RecordError
from polymode.sandbox import constants
from polymode.sandbox.assertions import MAX_UNROLLED, bind_target, free_names, substituted
from polymode.sandbox.constants import NotConstantError

_TRUE, _FALSE = ast.Constant(True), ast.Constant(False)
_MUTABLE = (list, dict, set, bytearray, deque)
_READING_METHOD_NAMES = (
    "capitalize casefold center copy count date decode difference encode end endswith expandtabs find format get"
    " group groupdict groups hex index intersection is_integer isalnum isalpha isascii isdecimal isdigit"
    " isdisjoint isidentifier islower isnumeric isoformat isprintable isspace issubset issuperset istitle isupper"
    " items join keys ljust lower lstrip most_common partition removeprefix removesuffix replace rfind rindex"
    " rjust rpartition rsplit rstrip span split splitlines start startswith strftime strip swapcase"
    " symmetric_difference time title translate union upper values zfill"
)
_READING_METHODS = frozenset(_READING_METHOD_NAMES.split())
"""Methods of plain values that change nothing."""
_VACUOUS = {"AssertionError", "Exception", "BaseException"}
"""Exceptions whose handler would also catch a failed assert."""


class Block:
    """The asserted expressions of a block of statements.

    Args:
        outer_names: names that are not the program's.
        names: values that are known, by name.
    """

    def __init__(self, outer_names: set[str], names: dict[str, Any] | None = None) -> None:
        self.outer_names = set(outer_names)
        self.tests: list[ast.expr] = []
        """What is asserted, in order."""
        self.imports: list[str] = []
        """Import statements and functions of the block: executed before the comparisons, and never by the program."""
        self.own_names: set[str] = set()
        """Names that they define; a call of the program cannot use them, whereas it can use `outer_names`."""
        self._names: dict[str, Any] = {**constants.namespace(), **(names or {})}
        """Values, and expressions of the program's values, by name."""
        self._is_part = False
        self._passed: set[str] = set()
        """Variables that the program got and may have changed."""
        self._uses: dict[str, int] = {}
        """How often each variable that stands for a call of the program is read: each time it is called anew."""
        self._changing: dict[str, str] = {}
        """What may have changed the value of such a variable, which a new call would not show."""

    def run(self, statements: Sequence[ast.stmt]) -> Block:
        """Take the statements apart; raises RecordError for one that cannot be."""
        for statement in statements:
            try:
                self._statement(statement)
            except NotConstantError as exc:
                line = ast.unparse(statement).splitlines()[0]
                raise RecordError(f"tests: {line!r} cannot be taken apart: {exc}; write it as single asserts") from None
        return self

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assert):
            self._assert(node.test)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            constants.bind_import(node, self._names)
            self._define(node, [alias.asname or alias.name.split(".")[0] for alias in node.names])
        elif isinstance(node, ast.FunctionDef) and self._is_outer(node):
            self._define(node, [node.name])
        elif isinstance(node, ast.Try):
            self._try(node.body, [(_types(h), h.body, h.name) for h in node.handlers], node)
        elif isinstance(node, ast.With) and len(node.items) == 1 and _raises(node.items[0].context_expr):
            context = node.items[0].context_expr
            assert isinstance(context, ast.Call) and context.args
            self._try([*node.body, ast.Assert(_FALSE)], [(_names_of(context.args[0]), [], None)], node)
        elif constants.is_closed(node, self._known()):
            names = self._known()
            constants.execute(node, names)
            self._names |= names
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            self._assign(node)
        elif isinstance(node, ast.For) and not node.orelse:
            for item in self._items(node.iter):
                self._names |= bind_target(node.target, item, self._known())
                self.run(node.body)
        elif isinstance(node, ast.If):
            self.run(node.body if constants.evaluate(node.test, self._known()) else node.orelse)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            self._changing |= {name: ast.unparse(node) for name in free_names(node) if self._is_called_anew(name)}
            self._add(ast.Tuple([self._resolved(node.value)], ast.Load()))  # true, unless the call raises
        elif not isinstance(node, ast.Pass):
            fix = (
                "an expression asserts nothing" if isinstance(node, ast.Expr) else "that is no statement of a test here"
            )
            raise NotConstantError(fix)

    def _assert(self, test: ast.expr) -> None:
        if constants.is_closed(test, self._known()):
            changed = free_names(test) & self._passed
            if changed:
                raise NotConstantError(f"the program may have changed {', '.join(sorted(changed))}")
            if not constants.evaluate(test, self._known()):
                if not self._is_part:
                    raise NotConstantError("it never holds")
                self._add(_FALSE)
        else:
            self._add(self._resolved(test))

    def _add(self, test: ast.expr) -> None:
        if len(self.tests) >= MAX_UNROLLED:
            raise NotConstantError(f"it comes to more than {MAX_UNROLLED} asserts")
        self.tests.append(test)

    def _assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if len(targets) != 1 or node.value is None:
            raise NotConstantError("it assigns several times")
        [target] = targets
        value = self._resolved(node.value)
        for one in ast.walk(target):
            if isinstance(one, ast.Name):
                self._uses.pop(one.id, None)
                self._changing.pop(one.id, None)
        if isinstance(target, ast.Name):
            self._names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)) and all(isinstance(one, ast.Name) for one in target.elts):
            for place, one in enumerate(target.elts):
                assert isinstance(one, ast.Name)
                self._names[one.id] = ast.Subscript(value, ast.Constant(place), ast.Load())
        else:
            raise NotConstantError("it assigns to more than names")

    def _try(self, body: Sequence[ast.stmt], handlers: Sequence[Any], node: ast.stmt) -> None:
        """One test: the body holds, or it raises and the handler holds. Or variables: of the one, or of the other."""
        if isinstance(node, ast.Try) and node.finalbody:
            raise NotConstantError("it has a finally")
        inner = self._part([*body, *(node.orelse if isinstance(node, ast.Try) else [])])
        parts = [(types, self._part(statements), name) for types, statements, name in handlers]
        arguments: list[ast.expr] = []
        for types, part, name in parts:
            if inner.tests and _VACUOUS & set(types) and any(not isinstance(test, ast.Tuple) for test in inner.tests):
                if all(isinstance(test, ast.Constant) and test is _FALSE for test in part.tests) and part.tests:
                    continue  # it fails either way
                raise NotConstantError(f"its handler of {types[0]} would catch the assert; name the exception")
            if name and any(name in free_names(test) for test in part.tests):
                raise NotConstantError(f"it reads the exception {name!r}")
            arguments.append(ast.Tuple([_strings(types), _thunk(_all(part.tests))], ast.Load()))
        changed = [name for part in (inner, *(part for _, part, _ in parts)) for name in part.changes(self._names)]
        self._add(_attempt(_thunk(_all(inner.tests)), arguments))
        before = ast.Tuple(inner.tests or [_TRUE], ast.Load())
        for name in dict.fromkeys(changed):
            first = ast.Subscript(ast.List([before, inner.value(name)], ast.Load()), ast.Constant(1), ast.Load())
            others: list[ast.expr] = [
                ast.Tuple([_strings(types), _thunk(part.value(name))], ast.Load()) for types, part, _ in parts
            ]
            self._names[name] = _attempt(_thunk(first), others)

    def changes(self, names: dict[str, Any]) -> list[str]:
        """Names that mean something else than in ``names``."""
        return [name for name, value in self._names.items() if name not in names or names[name] is not value]

    def value(self, name: str) -> ast.expr:
        """An expression for what a variable is after the block; raises NotConstantError."""
        value = self._names.get(name)
        return value if isinstance(value, ast.expr) else constants.literal(value)

    def _part(self, statements: Sequence[ast.stmt]) -> Block:
        """A block that goes on from here and changes nothing here; ``raise`` fails in it."""
        part = Block(self.outer_names, self._names)
        part._passed, part._is_part = self._passed, True
        part._uses, part._changing = self._uses, self._changing
        return part.run([ast.Assert(_FALSE) if isinstance(one, ast.Raise) else one for one in statements])

    def _define(self, node: ast.stmt, names: Sequence[str]) -> None:
        self.imports.append(ast.unparse(node))
        self.outer_names |= set(names)
        self.own_names |= set(names)

    def _items(self, node: ast.expr) -> list[Any]:
        items: list[Any] = []
        for item in constants.evaluate(node, self._known()):
            items.append(item)
            if len(items) > MAX_UNROLLED:
                raise NotConstantError(f"it has more than {MAX_UNROLLED} rounds")
        return items

    def _known(self) -> dict[str, Any]:
        return {name: value for name, value in self._names.items() if not isinstance(value, ast.expr)}

    def _is_outer(self, node: ast.FunctionDef) -> bool:
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        bound = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
        bound |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)} | {node.name}
        return names - bound <= self.outer_names

    def _is_called_anew(self, name: str) -> bool:
        return isinstance(self._names.get(name), ast.expr)

    def _refuse_changed(self, node: ast.expr) -> None:
        """Raise NotConstantError where a variable stands for an object that is changed, and is read again."""
        for one in ast.walk(node):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and self._is_called_anew(one.id):
                self._uses[one.id] = self._uses.get(one.id, 0) + 1
            if not isinstance(one, ast.Call):
                continue
            is_method = isinstance(one.func, ast.Attribute) and one.func.attr not in _READING_METHODS
            if is_method or ast.unparse(one.func) == "next":
                names = free_names(one.func if is_method else ast.Tuple(one.args[:1], ast.Load()))
                self._changing |= {name: ast.unparse(one) for name in names if self._is_called_anew(name)}
        for name, change in self._changing.items():
            if self._uses.get(name, 0) > 1:
                raise NotConstantError(
                    f"{name} stands for a call that each use makes anew, so that {change} would leave no trace"
                )

    def _resolved(self, node: ast.expr) -> ast.expr:
        """The expression with values for variables; what is known of the arguments of calls is calculated."""
        known = self._known()
        self._refuse_changed(node)
        self._passed |= {name for name in free_names(node) if isinstance(known.get(name), _MUTABLE)}

        class Folding(ast.NodeTransformer):
            def visit_Call(self, call: ast.Call) -> ast.AST:
                call.args = [_folded(argument, known) for argument in call.args]
                for keyword in call.keywords:
                    keyword.value = _folded(keyword.value, known)
                return self.generic_visit(call)

        copy = ast.parse(ast.unparse(node), mode="eval").body
        return substituted(Folding().visit(copy), {n: v for n, v in self._names.items() if n != "__builtins__"})


def _folded(node: ast.expr, known: dict[str, Any]) -> ast.expr:
    names = free_names(node)
    if not names or not constants.is_closed(node, known) or names.isdisjoint(known):
        return node
    try:
        return constants.literal(constants.evaluate(node, known))
    except NotConstantError:
        return node


def _all(tests: Sequence[ast.expr]) -> ast.expr:
    if not tests:
        return _TRUE
    return tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), list(tests))


def _thunk(node: ast.expr) -> ast.expr:
    return ast.Lambda(ast.arguments([], [], None, [], [], None, []), node)


def _attempt(body: ast.expr, handlers: Sequence[ast.expr]) -> ast.expr:
    return ast.Call(ast.Name("_attempt", ast.Load()), [body, *handlers], [])


def _strings(names: Sequence[str]) -> ast.expr:
    return ast.Tuple([ast.Constant(name) for name in names], ast.Load())


def _types(handler: ast.ExceptHandler) -> list[str]:
    return ["BaseException"] if handler.type is None else _names_of(handler.type)


def _names_of(node: ast.expr) -> list[str]:
    """Names of exception classes, by the last part: ``json.JSONDecodeError`` is ``JSONDecodeError``."""
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return [ast.unparse(part).rpartition(".")[2] for part in parts]


def _raises(node: ast.expr) -> bool:
    """Whether it is ``pytest.raises(...)`` or the like."""
    return (
        isinstance(node, ast.Call) and bool(node.args) and ast.unparse(node.func).endswith(("raises", "assertRaises"))
    )
