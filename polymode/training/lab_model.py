"""The lab's model: a small Qwen3-architecture causal LM and a word-level tokenizer made from a task's own words.

The tokenizer splits text into tags, numbers, words and punctuation, a word together with the space before it, so that
decoding gives back the exact text. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

PAD, END, UNKNOWN = "<pad>", "<end>", "<unknown>"
_PIECES = Regex(r"</?[a-z]+\d*>| ?\d+(?:\.\d+)?| ?[^\s<>,;:()]+| ?[,;:()<>]|\s")


@dataclass(frozen=True, slots=True)
class LabModelSize:
    """Size of the lab's model."""

    hidden: int = 96
    """Width of the residual stream."""
    layers: int = 3
    heads: int = 4
    intermediate: int = 288
    """Width of the feed-forward layers."""
    positions: int = 512
    """Longest prompt plus completion in tokens."""


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer whose vocabulary is every piece of ``texts``, with and without a space before it."""
    splitter = pre_tokenizers.Split(_PIECES, "isolated")
    pieces = {piece for text in texts for piece, _ in splitter.pre_tokenize_str(text)}
    words = {piece.removeprefix(" ") for piece in pieces if not piece.startswith("<") and not piece.isspace()}
    vocabulary = [PAD, END, UNKNOWN, *sorted(pieces | words | {f" {word}" for word in words})]
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(vocabulary)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, size: LabModelSize, *, seed: int) -> Qwen3ForCausalLM:
    """A randomly initialised model for ``tokenizer``; the same seed gives the same weights."""
    special: dict[str, Any] = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        head_dim=size.hidden // size.heads,
        max_position_embeddings=size.positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        **special,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config.update(**special)
    return model
