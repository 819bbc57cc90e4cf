r"""Equality of expressions by math-verify, with numbers compared relatively and hopeless ones refused (layer L1).

math-verify rounds to six decimals and takes differences below 1e-15 for 0, so that 6.63e-34 equals 1.60e-19, and
1/2^98 equals 1/2^99. Here decimals become exact fractions (``0.1`` is 1/10), and numbers are equal when they are so
exactly. Only a decimal beside a number without one (1/3, pi) is a rounding of it, to a relative 1e-6.

Imports sympy: only for the process that compares.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from math import log2
from typing import Any

import math_verify.grader
from math_verify import LatexExtractionConfig, parse, verify
from sympy import (
    Basic,
    E,
    Expr,
    Float,
    I,
    Integer,
    MatrixBase,
    Pow,
    Rational,
    exp,
    factorial,
    nan,
    postorder_traversal,
    zoo,
)

from polymode.verifiers.mathematics import is_sequence, terms

TOLERANCE = Rational(1, 10**6)
"""Largest relative difference between a number and a decimal that is its rounding."""
MAX_BITS = 1 << 25
"""A number that would take more bits to write out is not computed."""
PARSED = 4096
"""Parsed expressions that are remembered."""
_HUGE_BINOMIAL = re.compile(r"\\[dt]?binom\s*\{\s*\d{7}")  # the reader computes it at once
_INDEX = re.compile(r"i\s*=|[_=<>]\s*\{?\s*i(?![A-Za-z])|i\s*[<>]")
"""Of a sum, or a variable that is solved for."""
_DECIMAL = re.compile(r"\d\.\d")
_default = LatexExtractionConfig()
# With units=True, "5 km" and "5 m" would both be read as 5.
_CONFIG = [replace(_default, normalization_config=replace(_default.normalization_config, units=False))]
_has_decimal = False  # of the two expressions under comparison: math-verify's functions pass on no more arguments


class TooLargeError(Exception):
    """Computing the expression would write out a number of more than `MAX_BITS`."""


def are_equal(a: str, b: str) -> bool | None:
    """Whether two expressions in LaTeX are equal; None when one of them is none.

    Raises:
        TooLargeError, MemoryError, RecursionError: comparing them takes too much.
    """
    global _has_decimal
    left, right = _parsed(a), _parsed(b)
    if not (left and right):
        return None
    _has_decimal = bool(_DECIMAL.search(a) or _DECIMAL.search(b))
    if is_sequence(a) and is_sequence(b):
        parts = terms(a), terms(b)
        return len(parts[0]) == len(parts[1]) and all(are_equal(*pair) for pair in zip(*parts, strict=True))
    if any(is_sequence(x) and x.startswith("(") and y.startswith(r"\{") for x, y in ((a, b), (b, a))):
        return False  # a tuple is no set
    # Both ways round: `verify` takes `2+2=4` for the answer 4, but not 4 for the answer `2+2=4`.
    return all(
        verify(*pair, timeout_seconds=0, raise_on_error=False, allow_set_relation_comp=True)
        for pair in ((left, right), (right, left))
    )


@lru_cache(maxsize=PARSED)
def _parsed(latex: str) -> list[Any]:
    if _HUGE_BINOMIAL.search(latex):
        raise TooLargeError("a number in it is too large to compute")
    expressions: list[Any] = parse(
        f"${latex}$", _CONFIG, fallback_mode="no_fallback", parsing_timeout=0, raise_on_error=True
    )
    expressions = [getattr(item, "as_immutable", lambda item=item: item)() for item in expressions]
    for expression in expressions:
        _check_size(expression)
    expressions = [_exact(expression, not _INDEX.search(latex)) for expression in expressions]
    # An undefined value such as 1/0 cannot be compared with anything.
    return [] if any(isinstance(item, Basic) and item.has(nan, zoo) for item in expressions) else expressions


def _exact(expression: Any, has_imaginary: bool) -> Any:
    """With each decimal as the fraction that it is, and i, a letter to math-verify, as the imaginary unit."""
    exact: dict[Any, Any] = {number: Rational(str(number)) for number in expression.atoms(Float)}
    if has_imaginary:
        exact |= {symbol: I for symbol in expression.free_symbols if str(symbol) == "i"}
    if not exact:
        return expression
    if hasattr(expression, "_unsorted_args"):  # a set or chain keeps the order in which its parts are written
        return expression.func(*(item.xreplace(exact) for item in expression._unsorted_args))
    return expression.xreplace(exact)


def examine(latex: str) -> None:
    """Evaluate one expression alone.

    Raises:
        TooLargeError, MemoryError, RecursionError: that takes too much.
    """
    for expression in _parsed(latex):
        value: Any = math_verify.grader.safe_sympy_doit(expression)
        if getattr(value, "is_number", False):
            value.evalf(30)


def numbers_equal(a: Any, b: Any, *_: int) -> bool:
    """In place of math-verify's: relative, and exact where both are."""
    if isinstance(a, MatrixBase) and isinstance(b, MatrixBase):
        return a.shape == b.shape and all(map(numbers_equal, a.flat(), b.flat()))
    a, b = (math_verify.grader.safe_sympy_doit(side) for side in (a, b))
    if a == b:
        return True
    if not (getattr(a, "is_number", False) and getattr(b, "is_number", False)):
        return False
    if not (a.is_Rational and b.is_Rational):
        size, difference = (abs(value.evalf(30, maxn=400)) for value in (a, a - b))
        if not (size.is_Float or size.is_Rational) or not (difference.is_Float or difference.is_Rational):
            return False
        if difference <= size * Rational(1, 10**100):
            return True
    if not _has_decimal or _is_decimal(a) == _is_decimal(b):
        return False
    exact, rounded = (b, a) if _is_decimal(a) else (a, b)
    return bool(abs(exact - rounded).evalf(30) <= abs(exact * TOLERANCE).evalf(30) * (1 + Rational(1, 10**20)))


