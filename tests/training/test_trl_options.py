"""What a recipe hands through to TRL, transformers and PEFT: what arrives, and what is refused with its reason."""

from pathlib import Path
from typing import Any

import pytest
from trl import GRPOConfig

from polymode.errors import ConfigError
from polymode.training.recipe import Recipe
from polymode.training.trainers import trl_config
from polymode.training.trl_options import RESERVED, checkpointing_field, lora_config, trl_fields


def test_what_is_handed_through_arrives_as_its_type(tmp_path: Path) -> None:
    recipe = Recipe(
        trl={"epsilon_high": 0.28, "num_iterations": 2, "adam_beta2": "0.99", "lr_scheduler_kwargs": {"num_cycles": 2}},
        chat_template={"enable_thinking": False},
        lr_scheduler_type="cosine_with_restarts",
    )
    config = trl_config(recipe, tmp_path)
    assert (config.epsilon, config.epsilon_high, config.num_iterations, config.adam_beta2) == (0.2, 0.28, 2, 0.99)
    assert config.chat_template_kwargs == {"enable_thinking": False}
    assert config.lr_scheduler_kwargs == {"num_cycles": 2}


def test_what_polymode_sets_is_what_it_sets(tmp_path: Path) -> None:
    """Every reserved field exists in the installed TRL, and no field that is free is overwritten in silence."""
    assert set(RESERVED) <= trl_fields().keys()
    no_checkpointing: dict[str, Any] = {checkpointing_field(GRPOConfig): False}
    plain = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, **no_checkpointing)
    made = trl_config(Recipe(dtype="bfloat16"), tmp_path)  # as TRL does by default
    differing = {name for name in trl_fields() if getattr(plain, name) != getattr(made, name)}
    own = {field for field in Recipe.__dataclass_fields__} | set(RESERVED)
    assert differing - own <= {"generation_batch_size", "steps_per_generation", "logging_dir"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trl": {"beta": 0.1}}, "trl: beta is an option of the recipe itself: write beta: 0.1 at the top level"),
        ({"trl": {"scale_rewards": "group"}}, "trl: scale_rewards is an option of the recipe itself"),
        ({"trl": {"output_dir": "x"}}, "trl: output_dir is refused: checkpoints go to the run folder"),
        ({"trl": {"save_only_model": True}}, "a resumed run must take the steps of one that was never stopped"),
        ({"trl": {"multi_objective_aggregation": "normalize_then_sum"}}, "which breaks calibration .arXiv 2508.11800"),
        ({"trl": {"mask_truncated_completions": True}}, "they score 0 here, so that rambling never pays"),
        ({"trl": {"top_entropy_quantile": 0.2}}, "with a method with confidences is refused: .*; leave it out"),
        ({"trl": {"importance_sampling_level": "sequence"}, "credit": "term"}, "spreads the advantage of a token over"),
        ({"trl": {"use_liger_kernel": True}, "credit": "term"}, "its loss takes one advantage for a completion"),
        ({"loss_type": "luspo", "credit": "term"}, "use loss_type = 'dapo', or credit = 'sequence'"),
        ({"lora": {"task_type": "SEQ_CLS"}}, "lora: task_type is refused: it is CAUSAL_LM"),
        ({"model_init": {"dtype": "bfloat16"}}, "model_init: dtype is refused: trained weights stay in float32"),
    ],
)
def test_what_is_refused_when_the_recipe_is_read(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Recipe(**options)
    assert "\n" not in str(caught.value)


def test_what_breaks_calibration_or_credit_alone_is_let_through_elsewhere() -> None:
    assert Recipe(method="multi-rlvr", trl={"top_entropy_quantile": 0.2}).trl
    assert Recipe(trl={"importance_sampling_level": "sequence"}).trl
    assert Recipe(credit="term", trl={"importance_sampling_level": "token"}).trl


@pytest.mark.parametrize(
    ("trl", "message"),
    [
        ({"epsilon_hgih": 0.3}, "trl: unknown option 'epsilon_hgih'; did you mean epsilon_high"),
        ({"num_iterations": "two"}, "trl: num_iterations = 'two' must be a valid integer"),
        ({"num_iterations": True}, "trl: num_iterations = True is a truth value, which is not allowed here"),
        ({"log_unique_prompts": 3}, "trl: log_unique_prompts = 3 must be a valid boolean"),
        ({"optim": "adam_of_mine"}, "TRL cannot use the recipe: .*adam_of_mine"),
        ({"lr_scheduler_kwargs": 3}, "trl: lr_scheduler_kwargs = 3 must be a valid dictionary"),
    ],
)
def test_what_trl_does_not_take_is_refused_before_a_model_is_loaded(
    trl: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        trl_config(Recipe(trl=trl), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_schedule_that_transformers_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="step is not a valid SchedulerType, please select one of"):
        trl_config(Recipe(lr_scheduler_type="step"), tmp_path)


def test_adapters() -> None:
    assert lora_config({}) is None
    config = lora_config({"r": 4, "lora_alpha": 8, "lora_dropout": 0.1})
    assert (config.r, config.lora_alpha, config.lora_dropout, config.target_modules) == (4, 8, 0.1, "all-linear")
    assert lora_config({"target_modules": ["q_proj"]}).target_modules == {"q_proj"}
    for options, message in (
        ({"rank": 4}, "lora: unknown option 'rank'"),
        ({"r": "four"}, "lora: r = 'four' must be a valid integer"),
    ):
        with pytest.raises(ConfigError, match=message):
            lora_config(options)
