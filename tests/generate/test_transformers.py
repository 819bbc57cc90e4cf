"""Sampling with a tiny untrained model, and with one that always says the same."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

from polymode import runs
from polymode.chat import Chat
from polymode.decoding.texts import opening_of
from polymode.errors import ConfigError, PromptRefusedError
from polymode.generate.transformers import TransformersGenerator
from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer

from ..chat_models import byte_level_tokenizer

WORDS = ["red green blue one two three four five six seven eight nine ten"]
SIZE = LabModelSize(hidden=16, layers=1, heads=2, intermediate=32, positions=128)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(WORDS)
    build_model(tokenizer, SIZE, seed=0).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def make(folder: Path, batch: int = 256) -> TransformersGenerator:
    return TransformersGenerator(folder, batch=batch, show_progress=False)


def texts(generator: TransformersGenerator, prompts: list[str], n: int = 2, **options: Any) -> list[list[str]]:
    settings = {"max_tokens": 6, "temperature": 1.0, "seed": 0, **options}
    return [[g.text for g in group] for group in generator.generate(prompts, n=n, **settings)]


def test_the_same_seed_gives_the_same_texts_and_another_seed_others(folder: Path) -> None:
    generator, prompts = make(folder), ["red green", "one"]
    first = texts(generator, prompts, n=4)
    assert [len(group) for group in first] == [4, 4]
    assert texts(generator, prompts, n=4) == first
    assert texts(make(folder), prompts, n=4) == first
    assert texts(generator, prompts, n=4, seed=1) != first


def test_with_a_seed_for_each_prompt_neighbours_change_nothing(folder: Path) -> None:
    generator, prompts = make(folder), ["a", "a b", "b a b a"]
    how = {"max_tokens": 12, "temperature": 1.0}
    together = generator.generate(prompts, n=3, seed=[1, 2, 3], **how)
    for prompt, seed, own in zip(prompts, [1, 2, 3], together, strict=True):
        assert generator.generate([prompt], n=3, seed=[seed], **how) == [own]
        assert generator.generate([prompt], n=1, seed=[seed], **how) == [own[:1]]  # more samples move none
    slow = TransformersGenerator(folder, show_progress=False, generation_config={"repetition_penalty": 1.2})
    penalised = slow.generate(prompts, n=2, seed=[1, 2, 3], **how)  # by transformers' own `generate`
    assert [slow.generate([p], n=2, seed=[s], **how)[0] for p, s in zip(prompts, [1, 2, 3], strict=True)] == penalised


def test_texts_are_told_as_they_grow_and_telling_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymode.generate.transformers.TELL_SECONDS", 0.0)
    how = {"n": 3, "max_tokens": 13, "temperature": 1.0, "seed": [1, 2]}
    plain = make(folder).generate(["a", "a b"], **how)
    for batch in (256, 4):  # with 4 the completions of a prompt are spread over two batches
        told: dict[tuple[int, int], list[str]] = defaultdict(list)
        out = make(folder, batch).generate(
            ["a", "a b"], **how, on_text=lambda i, n, text, told=told: told[i, n].append(text)
        )
        assert out == plain
        long = {(i, n) for i, own in enumerate(plain) for n, one in enumerate(own) if (one.n_tokens or 0) > 4}
        assert long and long <= set(told) <= {(i, n) for i in range(2) for n in range(3)}
        for (i, n), parts in told.items():
            assert all(plain[i][n].text.startswith(part) for part in parts)
            assert sorted(parts, key=len) == parts and len(parts) <= 3  # every 4 of 13 tokens


def test_the_callers_random_state_is_left_alone(folder: Path) -> None:
    generator = make(folder)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    texts(generator, ["red"])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_greedy_texts_do_not_depend_on_seed_batch_padding_or_order(folder: Path) -> None:
    # Left padding and the order of work must not show: each prompt alone is the reference.
    prompts = ["red", "one two three four five six seven", "blue green", "ten nine eight"]
    alone = [texts(make(folder), [prompt], n=1, temperature=0.0)[0][0] for prompt in prompts]
    for batch in (1, 3, 256):
        together = texts(make(folder, batch), prompts, n=2, temperature=0.0, seed=batch)
        assert together == [[text, text] for text in alone]
    assert texts(make(folder), prompts[::-1], n=1, temperature=0.0) == [[text] for text in alone[::-1]]


def test_texts_are_samples_of_the_whole_distribution(folder: Path) -> None:
    # Untrained weights are close to uniform over the vocabulary; top-k or top-p cut-offs would show at once.
    generator = make(folder)
    with torch.inference_mode():
        ids = generator.tokenizer("red", return_tensors="pt")["input_ids"]
        p = torch.softmax(generator.model(ids).logits[0, -1], -1).numpy()
    n = 3000
    made = texts(generator, ["red"], n=n, max_tokens=1)[0]
    expected: defaultdict[str, float] = defaultdict(float)
    silent = {generator.tokenizer.pad_token_id, generator.tokenizer.eos_token_id}
    for token, share in enumerate(p):  # end and padding leave no text
        expected["" if token in silent else generator.tokenizer.decode([token])] += float(share)
    seen = Counter(made)
    for text, share in expected.items():
        error = 4.5 * (share * (1 - share) / n) ** 0.5
        assert abs(seen[text] / n - share) < error, text


def test_generation_stops_at_the_end_token_and_says_so(folder: Path) -> None:
    generator = make(folder)
    made = [g for group in generator.generate(["red"], n=400, max_tokens=12, temperature=1.0, seed=1) for g in group]
    finished = [g for g in made if g.is_finished]
    cut = [g for g in made if not g.is_finished]
    assert finished and cut  # an untrained model ends at any step with a chance of about 1 in 29
    assert all(g.n_tokens == 12 for g in cut)
    assert all("<end>" not in g.text and "<pad>" not in g.text for g in made)
    for g in finished:  # the end token counts, and nothing behind it does
        assert g.n_tokens is not None and 1 <= g.n_tokens <= 12
        assert len(generator.tokenizer(g.text)["input_ids"]) <= g.n_tokens - 1


def test_a_chat_template_is_used_where_there_is_one(folder: Path) -> None:
    generator = make(folder)
    assert generator.encode("red") == generator.tokenizer("red")["input_ids"]
    generator.tokenizer.chat_template = "{% for m in messages %}one {{ m['content'] }}{% endfor %} two"
    assert generator.encode("red") == generator.tokenizer("one red two")["input_ids"]


THINKING = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if enable_thinking is false %} ten{% endif %}"


def test_the_chat_template_gets_its_arguments(folder: Path, tmp_path: Path) -> None:
    for where in (tmp_path / "run" / "model", tmp_path / "plain"):
        source = make(folder)
        source.tokenizer.chat_template = THINKING
        source.tokenizer.save_pretrained(where)
        source.model.save_pretrained(where)
    runs.create(tmp_path / "run", {"chat_template": {"enable_thinking": False}})
    runs.write_steps(tmp_path / "run" / runs.TRAIN_METRICS, [])

    def prompt(model: Path, **options: Any) -> str:
        generator = TransformersGenerator(model, show_progress=False, **options)
        return generator.tokenizer.decode(generator.encode("red"))

    assert prompt(tmp_path / "plain") == "red"
    assert prompt(tmp_path / "plain", chat=Chat({"enable_thinking": False})) == "red ten"
    assert prompt(tmp_path / "run" / "model") == "red ten"  # as the recipe of its training says
    assert prompt(tmp_path / "run" / "model", chat=Chat({"enable_thinking": True})) == "red"


def test_a_tokenizer_without_padding_token_pads_with_the_end(folder: Path, tmp_path: Path) -> None:
    source = make(folder)
    source.tokenizer.pad_token = None
    source.tokenizer.save_pretrained(tmp_path)
    source.model.save_pretrained(tmp_path)
    generator = make(tmp_path)
    assert generator.tokenizer.pad_token == "<end>"
    assert texts(generator, ["red", "one two"], temperature=0.0) == texts(
        make(folder), ["red", "one two"], temperature=0.0
    )


def test_a_folder_that_holds_no_model_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model = '.*' has no config.json: copy it there"):
        make(tmp_path)


OPENING = "{% for m in messages %}{{ m['content'] }}{% endfor %} two<think>"


def test_reasoning_that_the_template_opened_stands_in_the_text(tmp_path: Path) -> None:
    """The completion's tokens are those without the tag, and a text is scored after the prompt that opened it."""
    tokenizer = build_tokenizer([*WORDS, "<think> </think>"])
    tokenizer.chat_template = OPENING
    build_model(tokenizer, SIZE, seed=0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    generator = make(tmp_path)
    made = generator.generate(["red"], n=3, max_tokens=4, temperature=1.0, seed=0)[0]
    generator.tokenizer.chat_template = OPENING.removesuffix("<think>")
    assert not any(text.startswith("<think>") for text in texts(generator, ["red"], n=3, max_tokens=4)[0])
    generator.tokenizer.chat_template = OPENING
    assert all(one.text.startswith("<think>") for one in made)
    assert all(one.n_tokens is not None and one.n_tokens <= 4 for one in made)
    [[first, second]] = generator.token_log_probabilities(["red"], ["<think>one two"])
    assert [first[:2], second[:2]] == [(7, 10), (10, 14)]
    assert generator.token_log_probabilities(["red"], ["one two"]) == [
        [(a - 7, b - 7, value) for a, b, value in (first, second)]
    ]
    after = [generator.continuation_probabilities(["red"], [text], [["one"]]) for text in ("<think> two", " two")]
    assert after[0] == after[1]


def test_reasoning_that_a_server_cut_out_is_not_opened_twice() -> None:
    """The server's text has no line break behind the tag, where the template's opening has one."""
    tokenizer = byte_level_tokenizer(OPENING.removesuffix("<think>") + "{{ '<think>\\n' }}")
    generator = TransformersGenerator.__new__(TransformersGenerator)
    generator.tokenizer = tokenizer
    ids: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": "red"}], add_generation_prompt=True, return_dict=False
    )
    assert opening_of(tokenizer, ids) == "<think>\n"
    for text in ("<think>one</think>two", "<think>\none</think>two", "  <think> one</think>two", "one</think>two"):
        assert generator._without_opening(text, ids) == "one</think>two"
    assert generator._without_opening(" two", ids) == " two"


