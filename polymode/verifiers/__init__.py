"""Verifiers: one equality for "is it right?" and "is it a repeat?" (layer L1)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from polymode.types import Reference


class Verifier(Protocol):
    """An equality of answers. Symmetric; hashable; the same two texts always get the same outcome.

    A method that cannot decide raises `polymode.errors.VerifierFault`: judging turns it into UNSCORED, never WRONG.
    """

    def same(self, a: str, b: str) -> bool:
        """Whether two texts are the same answer."""
        ...

    def matches(self, answer: str, reference: Reference) -> bool:
        """Whether ``answer`` is the same answer as one of the reference's names."""
        ...


@runtime_checkable
class KeyedVerifier(Verifier, Protocol):
    """A verifier whose equality is that of keys, ``same(a, b) == (key(a) == key(b))``: judging is then look-ups."""

    def key(self, text: str) -> str:
        """Canonical form of a text."""
        ...
