"""The command line: one verb per module, each verb one frozen dataclass of options (layer L5).

Exit codes: 0 done, 2 something the user wrote is wrong (one line says what and how to fix it), 1 anything else that
polymode itself reports, 130 stopped by the user.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro

from polymode.errors import ConfigError, MissingExtraError, PolymodeError
from polymode.train.recipe import Recipe, load_recipe

VERBS = {
    "reproduce": "run a whole experiment: train, sample, evaluate, report",
    "train": "train a model by a recipe",
    "generate": "sample completions of a task's questions",
    "evaluate": "judge and measure any file of completions (needs no torch)",
    "tasks": "list the tasks, or show questions of one",
    "doctor": "what is installed and what each missing part would give",
}
"""Verbs in the order a user meets them."""


@dataclass(frozen=True)
class Reproduce:
    """Run a whole experiment and write its report.

    quick: Single-RLVR against Multi-RLCR on the lab's clinic, in minutes. lab: four methods, three seeds, both clinic
    tasks. ddxplus: the four methods on real DDXPlus patients (give --data or set POLYMODE_DATA).
    """

    experiment: tyro.conf.Positional[str] = "quick"
    """quick, lab or ddxplus."""
    out: Path | None = None
    """Folder of the experiment; runs/EXPERIMENT by default."""
    resume: bool = False
    """Go on in an existing folder; finished work is kept."""
    data: Path | None = None
    """Folder of the task's data."""
    workers: int = 0
    """Arms trained at once, each with its share of the cores; 0 means one per core."""
    only: str | None = None
    """Run only this part, for example clinic-diagnosis of lab."""


@dataclass(frozen=True)
class Train:
    """Train a model: `polymode train recipe.yaml --out RUN`, every option also as a flag that overrides the recipe."""

    out: Path
    """Run folder."""
    resume: bool = False
    """Go on from the last checkpoint of an existing run folder."""
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class Generate:
    """Sample completions of a task's questions into OUT/completions.jsonl."""

    model: str
    """Hugging Face model name or folder, for example RUN/model."""
    out: Path
    """Run folder to write completions.jsonl into."""
    task: str = "clinic"
    """Task to ask; `polymode tasks` lists them."""
    data: Path | None = None
    """Folder or file of the task's data."""
    split: Literal["train", "validation", "test"] = "test"
    n: int = 200
    """Questions."""
    k: int = 3
    """Answers in one completion."""
    confidence: bool = True
    """Ask for confidences."""
    samples: int = 1
    """Completions of each question."""
    max_tokens: int = 1536
    """Completions are cut off at this length."""
    temperature: float = 1.0
    seed: int = 0
    batch: int = 64
    """Completions sampled at once (transformers)."""
    backend: Literal["transformers", "vllm"] = "transformers"
    style: Literal["task", "full", "brief"] = "task"
    """Prompt style; `task` uses the task's own."""
    resume: bool = False
    """Keep a finished completions.jsonl instead of refusing."""


@dataclass(frozen=True)
class Evaluate:
    """Judge and measure completions from any model; writes judged.jsonl and metrics.json beside the file.

    A line needs "completion" and "references" (strings, lists of aliases, or objects); "id" groups the samples of a
    question; "k" and "confidence" say what was asked for, or give --k and --confidence.
    """

    completions: tyro.conf.Positional[Path]
    """A completions.jsonl, or a folder that holds one."""
    out: Path | None = None
    """Folder for judged.jsonl and metrics.json; the completions' folder by default."""
    k: int | None = None
    """Answers asked for, when the lines do not say."""
    confidence: bool | None = None
    """Whether confidences were asked for, when the lines do not say."""
    pool: int = 1
    """Put this many independent completions of a question together to one set."""
    votes: bool = False
    """With --pool: use the share of samples that gave an answer as its confidence."""
    n_boot: int = 1000
    """Bootstrap replicates."""
    seed: int = 0


@dataclass(frozen=True)
class Tasks:
    """List the tasks, or show a few questions of one with references and a demonstration."""

    name: tyro.conf.Positional[str | None] = None
    """Task to show."""
    data: Path | None = None
    """Folder or file of the task's data."""
    n: int = 2
    """Questions to show."""


