"""What happened to an item, in words (layer L6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from polymode.web.reviews.records import ReviewAnswer, ReviewEvent

CONFIRMATIONS: Mapping[str, str] = {
    "none": "There is no open item to claim.",
    "claim": "You have claimed this item: no other reviewer can take it while you work on it.",
    "claimed": "You have claimed this item: no other reviewer can take it while you work on it.",
    "save": "Saved. The item is still claimed by you.",
    "resolve": "Resolved.",
    "release": "Released. What you marked is kept for the next reviewer.",
    "dismiss": "Dismissed: the item will not be exported.",
    "reopen": "Reopened: the item is in the queue again.",
}
"""Shown once after an action. The address holds only the name, so that no address can put other words on a page."""
MAX_NAMED = 60
"""Longest text of an answer within a sentence."""
VERDICTS: Mapping[str, str] = {"correct": "correct", "wrong": "wrong", "unscored": "undecided"}


def line_of(event: ReviewEvent, answers: Sequence[ReviewAnswer]) -> str:
    """One line of the audit trail."""
    detail: Mapping[str, Any] = event.detail
    if event.what == "added":
        return f"added it to the queue ({detail['kind'].replace('_', ' ')}, risk {detail['risk']})"
    if event.what == "claimed":
        return f"claimed it until {datetime.fromisoformat(detail['until']):%H:%M} UTC"
    if event.what == "marked":
        changes = [f"{_name(n, answers)} {VERDICTS.get(v, v)}" for n, v in detail["verdicts"].items()]
        for number, other in detail.get("same_as", {}).items():
            link = "equals no other answer" if other is None else f"equals {_name(other, answers)}"
            changes.append(f"{_name(number, answers)} {link}")
        return f"marked {', '.join(changes)}" if changes else "saved without a change"
    if event.what == "answer_added":
        return f"added the correct answer {shortened(detail['text'])!r}"
    note = f": {detail['note']}" if detail.get("note") else ""
    return f"{event.what} it{note}"  # released, resolved, dismissed or reopened


def _name(number: object, answers: Sequence[ReviewAnswer]) -> str:
    place = int(str(number))
    return repr(shortened(answers[place].text)) if place < len(answers) else f"answer {place + 1}"


def shortened(text: str) -> str:
    """A text as it is named in a sentence."""
    return text if len(text) <= MAX_NAMED else f"{text[:MAX_NAMED]}…"
