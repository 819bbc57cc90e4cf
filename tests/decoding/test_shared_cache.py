"""Attention over shared prompts against torch's own over prompt and completion laid end to end."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from polymode.decoding import shared_cache
from polymode.decoding.shared_cache import SharedCache, UnshareableError, attend

LAYER: Any = SimpleNamespace(layer_idx=0)


def attended(cache: SharedCache, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """What a layer's attention gives for one new token of each completion."""
    token = shared_cache._cache.set(cache)
    try:
        return attend(LAYER, query, *cache.update(key, value, 0), None)[0]
    finally:
        shared_cache._cache.reset(token)


def prompts(keys: torch.Tensor, values: torch.Tensor) -> DynamicCache:
    cache = DynamicCache()
    cache.update(keys, values, 0)
    return cache


def test_two_tokens_by_hand() -> None:
    """One prompt token, key 0 and value 1; an own token, key ln 3 and value 5; query 1, width 1.

    Weights e^0 : e^(ln 3) = 1 : 3, so (1 + 3 * 5) / 4 = 4. The next own token has key 0 and value 10: weights
    1 : 3 : 1, so (1 + 15 + 10) / 5 = 5.2.
    """

    def one(x: float) -> torch.Tensor:
        return torch.full((1, 1, 1, 1), x)

    cache = SharedCache(prompts(one(0.0), one(1.0)), torch.ones(1, 1, dtype=torch.bool), torch.tensor([0]))
    assert cache.get_seq_length() == 1
    assert attended(cache, one(1.0), one(torch.log(torch.tensor(3.0)).item()), one(5.0)).item() == pytest.approx(4)
    assert attended(cache, one(1.0), one(0.0), one(10.0)).item() == pytest.approx(5.2)
    assert cache.get_seq_length() == 3


@pytest.mark.parametrize("heads", [2, 6])
@pytest.mark.parametrize("pads", [(0, 0, 0), (2, 0, 3)])
def test_the_same_as_torch_on_whole_sequences(
    heads: int, pads: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uneven groups, grouped queries, padded prompts, buffers that grow, and completions that leave."""
    monkeypatch.setattr(shared_cache, "ROOM", 2)
    rng = torch.Generator().manual_seed(0)
    held, width, prompt = 2, 4, 5

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng)

    prompt_keys, prompt_values = random(3, held, prompt, width), random(3, held, prompt, width)
    is_token = torch.arange(prompt) >= torch.tensor(pads)[:, None]
    question_of = torch.tensor([0, 0, 0, 1, 2, 2])
    cache = SharedCache(prompts(prompt_keys, prompt_values), is_token, question_of)
    keys, values = prompt_keys[question_of], prompt_values[question_of]
    mask = is_token[question_of]
    for step in range(8):
        if step == 5:  # completions 1 and 3 are finished; question 1 has no other
            left = torch.tensor([0, 2, 4, 5])
            cache.keep(left)
            keys, values, mask = keys[left], values[left], mask[left]
        n = len(keys)
        key, value, query = random(n, held, 1, width), random(n, held, 1, width), random(n, heads, 1, width)
        keys, values = torch.cat([keys, key], 2), torch.cat([values, value], 2)
        mask = torch.cat([mask, torch.ones(n, 1, dtype=torch.bool)], 1)
        expected = torch.nn.functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask[:, None, None], enable_gqa=True
        )
        torch.testing.assert_close(attended(cache, query, key, value), expected.transpose(1, 2))
        assert cache.get_seq_length() == prompt + step + 1
    assert len(cache.layers[0].prompt_keys_PHTD) == 2  # type: ignore[union-attr]


def test_scores_of_any_size_do_not_overflow() -> None:
    ones = torch.ones(1, 1, 1, 1)
    for prompt_key, own_key, expected in ((1e4, -1e4, 1.0), (-1e4, 1e4, 3.0), (1e4, 1e4, 2.0)):
        cache = SharedCache(prompts(prompt_key * ones, ones), torch.ones(1, 1, dtype=torch.bool), torch.tensor([0]))
        assert attended(cache, ones, own_key * ones, 3 * ones).item() == expected


def test_attention_that_needs_more_is_refused() -> None:
    ones = torch.ones(1, 1, 1, 1)
    cache = SharedCache(prompts(ones, ones), torch.ones(1, 1, dtype=torch.bool), torch.tensor([0]))
    token = shared_cache._cache.set(cache)
    try:
        key, value = cache.update(ones, ones, 0)
        with pytest.raises(UnshareableError):  # keys that the model made of the cache's
            attend(LAYER, ones, key * 2, value, None)
        with pytest.raises(UnshareableError):
            attend(LAYER, ones, key, value, None, position_bias=ones)
    finally:
        shared_cache._cache.reset(token)
