"""What each verb does with its options; everything heavy is imported when the verb runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polymode.cli.options import Compare, Doctor, Evaluate, Generate, Reproduce, Tasks
from polymode.errors import ConfigError, MissingExtraError


def reproduce(options: Reproduce) -> int:
    """Run an experiment and say where its reports are."""
    from polymode.reproduce.plans import plans

    parts = {name: None for plan in plans(options.experiment, options.data) for name in (plan.name, plan.task)}
    if options.only is not None and options.only not in parts:
        raise ConfigError(
            f"--only {options.only!r} is not a part of {options.experiment}: use one of {', '.join(parts)}"
        )
    need_packages("train", "training", ("torch", "transformers", "trl", "datasets"))
    need_packages("report", "the report", ("matplotlib", "jinja2"))
    from polymode.reproduce.run import reproduce

    out = options.out or Path("runs") / options.experiment
    reports = reproduce(
        options.experiment,
        out,
        resume=options.resume,
        data=options.data,
        workers=options.workers,
        only=options.only,
    )
    for report in reports:
        print(f"report: {report}")
    return 0


def generate(options: Generate) -> int:
    """Sample completions into a run folder."""
    from polymode import runs
    from polymode.generate import sample_completions
    from polymode.generate.confidences import CONFIDENCES, measure_confidences
    from polymode.prompts import Style, check_k
    from polymode.tasks import open_task

    check_k(options.k)
    if options.confidences is not None:
        CONFIDENCES.load(options.confidences)
    if (options.out / runs.CONFIG).exists():  # refuse before a model is loaded
        runs.create(options.out, _configuration(options), resume=options.resume)
        _check_same(options)
        if (options.out / runs.COMPLETIONS).exists():
            print(f"completions: {options.out / runs.COMPLETIONS} (already complete)")
            return 0
    task = open_task(options.task, data=options.data, **options.task_options)
    examples = task.examples(options.split, options.n)
    generator = _generator(options)
    runs.create(options.out, _configuration(options), resume=options.resume)
    style: Style = task.prompt_style if options.style == "task" else options.style
    completions = sample_completions(
        examples,
        generator,
        k=options.k,
        confidence=options.confidence,
        samples=options.samples,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        seed=options.seed,
        style=style,
    )
    if options.confidences is not None:
        completions = measure_confidences(options.confidences, completions, generator, style=style)
    origin = {"task": {"name": options.task, "options": dict(options.task_options)}, "verifier": _verifier_of(task)}
    print(f"completions: {runs.write_completions(options.out, completions, **origin)}")
    return 0


def _configuration(options: Generate) -> dict[str, Any]:
    """What config.json holds."""
    from polymode import runs

    return {**runs.to_json(options), "task_options": dict(options.task_options)}


def _verifier_of(task: Any) -> dict[str, Any] | None:
    """Name and options of what judges the task's answers; None where it cannot be had here, as without a sandbox."""
    from polymode.tasks import verifier_of
    from polymode.verifiers.description import describe_verifier

    try:
        return describe_verifier(verifier_of(task))
    except ConfigError:
        return None


def _check_same(options: Generate) -> None:
    """A run folder belongs to one set of options; only where, how fast and how safely it runs may change."""
    from polymode import runs

    stored, given = runs.read_configuration(options.out).config, _configuration(options)
    stored = {"chat_template": {}, **stored}  # a folder may be older than the option
    for name in given:
        if name not in ("out", "resume", "batch", "unsafe_local") and stored.get(name) != given[name]:
            raise ConfigError(
                f"{name} = {given[name]!r} differs from the run folder's {stored.get(name)!r}: resume with the same "
                f"options, or choose another --out than {options.out}"
            )


def _generator(options: Generate) -> Any:
    from polymode.generate import open_generator

    return open_generator(
        options.backend,
        options.model,
        options.backend_options,
        chat_template=options.chat_template,
        batch=options.batch,
    )


