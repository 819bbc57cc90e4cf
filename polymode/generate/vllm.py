"""Sampling with vLLM on a GPU; vLLM is imported only here and only when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymode.decoding.adapters import adapter_config, has_adapters, tokenizer_source
from polymode.decoding.texts import opening_of
from polymode.errors import ConfigError, MissingExtraError
from polymode.generate import Generated, chat_template_of
from polymode.generate.replies import MAX_LISTED, word_probabilities


class VLLMGenerator:
    """Samples from a causal LM with vLLM.

    Args:
        model: name or folder of the model, or a folder with LoRA adapters, which are applied to their base.
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
        self._adapters: dict[str, Any] = {}
        if has_adapters(model):
            model_options, self._adapters = _with_adapters(Path(model), options)
        else:
            model_options = {"model": str(model)}
        self.engine = LLM(**{**model_options, **options})
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
        return [
            [Generated(opening + out.text, len(out.token_ids), out.finish_reason == "stop") for out in outputs]
            for opening, outputs in self._outputs(prompts, settings)
        ]

    def reply_probabilities(
        self, prompts: Sequence[str], words: Sequence[str], *, n: int, max_tokens: int, seed: int
    ) -> list[list[float]]:
        """Probability that the reply to each prompt begins, after any reasoning, with each of the words.

        From the most likely tokens that vLLM lists beside those of one reply; ``n`` is for back-ends that list none.
        """
        from vllm import SamplingParams  # pyright: ignore[reportAttributeAccessIssue]  # absent, it is this module

        settings = SamplingParams(
            n=1,
            max_tokens=max_tokens,
            temperature=1.0,
            top_p=1.0,
            seed=seed,
            logprobs=MAX_LISTED,
            skip_special_tokens=False,
        )
        out = []
        for opening, [one] in self._outputs(prompts, settings):
            tokens = []
            for token, listed in zip(one.token_ids, one.logprobs, strict=True):
                alternatives = {
                    i: {"token": other.decoded_token or "", "logprob": other.logprob} for i, other in listed.items()
                }
                tokens.append({**alternatives[token], "top_logprobs": list(alternatives.values())})
            listed_p = word_probabilities({"logprobs": {"content": tokens}}, opening + one.text, words)
            out.append(listed_p if listed_p is not None else [0.0] * len(words))  # a reply of no token
        return out

    def _outputs(self, prompts: Sequence[str], settings: Any) -> list[tuple[str, Sequence[Any]]]:
        """What each prompt opens, and vLLM's outputs for it."""
        tokenizer = self.engine.get_tokenizer()
        if tokenizer.chat_template is None:
            results = self.engine.generate(list(prompts), settings, **self._adapters)
        else:
            chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
            results = self.engine.chat(chats, settings, chat_template_kwargs=self._chat_template, **self._adapters)
        return [(opening_of(tokenizer, result.prompt_token_ids), result.outputs) for result in results]


RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM allows for the largest rank of its adapters."""


def _with_adapters(folder: Path, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the engine, and of each request, for adapters on their base.

    Raises:
        ConfigError: adapters that vLLM cannot apply, with what to do instead.
    """
    from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]  # not in every environment

    config = adapter_config(folder)
    base = config["base_model_name_or_path"]
    rank = max(config["r"], *(config.get("rank_pattern") or {}).values(), 1)
    room = options.get("max_lora_rank", min((one for one in RANKS if one >= rank), default=rank))
    problem = (
        f"their base {base!r} holds adapters too" if has_adapters(base)
        else f"their rank {rank} is above max_lora_rank = {room}" if rank > room
        else f"their rank {rank} is above {RANKS[-1]}" if rank > RANKS[-1]
        else "they have modules_to_save" if config.get("modules_to_save")
        else "they have use_dora" if config.get("use_dora")
        else None
    )  # fmt: skip
    if problem is not None:
        raise ConfigError(
            f"vLLM cannot apply the adapters in {str(folder)!r}, {problem}: use polymode merge {folder} --out FOLDER, "
            "and that folder"
        )
    engine = {"model": base, "tokenizer": tokenizer_source(folder), "enable_lora": True, "max_lora_rank": room}
    return engine, {"lora_request": LoRARequest(folder.name or "adapters", 1, str(folder.resolve()))}
