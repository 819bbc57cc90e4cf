"""API keys: only their SHA-256 is kept, and all are compared, each in constant time (layer L6; standard library only).

A key is 32 random bytes, so a plain hash cannot be undone by guessing. A file of keys has one line per key,
``NAME SHA256 SCOPE ... share=SHARE``; empty lines and lines that start with # are skipped. The scopes are ask, review
and operate; a line without any allows ask. The share, of the places where questions wait, may be left out. The
environment variable POLYMODE_API_KEYS may hold the same lines, also separated by commas. The file is read again when it
changes.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import os
import re
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polymode.errors import ConfigError, DataNotFoundError, UserError, WriteError

log = logging.getLogger("polymode.web")

KEYS_VARIABLE = "POLYMODE_API_KEYS"
SCOPES = ("ask", "review", "operate")
"""ask: put questions; review: the review queue and what a policy withholds; operate: metrics, runs, monitoring."""
SHARE = 0.5
"""Share of the waiting places that one key may take unless its line says another, so that it never takes all."""
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
_FORM = "NAME SHA256 is needed, with the key's SHA-256 in 64 hexadecimal digits"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, and what they may do."""

    name: str
    """Of the key; empty where there are no keys."""
    scopes: frozenset[str] = frozenset(SCOPES)
    share: float = SHARE
    """Of the places where questions wait."""


EVERYBODY = Caller("", share=1.0)
"""The caller where the server has no keys."""
NOBODY = Caller("", frozenset())
"""The caller of a path that needs no key."""
_ByHash = dict[str, Caller]


class Keys:
    """Who may do what. Without any key everybody may do everything.

    Args:
        owners: by hash of the key.
        path: file to read again when it changes. What it holds then replaces ``owners``; while it cannot be read, or a
            line is no key, those of before remain. A file without keys lets nobody in.
    """

    def __init__(self, owners: Mapping[str, Caller] | None = None, *, path: Path | None = None) -> None:
        self._owners, self._path, self._lock = dict(owners or {}), path, threading.Lock()
        self._stamp = _stamp(path)
        self.are_required = bool(self._owners)
        """Whether the server has keys; it does not change while it runs."""

    def __len__(self) -> int:
        return len(self._owners)

    def owner(self, key: str) -> Caller | None:
        """A key's owner; None for a key that is not known. Takes as long for a wrong key as for a right one."""
        return self.owner_of_hash(hash_of(key))

    def owner_of_hash(self, key_hash: str) -> Caller | None:
        """The owner of the key with this hash."""
        self._read_again()
        sent = key_hash.encode()
        owners = [caller for stored, caller in self._owners.items() if hmac.compare_digest(sent, stored.encode())]
        return owners[-1] if owners else None

    def without_scopes(self) -> tuple[str, ...]:
        """Names of the keys that may only ask."""
        return tuple(caller.name for caller in self._owners.values() if caller.scopes == {"ask"})

    def _read_again(self) -> None:
        stamp = _stamp(self._path)
        if self._path is None or stamp == self._stamp:
            return
        with self._lock:
            if stamp == self._stamp:
                return
            self._stamp = stamp
            try:
                self._owners = _owners(self._path)
            except UserError as exc:
                log.error("the keys of before remain in use: %s", exc)
            else:
                log.info("the keys were read again: %d", len(self._owners))


def hash_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read_keys(path: Path | None) -> Keys:
    """The keys of a file and of the environment.

    Raises:
        DataNotFoundError: the file cannot be read.
        ConfigError: a line is no key, a name or a key twice, or a file without any key.
    """
    owners = _owners(path)
    if path is not None and not _owners(path, with_environment=False):
        raise ConfigError(f"keys {path} holds no key: make one with polymode serve --new-key NAME --keys {path}")
    return Keys(owners, path=path)


