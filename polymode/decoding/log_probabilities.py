"""Log-probabilities of tokens of given texts, in blocks of positions that memory has room for (layer L3)."""

from __future__ import annotations

from typing import Any

import torch

from polymode.decoding.memory import free_bytes

LOGIT_BYTES = 1 << 30
"""Most memory for logits when texts are scored."""
_COPIES = 3
"""Arrays of the size of the logits: theirs, in float32, log-probabilities."""


def last_log_probabilities(
    model: Any, ids_NT: torch.Tensor, mask_NT: torch.Tensor, width: int, positions: int
) -> torch.Tensor:
    """Log-probability of each of the last ``width`` tokens, given those before it, at temperature 1.

    Logits for all positions of a batch may take tens of gigabytes with a large vocabulary, so positions are read in
    blocks, each of which goes on from the keys and values of those before it.

    Args:
        model: a causal LM.
        ids_NT: tokens, padded on the left, shape (texts, tokens).
        mask_NT: 1 where a token is, 0 for padding.
        width: tokens at the end of each text.
        positions: whose logits may be there at once (`positions_at_once`).

    Returns:
        Shape (texts, ``width``).
    """
    if not width:
        return torch.zeros(len(ids_NT), 0)
    end = ids_NT.shape[1] - 1  # the last token foretells what is not there
    block = max(1, positions // len(ids_NT))
    positions_NT = (mask_NT.cumsum(-1) - 1).clamp(min=0)
    start, cache, parts = 0, None, []
    while start < end:
        stop = min(end, max(start, end - width) + block)
        n = min(stop - start, stop - (end - width))
        out = model(
            input_ids=ids_NT[:, start:stop],
            attention_mask=mask_NT[:, :stop],
            position_ids=positions_NT[:, start:stop],
            past_key_values=cache,
            use_cache=stop < end or cache is not None,
            logits_to_keep=n,
        )
        cache, target = out.past_key_values, ids_NT[:, stop - n + 1 : stop + 1, None]
        parts.append(out.logits.float().log_softmax(-1).gather(-1, target).squeeze(-1))
        start = stop
    return torch.cat(parts, 1)


def positions_at_once(model: Any) -> int:
    """Positions whose logits may be there at once, at least 1."""
    bound = min(LOGIT_BYTES, free_bytes(model.device) // 4)
    return max(1, int(bound // (_COPIES * 4 * model.config.get_text_config().vocab_size)))
