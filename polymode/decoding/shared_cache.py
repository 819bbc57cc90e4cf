"""Keys and values of the completions of several questions, each prompt's kept once.

A completion's newest token attends to its prompt and to its own tokens. With scores s_p, s_o, maxima m_p, m_o and
m = max(m_p, m_o), softmax over both parts together is

    (e^(m_p - m) sum e^(s_p - m_p) v_p + e^(m_o - m) sum e^(s_o - m_o) v_o)
    / (e^(m_p - m) sum e^(s_p - m_p) + e^(m_o - m) sum e^(s_o - m_o))

so the prompt's sums are one matrix product for all completions of a question: the prompt is neither stored nor read
once for each of them, as in Hydragen (https://arxiv.org/abs/2402.05099). Plain torch; one new token at a time.
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
    """One layer: (questions, heads, prompt, width) of the prompts, (completions, heads, tokens, width) of the rest."""

    def __init__(self, prompt_keys: torch.Tensor, prompt_values: torch.Tensor) -> None:
        super().__init__()
        self.prompt_keys, self.prompt_values = prompt_keys, prompt_values
        self.dtype, self.device, self.is_initialized = prompt_keys.dtype, prompt_keys.device, True
        self._buffers: tuple[torch.Tensor, ...] = ()
        self._filled = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new tokens in place and return the completions' own keys and values, without the prompt's."""
        start, self._filled = self._filled, self._filled + key_states.shape[2]
        if not self._buffers or self._filled > self._buffers[0].shape[2]:
            self._grow(key_states, value_states, start)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start : self._filled] = states
        self.keys, self.values = (buffer[:, :, : self._filled] for buffer in self._buffers)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Tokens of prompt and completion so far."""
        return self.prompt_keys.shape[2] + self._filled

    def keep(self, questions: torch.Tensor, completions: torch.Tensor) -> None:
        """Forget all but these questions and completions."""
        if len(questions) < len(self.prompt_keys):
            self.prompt_keys = self.prompt_keys.index_select(0, questions)
            self.prompt_values = self.prompt_values.index_select(0, questions)
        self._buffers = tuple(buffer.index_select(0, completions) for buffer in self._buffers)

    def _grow(self, keys: torch.Tensor, values: torch.Tensor, filled: int) -> None:
        room = max(ROOM, self._filled + filled // 2)
        old, self._buffers = self._buffers, tuple(x.new_empty(*x.shape[:2], room, x.shape[3]) for x in (keys, values))
        for buffer, before in zip(self._buffers, old, strict=False):
            buffer[:, :, :filled] = before[:, :, :filled]


class SharedCache(Cache):
    """Cache of a batch of completions.

    Args:
        prompts: cache that holds the prompts, one row per question.
        is_token: (questions, prompt), False where a prompt is padded.
        question_of: (completions,) each completion's question; completions of a question lie together.
    """

    def __init__(self, prompts: Cache, is_token: torch.Tensor, question_of: torch.Tensor) -> None:
        super().__init__(layers=[SharedLayer(layer.keys, layer.values) for layer in prompts.layers])  # type: ignore[arg-type]
        # (questions, 1, 1, prompt), added to scores; None spares the addition where all prompts have one length
        self.padding = None
        if not is_token.all():
            self.padding = torch.zeros(is_token.shape, device=is_token.device).masked_fill(~is_token, -torch.inf)
            self.padding = self.padding[:, None, None]
        self._seat(question_of)

    def keep(self, completions: torch.Tensor) -> None:
        """Forget all but these completions, given by their rows in rising order."""
        questions, question_of = torch.unique(self._question_of[completions], return_inverse=True)
        for layer in self.layers:
            layer.keep(questions, completions)  # type: ignore[union-attr]
        self.padding = None if self.padding is None else self.padding[questions]
        self._seat(question_of)

    def _seat(self, question_of: torch.Tensor) -> None:
        """Give each completion a seat in a table (questions, most completions of any); an empty one repeats row 0."""
        self._question_of = question_of
        counts = torch.bincount(question_of)
        width = int(counts.max())
        first = counts.cumsum(0) - counts
        rows = torch.arange(len(question_of), device=question_of.device)
        self.seat_of = question_of * width + rows - first[question_of]
        self.row_at = rows.new_zeros(len(counts) * width).index_copy_(0, self.seat_of, rows)


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
    """Attention of one new token: ``query`` (completions, heads, 1, width) to (completions, 1, heads, width).

    ``key`` and ``value`` are the completions' own, as the cache returned them.

    Raises:
        UnshareableError: the model made other keys of them, or adds something to the scores.
    """
    cache = _cache.get()
    layer: Any = cache.layers[int(module.layer_idx)]  # type: ignore[arg-type]
    if key is not layer.keys or any(options.get(name) is not None for name in ("position_bias", "softcap", "s_aux")):
        raise UnshareableError(type(module).__name__)
    rows, heads, _, width = query.shape
    held, each = key.shape[1], heads // key.shape[1]  # grouped queries: `each` heads read one held head
    questions, seats = len(layer.prompt_keys), len(cache.row_at) // len(layer.prompt_keys)
    query = (query * (width**-0.5 if scaling is None else scaling)).view(rows, held, each, width)

    seated = query.index_select(0, cache.row_at).view(questions, seats, held, each, width).transpose(1, 2)
    scores = (seated.reshape(questions, held, -1, width) @ layer.prompt_keys.transpose(2, 3)).float()
    if cache.padding is not None:
        scores += cache.padding

    def to_rows(of_seats: torch.Tensor) -> torch.Tensor:
        parts = of_seats.view(questions, held, seats, each, -1).transpose(1, 2)
        return parts.reshape(questions * seats, held, each, -1).index_select(0, cache.seat_of)

    prompt_sum, prompt_total, prompt_max = map(to_rows, _sums(scores, layer.prompt_values, dropout))
    own_sum, own_total, own_max = _sums((query @ key.transpose(2, 3)).float(), value, dropout)
    top = torch.maximum(prompt_max, own_max)
    prompt_share, own_share = (prompt_max - top).exp_(), (own_max - top).exp_()
    total = prompt_total * prompt_share + own_total * own_share
    out = (prompt_sum * prompt_share + own_sum * own_share) / total
    return out.to(value.dtype).reshape(rows, 1, heads, -1), None


def _sums(
    scores: torch.Tensor, values: torch.Tensor, dropout: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sum of e^(s - m) v, sum of e^(s - m), and m, over the last axis; overwrites ``scores``."""
    top = scores.amax(-1, keepdim=True)
    weights = scores.sub_(top).exp_()
    total = weights.sum(-1, keepdim=True)
    if dropout:
        weights = torch.nn.functional.dropout(weights, dropout)
    return weights.to(values.dtype) @ values, total, top


AttentionInterface.register(ATTENTION, attend)
