"""The verbs of the command line, in the order in which a user meets them. A new one is a module and a line here."""

from __future__ import annotations

from typing import NamedTuple

MEASURE, DECIDE, INFORM = "Train and measure", "Decide and serve", "Information"


class Verb(NamedTuple):
    """One command."""

    group: str
    """Heading of `polymode --help` that it is listed under."""
    function: str
    """``module:function`` below `polymode.cli`. Its argument ``options`` is annotated with the dataclass of the flags,
    whose docstring is the verb's --help."""
    summary: str
    """Its line in `polymode --help`."""


VERBS = {
    "reproduce": Verb(MEASURE, "verbs:reproduce", "Run a whole experiment: train, sample, evaluate and write a report"),
    "train": Verb(MEASURE, "train:train", "Train a model from a recipe"),
    "generate": Verb(MEASURE, "verbs:generate", "Sample completions for the questions of a task"),
    "evaluate": Verb(MEASURE, "verbs:evaluate", "Judge and measure any file of completions (torch is not needed)"),
    "compare": Verb(MEASURE, "verbs:compare", "Compare runs side by side, with paired differences"),
    "calibrate": Verb(
        DECIDE,
        "calibrate:run_calibrate",
        "Choose decision thresholds with a guarantee, from judged questions",
    ),
    "answer": Verb(DECIDE, "answer:run_answer", "Answer one question and decide what to do with the answers"),
    "serve": Verb(DECIDE, "serve:run_serve", "Answer over HTTP, with web pages and an OpenAI-compatible API"),
    "reviews": Verb(DECIDE, "reviews:run_reviews", "Summarise the review queue and export resolved reviews as data"),
    "relabel": Verb(DECIDE, "relabel:run_relabel", "Propose answers that were marked wrong but may be right"),
    "tasks": Verb(INFORM, "verbs:tasks", "List the tasks, or show sample questions of one"),
    "doctor": Verb(INFORM, "verbs:doctor", "Show what is installed and what each missing part would add"),
}
"""Every command by its name."""
