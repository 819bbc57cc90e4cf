"""References as people write them, and the checks that keep a question scorable (layer L1).

No reference at all (``[]``) says that the question has no right answer; a reference that is missing (None, NaN) says
nothing, and is refused.
"""

from __future__ import annotations

import ast
import json
import tokenize
import warnings
from collections.abc import Mapping, Sequence
from io import StringIO
from numbers import Number
from typing import Any, cast

from polymode.errors import RecordError, VerifierFault
from polymode.types import Reference
from polymode.verifiers import QuestionVerifier, Verifier, depends_on_question
from polymode.verifiers.faults import ask

NO_ANSWER = "write the right answers, or an empty list, [], where the question has none"
"""What to do about a reference that is missing."""
ABSENT_TEXTS = frozenset({"null", "nan", "NaN", "None", "NaT", "<NA>"})
"""What JSON, Python, NumPy and pandas write for a missing value where a file has only texts."""


def is_missing(value: Any) -> bool:
    """Whether a value stands for nothing: None, a number that is NaN, or NA and NaT of pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Number) and bool(value != value)


def plain(value: Any) -> Any:
    """Python's lists, texts and numbers in place of arrays, columns and scalars of NumPy, pandas and Arrow."""
    if isinstance(value, (str, Mapping, Reference)):
        return value
    for name in ("tolist", "to_pylist", "as_py"):
        if callable(convert := getattr(value, name, None)):
            value = convert()
            break
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def list_in_text(text: str) -> list[Any] | None:
    """The list that a text writes out, in JSON or as Python prints lists, tuples and sets; None for any other text.

    Text literals side by side are no list: NumPy prints arrays so, and Python would join them.

    >>> list_in_text('["a", "b"]'), list_in_text("['a', 'b']"), list_in_text("['a' 'b']"), list_in_text("a, b")
    (['a', 'b'], ['a', 'b'], None, None)
    """
    body = text.strip()
    if (body[:1], body[-1:]) not in (("[", "]"), ("(", ")"), ("{", "}")):
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = _python_list(body)
    return value if isinstance(value, list) else None


def _python_list(body: str) -> list[Any] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes in somebody's text
            node = ast.parse(body, mode="eval").body
        if not isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return None
        literals = [token for token in tokenize.generate_tokens(StringIO(body).readline)]
        n_literals = sum(token.type == tokenize.STRING for token in literals)
        constants = (inner for inner in ast.walk(node) if isinstance(inner, ast.Constant))
        if n_literals != sum(isinstance(constant.value, (str, bytes)) for constant in constants):
            return None
        return [ast.literal_eval(item) for item in node.elts]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError):
        return None


def is_list_of_references(items: Sequence[Any]) -> bool:
    """Whether a list that was written as text can be nothing but references: texts, lists of texts, objects."""
    return all(
        isinstance(item, str)
        or (isinstance(item, Mapping) and "text" in item)
        or (isinstance(item, (list, tuple)) and bool(item) and _are_texts(item))
        for item in items
    )


def is_printed_array(text: str) -> bool:
    """Whether a text is an array of texts as NumPy prints it, which nothing can read back for certain.

    >>> is_printed_array("['a' 'b']"), is_printed_array("array(['a'], dtype=object)"), is_printed_array("[0 1]")
    (True, True, False)
    """
    body = text.strip()
    is_array = body.startswith("array([") or (body[:2] in ("['", '["') and body[-2:] in ("']", '"]'))
    return is_array and list_in_text(body) is None


def reference_from(value: Any) -> Reference:
    """A reference from its JSON form: a string, a list of aliases (first is canonical), or an object.

    Arrays are read as lists. The object's ``text`` is taken as it is, whatever it looks like.

    Raises:
        RecordError: anything else, an empty text, a list that is written as a text, a missing value, or a weight that
            is not a number in [0, 1].
    """
    if isinstance(value, str):  # the usual form
        _refuse_list_text(value)
        ref = Reference(value)
    elif isinstance(value, Reference):
        ref = value
    elif isinstance(value, Mapping) and isinstance(value.get("text"), str):
        aliases = plain(value.get("aliases"))
        aliases = () if is_missing(aliases) else aliases
        if not isinstance(aliases, (list, tuple)) or not _are_texts(aliases):
            raise RecordError(f"references: aliases must be a list of strings, got {aliases!r}")
        ref = Reference(value["text"], tuple(aliases), plain(value.get("weight")))
    else:
        names = plain(value)
        if not isinstance(names, list) or not names or not _are_texts(names):
            raise RecordError(f"references: {value!r} is not a reference; {_remedy(names)}")
        for name in names:
            _refuse_list_text(name)
        ref = Reference(names[0], tuple(names[1:]))
    if "" in map(str.strip, ref.names):
        raise RecordError(f"references: empty text in {value!r}; remove the reference or write its answer")
    weight: Any = ref.weight
    is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if weight is not None and not (is_number and 0 <= weight <= 1):
        raise RecordError(
            f"references: weight {weight!r} of {ref.text!r} must be a number from 0 to 1; divide votes by their sum"
        )
    return ref


