"""Options of the objective in a recipe: what they set, and what is refused with field, value and fix."""

from collections.abc import Sequence
from typing import Any

import pytest

from polymode.errors import ConfigError
from polymode.prompts import Style
from polymode.rewards import METHODS, Reward
from polymode.tasks import Split, open_task
from polymode.training.recipe import Recipe, recipe_from
from polymode.training.shaping import check_questions, shaping_for
from polymode.types import Example, Reference
from polymode.verifiers.text import TextVerifier


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_the_defaults_are_the_presets(method: str, preset: str) -> None:
    recipe = recipe_from({"method": method, "preset": preset})
    assert recipe.reward == METHODS[method].reward(preset)
    assert shaping_for(recipe) is None


def test_options_set_the_reward() -> None:
    recipe = Recipe(
        coverage="vector",
        coverage_weight=9,
        coverage_alpha=2,
        confidence_score="log",
        confidence_weight=1.5,
        confidences="exclusive",
        exclusive_penalty=0.5,
        repeat_penalty=0.25,
    )
    # Format: 1.5 for the log score and two repeats of .25.
    assert recipe.reward == Reward(
        coverage="vector",
        coverage_weight=9,
        coverage_alpha=2,
        confidence_score="log",
        confidence_weight=1.5,
        confidences="exclusive",
        exclusive_penalty=0.5,
        repeat_penalty=0.25,
        format_weight=2,
    )
    single = Recipe(method="single-rlcr", repeat_penalty=0.25)  # one answer has nothing to repeat
    assert single.reward == Reward(repeat_penalty=0.25)


def test_options_set_the_shaping() -> None:
    shaping = shaping_for(Recipe(exploration="historical"))
    assert shaping is not None and shaping.counts is not None and shaping.term_names == ["exploration"]
    shaping = shaping_for(Recipe(method="single-rlvr", objective="pass@k"))
    assert shaping is not None and shaping.counts is None and shaping.term_names == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coverage": "mean"}, "coverage = 'mean' is not known: use one of count, any, count/K, count/N or vector"),
        ({"confidence_score": "hinge"}, "confidence_score = 'hinge' is not known: use one of brier, log, spherical"),
        ({"confidences": "shared"}, "confidences = 'shared' is not known: use one of independent or exclusive"),
        ({"objective": "max@k"}, "objective = 'max@k' is not known: use one of mean, pass@k or coverage@k"),
        ({"exploration": "ucb"}, "exploration = 'ucb' is not known: use one of none, batch or historical"),
        ({"coverage_weight": -1}, "coverage_weight = -1.0 is not allowed: use a finite number, at least 0"),
        ({"repeat_penalty": float("nan")}, "repeat_penalty = nan is not allowed: use a finite number, at least 0"),
        ({"coverage": "vector", "coverage_alpha": 0}, "coverage_alpha = 0.0 must be above 0"),
        ({"coverage_alpha": 2}, "coverage_alpha = 2.0 is given without coverage: add coverage: vector"),
        ({"exclusive_penalty": 2}, "exclusive_penalty = 2.0 is given without confidences: add confidences: exclusive"),
        ({"objective_k": 4}, "objective_k = 4 is given without objective: add objective: pass@k"),
        ({"exploration_weight": 0.3}, "exploration_weight = 0.3 is given without exploration: add exploration: batch"),
        (
            {"preset": "released", "coverage": "any"},
            "coverage = 'any' with preset = 'released': its formulas are fixed; use 'paper'",
        ),
        ({"preset": "released", "exploration": "batch"}, "exploration = 'batch' with preset = 'released'"),
        (
            {"method": "multi-rlvr", "confidence_score": "log"},
            "confidence_score = 'log' with method = 'multi-rlvr': its answers carry no confidences; use single-rlcr or",
        ),
        (
            {"method": "single-rlvr", "confidences": "exclusive"},
            "confidences = 'exclusive' with method = 'single-rlvr'",
        ),
        ({"confidence_score": "other"}, "confidence_score = 'other' with .*; add confidences: exclusive"),
        # Improper on every question.
        ({"coverage_weight": 0.25}, "coverage = 'count' with coverage_weight = 0.25 and confidence_weight = 1.0 on a"),
        (
            {"coverage": "count/K", "coverage_weight": 0.5},
            "a further hit may add only 0.167 and doubt about it cost 0.333, so junk with confidence 0 would be worth "
            "more; raise coverage_weight to at least 1",
        ),
        (
            {"confidence_score": "other", "confidences": "exclusive", "coverage_weight": 0.9},
            "raise coverage_weight to at least 1",
        ),
        (
            {"exploration": "batch", "exploration_weight": 4},
            "exploration_weight = 4.0 with coverage_weight = 1.0: on a question with 1 reference a new wrong answer "
            "would earn 1.33, a right one that everybody gives 1; lower exploration_weight",
        ),
        ({"exploration": "batch", "exploration_weight": 0}, "exploration = 'batch' has exploration_weight = 0: give a"),
        # Objectives over several completions.
        ({"objective": "pass@k"}, "objective = 'pass@k' with method = 'multi-rlcr': .*; use single-rlvr or multi-rlvr"),
        (
            {"objective": "pass@k", "method": "multi-rlvr", "coverage": "any"},
            "objective = 'pass@k' with coverage = 'any': it has its own count; leave coverage out",
        ),
        ({"objective": "pass@k", "method": "multi-rlvr", "coverage_weight": 0}, "with coverage_weight = 0: nothing"),
        (
            {"objective": "pass@k", "method": "multi-rlvr", "scale_rewards": "group"},
            "objective = 'pass@k' with scale_rewards = 'group': .* use 'none' or 'batch'",
        ),
        (
            {"objective": "coverage@k", "method": "multi-rlvr", "credit": "term"},
            "objective = 'coverage@k' with credit = 'term': it is no sum over answers; use credit 'sequence'",
        ),
        (
            {"objective": "pass@k", "method": "single-rlvr", "objective_k": 16},
            "objective = 'pass@k' with objective_k = 16 and num_generations = 16: use objective_k from 1 to 15",
        ),
        (
            {"objective": "pass@k", "method": "single-rlvr", "num_generations": 3},
            "with k = 3 and num_generations = 3: use objective_k",
        ),
    ],
)
def test_what_is_improper_is_refused_when_the_recipe_is_read(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        recipe_from(options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"coverage": "count/K"},
        {"coverage": "any", "method": "multi-rlvr"},
        {"coverage": "vector", "coverage_alpha": 0.5, "coverage_weight": 20},
        {"confidence_score": "spherical", "credit": "term"},
        {"confidence_weight": 0, "coverage": "any"},
        {"confidence_score": "other", "confidences": "exclusive"},
        {"repeat_penalty": 1},
        {"objective": "pass@k", "method": "single-rlvr", "objective_k": 8},
        {"objective": "coverage@k", "method": "multi-rlvr", "exploration": "batch"},
        {"exploration": "historical", "credit": "term"},
    ],
)
def test_what_is_proper_is_read(options: dict[str, Any]) -> None:
    assert recipe_from(options) == Recipe(**options)


