"""The ceiling: confidences learn what verdicts of the model's own answers say, and the answers stay."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymode.errors import ConfigError
from polymode.generate.transformers import TransformersGenerator
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.reproduce.ceiling import train_ceiling
from polymode.training.recipe import Recipe
from polymode.training.supervised_confidences import CHECKS, Judged, supervise_confidences
from polymode.training.supervision_options import ConfidenceSupervision
from polymode.types import Completion
from polymode.verifiers.text import TextVerifier

from .conftest import Drinks

OPTIONS = ConfidenceSupervision(
    questions=96, check=32, steps=60, batch=32, device_batch=16, learning_rates=(1e-2,), checks=3, anchor=0.05
)


def judged(n: int, seed: int, *, confidence: bool = True) -> list[Judged]:
    """Completions whose answer is right when the question names it, with random confidences."""
    rng, out = np.random.default_rng(seed), []
    examples = [*Drinks().examples("train")] * 4
    for example in examples[:n]:
        text = Drinks().demonstrate(example, 2, confidence=True, rng=rng)
        one = Completion(example, text, 2, True)
        out.append(Judged(one, judge(example, parse_answers(text, 2, confidence=confidence), TextVerifier())))
    return out


def test_it_learns_which_answers_are_right_from_random_confidences(chat_model: Path, tmp_path: Path) -> None:
    generator = TransformersGenerator(chat_model, show_progress=False)
    target = supervise_confidences(
        judged(96, 0), judged(32, 1), generator, tmp_path, OPTIONS, style="brief", temperature=1.0
    )
    checks = json.loads((tmp_path / CHECKS).read_text())["checks"]
    assert [one["step"] for one in checks] == [0, 20, 40, 60]
    assert min(one["validation/loss"] for one in checks) < checks[0]["validation/loss"]
    assert (target / "config.json").exists() and target == tmp_path / "model"
    # What was kept is the best of the checks: the loss of the stored model is the lowest that was written down.
    again = supervise_confidences(
        judged(96, 0),
        judged(32, 1),
        TransformersGenerator(target, show_progress=False),
        tmp_path / "again",
        ConfidenceSupervision(steps=1, batch=1, device_batch=1, learning_rates=(1e-9,), checks=1),
        style="brief",
        temperature=1.0,
    )
    first = json.loads((again.parent / CHECKS).read_text())["checks"][0]["validation/loss"]
    assert first == pytest.approx(min(one["validation/loss"] for one in checks), rel=1e-4)


def test_without_confidences_there_is_nothing_to_learn(chat_model: Path, tmp_path: Path) -> None:
    generator = TransformersGenerator(chat_model, show_progress=False)
    silent = judged(8, 0, confidence=False)  # read without confidences, so none can be scored
    with pytest.raises(ConfigError, match="no completion states a confidence that its tokens decide"):
        supervise_confidences(silent, silent, generator, tmp_path, OPTIONS, style="brief", temperature=1.0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"questions": 0}, "questions = 0 is not allowed"),
        ({"learning_rates": ()}, "learning_rates is empty"),
        ({"batch": 6, "device_batch": 4}, "device_batch = 4 must divide batch = 6"),
        ({"anchor": -1.0}, "anchor = -1.0 is not allowed"),
    ],
)
def test_options_out_of_their_range_are_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ConfidenceSupervision(**option)


@pytest.mark.slow
def test_the_ceiling_of_a_trained_model(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = small_recipe(k=2, task_options={"style": "brief", "validation": 0.3, "test": 0.0})
    target = train_ceiling(recipe, tmp_path / "ceiling-of-x" / "seed-5", OPTIONS)
    config = json.loads((target.parent / "config.json").read_text())["config"]
    assert (config["method"], config["seed"], config["model"]) == ("ceiling-of-x", 5, recipe.model)
    before = target.stat().st_mtime_ns
    assert train_ceiling(recipe, target.parent, OPTIONS) == target and target.stat().st_mtime_ns == before
