"""Sampling many completions of few questions: each prompt is read once, finished completions leave the batch.

Tokens are drawn from softmax(logits / temperature) in float32 over the whole vocabulary, as transformers' `generate`
draws them with top_k = 0 and top_p = 1, from one uniform number per completion and step: the first token whose
cumulative probability exceeds it. (`torch.multinomial` draws one number per token of the vocabulary, which on a CPU
takes a seventh of a small model's time.) One number of torch's global generator seeds a call, and row and step decide
the rest, so a completion depends neither on when others leave nor on how many are sampled side by side. With a seed for
each completion it does not even depend on which others there are, but for rounding: logits of a batch differ from those
of a single text in their last digits, so that a number close to a boundary may fall to the other side of it.

That number is what memory allows (`polymode.decoding.memory`); it is halved when memory runs out all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig

from polymode.decoding.memory import compute_dtype_of, rows_that_fit, sample_in_chunks
from polymode.decoding.settings import Settings, base_of, settings_of
from polymode.decoding.shared_cache import SharedCache, UnshareableError, attending
from polymode.decoding.stops import StopStrings

LOOK = 4
"""Steps between two looks at which completions are finished: a look waits for the device."""
DROP = 1 / 8
"""Finished share of the batch from which it is worth copying the rest."""
BLOCK = 1024
"""Tokens of the vocabulary whose probabilities are added up first."""
_SEEDS = 1 << 62
_STEP = 0x9E3779B97F4A7C15 % _SEEDS  # an odd number far from round ones, so that seeds of steps do not meet
Draw = Callable[[int], torch.Tensor]
"""A uniform number in [0, 1) of double precision for each completion of a step, on the CPU."""
Watch = Callable[[int, Callable[[], list[int]]], None]
"""Called with the number of a completion that grows, and what gives its tokens so far; copying them costs time."""


def complete(
    model: Any,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    stops: StopStrings | None = None,
    seeds: Sequence[int] | None = None,
    watch: Watch | None = None,
) -> list[list[int]] | None:
    """`sample_tokens` by a generation config, or None where only transformers' `generate` can do what is asked."""
    settings = settings_of(model, config)
    if settings is None or not all(prompts):
        return None
    try:
        rows = sample_tokens(model, prompts, settings, stops=stops, seeds=seeds, watch=watch)
        return rows if stops is None else [stops.until_stop(row) for row in rows]
    except UnshareableError:
        return None


