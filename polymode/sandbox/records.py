"""What goes into the sandbox and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum

from polymode.errors import ConfigError

MIB = 2**20


class Outcome(Enum):
    """How a program fared."""

    PASS = "pass"
    """It passed all tests."""
    FAIL = "fail"
    """It did not: a wrong value, an exception, an early end, a limit other than time."""
    TIMEOUT = "timeout"
    """It used up its time."""
    FAULT = "fault"
    """Ours: the sandbox or the tests failed, and the program was not judged. Nothing a program does may lead here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use. All of it is whole numbers above 0, except ``processes``, which may be 0: no limit."""

    cpu_seconds: int = 2
    """Processor time; granted in whole seconds."""
    wall_seconds: int = 10
    """Time by the clock: for programs that sleep, and for busy machines."""
    memory_bytes: int = 512 * MIB
    """Address space of each process; an interpreter takes about 40 MiB of it."""
    file_bytes: int = 16 * MIB
    """Size of any one file; all files together have as much."""
    output_bytes: int = 16 * MIB
    """Size of all values that the tests ask for, written as data; with more the program fails, saying so. What it
    prints goes nowhere."""
    processes: int = 1
    """Processes and threads, the program itself counted."""
    program_chars: int = 100_000
    """Longer programs fail without being run."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            lowest = 0 if field.name == "processes" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ConfigError(f"{field.name} = {value!r} must be a whole number of at least {lowest}")


@dataclass(frozen=True, slots=True)
class Result:
    """One program held against one set of tests."""

    outcome: Outcome
    reason: str
    """Why the outcome is not PASS, in one line; empty for PASS."""
    key: str
    """Normal form of the program, see `polymode.sandbox.inside.normal.key`; the same for programs that differ in
    nothing that matters. Empty for FAULT."""
    behaviour: str
    """Digest of what it did on all calls of the tests and on the extra inputs; empty when it did not load, and for
    FAULT."""
    seconds: float = 0.0
    """Processor time of the run."""
    values: str = ""
    """Digest of what it did on the calls of the tests alone."""
