"""What `sample_tokens` can do, and whether a model and a generation config ask for no more than that."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import DynamicCache, GenerationConfig
from transformers.cache_utils import DynamicLayer

_READ = {"max_new_tokens", "min_new_tokens", "do_sample", "temperature", "top_k", "eos_token_id", "pad_token_id"}
_WITHOUT_EFFECT = {"max_length", "bos_token_id", "use_cache", "disable_compile", "transformers_version"}
"""With `max_new_tokens` given, on prompts that are not empty, and in eager mode."""
_ONE_IS_OFF = {"top_p", "typical_p", "repetition_penalty", "encoder_repetition_penalty", "length_penalty"}
_ONE_IS_OFF |= {"num_beams", "num_beam_groups", "num_return_sequences"}


@dataclass(frozen=True, slots=True)
class Settings:
    """How completions are sampled."""

    max_tokens: int
    """Completions are cut off at this length."""
    temperature: float
    """0 takes the most likely token each time."""
    ends: tuple[int, ...]
    """Tokens that end a completion."""
    min_tokens: int = 0
    """No completion ends before it has so many tokens."""


def settings_of(model: Any, config: GenerationConfig) -> Settings | None:
    """What `generate` would do with ``model`` and ``config``, or None where `sample_tokens` cannot do the same."""
    values = {**_set(base_of(model).generation_config), **_set(config)}
    extra = values.keys() - _READ - _WITHOUT_EFFECT
    # Off is None, False, 0 or empty; for some it is 1.
    if any(values[name] and not (name in _ONE_IS_OFF and values[name] == 1) for name in extra):
        return None
    is_sampled = bool(values.get("do_sample"))
    if (is_sampled and values.get("top_k") != 0) or not values.get("max_new_tokens") or not can_share(model):
        return None
    ends = values.get("eos_token_id")
    return Settings(
        max_tokens=values["max_new_tokens"],
        temperature=float(values.get("temperature", 1.0)) if is_sampled else 0.0,
        ends=() if ends is None else tuple(ends) if isinstance(ends, list) else (ends,),
        min_tokens=values.get("min_new_tokens", 0),
    )


def _set(config: GenerationConfig) -> Mapping[str, Any]:
    return {k: v for k, v in config.to_dict().items() if v is not None and not k.startswith("_")}


def can_share(model: Any) -> bool:
    """Whether every layer attends to all tokens before it by transformers' standard function and cache.

    Not so with sliding windows, linear attention, encoders, prompt-tuning adapters, or attention of a model's own.
    """
    base = base_of(model)
    config = base.config
    if config.is_encoder_decoder or config.get_text_config() is not config:
        return False
    if not getattr(base, "_supports_attention_backend", False) or config._attn_implementation != "sdpa":
        return False
    if any(adapter.is_prompt_learning for adapter in getattr(model, "peft_config", {}).values()):
        return False
    if not {"position_ids", "past_key_values", "logits_to_keep"} <= inspect.signature(base.forward).parameters.keys():
        return False
    layers = DynamicCache(config=config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def base_of(model: Any) -> Any:
    """The transformers model in a PEFT model, or ``model`` itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
