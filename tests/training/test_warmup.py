"""Supervised training on demonstrations: what the model reads, what it learns, and the verb end to end."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from polymode import runs
from polymode.cli import main
from polymode.errors import ConfigError
from polymode.generate import Generated
from polymode.generate.transformers import TransformersGenerator
from polymode.prompts import build_prompt, prompt_for
from polymode.training.demonstrations import Format, Warmup, in_notation
from polymode.training.warmup import check_training_memory, clean_share, row_of, train_on
from polymode.types import Completion, Example, Reference
from polymode.warmup import Sampling, _room_of, sampled

from ..chat_models import byte_level_tokenizer, chat_checkpoint

EXAMPLE = Example("1", "likes tea milk", (Reference("tea"), Reference("milk")))
SET = "<answer1>tea</answer1><answer2>milk</answer2>"


def test_the_prompt_has_no_loss_and_the_end_has_one(chat_model: Path) -> None:
    generator = TransformersGenerator(chat_model, show_progress=False)
    row = row_of(Completion(EXAMPLE, SET, 2, False), generator, "brief")
    prompt = build_prompt(EXAMPLE.question, 2, confidence=False, style="brief")
    assert row["input_ids"][: -len([t for t in row["labels"] if t != -100])] == generator.encode(prompt)
    labels = [token for token in row["labels"] if token != -100]
    assert generator.tokenizer.decode(labels) == f"{SET}<end>"
    assert len(row["input_ids"]) == len(row["labels"]) == len(row["attention_mask"])


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        (SET, f"</think>{SET}"),
        (f"<think>tea</think>{SET}", f"tea</think>{SET}"),
        (f"tea</think>{SET}", f"tea</think>{SET}"),
    ],
)
def test_a_reply_goes_on_in_the_reasoning_that_its_prompt_opened(chat_model: Path, text: str, reply: str) -> None:
    generator = TransformersGenerator(chat_model, show_progress=False)
    generator.tokenizer.chat_template = "<user>{{ messages[0]['content'] }}</user><bot><think>"
    row = row_of(Completion(EXAMPLE, text, 2, False), generator, "brief")
    expected = generator.tokenizer(reply, add_special_tokens=False)["input_ids"]
    assert [token for token in row["labels"] if token != -100] == [*expected, generator.tokenizer.eos_token_id]


def test_demonstrations_become_likely(chat_model: Path, tmp_path: Path) -> None:
    generator = TransformersGenerator(chat_model, show_progress=False)
    demonstration = Completion(EXAMPLE, SET, 2, False)
    row = {name: torch.tensor([ids]) for name, ids in row_of(demonstration, generator, "brief").items()}
    before = generator.model(**row).loss.item()
    options = Warmup(steps=8, batch=2, device_batch=2, learning_rate=1e-2, dtype="float32", lora={})
    folder = train_on([demonstration] * 4, generator, tmp_path, options, style="brief")
    trained = TransformersGenerator(folder, show_progress=False)
    assert trained.model(**row).loss.item() < 0.7 * before
    steps = runs.read_steps(tmp_path)
    assert [step["step"] for step in steps] == list(range(1, 9))
    assert steps[0]["loss"] == pytest.approx(before, rel=1e-3)


def test_adapters(chat_model: Path, tmp_path: Path) -> None:
    generator = TransformersGenerator(chat_model, show_progress=False)
    options = Warmup(steps=1, batch=1, device_batch=1, lora={"r": 2})
    folder = train_on([Completion(EXAMPLE, SET, 2, False)], generator, tmp_path, options, style="brief")
    assert (folder / "adapter_config.json").exists()
    TransformersGenerator(folder, show_progress=False).generate(["likes tea"], n=1, max_tokens=2, temperature=1, seed=0)


def test_what_is_longer_than_the_context_is_refused(chat_model: Path, tmp_path: Path) -> None:
    generator = TransformersGenerator(chat_model, show_progress=False)
    long = Completion(Example("1", "tea " * 5000, EXAMPLE.references), SET, 2, False)
    with pytest.raises(ConfigError, match="the model reads 4096"):
        train_on([long], generator, tmp_path, Warmup(), style="brief")


def test_a_machine_too_small_for_training_is_told_first(chat_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = TransformersGenerator(chat_model, show_progress=False)
    n = sum(p.numel() for p in generator.model.parameters())
    small = Warmup(dtype="float32", lora={})
    monkeypatch.setattr("polymode.decoding.memory.total_memory", lambda: (None, 16.0 * n))
    assert check_training_memory(generator, small).endswith("at least, and activations")
    with pytest.raises(ConfigError, match=r"training .* weights .* has .*: train adapters \(--lora r=16\), or take"):
        check_training_memory(generator, replace(small, dtype="bfloat16"))  # and the copies in bfloat16
    assert "training adapters" in check_training_memory(generator, replace(small, lora={"r": 2}))


def test_clean_share() -> None:
    good, bad = Completion(EXAMPLE, SET, 2, False), Completion(EXAMPLE, "tea", 2, False)
    assert clean_share([good, bad, bad, good]) == 0.5
    assert clean_share([]) != clean_share([])  # NaN


def run(*args: Any) -> int:
    return main(["warmup", *map(str, args)])


def test_warmup_from_the_models_own_samples(
    drinks_model: Path, drinks_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "warm"
    args = ["--model", drinks_model, "--task", "records", "--data", drinks_file, "--out", out, "--style", "brief"]
    args += ["--task-options", "test=0.2", "validation=0.2", "--questions", 4, "--samples", 6, "--k", 2, "--check", 3]
    args += [
        "--steps",
        "2",
        "--batch",
        "2",
        "--device-batch",
        "2",
        "--max-tokens",
        "40",
        "--methods",
        "multi-rlvr",
        "multi-rlcr",
    ]
    assert run(*args) == 0
    printed = capsys.readouterr().out
    assert f"model: {out / 'model'}" in printed
    summary = runs.read_json(out / "warmup.json")
    assert summary["checked"] == {"n": 3, "k": 2, "confidence": True}
    assert 0 <= summary["clean_before"] <= 1
    demonstrations = runs.read_completions(out / "demonstrations")
    assert len(demonstrations) == summary["demonstrations"]
    assert {one.has_confidence for one in demonstrations} == {False, True}
    assert clean_share(demonstrations) == 1
    # The shares of six samples are multiples of a sixth.
    shares = {text.split("<")[0] for one in demonstrations for text in one.text.split("<confidence1>")[1:]}
    assert shares <= {"0.17", "0.33", "0.50", "0.67", "0.83", "1.00"}
    # Once more: nothing is done again, other options are refused.
    assert run(*args, "--resume") == 0
    assert runs.read_json(out / "warmup.json") == summary
    assert run(*args) == 2
    assert run(*args, "--resume", "--seed", 5) == 2
    said = capsys.readouterr().err
    assert "seed = 5" in said and f"--demonstrations {out / 'demonstrations' / 'completions.jsonl'}" in said


def test_weights_are_trained_as_they_are_where_samples_are_made_in_bfloat16(
    chat_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymode.decoding.precision.has_fast_bfloat16", lambda: True)
    monkeypatch.setattr("polymode.decoding.precision.SMALL", 0)
    assert TransformersGenerator(chat_model).model.dtype == torch.bfloat16
    file = tmp_path / "d.jsonl"
    file.write_text(json.dumps({"question": EXAMPLE.question, "completion": SET}), encoding="utf-8")
    sizes = ["--check", 1, "--steps", 1, "--batch", 2, "--max-tokens", 20, "--k", 2, "--learning-rate", 0]
    assert run("--model", chat_model, "--demonstrations", file, "--out", tmp_path / "w", *sizes) == 0
    before, after = (load_file(folder / "model.safetensors") for folder in (chat_model, tmp_path / "w" / "model"))
    assert all(torch.equal(before[name], weights) for name, weights in after.items())


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ("rank=8", "lora: unknown option 'rank'"),
        ("r=0", "lora: r = 0 is not allowed: give a whole number from 1"),
        ("target_modules=[nothing]", "lora: target_modules = ['nothing'] matches no layer of the model: use some of"),
    ],
)
def test_lora_that_does_not_exist_or_suit_the_model(
    chat_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lora: str, message: str
) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text(json.dumps({"question": EXAMPLE.question, "completion": SET}), encoding="utf-8")
    sizes = ["--check", 1, "--steps", 1, "--batch", 2, "--max-tokens", 20, "--k", 2]
    assert run("--model", chat_model, "--demonstrations", file, "--out", tmp_path / "w", *sizes, "--lora", lora) == 2
    assert message in capsys.readouterr().err


def test_warmup_needs_transformers(drinks_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(
            "--model",
            drinks_model,
            "--out",
            tmp_path / "x",
            "--backend",
            "openai",
            "--backend-options",
            "base_url=http://h/v1",
        )
        == 2
    )
    assert "--backend" in capsys.readouterr().err


def test_questions_without_enough_answers(chat_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps({"question": f"likes tea {i}", "references": ["a"]}) + "\n" for i in range(30)))
    args = ["--model", chat_model, "--task", "records", "--data", path, "--out", tmp_path / "w", "--style", "brief"]
    args += ["--samples", 1, "--questions", 2, "--check", 1, "--max-tokens", 3, "--methods", "multi-rlvr"]
    assert run(*args) == 2
    assert "raise --samples" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()  # the same folder serves the next try


def test_a_model_without_end_or_padding_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--task", "list-questions", "--demonstrations", "task", "--questions", 2, "--check", 1, "--steps", 1]
    args += ["--batch", 2, "--max-tokens", 60, "--k", 2, "--style", "brief"]
    no_end = {"eos_token": None, "pad_token": None}
    model = chat_checkpoint(tmp_path / "endless", byte_level_tokenizer(template=None, **no_end))
    assert run("--model", model, *args, "--out", tmp_path / "a") == 2
    assert "the model has no end token: set eos_token" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    turns = chat_checkpoint(tmp_path / "turns", byte_level_tokenizer(**no_end))  # its template ends turns
    assert run("--model", turns, *args, "--out", tmp_path / "b") == 0
    assert (tmp_path / "b" / "model").exists()


class Replies:
    """A generator that replies to each prompt with fixed texts."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.prompts = texts, []

    def generate(self, prompts: Any, *, n: int, **_: Any) -> list[list[Generated]]:
        self.prompts += prompts
        assert n == len(self.texts)
        return [[Generated(text, 5, True) for text in self.texts] for _ in prompts]