@torch.no_grad()
def sample_tokens(
    model: Any,
    prompts: Sequence[Sequence[int]],
    settings: Settings,
    *,
    at_once: int | None = None,
    stops: StopStrings | None = None,
    seeds: Sequence[int] | None = None,
    watch: Watch | None = None,
) -> list[list[int]]:
    """One completion of each prompt, the end token included; equal prompts share their keys and values.

    The model must be one that `polymode.decoding.settings.can_share`, and no prompt empty.

    Args:
        model: the model.
        prompts: tokens of each prompt.
        settings: how to sample.
        at_once: most completions side by side; None means what memory allows.
        stops: texts that end a completion too; some tokens behind one may be there still.
        seeds: of each completion; by default torch's global generator seeds them all.
        watch: called with the number of each completion and its tokens so far, every few steps.

    Raises:
        UnshareableError: the model's attention turns out to need more.
        ConfigError: a single completion does not fit.
    """
    draw = _by_call(len(prompts)) if seeds is None else _by_completion(seeds, settings.max_tokens)
    number_of = {prompt: i for i, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    # The cache wants a question's completions together.
    order = sorted(range(len(prompts)), key=lambda i: number_of[tuple(prompts[i])])
    longest = max(map(len, prompts), default=0)

    def sample(rows: Sequence[int]) -> list[list[int]]:
        return _sample_rows(model, [prompts[i] for i in rows], rows, settings, draw, stops, watch)

    at_once = at_once or rows_that_fit(model, longest, settings.max_tokens)
    tokens_N = [len(prompt) + settings.max_tokens for prompt in prompts]
    return sample_in_chunks(model, order, tokens_N, at_once, sample)


def _sample_rows(
    model: Any,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[int],
    settings: Settings,
    draw: Draw,
    stops: StopStrings | None,
    watch: Watch | None,
) -> list[list[int]]:
    """Completions of prompts that lie together by question; ``rows`` are their numbers among all."""
    questions = list(dict.fromkeys(map(tuple, prompts)))
    number_of = {question: i for i, question in enumerate(questions)}
    device = model.device
    question_N = torch.tensor([number_of[tuple(prompt)] for prompt in prompts], device=device)
    logits_PV, is_token_PT, prompt_cache = _read_prompts(model, questions)
    cache = SharedCache(prompt_cache, is_token_PT, question_N, compute_dtype_of(model))
    logits_NV, length_N = logits_PV[question_N], is_token_PT.sum(1)[question_N]

    # N shrinks as completions leave; place_N says which row of tokens_RT, the table of them all, each one writes.
    row_R, place_N = torch.tensor(rows), torch.arange(len(rows), device=device)
    ends = torch.tensor(settings.ends, dtype=torch.long, device=device)
    tokens_RT = torch.zeros(len(rows), settings.max_tokens, dtype=torch.long, device=device)
    is_done_N = torch.zeros(len(rows), dtype=torch.bool, device=device)
    with attending(base_of(model), cache):
        for step in range(settings.max_tokens):
            if step < settings.min_tokens:
                logits_NV[:, ends] = -torch.inf
            if settings.temperature == 0:
                chosen_N = logits_NV.argmax(-1)
            else:
                uniform_N = draw(step)[row_R].to(device)[place_N]
                chosen_N = choose(logits_NV / settings.temperature, uniform_N)
            tokens_RT[place_N, step] = chosen_N
            is_done_N |= torch.isin(chosen_N, ends)
            if step + 1 == settings.max_tokens:
                break
            if step % LOOK == LOOK - 1:
                if watch is not None:
                    for i in place_N.tolist():
                        watch(rows[i], lambda i=i, n=step + 1: _until_end(tokens_RT[i, :n].tolist(), settings.ends))
                if stops is not None:
                    first = max(0, step + 1 - LOOK - stops.window)
                    tails = tokens_RT[place_N, first : step + 1].tolist()
                    is_done_N |= torch.tensor([stops.are_in(tail) for tail in tails], device=device)
                unfinished = (~is_done_N).nonzero().squeeze(1)
                if not len(unfinished):
                    break
                if len(unfinished) <= (1 - DROP) * len(place_N):
                    cache.keep(unfinished)
                    place_N, chosen_N = place_N[unfinished], chosen_N[unfinished]
                    length_N, is_done_N = length_N[unfinished], is_done_N[unfinished]
            # Padding does not count: a token's position is the number of real ones before it.
            positions_N1 = (length_N + step).unsqueeze(1)
            out = model(
                input_ids=chosen_N.unsqueeze(1), position_ids=positions_N1, past_key_values=cache, use_cache=True
            )
            logits_NV = out.logits[:, -1].float()
    return [_until_end(row, settings.ends) for row in tokens_RT.tolist()]


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


def _by_call(n_rows: int) -> Draw:
    """One seed for all completions, from torch's global generator."""
    seed = int(torch.randint(_SEEDS, ()))

    def draw(step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed((seed + step * _STEP) % _SEEDS)
        return torch.rand(n_rows, dtype=torch.float64, generator=generator)

    return draw


def _by_completion(seeds: Sequence[int], n_steps: int) -> Draw:
    """A seed for each completion, whose numbers do not depend on the others."""
    rows = [torch.rand(n_steps, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    uniform_RT = torch.stack(rows) if rows else torch.zeros(0, n_steps)
    return lambda step: uniform_RT[:, step]


def choose(logits_NV: torch.Tensor, uniform_N: torch.Tensor) -> torch.Tensor:
    """The first token of each row whose cumulative probability exceeds the row's number.

    Cumulative sums need double precision, or the many small probabilities of a large vocabulary are rounded away. A
    copy of (N, V) in double precision would be the largest array of a step, so the sum is taken in two stages: over
    blocks of `BLOCK` tokens, then inside the block that the number falls into.
    """
    p_NV = torch.softmax(logits_NV, -1)
    n, vocabulary = p_NV.shape
    p_NBC = torch.nn.functional.pad(p_NV, (0, -vocabulary % BLOCK)).view(n, -1, BLOCK)
    # The last sum is not exactly 1; scaled by it, a number close to 1 still falls to a token that has a probability.
    up_to_NB = p_NBC.sum(-1, dtype=torch.float64).cumsum(-1)
    target_N1 = uniform_N.unsqueeze(1) * up_to_NB[:, -1:]
    block_N1 = torch.searchsorted(up_to_NB, target_N1, right=True).clamp_(max=up_to_NB.shape[1] - 1)
    before_N1 = up_to_NB.gather(1, block_N1) - p_NBC.sum(-1, dtype=torch.float64).gather(1, block_N1)
    inside_NC = p_NBC.gather(1, block_N1.unsqueeze(-1).expand(-1, 1, BLOCK)).squeeze(1).double().cumsum(-1)
    # Two sums of the same numbers differ in their last digit; a block's own total bounds what is looked for in it.
    rest_N1 = torch.minimum(target_N1 - before_N1, inside_NC[:, -1:].nextafter(torch.zeros_like(target_N1))).clamp_(
        min=0
    )
    place_N1 = torch.searchsorted(inside_NC, rest_N1, right=True)
    return (block_N1 * BLOCK + place_N1).squeeze(1)


def _until_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    return tokens[: next((i + 1 for i, token in enumerate(tokens) if token in ends), None)]
