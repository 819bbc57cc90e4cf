"""Tokenizer and weights of a causal LM, from a folder, a name, a GGUF file or LoRA adapters (layer L3).

A GGUF file (llama.cpp's format) holds both, usually quantised. transformers turns the weights back into numbers of the
dtype asked for, but marks the model as quantised and then refuses to save it; here its weights go into a fresh model of
the same configuration, which can be trained and saved like any other. LoRA adapters are merged into their base.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

from polymode.decoding.adapters import base_of_adapters, has_adapters, load_merged, tokenizer_source
from polymode.decoding.gguf_files import architecture_of, check_gguf, is_gguf, set_begin_and_end
from polymode.errors import ConfigError

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "spiece.model", "vocab.txt")
_WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")


def load_tokenizer(model: str | Path, **options: Any) -> Any:
    """The model's tokenizer; ``options`` are those of ``AutoTokenizer.from_pretrained``.

    Raises:
        ConfigError: a GGUF file that is missing, is none, or is of an architecture that transformers cannot read;
            adapters without their base.
        MissingExtraError: it is a GGUF file and the package gguf is not installed.
        OSError, ValueError: of transformers, for anything else that is no model.
    """
    from transformers import AutoTokenizer

    if has_adapters(model) and (source := tokenizer_source(model)) != str(model):
        return load_tokenizer(source, **options)
    if not is_gguf(model):
        try:
            return AutoTokenizer.from_pretrained(str(model), **options)
        except (OSError, ValueError, ImportError):
            raise
        except Exception as exc:  # its readers raise whatever a damaged file makes them stumble over
            problem = " ".join(f"{type(exc).__name__}: {exc}".split())
            raise ValueError(f"its tokenizer is damaged, {problem}") from exc
    tokenizer = _from_gguf(AutoTokenizer, Path(model), options)
    set_begin_and_end(tokenizer, Path(model))
    return tokenizer


def load_causal_lm(model: str | Path, *, dtype: Any, **options: Any) -> Any:
    """The model with weights of ``dtype``; ``options`` are those of ``AutoModelForCausalLM.from_pretrained``.

    Raises:
        ConfigError: damaged or incomplete weights, and as `load_tokenizer`.
        MissingExtraError, OSError, ValueError: as `load_tokenizer`.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    if has_adapters(model):
        return load_merged(model, dtype=dtype, **options)
    if not is_gguf(model):
        try:
            loaded, info = cast(
                tuple[Any, dict[str, Any]],
                AutoModelForCausalLM.from_pretrained(str(model), dtype=dtype, output_loading_info=True, **options),
            )
        except SafetensorError as exc:
            raise ConfigError(
                f"the weights of model = {str(model)!r} are damaged ({exc}): copy or download them again"
            ) from exc
        _check_complete(model, info["missing_keys"])
        return loaded
    loaded, info = _from_gguf(
        AutoModelForCausalLM, Path(model), {"dtype": dtype, "output_loading_info": True, **options}
    )
    _check_complete(model, info["missing_keys"])
    config = type(loaded.config).from_dict(
        {name: value for name, value in loaded.config.to_dict().items() if name != "quantization_config"}
    )
    fresh = type(loaded)._from_config(config, dtype=dtype, attn_implementation=loaded.config._attn_implementation)
    fresh.load_state_dict(loaded.state_dict())
    fresh.generation_config = loaded.generation_config
    fresh.name_or_path = fresh.config.name_or_path = str(model)
    return fresh


def _check_complete(model: str | Path, missing: Collection[str]) -> None:
    """Refuse a model of which weights are missing, in whose place transformers would put random numbers."""
    if not missing:
        return
    names = sorted(missing)
    which = f"{len(names)} of its weights are missing, {names[0]} for example"
    split = re.search(r"-(\d{5})-of-(\d{5})\.gguf$", str(model), re.IGNORECASE)
    if split is not None and int(split[2]) > 1:
        advice = f"it is part {int(split[1])} of {int(split[2])}: join them (llama-gguf-split --merge)"
    else:
        advice = "copy or download it again; a model of another kind, such as BERT, is no causal language model"
    raise ConfigError(f"model = {str(model)!r}: {which}; {advice}")


def check_vocabulary(model: str | Path, rows: int | None, tokenizer: Any) -> None:
    """Refuse a tokenizer that writes tokens which the model does not have, such as another model's.

    Tokens added behind the vocabulary are left out: some models have such tokens, which no text contains.

    Args:
        model: name or folder, for the error.
        rows: of the model's input embeddings; None when unknown.
        tokenizer: of the model.

    Raises:
        ConfigError: the vocabulary is larger than the model's.
    """
    size = getattr(tokenizer, "vocab_size", None)
    if rows is not None and size is not None and size > rows:
        raise ConfigError(
            f"model = {str(model)!r}: its tokenizer has {size:,} tokens and the model knows {rows:,}: put the "
            "tokenizer there that the model was trained with"
        )


def loading_problem(model: str | Path, exc: Exception) -> str:
    """What is wrong with a model that transformers could not load, and what to do, in one line."""
    folder, what = Path(model), ""
    if folder.is_dir() and not has_adapters(folder):
        if not (folder / "config.json").is_file():
            what = "no config.json"
        elif not any((folder / name).is_file() for name in _TOKENIZERS):
            what = "no tokenizer (tokenizer.json and tokenizer_config.json)"
        elif not any(True for pattern in _WEIGHTS for _ in folder.glob(pattern)):
            what = "no weights (model.safetensors)"
    if what:
        return (
            f"model = {str(model)!r} has {what}: copy it there from the model that it was made of, or save both model "
            "and tokenizer with save_pretrained"
        )
    return (
        f"model = {str(model)!r} cannot be loaded: give a folder with a checkpoint and tokenizer, or the name of a "
        f"model that can be fetched or is in the cache ({(str(exc).splitlines() or [type(exc).__name__])[0]})"
    )


def configuration_of(model: str | Path, **options: Any) -> Any:
    """The model's configuration; of a folder with LoRA adapters, that of the model below them.

    Raises:
        ConfigError, MissingExtraError, OSError, ValueError: as `load_tokenizer`.
    """
    from transformers import AutoConfig

    if is_gguf(model):
        return _from_gguf(AutoConfig, Path(model), options)
    if has_adapters(model):
        return configuration_of(base_of_adapters(model), **options)
    return AutoConfig.from_pretrained(str(model), **options)


def _from_gguf(auto_class: Any, file: Path, options: dict[str, Any]) -> Any:
    check_gguf(file)
    try:
        return auto_class.from_pretrained(str(file.parent), gguf_file=file.name, **options)
    except Exception as exc:  # its reader raises whatever a damaged file makes it stumble over
        problem = " ".join(str(exc).split())[:200] or type(exc).__name__
        architecture = architecture_of(file)
        if architecture is None:
            raise ConfigError(
                f"model = {str(file)!r} is damaged or was not copied to its end ({problem}): download it again"
            ) from exc
        raise ConfigError(
            f"model = {str(file)!r}, a GGUF file of the architecture {architecture}, cannot be read ({problem}): give "
            "one of an architecture that transformers reads (llama, qwen2, qwen3, gemma, phi3 and others), or the "
            "model's Hugging Face folder"
        ) from exc
