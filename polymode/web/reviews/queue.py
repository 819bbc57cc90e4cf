"""The queue of questions that people decide (layer L6).

    add -> claim -> mark, add_answer -> resolve or dismiss

Any number of threads and processes may share one database. What a method returns from is committed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from polymode.errors import ConfigError, ReviewConflictError, number_in, one_of
from polymode.policy.policy import EQUALITIES, check_group_name
from polymode.types import AnswerSet, Decision, DecisionKind, Verdict
from polymode.web.reviews.listing import order_of
from polymode.web.reviews.notices import enqueue
from polymode.web.reviews.records import ReviewItem, ReviewState
from polymode.web.reviews.second_reviews import follow_up, may_review, reviewed_by
from polymode.web.reviews.steps import SYSTEM, Steps, checked_name, checked_text, conflict, new_answers
from polymode.web.reviews.store import Store
from polymode.web.reviews.tables import drafts, items, read_item, state_is, storable
from polymode.web.reviews.views import QueueViews

CLAIM_SECONDS = 1800.0
"""How long a claim keeps others away."""

MAX_DRAFT = 100_000
"""Characters of a draft; the forms hold less."""


class ReviewQueue(QueueViews, AbstractContextManager["ReviewQueue"]):
    """Items that wait for a reviewer, in SQLite or PostgreSQL.

    Args:
        place: an SQLite file, made when it is first used, or a URL ``postgresql://USER:PASSWORD@HOST/NAME``.
        claim_seconds: how long a claim keeps others away; every act of the reviewer starts it anew.
        wait_seconds: longest wait for a database that is locked or away.
        second_review: share of the resolved items that another reviewer judges again, 0 to 1.
        notify: channels by which a new escalation is told (`polymode.web.reviews.notices`).
        clock: the time, with its zone.
        draw: a number from [0, 1) for each resolved item.

    Every method raises ReviewStoreError when the database cannot be used; the next call tries again.

    Raises:
        ConfigError: ``place`` is no such database, or a time that is not above 0.
    """

    def __init__(
        self,
        place: str | Path,
        *,
        claim_seconds: float = CLAIM_SECONDS,
        wait_seconds: float = 5.0,
        second_review: float = 0.0,
        notify: Collection[str] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[], float] = random.random,
    ) -> None:
        for name, value in (("claim_seconds", claim_seconds), ("wait_seconds", wait_seconds)):
            if not 0 < value < float("inf"):
                raise ConfigError(f"{name} = {value!r} is not allowed: give a number of seconds above 0")
        self.store = Store(place, wait_seconds=wait_seconds)
        self._lease, self._clock = timedelta(seconds=claim_seconds), clock
        self._notify = tuple(notify)
        self._share, self._draw = number_in("second_review", second_review, 0, 1), draw

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self.store.close()

    def add(
        self,
        question: str,
        answer_set: AnswerSet,
        decision: Decision,
        *,
        completion: str = "",
        model_id: str = "",
        policy_id: str = "",
        risk: str = "normal",
        equality: str = "text",
        request_id: str | None = None,
        asked_by: str = "",
        origin: str | None = None,
    ) -> int:
        """Add a question to the queue and return its id, once it is on disk.

        Any decision is taken: a random share of all questions in the queue shows how often answers are right.

        Args:
            question: its text.
            answer_set: what `parse_answers` read.
            decision: what `decide` made of it.
            completion: the model's whole text.
            model_id: of the model.
            policy_id: of the policy.
            risk: class of the question, any name; ``high`` is reviewed first.
            equality: the policy's.
            request_id: with one, adding again what was added does nothing and returns the same id.
            asked_by: name of the API key with which it was asked, for the audit trail.
            origin: how the question came here, random or escalated, as `polymode serve` says.

        Raises:
            ConfigError: a risk that is no name, an unknown equality, or a decision on other answers.
            ReviewConflictError: the request_id names another question.
        """
        check_group_name("risk", risk)
        one_of("equality", equality, EQUALITIES)
        now = self._clock()
        row = {
            "request_id": None if request_id is None else storable(request_id),
            "question": storable(question),
            "completion": storable(completion),
            "k": answer_set.k,
            "status": answer_set.status,
            "status_reason": storable(answer_set.reason),
            "kind": decision.kind,
            "reason": storable(decision.reason),
            "risk": risk,
            "model_id": storable(model_id),
            "policy_id": storable(policy_id),
            "equality": equality,
            "created_at": now,
            "turn": 0 if risk == "high" else 1,
            "state": ReviewState.OPEN,
            "note": "",
            "asked_by": asked_by or None,
            "origin": origin,
        }
        review_answers = new_answers(question, answer_set, decision)
        insert = postgresql.insert if self.store.dialect == "postgresql" else sqlite.insert
        with self.store.writing() as connection:
            new = insert(items).values(row).on_conflict_do_nothing(index_elements=["request_id"])
            item_id = connection.execute(new.returning(items.c.id)).scalar()
            if item_id is None:
                same_request = items.c.request_id == row["request_id"]
                [existing] = connection.execute(sa.select(items.c.id, items.c.question).where(same_request))
                if existing.question != row["question"]:
                    raise ReviewConflictError(
                        f"request_id = {row['request_id']!r} names another question already: give every request its own"
                    )
                return existing.id
            steps = Steps(connection, item_id, SYSTEM, now)
            steps.insert_answers(review_answers)
            about = {"key": asked_by, "origin": origin}
            about = {name: value for name, value in about.items() if value}
            steps.record("added", {"kind": decision.kind.value, "risk": risk, **about})
            if decision.kind is DecisionKind.ESCALATE:
                enqueue(connection, item_id, self._notify, now)
        return item_id

    def claim(self, reviewer: str, item_id: int | None = None, *, is_operator: bool = False) -> ReviewItem | None:
        """Claim the next item, or a certain one; no other reviewer can have it until release or expiry.

        The next item is one that is assigned to the reviewer, else one that is assigned to nobody; high risk comes
        first, then the oldest. A reviewer who claims an item again extends the claim. Nobody gets the second review, or
        the adjudication, of what they reviewed; an operator may adjudicate any item. None when there is no such item.

        Raises:
            DataNotFoundError: no item with this id.
            ReviewConflictError: another reviewer has claimed it, or it is finished.
        """
        reviewer, now = checked_name(reviewer), self._clock()
        free = state_is(ReviewState.OPEN, now)
        if item_id is None:
            is_own = items.c.assigned_to == reviewer
            line = (sa.case((is_own, 0), else_=1), *order_of("line"))
            for_them = sa.or_(items.c.assigned_to.is_(None), is_own)
            first = sa.select(items.c.id).where(free, for_them, may_review(reviewer)).order_by(*line).limit(1)
            target = sa.and_(items.c.id == first.with_for_update(skip_locked=True).scalar_subquery(), free)
        else:
            own = sa.and_(items.c.state == ReviewState.OPEN, items.c.claimed_by == reviewer)
            is_allowed = may_review(reviewer, is_operator=is_operator)
            target = sa.and_(items.c.id == item_id, sa.or_(free, own), is_allowed)
        claim = sa.update(items).where(target).values(claimed_by=reviewer, claimed_until=now + self._lease)
        with self.store.writing() as connection:
            claimed_id = connection.execute(claim.returning(items.c.id)).scalar()
            if claimed_id is None:
                if item_id is not None:
                    item = read_item(connection, item_id, now)
                    raise conflict(item, is_own=reviewer.lower() in reviewed_by(connection, item))
                return None
            steps = Steps(connection, claimed_id, reviewer, now)
            steps.record("claimed", {"until": (now + self._lease).isoformat()})
            return steps.item()

    def assign(self, item_id: int, by: str, to: str | None) -> ReviewItem:
        """Say who is to take an item; None: anybody.

        Raises:
            DataNotFoundError: no such item.
            ReviewConflictError: it is finished.
            ConfigError: a name that is not allowed.
        """
        name = None if to is None else checked_name(to)
        with self.store.writing() as connection:
            steps = Steps(connection, item_id, checked_name(by), self._clock())
            if name is not None and name.lower() in reviewed_by(connection, steps.item()):
                raise ReviewConflictError(f"{name!r} has reviewed this question already: assign it to somebody else")
            if not steps.update(items.c.state == ReviewState.OPEN, assigned_to=name):
                raise conflict(steps.item())
            steps.record("assigned", {"to": name})
            return steps.item()

    def save_draft(self, item_id: int, reviewer: str, fields: Sequence[tuple[str, str]]) -> None:
        """Keep what a reviewer has typed until they save it; no fields delete the draft.

        Raises:
            DataNotFoundError: no such item.
            ConfigError: more than a form holds.
        """
        row = {"item_id": item_id, "reviewer": checked_name(reviewer), "at": self._clock()}
        pairs = [[storable(name), storable(value)] for name, value in fields]
        if sum(len(name) + len(value) for name, value in pairs) > MAX_DRAFT:
            raise ConfigError(f"the draft is too long: write at most {MAX_DRAFT:,} characters")
        with self.store.writing() as connection:
            if pairs:
                read_item(connection, item_id, row["at"])
            own = (drafts.c.item_id == item_id, drafts.c.reviewer == row["reviewer"])
            connection.execute(sa.delete(drafts).where(*own))
            if pairs:
                connection.execute(sa.insert(drafts).values(fields=pairs, **row))

    def release(self, item_id: int, reviewer: str) -> ReviewItem:
        """Give an item back; verdicts stay as a draft. Raises as `mark`."""
        with self._claimed(item_id, reviewer) as steps:
            steps.update(claimed_by=None, claimed_until=None)
            steps.record("released", {})
            return steps.item()

    def mark(
        self,
        item_id: int,
        reviewer: str,
        verdicts: Mapping[int, Verdict],
        *,
        same_as: Mapping[int, int | None] | None = None,
    ) -> ReviewItem:
        """Mark answers as correct or wrong; an answer that is equal to a marked one gets the same verdict.

        Args:
            item_id: a claimed item. After the claim expired its reviewer may continue until somebody else claims it.
            reviewer: who claimed it.
            verdicts: by number of the answer, from 0; UNSCORED when it cannot be decided.
            same_as: by number, another answer that says the same in other words (they will be one reference); None
                takes that back.

        Raises:
            DataNotFoundError: no such item.
            ReviewConflictError: not claimed by this reviewer, or finished.
            ConfigError: no such answer, or two verdicts for one.
        """
        with self._claimed(item_id, reviewer) as steps:
            steps.mark(verdicts, same_as or {})
            return steps.item()

    def add_answer(self, item_id: int, reviewer: str, text: str) -> ReviewItem:
        """Add a right answer that the model did not give; marked WRONG later, it counts for nothing.

        Raises:
            ConfigError: an empty text, or one equal to an answer that is there.
            DataNotFoundError, ReviewConflictError: as `mark`.
        """
        with self._claimed(item_id, reviewer) as steps:
            steps.add_answer(text)
            return steps.item()

    def resolve(
        self,
        item_id: int,
        reviewer: str,
        *,
        verdicts: Mapping[int, Verdict] | None = None,
        same_as: Mapping[int, int | None] | None = None,
        missing: Sequence[str] = (),
        note: str = "",
    ) -> ReviewItem:
        """Finish an item of which every answer has a verdict; marks and missing answers may be given along.

        Raises:
            ConfigError: an answer without a verdict, or as `mark` and `add_answer`.
            DataNotFoundError, ReviewConflictError: as `mark`.
        """
        with self._claimed(item_id, reviewer) as steps:
            if verdicts or same_as:
                steps.mark(verdicts or {}, same_as or {})
            for text in missing:
                steps.add_answer(text)
            for answer in steps.item().answers:
                if answer.verdict is None:
                    raise ConfigError(
                        f"answer {answer.text!r} has no verdict: mark it right, wrong or unscored, or dismiss the item"
                    )
            item = steps.finish(ReviewState.RESOLVED, note)
            follow_up(steps, item, is_drawn=self._share > 0 and self._draw() < self._share)
            return item

    def dismiss(self, item_id: int, reviewer: str, note: str = "") -> ReviewItem:
        """Finish an item that nothing can be learned from; it is not exported. Raises as `mark`."""
        with self._claimed(item_id, reviewer) as steps:
            return steps.finish(ReviewState.DISMISSED, note)

    def reopen(self, item_id: int, reviewer: str, note: str = "") -> ReviewItem:
        """Put a finished item back in the queue, with its verdicts.

        Raises:
            DataNotFoundError: no such item.
            ReviewConflictError: it is not finished.
        """
        with self.store.writing() as connection:
            steps = Steps(connection, item_id, checked_name(reviewer), self._clock())
            if (item := steps.item()).review_of is not None and item.state is ReviewState.RESOLVED:
                raise ReviewConflictError(
                    f"review item {item_id} is a second review, which has been compared: reopen item {item.review_of}"
                )
            is_finished = items.c.state != ReviewState.OPEN
            if not steps.update(is_finished, state=ReviewState.OPEN, finished_by=None, finished_at=None, note=""):
                state = steps.item().state.value
                raise ReviewConflictError(f"review item {item_id} is {state}: only a finished one is reopened")
            steps.record("reopened", {"note": checked_text("note", note)})
            return steps.item()

    @contextmanager
    def _claimed(self, item_id: int, reviewer: str) -> Iterator[Steps]:
        """One transaction on an item that the reviewer has claimed."""
        now = self._clock()
        with self.store.writing() as connection:
            steps = Steps(connection, item_id, checked_name(reviewer), now)
            steps.extend_claim(self._lease)
            yield steps
