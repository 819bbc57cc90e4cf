"""Sampling with vLLM on a GPU; vLLM is imported only here and only when asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymode.chat import Chat, has_template
from polymode.decoding.adapters import adapter_config, has_adapters, tokenizer_source
from polymode.decoding.texts import opening_of
from polymode.errors import ConfigError, MissingExtraError, PromptRefusedError
from polymode.generate import Generated, chat_of, generation_fields
from polymode.generate.replies import MAX_LISTED, word_probabilities

NEUTRAL: Mapping[str, Any] = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""Fields of SamplingParams that change the distribution, without effect."""


class VLLMGenerator:
    """Samples from a causal LM with vLLM.

    Args:
        model: name or folder of the model, or a folder with LoRA adapters, which are applied to their base.
        chat: how prompts are put to the model; None means as in the training that made it, if one did.
        generation_config: further fields of vLLM's SamplingParams, such as ``{"repetition_penalty": 1.05}``, or
            ``model`` for the generation config that comes with the model; None means none, so that samples are of the
            model's own distribution. Its end tokens hold in any case.
        options: further keyword arguments of ``vllm.LLM`` (for example ``gpu_memory_utilization``).

    Raises:
        MissingExtraError: vLLM is not installed.
    """

    takes_seeds = True
    batch = 1024
    """Completions of one call. vLLM forms batches of its own, which want many; each call's completions are kept."""

    def __init__(
        self,
        model: str | Path,
        *,
        chat: Chat | None = None,
        generation_config: Mapping[str, Any] | str | None = None,
        **options: Any,
    ) -> None:
        try:
            from vllm import LLM  # pyright: ignore[reportAttributeAccessIssue]  # absent, it is this module
        except ImportError:
            raise MissingExtraError("vllm", "vllm", "generating with vLLM") from None
        self._adapters: dict[str, Any] = {}
        if has_adapters(model):
            model_options, self._adapters = _with_adapters(Path(model), options)
        else:
            model_options = {"model": str(model)}
        self._fields = generation_fields(generation_config)
        self.chat = chat_of(model) if chat is None else chat
        own = {"generation_config": "auto" if self._fields is None else "vllm"}
        self.engine = LLM(**{**model_options, **own, **options})
        self.tokenizer = self.engine.get_tokenizer()
        self.chat.check(self.tokenizer)

    @property
    def context(self) -> int | None:
        """Tokens that the model reads as vLLM has set it up; None when it does not say."""
        return getattr(getattr(self.engine, "model_config", None), "max_model_len", None)

    def encode(self, prompt: str) -> list[int]:
        """Tokens of a prompt as the model reads it."""
        return self.chat.encode(self.tokenizer, prompt)

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int | Sequence[int]
    ) -> list[list[Generated]]:
        """``n`` completions of each prompt; a chat template is applied when the tokenizer has one."""
        from vllm import SamplingParams  # pyright: ignore[reportAttributeAccessIssue]  # absent, it is this module

        # Special tokens stay in the text, because <think> may be one; vLLM leaves out the end token in any case.
        ours: dict[str, Any] = {"n": n, "max_tokens": max_tokens, "temperature": temperature}
        ours |= {"skip_special_tokens": False} | ({"stop": list(self.chat.stop)} if self.chat.stop else {})

        def settings_of(own_seed: int) -> Any:
            if self._fields is not None:
                return SamplingParams(**{**NEUTRAL, **self._fields, **ours, "seed": own_seed})
            settings = self.engine.get_default_sampling_params()  # of the model
            for name, value in {**ours, "seed": own_seed}.items():
                setattr(settings, name, value)
            return settings

        settings = settings_of(seed) if isinstance(seed, int) else [settings_of(one) for one in seed]
        return [
            [
                Generated(opening + out.text, len(out.token_ids), out.finish_reason == "stop", n_prompt)
                for out in outputs
            ]
            for opening, n_prompt, outputs in self._outputs(prompts, settings)
        ]

    def reply_probabilities(
        self, prompts: Sequence[str], words: Sequence[str], *, n: int, max_tokens: int, seed: int
    ) -> list[list[float]]:
        """Probability that the reply to each prompt begins, after any reasoning, with each of the words.

        From the most likely tokens that vLLM lists beside those of one reply; ``n`` is for back-ends that list none.

        Raises:
            PromptRefusedError: a prompt is as long as what the model reads.
        """
        from vllm import SamplingParams  # pyright: ignore[reportAttributeAccessIssue]  # absent, it is this module

        context = self.context
        longest = 0 if context is None else max((len(self.encode(prompt)) for prompt in prompts), default=0)
        if context is not None and longest >= context:
            raise PromptRefusedError(
                f"a prompt has {longest} tokens and the model reads {context}: shorten the question, or use a "
                "larger max_model_len or another model"
            )
        settings = SamplingParams(
            **NEUTRAL,
            n=1,
            max_tokens=max_tokens,
            temperature=1.0,
            seed=seed,
            logprobs=MAX_LISTED,
            skip_special_tokens=False,
        )
        out = []
        for opening, _, [one] in self._outputs(prompts, settings):
            tokens = []
            for token, listed in zip(one.token_ids, one.logprobs, strict=True):
                alternatives = {
                    i: {"token": other.decoded_token or "", "logprob": other.logprob} for i, other in listed.items()
                }
                tokens.append({**alternatives[token], "top_logprobs": list(alternatives.values())})
            listed_p = word_probabilities({"logprobs": {"content": tokens}}, opening + one.text, words)
            out.append(listed_p if listed_p is not None else [0.0] * len(words))  # a reply of no token
        return out

    def _outputs(self, prompts: Sequence[str], settings: Any) -> list[tuple[str, int, Sequence[Any]]]:
        """What each prompt opens, its tokens, and vLLM's outputs for it."""
        if has_template(self.tokenizer):
            chats = [self.chat.messages(prompt) for prompt in prompts]
            results = self.engine.chat(chats, settings, chat_template_kwargs=dict(self.chat.template), **self._adapters)
        else:
            results = self.engine.generate([self.chat.plain(prompt) for prompt in prompts], settings, **self._adapters)
        return [
            (opening_of(self.tokenizer, one.prompt_token_ids), len(one.prompt_token_ids), one.outputs)
            for one in results
        ]


RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM allows for the largest rank of its adapters."""
EMBEDDINGS = re.compile(r"\b(embed_tokens|lm_head|wte|word_embeddings|embed_in|embed_out)\b")
"""What models call their input and output embedding."""


def _with_adapters(folder: Path, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the engine, and of each request, for adapters on their base.

    Raises:
        ConfigError: adapters that vLLM cannot apply, with what to do instead.
    """
    from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]  # not in every environment

    config = adapter_config(folder)
    base = config["base_model_name_or_path"]
    rank = max(config["r"], *(config.get("rank_pattern") or {}).values(), 1)
    targets = config.get("target_modules") or ""
    embedding = EMBEDDINGS.search(targets if isinstance(targets, str) else " ".join(targets))
    room = options.get("max_lora_rank", min((one for one in RANKS if one >= rank), default=rank))
    problem = (
        f"their base {base!r} holds adapters too" if has_adapters(base)
        else f"their rank {rank} is above max_lora_rank = {room}" if rank > room
        else f"their rank {rank} is above {RANKS[-1]}" if rank > RANKS[-1]
        else "they have modules_to_save" if config.get("modules_to_save")
        else "they have use_dora" if config.get("use_dora")
        else f"they change {embedding[0]}, which input and output may share" if embedding
        else None
    )  # fmt: skip
    if problem is not None:
        raise ConfigError(
            f"vLLM cannot apply the adapters in {str(folder)!r}, {problem}: use polymode merge {folder} --out FOLDER, "
            "and that folder"
        )
    engine = {"model": base, "tokenizer": tokenizer_source(folder), "enable_lora": True, "max_lora_rank": room}
    return engine, {"lora_request": LoRARequest(folder.name or "adapters", 1, str(folder.resolve()))}
