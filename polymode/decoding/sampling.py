"""Sampling many completions of few questions: each prompt is read once, finished completions leave the batch.

Tokens are drawn from softmax(logits / temperature) in float32 over the whole vocabulary, as transformers' `generate`
draws them with top_k = 0 and top_p = 1, from one uniform number per completion and step: the first token whose
cumulative probability exceeds it. (`torch.multinomial` draws one number per token of the vocabulary, which on a CPU
takes a seventh of a small model's time.) The numbers come from torch's global generator, so its seed decides, and
neither the batch's finished completions nor when they leave does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig

from polymode.decoding.settings import Settings, base_of, settings_of
from polymode.decoding.shared_cache import SharedCache, UnshareableError, attending

LOOK = 4
"""Steps between two looks at which completions are finished: a look waits for the device."""
DROP = 1 / 8
"""Finished share of the batch from which it is worth copying the rest."""


def complete(model: Any, prompts: Sequence[Sequence[int]], asked: GenerationConfig) -> list[list[int]] | None:
    """`sample_tokens` by a generation config, or None where only transformers' `generate` can do what is asked."""
    settings = settings_of(model, asked)
    if settings is None or not all(prompts):
        return None
    try:
        return sample_tokens(model, prompts, settings)
    except UnshareableError:
        return None


@torch.no_grad()
def sample_tokens(model: Any, prompts: Sequence[Sequence[int]], settings: Settings) -> list[list[int]]:
    """One completion of each prompt, the end token included; equal prompts share their keys and values.

    The model must be one that `polymode.decoding.settings.can_share`, and no prompt empty.

    Raises:
        UnshareableError: the model's attention turns out to need more.
    """
    questions = list(dict.fromkeys(map(tuple, prompts)))
    number = {question: i for i, question in enumerate(questions)}
    asked = [number[tuple(prompt)] for prompt in prompts]
    order = sorted(range(len(prompts)), key=asked.__getitem__)
    device = model.device
    question_of = torch.tensor([asked[i] for i in order], device=device)
    logits, is_token, read = _read(model, questions)
    cache = SharedCache(read, is_token, question_of)
    logits, position = logits[question_of], is_token.sum(1)[question_of]

    rows = torch.arange(len(order), device=device)
    ends = torch.tensor(settings.ends, dtype=torch.long, device=device)
    tokens = torch.zeros(len(order), settings.max_tokens, dtype=torch.long, device=device)
    is_done = torch.zeros(len(order), dtype=torch.bool, device=device)
    with attending(base_of(model), cache):
        for step in range(settings.max_tokens):
            if step < settings.min_tokens:
                logits[:, ends] = -torch.inf
            chosen = _choose(logits, settings.temperature, rows, len(order))
            tokens[rows, step] = chosen
            is_done |= torch.isin(chosen, ends)
            if step + 1 == settings.max_tokens:
                break
            if step % LOOK == LOOK - 1:
                left = (~is_done).nonzero().squeeze(1)
                if not len(left):
                    break
                if len(left) <= (1 - DROP) * len(rows):
                    cache.keep(left)
                    rows, chosen, position, is_done = rows[left], chosen[left], position[left], is_done[left]
            seen = (position + step).unsqueeze(1)
            out = model(input_ids=chosen.unsqueeze(1), position_ids=seen, past_key_values=cache, use_cache=True)
            logits = out.logits[:, -1].float()
    completions: list[list[int]] = [[] for _ in prompts]
    for i, row in zip(order, tokens.tolist(), strict=True):
        completions[i] = _until_end(row, settings.ends)
    return completions


def _read(model: Any, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor, DynamicCache]:
    """What the model makes of left-padded prompts: next-token logits, where the tokens are, keys and values."""
    width = max(map(len, prompts))
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    is_token = torch.arange(width, device=model.device) >= width - lengths[:, None]
    ids = torch.zeros(is_token.shape, dtype=torch.long, device=model.device)
    ids[is_token] = torch.tensor([token for prompt in prompts for token in prompt], device=model.device)
    cache = DynamicCache(config=base_of(model).config)
    out = model(
        input_ids=ids,
        attention_mask=is_token.long(),
        position_ids=(is_token.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return out.logits[:, -1].float(), is_token, cache


def _choose(logits: torch.Tensor, temperature: float, rows: torch.Tensor, n: int) -> torch.Tensor:
    """A token for each of ``rows`` out of ``n``; a number is drawn for the other rows too, and not used."""
    if temperature == 0:
        return logits.argmax(-1)
    # In double precision, so that the sums of a large vocabulary's small probabilities are right.
    below = torch.softmax(logits / temperature, -1).double().cumsum(-1)
    drawn = torch.rand(n, 1, dtype=torch.float64, device=logits.device)[rows] * below[:, -1:]
    return torch.searchsorted(below, drawn, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)


def _until_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    for i, token in enumerate(tokens):
        if token in ends:
            return tokens[: i + 1]
    return tokens
