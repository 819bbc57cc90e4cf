"""What is read from the review queue (layer L6)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from polymode.web.reviews.agreement import Agreement, agreement
from polymode.web.reviews.listing import ItemFilter, order_of
from polymode.web.reviews.records import RANDOM, Draft, ReviewCounts, ReviewEvent, ReviewItem, ReviewState, Round
from polymode.web.reviews.second_reviews import is_hidden, rounds_of, with_rounds
from polymode.web.reviews.store import Store
from polymode.web.reviews.tables import drafts, events, items, read_item, read_items, state_is, storable


class QueueViews:
    """The queue as it is; every method raises ReviewStoreError when the database cannot be used."""

    store: Store
    _clock: Callable[[], datetime]

    def counts(self) -> ReviewCounts:
        """How many items are in each state; also the cheapest way to see that the database answers."""
        now = self._clock()
        with self.store.reading() as connection:
            n = {
                state.value: connection.execute(
                    sa.select(sa.func.count()).select_from(items).where(state_is(state, now))
                ).scalar_one()
                for state in ReviewState
            }
            oldest = sa.select(sa.func.min(items.c.created_at)).where(state_is(ReviewState.OPEN, now))
            return ReviewCounts(**n, oldest_open=connection.execute(oldest).scalar())

    def item(self, item_id: int) -> ReviewItem:
        """One item; raises DataNotFoundError."""
        with self.store.reading() as connection:
            return read_item(connection, item_id, self._clock())

    def item_of_request(self, request_id: str) -> ReviewItem | None:
        """The item that was added with a request_id."""
        query = sa.select(items).where(items.c.request_id == storable(request_id))
        with self.store.reading() as connection:
            return next(iter(read_items(connection, query, self._clock())), None)

    def items(
        self, chosen: ItemFilter | None = None, *, sort: str = "line", limit: int = 50, offset: int = 0
    ) -> tuple[ReviewItem, ...]:
        """Items, by default all, in the order in which they are claimed; raises ConfigError for an unknown order."""
        now = self._clock()
        query = sa.select(items).where(*(chosen or ItemFilter()).conditions(now)).order_by(*order_of(sort))
        with self.store.reading() as connection:
            return read_items(connection, query.limit(limit).offset(offset), now)

    def count(self, chosen: ItemFilter) -> int:
        """How many items a list has."""
        query = sa.select(sa.func.count()).select_from(items).where(*chosen.conditions(self._clock()))
        with self.store.reading() as connection:
            return connection.execute(query).scalar_one()

    def random_share(self) -> tuple[int, int]:
        """Items of the random share, and how many of them are resolved."""
        is_resolved = sa.case((items.c.state == ReviewState.RESOLVED, 1))
        query = sa.select(sa.func.count(), sa.func.count(is_resolved)).where(items.c.origin == RANDOM)
        with self.store.reading() as connection:
            n, n_resolved = connection.execute(query).one()
            return n, n_resolved

    def risks(self) -> tuple[str, ...]:
        """Classes of risk that items have."""
        with self.store.reading() as connection:
            return tuple(connection.execute(sa.select(items.c.risk).distinct().order_by(items.c.risk)).scalars())

    def events(self, item_id: int) -> tuple[ReviewEvent, ...]:
        """What happened to an item, who did it and when; empty for an unknown one."""
        query = sa.select(events).where(events.c.item_id == item_id).order_by(events.c.id)
        with self.store.reading() as connection:
            return tuple(ReviewEvent(**row) for row in connection.execute(query).mappings())

    def resolved(self, *, k: int | None = None, model_id: str | None = None) -> tuple[ReviewItem, ...]:
        """All resolved items in the order in which they were finished; optionally of one K or one model.

        Second reviews are no items of their own here: an item has them as its ``rounds``.
        """
        now = self._clock()
        is_first = sa.and_(state_is(ReviewState.RESOLVED, now), items.c.review_of.is_(None))
        query = sa.select(items).where(is_first).order_by(items.c.finished_at, items.c.id)
        for column, value in ((items.c.k, k), (items.c.model_id, model_id)):
            query = query if value is None else query.where(column == value)
        with self.store.reading() as connection:
            return with_rounds(connection, read_items(connection, query, now))

    def draft(self, item_id: int, reviewer: str) -> Draft | None:
        """What a reviewer had typed about an item; None for nothing."""
        own = (drafts.c.item_id == item_id, drafts.c.reviewer == reviewer)
        with self.store.reading() as connection:
            row = connection.execute(sa.select(drafts.c.at, drafts.c.fields).where(*own)).first()
        return None if row is None else Draft(row.at, tuple((name, value) for name, value in row.fields))

    def rounds(self, item_id: int) -> tuple[Round, ...]:
        """The finished reviews of an item that was drawn for a second one."""
        with self.store.reading() as connection:
            return rounds_of(connection, [item_id]).get(item_id, ())

    def is_hidden(self, item: ReviewItem, reviewer: str | None) -> bool:
        """Whether a reviewer must not see the verdicts of an item, because its second review is still to come."""
        with self.store.reading() as connection:
            return is_hidden(connection, item, reviewer)

    def agreement(self) -> Agreement:
        """How far first and second reviews agree."""
        return agreement(self.store)
