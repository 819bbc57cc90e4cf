"""How a recipe's options relate to those of TRL, transformers and PEFT.

Where an option means exactly what one of TRL means, it has TRL's name. TRL's other options are given under ``trl:``;
some are refused, with the reason. Names of version 0.1.0 are still read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from polymode.errors import ConfigError, MissingExtraError, number_in
from polymode.rewards import METHODS
from polymode.training.vllm_engine import check_engine_options

SEGMENTED = ("dcpo", "coca")
"""Credits that score confidences themselves."""

if TYPE_CHECKING:
    from polymode.training.recipe import Recipe


class RenamedOptionWarning(FutureWarning):
    """An option is given by the name that it had in version 0.1.0."""


OLD_NAMES: Mapping[str, str] = {
    "steps": "max_steps",
    "group": "num_generations",
    "schedule": "lr_scheduler_type",
    "warmup_share": "warmup_steps",
    "max_completion_tokens": "max_completion_length",
    "loss": "loss_type",
    "clip": "epsilon",
    "kl": "beta",
    "vllm": "use_vllm",
    "vllm_memory": "vllm_gpu_memory_utilization",
    "save_every": "save_steps",
    "keep_checkpoints": "save_total_limit",
    "bf16": "dtype",
    "lora_rank": "lora: {r: ...}",
    "lora_alpha": "lora: {lora_alpha: ...}",
}
"""Options of version 0.1.0 and what they are called now. They are read until version 0.3.0."""

_ELSEWHERE: Mapping[str, str] = {
    "model_name_or_path": "here it is called model",
    "dataset_name": "here it is task: records with data: NAME",
    "reward_funcs": "the reward is chosen by method, preset and terms",
    "use_peft": "here it is lora: {r: 16}",
    "lora_r": "here it is lora: {r: ...}",
    "lora_dropout": "here it is lora: {lora_dropout: ...}",
    "lora_target_modules": "here it is lora: {target_modules: ...}",
}
"""Options of TRL's trainer and command line that have another name, or another place, in a recipe."""

_REASONS: Mapping[str, str] = {
    "output_dir": "checkpoints go to the run folder, given by --out",
    "run_name": "it is the name of the run folder, given by --out",
    "num_train_epochs": "training ends after max_steps; questions are read again when they run out",
    "gradient_accumulation_steps generation_batch_size steps_per_generation auto_find_batch_size": (
        "a step is one batch of questions_per_step x num_generations completions; device_batch says how it is divided"
    ),
    "logging_strategy logging_steps": "every step is logged, for metrics.jsonl and the warnings of a stall",
    "log_completions num_completions_to_print": "completions are always logged, to checkpoints/completions",
    "save_strategy": "checkpoints are made every save_steps steps",
    "save_only_model ignore_data_skip": "a resumed run must take the steps of one that was never stopped",
    "resume_from_checkpoint": "use --resume",
    "data_seed": "questions are drawn by seed",
    "shuffle_dataset": "questions come shuffled by seed already",
    "remove_unused_columns": "the reward reads the columns of the questions",
    "use_cpu": "a GPU is used where there is one",
    "gradient_checkpointing": "write activation_checkpointing at the top level, which holds for every version",
    "bf16": "write dtype at the top level: auto, bfloat16 or float32",
    "model_init_kwargs": "here it is called model_init, at the top level",
    "chat_template_kwargs": "here it is called chat_template, at the top level",
    "per_device_train_batch_size": "here it is called device_batch, which never changes the size of a step",
    "eval_strategy eval_on_start load_best_model_at_end": (
        "validation_steps measures on validation questions; use polymode evaluate on the trained model for the rest"
    ),
    "reward_weights": "there is one reward; its weights are coverage_weight, confidence_weight and those of terms",
    "multi_objective_aggregation": (
        "there is one reward, and normalize_then_sum would divide it by each group's deviation, which breaks "
        "calibration (arXiv 2508.11800)"
    ),
    "mask_truncated_completions": (
        "it takes completions that are cut off out of the loss; they score 0 here, so that rambling never pays"
    ),
}

RESERVED: Mapping[str, str] = {name: reason for names, reason in _REASONS.items() for name in names.split()}
"""Fields of GRPOConfig that polymode sets itself, or that would break what it promises, and what to do instead."""

_BREAKS_CALIBRATION: Mapping[str, tuple[Any, str]] = {
    "top_entropy_quantile": (1.0, "it takes tokens of low entropy out of the loss, most confidences among them"),
    "off_policy_mask_threshold": (None, "it drops completions with negative advantages only, so doubt would not pay"),
}
"""Fields that calibrated methods refuse: the harmless value, and why others are not."""

_BREAKS_TERM_CREDIT: Mapping[str, tuple[Any, str]] = {
    "importance_sampling_level": ("token", "one ratio for the sequence spreads the advantage of a token over all"),
    "use_liger_kernel": (False, "its loss takes one advantage for a completion"),
}
"""Fields that credit for single tokens refuses: the harmless value, and why others are not."""

