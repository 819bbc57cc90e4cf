"""Where tokens start: word-level, byte-level BPE with characters spread over tokens, and tokenizers that rewrite."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from polymode.credit import token_parts
from polymode.decoding.texts import CompletionDecoder
from polymode.decoding.token_starts import TokenStarts
from polymode.parsing import parse_answers
from polymode.training.lab_model import build_tokenizer


def fast(tokenizer: Tokenizer, **special: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special)


@pytest.fixture(scope="module")
def bytes_bpe() -> PreTrainedTokenizerFast:
    """Byte-level BPE that learned a little: tags and words in pieces, rare characters as single bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    corpus = ["<think> fever points to flu </think><answer1>flu</answer1><confidence1>0.55</confidence1>"] * 3
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, special_tokens=["<end>"])
    )
    return fast(tokenizer, eos_token="<end>")


@pytest.fixture(scope="module")
def pieces() -> PreTrainedTokenizerFast:
    """Unigram pieces whose decoder writes the mark of a word as a space, except at the start of the text."""
    vocabulary = [("<unk>", 0.0), *((piece, -1.0) for piece in ("▁flu", "▁cold", "flu", "<", ">", "/", "▁", "a", "é"))]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return fast(tokenizer, unk_token="<unk>")


def starts_of(tokenizer: Any, ids: Any) -> tuple[list[int], str]:
    decode = CompletionDecoder(tokenizer)
    text = decode(ids)
    starts = TokenStarts(decode)(ids, text)
    assert len(starts) == len(ids)
    assert starts == sorted(starts)
    assert all(0 <= start <= len(text) for start in starts)
    return starts, text


def test_words_start_after_the_words_before_them() -> None:
    written = "<think> fever </think><answer1>flu</answer1>"
    tokenizer = build_tokenizer([written])
    ids: Any = tokenizer(written, add_special_tokens=False)["input_ids"]
    starts, text = starts_of(tokenizer, [*ids, tokenizer.eos_token_id])
    words = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    assert words == ["<think>", " fever", " <", "/think", ">", "<answer1>", "flu", "</answer1>", ""]
    assert starts[-1] == len(text)  # the end token writes nothing


def test_a_character_of_several_bytes_starts_once(bytes_bpe: PreTrainedTokenizerFast) -> None:
    """The euro sign is three bytes and here three tokens: all start where it does."""
    ids = bytes_bpe("a€b", add_special_tokens=False)["input_ids"]
    assert len(ids) == 5
    assert starts_of(bytes_bpe, ids) == ([0, 1, 1, 1, 2], "a€b")


@given(text=st.text(alphabet="<answer1>é€𝄞 flu.é0/\n", max_size=40))
@settings(max_examples=60)
def test_starts_are_those_of_growing_prefixes(bytes_bpe: PreTrainedTokenizerFast, text: str) -> None:
    """Where a prefix of tokens ends with a whole character, the next token starts at the prefix's length."""
    ids = bytes_bpe(text, add_special_tokens=False)["input_ids"]
    starts, decoded = starts_of(bytes_bpe, ids)
    assert decoded == text
    for i, start in enumerate(starts):
        prefix: Any = bytes_bpe.decode(ids[:i], skip_special_tokens=True)
        if text.startswith(prefix):
            assert start == len(prefix)


@given(ids=st.lists(st.integers(0, 329), max_size=30))
@settings(max_examples=60)
def test_any_tokens_have_starts(bytes_bpe: PreTrainedTokenizerFast, ids: list[int]) -> None:
    """A model may sample bytes that are no text; they are decoded to replacement characters."""
    starts_of(bytes_bpe, [i % len(bytes_bpe) for i in ids])


def test_a_decoder_that_treats_the_first_token_otherwise(pieces: PreTrainedTokenizerFast) -> None:
    """Alone, each word is decoded without its space; in the text all but the first have one."""
    ids = pieces("flu cold flu", add_special_tokens=False)["input_ids"]
    starts, text = starts_of(pieces, ids)
    assert text == "flu cold flu"
    assert starts == [0, 3, 8]


@given(
    answers=st.lists(st.text(alphabet="flué€𝄞<b", min_size=1, max_size=6), min_size=2, max_size=2),
    numbers=st.lists(st.sampled_from(["0", "0.5", "1.0"]), min_size=2, max_size=2),
)
@settings(max_examples=60)
def test_tokens_of_a_slot_cover_its_text(
    bytes_bpe: PreTrainedTokenizerFast, answers: list[str], numbers: list[str]
) -> None:
    """Whatever the pieces, the tokens of a slot write its answer, up to what a neighbour's token wrote across."""
    text = "<think>é</think>" + "".join(
        f"<answer{i}>{a}</answer{i}><confidence{i}>{q}</confidence{i}>"
        for i, (a, q) in enumerate(zip(answers, numbers, strict=True), 1)
    )
    ids = bytes_bpe(text, add_special_tokens=False)["input_ids"]
    starts, decoded = starts_of(bytes_bpe, ids)
    found = parse_answers(decoded, 2, confidence=True)
    if not found.is_clean:
        return
    parts = token_parts(found, decoded, starts, 2)
    ends = [*starts[1:], len(decoded)]
    for i, answer in enumerate(found.answers, 1):
        written = "".join(decoded[a:b] for a, b, part in zip(starts, ends, parts, strict=True) if part == i)
        assert answer.text in written


@pytest.mark.parametrize("opening", ["", "<think>", "<think>\n"])
def test_what_the_prompt_opened_moves_the_starts(bytes_bpe: PreTrainedTokenizerFast, opening: str) -> None:
    """The offsets are those of the text with the opened tag in front, the tokens those of the completion."""
    written = "fever é</think>\n<answer>flu</answer><confidence>0.5</confidence>"
    ids = [*bytes_bpe(written, add_special_tokens=False)["input_ids"], bytes_bpe.eos_token_id]
    text = opening + written
    starts_of_ids = TokenStarts(CompletionDecoder(bytes_bpe))
    starts = starts_of_ids(ids, text)
    assert starts[0] == len(opening) and starts[-1] == len(text)
    assert starts == [len(opening) + start for start in starts_of_ids(ids, written)]
    parts = token_parts(parse_answers(text, 1, confidence=True), text, starts, 1)
    ends = [*starts[1:], len(text)]
    slots = ["".join(text[a:b] for a, b, own in zip(starts, ends, parts, strict=True) if own == i) for i in (1, 2)]
    assert slots[0].startswith("<answer>flu</answer>") and "0.5" in slots[1] and "flu" not in slots[1]


def test_tokens_of_another_text_start_at_its_end() -> None:
    tokenizer = build_tokenizer(["<answer>flu</answer>"])
    ids = tokenizer("<answer>flu</answer>", add_special_tokens=False)["input_ids"]
    assert TokenStarts(CompletionDecoder(tokenizer))(ids, "something else") == [len("something else")] * len(ids)


def test_special_tokens_of_the_format_have_starts() -> None:
    """``<think>`` registered as special writes its text like any other token."""
    words = ["<think>", "fever", "</think>", "<answer>", "flu", "</answer>"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<unk>", "<end>", *words])}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = fast(tokenizer, eos_token="<end>", unk_token="<unk>", additional_special_tokens=["<think>", "</think>"])
    ids: Any = [*special(" ".join(words))["input_ids"], special.eos_token_id]
    starts, text = starts_of(special, ids)
    assert text == " ".join(words)
    assert [text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True)] == [*words, ""]
