"""Equality of mathematical expressions by math-verify, in child processes with a deadline (layer L1).

Both sides are parsed, the reference like the answer: ``1/2`` equals ``0.5``, ``10`` equals ``10.0``, ``x^2-1`` equals
``(x-1)(x+1)``, ``x = 5`` equals ``5``. Where one of the two is no mathematics (see `polymode.verifiers.mathematics`),
normalised texts are compared instead; operators stay, so ``1/0`` is not ``10``.

The equality is symmetric by construction: math-verify is asked both ways round, and both must agree. How numbers are
compared is in `polymode.verifiers.expressions`, units in `polymode.verifiers.units`.

An expression that takes too long to evaluate is found out alone, once: as an answer it is WRONG, because nobody who
answers may choose to be left out, and it costs one deadline whatever it is compared with; as a reference it is a
VerifierFault, and the answers to it are UNSCORED.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Self

from polymode.cores import cores
from polymode.errors import ConfigError, MissingExtraError, VerifierFault
from polymode.types import Example, Reference
from polymode.verifiers.children import ChildPool
from polymode.verifiers.formulae import own_form
from polymode.verifiers.mathematics import as_latex, as_product, unmarked
from polymode.verifiers.text import TextVerifier

MAX_REMEMBERED = 1 << 18
"""Outcomes that are kept from one batch to the next."""
_TEXT = TextVerifier()
_WHOLE_OR_RATIO = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<whole>\d{1,99})(?:/(?P<under>\d{1,99}))?|\\frac\{(?P<above>\d{1,99})\}\{(?P<below>\d{1,99})\})",
    re.ASCII,
)
_OPERATOR = re.compile(r"[\\^=<>+*/_%|!√]")
_SPACE = re.compile(r"(?<!\d)\s+|\s+(?!\d)")
"""Between two numbers it tells them from one."""
_MAY_EXHAUST = re.compile(
    r"[!^]|\\(?!(?:frac|sqrt|text|pi|pm|times|cdot|infty|le|ge|circ|emptyset)(?![A-Za-z]))|.{100}"
)
"""An expression without this cannot take long by itself."""
_LETTER_SET = re.compile(r"\\math(?:bb|cal|scr|frak)\{([A-Z])\}")

Pair = tuple[str, ...]
"""Two expressions in LaTeX, in order, so that each pair is compared once; or one that is evaluated alone."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why two expressions were not compared."""

    reason: str
    is_exhausted: bool
    """Whether the expressions are to blame, and not the machine."""


