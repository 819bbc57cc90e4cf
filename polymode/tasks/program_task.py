"""What tasks whose answers are programs share: their verifier, and what the question says of imports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from polymode.errors import ConfigError, one_of
from polymode.prompts import Style
from polymode.sandbox import Limits
from polymode.verifiers.programs import Distinct, ProgramVerifier


class ProgramTask:
    """A task whose answers are complete Python programs, run in one sandbox.

    Args:
        distinct: what makes two programs the same answer, see `polymode.verifiers.programs`.
        packages: what programs may import besides the standard library, such as ``numpy,sympy``; the question says
            so.
        workers: programs that run at once; by default one for each core.
        cpu_seconds: processor time of one program.
        unsafe_local: run programs without isolation, only for programs that you trust; None: as set in the environment.

    Raises:
        ConfigError: an option out of its range.
    """

    prompt_style: Style = "full"
    has_long_answers = True
    meaning = "passes all tests"
    ask = "Give exactly {k} complete programs that solve it in different ways, the one most likely to be right first."

    def __init__(
        self,
        *,
        distinct: Distinct = "ast",
        packages: str | Sequence[str] = (),
        workers: int | None = None,
        cpu_seconds: int = 2,
        unsafe_local: bool | None = None,
    ) -> None:
        one_of("distinct", distinct, get_args(Distinct))
        names = packages.split(",") if isinstance(packages, str) else packages
        self.packages = tuple(name.strip() for name in names)
        for name in self.packages:
            if not name.isidentifier():
                raise ConfigError(f"packages = {name!r} is not a name to import; write packages=numpy,sympy")
        self._distinct: Distinct = distinct
        self._workers, self._unsafe_local = workers, unsafe_local
        self._limits = Limits(cpu_seconds=cpu_seconds)
        self._verifier: ProgramVerifier | None = None

    @property
    def imports_sentence(self) -> str:
        """What programs may import, as the question says it."""
        return f"It may import {' and '.join(('the standard library', *self.packages))}."

    def verifier(self) -> ProgramVerifier:
        """Runs programs, in one sandbox for the whole task. Raises ConfigError where no sandbox is possible."""
        if self._verifier is None:
            self._verifier = ProgramVerifier(
                distinct=self._distinct,
                workers=self._workers,
                limits=self._limits,
                packages=self.packages,
                unsafe_local=self._unsafe_local,
            )
        return self._verifier
