"""What survives a kill, and how a database that cannot be used is told: one error, and no restart afterwards."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from polymode.errors import ConfigError, MissingExtraError, ReviewStoreError
from polymode.web.reviews.queue import ReviewQueue
from polymode.web.reviews.store import Store

Add = Callable[..., int]
RowsOf = Callable[[Path, str], list[tuple]]

ADDER = """
import sys
from polymode.parsing import parse_answers
from polymode.policy import Policy, decide
from polymode.web.reviews.queue import ReviewQueue
answers = parse_answers("<answer>flu</answer><confidence>0.2</confidence>", 1, confidence=True)
queue = ReviewQueue(sys.argv[1], wait_seconds=60)
number = 0
while True:
    number += 1
    print(queue.add(f"question {number}?", answers, decide(answers, Policy())), flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_acknowledged(file: Path, rows_of: RowsOf) -> None:
    worker = subprocess.Popen([sys.executable, "-c", ADDER, str(file)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    acknowledged = [int(worker.stdout.readline()) for _ in range(25)]
    worker.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in worker.stdout.read().split("\n")[:-1]]
    worker.stdout.close()
    worker.wait()
    with ReviewQueue(file) as queue:
        items = queue.items(limit=10_000)
        kept = {item.id: item for item in items}
        assert set(acknowledged) <= set(kept)
        # What was not acknowledged is there whole or not at all.
        assert all(len(item.answers) == 1 and len(queue.events(item.id)) == 1 for item in items[-3:])
    assert rows_of(file, "PRAGMA integrity_check") == [("ok",)]


def test_a_commit_is_on_disk_before_it_is_acknowledged(file: Path) -> None:
    store = Store(file)
    with store.reading() as connection:
        settings = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        assert settings == ["wal", 2]  # 2 is FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    with ReviewQueue(tmp_path / "new" / "a b#?%.db") as queue:
        assert queue.counts().open == 0
    [path] = (tmp_path / "new").iterdir()
    assert path.name == "a b#?%.db"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_locked_database_is_told_and_then_used_again(file: Path, add: Add) -> None:
    with ReviewQueue(file, wait_seconds=0.05) as queue:
        add(queue)
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ReviewStoreError, match=r"reviews.db cannot be used: database is locked; try again"):
            add(queue)
        assert queue.counts().open == 1  # the log lets others read meanwhile
        other.execute("ROLLBACK")
        other.close()
        add(queue)
        assert queue.counts().open == 2


def test_a_full_disk_is_told_and_then_used_again(file: Path, add: Add) -> None:
    with ReviewQueue(file) as queue:
        add(queue)
        with queue.store.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(ReviewStoreError, match="cannot be used: database or disk is full; try again"):
            add(queue, "long? " * 10_000)
        assert queue.counts().open == 1
        with queue.store.reading() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        add(queue, "long? " * 10_000)
        assert queue.counts().open == 2


def test_a_file_that_is_taken_away_is_told_and_never_made_anew(file: Path, add: Add) -> None:
    with ReviewQueue(file) as queue:
        add(queue)
        away = file.with_name("away.db")
        for path in file.parent.glob("reviews.db*"):
            path.rename(path.with_name(path.name.replace("reviews", "away")))
        for act in (lambda: add(queue), queue.counts):
            with pytest.raises(ReviewStoreError, match="unable to open database file; try again"):
                act()
        assert not file.exists()
        for path in file.parent.glob("away.db*"):
            path.rename(path.with_name(path.name.replace("away", "reviews")))
        assert not away.exists()
        assert queue.counts().open == 1
        add(queue)
        assert queue.counts().open == 2


def test_a_backup_that_is_put_in_its_place_is_read(file: Path, empty_file: Path, add: Add) -> None:
    with ReviewQueue(file) as queue:
        add(queue)
        copy = file.with_name("copy.db")
        copy.write_bytes(empty_file.read_bytes())
        for path in (file.with_name("reviews.db-wal"), file.with_name("reviews.db-shm")):
            path.unlink(missing_ok=True)  # the log belongs to the old file
        os.replace(copy, file)
        assert queue.counts().open == 0


def test_a_file_that_disappears_during_a_commit_acknowledges_nothing(file: Path) -> None:
    store = Store(file)
    with pytest.raises(ReviewStoreError, match="the file was removed while it was written"), store.writing() as c:
        c.exec_driver_sql("PRAGMA user_version = 1")
        file.rename(file.with_name("elsewhere.db"))
    store.close()


def test_a_folder_that_comes_later_is_used_then(tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("not mounted")
    with ReviewQueue(tmp_path / "disk" / "reviews.db") as queue:
        with pytest.raises(ReviewStoreError, match="cannot be used"):
            queue.counts()
        (tmp_path / "disk").unlink()
        assert queue.counts().open == 0


def test_another_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database, but long enough to be read as one " * 50)
    with ReviewQueue(path) as queue, pytest.raises(ReviewStoreError, match="file is not a database"):
        queue.counts()
    assert path.read_text().startswith("no database")


def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    ReviewQueue(tmp_path / "reviews.db").close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("", "queue = '' is not allowed: name an SQLite file"),
        ("sqlite://", "queue = 'sqlite://' is not allowed: use an SQLite file, which outlives the process"),
        ("sqlite:///:memory:", "use an SQLite file, which outlives the process"),
        ("mysql://ann:secret@host/x", "queue = 'mysql://ann:***@host/x' is not allowed"),
        ("://", "the URL cannot be read; write it as postgresql://USER:PASSWORD@HOST/NAME"),
    ],
)
def test_other_databases_are_refused(place: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ReviewQueue(place)
    assert said in str(caught.value)


def test_a_file_can_be_named_as_a_url(file: Path) -> None:
    with ReviewQueue(f"sqlite:///{file}") as queue:
        assert queue.counts().open == 0
        assert queue.store.name == str(file)


def test_a_server_that_is_away_is_told_without_its_password() -> None:
    with (
        ReviewQueue("postgresql://ann:secret@127.0.0.1:9/x", wait_seconds=1) as queue,
        pytest.raises(
            ReviewStoreError, match=r"review queue postgresql://ann:\*\*\*@127.0.0.1:9/x cannot be used"
        ) as e,
    ):
        queue.counts()
    assert "secret" not in str(e.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'polymode\[postgres\]'"):
        ReviewQueue("postgresql://host/x")


def test_the_audit_trail_only_grows(place: str, add: Add) -> None:
    with ReviewQueue(place) as queue:
        item_id = add(queue)
        for change in ("UPDATE review_events SET who = 'nobody'", "DELETE FROM review_events"):
            with pytest.raises(ReviewStoreError, match="review_events only grows"), queue.store.writing() as connection:
                connection.execute(sa.text(change))
        assert [event.who for event in queue.events(item_id)] == ["system"]


def test_the_same_holds_in_postgresql() -> None:
    if not os.environ.get("POLYMODE_TEST_POSTGRES"):
        pytest.skip("no PostgreSQL: set POLYMODE_TEST_POSTGRES to the URL of a server, and the tests run there too")
