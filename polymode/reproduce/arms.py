"""One arm of an experiment: train, sample on the test split, evaluate. Every finished stage is kept and skipped later.

::

    ARM/seed-0/               training run folder (config.json, metrics.jsonl, checkpoints/, model/); of warm-up and
                              distillation that of `polymode.warmup`
    ARM/seed-0/VIEW/          evaluation of a view: completions.jsonl, judged.jsonl, metrics.json
    ARM/seed-0/VIEW/temperature.json   single-answer arms: the sampling temperature, chosen on validation questions
    ARM/seed-0/VIEW/deep/     the same for fewer questions with 30 answers each
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from polymode import runs
from polymode.chat import Chat
from polymode.compare.columns import with_deep
from polymode.prompts import Style, prompt_for
from polymode.reproduce.ceiling import train_ceiling
from polymode.reproduce.plans import Arm, Plan, View
from polymode.reproduce.temperatures import choose_temperature
from polymode.tasks import Task, examples_of
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import chat_for, style_for, task_for, verifier_for
from polymode.types import Completion, Example
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.description import describe_verifier
from polymode.warmup import MODEL

AnyVerifier = Verifier | QuestionVerifier
_SAMPLING_SEED = 20_260
_BATCH = 256
"""Completions sampled or measured together, where the back-end does not say it."""
_TEST_SEED = 1  # seed 0 of the lab's test split was looked at while the warm start was being built


def run_arm(plan: Plan, arm: Arm, root: Path) -> None:
    """Run what is missing of one arm below ``root``: the training, then every view without a ``metrics.json``."""
    folder, recipe = root / arm.folder, arm.recipe
    if arm.starts_from is not None:
        start = str((root / arm.starts_from / MODEL).resolve())
        recipe = replace(recipe, model=start, warm_start_demonstrations="noisy")
    task = task_for(recipe)
    model = _model(arm, recipe, folder, task)
    missing = [view for view in arm.views if not (folder / view.name / runs.METRICS).exists()]
    if not missing:
        return
    chat = chat_for(recipe, task)
    generator = _open(plan.backend, model, recipe, chat, **plan.backend_options)
    try:
        _measure_views(plan, missing, folder, generator, recipe, task)
    finally:
        if (usage := getattr(generator, "usage", None)) is not None:
            print(f"server: {usage}", flush=True)


def _measure_views(plan: Plan, views: Sequence[View], folder: Path, generator: Any, recipe: Recipe, task: Task) -> None:
    verifier = verifier_for(recipe, task)
    for view in views:
        target = folder / view.name
        if view.of:
            _measure(generator, view, folder, style_for(recipe, task), verifier)
            deep = runs.read_metrics(folder / view.of / "deep")
        else:
            heat = _temperature(plan, generator, recipe, view, target, task, verifier)
            own = replace(recipe, temperature=heat)
            how = {"task": task, "verifier": verifier, "refused": plan.refused}
            _sample(generator, own, view, target / "deep", (plan.deep_questions, plan.deep_samples(view)), **how)
            _sample(generator, own, view, target, (plan.questions, view.pool), **how)
            deep = _evaluate(plan, view, target / "deep", verifier)
        _evaluate(plan, view, target, verifier, deep)


def _model(arm: Arm, recipe: Recipe, folder: Path, task: Task) -> str | Path:
    """The arm's model, trained where it is not yet."""
    if arm.supervised is not None:
        return _train_on_demonstrations(arm, recipe, folder, task)
    if arm.ceiling is not None:
        return train_ceiling(recipe, folder, arm.ceiling)
    if not arm.is_trained and recipe.model is not None:
        return recipe.model
    from polymode.training.rl import train  # loads torch, which a model behind a server does without
    from polymode.training.warm_start import lab_model

    return train(recipe, folder, resume=True) if arm.is_trained else lab_model(task, recipe)


def _train_on_demonstrations(arm: Arm, recipe: Recipe, folder: Path, task: Task) -> Path:
    from polymode.warmup import Sampling, warm_up

    assert arm.supervised is not None
    names = ("task", "task_options", "data", "model", "prompt_style", "format", "chat_template", "temperature")
    config = {name: getattr(recipe, name) for name in names} | asdict(arm.supervised) | {"method": arm.name}
    runs.create(folder, config, resume=True)
    sampling = Sampling(style_for(recipe, task), recipe.max_completion_length, recipe.temperature)
    chat = chat_for(recipe, task)

    def open_model(own: Path | None, dtype: Any) -> Any:
        return _open("transformers", own or recipe.model, replace(recipe, dtype=dtype), chat)

    warm_up(task, folder, arm.supervised, sampling, open_model)
    return folder / MODEL


def _open(backend: str, model: str | Path | None, recipe: Recipe, chat: Chat, **options: Any) -> Any:
    from polymode.generate import PATIENCE, open_generator

    assert model is not None
    return open_generator(backend, model, options, chat=chat, dtype=recipe.dtype, **PATIENCE)


