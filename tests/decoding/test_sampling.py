"""Completions against transformers' `generate` token by token, and samples against the model's own distribution."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy import stats
from transformers import GenerationConfig, PreTrainedModel

from polymode.decoding import sampling
from polymode.decoding.memory import compute_dtype_of, rows_that_fit
from polymode.decoding.sampling import complete, sample_tokens
from polymode.decoding.settings import Settings
from polymode.errors import ConfigError

Build = Callable[[str], PreTrainedModel]
_WORDS = random.Random(0)
QUESTIONS = [[_WORDS.randrange(3, 31) for _ in range(length)] for length in (3, 9, 1, 7)]
PROMPTS = [QUESTIONS[i] for i in (0, 1, 1, 2, 0, 3, 1, 3)]
"""Ragged prompts, some of them several times and not side by side."""


def generated(model: Any, prompts: list[list[int]], **options: Any) -> list[list[int]]:
    """What `generate` makes of the prompts, without padding."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    rows = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, pad_token_id=0, **options)
    ends = options["eos_token_id"]
    return [sampling._until_end(row, ends) for row in rows[:, width:].tolist()]


@pytest.mark.parametrize("name", ["qwen3", "llama", "gpt2"])
def test_greedy_completions_are_those_of_generate(name: str, model_of: Build) -> None:
    model = model_of(name)
    free = generated(model, PROMPTS, max_new_tokens=24, eos_token_id=[999])
    assert len({token for row in free for token in row}) > 3  # else this would show little
    assert sample_tokens(model, PROMPTS, Settings(24, 0.0, (999,))) == free
    # The token that the second question's completion comes to after some steps ends it, and perhaps others.
    end = free[1][9]
    ended = generated(model, PROMPTS, max_new_tokens=24, eos_token_id=[end])
    assert len({len(row) for row in ended}) > 1
    assert sample_tokens(model, PROMPTS, Settings(24, 0.0, (end,))) == ended
    held = generated(model, PROMPTS, max_new_tokens=24, min_new_tokens=12, eos_token_id=[end])
    assert sample_tokens(model, PROMPTS, Settings(24, 0.0, (end,), 12)) == held


def test_a_prompt_is_read_once_and_finished_completions_leave(model_of: Build) -> None:
    model = model_of("qwen3")
    shapes: list[tuple[int, ...]] = []
    model.get_input_embeddings().register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    free = sample_tokens(model, PROMPTS, Settings(24, 0.0, ()))
    assert shapes == [(4, 9)] + [(8, 1)] * 23
    shapes.clear()
    end = free[1][9]
    done = sample_tokens(model, PROMPTS, Settings(24, 0.0, (end,)))
    sizes = [shape[0] for shape in shapes[1:]]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 8
    assert [row[: len(kept)] for row, kept in zip(free, done, strict=True)] == done


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_a_completion_with_a_seed_of_its_own_does_not_depend_on_the_others(name: str, model_of: Build) -> None:
    model, settings = model_of(name), Settings(24, 1.0, (5,))
    seeds = [11, 12, 13, 11, 12, 16, 2**31 - 1, 0]
    together = sample_tokens(model, PROMPTS, settings, seeds=seeds)
    alone = [sample_tokens(model, [p], settings, seeds=[seed])[0] for p, seed in zip(PROMPTS, seeds, strict=True)]
    assert together == alone
    assert together == sample_tokens(model, PROMPTS, settings, seeds=seeds, at_once=3)
    mixed = sample_tokens(model, PROMPTS[::-1], settings, seeds=seeds[::-1])
    assert together == mixed[::-1]
    assert sample_tokens(model, [PROMPTS[1]] * 2, settings, seeds=[12, 13]) == together[1:3]
    assert together[1] != together[2]  # one prompt, two seeds


