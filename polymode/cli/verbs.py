"""What each verb does with its options; everything heavy is imported when the verb runs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro

from polymode.cli.answer import run_answer
from polymode.cli.calibrate import run_calibrate
from polymode.cli.flags import parse_flags
from polymode.cli.options import Compare, Doctor, Evaluate, Generate, Reproduce, Tasks, Train
from polymode.cli.relabel import run_relabel
from polymode.cli.reviews import run_reviews
from polymode.cli.serve import run_serve
from polymode.errors import ConfigError, MissingExtraError
from polymode.runs.named_values import named_values
from polymode.sandbox.bubblewrap import UNSAFE_LOCAL
from polymode.training.recipe import Recipe, load_recipe


def _parsed(kind: type[Any], verb: str, args: Sequence[str], default: Any = None) -> Any:
    """Options of a verb that may run programs; ``--unsafe-local`` holds from here on, in child processes too."""
    options = parse_flags(kind, verb, args, default)
    if options.unsafe_local:
        os.environ[UNSAFE_LOCAL] = "1"
    return options


def _whole(flag: str, value: int, low: int) -> None:
    if value < low:
        raise ConfigError(f"--{flag} {value} is not allowed: give a whole number from {low}")


def _reproduce(args: Sequence[str]) -> int:
    options: Reproduce = _parsed(Reproduce, "reproduce", args)
    from polymode.reproduce.plans import plans

    _whole("workers", options.workers, 0)
    parts = {name: None for plan in plans(options.experiment, options.data) for name in (plan.name, plan.task)}
    if options.only is not None and options.only not in parts:
        raise ConfigError(f"--only {options.only!r} is no part of {options.experiment}: use one of {', '.join(parts)}")
    _need_packages("train", "training", ("torch", "transformers", "trl", "datasets"))
    _need_packages("report", "the report", ("matplotlib", "jinja2"))
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


def _train(args: Sequence[str]) -> int:
    recipe, flags = Recipe(), list(args)
    for i, value in enumerate(flags):  # the recipe comes first, or is the YAML file among the flags
        if value.endswith((".yaml", ".yml")) or (i == 0 and not value.startswith("-")):
            recipe = load_recipe(Path(flags.pop(i)))
            break
    out: Any = tyro.MISSING  # the one option without a default
    options: Train = _parsed(Train, "train", flags, default=Train(out=out, recipe=recipe))
    _need_packages("train", "training", ("torch", "transformers", "trl", "datasets"))
    from polymode.training.rl import train

    print(f"model: {train(options.recipe, options.out, resume=options.resume)}")
    return 0


def _generate(args: Sequence[str]) -> int:
    options: Generate = _parsed(Generate, "generate", args)
    from polymode import runs
    from polymode.generate.sampling import sample_completions, write_completions
    from polymode.prompts import check_k
    from polymode.tasks import open_task

    for flag, value in (("n", options.n), ("samples", options.samples), ("batch", options.batch)):
        _whole(flag, value, 1)
    _whole("max-tokens", options.max_tokens, 1)
    if not 0 <= options.temperature < float("inf"):
        raise ConfigError(f"--temperature {options.temperature} is not allowed: give a number from 0")
    check_k(options.k)
    if (options.out / runs.CONFIG).exists():  # refuse before a model is loaded
        runs.create(options.out, options, resume=options.resume)
        _check_same(options)
        if (options.out / runs.COMPLETIONS).exists():
            print(f"completions: {options.out / runs.COMPLETIONS} (kept)")
            return 0
    task = open_task(options.task, data=options.data, **named_values(options.task_options))
    examples = task.examples(options.split, options.n)
    generator = _generator(options)
    runs.create(options.out, options, resume=options.resume)
    completions = sample_completions(
        examples,
        generator,
        k=options.k,
        confidence=options.confidence,
        samples=options.samples,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        seed=options.seed,
        style=task.prompt_style if options.style == "task" else options.style,
    )
    print(f"completions: {write_completions(options.out, completions)}")
    return 0


def _check_same(options: Generate) -> None:
    """A run folder belongs to one set of options; only where, how fast and how safely it runs may change."""
    from polymode import runs

    kept, asked = runs.read_json(options.out / runs.CONFIG)["config"], runs.to_json(options)
    for name in asked:
        if name not in ("out", "resume", "batch", "unsafe_local") and kept.get(name) != asked[name]:
            raise ConfigError(
                f"{name} = {asked[name]!r} differs from the run folder's {kept.get(name)!r}: resume with the same "
                f"options, or choose another --out than {options.out}"
            )


def _generator(options: Generate) -> Any:
    if options.backend == "vllm":
        from polymode.generate.vllm import VLLMGenerator

        return VLLMGenerator(options.model)
    from polymode.generate.transformers import TransformersGenerator

    return TransformersGenerator(options.model, batch=options.batch)


def _evaluate(args: Sequence[str]) -> int:
    options: Evaluate = _parsed(Evaluate, "evaluate", args)
    from polymode import runs
    from polymode.compare.kept import own_verifier
    from polymode.evaluation import evaluate, evaluate_groups, read_completions, write_groups

    _whole("pool", options.pool, 1)
    if options.votes and options.pool == 1:
        raise ConfigError("--votes counts answers of pooled sets: give --pool too, for example --pool 3")
    source = options.completions
    path = source / runs.COMPLETIONS if source.is_dir() else source
    named = _named_verifier(options)
    verifier = own_verifier(path.parent) if named is None else named
    asked = {"auto": None, "yes": True, "no": False}[options.confidence]
    completions = read_completions(path, k=options.k, confidence=asked, verifier=verifier)
    how: dict[str, Any] = {
        "verifier": verifier,
        "pooled": options.pool > 1,
        "k": options.pool if options.pool > 1 else None,
        "confidence_from": "votes" if options.votes else "stated",
        "n_boot": options.n_boot,
        "seed": options.seed,
    }
    groups = {} if options.by is None else evaluate_groups(completions, options.by, **how)
    evaluation = evaluate(completions, **how)
    out = options.out or path.parent
    evaluation.write(out)
    print(evaluation.table())
    if named is None and verifier is not None:
        print(f"judged as the task or the training of {path.parent} does: {type(verifier).__name__}")
    if groups:
        write_groups(out, groups)
        print(*(f"\n{label}: {part.table()}" for label, part in groups.items()), sep="\n")
    print(f"metrics: {out / runs.METRICS}")
    return 0


def _named_verifier(options: Evaluate | Compare) -> Any:
    """The verifier that the flags name; None when they name none."""
    from polymode.verifiers.choice import open_verifier

    how = named_values(options.verifier_options, "verifier-options", "seconds=10")
    if options.verifier is None and how:
        raise ConfigError("--verifier-options are given without --verifier: name one, for example --verifier judge")
    return None if options.verifier is None else open_verifier(options.verifier, **how)


def _compare(args: Sequence[str]) -> int:
    options: Compare = _parsed(Compare, "compare", args)
    if not options.runs:
        raise ConfigError("RUN is missing: name the folders to compare; see polymode compare --help")
    _whole("n-boot", options.n_boot, 0)
    named = _named_verifier(options)
    _need_packages("report", "the report", ("matplotlib", "jinja2"))
    from polymode import runs
    from polymode.compare.compare import compare_runs

    comparison = compare_runs(
        options.runs,
        options.out,
        against=options.against,
        n_boot=options.n_boot,
        verifier=named,
        command=shlex.join(["polymode", "compare", *args]),
    )
    print(comparison.text())
    print(f"report: {options.out / runs.REPORT}")
    return 0


def _tasks(args: Sequence[str]) -> int:
    options: Tasks = _parsed(Tasks, "tasks", args)
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

    task = open_task(options.name or "", data=options.data, **named_values(options.task_options))
    for example in task.examples("train", options.n):
        print(f"{example.id}: {example.question}")
        for reference in example.references:
            weight = "" if reference.weight is None else f"  (probability {reference.weight:.3f})"
            print(f"  reference: {' = '.join(reference.names)}{weight}")
        if isinstance(task, Demonstrates):
            text = task.demonstrate(example, 3, confidence=True, rng=np.random.default_rng(0))
            print(f"  demonstration: {text}")


def _doctor(args: Sequence[str]) -> int:
    parse_flags(Doctor, "doctor", args)
    from polymode.doctor import diagnose, render

    print(render(diagnose()))
    return 0


def _need_packages(extra: str, purpose: str, packages: Sequence[str]) -> None:
    """Say what to install before a long traceback does."""
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, purpose)


RUN: dict[str, Callable[[Sequence[str]], int]] = {
    "reproduce": _reproduce,
    "train": _train,
    "generate": _generate,
    "evaluate": _evaluate,
    "compare": _compare,
    "calibrate": run_calibrate,
    "answer": run_answer,
    "serve": run_serve,
    "reviews": run_reviews,
    "relabel": run_relabel,
    "tasks": _tasks,
    "doctor": _doctor,
}
"""The function of each verb: from flags to an exit code."""
