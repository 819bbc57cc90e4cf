"""One arm of an experiment: train, sample on the test split, evaluate. Every finished stage is kept and skipped later.

::

    ARM/seed-0/               training run folder (config.json, metrics.jsonl, checkpoints/, model/); of warm-up and
                              distillation that of `polymode.warmup`
    ARM/seed-0/VIEW/          evaluation of a view: completions.jsonl, judged.jsonl, metrics.json
    ARM/seed-0/VIEW/deep/     the same for fewer questions with 30 answers each
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.chat import Chat
from polymode.compare.columns import with_deep
from polymode.prompts import Style, style_of
from polymode.reproduce.plans import Arm, Plan, View
from polymode.tasks import Task, examples_of
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import chat_for, task_for, verifier_for
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.description import describe_verifier
from polymode.warmup import MODEL

AnyVerifier = Verifier | QuestionVerifier
_SAMPLING_SEED = 20_260
_TEST_SEED = 1  # seed 0 of the lab's test split was looked at while the warm start was being built


def run_arm(plan: Plan, arm: Arm, root: Path) -> None:
    """Run what is missing of one arm below ``root``: the training, then every view without a ``metrics.json``."""
    folder, recipe = root / arm.folder, arm.recipe
    if arm.starts_from is not None:
        recipe = replace(recipe, model=str((root / arm.starts_from / MODEL).resolve()))
    task = task_for(recipe)
    model = _model(arm, recipe, folder, task)
    missing = [view for view in arm.views if not (folder / view.name / runs.METRICS).exists()]
    if not missing:
        return
    chat = chat_for(recipe, task)
    generator, verifier = _open(plan.backend, model, recipe, chat), verifier_for(recipe, task)
    for view in missing:
        target = folder / view.name
        if view.of:
            _measure(generator, view, folder, _style(recipe, task), verifier)
            deep = runs.read_metrics(folder / view.of / "deep")
        else:
            deep_samples = math.ceil(plan.deep_answers / view.answers)
            _sample(generator, recipe, view, target / "deep", task, verifier, (plan.deep_questions, deep_samples))
            _sample(generator, recipe, view, target, task, verifier, (plan.questions, view.pool))
            deep = _evaluate(plan, view, target / "deep", verifier)
        _evaluate(plan, view, target, verifier, deep)


def _model(arm: Arm, recipe: Recipe, folder: Path, task: Task) -> str | Path:
    """The arm's model, trained where it is not yet."""
    from polymode.training.rl import lab_model, train

    if arm.supervised is not None:
        return _train_on_demonstrations(arm, recipe, folder, task)
    return train(recipe, folder, resume=True) if arm.is_trained else recipe.model or lab_model(task, recipe)


def _train_on_demonstrations(arm: Arm, recipe: Recipe, folder: Path, task: Task) -> Path:
    from polymode.warmup import Sampling, warm_up

    assert arm.supervised is not None
    names = ("task", "task_options", "data", "model", "prompt_style", "format", "chat_template", "temperature")
    config = {name: getattr(recipe, name) for name in names} | asdict(arm.supervised) | {"method": arm.name}
    runs.create(folder, config, resume=True)
    sampling = Sampling(_style(recipe, task), recipe.max_completion_length, recipe.temperature)
    chat = chat_for(recipe, task)
    warm_up(
        task, folder, arm.supervised, sampling, lambda own: _open("transformers", own or recipe.model, recipe, chat)
    )
    return folder / MODEL


def _open(backend: str, model: str | Path | None, recipe: Recipe, chat: Chat) -> Any:
    from polymode.generate import open_generator

    assert model is not None
    return open_generator(backend, model, chat=chat, dtype=recipe.dtype)


def _style(recipe: Recipe, task: Task) -> Style:
    return style_of(recipe.prompt_style, recipe.format, task.prompt_style)


def _sample(
    generator: Any, recipe: Recipe, view: View, out: Path, task: Task, verifier: AnyVerifier, size: tuple[int, int]
) -> None:
    """Completions of the test split, at the temperature and length limit of the training.

    ``size`` is the number of questions and of completions of each.
    """
    from polymode.generate import sample_completions

    if (out / runs.COMPLETIONS).exists():
        return
    completions = sample_completions(
        examples_of(task, "test", size[0], seed=_TEST_SEED, target=recipe.target),
        generator,
        k=view.answers,
        confidence=view.has_confidence,
        samples=size[1],
        max_tokens=recipe.max_completion_length,
        temperature=recipe.temperature,
        seed=_SAMPLING_SEED,
        style=_style(recipe, task),
    )
    origin = {"name": recipe.task, "options": dict(recipe.task_options)}
    runs.write_completions(out, completions, task=origin, verifier=describe_verifier(verifier))


def _measure(generator: Any, view: View, folder: Path, style: Style, verifier: AnyVerifier) -> None:
    """The completions of another view, with measured confidences."""
    from polymode.evaluation import read_completions
    from polymode.generate.confidences import measure_confidences

    completions = read_completions(folder / view.of / runs.COMPLETIONS, verifier=verifier)
    if view.confidence != "votes":  # those are of the pool, and evaluation counts them
        method = view.name.removeprefix("samples-")
        completions = measure_confidences(method, completions, generator, style=style, verifier=verifier)
    runs.write_completions(folder / view.name, completions)  # with the origin in their meta


def _evaluate(
    plan: Plan, view: View, folder: Path, verifier: AnyVerifier, deep: runs.Metrics | None = None
) -> runs.Metrics:
    """Judge and measure one folder; figures that need 30 answers a question come from ``deep``."""
    from polymode.evaluation import evaluate_into, read_completions

    source = folder / runs.COMPLETIONS
    evaluate_into(
        folder,
        source,
        read_completions(source, verifier=verifier),
        verifier=verifier,
        by=plan.groups_by,
        pooled=view.pool > 1,
        k=view.pool,
        confidence_from="votes" if view.confidence == "votes" else "stated",
        n_boot=plan.n_boot,
    )
    stored = runs.read_metrics(folder)
    if deep is not None:
        stored = with_deep(stored, deep)
        stored.write(folder)
    return stored
