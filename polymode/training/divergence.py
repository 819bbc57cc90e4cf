"""How far a model has moved from itself: the divergence of its next tokens, on texts that it wrote (layer L4).

Training some tokens of a text moves the others too, since all share the weights. What holds them is the divergence
from the model before, taken over the vocabulary and not over the tokens that were sampled, whose cross-entropy has
noise, and pulls to earlier policies where the texts are older::

    D_t = sum_u r(u) log(r(u) / p(u))        r the model before, p the model now

The vocabulary is parted into the `TOP` most probable tokens of r, each by itself, and all others together: a lower
bound that misses only how the rest is shared out. At a token inside a confidence all tokens that lead to a confidence
are one part, so that which of them is written stays free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

from polymode.training.confidence_tokens import NumberTokens
from polymode.training.expected_score import JudgedConfidence, as_the_model

TOP = 32
_BLOCK = 512
"""Tokens whose logits are held at once."""
_LEAST = 1e-6
"""Below, the probability of the rest is rounding."""


class Parts(NamedTuple):
    """What of the vocabulary is one part, at some tokens."""

    places: torch.Tensor
    """Which tokens, rising, shape (M,)."""
    is_one_M_V: torch.Tensor
    """Tokens of the vocabulary that are one part."""
    column_M: torch.Tensor
    """One of them, which stands for all."""


class Reference(NamedTuple):
    """Next-token probabilities of the model before, at some tokens."""

    ids_T_C: torch.Tensor
    """Most probable tokens, or parts."""
    log_probs_T_C: torch.Tensor


def parts_of(
    confidences: Sequence[JudgedConfidence], numbers: NumberTokens, places: Sequence[int], size: int, device: Any
) -> Parts:
    """The parts at the tokens inside the confidences.

    Args:
        confidences: with M choices in all.
        numbers: of the tokenizer.
        places: where each choice stands among the tokens that are compared, shape (M,), rising.
        size: of the vocabulary.
        device: of the result.
    """
    choices = [choice for confidence in confidences for choice in confidence.choices]
    inside = [m for m, choice in enumerate(choices) if choice.token < len(numbers.ids)]
    is_one = torch.zeros((len(inside), size), dtype=torch.bool)
    for row, m in enumerate(inside):
        choice = choices[m]
        is_one[row, numbers.ids[choice.allowed_C[:-1]]] = True
        if choice.allowed_C[-1]:
            is_one[row, choice.end] = True
    columns = [int(numbers.ids[choices[m].token]) for m in inside]
    return Parts(
        torch.tensor([places[m] for m in inside], dtype=torch.long, device=device),
        is_one.to(device),
        torch.tensor(columns, dtype=torch.long, device=device),
    )


def reference_of(model: Any, hidden_T_H: torch.Tensor, parts: Parts, heat: float) -> Reference:
    """What `divergences` compares with, from the hidden states of the model before, without gradients."""
    blocks = [
        torch.topk(log_probs, min(TOP, log_probs.shape[1]))
        for start in range(0, len(hidden_T_H), _BLOCK)
        for log_probs in [_log_probs(model, hidden_T_H[start : start + _BLOCK], *_parts_between(parts, start), heat)]
    ]
    return Reference(torch.cat([block.indices for block in blocks]), torch.cat([block.values for block in blocks]))


def divergences(model: Any, hidden_T_H: torch.Tensor, parts: Parts, reference: Reference, heat: float) -> torch.Tensor:
    """D_t of every token, shape (T,), with gradients.

    Args:
        model: the causal language model, without wrappers.
        hidden_T_H: its last hidden states in front of the tokens.
        parts: see `parts_of`.
        reference: see `reference_of`, for the same tokens and parts.
        heat: sampling temperature.
    """
    return torch.cat(
        [
            checkpoint(  # the logits of a block are made again on the way back, so that those of one block are held
                _block_divergences,
                model,
                hidden_T_H[start : start + _BLOCK],
                *_parts_between(parts, start),
                reference.ids_T_C[start : start + _BLOCK],
                reference.log_probs_T_C[start : start + _BLOCK],
                heat,
                use_reentrant=False,
            )
            for start in range(0, len(hidden_T_H), _BLOCK)
        ]
    )


def _parts_between(parts: Parts, start: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The parts of the block that begins at ``start``, numbered from there."""
    first, end = torch.searchsorted(parts.places, torch.tensor([start, start + _BLOCK], device=parts.places.device))
    own = slice(int(first), int(end))
    return parts.places[own] - start, parts.is_one_M_V[own], parts.column_M[own]


def _log_probs(
    model: Any,
    hidden_T_H: torch.Tensor,
    places: torch.Tensor,
    is_one_M_V: torch.Tensor,
    column_M: torch.Tensor,
    heat: float,
) -> torch.Tensor:
    """Log-probabilities over the vocabulary, those of a part at the column that stands for it."""
    head = model.get_output_embeddings()
    logits = as_the_model(model.config.get_text_config(), head(hidden_T_H.to(head.weight.dtype)).float())
    log_probs = torch.log_softmax(logits / heat, 1)
    if not len(places):
        return log_probs
    rows = log_probs[places]
    is_one_M_V = torch.nn.functional.pad(is_one_M_V, (0, rows.shape[1] - is_one_M_V.shape[1]))  # padded embeddings
    together = rows.masked_fill(~is_one_M_V, -torch.inf).logsumexp(1, keepdim=True)
    rows = rows.masked_fill(is_one_M_V, -torch.inf).scatter(1, column_M[:, None], together)
    return log_probs.index_put((places,), rows)


def _block_divergences(
    model: Any,
    hidden_T_H: torch.Tensor,
    places: torch.Tensor,
    is_one_M_V: torch.Tensor,
    column_M: torch.Tensor,
    ids_T_C: torch.Tensor,
    was_T_C: torch.Tensor,
    heat: float,
) -> torch.Tensor:
    log_probs_T_V = _log_probs(model, hidden_T_H, places, is_one_M_V, column_M, heat)
    now_T_C = log_probs_T_V.gather(1, ids_T_C)
    r_T_C = was_T_C.exp()
    # A part of probability 0 adds nothing, and its logarithm must not be subtracted.
    top_T_C = torch.where(r_T_C > 0, r_T_C * (was_T_C - now_T_C), torch.zeros_like(r_T_C))
    rest_T = (1 - r_T_C.sum(1)).clamp(min=0)
    has_rest_T = (rest_T > _LEAST) & (log_probs_T_V.shape[1] > ids_T_C.shape[1])
    now_rest_T = log_probs_T_V.scatter(1, ids_T_C, -torch.inf)[has_rest_T].logsumexp(1)
    rest_T = rest_T[has_rest_T]
    return top_T_C.sum(1).index_add(0, has_rest_T.nonzero()[:, 0], rest_T * (rest_T.log() - now_rest_T))
