"""Shared prompts in the loss against whole sequences: the same log-probabilities, entropies and gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
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
from trl.trainer.utils import add_fused_lm_head

from polymode.training.shared_forward import NO_LABEL, can_share_forward, shared_log_probs

SIZE: dict[str, Any] = {
    "vocab_size": 23,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 1,
}
STILL: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def gpt2(**options: Any) -> PreTrainedModel:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=23, n_embd=16, n_layer=2, n_head=4, pad_token_id=0, bos_token_id=2, eos_token_id=1, **options
        )
    )


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZE, head_dim=8)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZE)),
    "gpt2": lambda: gpt2(**STILL),
}


def rows(prompts: list[list[int]], completions: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Ids, mask and columns of the completions, as TRL pads them, with two columns more than the longest needs."""
    before, behind = max(map(len, prompts)), max(map(len, completions)) + 2
    ids, mask = [], []
    for p, c in zip(prompts, completions, strict=True):
        ids.append([0] * (before - len(p)) + p + c + [0] * (behind - len(c)))
        mask.append([0] * (before - len(p)) + [1] * (len(p) + len(c)) + [0] * (behind - len(c)))
    return torch.tensor(ids), torch.tensor(mask), behind


PROMPTS = [[3, 4, 5, 6, 7], [8, 9, 10], [3, 4, 5, 6, 7], [8, 9, 10], [11, 12], [3, 4, 5, 6, 7]]
COMPLETIONS = [[13, 14, 15], [16, 1], [14], [17, 18, 19, 20, 1], [13, 13], [21, 22, 1]]


@pytest.mark.parametrize("name", MODELS)
def test_values_and_gradients_are_those_of_whole_sequences(name: str) -> None:
    torch.manual_seed(0)
    model: Any = MODELS[name]().double().train()
    add_fused_lm_head(model, temperature=0.7, outputs=("log_probs", "entropy"))
    ids, mask, keep = rows(PROMPTS, COMPLETIONS)
    weight = torch.randn(len(ids), keep, dtype=torch.float64)

    labels = ids.masked_fill(mask == 0, NO_LABEL)
    labels[:, :-keep] = NO_LABEL
    whole = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    expected = whole.log_probs[:, -keep:], whole.entropy[:, -keep:]
    (expected[0] * weight).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()

    assert can_share_forward(model)
    found: Any = shared_log_probs(model, model, ids, mask, keep)
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-5)  # TRL's head counts in float32
    (found[0] * weight).sum().backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, gradients[name], rtol=1e-4, atol=1e-5)
        assert p.grad.abs().sum() > 0 or name.endswith("k_proj.bias"), name


def test_a_prompt_goes_through_the_model_once() -> None:
    model: Any = MODELS["qwen3"]()
    add_fused_lm_head(model)
    shapes: list[tuple[int, ...]] = []
    model.get_input_embeddings().register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    shared_log_probs(model, model, *rows(PROMPTS, COMPLETIONS))
    assert shapes == [(3, 4), (6, 1 + 5)]  # prompts but their last tokens; these, and the longest completion


def test_nothing_to_share() -> None:
    model: Any = MODELS["qwen3"]()
    assert shared_log_probs(model, model, *rows(PROMPTS[3:], COMPLETIONS[3:])) is None
    assert shared_log_probs(model, model, *rows([[3], [3]], COMPLETIONS[:2])) is None


@pytest.mark.parametrize(
    "model",
    [
        lambda: gpt2(),  # dropout of 0.1
        lambda: LlamaForCausalLM(LlamaConfig(**SIZE, attention_dropout=0.1)),
        lambda: LlamaForCausalLM(
            LlamaConfig(**SIZE, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
        ),
        lambda: MistralForCausalLM(MistralConfig(**SIZE, sliding_window=4)),
    ],
)
def test_what_cannot_be_shared(model: Callable[[], PreTrainedModel]) -> None:
    assert not can_share_forward(model())
