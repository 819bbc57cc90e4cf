"""Findings that a completion's reasoning gives in support of an answer (layer L6).

The lab's models and those trained like them reason in clauses ``finding : answer that it supports``. Only such clauses
are parsed; other reasoning gives None, never a guess.
"""

from __future__ import annotations

import re

from polymode.types import Answer
from polymode.verifiers.text import TextVerifier

MAX_CHARS = 80
"""Longest rationale; whole clauses are left out beyond it."""
_SAME = TextVerifier().same


def rationale(completion: str, answer: Answer) -> str | None:
    """Findings that support ``answer``, in the order of the reasoning, such as ``tremor, dizziness``.

    A clause ends with ``;`` or at the end of a line and contains one colon; the text after it must equal the answer
    after normalising. None when there is no such clause, or none short enough.
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
    text = ""
    for finding in findings:
        longer = f"{text}, {finding}" if text else finding
        if len(longer) > MAX_CHARS:
            break
        text = longer
    return text or None
