"""A toy task with a vocabulary of some dozen words, and models for it small enough to train while one waits."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymode.prompts import Style, build_prompt
from polymode.tasks import Split
from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer
from polymode.training.recipe import Recipe, recipe_from
from polymode.training.warm_start import WarmStart, warm_start
from polymode.types import Example, Reference

from .engines import start

DRINKS = ("tea", "milk", "water", "juice", "cocoa", "cider")
CHAT_TEMPLATE = (
    "{% for message in messages %}<user>{{ message['content'] }}</user>{% endfor %}"
    "{% if add_generation_prompt %}<bot>{% endif %}"
)
SMALL = LabModelSize(hidden=32, layers=2, heads=2, intermediate=64, positions=128)


class Drinks:
    """Questions such as ``likes tea milk``: the drinks named are the references."""

    name = "drinks"
    prompt_style: Style = "brief"

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        pairs = [*itertools.combinations(DRINKS, 2), *itertools.combinations(DRINKS, 3)]
        order = np.random.default_rng(seed).permutation(len(pairs))[:n]
        return [
            Example(str(i), f"likes {' '.join(pairs[i])}", tuple(Reference(drink) for drink in pairs[i])) for i in order
        ]

    def demonstrate(self, example: Example, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
        """Drinks at random, so that training has something to improve."""
        answers = rng.permutation(DRINKS)[:k]
        tags = [""] if k == 1 else range(1, k + 1)
        slots = [
            f"<answer{tag}>{answer}</answer{tag}>"
            + (f"<confidence{tag}>{rng.choice(('0.2', '0.5', '0.8'))}</confidence{tag}>" if confidence else "")
            for tag, answer in zip(tags, answers, strict=True)
        ]
        return f"<think> {example.references[0].text} </think>{''.join(slots)}"

    def vocabulary(self) -> Sequence[str]:
        tags = [f"<answer{i}></answer{i}><confidence{i}></confidence{i}>" for i in ("", 1, 2, 3, 4, 5)]
        prompts = [build_prompt("likes", k, confidence=c, style="brief") for k in range(1, 6) for c in (False, True)]
        return [*prompts, *tags, *DRINKS, "<think> </think> <user> </user> <bot>", "0.2 0.5 0.8"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("POLYMODE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def drinks_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model that knows the answer format, not the answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return warm_start(Drinks(), WarmStart(steps=400, batch=32, learning_rate=1e-2, size=SMALL))


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Qwen3 checkpoint with a chat template: what an 8B model looks like from outside."""
    folder = tmp_path_factory.mktemp("tiny-qwen3")
    tokenizer = build_tokenizer(Drinks().vocabulary())
    tokenizer.chat_template = CHAT_TEMPLATE
    build_model(tokenizer, replace(SMALL, positions=4096), seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def drinks_task() -> Drinks:
    """The toy task as an object."""
    return Drinks()


@pytest.fixture(scope="session")
def drinks_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy task as a data file of the task `records`."""
    path = tmp_path_factory.mktemp("data") / "drinks.jsonl"
    rows = [
        {"question": example.question, "references": [reference.text for reference in example.references]}
        for example in Drinks().examples("train")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def small_recipe(drinks_model: Path, drinks_file: Path) -> Callable[..., Recipe]:
    """A recipe of four steps on the toy task; options can be overridden."""

    def build(**overrides: Any) -> Recipe:
        values = {
            "task": "records",
            "data": str(drinks_file),
            "task_options": {"style": "brief", "validation": 0.0, "test": 0.0},
            "model": str(drinks_model),
            "max_steps": 4,
            "questions_per_step": 4,
            "num_generations": 4,
            "learning_rate": 1e-3,
            "max_completion_length": 40,
            "save_steps": 2,
            "seed": 5,
        }
        return recipe_from({**values, **overrides})

    return build


END_TOGETHER = """
from polymode.training.sharding import leave_together
leave_together()
"""


@pytest.fixture
def launch() -> Callable[..., None]:
    """Runs a script in so many processes, one or two."""

    def run(n: int, script: Path, *arguments: Path | str) -> None:
        whole = script.with_name(f"whole_{script.name}")
        whole.write_text(script.read_text() + END_TOGETHER)
        done = start("ddp" if n == 2 else "one", whole, *arguments)
        assert done.returncode == 0, done.stderr

    return run
