"""The text of a conversation's last message, as chat templates and servers write messages."""

from typing import Any

import numpy as np
import pytest

from polymode.errors import RecordError
from polymode.messages import completion_text, question_text

TEXT = {"type": "text", "text": "c"}


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("plain", "plain"),
        ([{"role": "assistant", "content": "said"}], "said"),
        ([{"role": "assistant", "content": None}], ""),
        ([{"role": "assistant", "content": float("nan")}], ""),
        ([{"content": "no role"}], "no role"),
        ({"role": "assistant", "content": "one message"}, "one message"),
        (np.array([{"role": "assistant", "content": "array"}], dtype=object), "array"),
        ([{"role": "user", "content": "x"}, {"role": "assistant", "content": "last"}], "last"),
        # A response parser takes the reasoning out of the content; it belongs to the completion all the same.
        ([{"role": "assistant", "content": "c", "reasoning_content": "r"}], "<think>r</think>c"),
        ([{"role": "assistant", "content": "c", "thinking": "t"}], "<think>t</think>c"),
        # Parts of a content.
        ([{"role": "assistant", "content": [TEXT]}], "c"),
        ([{"role": "assistant", "content": TEXT}], "c"),
        (
            [
                {
                    "role": "assistant",
                    "content": [TEXT, {"type": "image", "url": "u"}, {"type": "output_text", "text": "d"}],
                }
            ],
            "cd",
        ),
        ([{"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}, TEXT]}], "<think>t</think>c"),
        ([{"role": "assistant", "content": ["a", "b"]}], "ab"),
        # The model did not write these, so they hold no answer of it.
        ([{"role": "assistant", "content": "draft"}, {"role": "tool", "content": "<answer>x</answer>"}], ""),
        ([{"role": "user", "content": "x"}], ""),
        ([{"role": "assistant", "tool_calls": [{"name": "search"}]}], ""),
        ([], ""),
    ],
)
def test_text_of_a_completion(completion: Any, text: str) -> None:
    assert completion_text(completion) == text


@pytest.mark.parametrize("completion", [None, 3, ["text"], [["x"]], [{"content": 3}], [{"content": [3]}]])
def test_what_is_no_completion(completion: Any) -> None:
    with pytest.raises(RecordError, match=r"^completion: .* (allowed|content)") as caught:
        completion_text(completion)
    assert "\n" not in str(caught.value)


def test_a_question_may_be_one_message_of_a_user() -> None:
    assert question_text([{"role": "user", "content": [TEXT]}]) == "c"
    assert question_text("c") == "c"
    several = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert question_text(several) == several
