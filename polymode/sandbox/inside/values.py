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
from typing import Any, cast

MAX_DEPTH = 100
"""Deepest nesting that is carried."""

_SMALL = 2**53
_ITEMS: dict[type, str] = {list: "list", tuple: "tuple", deque: "deque"}
_SETS: dict[type, str] = {set: "set", frozenset: "frozenset"}
_DICTS: dict[type, str] = {dict: "dict", Counter: "Counter", OrderedDict: "OrderedDict", defaultdict: "defaultdict"}
_ATOMS: dict[type, tuple[str, Callable[[Any], list[Any]]]] = {
    int: ("int", lambda v: [hex(v)]),
    float: ("float", lambda v: [v.hex()]),
    complex: ("complex", lambda v: [v.real.hex(), v.imag.hex()]),
    bytes: ("bytes", lambda v: [v.hex()]),
    bytearray: ("bytearray", lambda v: [v.hex()]),
    range: ("range", lambda v: [hex(v.start), hex(v.stop), hex(v.step)]),
    array: ("array", lambda v: [v.typecode, v.tobytes().hex()]),
    Decimal: ("Decimal", lambda v: [str(v)]),
    Fraction: ("Fraction", lambda v: [hex(v.numerator), hex(v.denominator)]),
    datetime.date: ("date", lambda v: [v.isoformat()]),
    datetime.time: ("time", lambda v: [v.isoformat()]),
    datetime.datetime: ("datetime", lambda v: [v.isoformat()]),
    datetime.timedelta: ("timedelta", lambda v: [v.days, v.seconds, v.microseconds]),
}
_BASES: tuple[Callable[[Any], Any], ...] = (
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    list,
    tuple,
    set,
    frozenset,
    dict,
)
_READERS: dict[str, Callable[..., Any]] = {
    "int": lambda text: int(text, 16),
    "float": float.fromhex,
    "complex": lambda re, im: complex(float.fromhex(re), float.fromhex(im)),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "range": lambda *ends: range(*(int(end, 16) for end in ends)),
    "array": lambda code, text: array(code, bytes.fromhex(text)),
    "Decimal": Decimal,
    "Fraction": lambda above, below: Fraction(int(above, 16), int(below, 16)),
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "timedelta": lambda days, seconds, micro: datetime.timedelta(days, seconds, micro),
    "list": lambda *items: [decode(item) for item in items],
    "tuple": lambda *items: tuple(decode(item) for item in items),
    "deque": lambda *items: deque(decode(item) for item in items),
    "set": lambda *items: {decode(item) for item in items},
    "frozenset": lambda *items: frozenset(decode(item) for item in items),
    "dict": lambda *pairs: _pairs(pairs),
    "Counter": lambda *pairs: Counter(_pairs(pairs)),
    "OrderedDict": lambda *pairs: OrderedDict(_pairs(pairs)),
    "defaultdict": lambda *pairs: defaultdict(None, _pairs(pairs)),
}


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
        tag, parts = _ATOMS[kind]
        return [tag, *parts(value)]
    if kind in _ITEMS:
        return [_ITEMS[kind], *(encode(item, depth + 1) for item in value)]
    if kind in _SETS:
        return [_SETS[kind], *sorted((encode(item, depth + 1) for item in value), key=json.dumps)]
    if kind in _DICTS:
        return [_DICTS[kind], *([encode(k, depth + 1), encode(v, depth + 1)] for k, v in value.items())]
    for base in _BASES:
        if isinstance(value, cast(type, base)):
            return encode(base(value), depth + 1)
    raise UncarriedError(f"a value of type {kind.__name__!r} cannot be compared; the tests need plain data")


def decode(data: Any) -> Any:
    """The value of a JSON form; raises ValueError or TypeError on anything that `encode` does not write."""
    if data is None or isinstance(data, (bool, str, int)):
        return data
    if not isinstance(data, list) or not data or data[0] not in _READERS:
        raise ValueError("not the form of a value")
    return _READERS[data[0]](*data[1:])


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


def _pairs(pairs: Any) -> dict[Any, Any]:
    return {decode(key): decode(value) for key, value in pairs}
