"""What answering does for live calibration: draws the random share, stores answers with their measures (layer L6)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import TypeVar

from polymode.errors import PolymodeError
from polymode.policy.reference import set_measures
from polymode.types import AnswerSet, Decision
from polymode.web.live.answers import LiveAnswer
from polymode.web.live.monitor import LiveMonitor

T = TypeVar("T")
log = logging.getLogger("polymode.web")


class LiveRecorder:
    """The store of answers as the answer service uses it; what fails here costs nobody an answer.

    Args:
        monitor: of the stored answers.
        threads: for everything that waits for the database.
        on_fault: called where an answer cannot be stored.
    """

    def __init__(self, monitor: LiveMonitor, threads: Executor, on_fault: Callable[[], object]) -> None:
        self._monitor, self._threads, self._on_fault = monitor, threads, on_fault

    @property
    def reason(self) -> str | None:
        """Why no guarantee is claimed any more; None without an alarm."""
        return self._monitor.state.reason

    async def draws(self, question: str) -> bool:
        """Whether a question is one of the random share."""
        try:
            return await self._in_thread(self._monitor.live.draws, question)
        except PolymodeError as exc:
            log.error("nothing is drawn for the random share: %s", exc)
            return False

    async def record(self, answer: LiveAnswer, answer_set: AnswerSet, decision: Decision, *, is_usual: bool) -> None:
        """Store an answer.

        Args:
            answer: without its measures.
            answer_set: what was decided on, with confidences as stated.
            decision: about it.
            is_usual: whether it was asked with the server's settings; else it says nothing about drift.
        """

        def store() -> None:
            own = self._measures(answer.question, answer_set, decision) if is_usual else ((), ())
            self._monitor.live.record(replace(answer, measures=own))

        try:
            await self._in_thread(store)
        except PolymodeError as exc:
            self._on_fault()
            log.error("an answer is not stored: %s", exc)

    def _measures(
        self, question: str, answer_set: AnswerSet, decision: Decision
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What tells drift of questions and of confidences, as stated."""
        policy = self._monitor.policy
        if policy.conditions is None or policy.conditions.reference is None:
            return (), ()
        stated = {(one.text, one.span): one.confidence or 0.0 for one in reversed(answer_set.answers)}
        own = [stated[one.text, one.span] for one in decision.ranked]
        return policy.conditions.reference.measures(question, policy.inputs), set_measures(own)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
