"""References as people write them, and which lists of them are refused."""

import math
from typing import Any

import pytest

from polymode.errors import RecordError
from polymode.references import check_references, reference_from, references_from
from polymode.types import Reference
from polymode.verifiers.scripted import ScriptedVerifier
from polymode.verifiers.text import TextVerifier

TEXT = TextVerifier()


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        ("flu", Reference("flu")),
        (["flu", "influenza"], Reference("flu", ("influenza",))),
        (("flu",), Reference("flu")),
        ({"text": "flu"}, Reference("flu")),
        ({"text": "flu", "aliases": ["influenza"], "weight": 0.4}, Reference("flu", ("influenza",), 0.4)),
        ({"text": "flu", "aliases": None, "weight": None}, Reference("flu")),
        (Reference("flu", ("influenza",), 1), Reference("flu", ("influenza",), 1)),
    ],
)
def test_forms_of_a_reference(value: Any, reference: Reference) -> None:
    assert reference_from(value) == reference


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "3 is not a reference"),
        (None, "None is not a reference"),
        ([], r"\[\] is not a reference"),
        (["flu", 3], "is not a reference"),
        ({"name": "flu"}, "is not a reference"),
        ({"text": "flu", "aliases": "influenza"}, "aliases must be a list of strings, got 'influenza'"),
        ({"text": "flu", "aliases": [1]}, "aliases must be a list of strings"),
        (" ", "empty text in ' '"),
        (["flu", ""], "empty text in"),
        ({"text": "flu", "weight": 1.2}, "weight 1.2 of 'flu' must be a number from 0 to 1"),
        ({"text": "flu", "weight": math.nan}, "weight nan"),
        ({"text": "flu", "weight": "0.5"}, "weight '0.5'"),
        ({"text": "flu", "weight": True}, "weight True"),
    ],
)
def test_what_is_no_reference(value: Any, message: str) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        reference_from(value)
    assert "\n" not in str(caught.value)


def test_a_bare_string_is_one_reference() -> None:
    assert references_from("flu") == (Reference("flu"),)
    assert references_from({"text": "flu"}) == references_from(Reference("flu")) == (Reference("flu"),)
    assert references_from(["flu", ["cold", "common cold"]]) == (Reference("flu"), Reference("cold", ("common cold",)))
    with pytest.raises(RecordError, match="3 is not a list"):
        references_from(3)


@pytest.mark.parametrize("verifier", [TEXT, ScriptedVerifier({"The Flu": "flu", "influenza": "flu"})])
def test_references_must_be_distinguishable(verifier: Any) -> None:
    check_references([Reference("flu"), Reference("cold")], verifier)
    with pytest.raises(RecordError, match="'flu' and 'The Flu' are the same answer; write them as one reference"):
        check_references([Reference("flu"), Reference("cold"), Reference("The Flu")], verifier)
    check_references([], verifier)  # a question without a right answer


@pytest.mark.parametrize("verifier", [TEXT, ScriptedVerifier()])
def test_names_shared_in_part_are_fine(verifier: Any) -> None:
    check_references([Reference("flu", ("virus",)), Reference("cold", ("virus",))], verifier)
    with pytest.raises(RecordError, match="'flu' and 'virus' are the same answer"):
        check_references([Reference("flu", ("virus",)), Reference("virus", ("flu", "flu"))], verifier)
