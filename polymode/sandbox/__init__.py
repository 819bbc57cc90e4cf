"""Runs untrusted Python programs and holds them against tests (layer L1).

::

    with Sandbox() as sandbox:
        [result] = sandbox.run([("def double(n): return 2 * n", ProgramTests(("assert double(2) == 4",)))])
    result.outcome  # Outcome.PASS

Threat model. The program wants to pass without being right, to learn of other programs or of the machine, to change
either, or to stop the work. It runs in namespaces of its own made by bubblewrap (no network, nothing writable but a
small ``/tmp``, no environment, no other process in sight, no package that is not allowed), under limits, with a filter
of system calls, forked from a warm server that never reads a program or a result, with nothing of ours on its stack. It
gets calls to evaluate and never the expected values; what it sends back is data, which another process compares.
Whatever it leaves behind is killed and wiped before the next one.

Not covered: faults of the kernel itself; side channels such as timing and caches; a program that recognises a test's
input and knows its answer by heart. Tests and imports are trusted to terminate and to be honest, and run in the
sandbox all the same. ``unsafe_local`` leaves limits and the separate comparison, and takes the isolation away;
``--unsafe-local`` does so for a whole command and all processes that it starts.
"""

from polymode.sandbox.pool import Sandbox, reason_unavailable
from polymode.sandbox.program_tests import Case, ProgramTests, parse_quietly
from polymode.sandbox.records import Limits, Outcome, Result

__all__ = ["Case", "Limits", "Outcome", "ProgramTests", "Result", "Sandbox", "parse_quietly", "reason_unavailable"]
