"""Where a confidence is decided, in every notation, and the states there, against one plain pass for each text."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from polymode.decoding import hidden_states as module
from polymode.decoding.hidden_states import candidate_layers, confidence_positions, hidden_states
from polymode.decoding.texts import CompletionDecoder
from polymode.decoding.token_starts import TokenStarts
from polymode.errors import ConfigError, RecordError
from polymode.parsing import parse_answers
from polymode.training.lab_model import build_tokenizer

TAGS = "<think> hm </think><answer1>flu</answer1><confidence1>0.55</confidence1><answer2>cold</answer2>" + (
    "<confidence2>0.3</confidence2>"
)
LINES = "1. flu | 0.55\n2. cold, or é | .3"
BLOCKED = "<answer1>flu</answer1><answer2>cold</answer2><confidence1>1</confidence1><confidence2> 0.5 </confidence2>"
FIRST = "<confidence1>0.55</confidence1><answer1>flu</answer1>\n<confidence2>.3</confidence2><answer2>cold</answer2>"


def digit_wise() -> PreTrainedTokenizerFast:
    """Byte-level, every digit by itself, as SmolLM2's and Qwen's; it has learned no word at all."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=257, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "words": lambda: build_tokenizer([TAGS, LINES, BLOCKED, FIRST]),
    "bytes": digit_wise,
}


@pytest.mark.parametrize("tokenizer_name", TOKENIZERS)
@pytest.mark.parametrize("text", [TAGS, LINES, BLOCKED, FIRST])
def test_the_token_after_the_position_is_the_first_that_writes_the_number(text: str, tokenizer_name: str) -> None:
    tokenizer = TOKENIZERS[tokenizer_name]()
    ids: Any = tokenizer(text, add_special_tokens=False)["input_ids"]
    answers = parse_answers(text, 2, confidence=True)
    assert answers.is_clean
    starts = TokenStarts(CompletionDecoder(tokenizer))(ids, text)
    positions = confidence_positions(answers, starts, text)
    assert positions is not None
    for answer, position in zip(answers.answers, positions, strict=True):
        span = answer.confidence_span
        assert span is not None
        # By definition: the text up to the position has nothing of the number, with the next token it has some.
        assert len(tokenizer.decode(ids[: position + 1])) <= span.start < len(tokenizer.decode(ids[: position + 2]))


def test_what_has_no_confidence_has_no_position() -> None:
    tokenizer = digit_wise()
    starts_of = TokenStarts(CompletionDecoder(tokenizer))
    plain, broken = "<answer1>flu</answer1><answer2>cold</answer2>", "nothing"
    for text, confidence in ((plain, False), (broken, True)):
        starts = starts_of(tokenizer(text, add_special_tokens=False)["input_ids"], text)
        assert confidence_positions(parse_answers(text, 2, confidence=confidence), starts, text) is None
    # Tokens that spell another text: all start at its end.
    starts = starts_of(tokenizer(LINES, add_special_tokens=False)["input_ids"], TAGS)
    assert confidence_positions(parse_answers(TAGS, 2, confidence=True), starts, TAGS) is None
    assert confidence_positions(parse_answers(TAGS, 2, confidence=True), [], TAGS) is None


def test_a_number_that_the_completion_begins_with_is_decided_at_the_prompts_last_token() -> None:
    text = "1. a | 0.5"
    [answer] = parse_answers(text, 1, confidence=True).answers
    span = answer.confidence_span
    assert span is not None
    assert confidence_positions(parse_answers(text, 1, confidence=True), [0], text) == [-1]


RNG = np.random.default_rng(2)
PROMPTS = [RNG.integers(3, 31, n).tolist() for n in (4, 9, 1, 4)]
COMPLETIONS = [RNG.integers(3, 31, n).tolist() for n in (6, 2, 12, 5)]
POSITIONS = [[0, 3, 5], [-1], [10, 2], []]


def reference(model: PreTrainedModel, layers: list[int]) -> np.ndarray:
    """Each text by itself and whole, no padding: rows in the order of the positions."""
    out = []
    for prompt, completion, positions in zip(PROMPTS, COMPLETIONS, POSITIONS, strict=True):
        with torch.no_grad():
            states = model(input_ids=torch.tensor([prompt + completion]), output_hidden_states=True).hidden_states
        for position in positions:
            out.append([states[layer][0, len(prompt) + position].float().numpy() for layer in layers])
    return np.array(out)


