"""Whether training by a recipe could start, as far as that can be known without loading any weights (layer L4)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from polymode.decoding.adapters import base_of_adapters, has_adapters
from polymode.decoding.gguf_files import is_gguf
from polymode.errors import ConfigError
from polymode.tasks import TASKS
from polymode.training.recipe import Recipe
from polymode.training.shapes import config_of


def check_recipe(recipe: Recipe, prompt_tokens: int) -> None:
    """Refuse a recipe whose training could not start.

    What belongs to the model is checked where its configuration is on this machine.

    Args:
        recipe: the options.
        prompt_tokens: of the longest prompt.

    Raises:
        ConfigError: an unknown task or option of it, a completion with its prompt that is longer than what the model
            reads, a GGUF file that transformers cannot read, or adapters on layers that the model does not have.
    """
    # The data may be on another machine, that which trains.
    data = {"data": recipe.data} if "data" in TASKS.options(recipe.task) else {}
    TASKS.check(recipe.task, {**data, **recipe.task_options})
    if recipe.model is None:
        return
    found = config_of(recipe.model)
    if found is None:
        return
    config, source = found
    context = (config.get("text_config") or config).get("max_position_embeddings")
    if isinstance(context, int) and prompt_tokens + recipe.max_completion_length > context:
        raise ConfigError(
            f"max_completion_length = {recipe.max_completion_length} after a prompt of {prompt_tokens} tokens "
            f"(--prompt-tokens), and the model reads {context} ({source}): lower max_completion_length, give the "
            "longest prompt of your task as --prompt-tokens, or use a model with a longer context"
        )
    if find_spec("transformers") is None or find_spec("torch") is None:
        return
    below = recipe.model
    while has_adapters(below):
        below = base_of_adapters(below)
    if is_gguf(below):
        from polymode.decoding.loading import configuration_of

        configuration_of(below)
    if "target_modules" in recipe.lora and (is_gguf(below) or Path(below).is_dir()):
        from polymode.decoding.precision import without_weights
        from polymode.training.adapters import check_targets

        check_targets(without_weights(below), recipe.lora)
