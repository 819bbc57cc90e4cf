"""Python values as JSON: what crosses the border between a program and the process that judges it.

Data only, so reading it never runs anything. Carried are None, bool, int, float, complex, str, bytes, bytearray,
range, list, tuple, set, frozenset, dict, and of the standard library Counter, OrderedDict, defaultdict, deque,
array, Decimal, Fraction, date, time, datetime and timedelta. A value of a class derived from one of the built-in types
counts as the built-in value it holds, so a class of the program's own cannot bring its own ``__eq__``. Everything else
(functions, iterators, other objects) is refused with the name of its type.

None, bool, str and small int stand for themselves in JSON; all others are ``[tag, ...]``.
"""

from __future__ import annotations

import datetime
import json
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_DEPTH = 100
"""Deepest nesting that is carried."""

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
    range: (lambda v: [hex(v.start), hex(v.stop), hex(v.step)], lambda *ends: range(*(int(end, 16) for end in ends))),
    array: (lambda v: [v.typecode, v.tobytes().hex()], lambda code, text: array(code, bytes.fromhex(text))),
    Decimal: (lambda v: [str(v)], Decimal),
    Fraction: (
        lambda v: [hex(v.numerator), hex(v.denominator)],
        lambda above, below: Fraction(int(above, 16), int(below, 16)),
    ),
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
_BASES: tuple[Any, ...] = (int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict)
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (*_ATOMS, *_ITEMS, *_SETS, *_DICTS)}
"""Types by the tag that stands for them."""


try:  # hashlib would load OpenSSL into the fork server, and every fork pays for its pages
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b


class UncarriedError(ValueError):
    """A value that has no form as data."""


def encode(value: Any, depth: int = 0) -> Any:
    """The JSON form of ``value``.

    Raises:
        UncarriedError: a type that is not carried, or nesting deeper than `MAX_DEPTH`.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str or (kind is int and -_SMALL < value < _SMALL):
        return value
    if depth > MAX_DEPTH:
        raise UncarriedError(f"the value is nested more than {MAX_DEPTH} deep")
    if kind in _ATOMS:
        return [kind.__name__, *_ATOMS[kind][0](value)]
    if kind in _ITEMS:
        return [kind.__name__, *(encode(item, depth + 1) for item in value)]
    if kind in _SETS:
        return [kind.__name__, *sorted((encode(item, depth + 1) for item in value), key=json.dumps)]
    if kind in _DICTS:
        return [kind.__name__, *([encode(k, depth + 1), encode(v, depth + 1)] for k, v in value.items())]
    for base in _BASES:
        if isinstance(value, base):
            return encode(base(value), depth + 1)
    raise UncarriedError(f"a value of type {kind.__name__!r} cannot be compared; the tests need plain data")


def decode(data: Any) -> Any:
    """The value of a JSON form; raises ValueError or TypeError on anything that `encode` does not write."""
    if data is None or isinstance(data, (bool, str, int)):
        return data
    if not isinstance(data, list) or not data or data[0] not in _KINDS:
        raise ValueError("not the form of a value")
    kind, parts = _KINDS[data[0]], data[1:]
    if kind in _ATOMS:
        return _ATOMS[kind][1](*parts)
    if kind in _DICTS:
        pairs = {decode(key): decode(value) for key, value in parts}
        return defaultdict(None, pairs) if kind is defaultdict else kind(pairs)
    return kind(map(decode, parts))


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


def digest(text: str) -> str:
    """A short name for a text of any length."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
