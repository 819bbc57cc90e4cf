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


def complete(model: Any, prompts: Sequence[Sequence[int]], config: GenerationConfig) -> list[list[int]] | None:
    """`sample_tokens` by a generation config, or None where only transformers' `generate` can do what is asked."""
    settings = settings_of(model, config)
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
    number_of = {question: i for i, question in enumerate(questions)}
    numbers = [number_of[tuple(prompt)] for prompt in prompts]
    order = sorted(range(len(prompts)), key=numbers.__getitem__)  # the cache wants a question's completions together
    device = model.device
    question_N = torch.tensor([numbers[i] for i in order], device=device)
    logits_PV, is_token_PT, prompt_cache = _read_prompts(model, questions)
    cache = SharedCache(prompt_cache, is_token_PT, question_N)
    logits_NV, length_N = logits_PV[question_N], is_token_PT.sum(1)[question_N]

    # N shrinks as completions leave; row_N says which row of tokens_RT, the table of all completions, each one writes.
    row_N = torch.arange(len(order), device=device)
    ends = torch.tensor(settings.ends, dtype=torch.long, device=device)
    tokens_RT = torch.zeros(len(order), settings.max_tokens, dtype=torch.long, device=device)
    is_done_N = torch.zeros(len(order), dtype=torch.bool, device=device)
    with attending(base_of(model), cache):
        for step in range(settings.max_tokens):
            if step < settings.min_tokens:
                logits_NV[:, ends] = -torch.inf
            chosen_N = _choose(logits_NV, settings.temperature, row_N, len(order))
            tokens_RT[row_N, step] = chosen_N
            is_done_N |= torch.isin(chosen_N, ends)
            if step + 1 == settings.max_tokens:
                break
            if step % LOOK == LOOK - 1:
                unfinished = (~is_done_N).nonzero().squeeze(1)
                if not len(unfinished):
                    break
                if len(unfinished) <= (1 - DROP) * len(row_N):
                    cache.keep(unfinished)
                    row_N, chosen_N = row_N[unfinished], chosen_N[unfinished]
                    length_N, is_done_N = length_N[unfinished], is_done_N[unfinished]
            # Padding does not count: a token's position is the number of real ones before it.
            positions_N1 = (length_N + step).unsqueeze(1)
            out = model(
                input_ids=chosen_N.unsqueeze(1), position_ids=positions_N1, past_key_values=cache, use_cache=True
            )
            logits_NV = out.logits[:, -1].float()
    completions: list[list[int]] = [[] for _ in prompts]
    for i, row in zip(order, tokens_RT.tolist(), strict=True):
        completions[i] = _until_end(row, settings.ends)
    return completions


def _read_prompts(model: Any, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor, DynamicCache]:
    """What the model makes of left-padded prompts: next-token logits, where the tokens are, keys and values."""
    width = max(map(len, prompts))
    length_P = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    is_token_PT = torch.arange(width, device=model.device) >= width - length_P[:, None]
    ids_PT = torch.zeros(is_token_PT.shape, dtype=torch.long, device=model.device)
    ids_PT[is_token_PT] = torch.tensor([token for prompt in prompts for token in prompt], device=model.device)
    cache = DynamicCache(config=base_of(model).config)
    out = model(
        input_ids=ids_PT,
        attention_mask=is_token_PT.long(),
        position_ids=(is_token_PT.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return out.logits[:, -1].float(), is_token_PT, cache


def _choose(logits_NV: torch.Tensor, temperature: float, row_N: torch.Tensor, n_rows: int) -> torch.Tensor:
    """A token for each of ``row_N`` out of ``n_rows``; a number is drawn for the other rows too, and not used."""
    if temperature == 0:
        return logits_NV.argmax(-1)
    # In double precision, so that the sums of a large vocabulary's small probabilities are right.
    cumulative_NV = torch.softmax(logits_NV / temperature, -1).double().cumsum(-1)
    uniform_N1 = torch.rand(n_rows, 1, dtype=torch.float64, device=logits_NV.device)[row_N]
    # The last sum is not exactly 1; scaled by it, a number close to 1 still falls to a token that has a probability.
    target_N1 = uniform_N1 * cumulative_NV[:, -1:]
    return torch.searchsorted(cumulative_NV, target_N1, right=True).squeeze(1).clamp(max=logits_NV.shape[1] - 1)


def _until_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    return tokens[: next((i + 1 for i, token in enumerate(tokens) if token in ends), None)]
