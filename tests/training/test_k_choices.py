"""K at run time: one model trained over several K, each said in its prompt and scored as such."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polymode.errors import ConfigError
from polymode.tasks import open_task
from polymode.training.recipe import Recipe, recipe_from
from polymode.training.rl import train
from polymode.training.rows import TrainingRows


def test_k_is_drawn_per_question_and_said_in_its_prompt() -> None:
    recipe = Recipe(k_choices=(1, 2, 3, 4, 5), max_steps=20, questions_per_step=25, seed=3)
    rows = TrainingRows(recipe, open_task("clinic"), conversational=False)
    asked = [int(m[1]) for row in rows if (m := re.search(r"Give (\d) answers?", row["prompt"]))]
    assert asked == [row["k"] for row in rows]
    counts = Counter(asked)
    assert set(counts) == {1, 2, 3, 4, 5} and min(counts.values()) > 60  # 500 questions: 100 each, deviation 9
    again = TrainingRows(recipe, open_task("clinic"), conversational=False)
    assert list(again) == list(rows)
    assert "k" not in TrainingRows(Recipe(max_steps=1), open_task("clinic"), conversational=False)[0]


@pytest.mark.parametrize("credit", ["sequence", "term"])
def test_a_model_trained_over_k_follows_each(credit: str, small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = small_recipe(k_choices=[1, 3], credit=credit, max_steps=2, questions_per_step=4)
    train(recipe, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and all(line["share_clean"] > 0.2 for line in lines)


def test_recipe_files_and_flags_name_whole_numbers() -> None:
    assert recipe_from({"k_choices": [2, 4]}).k_choices == (2, 4)
    assert recipe_from({"k_choices": [2, 4]}).answers == 4
    for wrong in (["2"], [2.5], [True], "2"):
        with pytest.raises(ConfigError, match="k_choices"):
            recipe_from({"k_choices": wrong})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"k_choices": (0, 3)}, "k = 0 is not allowed"),
        ({"k_choices": (3, 3)}, "names a number twice"),
        ({"k_choices": (1, 99)}, "k = 99 is not allowed"),
        ({"k_choices": (1, 2), "method": "single-rlcr"}, "a single method asks for one answer"),
        ({"k_choices": (1, 2), "method": "multi-rlvr", "coverage": "any"}, "k_choices with coverage = 'any'"),
        ({"k_choices": (1, 2), "preset": "released"}, "k_choices with preset = 'released'"),
    ],
)
def test_what_does_not_go_with_it_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Recipe(**options)
