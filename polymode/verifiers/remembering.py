"""A verifier that is asked everything once (layer L1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polymode.errors import VerifierFault
from polymode.types import Reference
from polymode.verifiers import Verifier
from polymode.verifiers.faults import ask


class RememberingVerifier:
    """The equality of another verifier on one question, whose outcomes and faults are those of the first time.

    So an answer that stands in several sets has one verdict, and is worth one question to a slow verifier. Everything
    but ``same`` and ``matches`` is the other verifier's own.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._outcomes: dict[tuple[object, ...], bool | VerifierFault] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "at":  # it is on its question already
            raise AttributeError(name)
        return getattr(self._verifier, name)

    def same(self, a: str, b: str) -> bool:
        """As the other verifier."""
        return self._remembered(self._verifier.same, a, b)

    def matches(self, answer: str, reference: Reference) -> bool:
        """As the other verifier."""
        return self._remembered(self._verifier.matches, answer, reference)

    def _remembered(self, question: Callable[..., bool], a: str, b: str | Reference) -> bool:
        outcome = self._outcomes.get((a, b))
        if outcome is None:
            try:
                outcome = ask(question, a, b)
            except VerifierFault as fault:
                outcome = fault
            self._outcomes[a, b] = outcome
        if isinstance(outcome, VerifierFault):
            raise outcome
        return outcome
