"""Options by the names of version 0.1.0, and options of TRL that stand in the wrong place."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from polymode.errors import ConfigError
from polymode.training.recipe import Recipe, recipe_from
from polymode.training.recipe_file import load_recipe
from polymode.training.trl_options import OLD_NAMES, RenamedOptionWarning, renamed

OLD = """
steps: 5
group: 4
schedule: cosine
warmup_share: 0.05
max_completion_tokens: 64
loss: grpo
clip: 0.3
kl: 0.01
bf16: true
vllm: true
vllm_memory: 0.4
save_every: 7
keep_checkpoints: 2
lora_rank: 16
lora_alpha: 64
"""
NEW = Recipe(
    max_steps=5,
    num_generations=4,
    lr_scheduler_type="cosine",
    warmup_steps=0.05,
    max_completion_length=64,
    loss_type="grpo",
    epsilon=0.3,
    beta=0.01,
    dtype="bfloat16",
    use_vllm=True,
    vllm_gpu_memory_utilization=0.4,
    save_steps=7,
    save_total_limit=2,
    lora={"r": 16, "lora_alpha": 64},
)


def test_a_recipe_of_version_0_1_0_is_read_with_one_warning(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(OLD, encoding="utf-8")
    with pytest.warns(RenamedOptionWarning) as caught:
        assert load_recipe(path) == NEW
    [warning] = caught
    message = str(warning.message)
    assert "\n" not in message and message.startswith(f"recipe {path}: options have new names")
    assert all(f"{old} -> {new}" in message for old, new in OLD_NAMES.items())


def test_overrides_by_today_s_names_come_after_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("steps: 5", encoding="utf-8")
    with pytest.warns(RenamedOptionWarning, match="steps -> max_steps"):
        assert load_recipe(path, {"max_steps": 9}).max_steps == 9


def test_today_s_names_give_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe_from({"max_steps": 5, "lora": {"r": 4}})


def test_adapters_of_rank_0_were_none() -> None:
    assert renamed({"lora_rank": 0, "lora_alpha": 32}) == {}
    assert renamed({"lora_rank": 4}) == {"lora": {"r": 4, "lora_alpha": 32}}  # the default of then


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 5, "max_steps": 5}, "steps is what max_steps was called before: give max_steps alone"),
        ({"per_device_train_batch_size": 8}, "here it is called device_batch"),
        ({"model_init_kwargs": {}}, "here it is called model_init"),
        ({"lora_r": 8}, "here it is lora: {r: ...}"),
        ({"epsilon_high": 0.3}, "option 'epsilon_high' of TRL belongs under trl: write trl: {epsilon_high: ...}"),
        ({"gradient_accumulation_steps": 8}, "a step is one batch of questions_per_step x num_generations"),
        ({"learning_rat": 1}, "unknown option 'learning_rat'; did you mean learning_rate"),
    ],
)
@pytest.mark.filterwarnings("ignore::polymode.training.trl_options.RenamedOptionWarning")
def test_where_an_option_belongs(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        recipe_from(options)
    assert "\n" not in str(caught.value)


def test_the_constructor_says_today_s_name() -> None:
    with pytest.raises(ConfigError, match="option 'kl' is called beta now"):
        Recipe(kl=0.1)  # type: ignore[call-arg]
