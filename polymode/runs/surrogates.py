r"""Halves of surrogate pairs, which a cut-off emoji leaves behind: valid in JSON, in no encoding (layer L3).

JSON writes such a half as an escape, ``\ud83d``; the files of a run do too, so what a model really wrote is kept. Only
pydantic refuses the escape. A line that holds one is therefore parsed with stand-ins, which are taken back afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from pydantic import TypeAdapter

HALF = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_FIRST, _SIZE = 0xD800, 0x800
_PRIVATE = range(0xF0000, 0x10F801, _SIZE)
"""Where blocks of stand-ins may begin: the private use areas, to which no standard gives a meaning."""


def may_have_halves(content: bytes) -> bool:
    """Whether a line of JSON has an escape that may be half of a pair."""
    return _ESCAPE.search(content) is not None


def validate_json(adapter: TypeAdapter[Any], row: Any) -> Any:
    """What the adapter makes of a parsed JSON value whose texts may hold halves; raises ValidationError."""
    content = json.dumps(row, ensure_ascii=False)
    free = next(start for start in _PRIVATE if not any(start <= ord(char) < start + _SIZE for char in content))
    stand_ins = {_FIRST + i: free + i for i in range(_SIZE)}
    halves = {stand_in: half for half, stand_in in stand_ins.items()}
    return _mapped(adapter.validate_json(content.translate(stand_ins)), lambda text: text.translate(halves))


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """``value`` with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(item, change) for item in value)
    if isinstance(value, Mapping):
        return {_mapped(key, change): _mapped(item, change) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: _mapped(getattr(value, one.name), change) for one in fields(value)})
    return value
