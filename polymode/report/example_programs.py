"""Questions whose answers are programs, in readable form: the tests and the likely programs (layer L4).

Programs are shown, never parsed or run: whether two are the same answer was decided where they were judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from polymode.errors import RecordError
from polymode.sandbox import ProgramTests
from polymode.verifiers.programs import program_text

_SHOWN, _LONGEST = 3, 200
"""Number of tests shown, and the most characters of each."""


def read_tests(references: Sequence[Mapping[str, Any]]) -> ProgramTests | None:
    """The tests in a question's only reference; None if it is an answer."""
    if len(references) != 1:
        return None
    try:
        tests = ProgramTests.from_json(str(references[0].get("text")))
    except RecordError:
        return None
    return tests if tests.asserts or tests.cases else None


def describe_tests(tests: ProgramTests) -> str:
    """The number of tests and the first few of them, as Python."""
    count = len(tests.asserts) + len(tests.cases)
    asserts = [text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..." for text in tests.asserts[:_SHOWN]]
    rest = count - len(asserts)
    head = f"# a right program passes {count:,} test{'s' if count != 1 else ''}"
    return "\n".join([head, *asserts, *([f"# and {rest:,} more"] if rest and asserts else [])])


def likely_programs(p_correct: Mapping[str, float]) -> list[tuple[str, float]]:
    """One program for each probability, most likely first; a comment says how many more are as likely."""
    ranked = sorted(p_correct.items(), key=lambda item: -item[1])
    found = []
    for probability, same in groupby(ranked, key=lambda item: item[1]):
        first, *others = [text for text, _ in same]
        found.append((f"{first}  # and {len(others):,} more as likely" if others else first, probability))
    return found


def shown_program(answer: str) -> str:
    """The program without a Markdown fence and without blank lines around it."""
    return program_text(answer).strip("\n").rstrip()
