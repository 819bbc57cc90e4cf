"""Tokenizer and weights of a causal LM, from a folder, a name, a GGUF file or LoRA adapters (layer L3).

A GGUF file (llama.cpp's format) holds both, usually quantised. transformers turns the weights back into numbers of the
dtype asked for, but marks the model as quantised and then refuses to save it; here its weights go into a fresh model of
the same configuration, which can be trained and saved like any other. LoRA adapters are merged into their base.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from polymode.decoding.adapters import base_of_adapters, has_adapters, load_merged, tokenizer_source
from polymode.errors import ConfigError, MissingExtraError

_MAGIC = b"GGUF"


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
        return AutoTokenizer.from_pretrained(str(model), **options)
    tokenizer = _from_gguf(AutoTokenizer, Path(model), options)
    _set_begin_and_end(tokenizer, Path(model))
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


def is_gguf(model: str | Path) -> bool:
    """Whether ``model`` names a GGUF file, by its ending."""
    return str(model).lower().endswith(".gguf")


def _set_begin_and_end(tokenizer: Any, file: Path) -> None:
    """The tokens that the file names; transformers up to 5.17 exchanges the two for models like Llama."""
    from gguf import GGUFReader

    fields = GGUFReader(file).fields
    for name in ("bos_token", "eos_token"):
        field = fields.get(f"tokenizer.ggml.{name}_id")
        if field is not None:
            setattr(tokenizer, name, tokenizer.convert_ids_to_tokens(int(field.contents())))


def _from_gguf(auto_class: Any, file: Path, options: dict[str, Any]) -> Any:
    if not file.is_file():
        raise ConfigError(f"model = {str(file)!r} does not exist: give the path of a GGUF file on this machine")
    with file.open("rb") as handle:
        if handle.read(len(_MAGIC)) != _MAGIC:
            raise ConfigError(f"model = {str(file)!r} is no GGUF file (it does not start with GGUF): download it again")
    if find_spec("gguf") is None:
        raise MissingExtraError("gguf", "gguf", "reading a GGUF file")
    try:
        return auto_class.from_pretrained(str(file.parent), gguf_file=file.name, **options)
    except Exception as exc:  # its reader raises whatever a damaged file makes it stumble over
        problem = " ".join(str(exc).split())[:200] or type(exc).__name__
        architecture = _architecture(file)
        if architecture is None:
            raise ConfigError(
                f"model = {str(file)!r} is damaged or was not copied to its end ({problem}): download it again"
            ) from exc
        raise ConfigError(
            f"model = {str(file)!r}, a GGUF file of the architecture {architecture}, cannot be read ({problem}): give "
            "one of an architecture that transformers reads (llama, qwen2, qwen3, gemma, phi3 and others), or the "
            "model's Hugging Face folder"
        ) from exc


def _architecture(file: Path) -> str | None:
    """What a GGUF file calls its architecture; None where it does not hold what its table of contents lists."""
    from gguf import GGUFReader

    try:
        field = GGUFReader(file).fields.get("general.architecture")
        return "?" if field is None else str(field.contents())
    except Exception:  # whatever a damaged file makes the reader stumble over
        return None
