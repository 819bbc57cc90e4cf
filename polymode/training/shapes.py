"""The shape of a causal LM in numbers, read without loading any model library (layer L4).

From ``config.json`` of a folder, or of the Hugging Face hub's cache; from a GGUF file's table of contents; from a table
of common models; or, roughly, from the size in a name such as ``Llama-3.1-70B``. What was read is said, because an
estimate is no better than its source.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymode.decoding.adapters import base_of_adapters, has_adapters
from polymode.decoding.gguf_files import configuration_fields, is_gguf
from polymode.errors import ConfigError

KNOWN: Mapping[str, tuple[int, int, int, int, int, int, int, bool]] = {
    "Qwen/Qwen3-0.6B": (28, 1024, 3072, 16, 8, 128, 151_936, True),
    "Qwen/Qwen3-1.7B": (28, 2048, 6144, 16, 8, 128, 151_936, True),
    "Qwen/Qwen3-4B": (36, 2560, 9728, 32, 8, 128, 151_936, True),
    "Qwen/Qwen3-8B": (36, 4096, 12_288, 32, 8, 128, 151_936, False),
    "Qwen/Qwen3-14B": (40, 5120, 17_408, 40, 8, 128, 151_936, False),
    "Qwen/Qwen3-32B": (64, 5120, 25_600, 64, 8, 128, 151_936, False),
    "Qwen/Qwen2.5-7B-Instruct": (28, 3584, 18_944, 28, 4, 128, 152_064, False),
    "HuggingFaceTB/SmolLM2-135M-Instruct": (30, 576, 1536, 9, 3, 64, 49_152, True),
}
"""Layers, width, feed-forward width, heads, key-value heads, head width, vocabulary, tied: of the published configs."""
_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z])", re.IGNORECASE)
_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of a decoder with gated feed-forward layers."""

    layers: int
    width: int
    """Of the residual stream."""
    inner: int
    """Of the feed-forward layers."""
    heads: int
    kv_heads: int
    head: int
    """Width of one head."""
    vocabulary: int
    is_tied: bool
    """Whether output and input embedding are one matrix."""
    source: str = ""
    """Where the numbers come from, in words."""

    @property
    def parameters(self) -> int:
        """Number of weights: embeddings and matrices; norms and biases are left out (below 0.1%)."""
        return self.layers * sum(i * o for i, o in self.matrices) + self.embedding * (1 if self.is_tied else 2)

    @property
    def embedding(self) -> int:
        """Weights of one embedding."""
        return self.vocabulary * self.width

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of a layer's linear maps: query, key, value, output, gate, up, down."""
        queries, keys = self.heads * self.head, self.kv_heads * self.head
        h, m = self.width, self.inner
        return (h, queries), (h, keys), (h, keys), (queries, h), (h, m), (h, m), (m, h)

    def adapters(self, rank: int) -> int:
        """Weights of LoRA adapters of a rank on every linear map."""
        return self.layers * sum(rank * (i + o) for i, o in self.matrices)


def shape_of(model: str) -> Shape:
    """The shape of the model of that name or folder, of adapters that of their base, as far as it can be known here.

    Raises:
        ConfigError: nothing says what shape it has, or the file that should cannot be read.
    """
    if found := config_of(model):
        return from_config(*found)
    if model in KNOWN:
        return Shape(*KNOWN[model], source="polymode's table of common models")
    if found := _SIZE.search(model.rsplit("/", 1)[-1]):
        size = float(found[1]) * (1e9 if found[2] in "bB" else 1e6)
        return _of_size(size, f"a guess from {found[0]} in its name, since its config.json is not on this machine")
    raise ConfigError(
        f"model = {model!r}: its {_CONFIG} is not on this machine and its name says no size: give a folder, or fetch it"
    )


def config_of(model: str) -> tuple[Mapping[str, Any], str] | None:
    """The configuration of the model of that name or folder, of adapters that of their base, and where it comes from.

    None where it is not on this machine.

    Raises:
        ConfigError: the file cannot be read.
    """
    if has_adapters(model):
        return config_of(base_of_adapters(model))
    if is_gguf(model):
        return configuration_fields(Path(model)), model
    for path, source in ((Path(model) / _CONFIG, f"{model}/{_CONFIG}"), *_cached(model)):
        if path.is_file():
            try:
                config = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as exc:
                raise ConfigError(f"{path} cannot be read ({exc}): copy the model again") from None
            return config, source
    return None


def from_config(config: Mapping[str, Any], source: str) -> Shape:
    """The shape that a ``config.json`` describes; that of the language model, where it holds several.

    Raises:
        ConfigError: a dimension is missing.
    """
    config = config.get("text_config") or config

    def number(*names: str) -> int:
        value = next((config[name] for name in names if config.get(name) is not None), None)
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{source} has no {names[0]}: the memory of this architecture cannot be computed")
        return value

    if experts := {"num_experts", "num_local_experts", "n_routed_experts"} & config.keys():
        raise ConfigError(f"{source} has {experts.pop()}: the memory of mixtures of experts cannot be computed")
    width, heads = number("hidden_size", "n_embd"), number("num_attention_heads", "n_head")
    return Shape(
        layers=number("num_hidden_layers", "n_layer"),
        width=width,
        inner=int(config.get("intermediate_size") or config.get("n_inner") or 4 * width),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head=int(config.get("head_dim") or width // heads),
        vocabulary=number("vocab_size"),
        is_tied=bool(config.get("tie_word_embeddings", "n_embd" in config)),
        source=source,
    )


def _cached(model: str) -> list[tuple[Path, str]]:
    """Where the hub's cache may hold the configuration of a name."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    folders = sorted((hub / f"models--{model.replace('/', '--')}" / "snapshots").glob("*")) if "/" in model else []
    return [(folder / _CONFIG, f"the hub's cache of {model}") for folder in reversed(folders)]


def _of_size(parameters: float, source: str) -> Shape:
    """The known shape of the nearest size, its layers and widths stretched to the number of weights asked for."""
    shapes = [Shape(*numbers) for numbers in KNOWN.values()]
    near = min(shapes, key=lambda shape: abs(shape.parameters / parameters - 1))
    factor = (parameters / near.parameters) ** (1 / 3)
    return Shape(
        layers=max(1, round(near.layers * factor)),
        width=max(near.head, round(near.width * factor / near.head) * near.head),
        inner=round(near.inner * factor),
        heads=max(near.kv_heads, round(near.heads * factor)),
        kv_heads=near.kv_heads,
        head=near.head,
        vocabulary=near.vocabulary,
        is_tied=near.is_tied,
        source=source,
    )
