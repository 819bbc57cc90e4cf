"""New escalations are told: an outbox in the queue's database, and a thread that empties it (layer L6).

A notice is written in the transaction that adds its item, so none is lost and answering never waits for a receiver. It
is deleted when it has arrived; until then it is tried again, also after a restart. Processes that share a database take
turns by leases. A receiver may get a notice twice, if a process dies between sending and noting it: the id is the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from polymode.errors import PolymodeError
from polymode.web.reviews.records import ReviewItem
from polymode.web.reviews.senders import SECONDS, Notice, NotSent, Sender
from polymode.web.reviews.steps import SYSTEM, Steps
from polymode.web.reviews.store import Store
from polymode.web.reviews.tables import notices, read_item

FIRST_WAIT, LONGEST_WAIT, TRIES = 10.0, 3600.0, 24
"""Seconds before the second attempt, doubled with each further one up to the longest; attempts in all (15 hours)."""
LEASE = 4 * SECONDS
"""Seconds for which a notice belongs to the process that sends it."""
POLL = 1.0
log = logging.getLogger(__name__)


def enqueue(connection: sa.Connection, item_id: int, channels: Iterable[str], now: datetime) -> None:
    """Put an item's notices into the outbox, in the transaction that adds it."""
    rows = [{"item_id": item_id, "channel": channel, "next_at": now, "tries": 0} for channel in channels]
    if rows:
        connection.execute(sa.insert(notices), rows)


class Notifier:
    """Sends what is in the outbox, from a thread of its own.

    Args:
        store: the queue's database.
        senders: by channel.
        base: address of the pages, for links; empty for none.
        with_question: tell the question's text too.
        clock: the time, with its zone.
    """

    def __init__(
        self,
        store: Store,
        senders: Mapping[str, Sender],
        *,
        base: str = "",
        with_question: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._senders, self._base, self._clock = store, dict(senders), base.rstrip("/"), clock
        self._with_question = with_question
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def __enter__(self) -> Notifier:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(SECONDS)

    def send_due(self) -> int:
        """Send every notice that is due, once; how many there were. Raises ReviewStoreError."""
        n = 0
        while not self._stop.is_set() and (due := self._take()) is not None:
            self._send(*due)
            n += 1
        return n

    def _run(self) -> None:
        was_well = True
        while not self._stop.wait(POLL):
            try:
                self.send_due()
                was_well = True
            except PolymodeError as exc:
                if was_well:
                    log.error("notices wait: %s", exc)
                was_well = False
            except Exception:
                log.exception("notices wait")

    def _take(self) -> tuple[sa.RowMapping, ReviewItem] | None:
        """One notice that is due, and its item; nobody else takes it before its lease ends."""
        now = self._clock()
        is_due = sa.and_(notices.c.next_at <= now, notices.c.channel.in_(self._senders))
        with self._store.reading() as connection:
            if connection.execute(sa.select(notices.c.id).where(is_due).limit(1)).first() is None:
                return None
        first = sa.select(notices.c.id).where(is_due).order_by(notices.c.next_at, notices.c.id).limit(1)
        target = notices.c.id == first.with_for_update(skip_locked=True).scalar_subquery()
        lease = {"next_at": now + timedelta(seconds=LEASE), "tries": notices.c.tries + 1}
        with self._store.writing() as connection:
            change = sa.update(notices).where(target, is_due).values(lease).returning(*notices.c)
            row = connection.execute(change).mappings().first()
            return None if row is None else (row, read_item(connection, row["item_id"], now))

    def _send(self, row: sa.RowMapping, item: ReviewItem) -> None:
        channel, tries = row["channel"], row["tries"]
        try:
            self._senders[channel].send(Notice(f"{channel}-{row['id']}-{item.id}", self._content(item)))
            reason = ""
        except NotSent as exc:
            reason = str(exc)
        except Exception as exc:
            log.exception("the %s failed", channel)
            reason = type(exc).__name__
        own = notices.c.id == row["id"]
        with self._store.writing() as connection:
            if reason and tries < TRIES:
                wait = min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT)
                later = self._clock() + timedelta(seconds=wait)
                connection.execute(sa.update(notices).where(own).values(next_at=later))
                log.warning("item %d could not be told by %s (%s); again in %g s", item.id, channel, reason, wait)
                return
            connection.execute(sa.delete(notices).where(own))
            detail = {"channel": channel} | ({"failed": reason} if reason else {})
            Steps(connection, item.id, SYSTEM, self._clock()).record("told", detail)
        if reason:
            log.error("item %d was not told by %s after %d attempts (%s)", item.id, channel, tries, reason)

    def _content(self, item: ReviewItem) -> dict[str, Any]:
        data = {
            "item": item.id,
            "request_id": item.request_id,
            "risk": item.risk,
            "decision": item.kind.value,
            "url": f"{self._base}/reviews/{item.id}" if self._base else None,
            **({"question": item.question} if self._with_question else {}),
        }
        return {"type": "escalation.created", "timestamp": item.created_at.isoformat(), "data": data}
