"""The command line: one verb per module, each verb one frozen dataclass of options (layer L5).

Exit codes: 0 done, 2 something the user wrote is wrong (one line says what and how to fix it), 1 anything else that
polymode itself reports, 130 stopped by the user.
"""

from __future__ import annotations

import io
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro
import yaml

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

EXAMPLES = {
    "reproduce": (
        "polymode reproduce quick                       in minutes, on a laptop, into runs/quick/report.html",
        "polymode reproduce lab --resume                go on where it stopped",
        "polymode reproduce ddxplus --data data/ddxplus",
    ),
    "train": (
        "polymode train --out runs/mine --method multi-rlcr --k 3       the lab's model on the lab's clinic",
        "polymode train recipes/clinic.yaml --out runs/mine --steps 10  a recipe, one option changed",
        "polymode train recipes/clinic.yaml --out runs/mine --resume    after a stop",
    ),
    "generate": (
        "polymode generate --model runs/mine/model --out runs/mine/test --k 3",
        "polymode generate --model Qwen/Qwen3-8B --task records --data questions.jsonl --out runs/mine --samples 8",
    ),
    "evaluate": (
        "polymode evaluate runs/mine/test               judges again, never generates again",
        "polymode evaluate answers.jsonl --k 3          completions of any model",
        "polymode evaluate samples.jsonl --k 1 --pool 3 three independent single answers as one set",
    ),
    "tasks": (
        "polymode tasks                                 the list",
        "polymode tasks clinic                          two questions with references and a demonstration",
        "polymode tasks records --data questions.jsonl  are my records read as I meant them?",
    ),
}
"""Command lines that end a verb's --help."""


@dataclass(frozen=True)
class Reproduce:
    """Run a whole experiment: train, sample, evaluate, and write one page that compares the methods.

    quick: single-rlvr against multi-rlcr on the lab's clinic.
    lab: four methods, three seeds, both clinic tasks, and multi-rlvr at K = 2, 4, 5.
    ddxplus: the four methods on DDXPlus patients (give --data, or set POLYMODE_DATA).
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
    """Models trained at once, each with its share of the cores; 0 means one per core."""
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
    task_options: tuple[str, ...] = ()
    """Options of the task as NAME=VALUE, for example question_field=prompt (records) or hub=true (ddxplus)."""
    split: Literal["train", "validation", "test"] = "test"
    """Part of the task to take questions from; splits never share a question."""
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
    """Sampling temperature; 0 takes the most likely token each time."""
    seed: int = 0
    """The same seed gives the same completions."""
    batch: int = 64
    """Completions sampled at once (transformers)."""
    backend: Literal["transformers", "vllm"] = "transformers"
    """What runs the model; vllm needs a GPU and the extra `vllm`."""
    style: Literal["task", "full", "brief"] = "task"
    """Prompt style; `task` uses the task's own."""
    resume: bool = False
    """Keep a finished completions.jsonl instead of refusing."""


@dataclass(frozen=True)
class Evaluate:
    """Judge and measure completions from any model; writes judged.jsonl and metrics.json beside the file.

    The file is JSONL: one JSON object a line, with "completion" (the model's whole text) and "references" (a list; each
    a string, a list of aliases, or an object with text, aliases and weight).
    Samples of a question share an "id". What was asked for is said by "k" and "confidence", or by --k and --confidence.
    Needs no torch and no GPU.
    """

    completions: tyro.conf.Positional[Path]
    """A completions.jsonl, or a folder that holds one."""
    out: Path | None = None
    """Folder for judged.jsonl and metrics.json; the completions' folder by default."""
    k: int | None = None
    """Answers asked for, instead of what the lines say."""
    confidence: Literal["auto", "yes", "no"] = "auto"
    """Whether confidences were asked for; auto: as the lines say, else yes when any completion holds one."""
    pool: int = 1
    """Put this many independent completions of a question together to one set."""
    votes: bool = False
    """With --pool: use the share of samples that gave an answer as its confidence."""
    n_boot: int = 1000
    """Bootstrap replicates; 0 leaves the intervals out."""
    seed: int = 0
    """Seed of the bootstrap."""


@dataclass(frozen=True)
class Tasks:
    """List the tasks, or show a few questions of one with references and a demonstration."""

    name: tyro.conf.Positional[str | None] = None
    """Task to show."""
    data: Path | None = None
    """Folder or file of the task's data."""
    task_options: tuple[str, ...] = ()
    """Options of the task as NAME=VALUE, for example question_field=prompt (records) or hub=true (ddxplus)."""
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
        print(_version())
        return 0
    verb, rest = args[0], args[1:]
    try:
        if verb not in _RUN:
            raise ConfigError(f"{verb!r} is not a command: use one of {', '.join(VERBS)}")
        return _RUN[verb](rest)
    except _HelpShown:
        return 0
    except PolymodeError as exc:
        print(f"error: {' '.join(str(exc).split())}", file=sys.stderr)
        return exc.exit_code
    except BrokenPipeError:  # the reader went away, as in `polymode tasks | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("stopped; finished work is kept, --resume goes on", file=sys.stderr)
        return 130


def _help() -> str:
    lines = [
        "usage: polymode COMMAND [OPTIONS]",
        "",
        "Train, evaluate and use models that answer with a calibrated set.",
        "",
    ]
    lines += [f"  {verb:<10} {text}" for verb, text in VERBS.items()]
    return "\n".join([*lines, "", "polymode COMMAND --help explains a command. Try: polymode reproduce quick"])


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("polymode")
    except metadata.PackageNotFoundError:
        return "not installed (run from its source folder)"


class _HelpShown(Exception):
    """The user asked for help and got it."""


