"""LoRA adapters: the base model that they belong to, and the plain model that both make together (layer L3).

A folder with adapters holds ``adapter_config.json``, ``adapter_model.safetensors`` and usually a tokenizer; the base is
named in the configuration. It may be a Hugging Face name or folder, a GGUF file, or a folder with adapters itself.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polymode.errors import ConfigError, MissingExtraError, RunExistsError

CONFIG = "adapter_config.json"


def has_adapters(model: str | Path) -> bool:
    """Whether ``model`` is a folder with adapters instead of a whole model."""
    return (Path(model) / CONFIG).is_file()


def adapter_config(folder: str | Path) -> Mapping[str, Any]:
    """What the adapters' configuration says.

    Raises:
        ConfigError: it cannot be read, is not of LoRA, or names no base.
    """
    path = Path(folder) / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path} cannot be read ({exc}): copy the adapters again") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        raise ConfigError(f"{path} has peft_type = {kind!r}: only LORA is supported")
    if not isinstance(config.get("base_model_name_or_path"), str) or not config["base_model_name_or_path"]:
        raise ConfigError(f"{path} names no base model: set base_model_name_or_path in it, or give --base to merge")
    return config


def base_of_adapters(folder: str | Path) -> str:
    """Name, folder or file of the model that the adapters were trained on.

    Raises:
        ConfigError: as `adapter_config`, or the adapters' base is, in the end, themselves.
    """
    base = adapter_config(folder)["base_model_name_or_path"]
    below, seen = base, {Path(folder).resolve()}
    while has_adapters(below):
        if Path(below).resolve() in seen:
            raise ConfigError(
                f"{Path(folder) / CONFIG} has base_model_name_or_path = {base!r}, which leads back to itself: set it "
                "to the model that the adapters were trained on"
            )
        seen.add(Path(below).resolve())
        below = adapter_config(below)["base_model_name_or_path"]
    return base


def load_with_adapters(
    folder: str | Path, *, dtype: Any, base: str | Path | None = None, is_trainable: bool = False, **options: Any
) -> Any:
    """The base model with the adapters in it, as PEFT's ``PeftModel``; base weights have ``dtype``.

    Raises:
        ConfigError: the base cannot be loaded, or is another model than the one that the adapters were trained on.
        MissingExtraError: PEFT is not installed.
    """
    try:
        from peft import PeftModel
    except ImportError:
        raise MissingExtraError("peft", "train", "LoRA adapters") from None
    from polymode.decoding.loading import load_causal_lm

    source = str(base or base_of_adapters(folder))
    model = _load_base(source, folder, load_causal_lm, dtype, options)
    n_weights = len(_weight_names(folder))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found missing adapter keys")  # counted below
        # PEFT calls transformers 5 by these old names.
        warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)
        try:
            model = PeftModel.from_pretrained(model, str(folder), is_trainable=is_trainable)
        except (ValueError, RuntimeError, KeyError, TypeError) as exc:
            raise _other_model(source, folder, " ".join(str(exc).split())[:160]) from exc
    n_used = sum("lora_" in name for name in model.state_dict())
    if n_weights and n_used != n_weights:  # PEFT leaves weights out that find no place
        raise _other_model(source, folder, f"it takes {n_used} adapter weights, the folder holds {n_weights}")
    return model


def load_merged(folder: str | Path, *, dtype: Any, base: str | Path | None = None, **options: Any) -> Any:
    """The plain model of base and adapters together, with weights of ``dtype``.

    Raises:
        ConfigError, MissingExtraError: as `load_with_adapters`, or adapters that hold no numbers.
    """
    model = load_with_adapters(folder, dtype=dtype, base=base, **options)
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except ValueError as exc:  # NaN or infinity in a weight
        raise ConfigError(f"adapters {str(folder)!r} cannot be merged: {' '.join(str(exc).split())[:160]}") from exc
    merged.requires_grad_(True)  # PEFT has frozen the base
    merged.name_or_path = merged.config.name_or_path = str(folder)
    return merged


def merge(adapters: Path, out: Path, *, base: str | None = None) -> Path:
    """Write the plain Hugging Face folder of base and adapters, in the base's dtype, with tokenizer and chat template.

    Args:
        adapters: folder with adapters, or the run folder with its ``model/``.
        out: folder to create.
        base: the base model, where it is not what the adapters' configuration names.

    Raises:
        ConfigError: no adapters there, or a base that is missing or another model.
        RunExistsError: ``out`` is there and not empty.
    """
    from polymode.decoding.loading import load_tokenizer

    folder = adapters_in(adapters)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunExistsError(f"{out} is there already: choose another --out, or remove it")
    if base is not None:
        _check_same_architecture(folder, base)
    merged = load_merged(folder, dtype="auto", base=base)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    merged.save_pretrained(part)
    load_tokenizer(folder if _has_tokenizer(folder) or base is None else base).save_pretrained(part)
    if out.exists():
        out.rmdir()
    part.rename(out)
    return out


def adapters_in(path: Path) -> Path:
    """The folder with adapters that ``path`` names, itself or as the run folder above it.

    Raises:
        ConfigError: there are none.
    """
    for folder in (path, path / "model"):
        if has_adapters(folder):
            return folder
    if not path.exists():
        raise ConfigError(f"adapters = {str(path)!r} does not exist: give a folder with {CONFIG}, or its run folder")
    whole = any((folder / "config.json").is_file() for folder in (path, path / "model"))
    why = "it is a whole model, which is used as it is" if whole else f"there is no {CONFIG}"
    raise ConfigError(f"adapters = {str(path)!r} has no adapters to merge: {why}")


def tokenizer_source(folder: str | Path) -> str:
    """Where the tokenizer of adapters is: with them, else with their base."""
    return str(folder) if _has_tokenizer(folder) else base_of_adapters(folder)


def _has_tokenizer(folder: str | Path) -> bool:
    return (Path(folder) / "tokenizer_config.json").is_file()


def _load_base(source: str, folder: str | Path, load: Any, dtype: Any, options: Mapping[str, Any]) -> Any:
    try:
        return load(source, dtype=dtype, **options)
    except ConfigError as exc:
        raise ConfigError(f"the base of adapters {str(folder)!r}: {exc}") from exc
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"the base of adapters {str(folder)!r}, {source!r}, cannot be loaded: put it there, or give its place with "
            f"polymode merge --base ({str(exc).splitlines()[0]})"
        ) from exc


def _check_same_architecture(folder: Path, base: str) -> None:
    """Refuse a base of another architecture than the one named in the configuration, as far as that one is there."""
    from polymode.decoding.loading import configuration_of

    try:
        named = configuration_of(base_of_adapters(folder))
    except (ConfigError, MissingExtraError, OSError, ValueError):
        return
    try:
        chosen = configuration_of(base)
    except (OSError, ValueError) as exc:
        raise ConfigError(f"--base {base!r} cannot be loaded: {str(exc).splitlines()[0]}") from exc
    if named.model_type != chosen.model_type:
        problem = f"it is a {chosen.model_type}, {base_of_adapters(folder)!r} is a {named.model_type}"
        raise _other_model(base, folder, problem)


def _weight_names(folder: str | Path) -> list[str]:
    """Names of the adapters' weights, without loading them; none for the older format, which does not tell."""
    path = Path(folder) / "adapter_model.safetensors"
    if path.is_file():
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                return [name for name in file.keys() if "lora_" in name]  # noqa: SIM118  # not a mapping
        except SafetensorError as exc:
            raise ConfigError(f"{path} cannot be read ({exc}): copy the adapters again") from exc
    if not path.with_suffix(".bin").is_file():
        raise ConfigError(f"{path} does not exist: copy the adapters again")
    return []


def _other_model(base: str, folder: str | Path, problem: str) -> ConfigError:
    return ConfigError(
        f"base = {base!r} is not the model that adapters {str(folder)!r} were trained on ({problem}): give that one"
    )
