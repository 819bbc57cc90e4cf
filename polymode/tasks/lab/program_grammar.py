"""The functions of the lab's programs, their probabilities, and the many ways to compute each.

This is what is known before any value is given, so it is the prior of every posterior. Each function has several
expressions that are different ideas, not one idea in another spelling: for ``2 * x + 1`` also a sum, a recursion, a
place in a range and a trick with bits. No two have the same normal form (`polymode.sandbox.inside.normal`). They agree
on the inputs that are tested; below 0 a recursion does not end, and above 9 a table has no place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

INPUTS = tuple(range(10))
"""Inputs on which a program is tested; the shown ones are among them."""

MORE_INPUTS = (-7, -2, -1, 13, 20)
"""Inputs that distinguish right programs by behaviour."""

PLAINNESS = 2.0
"""Exponent of the preference for plainer expressions: the r-th of a function with weight 1 / r^PLAINNESS."""

SHARES: dict[str, float] = {
    "linear": 0.4,
    "square": 0.1,
    "distance": 0.1,
    "maximum": 0.1,
    "minimum": 0.1,
    "remainder": 0.1,
    "quotient": 0.1,
}
"""Relative frequency of each kind of function; the functions of a kind are equally likely."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function with its ways to be written."""

    kind: str
    """One of `SHARES`."""
    values: tuple[int, ...]
    """Its values on `INPUTS`; no two functions share them all."""
    expressions: tuple[str, ...]
    """At least five expressions of ``x``, which may call ``f``, the plainest first."""


def program(expression: str) -> str:
    """The answer's text: one line of Python that defines ``f``."""
    return f"f = lambda x: {expression}"


