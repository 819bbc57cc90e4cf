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
from polymode.training.recipe import Recipe, chat_for, task_for, verifier_for
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.description import describe_verifier

AnyVerifier = Verifier | QuestionVerifier
_SAMPLING_SEED = 20_260
_TEST_SEED = 1  # seed 0 of the lab's test split was looked at while the warm start was being built


def run_arm(plan: Plan, arm: Arm, root: Path) -> None:
    """Run what is missing of one arm below ``root``: the training, then every view without a ``metrics.json``."""
    from polymode.generate.transformers import TransformersGenerator
    from polymode.training.rl import lab_model, train

    folder, recipe = root / arm.folder, arm.recipe
    task = task_for(recipe)
    model = train(recipe, folder, resume=True) if arm.is_trained else recipe.model or lab_model(task, recipe)
    missing = [view for view in arm.views if not (folder / view.name / runs.METRICS).exists()]
    if not missing:
        return
    generator, verifier = TransformersGenerator(model, chat=chat_for(recipe, task)), verifier_for(recipe, task)
    for view in missing:
        target = folder / view.name
        if view.of:
            _measure(generator, view, folder, task, verifier)
            deep = runs.read_metrics(folder / view.of / "deep")
        else:
            deep_samples = math.ceil(plan.deep_answers / view.answers)
            _sample(generator, recipe, view, target / "deep", task, verifier, (plan.deep_questions, deep_samples))
            _sample(generator, recipe, view, target, task, verifier, (plan.questions, view.pool))
            deep = _evaluate(plan, view, target / "deep", verifier)
        _evaluate(plan, view, target, verifier, deep)


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
        task.examples("test", size[0], seed=_TEST_SEED),
        generator,
        k=view.answers,
        confidence=view.has_confidence,
        samples=size[1],
        max_tokens=recipe.max_completion_length,
        temperature=recipe.temperature,
        seed=_SAMPLING_SEED,
        style=task.prompt_style,
    )
    origin = {"name": recipe.task, "options": dict(recipe.task_options)}
    runs.write_completions(out, completions, task=origin, verifier=describe_verifier(verifier))


def _measure(generator: Any, view: View, folder: Path, task: Task, verifier: AnyVerifier) -> None:
    """The completions of another view, with measured confidences."""
    from polymode.evaluation import read_completions
    from polymode.generate.confidences import measure_confidences

    completions = read_completions(folder / view.of / runs.COMPLETIONS, verifier=verifier)
    if view.confidence != "votes":  # those are of the pool, and evaluation counts them
        method = view.name.removeprefix("samples-")
        completions = measure_confidences(method, completions, generator, style=task.prompt_style, verifier=verifier)
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
