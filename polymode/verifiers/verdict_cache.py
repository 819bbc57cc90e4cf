"""Verdicts that survive a restart: an SQLite file, in which each verdict is there as a whole or not at all (layer L1).

Several processes may share a file. It holds hashes of what was asked and the numbers that came back, no text.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from polymode.errors import ConfigError

log = logging.getLogger(__name__)
WAIT_SECONDS = 30.0
"""Longest wait for another process that is writing."""

Matches = tuple[int, ...]
"""Numbers of the references that an answer matches, from 0."""


def hash_of(value: Any) -> str:
    """The same text for the same JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class VerdictCache:
    """Verdicts by hash, in memory and, when a path is given, in a file.

    Raises:
        ConfigError: the path cannot be used, or holds something else.
    """

    def __init__(self, path: Path | None) -> None:
        self._verdicts: dict[str, Matches] = {}
        self._file = None if path is None else _open(path)
        self._path = path
        if self._file is not None:
            weakref.finalize(self, self._file.close)

    def get_all(self, keys: Iterable[str]) -> Mapping[str, Matches]:
        """The known ones of ``keys``."""
        missing = [key for key in dict.fromkeys(keys) if key not in self._verdicts]
        if self._file is not None:
            for key in missing:
                try:
                    row = self._file.execute("SELECT matches FROM verdicts WHERE key = ?", (key,)).fetchone()
                except sqlite3.Error as exc:
                    self._give_up(exc)
                    break
                if row is not None:
                    self._verdicts[key] = tuple(json.loads(row[0]))
        return self._verdicts

    def add(self, verdicts: Sequence[tuple[str, Matches]]) -> None:
        """Remember verdicts; a file that cannot be written is given up with a warning, the verdicts are kept."""
        self._verdicts.update(verdicts)
        if self._file is None or not verdicts:
            return
        try:
            rows = [(key, json.dumps(matches)) for key, matches in verdicts]
            with self._file:  # one transaction
                self._file.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?)", rows)
        except sqlite3.Error as exc:
            self._give_up(exc)

    def _give_up(self, exc: sqlite3.Error) -> None:
        log.warning("judge: verdicts are no longer kept in %s: %s", self._path, exc)
        if self._file is not None:
            self._file.close()
            self._file = None


def _open(path: Path) -> sqlite3.Connection:
    connection = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=WAIT_SECONDS, check_same_thread=False)
        with connection:
            connection.execute("CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, matches TEXT NOT NULL)")
            connection.execute("SELECT key, matches FROM verdicts LIMIT 1").fetchone()
    except (sqlite3.Error, OSError) as exc:
        if connection is not None:
            connection.close()
        raise ConfigError(
            f"cache = {str(path)!r} cannot be used ({exc}): name a new file, or one that a judge verifier made"
        ) from None
    return connection
