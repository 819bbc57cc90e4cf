"""The process that compares expressions for `SymbolicVerifier`, run as ``python -m`` this module ``SECONDS``.

One JSON object a line: ``{"id": 1, "a": LATEX, "b": LATEX}`` in and ``{"id": 1, "equal": true}`` out, ``null`` when one
of the two is no expression, or ``"exhausted"`` instead of ``"equal"`` when the comparison takes more than is allowed.
Without ``b``, the expression is only evaluated. The first line out is ``{"ready": true}``. It ends when its input does.

The deadline is one of processor time, so that a busy machine makes no answer wrong, and the system ends the process at
it: math-verify's own alarms are off, because they do not interrupt arithmetic on huge numbers. Memory is limited too.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from contextlib import suppress

MEMORY_BYTES = 2 << 30
"""Address space of the process."""


def main(seconds: float) -> None:
    """Answer until the input ends; ``seconds`` of processor time are the most for one comparison."""
    # Only this function writes to the parent; what a library prints goes to stderr.
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    from polymode.verifiers.expressions import TooLargeError, are_equal, examine

    are_equal(r"\frac{x}{2}+1", "1+0.5x")  # loads what the libraries load late
    _limit("AS", MEMORY_BYTES, MEMORY_BYTES)
    _limit("CORE", 0, 0)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, also in the middle of arithmetic
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            reply = {"equal": are_equal(request["a"], request["b"]) if "b" in request else examine(request["a"])}
        except (TooLargeError, MemoryError, RecursionError) as exc:
            reply = {"exhausted": str(exc) or type(exc).__name__}
        except Exception as exc:  # of sympy: it cannot evaluate the one, or nothing shows that the two are equal
            reply = {"equal": False} if "b" in request else {"exhausted": f"{type(exc).__name__}: {exc}"[:300]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps({"id": request["id"], **reply}), file=out, flush=True)


def _limit(name: str, soft: int, hard: int | None = None) -> None:
    """Set a limit of this process where the system has it; the hard one stays as it is if it is None."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        kind = getattr(resource, f"RLIMIT_{name}")
        resource.setrlimit(kind, (soft, resource.getrlimit(kind)[1] if hard is None else hard))


if __name__ == "__main__":
    main(float(sys.argv[1]))
