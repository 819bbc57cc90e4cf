"""Keys and values of the completions of several questions, each prompt's kept once.

A completion's newest token attends to its prompt and to its own tokens. With scores s_p, s_o, maxima m_p, m_o and
m = max(m_p, m_o), softmax over both parts together is

    (e^(m_p - m) sum e^(s_p - m_p) v_p + e^(m_o - m) sum e^(s_o - m_o) v_o)
    / (e^(m_p - m) sum e^(s_p - m_p) + e^(m_o - m) sum e^(s_o - m_o))

so the prompt's sums are one matrix product for all completions of a question: the prompt is neither stored nor read
once for each of them, as in Hydragen (https://arxiv.org/abs/2402.05099). Plain torch; one new token at a time.

Axes: _P question, _G completion of a question, _N completion in the batch, _T token (of the prompt, or of the
completion), _H head of keys and values, _E query head that reads the same one, _D width of a head.

What holds between two steps:

- All prompts have one padded length T, and all completions of the batch are equally long: each step adds one token to
  every one of them. So one number, the tokens written so far, serves the whole batch.
- Completions of a question lie together in the batch, and questions are numbered in the order of their completions.
- Every question of the layers has a completion in the batch; `SharedCache.keep` drops those whose last one leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from transformers import AttentionInterface, Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

ATTENTION = "polymode_shared_prompt"
"""Name under which transformers knows `attend`."""
ROOM = 128
"""Tokens that a completion's buffers hold at first; they grow by half when full."""


class UnshareableError(Exception):
    """The model's attention does more than `attend` can."""


