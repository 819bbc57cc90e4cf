"""What an OpenAI-compatible server sends back: texts, numbers of tokens, probabilities of a word (layer L4)."""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from polymode.generate import Generated
from polymode.http_replies import message_parts

MAX_LISTED = 20
"""Alternatives to each token that are asked for; many servers, and vLLM by default, refuse more than 20."""
_ADVICE = {
    "status 200 with an error": "do what the server says, or check its logs",
    "status 400": "shorten the question or --max-tokens, or leave out a field that the server does not know "
    "(--backend-options NAME=null)",
    **{
        f"status {status}": "the server sends elsewhere: set base_url to the address itself, mostly with https"
        for status in (301, 302, 303, 307, 308)
    },
    "status 401": "set the key: --backend-options api_key_env=NAME_OF_THE_VARIABLE",
    "status 403": "set the key: --backend-options api_key_env=NAME_OF_THE_VARIABLE",
    "status 404": "check base_url and the name of the model",
    "status 422": "leave out a field that the server does not know (--backend-options NAME=null)",
    "status 429": "ask less at once: --backend-options concurrency=4",
    "no reply within": "allow more seconds or ask less at once: --backend-options timeout=600 concurrency=4",
    "not JSON": "check base_url: it ends with the version, as http://localhost:8000/v1",
    "no choices": "ask again, or check what the server logs",
    "no chat completion": "check base_url and the server",
    "ConnectionRefused": "start the server, or check base_url",
}

FINISHED = (
    *(None, "stop", "stopped", "stop_sequence", "stop_token", "finish_reason_stop"),
    *("eos", "eos_token", "end_turn", "end", "complete", "completed", "finished", "done"),
)
"""What servers call a completion that ended by itself; some say nothing, so those are taken for finished too."""
_NOTES = {
    "length": "raise --max-tokens",
    "max_tokens": "raise --max-tokens",
    "content_filter": "the server withheld the text",
    "tool_calls": "the model called a tool, counted as cut off",
}


def advice_on(problem: str) -> str:
    """What to set after a failure, by its words; empty where there is nothing to say."""
    return next((advice for words, advice in _ADVICE.items() if words in problem), "")


@dataclass
class Usage:
    """What a server's replies add up to. Safe to use from several threads."""

    n_replies: int = 0
    n_uncounted: int = 0
    """Replies without a count of tokens."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reasons: Counter[str | None] = field(default_factory=Counter)
    n_empty: int = 0
    """Replies that ended by themselves and hold no text."""
    n_reasoning_only: int = 0
    """Replies that ended by themselves and hold nothing but reasoning."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, one: Generated, finish_reason: str | None) -> None:
        """Count a reply."""
        with self._lock:
            self.n_replies += 1
            self.n_uncounted += one.n_tokens is None or one.n_prompt_tokens is None
            self.prompt_tokens += one.n_prompt_tokens or 0
            self.completion_tokens += one.n_tokens or 0
            self.finish_reasons[finish_reason] += 1
            self.n_empty += one.is_finished and not one.text.strip()
            self.n_reasoning_only += one.is_finished and bool(one.text.strip()) and not final_text(one.text)

    def __str__(self) -> str:
        """In one line, with what the server cut off or withheld."""
        parts = [
            f"{self.n_replies:,} replies, {self.prompt_tokens:,} prompt tokens, {self.completion_tokens:,} generated"
        ]
        if self.n_uncounted:
            parts.append(f"{self.n_uncounted:,} without a count")
        if self.n_empty:
            parts.append(f"{self.n_empty:,} without any text, as where a model refuses to answer")
        if self.n_reasoning_only:
            parts.append(
                f"{self.n_reasoning_only:,} with reasoning and nothing behind it, as where the server's reasoning "
                "parser takes the answer for reasoning"
            )
        for reason, n in sorted(self.finish_reasons.items(), key=lambda one: (one[0] != "length", str(one[0]))):
            if reason not in FINISHED:
                parts.append(
                    f"{n:,} ended with finish_reason {reason}: {_NOTES.get(str(reason), 'counted as cut off')}"
                )
        return "; ".join(parts)