def _refuse_list_text(text: str) -> None:
    if text[:1] not in "[({a \t\n":
        return
    items = list_in_text(text)
    if (items and is_list_of_references(items)) or is_printed_array(text):
        raise RecordError(
            f"references: {text!r} is a list written as a text; give the list itself, or "
            '{"text": ...} where that text is the answer'
        )


def _remedy(value: Any) -> str:
    """What to write instead of a value that is no reference."""
    if is_missing(value):
        return f"it is missing: {NO_ANSWER}"
    if isinstance(value, (bool, Number)):
        return f'write it as a text, "{value}"'
    if isinstance(value, Mapping) and isinstance(value.get("text"), (list, tuple)):
        return "give the list that its 'text' holds (references_field=FIELD.text where a task reads it)"
    if isinstance(value, list):
        if any(map(is_missing, value)):
            return "one of its names is missing: write or remove it"
        if any(isinstance(name, list) for name in value):
            return "its lists are one level too deep: give a list of aliases for each right answer"
        if any(isinstance(name, Number) for name in value):
            return "write its numbers as texts"
    return 'give a string, a non-empty list of aliases, or {"text": ..., "aliases": [...], "weight": ...}'


def _are_texts(items: Sequence[Any]) -> bool:
    return all([isinstance(item, str) for item in items])


def references_from(value: Any) -> tuple[Reference, ...]:
    """References from a list or an array of JSON forms, also one that is written as a text; none for ``[]``.

    A bare string or object is one reference. Raises RecordError as `reference_from`.
    """
    if isinstance(value, str):
        items = list_in_text(value)
        value = [value] if items is None or not is_list_of_references(items) else items
    elif isinstance(value, (Mapping, Reference)):
        value = [value]
    else:
        value = plain(value)
    if is_missing(value):
        raise RecordError(f"references: {value!r} is missing; {NO_ANSWER}")
    if not isinstance(value, list):
        raise RecordError(f"references: {value!r} is not a list; give a list with one item for each right answer")
    return tuple(map(reference_from, value))


def check_references(references: Sequence[Reference], verifier: Verifier | QuestionVerifier | None) -> None:
    """Refuse references that cannot be told apart: no answer could ever find all of them.

    That is so when every name of one equals some name of the other and the other way round; for names shared in part
    there is the one-to-one matching. A verifier that reads the question is not asked, nor is None.

    Raises:
        RecordError: two that no answer can tell apart. No reference at all is no error: nothing is right.
    """
    if len(references) < 2 or verifier is None or depends_on_question(verifier):
        return
    try:
        pair = ask(_indistinct, references, cast("Verifier", verifier))
    except VerifierFault:  # judging says of each answer what is wrong
        return
    if pair is not None:
        a, b = (ref.text for ref in pair)
        raise RecordError(
            f"references: {a!r} and {b!r} are the same answer; write them as one reference with aliases, [{a!r}, {b!r}]"
        )


def _indistinct(references: Sequence[Reference], verifier: Verifier) -> tuple[Reference, Reference] | None:
    key = getattr(verifier, "key", None)
    if key is not None:
        by_keys: dict[frozenset[str], Reference] = {}
        for ref in references:
            first = by_keys.setdefault(frozenset(map(key, ref.names)), ref)
            if first is not ref:
                return first, ref
        return None

    def is_within(a: Reference, b: Reference) -> bool:
        return all(verifier.matches(name, b) for name in a.names)

    pairs = ((a, b) for j, b in enumerate(references) for a in references[:j])
    return next(((a, b) for a, b in pairs if is_within(a, b) and is_within(b, a)), None)
