"""What a GGUF file (llama.cpp's format) says of its model, read without loading weights or any model library (L3)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from polymode.errors import ConfigError, MissingExtraError

_MAGIC = b"GGUF"
_FIELDS = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "num_experts": "expert_count",
    "max_position_embeddings": "context_length",
}
"""Names in a config.json, and the same in a GGUF file behind the name of the architecture."""


def is_gguf(model: str | Path) -> bool:
    """Whether ``model`` names a GGUF file, by its ending."""
    return str(model).lower().endswith(".gguf")


def check_gguf(file: Path) -> None:
    """Refuse what is no GGUF file, or cannot be read here.

    Raises:
        ConfigError: the file is missing or is none.
        MissingExtraError: the package gguf is not installed.
    """
    if not file.is_file():
        raise ConfigError(f"model = {str(file)!r} does not exist: give the path of a GGUF file on this machine")
    with file.open("rb") as handle:
        if handle.read(len(_MAGIC)) != _MAGIC:
            raise ConfigError(f"model = {str(file)!r} is no GGUF file (it does not start with GGUF): download it again")
    if find_spec("gguf") is None:
        raise MissingExtraError("gguf", "gguf", "reading a GGUF file")


def configuration_fields(file: Path) -> dict[str, Any]:
    """The dimensions that a GGUF file's table of contents names, under the names of a config.json.

    Raises:
        ConfigError: the file is missing, is none, or is damaged.
        MissingExtraError: as `check_gguf`.
    """
    check_gguf(file)
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("tokenizer.")}
        shape_of_tensor = {tensor.name: [int(n) for n in tensor.shape] for tensor in reader.tensors}
    except Exception as exc:  # its reader raises whatever a damaged file makes it stumble over
        problem = " ".join(str(exc).split())[:120] or type(exc).__name__
        raise ConfigError(
            f"model = {str(file)!r} is damaged or was not copied to its end ({problem}): download it again"
        ) from None
    prefix = fields.get("general.architecture", "?")
    config = {own: _number(fields.get(f"{prefix}.{theirs}")) for own, theirs in _FIELDS.items()}
    if (embedding := shape_of_tensor.get("token_embd.weight")) is not None:
        config["vocab_size"] = embedding[-1]  # llama.cpp writes the width first
    config["tie_word_embeddings"] = "output.weight" not in shape_of_tensor
    return {name: value for name, value in config.items() if value is not None}


def _number(value: Any) -> int | None:
    """The largest, where a field has a number for each layer; None for 0, as dense models count their experts."""
    return max(value, default=None) if isinstance(value, list) else value or None


def set_begin_and_end(tokenizer: Any, file: Path) -> None:
    """The tokens that the file names; transformers up to 5.17 exchanges the two for models like Llama."""
    from gguf import GGUFReader

    fields = GGUFReader(file).fields
    for name in ("bos_token", "eos_token"):
        field = fields.get(f"tokenizer.ggml.{name}_id")
        if field is not None:
            setattr(tokenizer, name, tokenizer.convert_ids_to_tokens(int(field.contents())))


def architecture_of(file: Path) -> str | None:
    """What a GGUF file calls its architecture; None where it does not hold what its table of contents lists."""
    from gguf import GGUFReader

    try:
        field = GGUFReader(file).fields.get("general.architecture")
        return "?" if field is None else str(field.contents())
    except Exception:  # whatever a damaged file makes the reader stumble over
        return None
