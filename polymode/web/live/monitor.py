"""Reads the stored answers and the labels of the random share, tests both, and raises alarms (layer L6).

Everything follows from the database, so a restart, or another process on the same database, comes to the same result.
The tests take the random share in the order of drawing, whenever it is reviewed: what failed may be noticed sooner than
what did not, and tests in the order of labels would see a change where there is none.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from polymode.errors import ReviewStoreError
from polymode.policy import Policy
from polymode.policy.monitoring import QUESTIONS, SETS, DriftMonitor, Evidence, GuaranteeMonitor
from polymode.web.live.answers import LiveAnswers
from polymode.web.live.labels import Label, labels_of

log = logging.getLogger("polymode.web")

FRESH_SECONDS = 5.0
"""A result that is not older is used as it is."""
WATCH_SECONDS = 30.0
"""Between two looks at the stored answers."""
HOUR = 3600


@dataclass(frozen=True)
class LiveState:
    """What is known at one time."""

    evidence: tuple[Evidence, ...]
    labels: tuple[Label, ...]
    """The random share, in the order of drawing."""
    hours: Counter[tuple[int, str]]
    """Answers by hour since 1970 and kind of decision."""
    n_answers: int
    n_repeats: int
    """Answers to questions that had been asked before."""
    first: datetime | None
    """When the first answer was given."""
    waits_for: Label | None
    """First question of the random share that is not reviewed yet, and that the tests of guarantees wait for."""
    n_late: int
    """Questions that these tests passed over."""

    @property
    def n_different(self) -> int:
        """Different questions that were answered."""
        return self.n_answers - self.n_repeats

    @property
    def n_reviewed(self) -> int:
        """Questions of the random share of which it is known what is right."""
        return sum(label.verdicts is not None for label in self.labels)

    @property
    def alarms(self) -> tuple[Evidence, ...]:
        """Tests that reached their limits, the earliest first."""
        return tuple(sorted((one for one in self.evidence if one.is_alarm), key=lambda one: one.alarm_at or 0))

    @property
    def reason(self) -> str | None:
        """Why guarantees are not claimed any more; None without an alarm."""
        return self.alarms[0].sentence if self.alarms else None


class LiveMonitor:
    """The tests of one deployment.

    Args:
        live: the stored answers.
        policy: that decides.
    """

    def __init__(self, live: LiveAnswers, policy: Policy) -> None:
        self.live, self.policy = live, policy
        reference = policy.conditions.reference if policy.conditions is not None else None
        self._drift = DriftMonitor(reference)
        self._lock, self._until = threading.Lock(), 0.0
        self._last = self._n_answers = self._n_repeats = 0
        self._hours: Counter[tuple[int, str]] = Counter()
        self._first: datetime | None = None
        self._place: dict[int, int] = {}
        """Number of a random question among all different ones, from 0, by id."""
        self.state = LiveState(tuple(self._evidence([])[0]), (), self._hours, 0, 0, None, None, 0)
        """As of the last refresh."""

    def refresh(self) -> LiveState:
        """Read what is new; raises ReviewStoreError, after which the state is as before."""
        with self._lock:
            if time.monotonic() < self._until:
                return self.state
            while rows := self.live.rows_after(self._last):
                self._take(rows)
            labels = labels_of(self.live)
            evidence, waits_for, n_late = self._evidence(labels)
            before = {one.name for one in self.state.alarms}
            self.state = LiveState(
                tuple(evidence),
                tuple(labels),
                self._hours.copy(),
                self._n_answers,
                self._n_repeats,
                self._first,
                waits_for,
                n_late,
            )
            for one in self.state.alarms:
                if one.name not in before:
                    log.warning(
                        "live calibration: %s (question %d); no guarantee is claimed", one.sentence, one.alarm_at
                    )
            self._until = time.monotonic() + FRESH_SECONDS
            return self.state

    def keep_up(self) -> None:
        """One round of what is done all the time: delete texts whose time is over, and test."""
        try:
            self.live.expire()
            self.refresh()
        except ReviewStoreError as exc:
            log.error("live calibration cannot go on: %s", exc)

    def _take(self, rows: object) -> None:
        """Count more answers, and test their measures."""
        measures: dict[str, list[list[float]]] = {QUESTIONS: [], SETS: []}
        uniform = []
        for row in rows:  # type: ignore[attr-defined]
            self._last = row.id
            self._n_answers += 1
            self._first = self._first or row.at
            self._hours[int(row.at.timestamp()) // HOUR, row.kind] += 1
            if row.is_repeat:
                self._n_repeats += 1
                continue
            if row.is_random:
                self._place[row.id] = self._drift.n + len(uniform)
            for kind, own in zip((QUESTIONS, SETS), row.measures, strict=True):
                measures[kind].append(own)
            uniform.append(_uniform(f"{self.live.deployment} {row.id}", self._drift.n_measures))
        self._drift.observe(measures, uniform)

    def _evidence(self, labels: list[Label]) -> tuple[list[Evidence], Label | None, int]:
        """Where all tests stand, what those of the guarantees wait for, and how many questions they passed over."""
        guarantees, now, n_late = GuaranteeMonitor(self.policy), self.live.clock(), 0
        waits_for = None
        conformal = {name for name, one in self.policy.promises if one.method == "conformal"}
        for label in labels:
            if label.is_late(now):
                n_late += 1
                continue
            if label.verdicts is None:
                waits_for = label
                break
            if label.is_covered:
                has_failed = not any(label.verdicts) if label.group in conformal else label.has_failed
                guarantees.observe(self._place[label.id], label.group, label.kind, has_failed)
        return guarantees.evidence() + self._drift.evidence(), waits_for, n_late


@asynccontextmanager
async def watched(monitor: LiveMonitor | None) -> AsyncIterator[None]:
    """Test what is new and delete what is old, before the block begins and as long as it runs."""
    if monitor is None:
        yield
        return

    async def watch() -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await asyncio.to_thread(monitor.keep_up)

    await asyncio.to_thread(monitor.keep_up)
    task = asyncio.create_task(watch())
    yield
    task.cancel()


def _uniform(name: str, n: int) -> list[float]:
    """Numbers in [0, 1] that look random, the same ones for the same name; they break ties of ranks."""
    digest = hashlib.shake_128(name.encode()).digest(4 * n)
    return [int.from_bytes(digest[4 * i : 4 * i + 4]) / 2**32 for i in range(n)]
