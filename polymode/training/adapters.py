"""Training on a folder of LoRA adapters, such as `polymode warmup --lora` leaves (layer L4).

With ``lora`` in the recipe the folder's adapters are trained on: the base stays what it was, so the result is adapters
of a model that exists. Without, they are merged into the base in memory and all weights are trained.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def check_targets(model: Any, lora: Mapping[str, Any]) -> None:
    """Refuse target modules that no layer of a model is; its weights need not be there.

    Raises:
        ConfigError: with the names that there are.
    """
    from peft.tuners.tuners_utils import check_target_module_exists

    config = lora_config(lora)
    if config is None or config.target_modules == "all-linear" or config.target_parameters:
        return
    names = [name for name, _ in model.named_modules() if name]
    if any(check_target_module_exists(config, name) for name in names):
        return
    linear = {name.rpartition(".")[2] for name, one in model.named_modules() if type(one).__name__ in _ADAPTED}
    raise ConfigError(
        f"lora: target_modules = {lora['target_modules']!r} matches no layer of the model: use some of "
        f"{', '.join(sorted(linear))}, or all-linear"
    )


_ADAPTED = ("Linear", "Conv1D", "Embedding")


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list | tuple | set) else value


def model_and_adapters(recipe: Recipe, source: str, dtype: Any) -> tuple[Any, Any]:
    """The model to train, and the configuration of adapters that are still to be added, if any.

    Raises:
        ConfigError: as `load_with_adapters`, or adapters on a shared embedding together with vLLM.
    """
    if recipe.lora and has_adapters(source):
        model, config = load_with_adapters(source, dtype=dtype, is_trainable=True, **recipe.model_init), None
    else:
        model, config = load_causal_lm(source, dtype=dtype, **recipe.model_init), lora_config(recipe.lora)
    if recipe.use_vllm and recipe.lora:
        _check_embeddings(model, config)
    return model, config


def _check_embeddings(model: Any, config: Any) -> None:
    """Refuse adapters on an embedding that serves as input and output: TRL merges them into it for vLLM, for both."""
    from peft.tuners.tuners_utils import check_target_module_exists

    if config is None:
        [config] = model.peft_config.values()
        model = model.get_base_model()
    if not model.config.get_text_config().tie_word_embeddings:
        return
    embeddings = [
        getattr(one, "base_layer", one) for one in (model.get_input_embeddings(), model.get_output_embeddings())
    ]
    for name, module in model.named_modules():
        last = name.removesuffix(".base_layer").rpartition(".")[2]
        is_target = config.target_modules != "all-linear" and check_target_module_exists(
            config, name.removesuffix(".base_layer")
        )
        if any(module is one for one in embeddings) and (is_target or last in (config.modules_to_save or ())):
            raise ConfigError(
                f"lora: {last} with use_vllm: true: the model's input and output embedding are one weight, of which "
                f"vLLM would get another than the trained one; leave {last} out, or set use_vllm: false"
            )
