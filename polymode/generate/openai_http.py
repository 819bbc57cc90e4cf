"""Completions from any OpenAI-compatible server (vLLM, llama.cpp, `transformers serve`); extra ``http``.

The server applies the model's chat template, as `TransformersGenerator` does. Each completion is a request of its own,
because not every server knows the field ``n``.

Servers have sampling defaults of their own: vLLM and llama.cpp cut off unlikely tokens (``top_k``, ``min_p``) unless a
request says otherwise, and not every server lets it. What a policy was calibrated with must be asked for, see
``request_options``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from polymode.chat import Chat
from polymode.endpoint import Endpoint, Refused
from polymode.errors import ConfigError, GeneratorFault, PromptRefusedError, VerifierFault, number_in
from polymode.generate import Generated, OnText
from polymode.generate.replies import MAX_LISTED, Usage, advice_on, completion_in, word_probabilities, word_said
from polymode.generate.streamed import StreamedReply

REST_SECONDS = 2.0
"""How long a server that failed again and again is left alone: short, because users wait."""
MAX_CONCURRENCY = 256
_NEWER_LIMIT = "max_completion_tokens"


class OpenAIGenerator:
    """Samples from a model behind ``BASE_URL/chat/completions``. Safe to use from several threads.

    Args:
        base_url: address up to the version, for example ``http://localhost:8000/v1``.
        model: name of the model at the server.
        api_key_env: name of the environment variable that holds the key; none for a server without keys.
        timeout: seconds for one completion, all attempts together.
        retries: further attempts after a failure that may pass (no connection, status 429 or 5xx).
        patience: seconds for one completion with all its attempts, for a run that can wait: a server that is down
            or busy meanwhile is waited for, and ``timeout`` is that of one attempt. None: ``timeout`` is for all.
        concurrency: requests at once in one call of `generate`.
        chat: how prompts are put to the model. The template's arguments are sent as ``chat_template_kwargs``, which
            vLLM knows, stop strings as ``stop``, of which some servers take four at most.
        request_options: further fields of each request, such as ``{"top_k": 0}``; null removes a field.
        fields: the same, one by one.

    Raises:
        ConfigError: an option out of its range, or no key.
    """

    takes_seeds = tells_texts = True
    is_concurrent = True
    """Each prompt is a request of its own: `polymode serve` makes no batches, and asks from several threads."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        timeout: float = 60.0,
        retries: int = 2,
        patience: float | None = None,
        concurrency: int = 16,
        chat: Chat | None = None,
        request_options: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        self.chat = chat or Chat()
        template = {"chat_template_kwargs": dict(self.chat.template)} if self.chat.template else {}
        stop = {"stop": list(self.chat.stop)} if self.chat.stop else {}
        request_options = {**template, **stop, **(request_options or {}), **fields}
        for name, value in (("base_url", base_url), ("model", model)):
            if not isinstance(value, str) or not value.strip():
                what = "the address of the server" if name == "base_url" else "the name of the model at the server"
                raise ConfigError(f"{name} = {value!r} is not allowed: give {what}")
        number_in("timeout", timeout, 0.001, 3600)
        number_in("retries", retries, 0, 20, whole=True)
        number_in("patience", timeout if patience is None else patience, 0.001, 86_400)
        number_in("concurrency", concurrency, 1, MAX_CONCURRENCY, whole=True)
        for name in ("messages", "max_tokens", "stream", "n"):
            if name in request_options:
                raise ConfigError(f"request_options: {name!r} cannot be changed; leave it out")
        self.model, self.concurrency, self._options = model, concurrency, request_options
        self.usage = Usage()
        """Replies and tokens so far."""
        self._streams = True
        """Until the server refuses to."""
        self._limit = "max_tokens"
        """What the server calls the most tokens of a reply."""
        self._lists_probabilities: bool | None = None
        """None until the first reply tells."""
        self._chat = Endpoint(
            f"{base_url.rstrip('/')}/chat/completions",
            api_key_env=api_key_env,
            timeout=timeout,
            retries=retries,
            requests_per_minute=0.0,
            seconds_in_all=timeout if patience is None else patience,
            rest_seconds=REST_SECONDS,
            is_patient=patience is not None,
        )

    def stop(self) -> None:
        """Cut off every request under way, for good."""
        self._chat.stop()

    def generate(
        self,
        prompts: Sequence[str],
        *,
        n: int,
        max_tokens: int,
        temperature: float,
        seed: int | Sequence[int],
        on_text: OnText | None = None,
    ) -> list[list[Generated]]:
        """``n`` completions of each prompt; whether a seed is kept to is the server's affair.

        With ``on_text`` the server is asked to stream, and it is called with each completion as it grows.

        Raises:
            PromptRefusedError: the server refuses a prompt (status 400 or 422).
            GeneratorFault: no usable reply in time.
        """
        fields = {"model": self.model, "max_tokens": max_tokens, "temperature": temperature, "top_p": 1.0}
        firsts = range(seed, seed + n * len(prompts), n) if isinstance(seed, int) else seed
        bodies = [
            {
                **fields,
                "seed": first + sample,
                **self._options,
                "messages": self.chat.messages(prompt),
            }
            for prompt, first in zip(prompts, firsts, strict=True)
            for sample in range(n)
        ]
        tell = [None if on_text is None else partial(on_text, *divmod(i, n)) for i in range(len(bodies))]
        if len(bodies) == 1:
            return [[self._ask(bodies[0], tell[0])[0]]]
        with ThreadPoolExecutor(min(self.concurrency, max(1, len(bodies))), "polymode-generate") as pool:
            futures = [pool.submit(self._ask, body, own) for body, own in zip(bodies, tell, strict=True)]
            try:
                made = [future.result()[0] for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [made[start : start + n] for start in range(0, len(made), n)]

    def reply_probabilities(
        self, prompts: Sequence[str], words: Sequence[str], *, n: int, max_tokens: int, seed: int
    ) -> list[list[float]]:
        """Probability that the reply to each prompt begins, after any reasoning, with each of the words.

        From the log-probabilities of one reply where the server sends them (``top_logprobs``), else the shares of
        ``n`` replies. One request after another: whoever wants more at once calls from several threads.

        Raises:
            PromptRefusedError, GeneratorFault: as for `generate`.
        """
        out = []
        for prompt in prompts:
            body = {"max_tokens": max_tokens, "temperature": 1.0, "top_p": 1.0, "seed": seed}
            body = {"model": self.model, **body, **self._options, "messages": self.chat.messages(prompt)}
            out.append(self._listed(body, words) if self._lists_probabilities is not False else None)
            if out[-1] is None:
                replies = [self._ask({**body, **({"seed": seed + i} if "seed" in body else {})})[0] for i in range(n)]
                spoken = Counter(word_said(reply.text, words) for reply in replies)
                out[-1] = [spoken[number] / n for number in range(len(words))]
        return out

    def _listed(self, body: Mapping[str, Any], words: Sequence[str]) -> list[float] | None:
        """`reply_probabilities` of one prompt from a server that lists them; None, from then on, where it does not."""
        try:
            generated, choice = self._ask({"logprobs": True, "top_logprobs": MAX_LISTED, **body})
        except PromptRefusedError as exc:
            if "logprob" not in str(exc):
                raise
            self._lists_probabilities = False
            return None
        try:
            listed = word_probabilities(choice, generated.text, words)
        except (AttributeError, LookupError, TypeError, ValueError):
            listed = None
        if listed is None and self._lists_probabilities:  # of a reply without text
            return [0.0] * len(words)
        self._lists_probabilities = listed is not None
        return listed

    def _post(self, body: dict[str, Any], on_text: Callable[[str], None] | None) -> Any:
        """The reply to a body, in parts where its text is to be told and the server does so."""
        if on_text is not None and self._streams:
            try:
                streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
                return self._chat.post(streamed, lambda: StreamedReply(on_text))
            except Refused:  # for the prompt, or because it does not stream
                reply = self._chat.post(body)
                self._streams = False
                return reply
        return self._chat.post(body)

    def _ask(
        self, body: dict[str, Any], on_text: Callable[[str], None] | None = None
    ) -> tuple[Generated, Mapping[str, Any]]:
        """One reply, and its choice as the server sent it."""
        limit = self._limit
        fields = {limit if name == "max_tokens" else name: value for name, value in body.items() if value is not None}
        try:
            reply = self._post(fields, on_text)
        except Refused as exc:
            if limit == "max_tokens" and _NEWER_LIMIT in str(exc):  # OpenAI's models that reason take no other name
                self._limit = _NEWER_LIMIT
                return self._ask(body, on_text)
            raise PromptRefusedError(str(exc), advice_on(str(exc))) from None
        except VerifierFault as exc:
            raise GeneratorFault(str(exc), advice_on(str(exc))) from None
        try:
            generated, reason = completion_in(reply)
        except (AttributeError, LookupError, TypeError, ValueError):
            is_empty = isinstance(reply, Mapping) and reply.get("choices") == []
            what = "has no choices" if is_empty else "is not a chat completion"
            raise GeneratorFault(
                f"{self._chat.url}: the reply {what}: {str(reply)[:200]!r}",
                advice_on("no choices" if is_empty else "no chat completion"),
            ) from None
        self.usage.add(generated, reason)
        if (text := self.chat.cut(generated.text)) != generated.text:  # of a server that ignores the field stop
            generated = replace(generated, text=text, is_finished=True)
        return generated, reply["choices"][0]
