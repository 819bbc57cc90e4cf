"""The text of a conversation: what its last message says (layer L1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymode.errors import RecordError
from polymode.references import is_missing, plain

ASSISTANT = ("assistant", "model", "ai", None)
"""Roles of a message that the model wrote; a message may not say."""


def completion_text(completion: Any) -> str:
    """Text of a completion: itself, or the last message of a conversation, with its reasoning in think tags.

    A conversation whose last message the model did not write (the result of a tool, a user) holds no answer: its text
    is empty, and so is that of a message without content, such as a call of a tool. Content may be a text or a list of
    parts, of which texts and reasoning are read.

    Raises:
        RecordError: neither a text nor a list of messages.
    """
    if isinstance(completion, str):
        return completion
    messages = plain(completion)
    if isinstance(messages, Mapping):
        messages = [messages]
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise RecordError(
            f"completion: {completion!r:.80} is not allowed; give a text, or a list of messages with role and content"
        )
    if not messages or messages[-1].get("role") not in ASSISTANT:
        return ""
    message = messages[-1]
    content = content_text(message.get("content"))
    thinking = message.get("reasoning_content") or message.get("thinking") or message.get("reasoning")
    if not isinstance(thinking, str):
        return content
    # Reasoning without a reply was cut off, or is all there is: closed or not, it holds no answer.
    return f"<think>{thinking}</think>{content}" if content else f"<think>{thinking}"


def content_text(content: Any) -> str:
    """Text of a message's content: itself, or that of its parts; empty where it is missing. Raises RecordError."""
    if isinstance(content, str):
        return content
    parts = plain(content)
    if is_missing(parts):
        return ""
    if isinstance(parts, Mapping):
        parts = [parts]
    if not isinstance(parts, list):
        raise RecordError(f"completion: content {content!r:.80} is not allowed; give a text or a list of parts")
    return "".join(map(_part_text, parts))


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise RecordError(f"completion: {part!r:.80} is no part of a message's content; give {{'type': 'text', ...}}")
    kind, text = part.get("type"), part.get("text")
    if kind in ("thinking", "reasoning"):
        text = part.get("thinking") or part.get("reasoning") or text
        return f"<think>{text}</think>" if isinstance(text, str) else ""
    return text if isinstance(text, str) and kind in ("text", "output_text", None) else ""


def question_text(value: Any) -> Any:
    """The text of a conversation that is one message of a user; anything else as it is, for the caller to judge."""
    match plain(value):
        case [{"role": "user", "content": content}]:
            return content_text(content)
        case other:
            return other
