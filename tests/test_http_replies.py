"""What HTTP replies say; `tests/test_endpoint.py` has the requests."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from polymode.http_replies import message_parts, root_reason, seconds_to_wait, status_within


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ({"error": {"code": 502, "message": "down"}}, 502),
        ({"error": {"code": "429"}}, 429),
        ({"choices": [{"error": {"code": 503}, "finish_reason": "error"}]}, 503),
        ({"choices": [{"message": {"content": "x"}}]}, 200),
        ({"choices": [{"message": {"content": "x"}}], "error": None}, 200),
        ({"error": {"code": "rate_limit_exceeded"}}, 429),
        ({"error": {"code": "insufficient_quota", "message": "pay"}}, 429),
        ({"error": {"code": None, "type": "invalid_request_error", "message": "odd"}}, 400),
        ({"object": "error", "code": 40301, "type": "PermissionDenied"}, 403),
        ({"choices": [{"message": {"content": ""}, "error": {"code": "invalid_api_key"}}]}, 401),
        ({"error": {"code": 7}}, None),
        ({"error": {"code": float("inf")}}, None),
        ({"error": {"code": ["x"]}}, None),
        ({"error": "down"}, None),
        ({"error": ["down"]}, None),
        ({"choices": [{"message": {"content": "x"}}], "error": {"code": None, "message": ""}}, 200),
        ({"choices": [{"message": {"content": "x"}}], "error": "no cache"}, 200),
        ({"choices": [{"error": "lost"}]}, None),
        ({"verdicts": [1]}, 200),
        ([], 200),
        (None, 200),
    ],
)
def test_a_reply_reports_the_status_of_the_server_behind_it(reply: Any, status: int | None) -> None:
    assert status_within(reply) == status


@pytest.mark.parametrize(
    ("message", "text", "thought"),
    [
        ({"content": "a"}, "a", ""),
        ({"content": None}, "", ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", ""),
        ({"content": ["a", {"type": "output_text", "text": "b"}]}, "ab", ""),
        ({"content": {"type": "text", "text": "a"}}, "a", ""),
        ({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]}, "a", "hm"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "h"}, "m"]}, "a"]}, "a", "hm"),
        ({"content": [{"type": "reasoning", "summary": [{"text": "hm"}]}, "a"]}, "a", "hm"),
        ({"content": [{"type": "reasoning", "text": "hm"}, "a"], "reasoning_content": "hm"}, "a", "hm"),
        ({"content": "a", "reasoning": [{"text": "hm"}]}, "a", "hm"),
        ({"content": [{"type": "tool_use", "input": {}}, {"type": "refusal", "refusal": "no"}]}, "", ""),
        ({"content": []}, "", ""),
    ],
)
def test_a_message_is_a_text_or_a_list_of_parts(message: Any, text: str, thought: str) -> None:
    assert message_parts(message) == (text, thought)


@pytest.mark.parametrize("message", ["x", {"content": 5}, {"content": [5]}, {"content": "a", "reasoning": True}])
def test_what_is_no_message_is_refused(message: Any) -> None:
    with pytest.raises((AttributeError, TypeError)):
        message_parts(message)


def test_seconds_to_wait_are_a_number_or_until_a_time_of_day() -> None:
    assert [seconds_to_wait(text) for text in ("2.5", "-1", "nan", "soon", "", None)] == [
        2.5,
        0.0,
        None,
        None,
        None,
        None,
    ]
    seconds = seconds_to_wait(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert seconds is not None and 25 < seconds <= 30


def test_the_reason_is_the_error_at_the_root() -> None:
    try:
        try:
            raise OSError("no route\nto host")
        except OSError as inner:
            raise ExceptionGroup("several", [RuntimeError("first"), ValueError()]) from inner
    except ExceptionGroup as exc:
        assert root_reason(exc) == "OSError: no route to host"
    assert root_reason(ExceptionGroup("several", [RuntimeError("first")])) == "RuntimeError: first"
