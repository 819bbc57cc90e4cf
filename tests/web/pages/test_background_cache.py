"""What is made once: shared by all who ask, one at a time, bounded, and tried again after a failure."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from polymode.web.pages.run_reader import BackgroundCache, NotReadyError
from polymode.web.problems import Problem


def test_it_is_made_once_for_all_who_ask() -> None:
    made: list[int] = []

    async def ask() -> list[str]:
        kept: BackgroundCache[str] = BackgroundCache(size=2)
        return await asyncio.gather(*(kept.get("a", lambda: made.append(1) or "thing", patience=60) for _ in range(5)))

    assert asyncio.run(ask()) == ["thing"] * 5 and len(made) == 1


def test_who_cannot_wait_finds_it_later() -> None:
    gate = threading.Event()

    async def ask() -> str:
        kept: BackgroundCache[str] = BackgroundCache(size=2)
        make: Callable[[], str] = lambda: str(gate.wait(60))  # noqa: E731
        with pytest.raises(NotReadyError):
            await kept.get("a", make, patience=0.01)
        gate.set()
        return await kept.get("a", make, patience=60)

    assert asyncio.run(ask()) == "True"


def test_a_failure_is_told_and_tried_again() -> None:
    async def ask() -> str:
        kept: BackgroundCache[str] = BackgroundCache(size=2)

        def fail() -> str:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await kept.get("a", fail, patience=60)
        return await kept.get("a", lambda: "now", patience=60)

    assert asyncio.run(ask()) == "now"


def test_the_last_few_are_kept() -> None:
    made: list[str] = []

    async def ask() -> None:
        kept: BackgroundCache[str] = BackgroundCache(size=2)
        for key in ("a", "b", "a", "c", "a", "b"):
            await kept.get(key, lambda key=key: made.append(key) or key, patience=60)

    asyncio.run(ask())
    assert made == ["a", "b", "c", "b"]


def test_one_at_a_time_and_not_too_many() -> None:
    gate, running = threading.Event(), []

    def make() -> str:
        running.append(1)
        assert gate.wait(60) and len(running) == 1
        running.pop()
        return "thing"

    async def ask() -> None:
        kept: BackgroundCache[str] = BackgroundCache(size=8, waiting=2)
        for key in ("a", "b"):
            with pytest.raises(NotReadyError):
                await kept.get(key, make, patience=0.01)
        with pytest.raises(Problem, match="too many pages"):
            await kept.get("c", make, patience=0.01)
        gate.set()
        for key in ("a", "b", "c"):
            assert await kept.get(key, make, patience=60) == "thing"

    asyncio.run(ask())
