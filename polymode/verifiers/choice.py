"""Verifiers by name, with options from a recipe or the command line (layer L1)."""

from __future__ import annotations

from typing import Any

from polymode.errors import ConfigError
from polymode.plugins import Entry, Registry
from polymode.verifiers import QuestionVerifier, Verifier

VERIFIERS: Registry[Verifier | QuestionVerifier] = Registry(
    "verifier",
    {
        name: Entry(f"polymode.verifiers.{address}", summary)
        for name, address, summary in (
            ("text", "text:TextVerifier", "normalised texts are equal; every name of a reference counts"),
            ("symbolic", "symbolic:SymbolicVerifier", "mathematical expressions are equal (needs the extra `math`)"),
            (
                "judge",
                "judge:JudgeVerifier",
                "a language model behind an OpenAI-compatible endpoint says so (options base_url and model)",
            ),
            ("programs", "programs:ProgramVerifier", "the program passes the question's tests (needs bubblewrap)"),
        )
    },
    Verifier,
    QuestionVerifier,
)
"""Verifiers by name, and when they call an answer right."""

check_verifier = VERIFIERS.check


def open_verifier(name: str, **options: Any) -> Verifier | QuestionVerifier:
    """The verifier called ``name``.

    Args:
        name: one of `VERIFIERS`, or ``module:Name`` of a class with the methods of `Verifier` or `QuestionVerifier`.
        options: keyword arguments of the verifier's class.

    Raises:
        ConfigError: an unknown name or option, a missing option, a value that is not allowed, or a class that is no
            verifier.
        MissingExtraError: a package that the verifier needs is not installed.
    """
    made = VERIFIERS.open(name, **options)
    if made.__hash__ is None:  # what is known of a question is kept by its verifier
        raise ConfigError(f"verifier {name!r} cannot be hashed: use @dataclass(frozen=True), or give it __hash__")
    return made
