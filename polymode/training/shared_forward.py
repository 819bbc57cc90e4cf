"""Log-probabilities of completions with each prompt read once, gradients and all.

A prompt's keys and values are the same for all completions of its question, because no token sees a later one. So the
prompt goes through the model once, with its graph, its keys and values are handed to the completions through
transformers' cache, and the backward pass adds up what the completions send back before it goes through the prompt:

    d loss / d weights = sum_g (d completion_g / d weights) + (d prompt / d weights)^T sum_g (d completion_g / d prompt)

The same numbers as from the concatenated sequences, up to the order of additions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache

from polymode.decoding.settings import base_of, can_share

NO_LABEL = -100
"""What transformers and TRL take for a token that is not scored."""


def can_share_forward(model: Any) -> bool:
    """Whether a prompt's keys and values are the same in every completion's row.

    Not so under dropout, which falls differently in each row, and with rotary embeddings that depend on the length of
    the whole sequence.
    """
    config = base_of(model).config
    rotary = str(getattr(config, "rope_parameters", None))
    if "dynamic" in rotary or "longrope" in rotary or getattr(config, "attention_dropout", 0.0) or not can_share(model):
        return False
    return not any(isinstance(module, torch.nn.Dropout) and module.p for module in model.modules())


def shared_log_probs(
    model: Any, inner: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, n_completion: int
) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """Log-probability and entropy of each completion token, (rows, n_completion), 0 where there is none.

    Args:
        model: what training calls, with TRL's fused head; the completions go through it.
        inner: the model without wrappers of distributed training, through which the prompts go.
        input_ids: (rows, tokens) left-padded prompts and right-padded completions, of ``n_completion`` columns.
        attention_mask: (rows, tokens), 1 for tokens.
        n_completion: columns of the completions.

    Returns:
        None when no two rows have one prompt, or a prompt has a single column.
    """
    width = input_ids.shape[1] - n_completion
    # Ids and mask together, because a pad token may also be a token of a prompt. question_N[n]: the prompt of row n.
    prompts_P_T, question_N = torch.unique(
        torch.cat([input_ids[:, :width], attention_mask[:, :width]], 1), dim=0, return_inverse=True
    )
    if len(prompts_P_T) == len(input_ids) or width < 2:
        return None
    # A prompt's last token goes with the completions: what follows it is the first thing to be scored.
    cache = DynamicCache(config=base_of(inner).config)
    inner(
        input_ids=prompts_P_T[:, : width - 1],
        attention_mask=prompts_P_T[:, width : 2 * width - 1],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,  # none is needed, and all of them would be the largest array of the step
    )
    # Every row gets the keys and values of its prompt. index_select is differentiable: backwards it adds up what the
    # rows of one prompt send, so that the prompt is gone through once.
    for layer in cache.layers:
        layer.keys = layer.keys.index_select(0, question_N)  # type: ignore[union-attr]
        layer.values = layer.values.index_select(0, question_N)  # type: ignore[union-attr]

    # From the last token of the prompt to that of the longest completion: columns beyond it are padding in every row.
    longest = max(1, int(attention_mask[:, width:].sum(1).max()))
    tokens_N_T, is_token_N_T = input_ids[:, width - 1 : width + longest], attention_mask[:, : width + longest]
    labels_N_T = tokens_N_T.masked_fill(is_token_N_T[:, width - 1 :] == 0, NO_LABEL)
    out = model(
        input_ids=tokens_N_T, attention_mask=is_token_N_T, past_key_values=cache, labels=labels_N_T, fused_lm_head=True
    )
    beyond = (0, n_completion - longest)
    return pad(out.log_probs, beyond), None if out.entropy is None else pad(out.entropy, beyond)
