"""What a recipe names, opened: its task, its verifier, and how prompts are put to its model."""

from __future__ import annotations

from pathlib import Path

from polymode.chat import Chat, shots_from
from polymode.prompts import Style, style_of
from polymode.tasks import Task, ask_of, check_notation, open_task, verifier_of
from polymode.training.recipe import Recipe
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.choice import open_verifier


def task_for(recipe: Recipe) -> Task:
    """The recipe's task."""
    options = dict(recipe.task_options)
    if recipe.task == "records" and recipe.verifier is not None:
        options.setdefault("verifier", recipe.verifier)
    return open_task(recipe.task, data=recipe.data, **options)


def style_for(recipe: Recipe, task: Task) -> Style:
    """How the recipe asks the task's questions; raises ConfigError where its format cannot hold the answers."""
    check_notation(task, recipe.format)
    return style_of(recipe.prompt_style, recipe.format, task.prompt_style, rationale=recipe.rationale)


def chat_for(recipe: Recipe, task: Task) -> Chat:
    """How the recipe puts prompts to its model."""
    assert not isinstance(recipe.shots, Path)  # read when the recipe was made
    shots = shots_from(recipe.shots, style_for(recipe, task), ask=ask_of(task))
    return Chat(recipe.chat_template, recipe.system, shots, recipe.stop)


def verifier_for(recipe: Recipe, task: Task) -> Verifier | QuestionVerifier:
    """The recipe's verifier, or the task's own when it names none."""
    return open_verifier(recipe.verifier, **recipe.verifier_options) if recipe.verifier else verifier_of(task)
