"""Options of an open set, written as ``NAME=VALUE`` pairs on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import yaml

from polymode.errors import ConfigError


def named_values(texts: Sequence[str], flag: str) -> dict[str, Any]:
    """``NAME=VALUE`` texts as keyword arguments; values are read as YAML: numbers, true, false, lists, text.

    Raises:
        ConfigError: a text of another form; names the flag that it belongs to.
    """
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and all(part.isidentifier() for part in name.replace(":", ".").split("."))):
            raise ConfigError(f"--{flag} {text!r} is not allowed: write NAME=VALUE, for example threshold=0.1")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            values[name] = value
        if isinstance(values[name], str) and value[:1] in "+-.0123456789":  # YAML 1.1 reads 1e-5 as text
            with suppress(ValueError):
                values[name] = float(value)
    return values
