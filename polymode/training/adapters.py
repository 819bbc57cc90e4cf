"""Training on a folder of LoRA adapters, such as `polymode warmup --lora` leaves (layer L4).

With ``lora`` in the recipe the folder's adapters are trained on: the base stays what it was, so the result is adapters
of a model that exists. Without, they are merged into the base in memory and all weights are trained.
"""

from __future__ import annotations

from typing import Any

from polymode.decoding.adapters import adapter_config, has_adapters, load_with_adapters
from polymode.decoding.loading import load_causal_lm
from polymode.errors import ConfigError
from polymode.training.recipe import Recipe
from polymode.training.trl_options import lora_config


def check_adapters(recipe: Recipe) -> None:
    """Refuse options that do not fit the adapters that ``recipe.model`` holds; loads no weights.

    Raises:
        ConfigError: with what to write instead.
    """
    folder = recipe.model
    if folder is None or not has_adapters(folder):
        return
    config = adapter_config(folder)
    merge = f"merge them first: polymode merge {folder} --out FOLDER"
    # TRL reads reference model and vLLM's model anew, by name.
    named = [f"{name} = {getattr(recipe, name)!r}" for name in ("beta", "use_vllm") if getattr(recipe, name)]
    is_nested = has_adapters(config["base_model_name_or_path"])
    if named and (not recipe.lora or is_nested):
        why = "adapters on top of adapters" if is_nested else "LoRA adapters, and no lora"
        raise ConfigError(f"{named[0]} with model = {folder!r}, which holds {why}: {merge}")
    for name, value in recipe.lora.items():
        if name == "target_modules" and value == "all-linear":  # PEFT writes down which these were
            continue
        present = config.get(name)
        if _plain(value) != _plain(present):
            raise ConfigError(
                f"lora: {name} = {value!r} differs from the adapters in {folder!r}, which are trained on and have "
                f"{present!r}: give the same, or {merge}"
            )


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list | tuple | set) else value


def model_and_adapters(recipe: Recipe, source: str, dtype: Any) -> tuple[Any, Any]:
    """The model to train, and the configuration of adapters that are still to be added, if any."""
    if recipe.lora and has_adapters(source):
        return load_with_adapters(source, dtype=dtype, is_trainable=True, **recipe.model_init), None
    return load_causal_lm(source, dtype=dtype, **recipe.model_init), lora_config(recipe.lora)
