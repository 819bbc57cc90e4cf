"""How a new escalation is told: to a web address with a signature, or to a command (layer L6).

The signature is that of Standard Webhooks (https://www.standardwebhooks.com), for which libraries exist.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from polymode.errors import ConfigError

SECRET = "POLYMODE_NOTIFY_SECRET"
"""Environment variable with the secret of the signature."""
MIN_SECRET = 24
"""Bytes of a secret."""
SECONDS = 15.0
"""Limit for a connection or a read of it, and for a command."""
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME")
"""Environment variables that a command gets; what else the server has, such as keys, is none of its business."""


class NotSent(Exception):
    """Why a notice did not arrive, without anything secret."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told of one item."""

    id: str
    """The same at every attempt, so that a receiver can drop repeats."""
    data: Mapping[str, Any]


class Sender(Protocol):
    """One way to tell."""

    def send(self, notice: Notice) -> None:
        """Tell, once; raises NotSent."""
        ...


@dataclass(frozen=True, slots=True)
class Webhook:
    """A POST of JSON to an address, signed. Redirects are not followed, and proxy variables are not read."""

    url: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            parts, host = urlsplit(""), None
        is_plain = self.url.isascii() and self.url.isprintable() and " " not in self.url
        if parts.scheme not in ("http", "https") or not host or parts.username is not None or not is_plain:
            raise ConfigError("--notify-url is not allowed: give https:// and a host name, without a name or password")
        if parts.scheme == "http" and not _is_loopback(host):
            raise ConfigError("--notify-url is not allowed: use https://, or http:// on this machine only")
        if len(self.secret) < MIN_SECRET:
            raise ConfigError(f"the secret of --notify-url is too short: use at least {MIN_SECRET} bytes")

    def send(self, notice: Notice) -> None:
        """POST; any status but 2xx is a failure."""
        body = json.dumps(notice.data, ensure_ascii=True, separators=(",", ":")).encode()
        headers = {"content-type": "application/json", "user-agent": "polymode"}
        headers |= signed(self.secret, notice.id, int(time.time()), body)
        request = urllib.request.Request(self.url, body, headers, method="POST")  # checked above
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
        try:
            with opener.open(request, timeout=SECONDS) as reply:
                if not 200 <= reply.status < 300:
                    raise NotSent(f"status {reply.status}")
        except urllib.error.HTTPError as exc:
            with exc:
                raise NotSent(f"status {exc.code}") from None
        except (OSError, HTTPException, ValueError) as exc:
            reason = getattr(exc, "reason", exc)
            raise NotSent(type(reason).__name__ if isinstance(reason, BaseException) else str(reason)) from None


@dataclass(frozen=True, slots=True)
class Command:
    """A program that gets a text on its standard input, as programs that send e-mail do; run without a shell."""

    arguments: tuple[str, ...]

    @classmethod
    def of(cls, line: str) -> Command:
        """From one line, split as a shell would, of which nothing is expanded; raises ConfigError."""
        try:
            arguments = tuple(shlex.split(line))
        except ValueError as exc:
            raise ConfigError(f"--notify-command cannot be read ({exc}): check its quotes") from None
        if not arguments or shutil.which(arguments[0]) is None:
            name = arguments[0] if arguments else ""
            raise ConfigError(f"--notify-command: no program {name!r}: name one that is installed, with its options")
        return cls(arguments)

    def send(self, notice: Notice) -> None:
        """Run it; an exit status other than 0 is a failure."""
        lines = [f"{name.replace('_', ' ')}: {value}" for name, value in notice.data["data"].items() if value]
        text = "A question waits for a person.\n\n" + "\n".join(lines) + "\n"
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment | {"POLYMODE_NOTICE": notice.id},
                start_new_session=True,
            )
        except OSError as exc:
            raise NotSent(type(exc).__name__) from None
        try:
            process.communicate(text.encode("utf-8", "replace"), timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise NotSent(f"it took more than {SECONDS:g} s") from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode:
            raise NotSent(f"exit status {process.returncode}")


def signed(secret: bytes, notice_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks: id, time, and HMAC-SHA256 of ``id.time.body``."""
    content = f"{notice_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    return {"webhook-id": notice_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


def read_secret(path: Path | None) -> bytes:
    """The secret in a file, else in the environment; ``whsec_`` begins one in base 64.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    try:
        text = os.environ.get(SECRET, "") if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "no text"
        raise ConfigError(f"--notify-secret {path} cannot be read ({reason}): name a file with the secret") from None
    text = text.strip()
    if not text:
        raise ConfigError(f"--notify-url needs a secret to sign with: --notify-secret FILE, or the variable {SECRET}")
    if not text.startswith("whsec_"):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ConfigError("the secret of --notify-url begins with whsec_ and goes on in base 64: check it") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would send what is signed for one address to another."""

    def redirect_request(self, *_: Any) -> None:
        """None: the redirect's status is the reply."""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
