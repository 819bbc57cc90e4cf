"""The process that compares expressions for `SymbolicVerifier`, run as ``python -m`` this module ``SECONDS``.

One JSON object a line, ``{"id": 1, "a": LATEX, "b": LATEX}`` in and ``{"id": 1, "equal": true}`` out; ``null`` when one
of the two is no expression, ``"error"`` instead of ``"equal"`` when the comparison failed. The first line out is
``{"ready": true}``. It ends when its input does.

The parent holds the clock and kills. What the process does about itself: math-verify's own alarms are off (they fail
outside main threads and do not interrupt arithmetic on huge numbers), memory is limited, and so is the processor time
of one comparison, so that nothing is left running when the parent is killed.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

MEMORY_BYTES = 2 << 30
"""Address space of the process."""
PARSED = 4096
"""Parsed expressions that are remembered."""


def main(seconds: float) -> None:
    """Answer until the input ends; ``seconds`` of processor time are the most for one comparison."""
    # Only this function writes to the parent; what a library prints goes to stderr.
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    equal = _comparison()
    _limit("AS", MEMORY_BYTES, MEMORY_BYTES)
    _limit("CORE", 0, 0)
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        # The system ends the process when this comparison takes longer: a backstop, the parent is usually faster.
        _limit("CPU", int(time.process_time() + seconds) + 2)
        try:
            reply = {"equal": equal(request["a"], request["b"])}
        except Exception as exc:
            reply = {"error": f"{type(exc).__name__}: {exc}"[:300]}
        print(json.dumps({"id": request["id"], **reply}), file=out, flush=True)


def _comparison() -> Any:
    from math_verify import LatexExtractionConfig, parse, verify
    from sympy import Basic, nan, zoo

    default = LatexExtractionConfig()
    # With units=True, "5 km" and "5 m" would both be read as 5.
    config = [replace(default, normalization_config=replace(default.normalization_config, units=False))]

    @lru_cache(maxsize=PARSED)
    def parsed(latex: str) -> list[Any]:
        expressions = parse(f"${latex}$", config, fallback_mode="no_fallback", parsing_timeout=0, raise_on_error=True)
        # An undefined value such as 1/0 cannot be compared with anything.
        return [] if any(isinstance(item, Basic) and item.has(nan, zoo) for item in expressions) else expressions

    def equal(a: str, b: str) -> bool | None:
        """Both ways round: `verify` takes `2+2=4` for the answer 4, but not 4 for the answer `2+2=4`."""
        left, right = parsed(a), parsed(b)
        if not (left and right):
            return None
        return all(
            verify(*pair, timeout_seconds=0, raise_on_error=True, allow_set_relation_comp=True)
            for pair in ((left, right), (right, left))
        )

    return equal


def _limit(name: str, soft: int, hard: int | None = None) -> None:
    """Set a limit of this process where the system has it; the hard one stays as it is if it is None."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        kind = getattr(resource, f"RLIMIT_{name}")
        resource.setrlimit(kind, (soft, resource.getrlimit(kind)[1] if hard is None else hard))


if __name__ == "__main__":
    main(float(sys.argv[1]))