class Few:
    """Questions with one, then three references."""

    name = "few"
    prompt_style: Style = "brief"

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        one = Example("one", "?", (Reference("tea"),))
        return [one, Example("three", "?", (Reference("tea"), Reference("milk"), Reference("gin")))][:n]


class Endless(TextVerifier):
    open = True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"coverage": "any"},
            "task 'few', question 'three': coverage = 'any' with coverage_weight = 1.0 and confidence_weight = 1.0 "
            "on a question with 3 references and 3 answers: .*; use coverage = 'count', or confidence_weight = 0",
        ),
        ({"coverage": "count/N", "coverage_weight": 0.9}, "raise coverage_weight to at least 1"),
        ({"coverage": "vector"}, "raise coverage_weight to at least 3"),
        (
            {"confidences": "exclusive"},
            "confidences = 'exclusive' on a question with 3 references .* use 'independent'",
        ),
        (
            {"coverage": "vector", "coverage_weight": 3, "exploration": "batch", "exploration_weight": 1.5},
            "on a question with 3 references a new wrong answer would earn 0.5, a right one that everybody gives 0.333",
        ),
    ],
)
def test_what_is_improper_on_a_training_question_is_refused(options: dict[str, Any], message: str) -> None:
    recipe = recipe_from({**options, "max_steps": 1, "questions_per_step": 2})
    with pytest.raises(ConfigError, match=message) as caught:
        check_questions(recipe, Few(), TextVerifier())
    assert "\n" not in str(caught.value)
    one = recipe_from({**options, "max_steps": 1, "questions_per_step": 1})
    check_questions(one, Few(), TextVerifier())


def test_exactly_where_it_breaks() -> None:
    for weight, is_refused in ((3.0, False), (2.99, True)):  # brier N min(K, N) / K = 3 x 3 / 3
        recipe = Recipe(coverage="vector", coverage_weight=weight)
        if is_refused:
            with pytest.raises(ConfigError):
                check_questions(recipe, Few(), TextVerifier())
        else:
            check_questions(recipe, Few(), TextVerifier())


def test_right_answers_without_number_count_as_k() -> None:
    one = Recipe(max_steps=1, questions_per_step=1, coverage="any")
    check_questions(one, Few(), TextVerifier())
    with pytest.raises(ConfigError, match="with 3 references and 3 answers"):
        check_questions(one, Few(), Endless())
    together = Recipe(method="multi-rlvr", objective="coverage@k")
    check_questions(together, Few(), TextVerifier())
    with pytest.raises(ConfigError, match="objective = 'coverage@k' on task 'few': it has no end of right answers"):
        check_questions(together, Few(), Endless())


def test_the_labs_tasks() -> None:
    small = {"max_steps": 2, "questions_per_step": 16, "coverage": "any"}
    check_questions(Recipe(task="hops", **small), open_task("hops"), TextVerifier())
    with pytest.raises(ConfigError, match="task 'clinic', question"):
        check_questions(Recipe(task="clinic", **small), open_task("clinic"), TextVerifier())