def test_a_model_that_keeps_the_format_is_sampled_in_it(drinks_task: Any) -> None:
    sampling = Sampling("brief", 40, 1.0)
    model = Replies("<answer>tea</answer>", "<answer>tea</answer>", "milk", "<answer>x = 1\n\ny</answer>")
    options = Warmup(questions=2, samples=4, k=2, methods=("multi-rlcr",), sample_prompt="format")
    demonstrations = sampled(drinks_task, model, options, sampling)
    assert all(prompt.endswith("\nGive 1 answer\n") for prompt in model.prompts)
    # Of four samples three keep the format; an answer of several lines stays whole.
    expected = "<answer1>tea</answer1><confidence1>0.67</confidence1>\n"
    assert [one.text for one in demonstrations] == [
        f"{expected}<answer2>x = 1\n\ny</answer2><confidence2>0.33</confidence2>"
    ] * 2


def test_what_a_line_cannot_hold_is_left_out(drinks_task: Any) -> None:
    model = Replies("tea", "milk | water", "milk", "tea.")
    options = Warmup(questions=1, samples=4, k=2, methods=("multi-rlcr",))
    (one,) = sampled(drinks_task, model, options, Sampling("brief-lines", 40, 1.0))
    assert "tea</answer1><confidence1>0.67<" in one.text and "milk</answer2><confidence2>0.33<" in one.text


