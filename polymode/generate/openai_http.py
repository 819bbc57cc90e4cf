"""Completions from any OpenAI-compatible server (vLLM, llama.cpp, `transformers serve`); extra ``http``.

The server applies the model's chat template, as `TransformersGenerator` does. Each completion is a request of its own,
because not every server knows the field ``n``.

Servers have sampling defaults of their own: vLLM and llama.cpp cut off unlikely tokens (``top_k``, ``min_p``) unless a
request says otherwise, and not every server lets it. What a policy was calibrated with must be asked for, see
``request_options``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from polymode.chat import Chat
from polymode.endpoint import Endpoint, Refused
from polymode.errors import ConfigError, GeneratorFault, PromptRefusedError, VerifierFault
from polymode.generate import Generated

REST_SECONDS = 2.0
"""How long a server that failed again and again is left alone: short, because users wait."""
MAX_CONCURRENCY = 256


class OpenAIGenerator:
    """Samples from a model behind ``BASE_URL/chat/completions``. Safe to use from several threads.

    Args:
        base_url: address up to the version, for example ``http://localhost:8000/v1``.
        model: name of the model at the server.
        api_key_env: name of the environment variable that holds the key; none for a server without keys.
        timeout: seconds for one completion, all attempts together.
        retries: further attempts after a failure that may pass (no connection, status 429 or 5xx).
        concurrency: requests at once in one call of `generate`.
        chat: how prompts are put to the model. The template's arguments are sent as ``chat_template_kwargs``, which
            vLLM knows, stop strings as ``stop``, of which some servers take four at most.
        request_options: further fields of each request, such as ``{"top_k": 0}``; null removes a field.
        fields: the same, one by one.

    Raises:
        ConfigError: an option out of its range, or no key.
    """

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
        concurrency: int = 16,
        chat: Chat | None = None,
        request_options: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        self.chat = chat or Chat()
        template = {"chat_template_kwargs": dict(self.chat.template)} if self.chat.template else {}
        stop = {"stop": list(self.chat.stop)} if self.chat.stop else {}
        request_options = {**template, **stop, **(request_options or {}), **fields}
        if not model.strip():
            raise ConfigError(f"model = {model!r} is not allowed: give the name of the model at the server")
        for name, value, low, high in (
            ("timeout", timeout, 0.001, 3600),
            ("retries", retries, 0, 20),
            ("concurrency", concurrency, 1, MAX_CONCURRENCY),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{name} = {value!r} is not allowed: give a number from {low:g} to {high:g}")
        for name in ("messages", "max_tokens", "stream", "n"):
            if name in request_options:
                raise ConfigError(f"request_options: {name!r} cannot be changed; leave it out")
        self.model, self.concurrency, self._options = model, concurrency, request_options
        self._chat = Endpoint(
            f"{base_url.rstrip('/')}/chat/completions",
            api_key_env=api_key_env,
            timeout=timeout,
            retries=retries,
            requests_per_minute=0.0,
            seconds_in_all=timeout,
            rest_seconds=REST_SECONDS,
        )

    def stop(self) -> None:
        """Cut off every request under way, for good."""
        self._chat.stop()

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Generated]]:
        """``n`` completions of each prompt; whether a seed is kept to is the server's affair.

        Raises:
            PromptRefusedError: the server refuses a prompt (status 400 or 422).
            GeneratorFault: no usable reply in time.
        """
        fields = {"model": self.model, "max_tokens": max_tokens, "temperature": temperature, "top_p": 1.0}
        bodies = [
            {
                **fields,
                "seed": seed + number * n + sample,
                **self._options,
                "messages": self.chat.messages(prompt),
            }
            for number, prompt in enumerate(prompts)
            for sample in range(n)
        ]
        if len(bodies) == 1:
            return [[self._ask(bodies[0])]]
        with ThreadPoolExecutor(min(self.concurrency, max(1, len(bodies))), "polymode-generate") as pool:
            futures = [pool.submit(self._ask, body) for body in bodies]
            try:
                made = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [made[start : start + n] for start in range(0, len(made), n)]

    def _ask(self, body: dict[str, Any]) -> Generated:
        try:
            reply = self._chat.post({name: value for name, value in body.items() if value is not None})
        except Refused as exc:
            raise PromptRefusedError(str(exc)) from None
        except VerifierFault as exc:
            raise GeneratorFault(str(exc)) from None
        try:
            return _completion_in(reply)
        except (AttributeError, LookupError, TypeError, ValueError):
            raise GeneratorFault(f"{self._chat.url}: the reply is not a chat completion: {str(reply)[:80]!r}") from None


def _completion_in(reply: Any) -> Generated:
    """The first choice; reasoning that the server cut out of the text is put back in front of it.

    It is left open where generation was cut off inside it.
    """
    choice = reply["choices"][0]
    message = choice["message"]
    text = message.get("content") or ""
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    if not isinstance(text, str) or not isinstance(thought, str):
        raise ValueError
    usage, is_finished = reply.get("usage") or {}, choice.get("finish_reason") == "stop"
    if thought:
        text = f"<think>{thought}</think>{text}" if is_finished or text.strip() else f"<think>{thought}"
    return Generated(
        text=text,
        n_tokens=_count(usage.get("completion_tokens")),
        is_finished=is_finished,
        n_prompt_tokens=_count(usage.get("prompt_tokens")),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
