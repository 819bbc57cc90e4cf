"""Answers in service, stored beside the review queue, and the random share of them (layer L6)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from polymode.errors import ConfigError, number_in
from polymode.fingerprints import question_fingerprint, same_question
from polymode.web.live.tables import live_answers, live_events, live_texts
from polymode.web.reviews.store import Store
from polymode.web.reviews.tables import storable

_RANDOM = random.SystemRandom()
_WRITE_LOCK = 7_238_114_550_922
"""PostgreSQL advisory lock by which answers become visible in the order of their numbers."""


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """One answer, as it is stored."""

    request_id: str
    question: str
    answers: tuple[str, ...]
    """The distinct answers, the most confident first."""
    confidences: tuple[float, ...]
    """As decided on."""
    n_shown: int
    """How many of them were shown."""
    kind: str
    """Of the decision."""
    risk: str
    group: str
    """By which the policy tells questions apart; empty where it does not."""
    is_covered: bool
    """Whether a guarantee of the policy covers it."""
    is_random: bool
    """Whether it was drawn for the random share."""
    measures: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    """Of the question and of its confidences (`polymode.policy.reference`); empty where they say nothing about drift,
    because the client chose other settings."""
    item_id: int | None = None
    """In the review queue."""
    asked_by: str = ""


class LiveAnswers:
    """The store of answers.

    Args:
        store: the database of the review queue.
        deployment: what the answers belong to; answers of others do not count in the tests.
        share: of all different questions, at random, that go to the review queue.
        days: how long texts are stored.
        clock: the time.
        draw: a uniform random number.

    Raises:
        ConfigError: a share or a number of days that is not allowed.
    """

    def __init__(
        self,
        store: Store,
        deployment: str,
        *,
        share: float = 0.0,
        days: float = 90.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[], float] = _RANDOM.random,
    ) -> None:
        number_in("review_share", share, 0, 1)
        number_in("store_days", days, 0)
        if days == 0:
            raise ConfigError("store_days = 0 stores nothing: give a number of days above 0, or leave live answers out")
        self.store, self.deployment, self.share, self.days = store, deployment, share, days
        self.clock, self._draw = clock, draw

    def draws(self, question: str) -> bool:
        """Whether a question goes to the review queue as one of the random share; never one that was asked before.

        Raises:
            ReviewStoreError.
        """
        if not self._draw() < self.share:
            return False
        with self.store.reading() as connection:
            return not self._was_asked(connection, _fingerprint(question))

    def record(self, answer: LiveAnswer) -> None:
        """Store an answer; a request that is stored already is left as it is. Raises ReviewStoreError."""
        fingerprint, now = _fingerprint(answer.question), self.clock()
        row = {**asdict(answer), "request_id": storable(answer.request_id), "at": now}
        row |= {"deployment": self.deployment, "fingerprint": fingerprint}
        texts = {"question": storable(row.pop("question")), "answers": [storable(text) for text in row.pop("answers")]}
        same_request = sa.select(live_answers.c.id).where(live_answers.c.request_id == row["request_id"])
        with self.store.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITE_LOCK)))
            if connection.execute(same_request).first() is not None:
                return
            is_repeat = self._was_asked(connection, fingerprint)
            new = sa.insert(live_answers).values(is_repeat=is_repeat, **row).returning(live_answers.c.id)
            answer_id = connection.execute(new).scalar_one()
            connection.execute(sa.insert(live_texts).values(answer_id=answer_id, at=now, **texts))

    def _was_asked(self, connection: sa.Connection, fingerprint: str) -> bool:
        own = (live_answers.c.deployment == self.deployment, live_answers.c.fingerprint == fingerprint)
        return connection.execute(sa.select(live_answers.c.id).where(*own).limit(1)).first() is not None

    def expire(self) -> int:
        """Delete the texts whose time is over; how many. Raises ReviewStoreError."""
        return delete_before(self.store, self.clock() - timedelta(days=self.days))

    def rows_after(self, number: int, limit: int = 10_000) -> Sequence[sa.Row[Any]]:
        """The next answers of this deployment, in order, by number of the last one that is known."""
        own = (live_answers.c.deployment == self.deployment, live_answers.c.id > number)
        query = sa.select(live_answers).where(*own).order_by(live_answers.c.id).limit(limit)
        with self.store.reading() as connection:
            return connection.execute(query).all()


def delete_before(store: Store, before: datetime) -> int:
    """Delete all texts from before a time; how many. Numbers remain."""
    with store.writing() as connection:
        return connection.execute(sa.delete(live_texts).where(live_texts.c.at < before)).rowcount


def delete_request(store: Store, request_id: str, who: str, now: datetime) -> bool:
    """Delete an answer's texts, its name and what the question is recognised by; whether there is such an answer.

    The numbers remain, so that the tests do not change; nothing leads from them to the question. An item of the review
    queue is not deleted.
    """
    own = sa.select(live_answers.c.id).where(live_answers.c.request_id == request_id)
    with store.writing() as connection:
        answer_id = connection.execute(own).scalar()
        if answer_id is None:
            return False
        connection.execute(sa.delete(live_texts).where(live_texts.c.answer_id == answer_id))
        bare = sa.update(live_answers).where(live_answers.c.id == answer_id)
        connection.execute(bare.values(request_id=None, fingerprint="", asked_by=""))
        add_event(connection, now, who, "deleted", request_id, {})
    return True


def add_event(
    connection: sa.Connection, at: datetime, who: str, what: str, request_id: str, detail: dict[str, Any]
) -> None:
    """Add a line to the audit trail of live answers."""
    row = {"at": at, "who": storable(who), "what": what, "request_id": storable(request_id)[:100], "detail": detail}
    connection.execute(sa.insert(live_events).values(row))


def _fingerprint(question: str) -> str:
    return same_question(question_fingerprint(question))


def deployment_id(model_id: str, policy: object, conditions: object) -> str:
    """What a deployment is recognised by: another model, policy or way to ask is another one."""
    text = f"{model_id}\n{policy!r}\n{conditions!r}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
