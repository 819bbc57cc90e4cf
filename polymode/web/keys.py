"""API keys: only their SHA-256 is kept, and all are compared, each in constant time (layer L6; standard library only).

A key is 32 random bytes, so a plain hash cannot be undone by guessing. A file of keys has one line per key,
``NAME SHA256``; empty lines and lines that start with # are skipped. The environment variable POLYMODE_API_KEYS may
hold the same lines, also separated by commas.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from polymode.errors import ConfigError, DataNotFoundError, WriteError

KEYS_VARIABLE = "POLYMODE_API_KEYS"
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")


class Keys:
    """Who may ask. Without any key everybody may."""

    def __init__(self, hashes: Mapping[str, str] | None = None) -> None:
        self._hashes = {name: value.encode() for name, value in (hashes or {}).items()}

    def __len__(self) -> int:
        return len(self._hashes)

    def owner(self, key: str) -> str | None:
        """Name of a key's owner; None for a key that is not known. Takes as long for a wrong key as for a right one."""
        sent = hash_of(key).encode()
        owners = [name for name, stored in self._hashes.items() if hmac.compare_digest(sent, stored)]
        return owners[-1] if owners else None


def hash_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read_keys(path: Path | None) -> Keys:
    """The keys of a file and of the environment.

    Raises:
        DataNotFoundError: the file cannot be read.
        ConfigError: a line is no key, a name twice, or a file without any key.
    """
    hashes: dict[str, str] = {}
    if path is not None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise DataNotFoundError(
                f"keys {path} cannot be read ({exc}): check the path, or make a key with polymode serve --new-key NAME"
            ) from None
        _add(hashes, lines, f"keys {path}")
        if not hashes:
            raise ConfigError(f"keys {path} holds no key: make one with polymode serve --new-key NAME --keys {path}")
    _add(hashes, re.split(r"[\n,]", os.environ.get(KEYS_VARIABLE, "")), KEYS_VARIABLE)
    return Keys(hashes)


def new_key(path: Path, name: str) -> str:
    """Make a key, append its hash to a file, and return it; it cannot be recovered later.

    Raises:
        ConfigError: a name that is not allowed or is taken.
        WriteError: the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"new_key = {name!r} is not allowed: give 1 to 64 letters, digits or . _ @ -")
    key = f"pm-{secrets.token_urlsafe(32)}"
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        hashes: dict[str, str] = {}
        _add(hashes, before.splitlines(), f"keys {path}")
        if name in hashes:
            raise ConfigError(f"new_key = {name!r} is taken in {path}: choose another name, or delete its line")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as handle:
            handle.write(("" if before in ("", "\n") or before.endswith("\n") else "\n") + f"{name} {hash_of(key)}\n")
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


def _add(hashes: dict[str, str], lines: Iterable[str], source: str) -> None:
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        if len(parts) != 2 or not _NAME.fullmatch(parts[0]) or not _HASH.fullmatch(parts[1]):
            raise ConfigError(
                f"{source}, line {number}: NAME SHA256 is needed, with the key's SHA-256 in 64 hexadecimal digits; "
                "make a line with polymode serve --new-key NAME"
            )
        if parts[0] in hashes:
            raise ConfigError(f"{source}, line {number}: the name {parts[0]!r} stands there already: give it another")
        hashes[parts[0]] = parts[1]