def _temperature(
    plan: Plan, generator: Any, recipe: Recipe, view: View, folder: Path, task: Task, verifier: AnyVerifier
) -> float:
    """The temperature of a view: chosen on validation questions for single-answer arms, else that of the training."""
    if not plan.temperatures or not recipe.method.startswith("single"):
        return recipe.temperature
    from polymode.evaluation import evaluate

    def sample(examples: Sequence[Example], heat: float) -> list[Completion]:
        return _completions(generator, replace(recipe, temperature=heat), view, examples, task, view.pool)

    def coverage(completions: list[Completion]) -> float:
        own = evaluate(completions, verifier=verifier, pooled=view.pool > 1, k=view.pool, n_boot=0)
        return own.metrics["coverage"].value

    examples = examples_of(task, "validation", plan.validation_questions, seed=_TEST_SEED, target=recipe.target)
    return choose_temperature(folder, plan.temperatures, examples, sample, coverage) if examples else recipe.temperature


def _completions(
    generator: Any, recipe: Recipe, view: View, examples: Sequence[Example], task: Task, samples: int
) -> list[Completion]:
    from polymode.generate import sample_completions

    return sample_completions(
        examples,
        generator,
        k=view.answers,
        confidence=view.has_confidence,
        samples=samples,
        max_tokens=recipe.max_completion_length,
        temperature=recipe.temperature,
        seed=_SAMPLING_SEED,
        style=style_for(recipe, task),
    )


def _sample(
    generator: Any,
    recipe: Recipe,
    view: View,
    out: Path,
    size: tuple[int, int],
    *,
    task: Task,
    verifier: AnyVerifier,
    refused: Literal["stop", "empty"],
) -> None:
    """Completions of the test split, at the temperature of ``recipe`` and the length limit of the training.

    ``size`` is the number of questions and of completions of each. Finished batches are kept and not sampled again.
    """
    from polymode.generate.batches import sample_batches
    from polymode.generate.room import check_room

    if (out / runs.COMPLETIONS).exists():
        return
    examples = examples_of(task, "test", size[0], seed=_TEST_SEED, target=recipe.target)
    part = runs.CompletionsPart(out / runs.COMPLETIONS)
    origin = {
        "task": {"name": recipe.task, "options": dict(recipe.task_options)},
        "verifier": describe_verifier(verifier),
    }
    completions = part.completions(examples)
    k, confidence, style = view.answers, view.has_confidence, style_for(recipe, task)
    prompts = [prompt_for(one, k, confidence=confidence, style=style) for one in examples]
    limit = recipe.max_completion_length
    for batch in sample_batches(
        examples,
        generator,
        k=k,
        confidence=confidence,
        samples=size[1],
        max_tokens=check_room(generator, prompts, k=k, confidence=confidence, style=style, max_tokens=limit),
        temperature=recipe.temperature,
        seed=_SAMPLING_SEED,
        style=style,
        batch=_BATCH,
        present={(one.example.id, one.sample) for one in completions},
        refused=refused,
    ):
        part.add_completions(batch, **origin)
        completions += batch
    _write(out, completions, {example.id: place for place, example in enumerate(examples)}, part, origin)


def _measure(generator: Any, view: View, folder: Path, style: Style, verifier: AnyVerifier) -> None:
    """The completions of another view, with measured confidences; finished parts are kept and not measured again."""
    from polymode.evaluation import read_completions
    from polymode.generate.confidences import is_measured, measure_in_parts

    out = folder / view.name
    if (out / runs.COMPLETIONS).exists():
        return
    completions = read_completions(folder / view.of / runs.COMPLETIONS, verifier=verifier)
    if view.confidence == "votes":  # those are of the pool, and evaluation counts them
        runs.write_completions(out, completions)
        return
    by_id = {one.example.id: one.example for one in completions}
    part = runs.CompletionsPart(out / runs.COMPLETIONS)
    measured = [one for one in part.completions(list(by_id.values())) if is_measured(one)]
    for batch in measure_in_parts(
        view.name.removeprefix("samples-"),
        completions,
        generator,
        style=style,
        batch=_BATCH,
        present={(one.example.id, one.sample) for one in measured},
        verifier=verifier,
    ):
        part.add_completions(batch)
        measured += batch
    _write(out, measured, {id_: place for place, id_ in enumerate(by_id)}, part, {})  # the origin is in their meta


def _write(
    out: Path,
    completions: list[Completion],
    places: Mapping[str, int],
    part: runs.CompletionsPart,
    origin: Mapping[str, Any],
) -> None:
    """The completions in the order of the questions, in place of the finished part."""
    runs.write_completions(out, sorted(completions, key=lambda one: (places[one.example.id], one.sample)), **origin)
    part.remove()


def _evaluate(
    plan: Plan, view: View, folder: Path, verifier: AnyVerifier, deep: runs.Metrics | None = None
) -> runs.Metrics:
    """Judge and measure one folder; figures that need 30 answers a question come from ``deep``."""
    from polymode.evaluation import evaluate_into

    source = folder / runs.COMPLETIONS
    evaluate_into(
        folder,
        source,
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
