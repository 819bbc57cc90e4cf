"""Tokens to text: what the model says stays, also where the tokenizer calls it special; ends and padding go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from polymode.decoding.texts import CompletionDecoder, ends_of, opening_of, set_padding
from polymode.parsing import parse_answers
from polymode.types import ParseStatus

from ..chat_models import byte_level_tokenizer

WORDS = [
    "<think>",
    "</think>",
    "draft",
    "<answer>",
    "flu",
    "</answer>",
    "<pad>",
    "<end>",
    "<stop>",
    "<start>",
    "<user>",
]
SPECIAL = ["<think>", "</think>", "<answer>", "</answer>", "<stop>", "<user>"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Everything that a format could be made of is special, as in the tokenizers of some thinking models."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<unk>", *WORDS])}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        eos_token="<end>",
        bos_token="<start>",
        additional_special_tokens=SPECIAL,
        clean_up_tokenization_spaces=False,
    )


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer.convert_tokens_to_ids(text.split())


def test_special_tokens_of_the_format_stay(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = ids_of(
        tokenizer, "<start> <think> <answer> draft </answer> </think> <answer> flu </answer> <end> <pad> <pad>"
    )
    text = CompletionDecoder(tokenizer)(ids)
    assert text == "<think> <answer> draft </answer> </think> <answer> flu </answer>"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "draft flu"  # what is avoided
    assert [answer.text for answer in parse_answers(text, 1, confidence=False).answers] == ["flu"]


def test_cut_off_reasoning_is_seen_as_such(tokenizer: PreTrainedTokenizerFast) -> None:
    text = CompletionDecoder(tokenizer)(ids_of(tokenizer, "<think> <answer> draft </answer>"))
    found = parse_answers(text, 1, confidence=False, finished=False, salvage=True)
    assert found.status is ParseStatus.TRUNCATED


def test_all_ends_of_a_model_leave_no_text(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = ids_of(tokenizer, "flu <stop>")
    assert CompletionDecoder(tokenizer)(ids) == "flu <stop>"
    assert CompletionDecoder(tokenizer, [ids[-1], None])(ids) == "flu"
    assert CompletionDecoder(tokenizer)([]) == ""


@pytest.mark.parametrize(("ends", "expected"), [(None, ()), (3, (3,)), ([3, 5], (3, 5))])
def test_the_ends_of_a_generation_config(ends: object, expected: tuple[int, ...]) -> None:
    assert ends_of(SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=ends))) == expected
    assert ends_of(object()) == ()


@pytest.mark.parametrize(
    ("prompt", "opening"),
    [
        ("<user> flu <think>", "<think>"),
        ("<think> draft </think>", ""),
        ("<think> flu", ""),
        ("flu " * 40 + "<think>", "<think>"),
    ],
)
def test_what_a_prompt_of_tokens_opens(tokenizer: PreTrainedTokenizerFast, prompt: str, opening: str) -> None:
    assert opening_of(tokenizer, ids_of(tokenizer, prompt)) == opening


@pytest.mark.parametrize(
    ("options", "pad"),
    [
        ({}, "<|endoftext|>"),
        ({"pad_token": None}, "<|endoftext|>"),
        ({"pad_token": None, "eos_token": None}, "<|im_end|>"),  # the template ends turns with it
        ({"pad_token": None, "eos_token": None, "template": None}, "<bos>"),
        ({"pad_token": None, "eos_token": None, "template": None, "bos_token": None}, None),
    ],
)
def test_padding_is_a_token_that_leaves_no_text(options: dict[str, Any], pad: str | None) -> None:
    tokenizer = byte_level_tokenizer(**options)
    set_padding(tokenizer)
    assert tokenizer.pad_token == pad