def test_first_and_second_tokens_have_the_models_distribution(model_of: Build) -> None:
    model, question, n = model_of("qwen3"), QUESTIONS[1], 6000
    torch.manual_seed(0)
    rows = sample_tokens(model, [question] * n, Settings(2, 2.5, ()))
    most = Counter(row[0] for row in rows).most_common(1)[0][0]
    for before, seen in (([], [row[0] for row in rows]), ([most], [row[1] for row in rows if row[0] == most])):
        with torch.no_grad():
            logits = model(torch.tensor([question + before])).logits[0, -1]
        p = torch.softmax(logits.double() / 2.5, -1).numpy()
        counts = np.bincount(seen, minlength=len(p))
        is_common = p * len(seen) >= 5  # the others are counted as one
        observed = np.append(counts[is_common], counts[~is_common].sum()) + 1e-9
        expected = np.append(p[is_common], p[~is_common].sum()) + 1e-9
        assert is_common.sum() > 3
        expected *= observed.sum() / expected.sum()  # scipy wants equal sums to the last digit
        assert stats.chisquare(observed, expected).pvalue > 0.01


def test_likelihood_of_whole_samples_is_what_the_model_expects(model_of: Build) -> None:
    """Mean of log p(x) over samples x against minus the entropy, summed over steps: equal in expectation."""
    model, n, length = model_of("llama"), 1500, 8
    torch.manual_seed(1)
    rows = torch.tensor(sample_tokens(model, [QUESTIONS[0]] * n, Settings(length, 3.0, ())))
    ids = torch.cat([torch.tensor([QUESTIONS[0]] * n), rows], 1)
    with torch.no_grad():
        logs = (model(ids).logits[:, -length - 1 : -1] / 3.0).log_softmax(-1)
    gap = (logs.gather(2, rows.unsqueeze(2)).squeeze(2) - (logs.exp() * logs).sum(-1)).sum(1)
    assert abs(gap.mean()) < 4 * gap.std() / n**0.5


