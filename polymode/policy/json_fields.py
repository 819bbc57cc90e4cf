"""Fields of JSON objects, checked (layer L2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from polymode.errors import ConfigError


def checked_fields(row: object, kind: type[Any], where: str, *, needed: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a JSON object, none unknown and none of the needed ones missing.

    Raises:
        ConfigError: it is no object, or has other fields than the dataclass ``kind``.
    """
    if not isinstance(row, Mapping):
        raise ConfigError(f"{where}: a JSON object is needed, got {type(row).__name__}")
    names = [field.name for field in fields(kind)]
    for name in row:
        if name not in names:
            raise ConfigError(f"{where}: unknown field {name!r}; known: {', '.join(names)}")
    if missing := [name for name in needed if name not in row]:
        raise ConfigError(f"{where}: {missing[0]} is missing; calibrate again")
    return dict(row)


def tuples_in(values: Mapping[str, Any], where: str, *names: str) -> dict[str, Any]:
    """The fields with the lists of those names as tuples; raises ConfigError where one is no list."""
    for name in names:
        if name in values and not isinstance(values[name], list):
            raise ConfigError(f"{where}.{name}: a list is needed")
    return {name: tuple(value) if name in names else value for name, value in values.items()}