def functions() -> Iterator[Function]:
    """Every function, kind by kind."""
    for a, b in product((1, 2, 3), range(-4, 7)):
        yield _function("linear", [a * x + b for x in INPUTS], _rising(a, b))
    for a, b in product((1, 2), range(4, 13)):
        yield _function("linear", [b - a * x for x in INPUTS], _falling(a, b))
    for b in range(-4, 7):
        yield _function("square", [x * x + b for x in INPUTS], _square(b))
    for c, b in product(range(2, 8), range(4)):
        yield _function("distance", [abs(x - c) + b for x in INPUTS], _distance(c, b))
        yield _function("maximum", [max(x, c) + b for x in INPUTS], _maximum(c, b))
        yield _function("minimum", [min(x, c) + b for x in INPUTS], _minimum(c, b))
    for m, b in product(range(2, 6), range(4)):
        yield _function("remainder", [x % m + b for x in INPUTS], _remainder(m, b))
    for d, b in product(range(2, 5), range(4)):
        yield _function("quotient", [x // d + b for x in INPUTS], _quotient(d, b))


class Grammar:
    """Functions with their probabilities.

    Args:
        members: the functions; by default all of them.
        weights: how likely each is before any value is shown; by default `SHARES`, evenly within a kind.
    """

    def __init__(self, members: Sequence[Function] | None = None, weights: Sequence[float] | None = None) -> None:
        self.functions = tuple(functions()) if members is None else tuple(members)
        kinds = [function.kind for function in self.functions]
        p = np.array(weights or [SHARES[kind] / kinds.count(kind) for kind in kinds])
        self.prior = p / p.sum()
        """P(function), shape (functions,)."""
        self.number_of: dict[str, int] = {
            program(expression): number
            for number, function in enumerate(self.functions)
            for expression in function.expressions
        }
        """The function of each program text."""
        self.popularity: dict[str, float] = {
            program(expression): rank**-PLAINNESS
            for function in self.functions
            for rank, expression in enumerate(function.expressions, 1)
        }
        """How often each program text is written, relative to the plainest of its function."""
        self._values = np.array([function.values for function in self.functions])  # (functions, inputs)

    def posterior(self, values: Mapping[int, int]) -> np.ndarray:
        """P(function | values shown), shape (functions,): the prior of those that fit, to sum 1; 0 when none does.

        The inputs are sampled without looking at any value, so their choice reveals nothing.
        """
        places = [INPUTS.index(x) for x in values]
        weights = self.prior * (self._values[:, places] == list(values.values())).all(1)
        return weights / (weights.sum() or 1.0)


def _function(kind: str, values: Sequence[int], expressions: Iterable[str]) -> Function:
    return Function(kind, tuple(values), tuple(dict.fromkeys(expressions)))


def _rising(a: int, b: int) -> Iterator[str]:
    """The sum a x + b, for a in 1..3."""
    x, end = _times(a, "x"), _signed(b)
    yield f"{x}{end}"
    if a > 1:
        yield f"{' + '.join('x' * a)}{end}"
    yield f"f(x - 1) + {a} if x else {b}"
    yield f"{_range(b, b + 10 * a, a)}[x]"
    yield f"{b - a} - {_times(a, '~x')}"  # ~x = -x - 1
    yield f"sum({a} for y in range(x)){end}"
    if a > 1 or b:
        yield f"sum(({', '.join('x' * a)}{f', {b}' if b else ''}))"
    if a == 1:
        yield f"max({_range(b, f'x{_signed(b + 1)}')})"
        if b >= 0:
            yield f"len({_range(-b, 'x')})"
    elif b and b % a == 0:
        yield f"{a} * (x{_signed(b // a)})"


def _falling(a: int, b: int) -> Iterator[str]:
    """The difference b - a x, for a in 1..2 and b > 1."""
    yield f"{b} - {_times(a, 'x')}"
    if a > 1:
        yield f"{b} - x - x"
    yield f"f(x - 1) - {a} if x else {b}"
    yield f"range({b}, {b - 10 * a}, -{a})[x]"
    yield f"{_times(a, '~x')}{_signed(b + a)}"
    yield f"{b} - sum({a} for y in range(x))"
    yield f"sum(({b}, {', '.join(['-x'] * a)}))"
    if a == 1 and b >= INPUTS[-1]:
        yield f"len(range(x, {b}))"
    elif a > 1 and b % a == 0:
        yield f"{a} * ({b // a} - x)"


def _square(b: int) -> Iterator[str]:
    end = _signed(b)
    yield f"x * x{end}"
    yield f"x ** 2{end}"
    yield f"f(x - 1) + 2 * x - 1 if x else {b}"
    yield f"sum(range(1, 2 * x, 2)){end}"  # the first odd numbers
    yield f"sum(x for y in range(x)){end}"
    yield f"(x + 1) * (x - 1){_signed(b + 1)}"
    yield f"2 * sum(range(x)) + x{end}"


def _distance(c: int, b: int) -> Iterator[str]:
    """|x - c| + b."""
    end = _signed(b)
    above, below = f"x{_signed(b - c)}", f"{b + c} - x"
    yield f"abs(x - {c}){end}"
    yield f"{above} if x > {c} else {below}"
    yield f"max({above}, {below})"
    yield f"({below}, {above})[x > {c}]"
    yield f"max(x, {c}) - min(x, {c}){end}"
    yield f"len(range(x, {c}) or range({c}, x)){end}"
    yield f"(x - {c}) * (x > {c} or -1){end}"


def _maximum(c: int, b: int) -> Iterator[str]:
    """The larger of x and c, plus b."""
    end = _signed(b)
    yield f"max(x, {c}){end}"
    yield f"x{end} if x > {c} else {c + b}"
    yield f"sorted((x, {c}))[1]{end}"
    yield f"({c}, x)[x > {c}]{end}"
    yield f"len(range({c}, x)) + {c + b}"
    yield f"f(x - 1) + (x > {c}) if x else {c + b}"
    yield f"x + len(range(x, {c})){end}"
    yield f"(x + {c} + abs(x - {c})) // 2{end}"


def _minimum(c: int, b: int) -> Iterator[str]:
    """The smaller of x and c, plus b."""
    end = _signed(b)
    yield f"min(x, {c}){end}"
    yield f"x{end} if {c} > x else {c + b}"
    yield f"sorted((x, {c}))[0]{end}"
    yield f"(x, {c})[x > {c}]{end}"
    yield f"len(range(x)[:{c}]){end}"
    yield f"f(x - 1) + ({c + 1} > x) if x else {b}"
    yield f"sum({c} > y for y in range(x)){end}"
    yield f"x - len(range({c}, x)){end}"
    yield f"(x + {c} - abs(x - {c})) // 2{end}"


def _remainder(m: int, b: int) -> Iterator[str]:
    """What is left of x after division by m, plus b."""
    end = _signed(b)
    yield f"x % {m}{end}"
    yield f"x - x // {m} * {m}{end}"
    yield f"f(x - {m}) if x > {m - 1} else x{end}"
    yield f"divmod(x, {m})[1]{end}"
    yield f"(({', '.join(str(rest + b) for rest in range(m))}) * {-(-len(INPUTS) // m)})[x]"
    yield f"len(range(x // {m} * {m}, x)){end}"
    yield f"x - max(range(0, x + 1, {m})){end}"
    if m in (2, 4):
        yield f"(x & {m - 1}){end}"


def _quotient(d: int, b: int) -> Iterator[str]:
    """How many times d fits into x, plus b."""
    end = _signed(b)
    yield f"x // {d}{end}"
    yield f"int(x / {d}){end}"
    yield f"f(x - {d}) + 1 if x > {d - 1} else {b}"
    yield f"len(range({d - 1}, x, {d})){end}"
    yield f"divmod(x, {d})[0]{end}"
    yield f"(x - x % {d}) // {d}{end}"
    if d in (2, 4):
        yield f"(x >> {d // 2}){end}"
    if b:
        yield f"(x + {d * b}) // {d}"


def _times(a: int, x: str) -> str:
    return x if a == 1 else f"{a} * {x}"


def _range(start: int, stop: int | str, step: int = 1) -> str:
    """A range as people write it: without a start of 0 or a step of 1.

    >>> _range(0, 10), _range(0, 20, 2), _range(3, "x")
    ('range(10)', 'range(0, 20, 2)', 'range(3, x)')
    """
    if step != 1:
        return f"range({start}, {stop}, {step})"
    return f"range({start}, {stop})" if start else f"range({stop})"


def _signed(b: int) -> str:
    """`` + 3``, `` - 3``, or nothing for 0.

    >>> [_signed(b) for b in (3, -3, 0)]
    [' + 3', ' - 3', '']
    """
    return "" if b == 0 else f" {'+' if b > 0 else '-'} {abs(b)}"