def symbols_equal(a: Any, b: Any) -> bool:
    """In place of math-verify's: what differs at a point need not be simplified, which may take for ever."""
    if not (isinstance(a, Expr) and isinstance(b, Expr)):
        return _simplified_equal(a, b)
    names = sorted(a.free_symbols | b.free_symbols, key=str)
    point: Any = {name: Rational(10007 + 797 * i, 7919 + 131 * i) for i, name in enumerate(names)}
    with suppress(ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        size, difference = (abs(value.subs(point).evalf(30)) for value in (a, a - b))
        if size.is_Float and difference.is_Float and difference > (1 + size) * Rational(1, 10**10):
            return False
    return _simplified_equal(a, b)


def _is_decimal(number: Any) -> bool:
    """Whether it is a fraction that a finite decimal writes out."""
    if not number.is_Rational:
        return False
    below = int(number.q)
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1


def _check_size(expression: Any) -> None:
    """Raises TooLargeError where evaluation would write out a huge number; from bounds, without computing it."""
    bits: dict[Any, float] = {}  # bound of log2 |value| of each part; letters count as small
    for part in postorder_traversal(expression):
        sizes = [bits.get(argument, 1.0) for argument in getattr(part, "args", ())]
        if isinstance(part, (Integer, Rational)):
            size = float(max(abs(part.p), part.q).bit_length())
        elif isinstance(part, (Pow, exp)):
            base, power = (part.base, part.exp) if isinstance(part, Pow) else (E, part.args[0])
            of_power = bits.get(power, 1.0)
            exponent = 2.0 ** min(of_power, 64.0)
            if isinstance(power, Rational):
                exponent = min(abs(float(power)), 2.0**64)
            is_small = base.is_Integer and abs(base) <= 1
            size = 1.0 if is_small or base.free_symbols else max(bits.get(base, 2.0), 1.0) * max(exponent, 1.0)
        elif isinstance(part, factorial):
            n = 2.0 ** min(bits.get(part.args[0], 1.0), 64.0)
            size = n * max(log2(n), 1.0) if part.args[0].is_number else 1.0
        else:
            size = sum(sizes, 1.0)
        if size > MAX_BITS:
            raise TooLargeError("a number in it is too large to compute")
        bits[part] = size


_simplified_equal = math_verify.grader.sympy_symbolic_eq
math_verify.grader.sympy_numeric_eq = numbers_equal
math_verify.grader.sympy_symbolic_eq = symbols_equal