@pytest.mark.parametrize("name", ["qwen3", "llama", "gpt2", "sliding", "latent"])
def test_states_are_those_of_each_text_alone(
    name: str, model_of: Callable[[str], PreTrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(name)
    for layers in ([0, 1, 2], [2]):
        expected = reference(model, layers)
        assert expected.shape == (6, len(layers), 16)
        for rows in (64, 1, 2):
            monkeypatch.setattr(module, "_ROWS", rows)
            states = hidden_states(model, PROMPTS, COMPLETIONS, POSITIONS, layers)
            assert states.dtype == np.float32
            assert states == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.filterwarnings(r"ignore:`\w*gradient_checkpointing\w*` is deprecated:FutureWarning")
def test_adapters_count_and_training_mode_is_given_back(model_of: Callable[[str], PreTrainedModel]) -> None:
    plain = hidden_states(model_of("qwen3"), PROMPTS, COMPLETIONS, POSITIONS, [2])
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, lora_dropout=0.5)
    torch.manual_seed(0)
    adapted = get_peft_model(model_of("qwen3"), config)
    adapted.train()
    with_adapters = hidden_states(adapted, PROMPTS, COMPLETIONS, POSITIONS, [2])
    assert adapted.training and np.abs(with_adapters - plain).max() > 0.01
    merged: Any = adapted.eval().merge_and_unload()
    assert with_adapters == pytest.approx(reference(merged, [2]), rel=1e-3, abs=1e-3)  # no dropout


def test_states_come_in_float32_from_the_type_that_computes(model_of: Callable[[str], PreTrainedModel]) -> None:
    exact = hidden_states(model_of("llama"), PROMPTS, COMPLETIONS, POSITIONS, [1])
    rounded = hidden_states(model_of("llama").bfloat16(), PROMPTS, COMPLETIONS, POSITIONS, [1])
    assert rounded.dtype == np.float32 and 0 < np.abs(rounded - exact).max() < 0.1 * np.abs(exact).max()


def test_where_memory_runs_out_fewer_texts_are_read_at_once(
    model_of: Callable[[str], PreTrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sizes, limit = model_of("qwen3"), [], 1
    read = module._read

    def scarce(model: Any, rows: Any, *rest: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > limit:
            raise torch.OutOfMemoryError("no room")
        return read(model, rows, *rest)

    expected = hidden_states(model, PROMPTS, COMPLETIONS, POSITIONS, [1])
    monkeypatch.setattr(module, "_read", scarce)
    assert hidden_states(model, PROMPTS, COMPLETIONS, POSITIONS, [1]) == pytest.approx(expected, abs=1e-4)
    assert sizes == [3, 1, 1, 1]  # the fourth text has no position
    limit = 0
    with pytest.raises(ConfigError, match="no room for one text of 12 tokens on cpu: use dtype bfloat16"):
        hidden_states(model, PROMPTS, COMPLETIONS, POSITIONS, [1])
    monkeypatch.setattr(module, "free_bytes", lambda device: 0)
    limit, sizes[:] = 9, []
    hidden_states(model, PROMPTS, COMPLETIONS, POSITIONS, [1])
    assert sizes == [1, 1, 1]


def test_layers_and_positions_that_do_not_exist_are_refused(model_of: Callable[[str], PreTrainedModel]) -> None:
    model = model_of("qwen3")
    for layer in (-1, 3):
        with pytest.raises(ConfigError, match=f"layer {layer} does not exist: the model has layers 0 to 2"):
            hidden_states(model, PROMPTS, COMPLETIONS, POSITIONS, [layer])
    for position in (-5, 6):
        with pytest.raises(RecordError, match=r"positions .*: the completion has 6 tokens"):
            hidden_states(model, PROMPTS[:1], COMPLETIONS[:1], [[position]], [1])
    assert hidden_states(model, [], [], [], [1]).shape == (0, 1, 16)


def test_layers_worth_probing_reach_from_a_third_to_the_last(model_of: Callable[[str], PreTrainedModel]) -> None:
    model = model_of("qwen3")
    assert candidate_layers(model) == [1, 2]
    model.config.num_hidden_layers = 30
    assert candidate_layers(model) == [10, 13, 16, 19, 21, 24, 27, 30]
