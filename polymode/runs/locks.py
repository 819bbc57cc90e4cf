"""One process at a time writes an output, by a lock that the system takes back however the process ends (layer L3)."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from polymode.errors import RunExistsError, WriteError

log = logging.getLogger(__name__)


@contextmanager
def alone(target: Path, *, waits: bool = False) -> Iterator[None]:
    """Nobody else writes ``target``, a file or a folder, meanwhile; the lock is a hidden file beside it.

    Args:
        target: what is written; need not be there, and neither its folder, which goes again where it stays empty.
        waits: wait for whoever writes it, instead of refusing.

    Raises:
        RunExistsError: another process, or another thread of this one, writes it.
        WriteError: the lock cannot be written.
    """
    lock = target.with_name(f".{target.name}.lock")
    new = [folder for folder in lock.parents if not folder.exists()]
    with _locked(lock, target, waits) as handle:
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()
                # Said, because a process that was forked meanwhile has the same lock and may live longer.
                fcntl.flock(handle, fcntl.LOCK_UN)
            with suppress(OSError):  # not empty
                for folder in new:
                    folder.rmdir()


def _locked(lock: Path, target: Path, waits: bool) -> IO[bytes]:
    """The locked file, open."""
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            handle = lock.open("a+b")
        except OSError as exc:
            raise WriteError(f"cannot write {lock}: {exc.strerror or exc}; choose another folder") from exc
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            handle.close()
            raise RunExistsError(
                f"{target}: another process is writing it now: wait until it is done, or choose another --out"
            ) from None
        except OSError as exc:  # some network file systems have no locks, and runs there worked without
            log.warning("%s cannot be locked (%s): let no other process write %s", lock, exc.strerror or exc, target)
            return handle
        # Whoever had the lock may have removed its file since it was opened here.
        with suppress(OSError):
            if os.path.samestat(os.fstat(handle.fileno()), lock.stat()):
                return handle
        handle.close()
