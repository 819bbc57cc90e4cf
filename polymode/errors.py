"""Every error polymode raises on purpose.

::

    PolymodeError (Exception)              exit code 1
    ├── UserError (ValueError)             exit code 2: something the user wrote, named or passed
    │   ├── ConfigError                    an option or recipe field
    │   ├── RecordError                    a record of a data or completions file
    │   ├── DataNotFoundError (FileNotFoundError)
    │   ├── RunExistsError (FileExistsError)
    │   ├── ReviewConflictError (RuntimeError)  a review item that somebody else holds, or that is finished
    │   └── MissingExtraError (ImportError)
    ├── RunIncompleteError (RuntimeError)  a run folder lacks a file that a later stage needs
    ├── WorkerDiedError (RuntimeError)     a process that did a part of the work ended before it was done
    ├── WriteError (OSError)               a file could not be written (disk full, no permission)
    ├── ReviewStoreError (OSError)         the database of the review queue cannot be used now
    ├── GeneratorFault (RuntimeError)      a model, or the server that runs it, cannot answer now
    │   └── PromptRefusedError             it will not answer this prompt, whenever it is asked
    └── VerifierFault (RuntimeError)       a verifier failed on one answer; judging turns it into UNSCORED

A message says which field, what value, what is allowed and how to fix it, in one line.
"""

from __future__ import annotations

import collections.abc
import math
import typing


class PolymodeError(Exception):
    """Root of all errors polymode raises on purpose."""

    exit_code = 1


class UserError(PolymodeError, ValueError):
    """Something the user wrote, named or passed is wrong."""

    exit_code = 2


class ConfigError(UserError):
    """An option or recipe field has a value that is not allowed."""


class RecordError(UserError):
    """A record of a data or completions file cannot be used."""


class DataNotFoundError(UserError, FileNotFoundError):
    """A data folder or file is missing."""


class RunExistsError(UserError, FileExistsError):
    """A run folder exists already and neither resume nor overwrite was asked for."""


class ReviewConflictError(UserError, RuntimeError):
    """A review item is held by somebody else, by nobody, or is finished."""


class MissingExtraError(UserError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package, self.extra, self.purpose = package, extra, purpose
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed: pip install 'polymode[{extra}]'"
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the three arguments, not by the message."""
        return (type(self), (self.package, self.extra, self.purpose))


class RunIncompleteError(PolymodeError, RuntimeError):
    """A run folder lacks a file that a later stage needs."""


class WorkerDiedError(PolymodeError, RuntimeError):
    """A process that did a part of the work ended before it was done."""


class WriteError(PolymodeError, OSError):
    """A file could not be written."""


class ReviewStoreError(PolymodeError, OSError):
    """The database of the review queue is locked, full, missing or unreachable; try again."""


class GeneratorFault(PolymodeError, RuntimeError):
    """A model, or the server that runs it, cannot answer now: down, slow, overloaded, or its reply is invalid.

    ``advice`` says what to set; a command prints it behind the message, a server of ours tells it to no client.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class PromptRefusedError(GeneratorFault):
    """The server that runs the model refuses this prompt, for example as too long; asking again is of no use."""


class VerifierFault(PolymodeError, RuntimeError):
    """A verifier failed on one answer; judging turns it into UNSCORED and keeps the text."""


def one_of(name: str, value: object, allowed: collections.abc.Sequence[str]) -> None:
    """Refuse a value that is not among the allowed ones, with a ConfigError."""
    if not isinstance(value, str) or value not in allowed:
        raise ConfigError(f"{name} = {value!r} is not known: use one of {', '.join(allowed)}")


def share_between(name: str, value: typing.Any) -> float:
    """The number, when it is above 0 and below 1; else a ConfigError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise ConfigError(f"{name} = {value!r} is not allowed: give a number between 0 and 1")
    return value


def number_in(name: str, value: typing.Any, low: float, high: float = math.inf, *, whole: bool = False) -> float:
    """The number, when it is a finite (whole) one from ``low`` to ``high``; else a ConfigError."""
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high or value == math.inf:
        span = f"from {low} to {high}" if high < math.inf else f"from {low}"
        raise ConfigError(f"{name} = {value!r} is not allowed: give a {'whole ' if whole else ''}number {span}")
    return value
