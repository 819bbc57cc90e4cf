"""Sampling where transformers' own `generate` is needed: the same bound on memory as on the shared path."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from polymode.chat import Chat
from polymode.decoding import sampler as sampler_module
from polymode.decoding.memory import rows_that_fit
from polymode.decoding.sampler import Sampler, neutralise
from polymode.errors import ConfigError
from polymode.training.lab_model import build_tokenizer

Build = Callable[[str], PreTrainedModel]
PROMPTS = [[3, 4, 5], [6, 7], [8], [9, 10, 11, 12], [5, 4]]
NO_ROOM = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"


@pytest.fixture
def sampler(model_of: Build) -> Sampler:
    """Of a model with sliding windows, which cannot share prompts."""
    tokenizer, model = build_tokenizer([f"word{i}" for i in range(20)]), model_of("sliding")
    tokenizer.padding_side = "left"
    neutralise(model, tokenizer)
    return Sampler(model, tokenizer, Chat())


def sizes_of(sampler: Sampler, limit: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Completions of each call of `generate`, which has room for ``limit`` at once."""
    sizes: list[int] = []
    real: Any = sampler.model.generate

    def generate(**options: Any) -> Any:
        sizes.append(len(options["input_ids"]))
        if sizes[-1] > limit:
            raise RuntimeError(NO_ROOM)
        return real(**options)

    monkeypatch.setattr(sampler.model, "generate", generate)
    return sizes


def test_as_many_at_once_as_memory_allows(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    all_at_once = sampler.sample(PROMPTS, 6, 0.0)
    sizes = sizes_of(sampler, 99, monkeypatch)
    monkeypatch.setattr(sampler_module, "rows_that_fit", lambda *_: 2)
    assert sampler.sample(PROMPTS, 6, 0.0) == all_at_once
    assert sizes == [2, 2, 1]


def test_out_of_memory_halves_the_number(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    all_at_once = sampler.sample(PROMPTS, 6, 0.0)
    sizes = sizes_of(sampler, 2, monkeypatch)
    assert sampler.sample(PROMPTS, 6, 0.0) == all_at_once
    assert sizes == [5, 2, 2, 1]
    sizes_of(sampler, 0, monkeypatch)
    with pytest.raises(ConfigError, match="no room for one completion of up to 9 tokens on cpu: lower the number"):
        sampler.sample(PROMPTS, 6, 0.0)


def test_with_seeds_of_their_own_each_is_sampled_alone(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = sizes_of(sampler, 99, monkeypatch)
    made = sampler.sample(PROMPTS, 6, 1.0, seeds=[3, 1, 4, 1, 5])
    assert sizes == [1] * 5
    assert sampler.sample(PROMPTS[3:], 6, 1.0, seeds=[1, 5]) == made[3:]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"state_size": 16, "vocab_size": 100}, None),
        ({"text": {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "vocab_size": 100}}, 3),
    ],
    ids=["without attention", "nested"],
)
def test_configurations_of_other_kinds(
    config: dict[str, Any], expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = SimpleNamespace(**config.get("text", config))
    base = SimpleNamespace(get_text_config=lambda decoder: own)
    model: Any = SimpleNamespace(config=base, dtype=torch.float32, device=torch.device("cpu"))
    row = 2 * 2 * 4 * 8 * 4 * (2.5 * 10 + 20) + 16 * 100
    monkeypatch.setattr("polymode.decoding.memory.free_bytes", lambda device: int(2 * row * 3.5))
    found = rows_that_fit(model, 20, 10)
    assert found == expected if expected is not None else found > 1_000_000


def test_a_temperature_that_overflows_takes_the_most_likely_token(sampler: Sampler) -> None:
    assert sampler.sample(PROMPTS, 6, 1e-40) == sampler.sample(PROMPTS, 6, 0.0)
