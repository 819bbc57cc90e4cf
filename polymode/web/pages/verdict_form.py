"""What a reviewer entered in the form of an item (layer L6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from polymode.types import Verdict
from polymode.web.pages.forms import Form
from polymode.web.reviews.records import ReviewItem

VERDICT, SAME = "verdict-", "same-"
"""Fields of an answer: these and its number."""


@dataclass(frozen=True, slots=True)
class VerdictForm:
    """A form compared with what the queue holds."""

    verdicts: Mapping[int, Verdict]
    """That differ from the queue's, by number of the answer: answers that are the same follow the one that changed."""
    same_as: Mapping[int, int | None]
    """That differ from the queue's."""
    missing: str
    """A right answer to add; empty for none."""
    note: str
    verdict_values: Mapping[int, str]
    """What the form shows as verdict."""
    link_values: Mapping[int, int | None]
    """What the form shows as the same answer."""


def verdict_form(form: Form | None, item: ReviewItem) -> VerdictForm:
    """What was entered in a form; without one, what the queue holds. Fields of other answers are left out."""
    stored = {number: answer.verdict.value for number, answer in enumerate(item.answers) if answer.verdict is not None}
    links = {number: answer.same_as for number, answer in enumerate(item.answers)}
    if form is None:
        return VerdictForm({}, {}, "", "", stored, links)
    names = {verdict.value: verdict for verdict in Verdict}
    entered = {number: value for number, value in _by_number(form, VERDICT, item) if value in names}
    linked = {number: int(value) if _is_number(value, item) else None for number, value in _by_number(form, SAME, item)}
    return VerdictForm(
        verdicts={number: names[value] for number, value in entered.items() if stored.get(number) != value},
        same_as={number: other for number, other in linked.items() if links[number] != other},
        missing=form.get("missing").strip(),
        note=form.get("note").strip(),
        verdict_values={**stored, **entered},
        link_values={**links, **linked},
    )


def _by_number(form: Form, prefix: str, item: ReviewItem) -> list[tuple[int, str]]:
    return [(int(number), value) for number, value in form.named(prefix) if _is_number(number, item)]


def _is_number(text: str, item: ReviewItem) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < len(item.answers)
