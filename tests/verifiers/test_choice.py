"""Verifiers by name: each opens, and every mistake says what is known or missing."""

from typing import Any

import pytest

from polymode.errors import ConfigError
from polymode.verifiers import QuestionVerifier
from polymode.verifiers.choice import VERIFIERS, check_verifier, open_verifier
from polymode.verifiers.text import TextVerifier


def test_each_name_has_a_class() -> None:
    for name in VERIFIERS:
        check_verifier(name, {"base_url": "http://localhost/v1", "model": "m"} if name == "judge" else {})


def test_open() -> None:
    assert open_verifier("text") == TextVerifier()
    for name, options in (("symbolic", {"seconds": 3}), ("judge", {"base_url": "http://localhost/v1", "model": "m"})):
        if name == "symbolic":
            pytest.importorskip("math_verify", reason="the extra `math` is not installed")
        assert isinstance(open_verifier(name, **options), QuestionVerifier)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("exact", {}, "verifier = 'exact' is not known: use one of text, symbolic, judge, programs"),
        ("text", {"seconds": 5}, "verifier 'text': unknown option 'seconds'; it has none"),
        ("symbolic", {"second": 5}, "verifier 'symbolic': unknown option 'second'; known: seconds, workers"),
        ("symbolic", {7: 5}, "verifier 'symbolic': unknown option 7; known"),
        ("judge", {}, "verifier 'judge': base_url and model must be given as verifier options"),
        ("judge", {"model": "m"}, "verifier 'judge': base_url must be given"),
        ("judge", {"base_url": "http://x", "model": "m", "key": "k"}, "unknown option 'key'; known: base_url, model"),
        ("programs", {"sandbox": "x"}, "verifier 'programs': unknown option 'sandbox'"),
    ],
)
def test_what_does_not_exist_or_is_missing_is_refused(name: str, options: dict[Any, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_verifier(name, options)


def test_a_value_that_is_not_allowed_names_the_verifier() -> None:
    with pytest.raises(ConfigError, match="verifier 'judge': retries = -1 is not allowed"):
        open_verifier("judge", base_url="http://localhost/v1", model="m", retries=-1)