def test_special_tokens_of_the_format_are_generated_as_text(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(["<think>", "<answer>", "red"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "<answer>"]})
    build_model(tokenizer, SIZE, seed=0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    made = "".join(texts(make(tmp_path), ["red"], n=50)[0])
    assert "<think>" in made and "<answer>" in made and "<pad>" not in made and "<end>" not in made


def test_what_is_scored_beyond_the_context_is_refused(folder: Path) -> None:
    generator, long = make(folder), "red " * SIZE.positions
    with pytest.raises(PromptRefusedError, match="and the model reads 128: shorten"):
        generator.token_log_probabilities(["red", "red"], ["blue", long])
    with pytest.raises(PromptRefusedError, match="and the model reads 128: shorten"):
        generator.continuation_probabilities([long], [""], [["one"]])
    full = " ".join(["red"] * (SIZE.positions - len(generator.encode("red"))))
    [tokens] = generator.token_log_probabilities(["red"], [full])  # the last token needs no room behind it
    assert len(tokens) + len(generator.encode("red")) == SIZE.positions


def test_a_card_without_room_for_the_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def move(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")

    monkeypatch.setattr("transformers.PreTrainedModel.to", move)
    with pytest.raises(ConfigError, match=r"the GPU has no room for the model, whose weights take 0\.0 GB: use dtype"):
        make(folder)


def test_a_machine_that_cannot_hold_the_weights_is_told_before_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = sum(p.numel() for p in make(folder).model.parameters())

    def not_read(*_: Any, **__: Any) -> Any:
        raise AssertionError("the weights were read")

    monkeypatch.setattr("polymode.decoding.memory.total_memory", lambda: (None, 4.0 * n))
    make(folder)  # exactly as much as float32 needs
    monkeypatch.setattr("polymode.generate.transformers.load_causal_lm", not_read)
    for memory, owner in (((None, 4.0 * n - 1), "this machine"), ((4.0 * n - 1, None), "the GPU")):
        monkeypatch.setattr("polymode.decoding.memory.total_memory", lambda memory=memory: memory)
        with pytest.raises(ConfigError, match=rf"holding .* weights takes 0\.0 GB, and {owner} has 0\.0 GB: use dtype"):
            make(folder)
