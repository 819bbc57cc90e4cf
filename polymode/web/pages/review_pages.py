"""The page of a review item, and what a reviewer does with it (layer L6).

Every action is one of the queue's methods, so what a page reports as saved is on disk. What cannot be saved is kept as
the reviewer's draft, and is in the form again whenever they open it. Database work runs in threads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from polymode.errors import ConfigError, ReviewConflictError
from polymode.types import Verdict
from polymode.web.pages.forms import Form, read_form, reviewer_of
from polymode.web.pages.rendering import caller_of, number_in, pages_of, render
from polymode.web.problems import Problem
from polymode.web.reviews.queue import ReviewQueue
from polymode.web.reviews.records import (
    ADJUDICATION,
    Draft,
    ReviewAnswer,
    ReviewEvent,
    ReviewItem,
    ReviewState,
    repeats,
)

REVIEWS = "/reviews"
MAX_ID = 2**31 - 1
"""Highest id that every database takes."""
CONFIRMATIONS: Mapping[str, str] = {
    "none": "There is no open item to claim.",
    "last": "Done. There is no further open item for you.",
    "next": "Done. This is the next item; you have claimed it.",
    "assign": "Assigned.",
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
_REVIEW_FIELD = re.compile(r"(verdict|same)-[0-9]{1,4}|missing|note")
VERDICTS: Mapping[str, str] = {"correct": "correct", "wrong": "wrong", "unscored": "undecided"}


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


def typed_in(form: Form) -> tuple[tuple[str, str], ...]:
    """The fields of a review that hold something."""
    return tuple((name, value) for name, value in form.fields if value and _REVIEW_FIELD.fullmatch(name))


def verdict_form(form: Form | None, item: ReviewItem) -> VerdictForm:
    """What was entered in a form; without one, what the queue holds. Fields of other answers are left out."""
    stored = {number: answer.verdict.value for number, answer in enumerate(item.answers) if answer.verdict is not None}
    links = {number: answer.same_as for number, answer in enumerate(item.answers)}
    if form is None:
        return VerdictForm({}, {}, "", "", stored, links)
    numbers = {str(number): number for number in links}
    verdicts = {verdict.value: verdict for verdict in Verdict}
    verdict_values: dict[int, str] = {}
    link_values: dict[int, int | None] = {}
    for field, value in form.fields:
        name, _, number = field.partition("-")
        if name == "verdict" and number in numbers and value in verdicts:
            verdict_values[numbers[number]] = value
        if name == "same" and number in numbers:
            link_values[numbers[number]] = numbers.get(value)
    return VerdictForm(
        verdicts={number: verdicts[value] for number, value in verdict_values.items() if stored.get(number) != value},
        same_as={number: other for number, other in link_values.items() if links[number] != other},
        missing=form.get("missing").strip(),
        note=form.get("note").strip(),
        verdict_values={**stored, **verdict_values},
        link_values={**links, **link_values},
    )


def review_pages(queue: ReviewQueue) -> APIRouter:
    """Routes of the items."""
    router = APIRouter()

    @router.get(REVIEWS + "/{item_id:int}")
    async def item(request: Request, item_id: int) -> Response:
        message = CONFIRMATIONS.get(request.query_params.get("done", ""))
        return await run_in_threadpool(_item_page, request, queue, _checked(item_id), message=message)

    @router.post(REVIEWS + "/{item_id:int}")
    async def act(request: Request, item_id: int) -> Response:
        form = await read_form(request)
        return await run_in_threadpool(_apply, request, queue, _checked(item_id), form, reviewer_of(request))

    return router


def _apply(request: Request, queue: ReviewQueue, item_id: int, posted: Form, reviewer: str) -> Response:
    act, _, after = posted.get("act").partition("+")
    if act not in _ACTS or after not in ("", "next"):
        raise Problem(
            422, "no such act", field="act", value=act, allowed=", ".join(_ACTS), fix="use the page's buttons"
        )
    item = queue.item(item_id)
    if act == "assign":
        return _assign(request, queue, item_id, posted, reviewer)
    form, typed = verdict_form(posted, item), typed_in(posted)
    if act == "draft":
        if item.finished_by != reviewer:  # a draft that arrives after its reviewer has finished is no draft any more
            queue.save_draft(item_id, reviewer, typed)
        return Response(status_code=204)
    try:
        if act == "claim":
            queue.claim(reviewer, item_id, is_operator=_is_operator(request))
        else:
            _ACTS[act](queue, item, reviewer, form)
    except (ConfigError, ReviewConflictError) as exc:
        status = 422 if isinstance(exc, ConfigError) else 409
        if typed and status == 409:  # there may be no form to show it in
            queue.save_draft(item_id, reviewer, typed)
        return _item_page(request, queue, item_id, status=status, error=str(exc), form=form)
    if act not in ("claim", "reopen"):
        # Texts that this act does not save stay the reviewer's draft.
        texts = {"save": ("note",), "release": ("note", "missing"), "dismiss": ()}.get(act, ())
        queue.save_draft(item_id, reviewer, [field for field in typed if field[0] in texts])
    if after == "next":
        following = queue.claim(reviewer)
        target = f"{REVIEWS}?done=last" if following is None else f"{REVIEWS}/{following.id}?done=next"
        return RedirectResponse(target, 303)
    return RedirectResponse(f"{REVIEWS}/{item_id}?done={act}", 303)


def _assign(request: Request, queue: ReviewQueue, item_id: int, posted: Form, reviewer: str) -> Response:
    try:
        queue.assign(item_id, reviewer, posted.get("to").strip() or None)
    except (ConfigError, ReviewConflictError) as exc:
        status = 422 if isinstance(exc, ConfigError) else 409
        return _item_page(request, queue, item_id, status=status, error=str(exc))
    return RedirectResponse(f"{REVIEWS}/{item_id}?done=assign", 303)


def _item_page(
    request: Request,
    queue: ReviewQueue,
    item_id: int,
    *,
    status: int = 200,
    error: str = "",
    form: VerdictForm | None = None,
    message: str | None = None,
) -> Response:
    item, reviewer = queue.item(item_id), _reviewer(request)
    is_hidden = queue.is_hidden(item, reviewer)
    if is_hidden:
        blank = tuple(replace(answer, verdict=None, same_as=None) for answer in item.own_answers)
        item = replace(item, answers=blank, note="", finished_by=None)
    earlier = queue.rounds(item.review_of) if item.review_of and item.review_round == ADJUDICATION else ()
    draft = None
    if reviewer is not None:
        path, fields = pages_of(request).sessions.typed(request)
        if path == f"{REVIEWS}/{item_id}":  # of before signing in again
            queue.save_draft(item_id, reviewer, typed_in(Form(fields)))
            pages_of(request).sessions.forget_typed(request)
        draft = queue.draft(item_id, reviewer) if form is None or status == 409 else None
    if draft is not None and form is None:
        form = verdict_form(Form(draft.fields), item)
    is_finished = item.state in (ReviewState.RESOLVED, ReviewState.DISMISSED)
    return render(
        request,
        "review.html",
        status=status,
        item=item,
        repeats=repeats(item.answers, item.equality),
        trail=[(event.at, event.who, line_of(event, item.answers)) for event in queue.events(item_id) if not is_hidden],
        is_hidden=is_hidden,
        rounds=queue.rounds(item_id) if not is_hidden else (),
        earlier=[one for one in earlier if one.round != ADJUDICATION],
        is_finished=is_finished,
        # A reviewer whose claim expired may continue until somebody else claims the item.
        is_mine=reviewer is not None and not is_finished and item.claimed_by == reviewer,
        draft=form or verdict_form(None, item),
        draft_at=None if draft is None else draft.at,
        draft_lines=[] if draft is None else _draft_lines(draft, item),
        error=error,
        message=message,
    )


def _save(queue: ReviewQueue, item: ReviewItem, reviewer: str, form: VerdictForm) -> None:
    queue.mark(item.id, reviewer, form.verdicts, same_as=form.same_as)
    if form.missing:
        queue.add_answer(item.id, reviewer, form.missing)


def _resolve(queue: ReviewQueue, item: ReviewItem, reviewer: str, form: VerdictForm) -> None:
    missing = [form.missing] if form.missing else []
    queue.resolve(item.id, reviewer, verdicts=form.verdicts, same_as=form.same_as, missing=missing, note=form.note)


def _release(queue: ReviewQueue, item: ReviewItem, reviewer: str, form: VerdictForm) -> None:
    if form.verdicts or form.same_as:
        queue.mark(item.id, reviewer, form.verdicts, same_as=form.same_as)
    queue.release(item.id, reviewer)


def _draft_lines(draft: Draft, item: ReviewItem) -> list[tuple[str, str]]:
    """A draft to read, where there is no form for it."""
    lines: list[tuple[str, str]] = []
    for name, value in draft.fields:
        field, _, number = name.partition("-")
        if field == "verdict":
            lines.append((_name(number, item.answers), VERDICTS.get(value, value)))
        elif field == "same":
            lines.append((_name(number, item.answers), f"says the same as {_name(value, item.answers)}"))
        else:
            lines.append(({"missing": "Missing answer", "note": "Note"}[field], value))
    return lines


_ACTS: dict[str, Any] = {
    "assign": None,
    "draft": None,
    "claim": None,
    "save": _save,
    "resolve": _resolve,
    "release": _release,
    "dismiss": lambda queue, item, reviewer, form: queue.dismiss(item.id, reviewer, form.note),
    "reopen": lambda queue, item, reviewer, form: queue.reopen(item.id, reviewer, form.note),
}


def _is_operator(request: Request) -> bool:
    """Whether the visitor's key makes them an operator; without keys nobody is known to be one."""
    return pages_of(request).sessions.needs_key and "operate" in caller_of(request).scopes


