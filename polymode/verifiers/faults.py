"""Whatever a verifier raises is its fault: the answer is UNSCORED, never WRONG, and the run goes on (layer L1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from polymode.errors import VerifierFault
from polymode.plugins import describe_error

T = TypeVar("T")


def ask(question: Callable[..., T], *args: object) -> T:
    """``question(*args)``, a method of a verifier or what calls some: the one place that catches everything.

    Raises:
        VerifierFault: whatever exception the verifier raised, with its type and text; also an attempt to end the
            process. An interruption by the user passes.
    """
    try:
        return question(*args)
    except VerifierFault:
        raise
    except (Exception, SystemExit) as exc:
        raise VerifierFault(describe_error(exc)) from exc


def truth(value: object) -> bool:
    """What `same` or `matches` said; a forgotten return, or a text, is no verdict. Raises VerifierFault."""
    if type(value).__name__ not in ("bool", "bool_"):  # NumPy's too, without importing it
        raise VerifierFault(f"same or matches returned {value!r}: return True or False")
    return bool(value)


@dataclass(frozen=True, slots=True)
class FailedVerifier:
    """The equality on a question that the verifier cannot say anything about: each comparison is a fault."""

    reason: str

    def same(self, a: str, b: str) -> NoReturn:
        """Raises VerifierFault."""
        raise VerifierFault(self.reason)

    def matches(self, answer: str, reference: object) -> NoReturn:
        """Raises VerifierFault."""
        raise VerifierFault(self.reason)