def test_lines_are_read_as_they_are_asked_for(drinks_task: Any) -> None:
    model = Replies("1. tea", "1. milk", "1. tea", "1. milk | water")
    options = Warmup(questions=1, samples=4, k=2, methods=("multi-rlcr",), sample_prompt="format")
    (one,) = sampled(drinks_task, model, options, Sampling("brief-lines", 40, 1.0))
    assert model.prompts[0].endswith("\nGive 1 answer, as 1. answer\n")
    assert in_notation(one, "brief-lines").text == "1. tea | 0.67\n2. milk | 0.33"
    first = (
        "<confidence1>0.67</confidence1><answer1>tea</answer1>\n<confidence2>0.33</confidence2><answer2>milk</answer2>"
    )
    assert in_notation(one, "confidence-first").text == first
    with pytest.raises(ConfigError, match="a demonstration cannot be read .slot 1: text outside the tags: 'tea'."):
        in_notation(replace(one, text="tea"), "confidence-first")


def test_a_file_that_is_missing_is_told_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--model", tmp_path / "none", "--out", tmp_path / "w", "--demonstrations", tmp_path / "no.jsonl") == 2
    assert "no.jsonl does not exist" in capsys.readouterr().err


def completions_file(folder: Path, *texts: str) -> Path:
    examples = [
        Example(f"d{i}", "Name two drinks.", (Reference("tea"), Reference("coffee"))) for i in range(len(texts))
    ]
    path = folder / "demonstrations.jsonl"
    runs.write_completions(path, [Completion(e, text, 2, False) for e, text in zip(examples, texts, strict=True)])
    return path