class SharedLayer(DynamicLayer):
    """One layer: keys and values of the prompts (P, H, T, D) and of the completions' own tokens (N, H, T, D).

    To transformers it is a layer like any other: `update` takes the new token's states, `get_seq_length` counts prompt
    and completion. Unlike any other it gives back the completions' own states alone, so only `attend` can read it.
    """

    def __init__(
        self, prompt_keys_PHTD: torch.Tensor, prompt_values_PHTD: torch.Tensor, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        # Under autocast transformers' cache holds float32, because a norm with float32 weights made the keys.
        self.dtype, self.device = dtype or prompt_keys_PHTD.dtype, prompt_keys_PHTD.device
        self.is_initialized = True
        self.prompt_keys_PHTD, self.prompt_values_PHTD = (
            states.to(self.dtype) for states in (prompt_keys_PHTD, prompt_values_PHTD)
        )
        self._buffers_NHTD: tuple[torch.Tensor, ...] = ()  # keys and values; the first `_n_tokens` of T are written
        self._n_tokens = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new tokens in place and return the completions' own keys and values, without the prompt's."""
        start, self._n_tokens = self._n_tokens, self._n_tokens + key_states.shape[2]
        # Transformers' own layer concatenates, which copies everything at every step. Here a step copies one token.
        if not self._buffers_NHTD or self._n_tokens > self._buffers_NHTD[0].shape[2]:
            self._grow(key_states, value_states, start)
        for buffer_NHTD, states in zip(self._buffers_NHTD, (key_states, value_states), strict=True):
            buffer_NHTD[:, :, start : self._n_tokens] = states
        # Views of the buffers, no copies. `attend` recognises the cache's keys by the identity of this object.
        self.keys, self.values = (buffer[:, :, : self._n_tokens] for buffer in self._buffers_NHTD)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Tokens of prompt and completion so far."""
        return self.prompt_keys_PHTD.shape[2] + self._n_tokens

    def keep(self, questions: torch.Tensor, completions: torch.Tensor) -> None:
        """Forget all but these questions and completions."""
        if len(questions) < len(self.prompt_keys_PHTD):  # usually no question is finished, and prompts are long
            self.prompt_keys_PHTD = self.prompt_keys_PHTD.index_select(0, questions)
            self.prompt_values_PHTD = self.prompt_values_PHTD.index_select(0, questions)
        self._buffers_NHTD = tuple(buffer.index_select(0, completions) for buffer in self._buffers_NHTD)

    def _grow(self, keys: torch.Tensor, values: torch.Tensor, n_written: int) -> None:
        """Move to buffers of half as much again, so that all growing together copies each token about twice."""
        room = max(ROOM, self._n_tokens + n_written // 2)
        smaller = self._buffers_NHTD
        self._buffers_NHTD = tuple(
            x.new_empty(*x.shape[:2], room, x.shape[3], dtype=self.dtype) for x in (keys, values)
        )
        for buffer, before in zip(self._buffers_NHTD, smaller, strict=False):  # the first time there is no smaller one
            buffer[:, :, :n_written] = before[:, :, :n_written]


class SharedCache(Cache):
    """Cache of a batch of completions.

    Args:
        prompts: cache that holds the prompts, one row per question.
        is_token_PT: False where a prompt is padded.
        question_N: each completion's question; completions of a question lie together.
        dtype: of keys and values; None means that of the prompts'.
    """

    def __init__(
        self, prompts: Cache, is_token_PT: torch.Tensor, question_N: torch.Tensor, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(layers=[SharedLayer(layer.keys, layer.values, dtype) for layer in prompts.layers])  # type: ignore[arg-type]
        # Added to scores of the shape (P, H, G * E, T); None spares the addition where all prompts have one length.
        self.padding_P11T = None
        if not is_token_PT.all():
            padding_PT = torch.zeros(is_token_PT.shape, device=is_token_PT.device)
            self.padding_P11T = padding_PT.masked_fill(~is_token_PT, -torch.inf)[:, None, None]
        self._arrange(question_N)

    def keep(self, completions: torch.Tensor) -> None:
        """Forget all but these completions, given by their rows in rising order."""
        # `unique` sorts, and rows rise with their question: so the questions keep their order, and are renumbered.
        questions, question_N = torch.unique(self._question_N[completions], return_inverse=True)
        for layer in self.layers:
            layer.keep(questions, completions)  # type: ignore[union-attr]
        self.padding_P11T = None if self.padding_P11T is None else self.padding_P11T[questions]
        self._arrange(question_N)

    def _arrange(self, question_N: torch.Tensor) -> None:
        """Give each completion a place in a full table of questions and their completions, and remember both ways.

        Questions may have different numbers of completions, above all after some have left. G is the largest; where a
        question has fewer, `row_PG` repeats row 0, whose result at that place nobody reads.
        """
        self._question_N = question_N
        count_P = torch.bincount(question_N)
        largest = int(count_P.max())
        first_P = count_P.cumsum(0) - count_P  # the row of each question's first completion, as they lie together
        row_N = torch.arange(len(question_N), device=question_N.device)
        self.place_N = question_N * largest + row_N - first_P[question_N]
        self.row_PG = row_N.new_zeros(len(count_P) * largest).index_copy_(0, self.place_N, row_N)


# Transformers hands the cache to the model but not to the attention function. A context variable, unlike a global, is
# each thread's own: two generators may decode side by side.
_cache: ContextVar[SharedCache] = ContextVar("shared_cache")


@contextmanager
def attending(model: PreTrainedModel, cache: SharedCache) -> Iterator[None]:
    """Let the model's attention read ``cache``, which each forward call must be given too."""
    before: Any = model.config._attn_implementation
    token = _cache.set(cache)
    try:
        model.set_attn_implementation(ATTENTION)
        yield
    finally:
        model.set_attn_implementation(before)
        _cache.reset(token)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one new token: ``query`` (N, H * E, 1, D) to (N, 1, H * E, D).

    ``key`` and ``value`` (N, H, T, D) are the completions' own, as the cache returned them. The new token comes last of
    all, so it sees everything and the mask is not needed; padding of prompts is the cache's.

    Raises:
        UnshareableError: the model made other keys of them, or adds something to the scores.
    """
    cache = _cache.get()
    layer: Any = cache.layers[int(module.layer_idx)]  # type: ignore[arg-type]
    # A model that changes the cache's keys would have to change the prompt's too, which it never gets to see.
    if key is not layer.keys or any(options.get(name) is not None for name in ("position_bias", "softcap", "s_aux")):
        raise UnshareableError(type(module).__name__)
    n, n_query_heads, _, width = query.shape
    n_heads = key.shape[1]
    n_each = n_query_heads // n_heads
    n_questions = len(layer.prompt_keys_PHTD)
    n_places = len(cache.row_PG) // n_questions
    query_NHED = (query * (width**-0.5 if scaling is None else scaling)).view(n, n_heads, n_each, width)

    # 1. Queries to their prompts. All completions of a question stand side by side, so that for each head one product
    #    reads the prompt's keys once, G * E queries at a time.
    query_PGHED = query_NHED.index_select(0, cache.row_PG).view(n_questions, n_places, n_heads, n_each, width)
    query_PHQD = query_PGHED.transpose(1, 2).reshape(n_questions, n_heads, -1, width)  # Q = G * E
    scores_PHQT = (query_PHQD @ layer.prompt_keys_PHTD.transpose(2, 3)).float()
    if cache.padding_P11T is not None:
        scores_PHQT += cache.padding_P11T

    def to_rows(x_PHQ_: torch.Tensor) -> torch.Tensor:
        """From the table of questions back to the rows of the batch, (N, H, E, ...); fillers are dropped."""
        x_PGHE_ = x_PHQ_.view(n_questions, n_heads, n_places, n_each, -1).transpose(1, 2)
        return x_PGHE_.reshape(n_questions * n_places, n_heads, n_each, -1).index_select(0, cache.place_N)

    prompt_sum, prompt_total, prompt_max = map(to_rows, _sums(scores_PHQT, layer.prompt_values_PHTD, dropout))
    # 2. Queries to the completions' own tokens, row by row.
    own_sum, own_total, own_max = _sums((query_NHED @ key.transpose(2, 3)).float(), value, dropout)
    # 3. Both parts on the scale of the larger maximum, by the formula above: neither exponential can overflow, and the
    #    larger part's is 1, so the total is never 0.
    top = torch.maximum(prompt_max, own_max)
    prompt_share, own_share = (prompt_max - top).exp_(), (own_max - top).exp_()
    total = prompt_total * prompt_share + own_total * own_share
    out_NHED = (prompt_sum * prompt_share + own_sum * own_share) / total
    return out_NHED.to(value.dtype).reshape(n, 1, n_query_heads, -1), None


def _sums(
    scores: torch.Tensor, values: torch.Tensor, dropout: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sum of e^(s - m) v, sum of e^(s - m), and m, over the last axis; overwrites ``scores``."""
    top = scores.amax(-1, keepdim=True)
    weights = scores.sub_(top).exp_()
    total = weights.sum(-1, keepdim=True)  # before dropout, which thins out the weights and not their norm
    if dropout:
        weights = torch.nn.functional.dropout(weights, dropout)
    return weights.to(values.dtype) @ values, total, top


AttentionInterface.register(ATTENTION, attend)
