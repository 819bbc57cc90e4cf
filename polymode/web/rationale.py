"""What a completion's reasoning says speaks for an answer, where it says so in a form that can be read (layer L4).

The lab's models and those trained like them reason in clauses ``finding : what it speaks for``. Only such clauses are
read; other reasoning gives None, never a guess.
"""

from __future__ import annotations

import re

from polymode.types import Answer
from polymode.verifiers.text import TextVerifier

MAX_CHARS = 80
"""Longest rationale; whole clauses are left out beyond it."""
_SAME = TextVerifier().same


def rationale(completion: str, answer: Answer) -> str | None:
    """Findings that the reasoning names for ``answer``, in its order, such as ``tremor, dizziness``.

    Clauses end with ``;`` or a line's end and hold one colon; the answer stands behind it, as the same text after
    normalising. None when there is no such clause, or nothing short enough.
    """
    head, end, _ = completion.rpartition("</think>")
    if not end:
        return None
    findings: list[str] = []
    for clause in re.split(r"[;\n]", head.rpartition("<think>")[2]):
        finding, colon, named = clause.partition(":")
        finding = finding.strip(" \t\r-*")
        is_usable = colon and ":" not in named and finding.isprintable() and finding not in findings
        if finding and is_usable and _SAME(named, answer.text):
            findings.append(finding)
    kept = ""
    for finding in findings:
        longer = f"{kept}, {finding}" if kept else finding
        if len(longer) > MAX_CHARS:
            break
        kept = longer
    return kept or None
