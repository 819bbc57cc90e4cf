"""What runs inside the sandbox, tested outside of it: values as data, and the normal form of programs."""

import datetime
import json
import math
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.sandbox.inside.comparison import is_close
from polymode.sandbox.inside.normal import key, text_key
from polymode.sandbox.inside.values import UncarriedError, canonical, decode, encode

steady = settings(derandomize=True)
atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.fractions()
)
values = st.recursive(
    atoms,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
) | st.sets(st.integers() | st.text())


@steady
@given(values)
def test_values_come_back_as_they_are(value: Any) -> None:
    back = decode(json.loads(json.dumps(encode(value))))
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        10**5000,
        -(2**53),
        math.inf,
        "\udc80 a lone surrogate",
        range(3, 0, -1),
        ...,
        bytearray(b"x"),
        frozenset({1, (2,)}),
        Counter("aab"),
        OrderedDict(a=1),
        deque([1, 2]),
        array("i", [1, 2]),
        Decimal("1.50"),
        Fraction(1, 3),
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 12),
        datetime.timedelta(1, 2, 3),
        datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
        memoryview(b"ab"),
        memoryview(b""),
        {1: "a"}.keys(),
        {1: "a"}.items(),
        int,
        type(None),
        Counter,
    ],
    ids=lambda value: type(value).__name__,
)
def test_further_types_that_are_carried(value: Any) -> None:
    back = decode(json.loads(json.dumps(encode(value))))
    assert back == value and type(back) is type(value)


def test_not_a_number_and_default_dictionaries() -> None:
    assert math.isnan(decode(encode(math.nan)))
    assert decode(encode(defaultdict(int, {"a": 1}))) == {"a": 1}


@pytest.mark.parametrize("value", [object(), print, iter([]), (i for i in ()), {1: object()}, type("T", (), {})])
def test_what_is_no_plain_data_is_refused_by_the_name_of_its_type(value: Any) -> None:
    with pytest.raises(UncarriedError, match="is no plain data"):
        encode(value)


@pytest.mark.parametrize("data", [[], {}, 1.5, ["no such"], [["list"]], ["int", "x"], ["float"], ["set", ["list"]]])
def test_what_is_no_form_of_a_value_is_not_read(data: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode(data)


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, 1.0, True),
        (True, 1, True),
        ({1, 2}, {2, 1}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([1], (1,), False),
        ("1", 1, False),
        (None, False, False),
        ({1: "a"}, Counter({1: "a"}), True),
        ([{1}, {2}], [{2}, {1}], False),
    ],
)
def test_canonical_texts_are_equal_as_the_values_are(a: Any, b: Any, equal: bool) -> None:
    assert (canonical(a) == canonical(b)) is equal is (a == b)


@pytest.mark.parametrize(
    ("value", "expected", "tolerance", "close"),
    [
        (1.0, 1.0 + 1e-8, 0.0, True),  # within 1e-7 of the expected value
        (1.0, 1.001, 1e-4, False),
        ([1.0, 2], [1.00001, 2], 1e-4, True),
        ((1.0,), [1.0], 1e-4, False),
        ([1.0], [1.0, 1.0], 1e-4, False),
        ("a", "a", 1e-4, True),
        (None, 0.0, 1e-4, False),
        (math.inf, math.inf, 1e-4, True),
        (math.nan, 1.0, 1e-4, False),
    ],
)
def test_numbers_within_a_tolerance(value: Any, expected: Any, tolerance: float, close: bool) -> None:
    assert is_close(value, expected, tolerance) is close