@dataclass(frozen=True)
class Doctor:
    """Say what is installed, what the machine has, and what each missing part would give."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    if not args or args[0] in ("-h", "--help"):
        print(_help())
        return 0
    if args[0] == "--version":
        import polymode

        print(polymode.__version__)
        return 0
    verb, rest = args[0], args[1:]
    try:
        if verb not in _RUN:
            raise ConfigError(f"{verb!r} is not a command: use one of {', '.join(VERBS)}")
        return _RUN[verb](rest)
    except PolymodeError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        print("stopped; finished work is kept, --resume goes on", file=sys.stderr)
        return 130


def _help() -> str:
    lines = ["usage: polymode COMMAND [OPTIONS]", "", "Train, evaluate and use models that answer with a calibrated set.", ""]
    lines += [f"  {verb:<10} {text}" for verb, text in VERBS.items()]
    return "\n".join([*lines, "", "polymode COMMAND --help explains a command. Try: polymode reproduce quick"])


def _parse(kind: type[Any], verb: str, args: Sequence[str], default: Any = None) -> Any:
    """Options of a verb from flags; tyro prints its own message and exits with 2 on a wrong flag."""
    extra = {} if default is None else {"default": default}
    return tyro.cli(kind, prog=f"polymode {verb}", args=list(args), config=(tyro.conf.OmitArgPrefixes,), **extra)


def _reproduce(args: Sequence[str]) -> int:
    options: Reproduce = _parse(Reproduce, "reproduce", args)
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
    recipe = Recipe()
    if args and not args[0].startswith("-"):
        recipe, args = load_recipe(Path(args[0])), args[1:]
    out: Any = tyro.MISSING  # the one option without a default
    options: Train = _parse(Train, "train [RECIPE.yaml]", args, default=Train(out=out, recipe=recipe))
    _need_training()
    from polymode.train.rl import train

    print(f"model: {train(options.recipe, options.out, resume=options.resume)}")
    return 0


def _generate(args: Sequence[str]) -> int:
    options: Generate = _parse(Generate, "generate", args)
    from polymode import runs
    from polymode.generate.sampling import sample_completions, write_completions
    from polymode.tasks import open_task

    runs.create(options.out, options, resume=options.resume)
    if options.resume and (options.out / runs.COMPLETIONS).exists():
        print(f"completions: {options.out / runs.COMPLETIONS} (kept)")
        return 0
    task = open_task(options.task, data=options.data)
    examples = task.examples(options.split, options.n)
    completions = sample_completions(
        examples,
        _generator(options),
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


def _generator(options: Generate) -> Any:
    if options.backend == "vllm":
        from polymode.generate.vllm import VLLMGenerator

        return VLLMGenerator(options.model)
    from polymode.generate.transformers import TransformersGenerator

    return TransformersGenerator(options.model, batch=options.batch)


def _evaluate(args: Sequence[str]) -> int:
    options: Evaluate = _parse(Evaluate, "evaluate", args)
    from polymode import runs
    from polymode.evaluate import evaluate, read_completions

    source = options.completions
    path = source / runs.COMPLETIONS if source.is_dir() else source
    completions = read_completions(path, k=options.k, confidence=options.confidence)
    evaluation = evaluate(
        completions,
        pooled=options.pool > 1,
        k=options.pool if options.pool > 1 else None,
        confidence_from="votes" if options.votes else "stated",
        n_boot=options.n_boot,
        seed=options.seed,
    )
    out = options.out or path.parent
    evaluation.write(out)
    print(evaluation.table())
    print(f"metrics: {out / runs.METRICS}")
    return 0


def _tasks(args: Sequence[str]) -> int:
    options: Tasks = _parse(Tasks, "tasks", args)
    from polymode.tasks import TASKS

    if options.name is None:
        width = max(map(len, TASKS))
        print("\n".join(f"{name:<{width}}  {text}" for name, text in TASKS.items()))
        return 0
    _show_task(options)
    return 0


def _show_task(options: Tasks) -> None:
    import numpy as np

    from polymode.tasks import Demonstrates, open_task

    task = open_task(options.name or "", data=options.data)
    for example in task.examples("train", options.n):
        print(f"{example.id}: {example.question}")
        for reference in example.references:
            weight = "" if reference.weight is None else f"  (probability {reference.weight:.3f})"
            print(f"  reference: {' = '.join(reference.names)}{weight}")
        if isinstance(task, Demonstrates):
            text = task.demonstrate(example, 3, confidence=True, rng=np.random.default_rng(0))
            print(f"  demonstration: {text}")


def _doctor(args: Sequence[str]) -> int:
    _parse(Doctor, "doctor", args)
    from polymode.doctor import diagnose, render

    print(render(diagnose()))
    return 0


def _need_training() -> None:
    """Say what to install before a long traceback does."""
    from importlib.util import find_spec

    for package in ("torch", "transformers", "trl", "datasets"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "train", "training")


_RUN: dict[str, Callable[[Sequence[str]], int]] = {
    "reproduce": _reproduce,
    "train": _train,
    "generate": _generate,
    "evaluate": _evaluate,
    "tasks": _tasks,
    "doctor": _doctor,
}