def _reviewer(request: Request) -> str | None:
    session = pages_of(request).sessions.of(request)
    return None if session is None else session.reviewer


def _checked(item_id: int) -> int:
    if item_id > MAX_ID:
        raise Problem(404, "no such review item", fix="go back to the list")
    return item_id


def line_of(event: ReviewEvent, answers: Sequence[ReviewAnswer]) -> str:
    """One line of the audit trail."""
    detail: Mapping[str, Any] = event.detail
    if event.what == "added":
        if detail.get("adjudicates"):
            return "added it to the queue: two reviewers disagree"
        key = f", asked with the key {detail['key']}" if detail.get("key") else ""
        return f"added it to the queue ({detail['kind'].replace('_', ' ')}, risk {detail['risk']}{key})"
    if event.what == "claimed":
        return f"claimed it until {datetime.fromisoformat(detail['until']):%H:%M} UTC"
    if event.what == "assigned":
        return f"assigned it to {detail['to']}" if detail["to"] else "assigned it to nobody"
    if event.what == "marked":
        changes = [f"{_name(n, answers)} {VERDICTS.get(v, v)}" for n, v in detail["verdicts"].items()]
        for number, other in detail.get("same_as", {}).items():
            link = "equals no other answer" if other is None else f"equals {_name(other, answers)}"
            changes.append(f"{_name(number, answers)} {link}")
        return f"marked {', '.join(changes)}" if changes else "saved without a change"
    if event.what == "told":
        failed = f" was not told: {detail['failed']}" if detail.get("failed") else " was told"
        return f"the {detail['channel']}{failed}"
    if event.what == "reviewed_again":
        return f"reviewed it a second time, {'in agreement' if detail['agrees'] else 'and disagreed'}"
    if event.what == "adjudicated":
        verdicts = [VERDICTS.get(verdict, "undecided") for verdict in detail["verdicts"]]
        return f"decided between two reviews: {', '.join(verdicts)}"
    if event.what == "answer_added":
        return f"added the correct answer {shortened(detail['text'])!r}"
    note = f": {detail['note']}" if detail.get("note") else ""
    return f"{event.what} it{note}"  # released, resolved, dismissed or reopened


def _name(number: object, answers: Sequence[ReviewAnswer]) -> str:
    place = number_in(str(number))
    if place is None:
        return "an answer"
    return repr(shortened(answers[place].text)) if place < len(answers) else f"answer {place + 1}"


def shortened(text: str) -> str:
    """A text as it is named in a sentence."""
    return text if len(text) <= MAX_NAMED else f"{text[:MAX_NAMED]}…"