def evaluate(options: Evaluate) -> int:
    """Measure a file of completions, print the table and write it."""
    from polymode import runs
    from polymode.evaluation import evaluate, evaluate_groups, read_completions, write_groups
    from polymode.evaluation.recorded_verifier import recorded_verifier

    if options.votes and options.pool == 1:
        raise ConfigError("--votes needs pooled sets: give --pool too, for example --pool 3")
    path = runs.completions_path(options.completions)
    named = _named_verifier(options)
    verifier = recorded_verifier(path) if named is None else named
    asked = {"auto": None, "yes": True, "no": False}[options.confidence]
    completions = read_completions(path, k=options.k, confidence=asked, verifier=verifier)
    how: dict[str, Any] = {
        "verifier": verifier,
        "pooled": options.pool > 1,
        "k": options.pool if options.pool > 1 else None,
        "confidence_from": "votes" if options.votes else "stated",
        "metrics": options.metrics,
        "n_boot": options.n_boot,
        "seed": options.seed,
    }
    groups = {} if options.by is None else evaluate_groups(completions, options.by, **how)
    evaluation = evaluate(completions, **how)
    out = options.out or path.parent
    evaluation.write(out, completions=path)
    print(evaluation.table())
    if named is None and (name := evaluation.view["verifier"]["name"]) != "text":
        print(f"judged as {path} says: {name}")
    if groups:
        write_groups(out, groups)
        print(*(f"\n{label}: {part.table()}" for label, part in groups.items()), sep="\n")
    print(f"metrics: {out / runs.METRICS}")
    return 0


def _named_verifier(options: Evaluate | Compare) -> Any:
    """The verifier that the flags name; None when they name none."""
    from polymode.verifiers.choice import open_verifier

    if options.verifier is None and options.verifier_options:
        raise ConfigError("--verifier-options are given without --verifier: name one, for example --verifier judge")
    return None if options.verifier is None else open_verifier(options.verifier, **options.verifier_options)


def compare(options: Compare, args: Sequence[str]) -> int:
    """Print and write the comparison of several runs."""
    named = _named_verifier(options)
    need_packages("report", "the report", ("matplotlib", "jinja2"))
    from polymode import runs
    from polymode.compare.compare import compare_runs

    comparison = compare_runs(
        options.runs,
        options.out,
        against=options.against,
        n_boot=options.n_boot,
        verifier=named,
        metrics=options.metrics,
        command=shlex.join(["polymode", "compare", *args]),
    )
    print(comparison.text())
    print(f"report: {options.out / runs.REPORT}")
    return 0


def tasks(options: Tasks) -> int:
    """List the tasks, or show questions of one."""
    from polymode.tasks import TASKS

    if options.name is None:
        lines = TASKS.summaries()
        width = max(map(len, lines))
        print("\n".join(f"{name:<{width}}  {text}" for name, text in lines.items()))
        return 0
    _show_task(options)
    return 0


def _show_task(options: Tasks) -> None:
    import numpy as np

    from polymode.tasks import Demonstrates, open_task

    task = open_task(options.name or "", data=options.data, **options.task_options)
    for example in task.examples("train", options.n):
        print(f"{example.id}: {example.question}")
        for reference in example.references:
            weight = "" if reference.weight is None else f"  (probability {reference.weight:.3f})"
            print(f"  reference: {' = '.join(reference.names)}{weight}")
        if isinstance(task, Demonstrates):
            text = task.demonstrate(example, 3, confidence=True, rng=np.random.default_rng(0))
            print(f"  demonstration: {text}")


def doctor(options: Doctor) -> int:
    """Print what is installed."""
    from polymode.doctor import diagnose, render

    print(render(diagnose()))
    return 0


def need_packages(extra: str, purpose: str, packages: Sequence[str]) -> None:
    """Say what to install before a long traceback does."""
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, purpose)
