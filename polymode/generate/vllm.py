"""Sampling with vLLM on a GPU; vLLM is imported only here and only when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymode.decoding.texts import opening_of
from polymode.errors import MissingExtraError
from polymode.generate import Generated, chat_template_of


class VLLMGenerator:
    """Samples from a causal LM with vLLM.

    Args:
        model: name or folder of the model.
        chat_template: arguments of the model's chat template; None means those of the training run that made it.
        options: further keyword arguments of ``vllm.LLM`` (for example ``gpu_memory_utilization``).

    Raises:
        MissingExtraError: vLLM is not installed.
    """

    batch = 1024
    """Completions of one call. vLLM forms batches of its own, which want many; each call's completions are kept."""

    def __init__(self, model: str | Path, *, chat_template: Mapping[str, Any] | None = None, **options: Any) -> None:
        try:
            from vllm import LLM  # pyright: ignore[reportAttributeAccessIssue]  # absent, it is this module
        except ImportError:
            raise MissingExtraError("vllm", "vllm", "generating with vLLM") from None
        self.engine = LLM(model=str(model), **options)
        self._chat_template = dict(chat_template_of(model) if chat_template is None else chat_template)

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Generated]]:
        """``n`` completions of each prompt; a chat template is applied when the tokenizer has one."""
        from vllm import SamplingParams  # pyright: ignore[reportAttributeAccessIssue]  # absent, it is this module

        # Special tokens stay in the text, because <think> may be one; vLLM leaves out the end token in any case.
        settings = SamplingParams(
            n=n, max_tokens=max_tokens, temperature=temperature, top_p=1.0, seed=seed, skip_special_tokens=False
        )
        tokenizer = self.engine.get_tokenizer()
        if tokenizer.chat_template is None:
            results = self.engine.generate(list(prompts), settings)
        else:
            chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
            results = self.engine.chat(chats, settings, chat_template_kwargs=self._chat_template)
        openings = [opening_of(tokenizer, result.prompt_token_ids) for result in results]
        return [
            [Generated(opening + out.text, len(out.token_ids), out.finish_reason == "stop") for out in result.outputs]
            for opening, result in zip(openings, results, strict=True)
        ]
