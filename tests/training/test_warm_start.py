"""The warm start: it learns the format, it is cached by content, and its examples are masked as they should be."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from polymode.errors import ConfigError
from polymode.parsing import parse_answers
from polymode.prompts import build_prompt
from polymode.tasks import Split
from polymode.training import warm_start as module
from polymode.training.lab_model import LabModelSize, build_tokenizer
from polymode.training.recipe import Recipe
from polymode.training.rows import LEARNS, is_apart, learns, question_key
from polymode.training.warm_start import FORMATS, WarmStart, warm_start
from polymode.types import Example, Reference

TINY = WarmStart(steps=2, batch=4, size=LabModelSize(hidden=16, layers=1, heads=2, intermediate=32, positions=64))


class Colours:
    """A task of two questions."""

    name = "colours"
    prompt_style = "brief"
    words: tuple[str, ...] = ("red", "blue", "green", "white", "black")

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        return [Example(word, f"like {word}", (Reference(word),)) for word in self.words[:2]][:n]

    def demonstrate(self, example: Example, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
        tags = [""] if k == 1 else range(1, k + 1)
        return "<think> so </think>" + "".join(
            f"<answer{i}>{word}</answer{i}>" + (f"<confidence{i}>0.5</confidence{i}>" if confidence else "")
            for i, word in zip(tags, rng.permutation(self.words)[:k], strict=True)
        )

    def vocabulary(self) -> Sequence[str]:
        tags = [f"<answer{i}></answer{i}><confidence{i}></confidence{i}>" for i in ("", 1, 2, 3, 4, 5)]
        prompts = [build_prompt("like", k, confidence=c, style="brief") for k in range(1, 6) for c in (False, True)]
        return [*prompts, *tags, *self.words, "<think> so </think>", "0.5"]


class OtherColours(Colours):
    words = ("red", "blue", "green", "white", "grey")


def test_a_second_call_finds_the_first_ones_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = warm_start(Colours(), TINY)  # type: ignore[arg-type]
    assert folder.parent == tmp_path / "cache" / "warm-start" and folder.name.startswith("colours-")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing half-finished is left
    monkeypatch.setattr(module, "Trainer", None)  # training again would fail
    assert warm_start(Colours(), TINY) == folder  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"steps": 3}, {"batch": 8}, {"learning_rate": 1e-3}, {"seed": 1}])
def test_other_settings_make_another_model(change: dict[str, float]) -> None:
    tokenizer = build_tokenizer(Colours().vocabulary())
    keys = {module._fingerprint(Colours(), settings, tokenizer) for settings in (TINY, replace(TINY, **change))}  # type: ignore[arg-type]
    assert len(keys) == 2


def test_other_demonstrations_or_sizes_make_another_model() -> None:
    tokenizer = build_tokenizer([*Colours().vocabulary(), *OtherColours().vocabulary()])  # the same for both
    bigger = replace(TINY, size=replace(TINY.size, layers=2))
    keys = [
        module._fingerprint(task, settings, tokenizer)  # type: ignore[arg-type]
        for task, settings in ((Colours(), TINY), (OtherColours(), TINY), (Colours(), bigger), (Colours(), TINY))
    ]
    assert len(set(keys)) == 3 and keys[0] == keys[3]


def test_demonstrations_in_another_notation_are_asked_for_and_written_in_it() -> None:
    tokenizer = build_tokenizer(Colours().vocabulary())
    first = replace(TINY, notation="confidence-first")
    keys = {module._fingerprint(Colours(), settings, tokenizer) for settings in (TINY, first)}  # type: ignore[arg-type]
    assert len(keys) == 2
    for prompt, text in module._texts(Colours(), first, 64):  # type: ignore[arg-type]
        assert ("confidence with" in prompt) is ("<confidence" in text)
        if "<confidence" in text:
            assert text.startswith("<think> so </think>\n<confidence")
    assert warm_start(Colours(), first).is_dir()  # type: ignore[arg-type]


def test_a_vocabulary_without_the_notation_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Trainer", None)
    with pytest.raises(ConfigError, match="the model's tokenizer does not keep the answer format: .* format: tags"):
        warm_start(Colours(), replace(TINY, notation="lines"))  # type: ignore[arg-type]


def test_uninformative_demonstrations_make_another_model_and_need_a_grid_of_confidences() -> None:
    tokenizer = build_tokenizer(Colours().vocabulary())
    uninformative = replace(TINY, demonstrations="uninformative")
    keys = {module._fingerprint(Colours(), settings, tokenizer) for settings in (TINY, uninformative)}  # type: ignore[arg-type]
    assert len(keys) == 2
    with pytest.raises(ConfigError, match=r"the vocabulary of task 'colours' lacks the confidences 0.00, 0.05, 0.10"):
        warm_start(Colours(), uninformative)  # type: ignore[arg-type]


def test_the_same_settings_give_the_same_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = AutoModelForCausalLM.from_pretrained(warm_start(Colours(), TINY)).state_dict()  # type: ignore[arg-type]
    monkeypatch.setenv("POLYMODE_CACHE", str(tmp_path / "another"))
    again = AutoModelForCausalLM.from_pretrained(warm_start(Colours(), TINY)).state_dict()  # type: ignore[arg-type]
    for name, value in first.items():
        torch.testing.assert_close(again[name], value, rtol=0, atol=1e-7)


def test_the_loss_sees_completions_and_the_end_but_no_prompt() -> None:
    task = Colours()
    tokenizer: Any = build_tokenizer(task.vocabulary())
    rows = module._demonstrations(task, replace(TINY, steps=25), tokenizer)  # type: ignore[arg-type]
    assert len(rows) == 100
    for row in rows:
        learned = [token for token in row["labels"] if token != -100]
        n = len(row["input_ids"]) - len(learned)
        assert row["labels"] == [-100] * n + row["input_ids"][n:]
        assert learned[-1] == tokenizer.eos_token_id
        prompt, completion = tokenizer.decode(row["input_ids"][:n]), tokenizer.decode(learned[:-1])
        [k] = [k for k, _ in FORMATS if f"Give {k} answer" in prompt]
        assert parse_answers(completion, k, confidence="with confidence" in prompt).is_clean


def test_every_format_is_shown_and_a_finite_task_comes_again() -> None:
    texts = list(module._texts(Colours(), TINY, 200))  # type: ignore[arg-type]
    assert len(texts) == 200 and len({prompt for prompt, _ in texts}) == 2 * len(FORMATS) * 2
    assert sum(share for _, share in FORMATS) == pytest.approx(1)


class ManyColours(Colours):
    """Sixty questions, of which each reading has every one."""

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        order = np.random.default_rng(seed).permutation(60)
        return [Example(f"q{i}", f"like red {i}", (Reference("red"),)) for i in order][:n]


def test_questions_apart_are_not_demonstrated() -> None:
    """They are those on which the training learns confidences alone."""
    recipe = Recipe(method="multi-rlcr", credit="expected", confidence_questions="apart", apart_share=0.4, seed=3)
    settings = replace(TINY, apart=(recipe.seed, recipe.apart_share))
    task: Any = ManyColours()
    asked = {prompt.partition("\n")[0] for prompt, _ in module._texts(task, settings, 200)}
    apart = {one.question for one in task.examples("train") if is_apart(one.question, 3, 0.4)}
    assert asked == {one.question for one in task.examples("train")} - apart and 12 < len(apart) < 36
    rows = [{LEARNS: learns(recipe, question_key(q, "id"), is_first=True), "q": q} for q in asked | apart]
    assert {row["q"] for row in rows if row[LEARNS] == "confidences"} == apart
    tokenizer = build_tokenizer(task.vocabulary())
    keys = {module._fingerprint(task, one, tokenizer) for one in (TINY, settings, replace(settings, apart=(4, 0.4)))}
    assert len(keys) == 3
    with pytest.raises(ConfigError, match="no training examples to demonstrate"):
        next(module._texts(task, replace(TINY, apart=(3, 1.0)), 4))


@pytest.mark.slow
def test_it_learns_the_format(drinks_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(drinks_model, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(drinks_model)
    torch.manual_seed(0)
    for k, confidence in ((1, False), (1, True), (3, False), (3, True)):
        prompt = build_prompt("likes tea milk", k, confidence=confidence, style="brief")
        ids = tokenizer([prompt] * 20, return_tensors="pt")
        texts = tokenizer.batch_decode(
            model.generate(**ids, max_new_tokens=40, do_sample=True)[:, ids["input_ids"].shape[1] :],
            skip_special_tokens=True,
        )
        assert sum(parse_answers(text, k, confidence=confidence).is_clean for text in texts) > 8


class NoColours(Colours):
    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        return []


def test_a_task_without_training_examples_is_refused_instead_of_asked_for_ever() -> None:
    with pytest.raises(ConfigError, match="task 'colours' has no training examples to demonstrate: check its data"):
        warm_start(NoColours(), TINY)  # type: ignore[arg-type]
