"""The verbs of the command line, in the order in which a user meets them. A new one is a module and an entry here."""

from __future__ import annotations

from typing import NamedTuple

MEASURE, DECIDE, INFORM = "Train and measure", "Decide and serve", "Information"


class Verb(NamedTuple):
    """One command."""

    group: str
    """Heading of `polymode --help` that it is listed under."""
    summary: str
    """Its line in `polymode --help`."""
    function: str
    """``module:function`` below `polymode.cli`; the function's argument ``options`` has a dataclass of the flags."""
    examples: tuple[str, ...] = ()
    """Command lines that end its --help, each below a comment."""


VERBS = {
    "reproduce": Verb(
        MEASURE,
        "Run a whole experiment: train, sample, evaluate and write a report",
        "verbs:reproduce",
        (
            "# in minutes, on a laptop; the report is runs/quick/report.html",
            "polymode reproduce quick",
            "# continue an interrupted run",
            "polymode reproduce lab --resume",
            "polymode reproduce ddxplus --data data/ddxplus",
        ),
    ),
    "train": Verb(
        MEASURE,
        "Train a model from a recipe",
        "train:train",
        (
            "# a small model on the built-in clinic task",
            "polymode train --out runs/mine --method multi-rlcr --k 3",
            "# a recipe with one option changed",
            "polymode train recipes/clinic.yaml --out runs/mine --steps 10",
            "# continue from the last checkpoint",
            "polymode train recipes/clinic.yaml --out runs/mine --resume",
        ),
    ),
    "generate": Verb(
        MEASURE,
        "Sample completions for the questions of a task",
        "verbs:generate",
        (
            "polymode generate --model runs/mine/model --out runs/mine/test --k 3",
            "# eight completions for each of your own questions",
            "polymode generate --model Qwen/Qwen3-8B --task records --data questions.jsonl --samples 8 --out runs/q",
        ),
    ),
    "evaluate": Verb(
        MEASURE,
        "Judge and measure any file of completions (torch is not needed)",
        "verbs:evaluate",
        (
            "# a run folder, judged as its task does",
            "polymode evaluate runs/mine/test",
            "# completions of any model",
            "polymode evaluate answers.jsonl --k 3",
            "# three independent single answers pooled into one set",
            "polymode evaluate samples.jsonl --k 1 --pool 3",
            "# mathematics: 1/2 equals 0.5",
            "polymode evaluate answers.jsonl --verifier symbolic",
            "# a language model as judge",
            "polymode evaluate answers.jsonl --verifier judge \\",
            "    --verifier-options base_url=http://localhost:8000/v1 model=MODEL",
        ),
    ),
    "compare": Verb(
        MEASURE,
        "Compare runs side by side, with paired differences",
        "verbs:compare",
        (
            "# two runs over the same questions",
            "polymode compare runs/mine/test runs/base --out runs/compare",
            "# all runs of an experiment, relative to one method",
            "polymode compare runs/lab/clinic --out runs/compare --against single-rlcr",
            "# both judged by the same verifier",
            "polymode compare runs/a runs/b --out runs/compare --verifier symbolic",
        ),
    ),
    "calibrate": Verb(
        DECIDE,
        "Choose decision thresholds with a statistical guarantee from judged questions",
        "calibrate:run_calibrate",
        (
            "# answer sets, at most 1 in 10 without a right answer",
            "polymode calibrate runs/mine/validation",
            "# single answers, at most 1 in 20 wrong",
            "polymode calibrate runs/mine/validation --target answer --alpha 0.05",
            "polymode calibrate runs/mine/validation --recalibrate isotonic --out policy.json",
        ),
    ),
    "answer": Verb(
        DECIDE,
        "Answer one question and decide what to do with the answers",
        "answer:run_answer",
        (
            'polymode answer "Name a noble gas." --model Qwen/Qwen3-8B --style full',
            'polymode answer "..." --model runs/mine/model --policy runs/mine/validation/policy.json',
        ),
    ),
    "serve": Verb(
        DECIDE,
        "Answer over HTTP, with web pages and an OpenAI-compatible API",
        "serve:run_serve",
        (
            "polymode serve --model runs/mine/model --policy runs/mine/validation/policy.json",
            "# in front of another server that runs the model",
            "polymode serve --model MODEL --style full --policy policy.json \\",
            "    --backend openai --base-url http://localhost:8001/v1",
            "# create an API key, then serve other machines",
            "polymode serve --new-key anna --keys keys.txt",
            "polymode serve --model runs/mine/model --policy policy.json --host 0.0.0.0 --keys keys.txt",
        ),
    ),
    "reviews": Verb(
        DECIDE,
        "Summarise the review queue and export resolved reviews as data",
        "reviews:run_reviews",
        (
            "# how many reviews are open, claimed and resolved",
            "polymode reviews reviews.db",
            "# reviewed questions with their right answers, as training data",
            "polymode reviews reviews.db --records reviewed.jsonl",
            "# reviewed answer sets, as calibration data",
            "polymode reviews reviews.db --judged runs/reviewed/judged.jsonl --k 3",
        ),
    ),
    "relabel": Verb(
        DECIDE,
        "Find answers marked wrong that may be right, for a person to accept",
        "relabel:run_relabel",
        (
            "polymode relabel runs/a/test runs/b/test --data questions.jsonl --proposals proposals.jsonl",
            "# after a person has accepted some",
            "polymode relabel --accept proposals.jsonl --by ann --data questions.jsonl --out questions-2.jsonl",
        ),
    ),
    "tasks": Verb(
        INFORM,
        "List the tasks, or show sample questions of one",
        "verbs:tasks",
        (
            "polymode tasks",
            "# two questions with references and a demonstration",
            "polymode tasks clinic",
            "# check how your own records are read",
            "polymode tasks records --data questions.jsonl",
        ),
    ),
    "doctor": Verb(
        INFORM,
        "Show what is installed and what each missing part would add",
        "verbs:doctor",
    ),
}
"""Every command by its name."""
