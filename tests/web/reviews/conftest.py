"""Queues to review, in SQLite always and in PostgreSQL where ``POLYMODE_TEST_POSTGRES`` names a server."""

import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from polymode.parsing import parse_answers
from polymode.policy import Policy, decide
from polymode.web.reviews.queue import ReviewQueue
from polymode.web.reviews.store import Store

SERVER = os.environ.get("POLYMODE_TEST_POSTGRES")
"""As ``postgresql://USER@/postgres?host=FOLDER``; every test makes a database of its own there and drops it."""


class Clock:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue without items; migrating takes longer than copying."""
    path = tmp_path_factory.mktemp("queue") / "empty.db"
    store = Store(path)
    store.open()
    store.close()
    return path


@pytest.fixture
def file(empty_file: Path, tmp_path: Path) -> Path:
    """A queue of this version without items, in a file of its own."""
    path = tmp_path / "reviews.db"
    shutil.copy(empty_file, path)
    return path


@pytest.fixture(params=["sqlite", *(["postgresql"] if SERVER else [])])
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a queue is: a file, or the URL of a database."""
    if request.param == "sqlite":
        yield str(request.getfixturevalue("file"))
        return
    name = f"polymode_{uuid.uuid4().hex}"
    url = sa.make_url(SERVER or "").set(drivername="postgresql+psycopg")
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()


@pytest.fixture
def queue(place: str, clock: Clock) -> Iterator[ReviewQueue]:
    with ReviewQueue(place, claim_seconds=60, wait_seconds=10, clock=clock) as queue:
        yield queue


def text_of(*pairs: tuple[str, float]) -> str:
    """A completion with these answers and confidences."""
    return "".join(f"<answer{i}>{a}</answer{i}><confidence{i}>{q}</confidence{i}>" for i, (a, q) in enumerate(pairs, 1))


@pytest.fixture
def add() -> Callable[..., int]:
    """Adds a question with answers and confidences, as the service does."""

    def add_question(
        queue: ReviewQueue,
        question: str = "What is it?",
        pairs: tuple[tuple[str, float], ...] = (("flu", 0.5), ("cold", 0.3)),
        *,
        policy: Policy | None = None,
        risk: str = "normal",
        **named: str,
    ) -> int:
        text = text_of(*pairs)
        answer_set = parse_answers(text, max(len(pairs), 2), confidence=True)
        decision = decide(answer_set, policy or Policy(answer_at=0.9), risk=risk)
        return queue.add(question, answer_set, decision, completion=text, risk=risk, **named)

    return add_question


@pytest.fixture
def rows_of() -> Callable[[Path, str], list[tuple]]:
    """What an SQL query finds in a file, past all of our code."""

    def rows(path: Path, query: str) -> list[tuple]:
        connection = sqlite3.connect(path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    return rows
