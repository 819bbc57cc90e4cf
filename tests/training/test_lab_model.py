"""The lab's tokenizer gives every lab text back exactly, and weights come from the seed."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from polymode.parsing import parse_answers
from polymode.prompts import build_prompt
from polymode.tasks import open_task
from polymode.training.lab_model import END, PAD, UNKNOWN, LabModelSize, build_model, build_tokenizer

SMALL = LabModelSize(hidden=16, layers=1, heads=2, intermediate=32, positions=64)


@cache
def clinic() -> tuple[Any, Any]:
    task = open_task("clinic")
    return task, build_tokenizer(task.vocabulary())  # type: ignore[attr-defined]


@settings(max_examples=40)
@given(seed=st.integers(0, 2**20), k=st.integers(1, 5), confidence=st.booleans())
def test_decoding_gives_back_every_lab_text(seed: int, k: int, confidence: bool) -> None:
    task, tokenizer = clinic()
    [example] = task.examples("train", 1, seed=seed)
    prompt = build_prompt(example.question, k, confidence=confidence, style="brief")
    shown = task.demonstrate(example, k, confidence=confidence, rng=np.random.default_rng(seed))
    for text in (prompt, shown):
        ids = tokenizer.encode(text)
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text
    # A completion is decoded apart from its prompt, without the end token: the text is what the parser is to read.
    ids = tokenizer.encode(prompt + shown)[len(tokenizer.encode(prompt)) :]
    assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True) == shown
    assert parse_answers(shown, k, confidence=confidence).is_clean


def test_a_saved_tokenizer_is_the_same(tmp_path: Any) -> None:
    task, tokenizer = clinic()
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path, padding_side="left")
    text = task.examples("train", 1)[0].question
    assert again.encode(text) == tokenizer.encode(text)
    assert again.decode(again.encode(text)) == text
    assert (again.pad_token, again.eos_token, again.padding_side) == (PAD, END, "left")


def test_words_have_a_token_with_and_without_a_space_before_them() -> None:
    tokenizer = build_tokenizer(["has cough, fever", "<answer1></answer1>"])
    vocabulary = tokenizer.get_vocab()
    assert {"cough", " cough", "fever", " fever", ",", "<answer1>", "</answer1>"} <= set(vocabulary)
    assert " <answer1>" not in vocabulary
    for text in ("fever, cough", "<answer1>fever cough</answer1>"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.tokenize("rash") == [UNKNOWN]


def test_weights_come_from_the_seed_alone() -> None:
    tokenizer = build_tokenizer(["tea milk"])
    torch.manual_seed(1)
    first = build_model(tokenizer, SMALL, seed=3).state_dict()
    state = torch.random.get_rng_state()
    again, other = (build_model(tokenizer, SMALL, seed=seed).state_dict() for seed in (3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)  # building a model moves no one else's random numbers
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_model_ends_and_pads_with_the_tokenizers_tokens() -> None:
    tokenizer = build_tokenizer(["tea milk"])
    model: Any = build_model(tokenizer, SMALL, seed=0)
    for config in (model.config, model.generation_config):
        assert config is not None
        assert (config.pad_token_id, config.eos_token_id) == (tokenizer.pad_token_id, tokenizer.eos_token_id)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    logits = model(torch.tensor([tokenizer.encode("tea milk")])).logits
    assert logits.shape == (1, 2, len(tokenizer))


def test_the_default_size_is_about_half_a_million_weights() -> None:
    _, tokenizer = clinic()
    n = sum(p.numel() for p in build_model(tokenizer, LabModelSize(), seed=0).parameters())
    assert 200_000 < n < 2_000_000


@pytest.mark.parametrize("text", ["", "</answer1>", "0.25", "a  b\n c"])
def test_awkward_texts_come_back_too(text: str) -> None:
    tokenizer = build_tokenizer([text, "x"])
    assert tokenizer.decode(tokenizer.encode(text)) == text
