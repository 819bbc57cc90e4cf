"""Verifiers by name, with options from a recipe or the command line (layer L1)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from polymode.errors import ConfigError
from polymode.verifiers import QuestionVerifier, Verifier

VERIFIERS: dict[str, str] = {
    "text": "normalised texts are equal; every name of a reference counts",
    "symbolic": "mathematical expressions are equal (needs the extra `math`)",
    "judge": "a language model behind an OpenAI-compatible endpoint says so (options base_url and model)",
    "programs": "the program passes the question's tests (needs bubblewrap)",
}
"""Verifier names and when they call an answer right."""


def open_verifier(name: str, **options: Any) -> Verifier | QuestionVerifier:
    """The verifier called ``name``.

    Args:
        name: one of `VERIFIERS`.
        options: keyword arguments of the verifier's class.

    Raises:
        ConfigError: an unknown name or option, a missing option, or a value that is not allowed.
        MissingExtraError: a package that the verifier needs is not installed.
    """
    check_verifier(name, options)
    try:
        return _class_of(name)(**options)
    except ConfigError as exc:
        raise ConfigError(f"verifier {name!r}: {exc}") from None


def check_verifier(name: str, options: Mapping[str, Any]) -> None:
    """Refuse names of verifiers and options that do not exist; opens nothing.

    Raises:
        ConfigError: an unknown name or option, or a missing option.
    """
    if name not in VERIFIERS:
        raise ConfigError(f"verifier = {name!r} is not known: use one of {', '.join(VERIFIERS)}")
    parameters = inspect.signature(_class_of(name)).parameters.values()
    known = {p.name: p.default is p.empty for p in parameters if p.kind is p.KEYWORD_ONLY}
    for option in options:
        if option not in known:
            allowed = f"known: {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"verifier {name!r}: unknown option {option!r}; {allowed}")
    missing = [option for option, is_needed in known.items() if is_needed and option not in options]
    if missing:
        raise ConfigError(f"verifier {name!r}: {' and '.join(missing)} must be given as verifier options")


def _class_of(name: str) -> type[Any]:
    if name == "text":
        from polymode.verifiers.text import TextVerifier

        return TextVerifier
    if name == "symbolic":
        from polymode.verifiers.symbolic import SymbolicVerifier

        return SymbolicVerifier
    if name == "judge":
        from polymode.verifiers.judge import JudgeVerifier

        return JudgeVerifier
    from polymode.verifiers.programs import ProgramVerifier

    return ProgramVerifier