def completion_in(reply: Any) -> tuple[Generated, str | None]:
    """The first choice and its finish_reason, in small letters and None where it is empty.

    Reasoning that the server cut out of the text, or sends as a part of its own, is put back in front. It is left open
    where generation was cut off inside it.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: the reply is no chat completion.
    """
    choice = reply["choices"][0]
    text, thought = message_parts(choice["message"])
    usage, reason = reply.get("usage"), choice.get("finish_reason")
    usage = usage if isinstance(usage, Mapping) else {}
    if reason is not None and not isinstance(reason, str):
        raise ValueError
    reason = (reason or "").strip().casefold() or None
    is_finished = reason in FINISHED
    if thought:
        text = f"<think>{thought}</think>{text}" if is_finished or text.strip() else f"<think>{thought}"
    generated = Generated(
        text=text,
        n_tokens=_count(usage.get("completion_tokens")),
        is_finished=is_finished,
        n_prompt_tokens=_count(usage.get("prompt_tokens")),
    )
    return generated, reason


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def final_text(text: str) -> str:
    """What a reply finally says, after its reasoning; empty where it was cut off inside it."""
    before, end, final = text.rpartition("</think>")
    return final.strip() if end else "" if text.lstrip().startswith("<think>") else (before + final).strip()


def word_said(text: str, words: Sequence[str]) -> int | None:
    """Number of the word that a reply begins with, after its reasoning; None when it begins with another."""
    start = _bare(final_text(text))
    for number, word in enumerate(words):
        rest = start.removeprefix(word.casefold())
        if rest != start and not rest[:1].isalnum():
            return number
    return None


def word_probabilities(choice: Mapping[str, Any], text: str, words: Sequence[str]) -> list[float] | None:
    """Probability that the final part of a reply begins with each word, summed over spellings; from ``top_logprobs``.

    At the first token of the final part that holds a letter or a digit every alternative that the server lists counts
    for the word that it spells (`` True``, ``TRUE``) or begins (``Tr``; two letters at least), and the sampled token
    for the word that it goes on to. Tokens of marks in front of it (``**``, a quote, a line break) are gone through:
    what follows is as likely as they are, and alternatives to them count too. What the server does not list counts for
    none.

    Returns:
        Per word its probability; None where the reply holds no probabilities, or none that can be read.
    """
    tokens = ((choice.get("logprobs") or {}).get("content")) or []
    if not tokens or not all("top_logprobs" in token and _has_probability(token) for token in tokens):
        return None
    final = final_text(text)
    if not final:
        return [0.0] * len(words)
    place = _place_of(final, "".join(token["token"] for token in tokens))
    if place is None:
        return None
    ends = list(accumulate(len(token["token"]) for token in tokens))
    first = bisect_right(ends, place)  # the token that holds the first character
    while first and tokens[first - 1]["token"].isspace():
        first -= 1
    out, reached = [0.0] * len(words), 1.0
    for number, token in enumerate(tokens[first:], first):
        is_marks = not _bare(token["token"])
        sampled = None if is_marks else word_said("".join(one["token"] for one in tokens[number:]), words)
        listed = [
            other
            for other in token["top_logprobs"] or ()
            if other["token"] != token["token"] and _has_probability(other)
        ]
        for other in (token, *listed):
            spelling = _bare(other["token"])
            number_of_word = next((i for i, word in enumerate(words) if _begins(spelling, word.casefold())), None)
            if other is token and sampled is not None:
                number_of_word = sampled
            if number_of_word is not None:
                out[number_of_word] += reached * math.exp(min(0.0, other["logprob"]))
        if not is_marks:
            break
        reached *= math.exp(min(0.0, token["logprob"]))
    return [min(p, 1.0) for p in out]


def _has_probability(token: Mapping[str, Any]) -> bool:
    """Whether the token comes with a number; some servers send null, or NaN, which Python's JSON reads."""
    value = token.get("logprob")
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _place_of(final: str, whole: str) -> int | None:
    """Where the final part of a reply begins in what its tokens spell; None where it cannot be told.

    Some servers write the bytes of one character as tokens of their own, which spell something else. Where that is so,
    the part begins with its first word, behind the reasoning if there is any.
    """
    if (place := whole.rfind(final)) >= 0:
        return place
    before, end, rest = whole.rpartition("</think>")
    place = len(before) + len(end) + len(rest) - len(rest.lstrip())
    return place if whole.startswith(final.split(maxsplit=1)[0], place) else None


def _bare(text: str) -> str:
    """A text in small letters, without white space, punctuation, quotes and marks of Markdown around it."""
    return text.strip("".join({letter for letter in text if not letter.isalnum()})).casefold()


def _begins(spelling: str, word: str) -> bool:
    return len(spelling) > 1 and word.startswith(spelling)
