"""Migrates the tables of a review queue to this version, in one transaction (layer L6)."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from polymode.errors import ReviewStoreError

_LOCK = 7_238_114_550_921
"""PostgreSQL advisory lock by which processes take turns."""


def upgrade(connection: sa.Connection, to: str = "head") -> None:
    """Run the migrations that are missing; the caller commits.

    In SQLite the caller's transaction must be one that writes, so that two processes take turns.

    Raises:
        ReviewStoreError: the tables are of a later version than this package.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in revisions:
        raise ReviewStoreError(
            f"the review queue is of version {current}, which this polymode does not know: update polymode"
        )
    command.upgrade(config, to)
