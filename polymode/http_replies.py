"""What addresses, replies and failures of HTTP say (layer L1)."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from polymode.errors import ConfigError


def check_address(url: str) -> None:
    """Refuse what is no plain address of the web; raises ConfigError."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no port
    except ValueError:
        parts = urlsplit("")
    is_plain = parts.path.isascii() and parts.path.isprintable() and " " not in parts.path
    is_web = parts.scheme in ("http", "https") and parts.hostname
    if not (is_web and is_plain) or parts.username is not None or parts.query:
        value = repr(url) if "@" not in url else "with a name or password"
        raise ConfigError(
            f"base_url {value} is not allowed: give an address such as http://localhost:8000/v1, without name, password"
            " or query; a key goes into an environment variable, see api_key_env"
        )


def status_within(value: Any) -> int:
    """The status that a reply with status 200 reports of the server behind it, as gateways such as OpenRouter send it.

    It is the ``code`` of an ``error`` in the reply or in its first choice; 200 where there is none.
    """
    with suppress(AttributeError, LookupError, TypeError, ValueError):
        error = value.get("error") or value["choices"][0].get("error")
        status = int(error["code"])
        return status if 400 <= status < 600 else 200
    return 200


def root_reason(exc: BaseException) -> str:
    """The error at the root of those that the layers above it raised, on one line."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    if isinstance(exc, BaseExceptionGroup):
        return root_reason(exc.exceptions[0])
    return " ".join(f"{type(exc).__name__}: {exc}".split())[:200]


def seconds_to_wait(retry_after: str | None) -> float | None:
    """`Retry-After` in seconds: a number, or the time of day; None when there is none that can be read."""
    for read in (float, lambda date: parsedate_to_datetime(date).timestamp() - time.time()):
        with suppress(ValueError, OverflowError):
            seconds = read(retry_after or "")
            return max(0.0, seconds) if math.isfinite(seconds) else None
    return None
