"""Hidden states of a causal LM at chosen tokens, above all where it is about to state a confidence (layer L3).

The state at a token is what the model knows when it chooses the next one. So what it knows about an answer's being
right, before any of the confidence is written, stands at the token in front of the confidence's first one.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polymode.decoding.memory import compute_dtype_of, free_bytes, run_in_chunks
from polymode.decoding.settings import base_of
from polymode.errors import ConfigError, RecordError
from polymode.types import AnswerSet

_SHARE = 0.25
"""Share of the free memory that the states of a batch may take; attention and feed-forward layers need the rest."""
_ROWS = 64
"""Most texts read at once."""
_N_LAYERS = 8


def confidence_positions(answers: AnswerSet, starts_T: Sequence[int], text: str) -> list[int] | None:
    """For each answer, the token whose next-token distribution decides the first token of its confidence.

    That is the token in front of the first one that writes part of the number: with ``0.85`` split into digits the one
    before ``0``, and the same where one token holds all of it, whether or not a space or ``>`` belongs to it as well.

    Args:
        answers: read from ``text``.
        starts_T: first character of each token of the completion (`polymode.decoding.token_starts.TokenStarts`).
        text: the completion that the spans count in.

    Returns:
        Positions among the completion's tokens, -1 for the last token of the prompt; None where the answers have no
        confidences, or the tokens do not spell them.
    """
    ends_T = np.append(np.asarray(starts_T[1:], dtype=np.int64), len(text)) if len(starts_T) else np.empty(0, int)
    positions = []
    for answer in answers.answers:
        if answer.confidence_span is None:
            return None
        # Tokens that end no character start and end at the same place; the first that ends behind the number's start
        # is the first that writes some of it.
        first = int(np.searchsorted(ends_T, answer.confidence_span.start, side="right"))
        if first == len(ends_T) or starts_T[first] > answer.confidence_span.start:
            return None
        positions.append(first - 1)
    return positions or None


def candidate_layers(model: Any) -> list[int]:
    """Eight layers, or all where there are fewer, from a third of the depth to the last: those worth probing.

    Layer 0 are the embeddings, layer l what block l gives; the last one is behind the final norm.
    """
    n = base_of(model).config.get_text_config().num_hidden_layers
    return sorted({int(layer) for layer in np.linspace(max(1, round(n / 3)), n, _N_LAYERS).round()})


def hidden_states(
    model: Any,
    prompts_N_T: Sequence[Sequence[int]],
    completions_N_T: Sequence[Sequence[int]],
    positions_N: Sequence[Sequence[int]],
    layers: Sequence[int],
) -> NDArray[np.float32]:
    """Hidden states at given tokens, shape (A, layers, F), in the order of the positions.

    Texts of like length are read together, each only as far as its last position, and as many as fit into memory. The
    model computes in its own type, or in that of autocast; states come as float32.

    Args:
        model: any causal LM of transformers, with or without LoRA adapters, on its device.
        prompts_N_T: tokens of each prompt.
        completions_N_T: tokens of each completion.
        positions_N: tokens of each completion, -1 for the prompt's last; A in all.
        layers: numbers of layers, as in `candidate_layers`; none reads nothing.

    Raises:
        ConfigError: a layer that the model does not have, or not even one text fits into memory.
        RecordError: a position outside its text.
    """
    base = base_of(model)
    config = base.config.get_text_config()
    if wrong := [layer for layer in layers if not 0 <= layer <= config.num_hidden_layers]:
        raise ConfigError(f"layer {wrong[0]} does not exist: the model has layers 0 to {config.num_hidden_layers}")
    rows: list[tuple[list[int], list[int]]] = []
    for prompt_T, completion_T, positions in zip(prompts_N_T, completions_N_T, positions_N, strict=True):
        places = [len(prompt_T) + position for position in positions]
        ids_T = [*prompt_T, *completion_T]
        if places and not 0 <= min(places) <= max(places) < len(ids_T):
            raise RecordError(f"positions {list(positions)!r:.80}: the completion has {len(completion_T)} tokens")
        rows.append((ids_T[: max(places, default=-1) + 1], places))
    first_N = np.concatenate([[0], np.cumsum([len(places) for _, places in rows])]).astype(int)
    states = np.zeros((first_N[-1], len(layers), config.hidden_size), dtype=np.float32)
    keeps_last = "logits_to_keep" in inspect.signature(base.forward).parameters
    options = {"logits_to_keep": 1} if keeps_last else {}
    # Every layer's states are there at once, those of a layer twice while they are made, and of some models all logits.
    per_token = (config.num_hidden_layers + 2) * config.hidden_size * compute_dtype_of(model).itemsize
    per_token += 0 if keeps_last else 4 * config.vocab_size
    tokens = max(1, int(free_bytes(model.device) * _SHARE / per_token))
    if not layers:
        return states
    order = sorted((i for i, (_, places) in enumerate(rows) if places), key=lambda i: -len(rows[i][0]))

    def problem(i: int) -> str:
        return (
            f"no room for one text of {len(rows[i][0])} tokens on {model.device}: use dtype bfloat16, shorter "
            "completions or a smaller model"
        )

    made = run_in_chunks(  # the longest first, so that what does not fit shows at once
        order,
        lambda i: min(_ROWS, tokens // len(rows[i][0])),
        lambda batch: _read(model, [rows[i] for i in batch], layers, options),
        problem,
        what="texts",
    )
    for i, of_row in made.items():
        states[first_N[i] : first_N[i + 1]] = of_row
    return states


def _read(
    model: Any, rows: Sequence[tuple[list[int], list[int]]], layers: Sequence[int], options: dict[str, Any]
) -> list[NDArray[np.float32]]:
    """States of one batch, for each text (positions, layers, F)."""
    # Padded on the right: causal attention never looks there, and positions count from 0 as in training.
    width = max(len(ids_T) for ids_T, _ in rows)
    ids_NT = torch.tensor([ids_T + [0] * (width - len(ids_T)) for ids_T, _ in rows], device=model.device)
    mask_NT = torch.tensor([[1] * len(ids_T) + [0] * (width - len(ids_T)) for ids_T, _ in rows], device=model.device)
    was_training = model.training
    model.eval()  # a policy that is being trained may have dropout
    try:
        with torch.no_grad():
            out = model(input_ids=ids_NT, attention_mask=mask_NT, output_hidden_states=True, use_cache=False, **options)
    finally:
        model.train(was_training)
    states = []
    for row, (_, places) in enumerate(rows):
        of_row = torch.stack([out.hidden_states[layer][row, places] for layer in layers], 1)
        states.append(of_row.float().cpu().numpy())
    return states