BASE = "def f(n, m):\n    total = n + m\n    return total"
SAME = {
    "names": "def f(a, b):\n    c = a + b\n    return c",
    "comments and layout": "# adds\n\ndef f( n,m ):\n  total=n+m # here\n\n  return (total)",
    "doc strings": '"""Module."""\ndef f(n, m):\n    """Adds."""\n    total = n + m\n    return total',
    "annotations": "def f(n: int, m: 'int') -> int:\n    total: int = n + m\n    return total",
    "pass and constants": "def f(n, m):\n    pass\n    0\n    'x'\n    total = n + m\n    ...\n    return total",
    "after return": BASE + "\n    print(n)\n    return 7",
    "dead branch": BASE.replace("    return", "    if False:\n        n = 1\n    return"),
    "true branch": "def f(n, m):\n    if True:\n        total = n + m\n    return total",
    "unused assignment": BASE.replace("    total", "    unused = [1, 'x', None]\n    total", 1),
    "unused import": "import os, math\nfrom sys import path as p\n" + BASE,
    "unused function": "def g(x):\n    return g(x)\n" + BASE,
    "main": BASE + "\n\nif __name__ == '__main__':\n    print(f(1, 2))",
    "print of a name": BASE.replace("    return", "    print('total', total)\n    return"),
    "self assignment": BASE.replace("    return", "    total = total\n    return"),
    "bare names": BASE.replace("    return", "    total\n    return"),
    "operand order": BASE.replace("n + m", "m + n"),
    "neutral element": BASE.replace("n + m", "0 + n * 1 + m"),
    "without a variable": "def f(n, m): return n + m",
    "two variables": "def f(n, m):\n    a = n\n    b = m\n    c = a + b\n    d = c\n    return d",
    "in place": "def f(n, m):\n    n += m\n    return n",
    "assertion": BASE.replace("    total", "    assert n is not None, 'n'\n    total", 1),
    "deleted name": BASE.replace("    total", "    x = len('')\n    del x\n    total", 1),
    "walrus": BASE.replace("    total", "    (x := 3)\n    total", 1),
    "idle loop": BASE.replace("    total", "    for i in range(3):\n        pass\n    total", 1),
    "lambda": "def f(n, m): return (lambda: n + m)()",
    "index": "def f(n, m): return [n + m][0]",
    "re-raised": "def f(n, m):\n    try:\n        return n + m\n    except TypeError:\n        raise",
    "both branches": "def f(n, m):\n    if n > m:\n        return n + m\n    else:\n        return n + m",
    "unread arguments": "def f(n, m, _=0, *, x=None): return n + m",
    "main, turned": BASE + "\nif '__main__' == __name__:\n    f(1, 2)",
}
LOOP = "def f(xs):\n    for x in xs:\n        if x > 0:\n            return x\n    return None"
SAME_LOOP = {
    "turned comparison": LOOP.replace("x > 0", "0 < x"),
    "negative condition": LOOP.replace(
        "x > 0:\n            return x", "not x > 0:\n            continue\n        return x"
    ),
    "else": LOOP.replace("return x\n", "return x\n        else:\n            continue\n"),
}
DIFFERENT = {
    "operator": BASE.replace("+", "-"),
    "constant": BASE.replace("n + m", "n + m + 1"),
    "order of texts": BASE.replace("n + m", "str(n) + str(m)"),
    "entry name": BASE.replace("def f", "def g"),
    "another call": BASE.replace("n + m", "sum((n, m))"),
    "a loop": "def f(n, m):\n    while m:\n        n, m = n + 1, m - 1\n    return n",
    "effect": BASE.replace("    return", "    check(total)\n    return"),
}


@pytest.mark.parametrize("name", SAME)
def test_programs_that_differ_in_nothing_that_matters_have_one_key(name: str) -> None:
    assert key(SAME[name], ["f"]) == key(BASE, ["f"])


@pytest.mark.parametrize("name", SAME_LOOP)
def test_branches_that_differ_in_nothing_that_matters_have_one_key(name: str) -> None:
    assert key(SAME_LOOP[name], ["f"]) == key(LOOP, ["f"])


