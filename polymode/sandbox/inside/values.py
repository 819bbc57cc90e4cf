"""Python values as JSON: what crosses the border between a program and the process that judges it.

Data only, so reading it never runs anything. Plain values are None, bool, int, float, complex, str, bytes, bytearray,
memoryview, range, Ellipsis, list, tuple, set, frozenset, dict with its views, built-in types, and of the standard
library Counter, OrderedDict, defaultdict, deque, array, Decimal, Fraction, date, time, datetime and timedelta: exactly
these types, because an instance of a derived one may bring its own ``__eq__``. What becomes of all others is up to the
caller; `polymode.sandbox.inside.foreign` describes them.

None, bool, str and small int stand for themselves in JSON; all others are ``[tag, ...]``.
"""

from __future__ import annotations

import builtins
import datetime
import json
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn

MAX_DEPTH = 100
"""Deepest nesting that is carried."""

MAX_REASON_CHARS = 300

_SMALL = 2**53
_ATOMS: dict[type, tuple[Callable[[Any], list[Any]], Callable[..., Any]]] = {
    int: (lambda v: [hex(v)], lambda text: int(text, 16)),
    float: (lambda v: [v.hex()], float.fromhex),
    complex: (
        lambda v: [v.real.hex(), v.imag.hex()],
        lambda real, imaginary: complex(float.fromhex(real), float.fromhex(imaginary)),
    ),
    bytes: (lambda v: [v.hex()], bytes.fromhex),
    bytearray: (lambda v: [v.hex()], bytearray.fromhex),
    memoryview: (
        lambda v: [v.format, list(v.shape), v.tobytes().hex()],
        lambda form, shape, text: memoryview(bytes.fromhex(text)).cast(form, *([shape] if len(shape) > 1 else [])),
    ),
    range: (lambda v: [hex(v.start), hex(v.stop), hex(v.step)], lambda *ends: range(*(int(end, 16) for end in ends))),
    array: (lambda v: [v.typecode, v.tobytes().hex()], lambda code, text: array(code, bytes.fromhex(text))),
    Decimal: (lambda v: [str(v)], Decimal),
    Fraction: (
        lambda v: [hex(v.numerator), hex(v.denominator)],
        lambda above, below: Fraction(int(above, 16), int(below, 16)),
    ),
    type(...): (lambda v: [], lambda: ...),
    datetime.date: (lambda v: [v.isoformat()], datetime.date.fromisoformat),
    datetime.time: (lambda v: [v.isoformat()], datetime.time.fromisoformat),
    datetime.datetime: (lambda v: [v.isoformat()], datetime.datetime.fromisoformat),
    datetime.timedelta: (
        lambda v: [v.days, v.seconds, v.microseconds],
        lambda days, seconds, microseconds: datetime.timedelta(days, seconds, microseconds),
    ),
}
"""How values without items are written and read."""
_ITEMS, _SETS, _DICTS = {list, tuple, deque}, {set, frozenset}, {dict, Counter, OrderedDict, defaultdict}
_VIEWS: dict[type, Callable[[list[Any]], Any]] = {
    type({}.keys()): lambda items: dict.fromkeys(items).keys(),
    type({}.values()): lambda items: dict(enumerate(items)).values(),
    type({}.items()): lambda items: dict(items).items(),
}
"""The views of a dictionary, from their items."""
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (*_ATOMS, *_ITEMS, *_SETS, *_DICTS, *_VIEWS)}
"""Types by the tag that stands for them."""
_TYPES: dict[str, type] = {
    **{kind.__name__: kind for kind in (*_ATOMS, *_ITEMS, *_SETS, *_DICTS, type(None))},
    **{name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and name == kind.__name__},
}
"""Types that are values themselves, by name."""


try:  # hashlib would load OpenSSL into the fork server, and every fork pays for its pages
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b


class UncarriedError(ValueError):
    """A value that has no form as data."""


def _refuse(value: Any, depth: int) -> NoReturn:
    raise UncarriedError(f"a value of type {type(value).__name__!r} is no plain data")


def _refuse_tag(tag: str, parts: list[Any]) -> NoReturn:
    raise ValueError(f"{str(tag)[:40]!r} is not the form of a value")


def encode(value: Any, depth: int = 0, other: Callable[[Any, int], Any] = _refuse) -> Any:
    """The JSON form of ``value``.

    Args:
        value: what to write.
        depth: how deep it is nested.
        other: writes what is not plain, from the value and its depth; by default it is refused.

    Raises:
        UncarriedError: a type that is not plain, or nesting deeper than `MAX_DEPTH`.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str or (kind is int and -_SMALL < value < _SMALL):
        return value
    if depth > MAX_DEPTH:
        raise UncarriedError(f"the value is nested more than {MAX_DEPTH} deep")
    if kind in _ATOMS:
        return [kind.__name__, *_ATOMS[kind][0](value)]
    if kind in _ITEMS or kind in _VIEWS:
        return [kind.__name__, *[encode(item, depth + 1, other) for item in value]]
    if kind in _SETS:
        return [kind.__name__, *sorted([encode(item, depth + 1, other) for item in value], key=json.dumps)]
    if kind in _DICTS:
        items = [[encode(k, depth + 1, other), encode(v, depth + 1, other)] for k, v in value.items()]
        return [kind.__name__, *items]
    if kind is type and _TYPES.get(value.__name__) is value:
        return ["type", value.__name__]
    return other(value, depth)


def decode(data: Any, other: Callable[[str, list[Any]], Any] = _refuse_tag) -> Any:
    """The value of a JSON form; raises ValueError or TypeError on anything that `encode` does not write.

    Args:
        data: the form.
        other: reads what is not plain, from its tag and the rest.
    """
    if data is None or isinstance(data, (bool, str, int)):
        return data
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise ValueError("not the form of a value")
    tag, *parts = data
    if tag == "type":
        return _TYPES[parts[0]]
    kind = _KINDS.get(tag)
    if kind is None:
        return other(tag, parts)
    if kind in _ATOMS:
        return _ATOMS[kind][1](*parts)
    if kind in _DICTS:
        pairs = {decode(key, other): decode(value, other) for key, value in parts}
        return defaultdict(None, pairs) if kind is defaultdict else kind(pairs)
    items = [decode(part, other) for part in parts]
    return _VIEWS[kind](items) if kind in _VIEWS else kind(items)


def canonical(value: Any) -> str:
    """A text that is the same for equal values, whatever the order of sets and dictionaries and the type of a number.

    >>> canonical({1: 2.0}) == canonical({True: 2}), canonical([1]) == canonical((1,))
    (True, False)
    """
    if isinstance(value, float):
        return hex(int(value)) if value.is_integer() else value.hex()
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{canonical(k)}:{canonical(v)}" for k, v in value.items())) + "}"
    if isinstance(value, (set, frozenset)):
        return "set(" + ",".join(sorted(map(canonical, value))) + ")"
    if isinstance(value, (list, tuple, deque)):
        return f"{type(value).__name__}(" + ",".join(map(canonical, value)) + ")"
    return json.dumps(encode(value))


def describe(error: BaseException) -> str:
    """Type and text of an exception, cut to a readable length."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    return f"{type(error).__name__}: {text}"[:MAX_REASON_CHARS].rstrip(": ")


def digest(text: str) -> str:
    """A short name for a text of any length."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
