"""What is done by `sample_tokens` and what is left to transformers' `generate`."""

from collections.abc import Callable
from typing import Any

import pytest
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import GenerationConfig, PreTrainedModel

from polymode.decoding.settings import Settings, can_share, settings_of

SAMPLED: dict[str, Any] = {"max_new_tokens": 8, "do_sample": True, "top_k": 0, "pad_token_id": 0}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (SAMPLED, Settings(8, 1.0, (1,))),
        (
            {**SAMPLED, "temperature": 0.5, "top_p": 1.0, "repetition_penalty": 1.0, "num_beams": 1},
            Settings(8, 0.5, (1,)),
        ),
        ({**SAMPLED, "eos_token_id": [4, 5], "min_new_tokens": 3}, Settings(8, 1.0, (4, 5), 3)),
        ({"max_new_tokens": 8, "do_sample": False}, Settings(8, 0.0, (1,))),
        ({"max_new_tokens": 8, "do_sample": False, "temperature": 0.7, "top_k": 20}, Settings(8, 0.0, (1,))),
        ({**SAMPLED, "top_k": None}, None),  # transformers' default is 50
        ({**SAMPLED, "top_k": 20}, None),
        ({**SAMPLED, "top_p": 0.9}, None),
        ({**SAMPLED, "min_p": 0.1}, None),
        ({**SAMPLED, "repetition_penalty": 1.1}, None),
        ({**SAMPLED, "num_beams": 2}, None),
        ({**SAMPLED, "stop_strings": ["x"]}, None),
        ({**SAMPLED, "cache_implementation": "static"}, None),
        ({**SAMPLED, "suppress_tokens": [3]}, None),
        ({**SAMPLED, "max_new_tokens": None, "max_length": 20}, None),
    ],
)
def test_settings(asked: dict[str, Any], expected: Settings | None, model_of: Callable[[str], PreTrainedModel]) -> None:
    assert settings_of(model_of("qwen3"), GenerationConfig(**asked)) == expected


def test_the_models_own_generation_config_counts(model_of: Callable[[str], PreTrainedModel]) -> None:
    model = model_of("qwen3")
    assert model.generation_config is not None
    model.generation_config.repetition_penalty = 1.05
    assert settings_of(model, GenerationConfig(**SAMPLED)) is None
    assert settings_of(model, GenerationConfig(**SAMPLED, repetition_penalty=1.0)) is not None


@pytest.mark.parametrize(
    ("name", "expected"), [("qwen3", True), ("llama", True), ("gpt2", True), ("latent", True), ("sliding", False)]
)
def test_models(name: str, expected: bool, model_of: Callable[[str], PreTrainedModel]) -> None:
    assert can_share(model_of(name)) == expected


def test_other_attention_than_sdpa_is_left_alone(model_of: Callable[[str], PreTrainedModel]) -> None:
    model = model_of("qwen3")
    model.set_attn_implementation("eager")
    assert not can_share(model)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # PEFT uses the old name
def test_adapters(model_of: Callable[[str], PreTrainedModel]) -> None:
    lora = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    assert can_share(get_peft_model(model_of("qwen3"), lora))
    assert not can_share(
        get_peft_model(model_of("qwen3"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    )
