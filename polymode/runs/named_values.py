"""Options written as ``NAME=VALUE``, on the command line and in the config of what was generated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from polymode.errors import ConfigError


def named_values(texts: Sequence[str], flag: str = "task-options", example: str = "threshold=0.1") -> dict[str, Any]:
    """``NAME=VALUE`` texts as keyword arguments, values read as YAML: numbers, true, false, text.

    Raises:
        ConfigError: a text of another form; names the flag that it stood behind.
    """
    out = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            raise ConfigError(f"--{flag} {text!r} is not allowed: write NAME=VALUE, for example {example}")
        try:
            out[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            out[name] = value
    return out
