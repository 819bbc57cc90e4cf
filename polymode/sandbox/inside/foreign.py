"""Values that are not plain, described as data, and what stands for them where the tests are evaluated.

An instance of a class of the program's own, an iterator or a function cannot leave the program's process. What leaves
is a description, and a test that reads only plain parts of it (an attribute, an item, whether it is None) is decided as
plain Python would decide it:

- An instance of a class that derives from a built-in type is the built-in value that it holds; a named tuple keeps its
  fields.
- An iterator is its items, up to `MAX_ITEMS`.
- Any other object is a `Foreign`: it has the attributes of the instance and equals only itself.
- Wherever Python would call a method that the object's own class defines, such as ``__eq__``, it raises OwnMethodError.

A description is a claim of the program, like any value that it returns. No claim can make a test pass that the value
claimed would not pass: comparisons are those of the classes here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NoReturn

from .values import UncarriedError, decode, encode

MAX_ITEMS = 100_000
"""Items of an iterator that are carried."""
MAX_ATTRIBUTES = 100
"""Attributes of an object that are carried; those of the objects in them are not."""

_BINARY = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor"
_UNARY = (
    "eq ne lt le gt ge hash bool len iter next reversed contains getitem missing call int float complex index round"
    " trunc floor ceil abs neg pos invert str repr format bytes"
)
SPECIAL = tuple(f"__{name}__" for name in (*_UNARY.split(), *_BINARY.split(), *[f"r{n}" for n in _BINARY.split()]))
"""Methods by which Python reads, compares and calculates."""
_COMPARISONS = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__")
_TEXTS = ("__repr__", "__str__", "__format__")
_BASES: tuple[type, ...] = (int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict)
_EXACT: dict[type, Callable[[Any], Any]] = {
    **{str: str.__str__, int: int.__int__, float: float.__float__, bytes: lambda v: bytes.__getitem__(v, slice(None))},
    **{kind: lambda v, kind=kind: kind(kind.__iter__(v)) for kind in (bytearray, list, tuple, set, frozenset)},
    dict: lambda v: dict(dict.items(v)),
    complex: lambda v: complex(complex.real.__get__(v), complex.imag.__get__(v)),  # type: ignore[attr-defined]
}
"""The value that an instance of a derived class holds, whatever the class overrides."""
_KINDS = {kind.__name__: kind for kind in _BASES}


_objects: dict[int, tuple[int, Any]] = {}
"""Objects that were described, each with its number: what has the same number is the same object. By their ids, and
kept here so that no other object can get such an id."""


class OwnMethodError(Exception):
    """The tests would let a method of the program's own decide."""


def encode_any(value: Any, depth: int = 0) -> Any:
    """The JSON form of any value; raises UncarriedError only for nesting that is too deep."""
    return encode(value, depth, _described)


def decode_any(data: Any) -> Any:
    """What `encode_any` wrote, with a `Foreign` for what is not plain; raises as `decode`."""
    return decode(data, _stand_in)


def built_in_base(kind: type) -> type | None:
    """The built-in type of values that a class derives from; None for such a type itself."""
    return next((base for base in _BASES if base in kind.__mro__[1:]), None)


def _described(value: Any, depth: int, with_attributes: bool = True) -> Any:
    kind = type(value)
    lineage = kind.__mro__
    base = built_in_base(kind)
    if kind.__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        form = encode_any(value.tolist(), depth + 1)  # a number of Python's, or an array's lists
        return ["ndarray", value.dtype.str, form] if hasattr(value, "__len__") else form
    if base is not None:
        own = _own(lineage[: lineage.index(base)], base)
        form = encode_any(_EXACT[base](value), depth + 1)
        names = getattr(kind, "_fields", None)
        fields = (
            list(names) if base is tuple and isinstance(names, tuple) and len(names) == tuple.__len__(value) else []
        )
        return ["derived", kind.__name__, base.__name__, own, fields, form] if own or fields else form
    own = _own(lineage[:-1])
    if kind.__module__ == "builtins" and kind not in (
        MappingProxyType,
        slice,
    ):  # functions and the like equal no plain value
        own = [name for name in own if name not in _COMPARISONS]
    if "__next__" in own and set(own) <= {"__iter__", "__next__", *_TEXTS}:
        items = list(itertools.islice(value, MAX_ITEMS + 1))
        forms = [encode_any(item, depth + 1) for item in items[:MAX_ITEMS]]
        return ["iterator", kind.__name__, len(items) <= MAX_ITEMS, *forms]
    number, _ = _objects.setdefault(id(value), (len(_objects), value))
    return ["object", kind.__name__, own, _attributes(value, depth) if with_attributes else {}, number]


