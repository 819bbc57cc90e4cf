"""What the user can ask for: one frozen dataclass of options per verb, with the texts of --help."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from polymode.train.recipe import Recipe

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
    backend: Literal["transformers", "vllm"] = "transformers"
    """What runs the model; vllm needs a GPU and the extra `vllm`."""
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
    """What calls an answer right: text, symbolic (mathematics), judge (a language model) or programs (tests). By
    default what the config.json of the folder or of its training run says, else text."""
    verifier_options: tuple[str, ...] = ()
    """Options of the verifier as NAME=VALUE, for example seconds=10 (symbolic) or cache=verdicts.db (judge)."""
    pool: int = 1
    """Put this many independent completions of a question together to one set."""
    votes: bool = False
    """With --pool: use the share of samples that gave an answer as its confidence."""
    by: str | None = None
    """Also measure parts of the questions by themselves, told apart by this field of "meta"."""
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
    """Judge all answers with this: text, symbolic, judge or programs; by default as each run was evaluated."""
    verifier_options: tuple[str, ...] = ()
    """Options of the verifier as NAME=VALUE."""
    n_boot: int = 1000
    """Bootstrap replicates of the differences; 0 leaves their intervals out."""
    unsafe_local: bool = False
    """Run programs without isolation, only for programs that you trust."""


@dataclass(frozen=True)
class Calibrate:
    """Choose the thresholds of a policy on judged questions, so that a promise about later questions holds.

    answer: at most a share alpha of the single answers given is wrong. set: at most a share alpha of the sets offered
    holds no right answer. Either holds with probability 1 - delta; questions below the threshold are escalated.
    both: the two together. conformal: every question gets a set, and the share alpha holds on average only.
    The questions must be drawn like the later ones, and must not have been used for training or for any choice.
    """

    judged: tyro.conf.Positional[Path]
    """A judged.jsonl (polymode evaluate writes it), or a folder that holds one."""
    out: Path | None = None
    """Policy file to write; policy.json beside judged.jsonl by default. An earlier one is replaced."""
    target: Literal["answer", "set", "both", "conformal"] = "set"
    """What is promised."""
    alpha: float = 0.1
    """Largest share of failures."""
    delta: float = 0.05
    """Probability that these questions misled us and the promise is broken; not used by conformal."""
    recalibrate: Literal["none", "isotonic", "platt", "temperature"] = "none"
    """Map the confidences first, so that they fit how often answers are right."""
    design_share: float = 0.3
    """Share of the questions that the map and the order of the tests are taken from; the rest tests."""
    abstain_below: float = 0.0
    """ABSTAIN when all answers together hold less than this."""
    max_effective: float | None = None
    """ESCALATE when the confidences are spread over more answers than this, exp(entropy)."""
    malformed: Literal["escalate", "abstain"] = "escalate"
    """What follows a completion that cannot be used."""
    equality: Literal["text", "exact"] = "text"
    """Which answers of a set are one and the same: normalised text, or exactly equal (programs)."""
    seed: int = 0
    """Of the split into two parts."""


@dataclass(frozen=True)
class AnswerQuestion:
    """Answer one question with a model: ranked answers with confidences and, with a policy, a decision and its reason.

    A guarantee of the policy holds for the model, prompt and sampling settings that it was calibrated with.
    """

    question: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="QUESTION")]
    """The question."""
    model: str
    """Hugging Face model name or folder, for example RUN/model."""
    policy: Path | None = None
    """Policy to decide by; polymode calibrate writes one."""
    risk: Literal["normal", "high"] = "normal"
    """Risk of the question; with high no single answer is given."""
    k: int | None = None
    """Answers asked for; the policy's by default, else 3."""
    task: str = "clinic"
    """Task whose prompt style is used; `polymode tasks` lists them."""
    data: Path | None = None
    """Folder or file of the task's data."""
    style: Literal["task", "full", "brief"] = "task"
    """Prompt style; `task` uses the task's own."""
    exclusive: bool = False
    """Say in the prompt that at most one answer is right (style full)."""
    max_tokens: int = 1536
    """The completion is cut off at this length."""
    temperature: float = 1.0
    """Sampling temperature; 0 takes the most likely token each time."""
    seed: int = 0
    """The same seed gives the same completion."""
    show_text: bool = False
    """Print the whole completion first."""


