"""Tiny untrained models of several architectures, with weights large enough that their choices differ."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 31
_SIZE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 1,
}
_MLA: dict[str, Any] = {
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 6,
}
_EXPERTS: dict[str, Any] = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
}
ARCHITECTURES: dict[str, Callable[[], PreTrainedModel]] = {
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_SIZE, head_dim=8)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_SIZE)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=4, pad_token_id=0, bos_token_id=2, eos_token_id=1
        )
    ),
    "sliding": lambda: MistralForCausalLM(MistralConfig(**_SIZE, head_dim=8, sliding_window=4)),
    "latent": lambda: DeepseekV3ForCausalLM(
        DeepseekV3Config(**{**_SIZE, "num_key_value_heads": 4}, **_MLA, **_EXPERTS, first_k_dense_replace=1)
    ),
}


@pytest.fixture(scope="session")
def model_of() -> Callable[[str], PreTrainedModel]:
    """A fresh model of an architecture, always with the same weights."""

    def build(name: str) -> PreTrainedModel:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(3)
            model = ARCHITECTURES[name]().eval()
            for weight in model.parameters():
                if weight.dim() > 1:
                    weight.mul_(20 if len(weight) == VOCABULARY else 8)
        return model

    return build