def new_key(path: Path, name: str, scopes: Sequence[str] = ("ask",)) -> str:
    """Make a key, append its hash to a file, and return it; it cannot be recovered later.

    Raises:
        ConfigError: a name that is not allowed or is taken, or an unknown scope.
        WriteError: the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"new_key = {name!r} is not allowed: give 1 to 64 letters, digits or . _ @ -")
    for scope in scopes:
        if scope not in SCOPES:
            raise ConfigError(f"scope = {scope!r} is not allowed: use {', '.join(SCOPES)}")
    key = f"pm-{secrets.token_urlsafe(32)}"
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        owners: _ByHash = {}
        _add(owners, before.splitlines(), f"keys {path}")
        if name in {caller.name for caller in owners.values()}:
            raise ConfigError(f"new_key = {name!r} is taken in {path}: choose another name, or delete its line")
        line = " ".join([name, hash_of(key), *dict.fromkeys(scopes)])
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as handle:
            handle.write(("" if before in ("", "\n") or before.endswith("\n") else "\n") + line + "\n")
    except OSError as exc:
        raise WriteError(f"cannot write {path}: {exc.strerror or exc}; choose another --keys") from exc
    return key


def check_binding(host: str, keys: Keys, *, allow_without_keys: bool) -> None:
    """Refuse to listen where others can reach the server when everybody may ask.

    Raises:
        ConfigError: ``host`` is reachable from other machines, there are no keys, and that is not allowed.
    """
    if not keys and not is_local(host) and not allow_without_keys:
        raise ConfigError(
            f"host = {host!r} lets other machines ask, and there are no API keys: give --keys FILE (made with "
            "--new-key NAME), or --host 127.0.0.1, or --allow-without-keys behind a proxy that authenticates requests"
        )


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address or host name to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What tells one state of a file from another; None where there is none."""
    try:
        status = None if path is None else os.stat(path)
    except OSError:
        return None
    return None if status is None else (status.st_ino, status.st_size, status.st_mtime_ns)


def _owners(path: Path | None, *, with_environment: bool = True) -> _ByHash:
    owners: _ByHash = {}
    if path is not None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise DataNotFoundError(
                f"keys {path} cannot be read ({exc}): check the path, or make a key with polymode serve --new-key NAME"
            ) from None
        _add(owners, lines, f"keys {path}")
    if with_environment:
        _add(owners, re.split(r"[\n,]", os.environ.get(KEYS_VARIABLE, "")), KEYS_VARIABLE)
    return owners


def _add(owners: _ByHash, lines: Iterable[str], source: str) -> None:
    """Add the keys of some lines; what is in them is never repeated in a message, but for names."""
    for number, line in enumerate(lines, 1):
        parts, place = line.split(), f"{source}, line {number}"
        if not parts or parts[0].startswith("#"):
            continue
        if len(parts) < 2 or not _NAME.fullmatch(parts[0]) or not _HASH.fullmatch(parts[1]):
            raise ConfigError(f"{place}: {_FORM}; make a line with polymode serve --new-key NAME")
        name, key_hash, *rest = parts
        if name in {caller.name for caller in owners.values()}:
            raise ConfigError(f"{place}: the name {name!r} stands there already: give it another")
        if key_hash in owners:
            raise ConfigError(f"{place}: {name!r} has the key of {owners[key_hash].name!r}: make a key for each")
        scopes, share = [word for word in rest if "=" not in word], SHARE
        unknown = [word for word in scopes if word not in SCOPES]
        for word in (word for word in rest if "=" in word):
            field, _, value = word.partition("=")
            if field != "share" or not re.fullmatch(r"0?\.\d+|1(\.0*)?", value) or not 0 < float(value) <= 1:
                unknown.append(word)
            else:
                share = float(value)
        if unknown:
            allowed = f"{', '.join(SCOPES)}, and share= with a number above 0, up to 1"
            raise ConfigError(f"{place}: what follows the hash of {name!r} is not allowed: use {allowed}")
        owners[key_hash] = Caller(name, frozenset(scopes or ("ask",)), share)