class SymbolicVerifier:
    """Two answers are the same when math-verify finds their expressions equal, or else their normalised texts.

    Args:
        seconds: most processor time of one comparison.
        workers: child processes for a batch; 0 means one per core, at most 8. They start with the first comparison.

    Raises:
        ConfigError: an option out of its range.
        MissingExtraError: math-verify is not installed.
    """

    def __init__(self, *, seconds: float = 3.0, workers: int = 0) -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= 3600:
            raise ConfigError(f"seconds = {seconds!r} is not allowed: give a number above 0, at most 3600")
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            raise ConfigError(f"workers = {workers!r} is not allowed: give a whole number from 0 (0: one per core)")
        for package in ("math_verify", "antlr4"):
            if find_spec(package) is None:
                raise MissingExtraError(package, "math", "verifier 'symbolic'")
        self.options = {"seconds": float(seconds)}
        self._pool = ChildPool(
            "polymode.verifiers.symbolic_worker", size=workers or min(cores(), 8), seconds=float(seconds)
        )
        self._outcomes: dict[Pair, bool | _Failure | None] = {}  # None: no expression

    def at(self, example: Example) -> SymbolicVerifier:
        """Itself: the equality is the same for every question."""
        return self

    def same(self, a: str, b: str) -> bool:
        """Whether the expressions, or else the texts, are equal; not where that takes too long to tell."""
        outcome = self._outcome(a, b)
        if isinstance(outcome, _Failure) and not outcome.is_exhausted:
            raise VerifierFault(f"{a!r} and {b!r} could not be compared: {outcome.reason}")
        return outcome is True

    def matches(self, answer: str, reference: Reference) -> bool:
        """Whether ``answer`` is the same as one of the reference's names.

        Raises:
            VerifierFault: it is the same as none, and one could not be compared: the machine failed, or the name itself
                takes too long to evaluate.
        """
        fault = None
        for name in reference.names:
            try:
                if self.same(answer, name):
                    return True
            except VerifierFault as exc:
                fault = exc
            failure = self._outcomes.get((as_latex(name) or "",))
            if isinstance(failure, _Failure) and as_latex(answer) is not None:
                fault = VerifierFault(f"reference {name!r} cannot be evaluated ({failure.reason}): correct the data")
        if fault is not None:
            raise fault
        return False

    def prepare(self, items: Iterable[tuple[Example, Sequence[str]]]) -> Self:
        """This verifier with the answers compared with their references' names and each other, on all children.

        A failure is an outcome as well: it is not tried again.
        """
        chains: list[list[Pair]] = []  # of each answer
        for example, answers in items:
            distinct = list(dict.fromkeys(answers))
            names = [name for reference in example.references for name in reference.names]
            for i, answer in enumerate(distinct):
                pairs = (_pair(answer, other) for other in (*names, *distinct[:i]))
                chains.append([pair for pair in pairs if pair is not None and _compared_at_once(pair) is None])
        prepared = copy(self)
        prepared._outcomes = dict(self._outcomes)
        prepared._compare(chains)
        self._outcomes = prepared._outcomes if len(prepared._outcomes) <= MAX_REMEMBERED else {}
        return prepared

    def close(self) -> None:
        """End the child processes; they end by themselves when the verifier is no longer used."""
        self._pool.close()

    def _outcome(self, a: str, b: str) -> bool | _Failure:
        if a.strip() == b.strip():
            return True
        pair = _pair(a, b)
        if pair is None:
            return _is_same_text(a, b)
        at_once = _compared_at_once(pair)
        if at_once is not None:
            return at_once
        self._compare([[pair]])
        outcome = self._failure_alone(pair) or self._outcomes[pair]
        return _is_same_text(a, b) if outcome is None else outcome

    def _compare(self, chains: Sequence[Sequence[Pair]]) -> None:
        """Compare what has no outcome yet: first each expression that may exhaust a child alone, then the pairs."""
        alone = dict.fromkeys(latex for chain in chains for pair in chain for latex in pair)
        self._ask([[(latex,)] for latex in alone if _MAY_EXHAUST.search(latex)])
        self._ask([[pair for pair in chain if self._failure_alone(pair) is None] for chain in chains])

    def _failure_alone(self, pair: Pair) -> _Failure | None:
        outcomes = (self._outcomes.get((latex,)) for latex in pair)
        return next((outcome for outcome in outcomes if isinstance(outcome, _Failure)), None)

    def _ask(self, chains: Iterable[Sequence[Pair]]) -> None:
        from polymode.progress import progress_bar

        new: dict[Pair, None] = {}  # each pair once, in the first chain that has it
        parts = []
        for chain in chains:
            part = [pair for pair in dict.fromkeys(chain) if pair not in self._outcomes and pair not in new]
            new |= dict.fromkeys(part)
            parts += [part] if part else []
        with progress_bar(desc="comparing", total=len(parts), unit=" answers", disable=len(parts) < 2) as bar:
            replies = self._pool.ask(
                [[dict(zip("ab", pair, strict=False)) for pair in part] for part in parts], bar.update
            )
        for part, answers in zip(parts, replies, strict=True):
            self._outcomes |= {pair: _read(reply) for pair, reply in zip(part, answers, strict=True)}


def _read(reply: Mapping[str, Any]) -> bool | _Failure | None:
    if "exhausted" in reply or "error" in reply:
        return _Failure(str(reply.get("exhausted", reply.get("error"))), "exhausted" in reply)
    equal = reply.get("equal")
    return equal if equal is None or isinstance(equal, bool) else _Failure("no result", False)


@lru_cache(maxsize=1 << 16)
def _pair(a: str, b: str) -> Pair | None:
    """Both as LaTeX in order, or None when one is no mathematics."""
    left, right = as_latex(a), as_latex(b)
    if left is None and right is not None:
        left = as_product(a)
    elif right is None and left is not None:
        right = as_product(b)
    if left is None or right is None:
        return None
    if len(left) == 1 or len(right) == 1:  # `R` beside the set of reals
        left, right = (_LETTER_SET.sub(r"\1", latex) for latex in (left, right))
    return (left, right) if left <= right else (right, left)


def _compared_at_once(pair: Pair) -> bool | None:
    """Whether two whole numbers or fractions of them are equal, exactly; None when it takes math-verify to tell."""
    if pair[0] == pair[1]:
        return True
    left, right = _ratio(pair[0]), _ratio(pair[1])
    return None if left is None or right is None else left == right


@lru_cache(maxsize=1 << 16)
def _ratio(latex: str) -> Fraction | None:
    ratio = _WHOLE_OR_RATIO.fullmatch(latex)
    if ratio is None:
        return None
    sign, above, below = ratio["sign"], ratio["above"] or ratio["whole"], ratio["below"] or ratio["under"] or "1"
    return Fraction(int(sign + above), int(below)) if int(below) else None


def _is_same_text(a: str, b: str) -> bool:
    """Equality of normalised text; where there is some mathematics, only case and white space are overlooked."""
    if a.strip() == b.strip():
        return True
    a, b = unmarked(a), unmarked(b)
    forms = own_form(a), own_form(b)
    if None not in forms:
        return forms[0] == forms[1]
    if any(_OPERATOR.search(text) or as_latex(text) is not None for text in (a, b)):
        left, right = (_SPACE.sub("", text.casefold()).rstrip(".") for text in (a, b))
        return left == right
    return _TEXT.same(a, b)
