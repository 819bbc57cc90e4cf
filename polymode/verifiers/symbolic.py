"""Equality of mathematical expressions by math-verify, in child processes with a deadline (layer L1).

Both sides are parsed, the reference like the answer: ``1/2`` equals ``0.5``, ``10`` equals ``10.0``, ``x^2-1`` equals
``(x-1)(x+1)``, ``x = 5`` equals ``5``. Where one of the two is no expression (see `polymode.verifiers.mathematics`),
normalised texts are compared instead; operators stay, so ``1/0`` is not ``10``.

The equality is symmetric by construction: math-verify is asked both ways round, and both must agree. Whole numbers
and fractions of them are compared exactly, other numbers to six decimals: ``0.333333`` equals ``1/3``, and numbers
below that size equal 0. Units must agree: ``5 km`` is not ``5 m``, nor ``5``.

A comparison that takes too long, or kills its process, is a VerifierFault: the answer is UNSCORED. The outcome, the
failure too, is remembered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from copy import copy
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from typing import Self

from polymode.errors import ConfigError, MissingExtraError, VerifierFault
from polymode.types import Example, Reference
from polymode.verifiers.children import ChildPool
from polymode.verifiers.mathematics import as_latex
from polymode.verifiers.text import TextVerifier

MAX_REMEMBERED = 1 << 18
"""Outcomes that are kept from one batch to the next."""
_TEXT = TextVerifier()
_RATIO = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<whole>\d{1,99})(?:/(?P<under>\d{1,99}))?|\\frac\{(?P<above>\d{1,99})\}\{(?P<below>\d{1,99})\})",
    re.ASCII,
)
_OPERATOR = re.compile(r"[\\^=<>+*/_%|!√]")

Pair = tuple[str, str]
"""Two expressions in LaTeX, in order, so that each pair is compared once."""


class SymbolicVerifier:
    """Two answers are the same when math-verify finds their expressions equal, or else their normalised texts.

    Args:
        seconds: deadline of one comparison.
        workers: child processes for a batch; 0 means one per core, at most 8. They start with the first comparison.

    Raises:
        ConfigError: an option out of its range.
        MissingExtraError: math-verify is not installed.
    """

    def __init__(self, *, seconds: float = 5.0, workers: int = 0) -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= 3600:
            raise ConfigError(f"seconds = {seconds!r} is not allowed: give a number above 0, at most 3600")
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            raise ConfigError(f"workers = {workers!r} is not allowed: give a whole number from 0 (0: one per core)")
        for package in ("math_verify", "antlr4"):
            if find_spec(package) is None:
                raise MissingExtraError(package, "math", "verifier 'symbolic'")
        self.options = {"seconds": float(seconds)}
        self._pool = ChildPool("polymode.verifiers.symbolic_worker", size=workers or _cores(), seconds=float(seconds))
        self._outcomes: dict[Pair, bool | str | None] = {}  # None: no expression; a text: why it failed

    def at(self, example: Example) -> SymbolicVerifier:
        """Itself: the equality is the same for every question."""
        return self

    def same(self, a: str, b: str) -> bool:
        """Whether the expressions, or else the texts, are equal."""
        if a.strip() == b.strip():
            return True
        pair = _pair(a, b)
        if pair is None:
            return _is_same_text(a, b)
        at_once = _compared_at_once(pair)
        if at_once is not None:
            return at_once
        if pair not in self._outcomes:
            self._compare([pair])
        outcome = self._outcomes[pair]
        if isinstance(outcome, str):
            raise VerifierFault(f"{a!r} and {b!r} could not be compared: {outcome}")
        return _is_same_text(a, b) if outcome is None else outcome

    def matches(self, answer: str, reference: Reference) -> bool:
        """Whether ``answer`` is the same as one of the reference's names; a failure counts only if no name is."""
        fault = None
        for name in reference.names:
            try:
                if self.same(answer, name):
                    return True
            except VerifierFault as exc:
                fault = exc
        if fault is not None:
            raise fault
        return False

    def prepare(self, items: Iterable[tuple[Example, Sequence[str]]]) -> Self:
        """This verifier with the answers compared with their references' names and each other, on all children.

        A failure is an outcome as well: it is not tried again.
        """
        pairs: dict[Pair, None] = {}  # a set in order
        for example, answers in items:
            distinct = list(dict.fromkeys(answers))
            names = [name for reference in example.references for name in reference.names]
            for i, answer in enumerate(distinct):
                for other in (*names, *distinct[:i]):
                    pair = _pair(answer, other)
                    if pair is not None and _compared_at_once(pair) is None:
                        pairs[pair] = None
        earlier = {pair: self._outcomes[pair] for pair in pairs if pair in self._outcomes}  # `_compare` may forget them
        self._compare([pair for pair in pairs if pair not in earlier])
        prepared = copy(self)
        prepared._outcomes = {pair: earlier[pair] if pair in earlier else self._outcomes[pair] for pair in pairs}
        return prepared

    def close(self) -> None:
        """End the child processes; they end by themselves when the verifier is no longer used."""
        self._pool.close()

    def _compare(self, pairs: Sequence[Pair]) -> None:
        from tqdm import tqdm

        if len(self._outcomes) + len(pairs) > MAX_REMEMBERED:
            self._outcomes.clear()
        with tqdm(None, "comparing", len(pairs), False, delay=2, unit=" expressions", disable=len(pairs) < 2) as bar:
            replies = self._pool.ask([{"a": a, "b": b} for a, b in pairs], bar.update)
        for pair, reply in zip(pairs, replies, strict=True):
            equal = reply.get("equal")
            is_outcome = "error" not in reply and (equal is None or isinstance(equal, bool))
            self._outcomes[pair] = equal if is_outcome else str(reply.get("error", "no result"))


def _pair(a: str, b: str) -> Pair | None:
    """Both as LaTeX in order, or None when one is no mathematics."""
    left, right = as_latex(a), as_latex(b)
    if left is None or right is None:
        return None
    return (left, right) if left <= right else (right, left)


def _compared_at_once(pair: Pair) -> bool | None:
    """Whether two whole numbers or fractions of them are equal, exactly; None when it takes math-verify to tell."""
    if pair[0] == pair[1]:
        return True
    left, right = _ratio(pair[0]), _ratio(pair[1])
    return None if left is None or right is None else left == right


@lru_cache(maxsize=1 << 16)
def _ratio(latex: str) -> Fraction | None:
    ratio = _RATIO.fullmatch(latex)
    if ratio is None:
        return None
    sign, above, below = ratio["sign"], ratio["above"] or ratio["whole"], ratio["below"] or ratio["under"] or "1"
    return Fraction(int(sign + above), int(below)) if int(below) else None


def _is_same_text(a: str, b: str) -> bool:
    """Equality of normalised text; where there is some mathematics, only case and white space are overlooked."""
    if any(_OPERATOR.search(text) or as_latex(text) is not None for text in (a, b)):
        left, right = ("".join(text.casefold().split()).rstrip(".") for text in (a, b))
        return left == right
    return _TEXT.same(a, b)


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return min(len(affinity(0)) if affinity else os.cpu_count() or 1, 8)
