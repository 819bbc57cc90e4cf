"""One arm of an experiment: train, sample on the test split, evaluate. Every finished stage is kept and skipped later.

::

    ARM/seed-0/               training run folder (config.json, metrics.jsonl, checkpoints/, model/)
    ARM/seed-0/VIEW/          evaluation of a view: completions.jsonl, judged.jsonl, metrics.json
    ARM/seed-0/VIEW/deep/     the same for fewer questions with 30 answers each
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.compare.columns import with_deep
from polymode.reproduce.plans import Arm, Plan, View
from polymode.tasks import Task
from polymode.training.recipe import Recipe, task_for, verifier_for
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.description import describe_verifier

AnyVerifier = Verifier | QuestionVerifier
_SAMPLING_SEED = 20_260
_TEST_SEED = 1  # seed 0 of the lab's test split was looked at while the warm start was being built


def run_arm(plan: Plan, arm: Arm, root: Path) -> str:
    """Run what is missing of one arm below ``root``; returns its folder's name."""
    from polymode.training.rl import lab_model, train

    folder = root / arm.folder
    task = task_for(arm.recipe)
    if arm.is_trained:
        model = train(arm.recipe, folder, resume=True)
    else:
        model = arm.recipe.model or lab_model(task, arm.recipe)
    evaluate_views(plan, arm, folder, model, task)
    return str(arm.folder)


def evaluate_views(plan: Plan, arm: Arm, folder: Path, model: Path | str, task: Task) -> None:
    """Sample and evaluate every view of an arm's model that has no ``metrics.json`` yet."""
    from polymode.generate.transformers import TransformersGenerator

    missing = [view for view in arm.views if not (folder / view.name / runs.METRICS).exists()]
    if not missing:
        return
    generator = TransformersGenerator(model, chat_template=arm.recipe.chat_template)
    verifier = verifier_for(arm.recipe, task)
    origin = _origin(arm.recipe, verifier)
    for view in missing:
        target = folder / view.name
        if view.of:
            _measure(generator, view, folder, task, verifier)
            _evaluate(plan, view, target, verifier, runs.read_metrics(folder / view.of / "deep"))
            continue
        deep_samples = math.ceil(plan.deep_answers / view.answers)
        for out, questions, samples in (
            (target / "deep", plan.deep_questions, deep_samples),
            (target, plan.questions, view.pool),
        ):
            _sample(generator, arm.recipe, view, out, task, origin, questions, samples)
        deep = _evaluate(plan, view, target / "deep", verifier)
        _evaluate(plan, view, target, verifier, deep)


def _sample(
    generator: Any,
    recipe: Recipe,
    view: View,
    out: Path,
    task: Task,
    origin: dict[str, runs.Named],
    questions: int,
    samples: int,
) -> None:
    """Completions of the test split, at the temperature and length limit of the training."""
    from polymode.generate import sample_completions

    if (out / runs.COMPLETIONS).exists():
        return
    completions = sample_completions(
        task.examples("test", questions, seed=_TEST_SEED),
        generator,
        k=view.answers,
        confidence=view.has_confidence,
        samples=samples,
        max_tokens=recipe.max_completion_length,
        temperature=recipe.temperature,
        seed=_SAMPLING_SEED,
        style=task.prompt_style,
    )
    runs.write_completions(out, completions, **origin)


def _origin(recipe: Recipe, verifier: AnyVerifier) -> dict[str, runs.Named]:
    """Task and verifier, for the lines of a completions file."""
    task = {"name": recipe.task, "options": dict(recipe.task_options)}
    return {"task": task, "verifier": describe_verifier(verifier)}


def _measure(generator: Any, view: View, folder: Path, task: Task, verifier: AnyVerifier) -> None:
    """The completions of another view, with measured confidences."""
    from polymode.evaluation import read_completions
    from polymode.generate.confidences import answer_probabilities, p_true

    completions = read_completions(folder / view.of / runs.COMPLETIONS, verifier=verifier)
    if view.confidence == "answer probability":
        completions = answer_probabilities(completions, generator, style=task.prompt_style)
    elif view.confidence == "P(True)":
        completions = p_true(completions, generator, style=task.prompt_style)
    runs.write_completions(folder / view.name, completions)  # with the origin in their meta


def _evaluate(
    plan: Plan,
    view: View,
    folder: Path,
    verifier: AnyVerifier,
    deep: runs.Metrics | None = None,
) -> runs.Metrics:
    """Judge and measure one folder; figures that need 30 answers a question come from ``deep``."""
    from polymode.evaluation import evaluate, evaluate_groups, read_completions, write_groups

    completions = read_completions(folder / runs.COMPLETIONS, verifier=verifier)
    how: dict[str, Any] = {
        "verifier": verifier,
        "pooled": view.pool > 1,
        "k": view.pool,
        "confidence_from": "votes" if view.confidence == "votes" else "stated",
        "n_boot": plan.n_boot,
    }
    groups = {} if plan.groups_by is None else evaluate_groups(completions, plan.groups_by, **how)
    evaluate(completions, **how).write(folder)
    if groups:
        write_groups(folder, groups)
    stored = runs.read_metrics(folder)
    if deep is not None:
        stored = with_deep(stored, deep)
        stored.write(folder)
    return stored
