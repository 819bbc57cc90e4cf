"""What the user can ask for: the verbs with their examples, and the options of those in `verbs`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from polymode.training.recipe import Recipe

VERBS = {
    "reproduce": "run a whole experiment: train, sample, evaluate, report",
    "train": "train a model by a recipe",
    "generate": "sample completions of a task's questions",
    "evaluate": "judge and measure any file of completions (needs no torch)",
    "compare": "lay runs side by side, with paired differences",
    "calibrate": "choose thresholds with a guarantee, from judged questions",
    "answer": "answer one question, and decide what to do with the answers",
    "serve": "the same over HTTP, for many clients; also as an OpenAI-compatible API",
    "reviews": "what waits for a person, and what reviewers said as data",
    "relabel": "find answers marked wrong that may be right, for a person to accept",
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
        "polymode evaluate runs/mine/test               judges as its task does, never generates again",
        "polymode evaluate answers.jsonl --k 3          completions of any model",
        "polymode evaluate samples.jsonl --k 1 --pool 3 three independent single answers as one set",
        "polymode evaluate answers.jsonl --verifier symbolic              1/2 equals 0.5",
        "polymode evaluate answers.jsonl --verifier judge --verifier-options base_url=http://localhost:8000/v1 model=M",
    ),
    "compare": (
        "polymode compare runs/mine/test runs/base --out runs/compare                 two runs over the same questions",
        "polymode compare runs/lab/clinic --out runs/compare --against single-rlcr    a whole experiment",
        "polymode compare runs/a runs/b --out runs/compare --verifier symbolic        all judged in the same way",
    ),
    "calibrate": (
        "polymode calibrate runs/mine/validation                                  sets, wrong at most 1 time in 10",
        "polymode calibrate runs/mine/validation --target answer --alpha 0.05     single answers",
        "polymode calibrate runs/mine/validation --recalibrate isotonic --out policy.json",
    ),
    "answer": (
        'polymode answer "Name a noble gas." --model Qwen/Qwen3-8B --style full',
        'polymode answer "..." --model runs/mine/model --policy runs/mine/validation/policy.json --risk high',
    ),
    "serve": (
        "polymode serve --model runs/mine/model --policy runs/mine/validation/policy.json",
        "polymode serve --model M --style full --policy policy.json --backend openai --base-url http://localhost:8001/v1",
        "polymode serve --new-key anna --keys keys.txt          makes a key, then",
        "polymode serve --model runs/mine/model --policy policy.json --host 0.0.0.0 --keys keys.txt",
    ),
    "reviews": (
        "polymode reviews reviews.db                                what is open, claimed, resolved",
        "polymode reviews reviews.db --records reviewed.jsonl       questions with right answers, to train on",
        "polymode reviews reviews.db --judged runs/reviewed/judged.jsonl --k 3",
    ),
    "relabel": (
        "polymode relabel runs/a/test runs/b/test --data questions.jsonl --proposals proposals.jsonl",
        "polymode relabel --accept proposals.jsonl --by ann --data questions.jsonl --out questions-2.jsonl",
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
    lab: four methods and the usual baselines, three seeds, on the lab's four tasks (three regimes); K = 2, 4, 5.
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
    """Run only this part, for example hops of lab."""
    unsafe_local: bool = False
    """Run programs without isolation, only for programs that you trust."""


@dataclass(frozen=True)
class Train:
    """Train a model: `polymode train recipe.yaml --out RUN`, every option also as a flag that overrides the recipe."""

    out: Path
    """Run folder."""
    resume: bool = False
    """Go on from the last checkpoint of an existing run folder."""
    unsafe_local: bool = False
    """Run programs without isolation, only for programs that you trust."""
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
    backend: str = "transformers"
    """What runs the model: transformers, vllm, openai (a server) or module:Name; `polymode doctor` lists them."""
    backend_options: tuple[str, ...] = ()
    """Options of the back-end as NAME=VALUE, for example base_url=http://localhost:8001/v1 (openai)."""
    confidences: str | None = None
    """Measure confidences instead of taking the stated ones: answer-probability, p-true or module:Name."""
    style: Literal["task", "full", "brief"] = "task"
    """Prompt style; `task` uses the task's own."""
    resume: bool = False
    """Keep a finished completions.jsonl instead of refusing."""
    unsafe_local: bool = False
    """Run programs without isolation, only for programs that you trust."""


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
    verifier: str | None = None
    """What calls an answer right: text, symbolic (mathematics), judge (a language model), programs (tests) or
    module:Name. By default what the config.json of the folder or of its training run says, else text."""
    verifier_options: tuple[str, ...] = ()
    """Options of the verifier as NAME=VALUE, for example seconds=10 (symbolic) or cache=verdicts.db (judge)."""
    pool: int = 1
    """Put this many independent completions of a question together to one set."""
    votes: bool = False
    """With --pool: use the share of samples that gave an answer as its confidence."""
    by: str | None = None
    """Also measure parts of the questions by themselves, told apart by this field of "meta"."""
    metrics: tuple[str, ...] = ()
    """Further metrics, as module:Name or by the name that an installed package gives them."""
    n_boot: int = 1000
    """Bootstrap replicates; 0 leaves the intervals out."""
    seed: int = 0
    """Seed of the bootstrap."""
    unsafe_local: bool = False
    """Run programs without isolation, only for programs that you trust."""


@dataclass(frozen=True)
class Compare:
    """Lay runs side by side: OUT/report.html, compare.md and compare.json.

    A run is a folder with completions.jsonl and metrics.json, or the folder of a training run or experiment that holds
    some; seeds of one arm become one column. Differences are paired by question: completions are judged again as each
    was evaluated, never generated again.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders to compare."""
    out: Path
    """Folder to write into; an earlier comparison in it is replaced."""
    against: str | None = None
    """Column that is taken away from the others; samples of single-rlvr by default, else the first column."""
    verifier: str | None = None
    """Judge all answers with this: text, symbolic, judge, programs or module:Name; by default as each was evaluated."""
    verifier_options: tuple[str, ...] = ()
    """Options of the verifier as NAME=VALUE."""
    n_boot: int = 1000
    """Bootstrap replicates of the differences; 0 leaves their intervals out."""
    unsafe_local: bool = False
    """Run programs without isolation, only for programs that you trust."""


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
    unsafe_local: bool = False
    """Run programs without isolation, only for programs that you trust."""


@dataclass(frozen=True)
class Doctor:
    """Say what is installed, what the machine has, and what each missing part would give."""