def _parse(kind: type[Any], verb: str, args: Sequence[str], default: Any = None) -> Any:
    """Options of a verb from flags.

    By itself tyro prints several lines and leaves the process; here its help gets examples and its errors become one
    line like every other error of polymode.

    Raises:
        ConfigError: a flag or value that is not allowed.
        _HelpShown: --help was among the flags.
    """
    extra = {} if default is None else {"default": default}
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            return tyro.cli(
                kind, prog=f"polymode {verb}", args=list(args), config=(tyro.conf.OmitArgPrefixes,), **extra
            )
    except SystemExit as exc:
        if exc.code in (0, None):
            print(_readable_help(out.getvalue(), verb))
            raise _HelpShown from None
        problem = _one_line(err.getvalue() or out.getvalue())
    raise ConfigError(f"{problem}; see polymode {verb} --help")


def _readable_help(text: str, verb: str) -> str:
    """The help with ``{None}|PATH`` written as ``PATH``, and examples below."""

    def plain(match: re.Match[str]) -> str:
        return match[1] if "usage:" in text[: match.end()].splitlines()[-1] else match[1].ljust(len(match[0]))

    lines = re.sub(r"\{None\}\|(\w+\]?)", plain, text).rstrip().splitlines()
    text = "\n".join(textwrap.fill(line, 100) if line[:1].strip() else line.rstrip() for line in lines)
    if verb == "train":
        text = text.replace("usage: polymode train", "usage: polymode train [RECIPE.yaml]", 1)
    examples = EXAMPLES.get(verb, ())
    return "\n".join([text, *(["", "examples:"] if examples else []), *(f"  {line}" for line in examples)])


_WORDINGS = {
    r"invalid literal for int\(\) with base 10: (.*)": r"\1 is not a whole number",
    r"could not convert string to float: (.*)": r"\1 is not a number",
    r"^invalid choice (.*) for argument '(.*)'\. Expected one of \((.*)\)$": r"\2: \1 is not known, use one of \3",
    r"^Missing value for argument '(.*)'\. Expected .*$": r"\1 needs a value",
}


def _one_line(text: str) -> str:
    """What tyro's error says in several lines, as one clause that names the flag and the value."""
    rows = [line.strip() for line in text.strip().splitlines()[1:]]  # the first is a title that says less
    joined = " ".join(row if row.strip("-") else "\0" for row in rows)
    parts = [part.strip() for part in joined.split("\0") if part.strip()] or ["options cannot be read"]
    message = re.sub(r"^Error parsing (?:recipe|polymode \w+): ", "", parts[0]).rstrip(".")
    message = message.removeprefix("Error parsing ")
    missing = re.findall(r"(--[\w-]+ [A-Z]+|[A-Z]+) (.*?)\.? \(required\)", message)
    if message.startswith("Missing from") and missing:
        return "; ".join(f"{flag} is missing: {meaning}" for flag, meaning in missing)
    for pattern, wording in _WORDINGS.items():
        message = re.sub(pattern, wording, message)
    meant = re.findall(r"--[a-z][\w-]*", parts[1]) if len(parts) > 1 and "Perhaps you meant" in parts[1] else []
    message = message[:1].lower() + message[1:]
    return f"{message}; did you mean {' or '.join(dict.fromkeys(meant[:2]))}?" if meant else message


def _whole(flag: str, value: int, low: int) -> None:
    if value < low:
        raise ConfigError(f"--{flag} {value} is not allowed: give a whole number from {low}")


def _reproduce(args: Sequence[str]) -> int:
    options: Reproduce = _parse(Reproduce, "reproduce", args)
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
    options: Train = _parse(Train, "train", flags, default=Train(out=out, recipe=recipe))
    _need_packages("train", "training", ("torch", "transformers", "trl", "datasets"))
    from polymode.train.rl import train

    print(f"model: {train(options.recipe, options.out, resume=options.resume)}")
    return 0


def _generate(args: Sequence[str]) -> int:
    options: Generate = _parse(Generate, "generate", args)
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
    task = open_task(options.task, data=options.data, **_task_options(options.task_options))
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
    """A run folder belongs to one set of options; only where and how fast it runs may change."""
    from polymode import runs

    kept, asked = runs.read_json(options.out / runs.CONFIG)["config"], runs.to_json(options)
    for name in asked:
        if name not in ("out", "resume", "batch") and kept.get(name) != asked[name]:
            raise ConfigError(
                f"{name} = {asked[name]!r} differs from the run folder's {kept.get(name)!r}: resume with the same "
                f"options, or choose another --out than {options.out}"
            )


def _task_options(texts: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts as keyword arguments, values read as YAML: numbers, true, false, text."""
    out = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            raise ConfigError(f"--task-options {text!r} is not allowed: write NAME=VALUE, for example threshold=0.1")
        try:
            out[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            out[name] = value
    return out


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

    _whole("pool", options.pool, 1)
    if options.votes and options.pool == 1:
        raise ConfigError("--votes counts answers of pooled sets: give --pool too, for example --pool 3")
    source = options.completions
    path = source / runs.COMPLETIONS if source.is_dir() else source
    asked = {"auto": None, "yes": True, "no": False}[options.confidence]
    completions = read_completions(path, k=options.k, confidence=asked)
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

    task = open_task(options.name or "", data=options.data, **_task_options(options.task_options))
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


def _need_packages(extra: str, purpose: str, packages: Sequence[str]) -> None:
    """Say what to install before a long traceback does."""
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, purpose)


_RUN: dict[str, Callable[[Sequence[str]], int]] = {
    "reproduce": _reproduce,
    "train": _train,
    "generate": _generate,
    "evaluate": _evaluate,
    "tasks": _tasks,
    "doctor": _doctor,
}
