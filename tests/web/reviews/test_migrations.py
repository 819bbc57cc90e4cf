"""The migrations lead from nothing, and from the first version's file, to the tables that the code uses."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from polymode.errors import ReviewStoreError
from polymode.types import Verdict
from polymode.web.live import tables as _  # noqa: F401  its tables are in the same metadata
from polymode.web.reviews import ReviewState
from polymode.web.reviews.queue import ReviewQueue
from polymode.web.reviews.tables import metadata

FIRST_VERSION = Path(__file__).parent / "first_version.sql"
"""A dump of a file that revision 0001 made: one finished item, one claimed, one waiting."""


def test_an_empty_database_gets_the_tables_of_the_models(place: str) -> None:
    with ReviewQueue(place) as queue, queue.store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert context.get_current_revision() == "0007"
        assert compare_metadata(context, metadata) == []


def test_the_comparison_can_fail(file: Path) -> None:
    with ReviewQueue(file) as queue, queue.store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE review_items ADD COLUMN colour TEXT")
        [[kind, *_]] = compare_metadata(MigrationContext.configure(connection), metadata)
        assert kind == "remove_column"


def test_the_first_versions_file_is_brought_up_to_date(tmp_path: Path, add: Callable[..., int]) -> None:
    path = tmp_path / "old.db"
    old = sqlite3.connect(path)
    old.executescript(FIRST_VERSION.read_text(encoding="utf-8"))
    old.close()
    with ReviewQueue(path) as queue:
        states = [item.state for item in queue.items()]
        assert states == [ReviewState.RESOLVED, ReviewState.OPEN, ReviewState.OPEN]  # the claim is long expired
        [done] = queue.resolved()
        assert (done.question, done.finished_by, done.note) == ("Fever and cough?", "ann", "clear")
        assert [(answer.text, answer.verdict) for answer in done.answers] == [
            ("flu", Verdict.CORRECT),
            ("cold", Verdict.WRONG),
            ("covid", Verdict.CORRECT),
        ]
        assert {answer.rationale for answer in done.answers} == {None}
        assert [event.what for event in queue.events(done.id)] == [
            "added",
            "claimed",
            "marked",
            "answer_added",
            "resolved",
        ]
        assert add(queue) == 4
        with pytest.raises(ReviewStoreError, match="only grows"), queue.store.writing() as connection:
            connection.exec_driver_sql("DELETE FROM review_events")


def test_a_later_versions_file_is_refused_and_not_changed(file: Path, rows_of: Callable) -> None:
    connection = sqlite3.connect(file)
    connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.commit()
    connection.close()
    with ReviewQueue(file) as queue, pytest.raises(ReviewStoreError, match="is of version 0999, which this polymode"):
        queue.counts()
    assert rows_of(file, "SELECT version_num FROM alembic_version") == [("0999",)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, rows_of: Callable) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE review_answers (x TEXT)")  # in the way of the second table
    connection.close()
    with ReviewQueue(path) as queue, pytest.raises(ReviewStoreError, match="already exists"):
        queue.counts()
    assert rows_of(path, "SELECT name FROM sqlite_master") == [("review_answers",)]