def test_demonstrations_longer_than_a_completion_are_left_out(
    drinks_model: Path,
    drinks_file: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    short = "<answer1>tea</answer1>\n<answer2>coffee</answer2>"
    long = f"<answer1>{'tea ' * 60}</answer1><answer2>coffee</answer2>"
    args = ["--model", drinks_model, "--task", "records", "--data", drinks_file, "--style", "brief", "--k", 2]
    args += ["--task-options", "test=0.2", "validation=0.2", "--methods", "multi-rlvr", "--check", 2, "--steps", 1]
    args += ["--batch", 1, "--device-batch", 1, "--max-tokens", 40]
    out = tmp_path / "warm"
    assert run(*args, "--out", out, "--demonstrations", completions_file(tmp_path, short, long, short)) == 0
    assert "1 of 3 demonstrations are longer than 40 tokens and left out" in caplog.text
    is_poor = runs.read_json(out / "warmup.json")["clean_after"] < 0.5
    assert ("completions keep the format after the warm-up" in caplog.text) is is_poor
    assert [one.text for one in runs.read_completions(out / "demonstrations")] == [short, short]
    refused = tmp_path / "refused"
    assert run(*args, "--out", refused, "--demonstrations", completions_file(tmp_path, long)) == 2
    assert "max_tokens = 40: every one of the 1 demonstrations is longer" in capsys.readouterr().err
    assert not refused.exists()


def test_a_question_beyond_the_context_is_told_before_anything_is_sampled(
    drinks_file: Path,
    chat_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TransformersGenerator, "generate", lambda *_, **__: pytest.fail("it samples"))
    long = Example("d", "tea " * 5000, (Reference("tea"), Reference("coffee")))
    path = tmp_path / "demonstrations.jsonl"
    runs.write_completions(path, [Completion(long, "<answer1>tea</answer1><answer2>coffee</answer2>", 2, False)])
    args = ["--model", chat_model, "--task", "records", "--data", drinks_file, "--style", "brief", "--k", 2]
    args += ["--task-options", "test=0.2", "validation=0.2", "--methods", "multi-rlvr", "--check", 1]
    assert run(*args, "--out", tmp_path / "w", "--demonstrations", path) == 2
    error = capsys.readouterr().err
    assert "the longest prompt has" in error and "reads 4096: shorten the questions" in error
    assert not (tmp_path / "w").exists()


def test_completions_are_no_longer_than_the_context_leaves(chat_model: Path) -> None:
    generator = TransformersGenerator(chat_model, show_progress=False)
    formats = (Format(2, False), Format(2, True))
    longest = max(
        len(generator.encode(prompt_for(EXAMPLE, 2, confidence=one.has_confidence, style="brief"))) for one in formats
    )
    room = _room_of([EXAMPLE], generator, formats, Sampling("brief", 9000, 1.0))
    assert room == 4096 - longest
    assert _room_of([EXAMPLE], generator, formats, Sampling("brief", 60, 1.0)) == 60
