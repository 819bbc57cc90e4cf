"""A chat completion that an OpenAI-compatible server sends in parts, put together again (layer L4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from polymode.http_replies import message_parts

_ENDS = (">", "\n")
"""What an answer or a confidence ends with; other parts of a text are not worth telling."""


class StreamedReply:
    """Server-sent events, to be read by `polymode.endpoint.Endpoint.post`.

    A server that does not stream, though it was asked to, sends the whole reply, which is read too.

    Args:
        on_text: called with the text so far, the reasoning in front in ``<think>``, when it may have a further answer.
    """

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self._rest = b""
        self._whole: list[bytes] = []
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._finish_reason: Any = None
        self._usage: Any = None
        self._error = ""
        self._is_stream = self._is_complete = False

    def feed(self, part: bytes) -> None:
        """The next bytes."""
        if not self._is_stream:
            self._whole.append(part)
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            name, _, data = line.partition(b":")
            if name == b"data":
                self._is_stream = True
                self._read(data.strip())

    def reply(self) -> Any:
        """The whole, as a server sends it that was not asked to stream.

        Raises:
            ValueError: it is neither events nor JSON, or an event says that the server failed.
        """
        if not self._is_stream:
            return json.loads(b"".join(self._whole))
        if self._error or not self._is_complete:
            raise ValueError(self._error or "it ended before the completion did")
        message = {"content": "".join(self._texts), "reasoning_content": "".join(self._thoughts)}
        return {"choices": [{"message": message, "finish_reason": self._finish_reason}], "usage": self._usage}

    def _read(self, data: bytes) -> None:
        """One event."""
        if data == b"[DONE]":
            self._is_complete = True
            return
        try:
            event = json.loads(data)
            if event.get("error"):
                self._error = " ".join(str(event["error"]).split())[:200]
            self._usage = event.get("usage") or self._usage
            for choice in event.get("choices") or ():
                text, thought = message_parts(choice.get("delta") or {})
                self._thoughts.append(thought)
                self._texts.append(text)
                self._finish_reason = choice.get("finish_reason") or self._finish_reason
                self._is_complete = self._is_complete or self._finish_reason is not None
                if any(end in self._texts[-1] for end in _ENDS):
                    thought = "".join(self._thoughts)
                    self._on_text((f"<think>{thought}</think>" if thought else "") + "".join(self._texts))
        except (ValueError, AttributeError, TypeError, RecursionError):
            self._error = self._error or f"an event is no part of a chat completion: {data[:80]!r}"
