"""LoRA adapters: the base model that they belong to, and the plain model that both make together (layer L3).

A folder with adapters holds ``adapter_config.json``, ``adapter_model.safetensors`` and usually a tokenizer; the base is
named in the configuration. It may be a Hugging Face name or folder, a GGUF file, or a folder with adapters itself.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polymode.chat import Chat
from polymode.errors import ConfigError, MissingExtraError, RunExistsError
from polymode.runs.chats import write_chat

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
    n_weights = _number_of_weights(folder)
    model = _of_base(source, folder, lambda: load_causal_lm(source, dtype=dtype, **options))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Found missing adapter keys")  # they would begin at zero
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")  # merged with a weight for each
        # PEFT calls transformers 5 by these old names.
        warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)
        try:
            model = PeftModel.from_pretrained(model, str(folder), is_trainable=is_trainable)
        except UserWarning as exc:
            missing = re.findall("'([^']+)'", str(exc))
            problem = f"{len(missing)} adapter weights that it needs are not in the folder, {missing[0]} for example"
            raise _other_model(source, folder, problem) from exc
        except (ValueError, RuntimeError, KeyError, TypeError) as exc:
            raise _other_model(source, folder, " ".join(str(exc).split())[:160]) from exc
    n_used = sum("lora_" in name for name in model.state_dict())
    if n_used != n_weights:  # PEFT leaves weights out that find no place
        raise _other_model(source, folder, f"it takes {n_used} adapter weights, the folder holds {n_weights}")
    return model


def load_merged(folder: str | Path, *, dtype: Any, base: str | Path | None = None, **options: Any) -> Any:
    """The plain model of base and adapters together, with weights of ``dtype``.

    Raises:
        ConfigError, MissingExtraError: as `load_with_adapters`, or adapters that hold no numbers.
    """
    model = load_with_adapters(folder, dtype=dtype, base=base, **options)
    _untie(model)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*(tie_word_embeddings|no longer tied)")  # untied above and below
            merged = model.merge_and_unload(safe_merge=True)
    except ValueError as exc:  # NaN or infinity in a weight
        raise ConfigError(f"adapters {str(folder)!r} cannot be merged: {' '.join(str(exc).split())[:160]}") from exc
    _tell_untied(merged)
    merged.requires_grad_(True)  # PEFT has frozen the base
    merged.name_or_path = merged.config.name_or_path = str(folder)
    return merged


def _untie(model: Any) -> None:
    """Give input and output embedding a weight each, where both share one and adapters change only one of them.

    Merged into the shared weight, the change of either would be made to both.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch.nn import Parameter

    inner = model.get_base_model()
    first, last = inner.get_input_embeddings(), inner.get_output_embeddings()
    if last is None or first.weight is not last.weight:
        return
    if isinstance(first, BaseTunerLayer) or isinstance(last, BaseTunerLayer):
        own: Any = getattr(last, "base_layer", last)
        own.weight = Parameter(own.weight.detach().clone())


def _tell_untied(merged: Any) -> None:
    """Have the configuration say so where the embeddings share no weight any more: it is saved and loaded by that."""
    last = merged.get_output_embeddings()
    if last is None or merged.get_input_embeddings().weight is last.weight:
        return
    for config in (merged.config, merged.config.get_text_config()):
        config.tie_word_embeddings = False
    merged.all_tied_weights_keys = merged.get_expanded_tied_weights_keys(all_submodels=True)


def merge(adapters: Path, out: Path, *, base: str | None = None, chat: Chat | None = None) -> Path:
    """Write the plain Hugging Face folder of base and adapters, in the base's dtype, with tokenizer and chat template.

    Args:
        adapters: folder with adapters, or the run folder with its ``model/``.
        out: folder to create.
        base: the base model, where it is not what the adapters' configuration names.
        chat: how its prompts are made, written beside it (`polymode.runs.write_chat`).

    Raises:
        ConfigError: no adapters there, a tokenizer that cannot be read, or a base that is missing or another model.
        RunExistsError: ``out`` is there and not empty.
    """
    folder = adapters_in(adapters)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunExistsError(f"{out} is there already: choose another --out, or remove it")
    if base is not None:
        _check_same_architecture(folder, base)
    tokenizer = _tokenizer_of(folder, base)  # before the weights, which take minutes
    merged = load_merged(folder, dtype="auto", base=base)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    merged.save_pretrained(part)
    tokenizer.save_pretrained(part)
    if chat is not None:
        write_chat(part, chat)
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


def _tokenizer_of(folder: Path, base: str | None) -> Any:
    """The tokenizer with the adapters, else their base's; raises ConfigError where it cannot be read."""
    from polymode.decoding.loading import load_tokenizer

    if not _has_tokenizer(folder):
        source = base or base_of_adapters(folder)
        return _of_base(source, folder, lambda: load_tokenizer(source))
    try:
        return load_tokenizer(folder)
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"the tokenizer of adapters {str(folder)!r} cannot be read ({' '.join(str(exc).split())[:120]}): copy "
            "tokenizer.json and tokenizer_config.json there again"
        ) from exc


def _has_tokenizer(folder: str | Path) -> bool:
    return (Path(folder) / "tokenizer_config.json").is_file()


def _of_base(source: str, folder: str | Path, load: Callable[[], Any]) -> Any:
    """What ``load`` reads from the base; raises ConfigError where it is not there."""
    try:
        return load()
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


def _number_of_weights(folder: str | Path) -> int:
    """How many weights of adapters the folder holds, counted before the base is loaded.

    Raises:
        ConfigError: there is no file of them, it cannot be read, or none in it is of an adapter.
    """
    from safetensors import safe_open

    path = Path(folder) / "adapter_model.safetensors"
    older = path.with_suffix(".bin")
    if not path.is_file() and not older.is_file():
        raise ConfigError(f"{path} does not exist: copy the adapters again")
    try:
        if path.is_file():
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
        else:
            import torch

            path, names = older, list(torch.load(older, map_location="cpu", weights_only=True, mmap=False))
    except Exception as exc:  # a damaged file makes its reader stumble over anything
        problem = " ".join(str(exc).split())[:120] or type(exc).__name__
        raise ConfigError(f"{path} cannot be read ({problem}): copy the adapters again") from exc
    number = sum("lora_" in str(name) for name in names)
    if not number:
        raise ConfigError(
            f"{path} holds no weight of an adapter (no name with lora_ among {len(names)}), so merging would change "
            "nothing: copy the adapters again"
        )
    return number


def _other_model(base: str, folder: str | Path, problem: str) -> ConfigError:
    return ConfigError(
        f"base = {base!r} is not the model that adapters {str(folder)!r} were trained on ({problem}): give that one"
    )
