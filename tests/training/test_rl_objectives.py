"""Objectives through the trainer: what reaches TRL, and counts of answers that survive a stop."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from polymode import runs
from polymode.errors import ConfigError
from polymode.pass_at_k import pass_at_k_advantages
from polymode.training.recipe import Recipe
from polymode.training.rl import train

pytestmark = pytest.mark.slow


def completions(run: Path, step: int) -> dict[str, list[Any]]:
    return pq.read_table(run / "checkpoints" / "completions" / f"completions_{step:05d}.parquet").to_pydict()


def counts(checkpoint: Path) -> dict[str, dict[str, int]]:
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return state["stateful_callbacks"]["KeepsCounts"]["attributes"]["counts"]


def test_trl_centres_the_values_to_the_advantages_of_pass_at_k(
    small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    train(small_recipe(method="single-rlvr", objective="pass@k", objective_k=2, max_steps=1), tmp_path / "run")
    table = completions(tmp_path / "run", 1)
    for i in range(0, 16, 4):
        right = ["correct" in verdicts.split() for verdicts in table["verdicts"][i : i + 4]]
        form = table["term_format"][i : i + 4]
        expected = pass_at_k_advantages(right, 2) + [value - sum(form) / 4 for value in form]
        assert table["advantage"][i : i + 4] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        (
            {"coverage": "vector", "coverage_weight": 3, "confidence_score": "log", "repeat_penalty": 0.2},
            {"coverage", "log", "format", "repeat"},
        ),
        ({"exploration": "batch", "credit": "term"}, {"coverage", "brier", "format", "exploration"}),
        ({"method": "multi-rlvr", "objective": "coverage@k"}, {"coverage", "format"}),
    ],
)
def test_terms_of_the_options_are_logged(
    options: dict[str, Any], terms: set[str], small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    train(small_recipe(max_steps=1, **options), tmp_path / "run")
    table = completions(tmp_path / "run", 1)
    assert {name.removeprefix("term_") for name in table if name.startswith("term_")} == terms
    totals = [sum(row) for row in zip(*(table[f"term_{name}"] for name in sorted(terms)), strict=True)]
    assert totals == pytest.approx(table["polymode"], abs=1e-5)


def test_counts_of_answers_are_kept_in_checkpoints(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = small_recipe(exploration="historical", save_total_limit=2)
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train(recipe, whole)
    shutil.copytree(whole, resumed)
    shutil.rmtree(resumed / "model")
    shutil.rmtree(resumed / "checkpoints" / "checkpoint-4")
    train(recipe, resumed, resume=True)

    early, late = (counts(whole / "checkpoints" / f"checkpoint-{step}") for step in (2, 4))
    assert sum(n for answers in early.values() for n in answers.values()) > 0
    assert set(early) < set(late)
    assert counts(resumed / "checkpoints" / "checkpoint-4") == late
    for step in (3, 4):
        assert completions(resumed, step) == completions(whole, step)


def test_improper_questions_are_refused_before_anything_is_written(
    small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="coverage = 'any' .* on a question with [23] references and 3 answers"):
        train(small_recipe(coverage="any"), tmp_path / "run")
    assert not (tmp_path / "run" / runs.CONFIG).exists()
