"""The ceiling arm: a trained model whose confidences are trained on, supervised by verdicts of its own answers.

It shows what this model can know of its answers at least (`polymode.training.supervised_confidences`); a credit that
teaches confidences by reinforcement is measured against it. The questions are training questions that reinforcement
learning has not seen, where the task has no end, and those that choose among rates and steps are of the validation
split.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.tasks import Split, examples_of
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import chat_for, style_for, task_for, verifier_for
from polymode.training.supervision_options import ConfidenceSupervision
from polymode.verifiers import prepare_verifier
from polymode.warmup import MODEL

_QUESTIONS_SEED = 500_000
"""Training draws its questions with seeds from 0, the warm start with seeds from a million."""


def train_ceiling(recipe: Recipe, folder: Path, options: ConfidenceSupervision) -> Path:
    """Train the confidences of ``recipe.model`` on verdicts into ``folder``; returns the folder of the trained model.

    Args:
        recipe: names the model, its task, and how completions are sampled.
        folder: run folder; a finished one is left as it is.
        options: how many verdicts, and how they are learnt from.

    Raises:
        ConfigError: the model states no confidences that can be trained.
    """
    from polymode.generate import open_generator
    from polymode.training.supervised_confidences import supervise_confidences

    if (folder / MODEL / "config.json").exists():
        return folder / MODEL
    names = ("task", "task_options", "data", "model", "k", "prompt_style", "format", "chat_template", "temperature")
    own = {name: getattr(recipe, name) for name in names}
    runs.create(folder, own | asdict(options) | {"method": folder.parent.name, "seed": recipe.seed}, resume=True)
    task = task_for(recipe)
    assert recipe.model is not None
    generator: Any = open_generator("transformers", recipe.model, chat=chat_for(recipe, task), dtype=recipe.dtype)
    return supervise_confidences(
        _judged(recipe, task, generator, "train", options.questions, _QUESTIONS_SEED + recipe.seed),
        _judged(recipe, task, generator, "validation", options.check, recipe.seed),
        generator,
        folder,
        options,
        style=style_for(recipe, task),
        temperature=recipe.temperature,
        confidence_score=recipe.confidence_score,
        seed=recipe.seed,
    )


def _judged(recipe: Recipe, task: Any, generator: Any, split: Split, n: int, seed: int) -> list[Any]:
    """One judged completion of each of ``n`` questions."""
    from polymode.generate import sample_completions
    from polymode.training.supervised_confidences import Judged

    completions = sample_completions(
        examples_of(task, split, n, seed=seed, target=recipe.target),
        generator,
        k=recipe.answers,
        confidence=True,
        samples=1,
        max_tokens=recipe.max_completion_length,
        temperature=recipe.temperature,
        seed=seed,
        style=style_for(recipe, task),
    )
    sets = [parse_answers(one.text, one.k, confidence=True, finished=one.is_finished) for one in completions]
    texts = [[answer.text for answer in own.answers] for own in sets]
    ready = prepare_verifier(
        verifier_for(recipe, task), ((one.example, own) for one, own in zip(completions, texts, strict=True))
    )
    return [Judged(one, judge(one.example, own, ready)) for one, own in zip(completions, sets, strict=True)]
