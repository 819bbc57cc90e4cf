"""The functions of the lab's programs, their probabilities, and the many ways to write each.

This is what is known before any value is given, so it is the prior of every posterior. Each function has several
expressions that differ in their syntax trees, not in layout: ``2 * x + 1``, ``x + x + 1``, ``1 + x * 2``. Most of them
agree everywhere, a few only on the inputs that are tested (``max(x, 0)`` for ``x``).
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
    """At least five expressions of ``x``, the plainest first."""


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
        yield _function("square", [x * x + b for x in INPUTS], _plus(("x * x", "x ** 2"), b))
    for c, b in product(range(2, 8), range(4)):
        yield _function("distance", [abs(x - c) + b for x in INPUTS], _plus((f"abs(x - {c})", f"abs({c} - x)"), b))
        yield _function("maximum", [max(x, c) + b for x in INPUTS], _choice("max", c, b))
        yield _function("minimum", [min(x, c) + b for x in INPUTS], _choice("min", c, b))
    for m, b in product(range(2, 6), range(4)):
        yield _function("remainder", [x % m + b for x in INPUTS], _plus((f"x % {m}", f"(x + {m}) % {m}"), b))
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
    yield from _plus((("x",), ("2 * x", "x * 2", "x + x"), ("3 * x", "x * 3", "x + x + x"))[a - 1], b)
    if a == 1:
        yield from (f"{core}{_signed(b)}" for core in ("abs(x)", "max(x, 0)", "max(0, x)"))
    elif b and b % a == 0:
        yield f"{a} * (x{_signed(b // a)})"
        yield f"(x{_signed(b // a)}) * {a}"


def _falling(a: int, b: int) -> Iterator[str]:
    """The difference b - a x, for a in 1..2 and b > 1."""
    for core in (("x",), ("2 * x", "x * 2", "x - x"))[a - 1]:
        yield from (f"{b} - {core}", f"{b - 1} - {core} + 1", f"1 + {b - 1} - {core}")
    if a == 1:
        yield from (f"{b + 1} - x - 1", f"{b} - abs(x)")


def _choice(name: str, c: int, b: int) -> Iterator[str]:
    """The larger or smaller of x and c, plus b."""
    yield from _plus((f"{name}(x, {c})", f"{name}({c}, x)"), b)
    if b:
        yield from (f"{name}(x + {b}, {c + b})", f"{name}({c + b}, x + {b})")


def _quotient(d: int, b: int) -> Iterator[str]:
    yield from _plus((f"x // {d}",), b)
    yield f"(x + {d}) // {d}{_signed(b - 1)}"
    if b:
        yield from (f"(x + {d * b}) // {d}", f"({d * b} + x) // {d}")


def _plus(cores: Iterable[str], b: int) -> Iterator[str]:
    """Each core + b, plain, reversed, and with b split in two."""
    cores = tuple(cores)
    first = b + 1 if b in (0, 1) else b - 1
    second = b - first
    yield from (f"{core}{_signed(b)}" for core in cores)
    yield from (f"{b} + {core}" for core in cores)
    yield from (f"{core}{_signed(first)}{_signed(second)}" for core in cores)
    yield from (
        f"{second if second > 0 else first} + {core}{_signed(first if second > 0 else second)}" for core in cores
    )


def _signed(b: int) -> str:
    """`` + 3``, `` - 3``, or nothing for 0.

    >>> [_signed(b) for b in (3, -3, 0)]
    [' + 3', ' - 3', '']
    """
    return "" if b == 0 else f" {'+' if b > 0 else '-'} {abs(b)}"
