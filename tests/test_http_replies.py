"""What HTTP replies say; `tests/test_endpoint.py` has the requests."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from polymode.http_replies import root_reason, seconds_to_wait, status_within


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ({"error": {"code": 502, "message": "down"}}, 502),
        ({"error": {"code": "429"}}, 429),
        ({"choices": [{"error": {"code": 503}, "finish_reason": "error"}]}, 503),
        ({"choices": [{"message": {"content": "x"}}]}, 200),
        ({"choices": [{"message": {"content": "x"}}], "error": None}, 200),
        ({"error": {"code": "rate_limit_exceeded"}}, 200),
        ({"error": {"code": 7}}, 200),
        ({"error": "down"}, 200),
        ({"verdicts": [1]}, 200),
        ([], 200),
        (None, 200),
    ],
)
def test_a_reply_reports_the_status_of_the_server_behind_it(reply: Any, status: int) -> None:
    assert status_within(reply) == status


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
