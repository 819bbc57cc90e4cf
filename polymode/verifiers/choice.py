"""Verifiers by name, with options from a recipe or the command line (layer L1)."""

from __future__ import annotations

from polymode.plugins import Entry, Registry
from polymode.verifiers import QuestionVerifier, Verifier

VERIFIERS: Registry[Verifier | QuestionVerifier] = Registry(
    "verifier",
    {
        "text": Entry(
            "polymode.verifiers.text:TextVerifier", "normalised texts are equal; every name of a reference counts"
        ),
        "symbolic": Entry(
            "polymode.verifiers.symbolic:SymbolicVerifier",
            "mathematical expressions are equal (needs the extra `math`)",
        ),
        "judge": Entry(
            "polymode.verifiers.judge:JudgeVerifier",
            "a language model behind an OpenAI-compatible endpoint says so (options base_url and model)",
        ),
        "programs": Entry(
            "polymode.verifiers.programs:ProgramVerifier",
            "the program passes the question's tests (needs bubblewrap)",
        ),
    },
    Verifier,
    QuestionVerifier,
)
"""Verifiers by name, and when they call an answer right."""

open_verifier = VERIFIERS.open
check_verifier = VERIFIERS.check
