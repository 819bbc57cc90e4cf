"""Verifiers: one equality for "is it right?" and "is it a repeat?" (layer L1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, cast, runtime_checkable

from polymode.errors import VerifierFault
from polymode.types import Example, Reference
from polymode.verifiers.faults import FailedVerifier, ask


class Verifier(Protocol):
    """An equality of answers. Symmetric; hashable; the same two texts always get the same outcome.

    A method that cannot decide raises `polymode.errors.VerifierFault`: judging turns it into UNSCORED, never WRONG, as
    it does with any other exception.
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


@runtime_checkable
class QuestionVerifier(Protocol):
    """An equality that depends on the question, or is slow: programs are run on its tests, a judge reads it.

    `judge` asks it for the verifier of a question with ``at``. Before many answers are judged, ``prepare`` gets all of
    them at once, so that the slow work runs side by side, and returns a verifier that holds the results: its ``at``
    looks these answers up and does the work for any other when asked. Call it by `prepare_verifier`.
    """

    def prepare(self, items: Iterable[tuple[Example, Sequence[str]]]) -> QuestionVerifier:
        """This equality with the results for these answers of these questions.

        An answer that could not be judged is one of the results: asked about it, the returned verifier raises
        `polymode.errors.VerifierFault` with the reason, and does not try again.
        """
        ...

    def at(self, example: Example) -> Verifier:
        """The equality on one question."""
        ...


def verifier_at(verifier: Verifier | QuestionVerifier, example: Example) -> Verifier:
    """``verifier`` itself, or what it is on this question; where it fails to say so, one that always faults."""
    at = getattr(verifier, "at", None)  # much faster than asking whether it is a QuestionVerifier
    if at is None:
        return cast(Verifier, verifier)
    try:
        return ask(at, example)
    except VerifierFault as exc:
        return FailedVerifier(str(exc))


def prepare_verifier(
    verifier: Verifier | QuestionVerifier, items: Iterable[tuple[Example, Sequence[str]]]
) -> Verifier | QuestionVerifier:
    """The verifier to judge these answers of these questions with: what ``prepare`` returns.

    When ``prepare`` fails, every answer is UNSCORED with its error.
    """
    if not isinstance(verifier, QuestionVerifier):
        return verifier
    try:
        # Verifiers written for version 0.1.0 return None and remember the results themselves.
        return cast("QuestionVerifier | None", ask(verifier.prepare, items)) or verifier
    except VerifierFault as exc:
        return FailedVerifier(f"prepare failed: {exc}")


def depends_on_question(verifier: Verifier | QuestionVerifier) -> bool:
    """Whether it is a `QuestionVerifier`; a question to its type would take a third of the time of a score."""
    return getattr(verifier, "at", None) is not None


def is_open(verifier: Verifier) -> bool:
    """Whether right answers are without number: every right answer that is no repeat finds something new.

    Verifiers say so by an attribute ``open = True`` (programs: one set of tests, many programs that pass). Without it
    each reference is found once.
    """
    return bool(getattr(verifier, "open", False))
