"""What stands for values that are not plain: read as plain Python reads them, decided by no method of the program's."""

import collections
import enum
import itertools
import json
import re
import types
from collections.abc import Callable
from typing import Any

import pytest

from polymode.sandbox.inside.foreign import MAX_ITEMS, OwnMethodError, decode_any, encode_any


def across(value: Any) -> Any:
    """The value as the other process has it."""
    return decode_any(json.loads(json.dumps(encode_any(value))))


class Colour(enum.IntEnum):
    RED = 1


class Row(list[int]):
    pass


class Word(str):
    def startswith(self, *_: object) -> bool:  # type: ignore[override]
        return True


class Same(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Point:
    def __init__(self) -> None:
        self.x, self.next = 3, None


class Equal:
    def __eq__(self, other: object) -> bool:
        return True


class Money:
    amount = 5

    def __sub__(self, other: object) -> int:
        return 0

    def __len__(self) -> int:
        return 1


Pair = collections.namedtuple("Pair", "x y")


@pytest.mark.parametrize(
    ("value", "test"),
    [
        (Colour.RED, lambda v: v == 1 and v < 2 and isinstance(v, int)),
        (Row([1]), lambda v: v == [1] and type(v) is list),
        (Pair(1, 2), lambda v: v == (1, 2) and v.x == 1 and v.y == 2 and isinstance(v, tuple)),
        (Word("ab"), lambda v: v == "ab" and v.upper() == "AB" and len(v) == 2),
        ((i for i in (1, 2)), lambda v: isinstance(v, types.GeneratorType) and list(v) == [1, 2]),
        (map(str, [1]), lambda v: isinstance(v, map) and list(v) == ["1"]),
        (zip([1], [2], strict=True), lambda v: list(v) == [(1, 2)]),
        (iter([1, 2]), lambda v: next(v) == 1 and 2 in v and v != [2]),
        ([iter([1])], lambda v: [list(one) for one in v] == [[1]]),
        (re.search("a", "cab"), lambda v: v and v is not None and v != "a"),
        (Point(), lambda v: v.x == 3 and v.next is None and v and v != 3 and v == v),
        ([Point()], lambda v: v[0].x == 3 and len(v) == 1),
        (Equal(), lambda v: v is not None and not isinstance(v, int)),
        (len, lambda v: callable(v) and v != 4),
        (object(), lambda v: v != 4 and v),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_parts_are_read_as_in_plain_python(value: Any, test: Callable[[Any], object]) -> None:
    assert test(across(value))


@pytest.mark.parametrize(
    ("value", "test", "method"),
    [
        (Same(3), lambda v: v == 4, "__eq__ of an object of class 'Same'"),
        (Same(3), lambda v: v in [4], "__eq__"),
        (Word("ab"), lambda v: v.startswith("c"), "startswith"),
        (Equal(), lambda v: v == 4, "__eq__"),
        (Equal(), lambda v: 4 in [v], "__eq__"),
        (Equal(), lambda v: v != 4, "__eq__"),
        ([Equal()], lambda v: v == [4], "__eq__"),
        ({"a": Equal()}, lambda v: v["a"] == 4, "__eq__"),
        (Money(), lambda v: abs(v - 2) < 1, "__sub__"),
        (Money(), bool, "__len__"),
        (Money(), lambda v: v.amount == 5, "'amount'"),
        (collections.ChainMap({1: 2}), lambda v: v == {1: 2}, "__eq__"),
        (itertools.count(), list, f"more than {MAX_ITEMS} items"),
    ],
)
def test_no_method_of_the_programs_own_decides(value: Any, test: Callable[[Any], object], method: str) -> None:
    with pytest.raises(OwnMethodError) as caught:
        bool(test(across(value)))
    assert method in str(caught.value)


def test_an_object_equals_itself_and_no_other() -> None:
    point, other = Point(), Point()
    assert across(point) == across(point) and across(point) != across(other) and across(point) != 0
    assert across([point, other, point]) == [across(one) for one in (point, other, point)]
    assert len({across(Point()) for _ in range(10)}) == 10  # however soon each is gone


def test_an_object_that_holds_itself_is_described_once() -> None:
    point: Any = Point()
    point.next = point
    assert across(point).next.__class__.__name__ == "Point"
    chain: Any = None
    for _ in range(500):
        link: Any = Point()
        link.next, chain = chain, link
    assert across(chain).x == 3


@pytest.mark.parametrize(
    "data",
    [
        ["object", "A", ["__eq__"]],
        ["object", "A", 3, {}, 0],
        ["object", "A", [], {}, "x"],
        ["derived", "A", "no such", [], [], 1],
        ["derived", "A", "int", [], [], "x"],
        ["derived", "A", "tuple", [], [3], ["tuple", 1]],
        ["iterator"],
        ["type", "no such"],
        ["type", "eval"],
    ],
)
def test_a_description_that_is_none_is_not_read(data: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        decode_any(data)


def test_a_description_names_no_method_but_those_of_reading() -> None:
    value = decode_any(["object", "A", ["__getattribute__", "__del__", "__init__", "__reduce__"], {"x": 1}, 0])
    assert value.x == 1 and type(value).__mro__[1].__name__ == "Foreign"
