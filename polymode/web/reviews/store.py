"""The queue's database: atomic transactions, and one error for every failure (layer L6).

SQLite: a write-ahead log with ``synchronous=FULL``, so that a commit is on disk before it is acknowledged; transactions
that write take the write lock when they begin, so none fails half way. The file is created once: when it disappears
later, that is an error until it is back, never silently an empty queue. PostgreSQL: the same by ``synchronous_commit``.

Nothing is opened before the first use, and after a failure the next use tries again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from polymode.errors import ConfigError, MissingExtraError, PolymodeError, ReviewStoreError

_WRITES = "polymode_writes"
_FileId = tuple[int, int] | None
_MIGRATION_LOCK = 7_238_114_550_921
"""PostgreSQL advisory lock by which processes take turns to migrate."""


class Store:
    """Connections to the queue's database, with the tables of this version.

    Args:
        place: an SQLite file, or a URL ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``.
        wait_seconds: longest wait for a lock, a connection or a server.

    Raises:
        ConfigError: another kind of database.
        MissingExtraError: PostgreSQL without its driver.
    """

    def __init__(self, place: str | Path, *, wait_seconds: float = 5.0) -> None:
        self._wait, self._lock, self._is_open = wait_seconds, threading.Lock(), False
        self._path, url = _place(place)
        self.name = str(self._path) if url is None else url.render_as_string(hide_password=True)
        """For messages, without a password."""
        self._engine = self._sqlite() if url is None else self._postgresql(url)
        event.listen(self._engine, "begin", self._begin)

    @property
    def dialect(self) -> str:
        """Either ``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def open(self) -> None:
        """Create the file if there is none yet, and migrate the tables to this version; does nothing the second time.

        Raises:
            ReviewStoreError: the database cannot be used, or was written by a later version.
        """
        with self._lock:
            if self._is_open:
                return
            with self._errors_as_ours():
                if self._path is not None:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))  # questions may be confidential
                with self._transaction(writes=True) as connection:
                    _upgrade(connection)
            self._is_open = True

    def close(self) -> None:
        """Give all connections back; the next use opens new ones."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view; raises ReviewStoreError."""
        self.open()
        with self._errors_as_ours(), self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction, committed when the block ends and undone when it raises; raises ReviewStoreError."""
        self.open()
        with self._errors_as_ours():
            with self._transaction(writes=True) as connection:
                file = self._file()
                yield connection
            if self._file() != file:
                raise ReviewStoreError(f"review queue {self.name}: the file was removed while it was written")

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[sa.Connection]:
        with self._engine.connect().execution_options(**{_WRITES: writes}) as connection, connection.begin():
            yield connection

    def _begin(self, connection: sa.Connection) -> None:
        if self._path is not None:  # the driver begins nothing by itself, see `_connect`
            writes = connection.get_execution_options().get(_WRITES)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    @contextmanager
    def _errors_as_ours(self) -> Iterator[None]:
        try:
            yield
        except PolymodeError:  # several of them are OSErrors too
            raise
        except (DBAPIError, PoolTimeoutError, sqlite3.Error, OSError) as exc:
            reason = str(getattr(exc, "orig", None) or exc).strip().splitlines() or [type(exc).__name__]
            raise ReviewStoreError(f"review queue {self.name} cannot be used: {reason[0]}; try again") from exc

    def _sqlite(self) -> sa.Engine:
        engine = sa.create_engine(
            "sqlite+pysqlite://", creator=self._connect, poolclass=sa.QueuePool, pool_timeout=self._wait
        )

        def record_file(_: Any, record: Any) -> None:
            record.info["file"] = self._file()

        def check_file(_: Any, record: Any, __: Any) -> None:
            # A connection outlives its file: what it writes to a deleted one is lost without an error.
            if record.info["file"] != self._file():
                raise DisconnectionError("the file was replaced")

        event.listen(engine, "connect", record_file)
        event.listen(engine, "checkout", check_file)
        return engine

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=rw",  # never makes a file
            uri=True,
            timeout=self._wait,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            self._write_ahead(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        """WAL; the change from another journal does not wait for locks by itself."""
        end = time.monotonic() + self._wait
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc) or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def _file(self) -> _FileId:
        """Identity of the file at the path; None when there is no file, or no path."""
        try:
            status = None if self._path is None else os.stat(self._path)
        except FileNotFoundError:
            return None
        return None if status is None else (status.st_dev, status.st_ino)

    def _postgresql(self, url: sa.URL) -> sa.Engine:
        milliseconds = max(1, round(self._wait * 1000))
        try:
            engine = sa.create_engine(
                url.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,
                pool_timeout=self._wait,
                connect_args={"connect_timeout": max(2, round(self._wait))},
            )
        except ImportError:
            raise MissingExtraError("psycopg", "postgres", "A review queue in PostgreSQL") from None

        def configure(connection: Any, _: Any) -> None:
            connection.execute(f"SET lock_timeout = {milliseconds}")
            connection.execute("SET synchronous_commit = on")
            connection.commit()

        event.listen(engine, "connect", configure)
        return engine


def _place(place: str | Path) -> tuple[Path | None, sa.URL | None]:
    """Either the path of an SQLite file or the URL of a PostgreSQL database."""
    if isinstance(place, Path) or "://" not in place:
        if not str(place) or str(place) == ".":
            raise ConfigError("queue = '' is not allowed: name an SQLite file, or a database as postgresql://HOST/NAME")
        return Path(place).absolute(), None
    try:
        url = sa.make_url(place)
    except ArgumentError:
        raise ConfigError("queue: the URL cannot be read; write it as postgresql://USER:PASSWORD@HOST/NAME") from None
    kind = url.drivername.split("+")[0]
    if kind == "sqlite" and url.database and url.database != ":memory:":
        return Path(url.database).absolute(), None
    if kind in ("postgresql", "postgres"):
        return None, url
    raise ConfigError(
        f"queue = {url.render_as_string(hide_password=True)!r} is not allowed: use an SQLite file, which outlives the "
        "process, or postgresql://HOST/NAME"
    )


def _upgrade(connection: sa.Connection) -> None:
    """Run the migrations that are missing; the caller commits.

    In SQLite the caller's transaction must be one that writes, so that two processes take turns.

    Raises:
        ReviewStoreError: the tables are of a later version than this package.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in revisions:
        raise ReviewStoreError(
            f"the review queue is of version {current}, which this polymode does not know: update polymode"
        )
    command.upgrade(config, "head")
