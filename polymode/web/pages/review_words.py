"""What happened to an item, in words (layer L4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from polymode.web.reviews.records import ReviewAnswer, ReviewEvent

DONE: Mapping[str, str] = {
    "none": "No item is open: there is nothing to claim.",
    "claim": "It is yours: nobody else can take it while you work on it.",
    "claimed": "It is yours: nobody else can take it while you work on it.",
    "save": "Saved. It is still yours.",
    "resolve": "Resolved.",
    "release": "Given back. What you marked is kept for whoever takes it next.",
    "dismiss": "Dismissed: nothing of it is exported.",
    "reopen": "Reopened: it is in the line again.",
}
"""Said once after an act; the address holds the name only, so that no address can make a page say anything else."""
MAX_NAMED = 60
"""Longest text of an answer within a sentence."""
VERDICTS: Mapping[str, str] = {"correct": "right", "wrong": "wrong", "unscored": "cannot be told"}


def line_of(event: ReviewEvent, answers: Sequence[ReviewAnswer]) -> str:
    """One line of the audit trail."""
    detail: Mapping[str, Any] = event.detail
    note = f": {detail['note']}" if detail.get("note") else ""
    if event.what == "added":
        return f"put it in the line ({str(detail.get('kind', '')).replace('_', ' ')}, risk {detail.get('risk', '')})"
    if event.what == "claimed":
        until = datetime.fromisoformat(str(detail["until"]))
        return f"claimed it until {until:%H:%M} UTC"
    if event.what == "marked":
        said = [f"{_name(n, answers)} {VERDICTS.get(v, v)}" for n, v in detail.get("verdicts", {}).items()]
        for number, other in detail.get("same_as", {}).items():
            link = "is an answer of its own" if other is None else f"says the same as {_name(other, answers)}"
            said.append(f"{_name(number, answers)} {link}")
        return f"marked {', '.join(said)}" if said else "saved without a change"
    if event.what == "answer_added":
        return f"added the right answer {shortened(str(detail.get('text', '')))!r}"
    return {"released": "gave it back", "resolved": "resolved it", "dismissed": "dismissed it",
            "reopened": "reopened it"}.get(event.what, event.what) + note  # fmt: skip


def _name(number: object, answers: Sequence[ReviewAnswer]) -> str:
    place = int(str(number))
    return repr(shortened(answers[place].text)) if place < len(answers) else f"answer {place + 1}"


def shortened(text: str) -> str:
    """A text as it is named in a sentence."""
    return text if len(text) <= MAX_NAMED else f"{text[:MAX_NAMED]}…"