_OF_SECTIONS: Mapping[str, Mapping[str, str]] = {
    "trl": RESERVED,
    "model_init": dict.fromkeys(
        ("dtype", "torch_dtype"),
        "trained weights stay in float32, or small updates would round away; dtype says what is computed in",
    ),
    "lora": {"task_type": "it is CAUSAL_LM"},
}
"""Fields of each section that are refused whatever else the recipe says."""


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options by today's names.

    Raises:
        ConfigError: an option under both names.
    """
    out = {name: value for name, value in values.items() if not is_old_name(name, value)}
    rank = values.get("lora_rank")
    if rank:
        out["lora"] = {"r": rank, "lora_alpha": values.get("lora_alpha", 32)}
    for old in OLD_NAMES.keys() & values.keys() - {"lora_rank", "lora_alpha"} - out.keys():
        if OLD_NAMES[old] in values:
            raise ConfigError(f"{old} is what {OLD_NAMES[old]} was called before: give {OLD_NAMES[old]} alone")
        out[OLD_NAMES[old]] = values[old]
    if isinstance(values.get("bf16"), bool):
        out["dtype"] = "bfloat16" if values["bf16"] else "float32"
    return out


def is_old_name(name: str, value: Any) -> bool:
    """Whether an option is given by its name of version 0.1.0; ``vllm``, a truth value then, is a section now."""
    return name in OLD_NAMES and not (name == "vllm" and isinstance(value, Mapping))


def warn_of_old_names(names: Iterable[str], where: str) -> None:
    """One warning for all old names among the options; `RenamedOptionWarning`."""
    old = [name for name in OLD_NAMES if name in set(names)]
    if old:
        now = ", ".join(f"{name} -> {OLD_NAMES[name]}" for name in old)
        warnings.warn(f"{where}: options have new names, rename them: {now}", RenamedOptionWarning, stacklevel=3)


def unknown_option(name: str, options: Iterable[str]) -> str:
    """What to do about an option that a recipe does not have, in one line."""
    if name in OLD_NAMES:
        return f"option {name!r} is called {OLD_NAMES[name]} now"
    if reason := _ELSEWHERE.get(name) or RESERVED.get(name):
        return f"option {name!r} is not known: {reason}"
    if name in trl_fields():
        return f"option {name!r} of TRL belongs under trl: write trl: {{{name}: ...}}"
    return f"unknown option {name!r}{suggestion(name, options)}"


def suggestion(name: str, options: Iterable[str]) -> str:
    """The options that look like ``name``, else all of them, to stand behind a message."""
    names = sorted(options)
    close = get_close_matches(name, names, n=2)
    return f"; did you mean {' or '.join(close)}?" if close else f"; known: {', '.join(names)}"


def check_sections(recipe: Recipe) -> None:
    """Refuse what ``trl``, ``model_init``, ``lora`` and ``vllm`` must not hold; needs neither TRL nor torch.

    Raises:
        ConfigError: with the field, the reason and what to write instead.
    """
    for section, reasons in _OF_SECTIONS.items():
        for name in reasons.keys() & getattr(recipe, section).keys():
            raise ConfigError(f"{section}: {name} is refused: {reasons[name]}")
    check_rank(recipe.lora)
    check_engine_options(recipe.vllm, use_vllm=recipe.use_vllm, mode=recipe.vllm_mode)
    for name, value in recipe.trl.items():
        if hasattr(recipe, name):
            raise ConfigError(
                f"trl: {name} is an option of the recipe itself: write {name}: {value!r} at the top level"
            )
        for applies, table, why in (
            (METHODS[recipe.method].has_confidence, _BREAKS_CALIBRATION, "a method with confidences"),
            (recipe.credit in ("term", *SEGMENTED), _BREAKS_TERM_CREDIT, f"credit = {recipe.credit!r}"),
        ):
            if applies and name in table and value != table[name][0]:
                reason = table[name][1]
                raise ConfigError(f"trl: {name} = {value!r} with {why} is refused: {reason}; leave it out")


@cache
def trl_fields() -> Mapping[str, Any]:
    """Types of the fields of GRPOConfig by name; none where TRL is not installed."""
    try:
        from trl import GRPOConfig
    except ImportError:
        return {}
    return {field.name: field.type for field in fields(GRPOConfig)}


def checkpointing_field(config: Any) -> str:
    """What a class of training arguments calls activation checkpointing; before transformers 5.18, gradient_."""
    names = {field.name for field in fields(config)}
    return "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"


def check_rank(lora: Mapping[str, Any]) -> None:
    """Refuse a rank that no adapter has, which PEFT would notice only when it makes one; raises ConfigError."""
    number_in("lora: r", lora.get("r", 8), 1, whole=True)


def lora_config(lora: Mapping[str, Any]) -> Any:
    """PEFT's configuration of the adapters, None for an empty mapping.

    Raises:
        ConfigError: an unknown field, or a value that is not allowed.
        MissingExtraError: PEFT is not installed.
    """
    if not lora:
        return None
    try:
        from peft import LoraConfig
    except ImportError:
        raise MissingExtraError("peft", "train", "lora") from None
    options = checked("lora", lora, get_type_hints(LoraConfig))
    check_rank(options)
    try:
        return LoraConfig(**{"target_modules": "all-linear", **options, "task_type": "CAUSAL_LM"})
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"lora: {' '.join(str(exc).split())}") from None


def checked(section: str, values: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a section, converted to the types of its fields, as far as these can be checked.

    Raises:
        ConfigError: a field that does not exist, with those that look like it, or a value of another type.
    """
    out = {}
    for name, value in values.items():
        if name not in types:
            raise ConfigError(f"{section}: unknown option {name!r}{suggestion(name, types)}")
        if isinstance(value, bool) and "bool" not in str(types[name]) and "Any" not in str(types[name]):
            raise ConfigError(f"{section}: {name} = {value!r} is a truth value, which is not allowed here")
        try:
            out[name] = TypeAdapter(types[name], config={"arbitrary_types_allowed": True}).validate_python(value)
        except PydanticUserError:  # a type that takes no other configuration, and checks itself
            out[name] = value
        except ValidationError as exc:
            raise ConfigError(f"{section}: {name} = {value!r} {describe(exc.errors()[0])}") from None
    return out


def describe(error: Mapping[str, Any]) -> str:
    """What pydantic found wrong with a value, to stand behind "NAME = VALUE"."""
    return error["msg"].removeprefix("Value error, ").replace("Input should", "must")
