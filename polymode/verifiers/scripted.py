"""A verifier that answers from a table, for tests of whatever uses a verifier (layer L1)."""

from __future__ import annotations

from collections.abc import Mapping

from polymode.types import Reference


class ScriptedVerifier:
    """Texts are the same answer when the table gives them the same meaning; texts not in the table mean themselves.

    Args:
        meanings: meaning of a text, or an exception to raise whenever the text is looked at (a VerifierFault, or any
            other exception, to play a verifier that crashes). A set of meanings makes the text equal to every text
            that shares one of them, an equality that need not be transitive.
    """

    def __init__(self, meanings: Mapping[str, str | frozenset[str] | Exception] | None = None) -> None:
        self.meanings = dict(meanings or {})
        self.calls: list[tuple[str, str]] = []

    def same(self, a: str, b: str) -> bool:
        """Whether the two texts share a meaning."""
        self.calls.append((a, b))
        return not self._meaning(a).isdisjoint(self._meaning(b))

    def matches(self, answer: str, reference: Reference) -> bool:
        """Whether ``answer`` shares a meaning with one of the reference's names."""
        return any(self.same(answer, name) for name in reference.names)

    def _meaning(self, text: str) -> frozenset[str]:
        meaning = self.meanings.get(text, text)
        if isinstance(meaning, Exception):
            raise meaning
        return frozenset({meaning}) if isinstance(meaning, str) else meaning