def test_the_seed_decides_and_leaving_does_not(model_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("qwen3")

    def sampled(seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        return sample_tokens(model, PROMPTS * 4, Settings(40, 3.0, (1, 5, 7)))

    first = sampled(0)
    assert sampled(0) == first != sampled(1)
    lengths = [len(row) for row in first]
    assert min(lengths) < 20 < max(lengths)
    assert all(row[-1] in (1, 5, 7) or len(row) == 40 for row in first)
    monkeypatch.setattr(sampling, "DROP", 2.0)  # nobody ever leaves
    assert sampled(0) == first


def test_a_completion_does_not_depend_on_how_many_are_sampled_at_once(model_of: Build) -> None:
    model = model_of("qwen3")

    def sampled(at_once: int | None) -> list[list[int]]:
        torch.manual_seed(3)
        return sample_tokens(model, PROMPTS * 2, Settings(12, 3.0, (1, 5)), at_once=at_once)

    assert sampled(None) == sampled(16) == sampled(5) == sampled(1)


def test_out_of_memory_halves_the_number_and_one_that_does_not_fit_is_an_error(
    model_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, real, sizes = model_of("qwen3"), sampling._sample_rows, []

    def limited(model: Any, prompts: Any, *rest: Any) -> list[list[int]]:
        sizes.append(len(prompts))
        if len(prompts) > limit:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
        return real(model, prompts, *rest)

    monkeypatch.setattr(sampling, "_sample_rows", limited)
    limit = 8
    torch.manual_seed(0)
    all_at_once = sample_tokens(model, PROMPTS, Settings(6, 1.0, (1,)))
    limit = 3
    torch.manual_seed(0)
    assert sample_tokens(model, PROMPTS, Settings(6, 1.0, (1,))) == all_at_once
    assert sizes == [8, 8, 4, 2, 2, 2, 2]
    limit = 0
    with pytest.raises(ConfigError, match="no room for one completion of up to 9 tokens"):
        sample_tokens(model, PROMPTS, Settings(6, 1.0, (1,)))


def test_other_errors_are_not_taken_for_want_of_memory(model_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(sampling, "_sample_rows", broken)
    with pytest.raises(RuntimeError, match="device-side"):
        sample_tokens(model_of("qwen3"), PROMPTS, Settings(6, 1.0, (1,)))


@pytest.mark.parametrize("vocabulary", [5, 1024, 3000])
def test_choices_are_those_of_one_long_sum(vocabulary: int) -> None:
    generator = torch.Generator().manual_seed(vocabulary)
    logits = 3 * torch.randn(400, vocabulary, generator=generator)
    logits[:, ::3] = -torch.inf
    uniform = torch.rand(400, dtype=torch.float64, generator=generator)
    uniform[:3] = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    chosen = sampling.choose(logits, uniform)
    up_to = torch.softmax(logits, -1).double().cumsum(-1)
    one_sum = torch.searchsorted(up_to, uniform.unsqueeze(1) * up_to[:, -1:], right=True).squeeze(1)
    assert (chosen == one_sum).float().mean() > 0.99  # sums in another order differ in the last digit
    assert torch.isfinite(logits.gather(1, chosen.unsqueeze(1))).all()
    between = (up_to.gather(1, torch.maximum(chosen, one_sum)[:, None]) - uniform[:, None]).abs()
    assert (between[chosen != one_sum] < 1e-6).all()


def test_no_token_of_probability_zero_is_drawn() -> None:
    logits = torch.full((1, 5), -torch.inf)
    logits[0, 2] = 0.0
    uniform = torch.rand(1000, dtype=torch.float64)
    assert sampling.choose(logits.expand(1000, 5), uniform).unique().tolist() == [2]


def test_under_autocast_keys_and_values_take_two_bytes(model_of: Build) -> None:
    model = model_of("qwen3")  # its keys come from a norm with float32 weights
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        _, is_token_PT, prompts = sampling._read_prompts(model, [tuple(QUESTIONS[1])])
        dtype = compute_dtype_of(model)
        layer: Any = sampling.SharedCache(prompts, is_token_PT, torch.tensor([0]), dtype).layers[0]
        assert layer.prompt_keys_PHTD.dtype is layer.prompt_values_PHTD.dtype is torch.bfloat16
        sample_tokens(model, PROMPTS, Settings(4, 1.0, (1,)))
    assert compute_dtype_of(model) is torch.float32


def test_memory_of_a_row_by_hand(model_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("qwen3")
    config = model.config
    each = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    row = each * (2.5 * 100 + 50) + 16 * config.vocab_size
    monkeypatch.setattr("polymode.decoding.memory.free_bytes", lambda device: int(2 * row * 7.5))
    assert rows_that_fit(model, 50, 100) == 7  # half of the memory of a CPU
    monkeypatch.setattr("polymode.decoding.memory.free_bytes", lambda device: 1)
    assert rows_that_fit(model, 50, 100) == 1


@pytest.mark.parametrize("is_training", [False, True])
def test_the_models_attention_and_mode_come_back(is_training: bool, model_of: Build) -> None:
    model = model_of("qwen3").train(is_training)
    before = generated(model_of("qwen3"), PROMPTS, max_new_tokens=6, eos_token_id=[1])
    assert sample_tokens(model, PROMPTS, Settings(6, 0.0, (1,))) == before
    with pytest.raises(TypeError):
        sample_tokens(model, PROMPTS, Settings(6, None, (1,)))  # type: ignore[arg-type]
    assert model.config._attn_implementation == "sdpa" and model.training == is_training


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # PEFT uses the old name
def test_adapters_take_part(model_of: Build) -> None:
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    torch.manual_seed(0)
    model = get_peft_model(model_of("qwen3"), lora).eval()
    expected = generated(model, PROMPTS, max_new_tokens=12, eos_token_id=[1])
    assert expected != generated(model_of("qwen3"), PROMPTS, max_new_tokens=12, eos_token_id=[1])
    assert sample_tokens(model, PROMPTS, Settings(12, 0.0, (1,))) == expected


def test_where_generate_is_needed_nothing_is_returned(model_of: Build) -> None:
    model = model_of("sliding")
    asked = GenerationConfig(max_new_tokens=4, do_sample=False)
    assert complete(model, PROMPTS, asked) is None
    assert model.config._attn_implementation == "sdpa"
    assert complete(model_of("qwen3"), PROMPTS, asked) is not None
    assert complete(model_of("qwen3"), [[], [3]], asked) is None


def test_latent_attention_is_left_to_generate_or_comes_to_the_same(model_of: Build) -> None:
    """Whether its keys reach the cache as they are made depends on the version of transformers."""
    model = model_of("latent")
    made = complete(model, PROMPTS, GenerationConfig(max_new_tokens=4, do_sample=False, eos_token_id=1))
    assert made in (None, generated(model, PROMPTS, max_new_tokens=4, eos_token_id=[1]))
    assert model.config._attn_implementation == "sdpa"
