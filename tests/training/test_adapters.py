"""Training goes on from LoRA adapters, and vLLM's engine gets the recipe's options."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.generation import vllm_generation

from polymode.decoding.loading import load_causal_lm
from polymode.errors import ConfigError
from polymode.training.adapters import model_and_adapters
from polymode.training.recipe import Recipe, recipe_from
from polymode.training.rl import train
from polymode.training.vllm_engine import REFUSED, engine_options

from ..chat_models import chat_checkpoint

LORA = {"r": 4, "lora_alpha": 8}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_causal_lm(folder, dtype=torch.float32).state_dict()


def test_training_goes_on_from_adapters(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    first = train(small_recipe(lora=LORA, max_steps=2), tmp_path / "first")
    base = json.loads((first / "adapter_config.json").read_text())["base_model_name_or_path"]
    # With lora: the same adapters, moved.
    same = train(small_recipe(model=str(first), lora=LORA, max_steps=1, learning_rate=1e-9), tmp_path / "same")
    assert json.loads((same / "adapter_config.json").read_text())["base_model_name_or_path"] == base
    before, after, plain = weights(first), weights(same), weights(Path(base))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert not all(torch.allclose(plain[name], after[name], atol=1e-6) for name in plain)
    # Without: all weights of the merged model, in a plain folder.
    whole = train(small_recipe(model=str(first), max_steps=1, learning_rate=1e-9), tmp_path / "whole")
    assert (whole / "config.json").exists() and not (whole / "adapter_config.json").exists()
    after = weights(whole)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora": {"r": 8}}, "lora: r = 8 differs from the adapters in .* have 4: give the same, or merge them first"),
        ({"lora": {"r": 4, "target_modules": ["q_proj"]}}, "lora: target_modules"),
        ({"beta": 0.1}, "beta = 0.1 with model = .* holds LoRA adapters, and no lora: merge"),
    ],
)
def test_what_does_not_fit_the_adapters_is_refused(
    options: dict[str, Any], message: str, small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    config = {"peft_type": "LORA", "base_model_name_or_path": "some/base", "r": 4, "target_modules": ["k_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=message):
        train(small_recipe(model=str(tmp_path), **options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("lora", "name"),
    [
        ({"target_modules": ["q_proj", "embed_tokens"]}, "embed_tokens"),
        ({"target_modules": ".*(lm_head|q_proj)"}, "lm_head"),
        ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, "lm_head"),
    ],
)
def test_adapters_on_a_shared_embedding_are_refused_with_vllm(lora: dict[str, Any], name: str, tmp_path: Path) -> None:
    """TRL merges them into the shared weight before it sends the weights to vLLM."""
    model = str(chat_checkpoint(tmp_path / "model"))
    with pytest.raises(ConfigError, match=f"lora: {name} with use_vllm: true: .* leave {name} out"):
        model_and_adapters(Recipe(model=model, lora={"r": 2, **lora}, use_vllm=True), model, torch.float32)
    model_and_adapters(Recipe(model=model, lora={"r": 2, **lora}), model, torch.float32)
    model_and_adapters(Recipe(model=model, lora={"r": 2}, use_vllm=True), model, torch.float32)


def test_the_engine_gets_the_recipes_options(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[dict[str, Any]] = []

    def llm(**options: Any) -> None:
        built.append(options)

    monkeypatch.setattr(vllm_generation, "LLM", llm, raising=False)
    with engine_options({"enforce_eager": True, "max_num_batched_tokens": 8192}):
        vllm_generation.LLM(model="m", max_num_batched_tokens=4096)  # pyright: ignore[reportAttributeAccessIssue]
    assert built == [{"model": "m", "max_num_batched_tokens": 8192, "enforce_eager": True}]
    assert vars(vllm_generation)["LLM"] is llm


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_vllm": False, "vllm": {"enforce_eager": True}}, "without use_vllm: add use_vllm: true"),
        ({"vllm_mode": "server", "vllm": {"enforce_eager": True}}, "trl vllm-serve"),
        *(({"vllm": {name: 1}}, f"vllm: {name} is refused: .{{10}}") for name in sorted(REFUSED)),
    ],
)
def test_what_trl_relies_on_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_from({"use_vllm": True, **options})


def test_the_section_is_not_the_old_switch() -> None:
    assert recipe_from({"use_vllm": True, "vllm": {"kv_cache_dtype": "fp8"}}).vllm == {"kv_cache_dtype": "fp8"}
