"""Sampling as chat models need it: several end tokens, stop strings, and nothing of the model's generation config."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from polymode import runs
from polymode.chat import Chat
from polymode.errors import ConfigError, PromptRefusedError
from polymode.generate import chat_of
from polymode.generate.transformers import TransformersGenerator

from ..chat_models import byte_level_tokenizer, chat_checkpoint

QWEN_LIKE = GenerationConfig(
    repetition_penalty=5.0, temperature=0.7, top_p=0.2, top_k=3, do_sample=True, eos_token_id=[2, 0], pad_token_id=0
)
"""As Qwen2.5's, but strong enough that it would show."""
SETTINGS: dict[str, Any] = {"n": 4, "max_tokens": 24, "temperature": 1.0, "seed": 3}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_checkpoint(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def opinionated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, with a generation config that changes the distribution."""
    return chat_checkpoint(tmp_path_factory.mktemp("opinionated"), generation=QWEN_LIKE)


def make(folder: Path, **options: Any) -> TransformersGenerator:
    return TransformersGenerator(folder, show_progress=False, **options)


def texts(generator: TransformersGenerator, **settings: Any) -> list[list[str]]:
    return [[one.text for one in group] for group in generator.generate(["Q1", "Q2"], **{**SETTINGS, **settings})]


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("transformers' own path was taken")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_models_generation_config_changes_nothing(
    plain: Path, opinionated: Path, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = make(opinionated)
    monkeypatch.setattr(generator.model, "generate", refuse)  # the shared path is kept
    assert texts(generator, temperature=temperature) == texts(make(plain), temperature=temperature)


def test_the_models_generation_config_is_used_when_it_is_asked_for(plain: Path, opinionated: Path) -> None:
    """By the definition of its cut-off, a token is among the three likeliest ones after the penalty."""
    generator = make(opinionated, generation_config="model")
    [[made]] = generator.generate(["Q1"], n=1, max_tokens=1, temperature=1.0, seed=0)
    ids = generator.encode("Q1")
    with torch.no_grad():
        logits = generator.model(torch.tensor([ids])).logits[0, -1].clone()
    for token in set(ids):
        logits[token] = logits[token] * 5 if logits[token] < 0 else logits[token] / 5
    assert made.text in [generator.tokenizer.decode([i]) for i in logits.topk(3).indices.tolist()]
    assert texts(generator) != texts(make(plain))


def test_single_fields_can_be_asked_for(plain: Path) -> None:
    asked = make(plain, generation_config={"top_k": 1})
    assert texts(asked) == texts(make(plain), temperature=0.0)  # the one likeliest token is what greedy takes


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 1.0}, "generation_config: 'temperature' has an option of its own"),
        ({"repetition_penaltie": 1.0}, "generation_config: 'repetition_penaltie' is not known"),
        ("own", "generation_config = 'own' is not allowed"),
        ({"repetition_penalty": "abc"}, "repetition_penalty = 'abc' is not allowed: give a number above 0"),
        ({"repetition_penalty": 0}, "repetition_penalty = 0 is not allowed: give a number above 0"),
        ({"top_p": 1.5}, r"top_p = 1\.5 is not allowed: give a number from 0 to 1"),
        ({"top_k": True}, "top_k = True is not allowed: give a whole number from 0"),
    ],
)
def test_fields_that_are_none(plain: Path, fields: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(plain, generation_config=fields)


def test_each_end_token_ends_a_completion(tmp_path: Path) -> None:
    """The generation config names none; the tokenizer's and the template's end the text all the same."""
    folder = chat_checkpoint(tmp_path, generation=GenerationConfig())
    generator = make(folder)
    ends = generator.tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    with torch.no_grad():  # both ends likely, each where the other is not
        generator.model.lm_head.weight[ends] = generator.model.lm_head.weight[ends].abs() * 3
    made = generator.generate(["Q1"], n=200, max_tokens=40, temperature=1.0, seed=0)[0]
    assert any(one.is_finished for one in made) and any(not one.is_finished for one in made)
    assert all("<|im_end|>" not in one.text and "<|endoftext|>" not in one.text for one in made)
    assert all(one.n_tokens == 40 for one in made if not one.is_finished)


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_stop_string_ends_a_completion_and_is_left_out(
    plain: Path, is_shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the same seed gives longer texts, which begin the same."""
    if not is_shared:
        monkeypatch.setattr("polymode.decoding.sampler.complete", lambda *_: None)
    whole = list(itertools.chain(*make(plain).generate(["Q1", "Q2"], **SETTINGS)))
    pairs = [one.text[i : i + 2] for one in whole for i in range(4, len(one.text) - 2)]
    stop = max(set(pairs), key=lambda pair: (sum(pair in one.text for one in whole), pair))
    stopped = list(itertools.chain(*make(plain, chat=Chat(stop=(stop,))).generate(["Q1", "Q2"], **SETTINGS)))
    hits = [stop in one.text for one in whole]
    assert any(hits)
    for is_hit, before, after in zip(hits, whole, stopped, strict=True):
        assert after.text == before.text.partition(stop)[0]
        assert after.is_finished or not is_hit
        assert after.n_tokens is not None and before.n_tokens is not None
        assert after.n_tokens <= before.n_tokens if is_hit else after == before


def test_a_prompt_beyond_the_context_is_refused(tmp_path: Path) -> None:
    generator = make(chat_checkpoint(tmp_path, positions=64))
    with pytest.raises(PromptRefusedError, match=r"a prompt has \d+ tokens and the model reads 64: shorten"):
        generator.generate(["Q" * 100], **SETTINGS)


def test_a_trained_model_is_prompted_as_in_its_training(plain: Path, tmp_path: Path) -> None:
    chat = Chat({"enable_thinking": False}, "Be brief.", (("Q", "A"),), ("\n\n",))
    source = make(plain)
    source.model.save_pretrained(tmp_path)
    source.tokenizer.save_pretrained(tmp_path)
    runs.write_chat(tmp_path, chat)
    assert chat_of(tmp_path) == chat
    assert make(tmp_path).encode("x") == chat.encode(byte_level_tokenizer(), "x")


@pytest.mark.parametrize("positions", [1, 3, 40, 10_000])
def test_log_probabilities_do_not_depend_on_the_blocks(
    plain: Path, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against one pass over each text by itself."""
    generator, given = make(plain), ["<answer>Peru</answer>", "", "x", "1. Peru | 0.7\n2. Chile | 0.6"]
    monkeypatch.setattr("polymode.decoding.log_probabilities.positions_at_once", lambda model: positions)
    scored = generator.token_log_probabilities(["Q1", "Q2", "a longer question", "Q4"], given)
    for prompt, text, tokens in zip(["Q1", "Q2", "a longer question", "Q4"], given, scored, strict=True):
        head, tail = generator.encode(prompt), generator.tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = generator.model(torch.tensor([head + tail])).logits[0].log_softmax(-1)
        expected = [float(logits[len(head) + i - 1, token]) for i, token in enumerate(tail)]
        assert [value for *_, value in tokens] == pytest.approx(expected, abs=1e-4)
        assert "".join(text[a:b] for a, b, _ in tokens) == text


def test_a_large_vocabulary_is_scored_in_small_blocks(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, shapes = make(plain), []
    forward = generator.model.forward

    def counting(*args: Any, **options: Any) -> Any:
        out = forward(*args, **options)
        shapes.append(out.logits.shape[0] * out.logits.shape[1])
        return out

    monkeypatch.setattr(generator.model, "forward", counting)
    vocabulary = generator.model.config.vocab_size
    monkeypatch.setattr("polymode.decoding.log_probabilities.LOGIT_BYTES", 3 * 4 * vocabulary * 50)  # 50 positions
    generator.token_log_probabilities(["Q"] * 9, ["a text of some length, " * 5] * 9)
    assert max(shapes) <= 50 and sum(shapes) >= 9 * 50