def _own(lineage: Sequence[type], base: type = object) -> list[str]:
    """Methods for reading that classes of a lineage define, or change of the base."""
    defined = {name for kind in lineage for name, method in vars(kind).items() if method is not None}
    public = [name for name in vars(base) if not name.startswith("_")]
    texts = () if base is object else _TEXTS  # enumerations and named tuples change these alone
    return [name for name in (*SPECIAL, *public) if name in defined and name not in texts]


def _attributes(value: Any, depth: int) -> dict[str, Any]:
    forms: dict[str, Any] = {}
    if isinstance(value, type) or not isinstance(getattr(value, "__dict__", {}), dict):
        return forms
    names = [*getattr(value, "__dict__", ()), *getattr(type(value), "__slots__", ())]
    for name in [name for name in map(str, names) if not name.startswith("__")][:MAX_ATTRIBUTES]:
        try:
            forms[name] = encode(getattr(value, name), depth + 1, lambda v, d: _described(v, d, False))
        except (UncarriedError, AttributeError):
            continue
    return forms


class Foreign:
    """Stands for an object of the program; derived classes refuse the special methods of the object's own class."""

    def __init__(self, attributes: dict[str, Any], number: int) -> None:
        self.__dict__.update(attributes, _number=number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Foreign) and self.__dict__["_number"] == other.__dict__["_number"]

    def __hash__(self) -> int:
        return hash(self.__dict__["_number"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise OwnMethodError(f"the test reads {name!r} of {_an(type(self).__name__)}, which is the program's own")


def _an(name: str) -> str:
    return f"an object of class {name!r}"


def _refusing(name: str, own: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any) -> NoReturn:
        raise OwnMethodError(f"the test would let {own} of {_an(name)} decide, which is the program's own")

    return refuse


def _stand_in(tag: str, parts: list[Any]) -> Any:
    """The value of a form that is not plain; raises ValueError, TypeError or KeyError on anything else."""
    if tag == "iterator":
        name, is_complete, *forms = parts
        items = _items([decode_any(form) for form in forms], bool(is_complete))
        return _ITERATORS.get(name, itertools.chain)(items)
    if tag == "ndarray":
        import numpy as np

        return np.array(decode_any(parts[1]), dtype=parts[0])
    if tag == "derived":
        name, base_name, own, fields, form = parts
        base = _KINDS[base_name]
        body: dict[str, Any] = {field: property(itemgetter(i)) for i, field in enumerate(fields) if field[:1] != "_"}
        return _class(name, base, own, body)(decode_any(form))
    if tag == "object":
        name, own, attributes, number = parts
        return _class(name, Foreign, own, {})({key: decode_any(form) for key, form in attributes.items()}, int(number))
    raise ValueError("not the form of a value")


def _class(name: str, base: type, own: Sequence[str], body: dict[str, Any]) -> type:
    """A class that is its base in all but the program's own methods, which it refuses to be asked for."""
    public = vars(base).keys() if base is not Foreign else ()
    body |= {method: _refusing(name, method) for method in own if method in SPECIAL or method in public}
    if "__eq__" in body:
        body.setdefault("__hash__", base.__hash__)
    return type(str(name), (base,), body)


def _items(items: list[Any], is_complete: bool) -> Iterator[Any]:
    yield from items
    if not is_complete:
        raise OwnMethodError(f"the test reads more than {MAX_ITEMS} items of an iterator of the program's own")


_ITERATORS: dict[str, Callable[[Iterator[Any]], Any]] = {
    "generator": lambda items: items,
    "map": lambda items: map(lambda item: item, items),
    "filter": lambda items: filter(lambda _: True, items),
}
"""Iterators whose type a test may ask for."""