@dataclass(frozen=True)
class Serve:
    """Answer questions over HTTP: ranked answers with confidences, a decision and its reason, many clients at once.

    POST /v1/answer-sets, /v1/chat/completions (OpenAI-compatible); GET /v1/models, /health, /ready, /metrics and
    /openapi.json. A guarantee of the policy holds for the model, prompt and sampling settings that it was calibrated
    with.
    """

    model: str | None = None
    """Hugging Face model name or folder; with --backend openai the model's name at the server. Needed."""
    policy: Path | None = None
    """Policy to decide by; polymode calibrate writes one. Needed."""
    k: int | None = None
    """Answers asked for; the policy's by default, else 3."""
    host: str = "127.0.0.1"
    """Address to listen on; other machines reach the server only by another than the default, which needs API keys."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    keys: Path | None = None
    """File with the hashes of API keys; the environment variable POLYMODE_API_KEYS may hold some too."""
    new_key: str | None = None
    """Make an API key of this name, add its hash to --keys, print the key, and end."""
    allow_without_keys: bool = False
    """Listen where other machines reach the server although there are no keys."""
    reviews: str | None = None
    """Review queue for escalated questions: an SQLite file, or postgresql://USER:PASSWORD@HOST/NAME."""
    backend: Literal["transformers", "openai"] = "transformers"
    """What runs the model: this process, or a server with an OpenAI-compatible API (vLLM, llama.cpp)."""
    base_url: str | None = None
    """Address of that server up to the version, for example http://localhost:8001/v1."""
    api_key_env: str | None = None
    """Environment variable that holds the key for that server."""
    backend_options: tuple[str, ...] = ()
    """Further fields of each request to that server as NAME=VALUE, for example top_k=0 min_p=0; null removes one."""
    name: str | None = None
    """Name of the model for clients; by default --model, of a folder the last two parts."""
    task: str = "clinic"
    """Task whose prompt style is used; `polymode tasks` lists them."""
    data: Path | None = None
    """Folder or file of the task's data."""
    style: Literal["task", "full", "brief"] = "task"
    """Prompt style; `task` uses the task's own."""
    exclusive: bool = False
    """Say in the prompt that at most one answer is right (style full)."""
    max_tokens: int = 1536
    """Completions are cut off at this length."""
    temperature: float = 1.0
    """Sampling temperature; 0 takes the most likely token each time."""
    seed: int | None = None
    """Of the sampling; drawn by default."""
    batch: int = 16
    """Most questions at the model at once."""
    wait_ms: float = 10.0
    """Milliseconds that a question waits for others to share a batch with (transformers)."""
    queue: int = 64
    """Questions that may wait; more are refused with status 429."""
    seconds: float = 60.0
    """Time limit of a question, status 504."""


@dataclass(frozen=True)
class Reviews:
    """Say what the review queue holds, and write what reviewers resolved as data.

    The queue's questions are those that the policy did not answer: a policy calibrated on them alone promises nothing
    about the others.
    """

    place: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="QUEUE")]
    """The queue: an SQLite file, or postgresql://USER@HOST/NAME."""
    records: Path | None = None
    """JSONL file to write resolved questions with their right answers into, for the task `records`."""
    judged: Path | None = None
    """File to write resolved answer sets into, for polymode calibrate."""
    k: int | None = None
    """With --judged: only sets of so many answers."""
    model_id: str | None = None
    """Only what this model answered."""


@dataclass(frozen=True)
class Relabel:
    """Propose answers that were marked wrong but are given often and surely, for data with one reference a question.

    Proposals go to a file. A person writes "accepted": true into the lines that are right (and "alias_of": a reference,
    where the answer only words it differently). Then --accept writes a new version of the data; the original is never
    changed. A score is the share of samples that gave the answer, times their mean confidence.
    """

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN")] = ()
    """Run folders with judged.jsonl, or such files."""
    data: Path | None = None
    """The records that the runs were asked: JSONL, JSON, CSV, TSV or Parquet. Needed."""
    proposals: Path | None = None
    """File to write the proposals into; proposals.jsonl beside the first judged.jsonl by default."""
    accept: Path | None = None
    """Proposals file with decisions: write the new version of the data."""
    out: Path | None = None
    """With --accept: the new version (.jsonl)."""
    by: str = ""
    """With --accept: who accepted; kept in the new version."""
    min_share: float = 0.5
    """Least share of a question's samples that gave the answer."""
    min_confidence: float = 0.5
    """Least mean confidence; 0 when the runs state none."""
    top: int = 100
    """Propose at most so many, the highest scores first."""
    max_references: int = 1
    """Leave out questions with more references than this; 0 takes all."""
    equality: Literal["text", "exact"] = "text"
    """Which answers are one and the same: normalised text, or exactly equal (programs)."""
    question_field: str = "question"
    """Column or key of the question; dots go down into objects."""
    references_field: str = "references"
    """Column or key of the references."""
    id_field: str | None = None
    """Column or key of the identity; by default record-1, record-2, ..."""
    strings: Literal["references", "aliases"] = "references"
    """What a flat list of strings is: references that differ, or aliases of the one right answer."""


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
