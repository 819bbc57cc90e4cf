"""A verifier as files hold it: its name and its options, never a secret (layer L1)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.choice import VERIFIERS

_SECRET = re.compile(r"key|token$|^tokens$|secret|passw|pwd|credential|auth|bearer|header|^pat$", re.IGNORECASE)


def describe_verifier(verifier: Verifier | QuestionVerifier) -> dict[str, Any]:
    """``{"name": ..., "options": {...}}``, with which `polymode.verifiers.choice.open_verifier` opens it again.

    The name of a verifier is its attribute ``name``, else the built-in name of its class, else ``module:Class``. Its
    options are its attribute ``options``, else the fields of a dataclass; else nothing is known of them. What may be a
    secret, or has no JSON form, is left out. A verifier that belongs to a task is named ``task:NAME`` and has the
    task's options.
    """
    name = getattr(verifier, "name", None)
    options = getattr(verifier, "options", None)
    if options is None and is_dataclass(verifier):
        options = {field.name: getattr(verifier, field.name) for field in fields(verifier) if field.init}
    return {
        "name": name if isinstance(name, str) else VERIFIERS.name_of(type(verifier)),
        "options": without_secrets(options) if isinstance(options, Mapping) else {},
    }


def without_secrets(value: Any) -> Any:
    """Plain JSON types without secrets; what has no such form is left out of objects and null in lists."""
    if isinstance(value, Mapping):
        items = {str(name): without_secrets(item) for name, item in value.items() if not _SECRET.search(str(name))}
        return {name: item for name, item in items.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item) for item in value]
    if isinstance(value, str):
        if "://" not in value:
            return value
        parts = urlsplit(value)  # an address without the user, password and key in it
        query = "" if _SECRET.search(parts.query) else parts.query
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query))
    return value if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)) else None
