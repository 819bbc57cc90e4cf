"""What addresses, replies and failures of HTTP say (layer L1)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
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


_STATUS_OF = {
    400: ("invalid_request", "context_length", "content_policy", "content_filter", "unsupported", "invalid_prompt"),
    401: ("invalid_api_key", "authentication", "unauthorized"),
    403: ("permission", "forbidden"),
    404: ("not_found",),
    429: ("quota", "rate_limit", "too_many_requests", "billing"),
}
"""What the names of errors hold, and the status that servers send with them."""


def status_within(value: Any) -> int | None:
    """The status that a reply with status 200 reports of the server behind it, as gateways such as OpenRouter send it.

    It is the ``code`` of an ``error`` in the reply or in its first choice, a number or a name; 200 where there is no
    error, None for one that has no status.
    """
    error = of_choice = None
    with suppress(AttributeError, LookupError, TypeError):
        error = value.get("error") or (value if value.get("object") == "error" else None)
    with suppress(AttributeError, LookupError, TypeError):
        of_choice = value["choices"][0].get("error")
    named = error or of_choice
    fields = named if isinstance(named, Mapping) else {}
    if not named or (fields and not any(fields.values())):
        return 200
    for name in ("code", "status", "type"):
        with suppress(TypeError, ValueError, OverflowError):
            if 400 <= (status := int(fields.get(name, ""))) < 600:
                return status
    if not of_choice and value.get("choices"):
        return 200  # a field beside a completion, which says nothing that anybody knows
    words = " ".join(str(fields.get(name)) for name in ("code", "status", "type")).casefold()
    return next((status for status, known in _STATUS_OF.items() if any(word in words for word in known)), None)


def message_parts(message: Mapping[str, Any]) -> tuple[str, str]:
    """Text and reasoning of a message of a chat completion, whose content may be a text or a list of parts.

    Parts of the types ``thinking`` and ``reasoning`` are reasoning, unless the message has a field for it; parts
    without text, such as calls of tools, say nothing.

    Raises:
        AttributeError, TypeError: it is no message.
    """
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    is_thought = [isinstance(part, Mapping) and str(part.get("type")) in ("thinking", "reasoning") for part in parts]
    text = "".join(_text_of(part) for part, own in zip(parts, is_thought, strict=True) if not own)
    thought = "".join(_text_of(part) for part, own in zip(parts, is_thought, strict=True) if own)
    return text, _text_of(message.get("reasoning_content") or message.get("reasoning")) or thought


def _text_of(part: Any) -> str:
    """The text of a part of a message, however deep it stands."""
    if part is None or isinstance(part, str):
        return part or ""
    if isinstance(part, list):
        return "".join(map(_text_of, part))
    if not isinstance(part, Mapping):
        raise TypeError(f"a part of a message is {part!r:.40}")
    names = ("text", "thinking", "reasoning", "content", "summary")
    return next((_text_of(part[name]) for name in names if part.get(name)), "")


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
