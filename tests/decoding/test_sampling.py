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
from polymode.decoding.sampling import complete, sample_tokens
from polymode.decoding.settings import Settings

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
        observed = np.append(counts[is_common], counts[~is_common].sum())
        expected = np.append(p[is_common], p[~is_common].sum()) * len(seen)
        assert is_common.sum() > 3
        assert stats.chisquare(observed + 1e-9, expected + 1e-9, sum_check=False).pvalue > 0.01


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


def test_no_token_of_probability_zero_is_drawn() -> None:
    logits = torch.full((1, 5), -torch.inf)
    logits[0, 2] = 0.0
    assert sampling._choose(logits.expand(1000, 5), 1.0, torch.arange(1000), 1000).unique().tolist() == [2]


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


@pytest.mark.parametrize("name", ["latent", "sliding"])
def test_where_generate_is_needed_nothing_is_returned(name: str, model_of: Build) -> None:
    model = model_of(name)
    asked = GenerationConfig(max_new_tokens=4, do_sample=False)
    assert complete(model, PROMPTS, asked) is None
    assert model.config._attn_implementation == "sdpa"
    assert complete(model_of("qwen3"), PROMPTS, asked) is not None
    assert complete(model_of("qwen3"), [[], [3]], asked) is None
