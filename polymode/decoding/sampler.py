"""Completions of tokenised prompts from a loaded model: end tokens, stop strings, and no other hidden settings (L3).

Models come with a generation config, meant for chatting: Qwen2.5's has a repetition penalty and cuts off unlikely
tokens. That changes the distribution that confidences are about, so nothing of it applies unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from polymode.chat import Chat
from polymode.decoding.memory import rows_that_fit, sample_in_chunks
from polymode.decoding.sampling import Watch, complete
from polymode.decoding.settings import base_of
from polymode.decoding.stops import StopStrings
from polymode.decoding.texts import CompletionDecoder, all_ends_of
from polymode.errors import ConfigError

_TOKENS = ("bos_token_id", "pad_token_id", "decoder_start_token_id")
COLDEST = 1e-5
"""Temperatures below it are 0, as in vLLM: logits that are divided by less overflow."""
_OURS = ("max_new_tokens", "max_length", "eos_token_id", "pad_token_id", "do_sample", "temperature")
"""Set by whoever samples."""
_SAMPLING = ("top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
"""They mean nothing where the most likely token is taken."""
_SHARES = ("top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
_FACTORS = ("repetition_penalty", "encoder_repetition_penalty")
_COUNTS = ("top_k", "min_new_tokens", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size")


def neutralise(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Leave nothing in the model's generation config but its tokens, with every end token, and return what was there.

    What is returned are the fields that change the distribution, such as ``repetition_penalty`` and ``top_p``.
    """
    base = base_of(model)
    own, ends = base.generation_config, all_ends_of(model, tokenizer)
    tokens = {name: getattr(own, name, None) for name in _TOKENS}
    base.generation_config = GenerationConfig(**tokens, eos_token_id=list(ends) or None)
    values = own.to_diff_dict() if hasattr(own, "to_diff_dict") else {}
    dropped = {"transformers_version", *_TOKENS, *_OURS}
    return {name: value for name, value in values.items() if name not in dropped and value is not None}


class Sampler:
    """Samples from a model whose generation config is neutral (`neutralise`).

    Args:
        model: the model, on its device.
        tokenizer: its tokenizer, padding on the left.
        chat: has the stop strings.
        fields: further fields of transformers' GenerationConfig, such as ``repetition_penalty``; most of them take
            transformers' own, slower path.

    Raises:
        ConfigError: a field that does not exist, or that is set otherwise.
    """

    def __init__(self, model: Any, tokenizer: Any, chat: Chat, fields: Mapping[str, Any] | None = None) -> None:
        self.model, self.tokenizer, self._fields = model, tokenizer, dict(fields or {})
        self.ends = frozenset(all_ends_of(model, tokenizer))
        """Tokens that end a completion."""
        self.text_of = CompletionDecoder(tokenizer, self.ends, chat.cut)
        """The text of a completion's tokens, without end tokens and stop string."""
        self.stops = StopStrings(CompletionDecoder(tokenizer, self.ends), chat.stop) if chat.stop else None
        """Finds stop strings; None without any."""
        check_fields(self._fields)

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        max_tokens: int,
        temperature: float,
        seeds: Sequence[int] | None = None,
        watch: Watch | None = None,
    ) -> list[list[int]]:
        """One completion of each prompt up to its first end token or stop string, which belongs to it.

        Args:
            prompts: tokens of each prompt.
            max_tokens: longest completion.
            temperature: of the sampling; below `COLDEST`, and with 0, the most likely token is taken.
            seeds: of each completion, which makes it independent of the others; by default torch's global generator
                decides. Where only transformers' own `generate` will do, completions with seeds are sampled one by one.
            watch: called as completions grow, except where only transformers' own `generate` will do.
        """
        temperature = temperature if temperature >= COLDEST else 0.0
        fields: dict[str, Any] = {"temperature": temperature, "top_k": 0, "top_p": 1.0, **self._fields}
        if temperature == 0:
            fields = {name: value for name, value in self._fields.items() if name not in _SAMPLING}
        settings = GenerationConfig(
            max_new_tokens=max_tokens,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=sorted(self.ends) or None,
            do_sample=temperature > 0,
            **fields,
        )
        tokens = complete(self.model, prompts, settings, self.stops, seeds, watch)
        if tokens is None:
            longest = max(map(len, prompts), default=0)
            # Completions with seeds of their own are sampled one by one, since `generate` knows one seed for all.
            at_once = rows_that_fit(self.model, longest, max_tokens) if seeds is None else 1

            def generate(rows: Sequence[int]) -> list[list[int]]:
                if seeds is not None:
                    torch.manual_seed(seeds[rows[0]])
                return self._generate([prompts[i] for i in rows], settings)

            tokens_N = [len(ids) + max_tokens for ids in prompts]
            tokens = sample_in_chunks(self.model, range(len(prompts)), tokens_N, at_once, generate)
        # The first end token or stop string counts, and nothing behind it does.
        lengths = [next((i + 1 for i, t in enumerate(row) if t in self.ends), len(row)) for row in tokens]
        rows = [row[:length] for row, length in zip(tokens, lengths, strict=True)]
        return rows if self.stops is None else [self.stops.until_stop(row) for row in rows]

    def _generate(self, prompts: Sequence[Sequence[int]], settings: GenerationConfig) -> list[list[int]]:
        """What transformers' own `generate` adds to the prompts."""
        batch = self.tokenizer.pad({"input_ids": [list(ids) for ids in prompts]}, return_tensors="pt")
        width = batch["input_ids"].shape[1]
        extra = {"stopping_criteria": [self.stops.criteria(width)]} if self.stops else {}
        tokens = self.model.generate(**batch.to(self.model.device), generation_config=settings, **extra)
        return tokens[:, width:].tolist()

    def is_finished(self, tokens: Sequence[int]) -> bool:
        """Whether a completion ended by itself, not at its length limit."""
        return bool(tokens) and (tokens[-1] in self.ends or (self.stops is not None and self.stops.are_in(tokens)))


def check_fields(fields: Mapping[str, Any]) -> None:
    """Refuse fields of a generation config that do not exist, are set by options of their own, or have no such value.

    The values of fields that are rarely used are left to transformers.

    Raises:
        ConfigError: names the field.
    """
    known = GenerationConfig().to_dict()
    for name, value in fields.items():
        if name in _OURS:
            raise ConfigError(f"generation_config: {name!r} has an option of its own; leave it out")
        if name not in known:
            raise ConfigError(
                f"generation_config: {name!r} is not known: use a field of transformers' GenerationConfig"
            )
        if value is not None and (allowed := _not_allowed(name, value)):
            raise ConfigError(f"generation_config: {name} = {value!r} is not allowed: give {allowed}")


def _not_allowed(name: str, value: Any) -> str:
    """What a field may be where ``value`` is not, in words; nothing where it is."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _SHARES and not (is_number and 0 <= value <= 1):
        return "a number from 0 to 1"
    if name in _FACTORS and not (is_number and 0 < value < float("inf")):
        return "a number above 0"
    if name in _COUNTS and not (is_number and isinstance(value, int) and value >= 0):
        return "a whole number from 0"
    return ""
