"""The tests' side: holds the lines that a program's process wrote against the tests, and runs no line of the program.

A test is an expression in which ``_value(3, ...)`` stands for the value of call 3. Its further arguments are what the
test does first with that value, such as ``lambda _: sorted(_)``; the program's process has done the first of them where
the value itself could not be carried, and says how many.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from .foreign import OwnMethodError, decode_any
from .values import MAX_REASON_CHARS, canonical, decode, describe, digest

MAX_VALUE_CHARS = 80
RELATIVE_TOLERANCE = 1e-7
"""Of numbers compared within a tolerance, as EvalPlus does with numpy's default."""

Line = dict[str, Any]


class CallFailed(Exception):
    """A call of the program raised, or was never made."""

    def __init__(self, text: str, types: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.types = types
        """Names of the exception's class and of those that it derives from."""


def compare(output: str, tests: dict[str, Any]) -> dict[str, Any]:
    """Why one program fails (None when it does not) or cannot be judged, whether it made all calls, what it did."""
    names: dict[str, Any] = {"__name__": "tests"}
    try:
        exec(compile(tests["imports"], "imports", "exec", dont_inherit=True), names)
    except BaseException as error:
        return {"fault": f"tests: the imports of the tests fail: {describe(error)}"}
    lines = _lines(output)
    load = lines[0].get("load", "nothing was written") if lines else "it ended before it was loaded"
    failure = None
    if load is not None:
        failure = f"{load} in the {lines[0].get('part', 'program')}" if lines else load
    for one in [] if failure else tests["checks"]:
        try:
            failure = _failure(one, lines[1:], names)
        except OwnMethodError as error:
            return {"fault": f"{one['test']}: {error}"[:MAX_REASON_CHARS]}
        if failure:
            break
    return {
        "failure": failure if failure is None else str(failure)[:MAX_REASON_CHARS],
        "complete": load is None and len(lines) > tests["n_tested"],
        "behaviour": _behaviour(lines, tests["n_calls"]) if load is None else "",
        "values": _behaviour(lines, tests["n_tested"]) if load is None else "",
    }


def is_close(value: Any, expected: Any, tolerance: float) -> bool:
    """Equality, but of numbers within ``tolerance + 1e-7 |expected|``, also in lists and tuples.

    >>> is_close([1.0, 2.0], [1.0, 2.00005], 1e-4), is_close((1,), [1], 1e-4)
    (True, False)
    """
    if isinstance(value, (list, tuple)) and type(value) is type(expected):
        return len(value) == len(expected) and all(map(is_close, value, expected, [tolerance] * len(value)))
    if isinstance(value, (int, float)) and isinstance(expected, float) and math.isfinite(value - expected):
        return abs(value - expected) <= tolerance + RELATIVE_TOLERANCE * abs(expected)
    return bool(value == expected)


def attempt(body: Callable[[], Any], *handlers: tuple[Sequence[str], Callable[[], Any]]) -> Any:
    """What a ``try`` statement of a test comes to: its body, or the handler of what the body raises."""
    try:
        return body()
    except OwnMethodError:
        raise
    except Exception as error:
        is_call = isinstance(error, CallFailed)
        raised = error.types if is_call else [kind.__name__ for kind in type(error).__mro__]
        for types_, handler in handlers:
            if set(types_) & set(raised):
                return handler()
        raise


def _failure(item: dict[str, Any], lines: Sequence[Line], names: dict[str, Any]) -> str | None:
    """Why one check does not hold; None when it does. Raises OwnMethodError."""
    values: list[Any] = []

    def value_of(number: int, *steps: Callable[[Any], Any]) -> Any:
        line = lines[number] if number < len(lines) else {"error": "the program ended before this call was done"}
        if "value" not in line:
            raise CallFailed(str(line.get("error", "nothing was written")), list(map(str, line.get("types") or ())))
        try:
            value, done = decode_any(line["value"]), int(line.get("steps", 0))
        except OwnMethodError:
            raise
        except Exception as error:
            raise CallFailed(f"what was written is no value ({describe(error)})") from None
        values.append(value)
        for step in steps[max(0, done) :]:
            value = step(value)
        return value

    tools = {"_value": value_of, "_attempt": attempt, "_close": is_close}
    if "expected" in item:
        tools["_expected"] = decode(item["expected"])
    try:
        if eval(_compiled(item["expression"]), {**names, **tools}):
            return None
        texts = [_text(value) for value in values]
        return f"{item['test']}: not with {', '.join(texts) or 'no value'}"
    except OwnMethodError:
        raise
    except CallFailed as error:
        return f"{item['test']}: {error}"
    except Exception as error:  # a value that the test's expression cannot take, such as len(None)
        return f"{item['test']}: {describe(error)}"


def _text(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # the program's own
        text = "<"
    text = f"<{type(value).__name__}>" if text.startswith("<") else text  # without addresses
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 3] + "..."


@cache  # the programs of a batch often share their tests
def _compiled(expression: str) -> types.CodeType:
    return compile(expression, "test", "eval", dont_inherit=True)


def _behaviour(lines: Sequence[Line], n_calls: int) -> str:
    """Digest of all values and of the types of exceptions."""
    texts: list[str] = []
    for number in range(1, n_calls + 1):
        line = lines[number] if number < len(lines) else {}
        texts.append(_form(line["value"]) if "value" in line else str(line.get("error")).split(":")[0])
    return digest("\0".join(texts))


def _form(data: Any) -> str:
    """A text for a value: the same for equal ones, where it is plain."""
    try:
        return canonical(decode(data))
    except Exception:
        return json.dumps(data)


def _lines(output: str) -> list[Line]:
    """The lines that were written, as far as they can be read."""
    records: list[Line] = []
    for line in output.split("\n")[:-1]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        records.append(value)
    return records