@pytest.mark.parametrize("name", DIFFERENT)
def test_programs_that_differ_have_different_keys(name: str) -> None:
    assert key(DIFFERENT[name], ["f"]) != key(BASE, ["f"])


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        # Names are numbered scope by scope: it does not matter whether two functions share a name by chance.
        (
            "def f(x):\n    i = x\n    return g(i)\ndef g(y):\n    i = y\n    return i",
            "def f(x):\n    i = x\n    return h(i)\ndef h(z):\n    k = z\n    return k",
            True,
        ),
        # An argument that is passed by name keeps it: these two subtract in different order.
        (
            "def f(x): return g(a=x, b=1)\ndef g(a, b): return a - b",
            "def f(x): return g(a=x, b=1)\ndef g(b, a): return b - a",
            False,
        ),
        ("import math\ndef f(x): return math.sqrt(x)", "import math as m\ndef f(x): return m.sqrt(x)", True),
        ("import math\ndef f(x): return math.sqrt(x)", "import cmath as m\ndef f(x): return m.sqrt(x)", False),
        ("import re, os\ndef f(x): return re.a(os.b)", "import os\nimport re\ndef f(x): return re.a(os.b)", True),
        ("def f(x): return [i for i in x]", "def f(y): return [j for j in y]", True),
        ("f = lambda x: x", "f = lambda y: y", True),
        ("def f(x):\n    return", "def f(x):\n    return None", True),
        ("c = 0\ndef f(x):\n    global c\n    c += x\n    return c", "d = 0\ndef f(x):\n    return d", False),
        (
            "def f(x):\n    try: g()\n    except E as e: return e",
            "def f(y):\n    try: g()\n    except E as z: return z",
            True,
        ),
        # Methods and attributes that the program gives are names like others; those of built-in types are not.
        ("def f(x): return x.upper()", "def f(x): return x.lower()", False),
        (
            "class P:\n    def __init__(self, a): self.a = a\ndef f(x): return P(a=x).a",
            "class Q:\n    def __init__(self, b): self.b = b\ndef f(x): return Q(b=x).b",
            True,
        ),
        ("class A:\n    b = 1\ndef f(x): return A.b", "class A:\n    c = 1\ndef f(x): return A.c", True),
        ("class A:\n    b = 1\ndef f(x): return A.b", "class B:\n    b = 1\ndef f(x): return B.b", True),
        ("import math\ndef f(x): return math.pow(x, 2)", "from math import pow as p\ndef f(x): return p(x, 2)", True),
        ("from math import pow\ndef f(x): return pow(x, 2)", "def f(x): return pow(x, 2)", False),
        # Naming a built-in function that could read names is no way to be left alone.
        ("vars\ndef f(x): return x", "def f(y): return y", True),
        ("def f(x): return eval('x')", "def f(x): return eval('x + 0')", False),
    ],
)
def test_scopes_and_names(a: str, b: str, same: bool) -> None:
    assert (key(a, ["f"]) == key(b, ["f"])) is same


@pytest.mark.parametrize("text", ["def f(", "", "\0", "x = '\udc80'", "(" * 5000, "if 1:\nx"])
def test_what_cannot_be_parsed_is_compared_as_text(text: str) -> None:
    found = key(text, ["f"])
    assert found == (text_key(text) if text else key("pass"))
    assert text_key("def f(:\n  x") == text_key("def   f(: x")


def test_a_tree_that_is_too_deep_is_compared_by_its_tokens() -> None:
    deep = "def f(n):\n    return " + "-" * 50_000 + "n"
    assert key(deep, ["f"]).startswith("tokens:")
    assert key(deep, ["f"]) == key(deep.replace("n", "m").replace("retur" + "m", "return") + "  # one", ["f"])
    assert key(deep, ["f"]) == key(deep.replace("--", "----", 1), ["f"]) != key(deep.replace("--", "-", 1), ["f"])
    for dead in ("1+1\n", "a = 1\n", "vars\n", "'text';\n"):
        assert key(dead + deep, ["f"]) == key(deep, ["f"])
    assert key("g()\n" + deep, ["f"]) != key(deep, ["f"]) != key("a = 1\n" + deep + " + a", ["f"])
    brackets = [f"def f(n):\n    return {'(' * depth}n{')' * depth}" for depth in (300, 400)]
    assert key(brackets[0], ["f"]) == key(brackets[1], ["f"])
