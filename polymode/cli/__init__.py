"""The command line: one table of verbs, each verb a function with one frozen dataclass of options (layer L7).

Exit codes: 0 done, 2 something the user wrote is wrong (one line says what and how to fix it), 1 anything else that
polymode itself reports, 130 stopped by the user.
"""

from __future__ import annotations

import difflib
import io
import os
import sys
import typing
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from polymode.errors import ConfigError, PolymodeError
from polymode.plugins import importable

__all__ = ["VERBS", "main", "options_class", "parse"]

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
    "reproduce": Verb(MEASURE, "reproduce:reproduce", "Run a whole experiment, from training to its report"),
    "warmup": Verb(MEASURE, "warmup:warm_up", "Teach a pretrained model the answer format, from its own samples"),
    "train": Verb(MEASURE, "train:train", "Train a model from a recipe"),
    "merge": Verb(MEASURE, "merge:merge", "Merge LoRA adapters into their base model"),
    "generate": Verb(MEASURE, "generate:generate", "Sample completions for the questions of a task"),
    "confidences": Verb(
        MEASURE, "confidences:measure", "Measure confidences of completions: P(True), probability, votes, aggregation"
    ),
    "evaluate": Verb(MEASURE, "evaluate:evaluate", "Judge and measure any file of completions (torch is not needed)"),
    "compare": Verb(MEASURE, "compare:compare", "Compare runs side by side, with paired differences"),
    "calibrate": Verb(
        DECIDE,
        "calibrate:run_calibrate",
        "Choose decision thresholds with a guarantee, from judged questions",
    ),
    "answer": Verb(DECIDE, "answer:run_answer", "Answer one question and decide what to do with the answers"),
    "serve": Verb(DECIDE, "serve:run_serve", "Answer over HTTP, with web pages and an OpenAI-compatible API"),
    "reviews": Verb(DECIDE, "reviews:run_reviews", "Summarise the review queue and export resolved reviews as data"),
    "relabel": Verb(DECIDE, "relabel:run_relabel", "Propose answers that were marked wrong but may be right"),
    "publish": Verb(MEASURE, "publish:publish", "Make a folder with a model or data and its card, to give away"),
    "tasks": Verb(
        INFORM, "tasks:run_tasks", "List the tasks, or show sample questions of one, also as a model reads them"
    ),
    "doctor": Verb(INFORM, "doctor:doctor", "Show what is installed and what each missing part would add"),
}
"""Every command by its name, in the order in which a user meets them. A new one is a module and a line here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a text that the terminal's encoding does not have ends no command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _short_warnings():
            if not args or args[0] in ("-h", "--help"):
                print(_help(), flush=True)
                return 0
            if args[0] == "--version":
                print(_version())
                return 0
            with importable(Path.cwd()):  # for module:Name
                return _run(*args)
    except PolymodeError as exc:
        advice = f": {text}" if (text := getattr(exc, "advice", "")) else ""
        print(f"error: {' '.join(f'{exc}{advice}'.split())}", file=sys.stderr)
        return exc.exit_code
    except BrokenPipeError:  # the reader went away, as in `polymode tasks | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("interrupted; finished work is saved, --resume continues", file=sys.stderr)
        return 130


def parse(verb: str, *args: str) -> Any:
    """The options that a command line gives, without running it.

    Raises:
        ConfigError: an unknown verb, or a flag that is unknown, missing or has a value that is not allowed.
    """
    from polymode.cli.flags import parse_flags

    return parse_flags(options_class(verb), verb, args)


def options_class(verb: str) -> type[Any]:
    """The dataclass of a verb's flags."""
    return typing.get_type_hints(_function(verb))["options"]


def _run(verb: str, *args: str) -> int:
    if {"-h", "--help"} & set(args):
        from polymode.cli.flags import help_text

        print(help_text(options_class(verb), verb), flush=True)
        return 0
    options = parse(verb, *args)
    with _unsafe_local() if getattr(options, "unsafe_local", False) else nullcontext():
        function = _function(verb)
        return function(options, args) if "args" in function.__annotations__ else function(options)


def _function(verb: str) -> Any:
    if verb not in VERBS:
        closest = "".join(difflib.get_close_matches(verb, VERBS, n=1))
        hint = f"; did you mean {closest}? Commands: " if closest else ": use one of "
        raise ConfigError(f"{verb!r} is not a command{hint}{', '.join(VERBS)}")
    module, name = VERBS[verb].function.split(":")
    return getattr(import_module(f"polymode.cli.{module}"), name)


@contextmanager
def _unsafe_local() -> Iterator[None]:
    """Allow programs without isolation, in child processes too, for the duration of one command."""
    from polymode.sandbox.bubblewrap import UNSAFE_LOCAL

    before = os.environ.get(UNSAFE_LOCAL)
    os.environ[UNSAFE_LOCAL] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[UNSAFE_LOCAL]
        else:
            os.environ[UNSAFE_LOCAL] = before


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Print polymode's own FutureWarnings as one line, without the source line that raised them."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Any, category: type[Warning], filename: str, *place: Any) -> None:
            if issubclass(category, FutureWarning) and category.__module__.startswith("polymode."):
                print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)
            else:
                usual(message, category, filename, *place)

        warnings.showwarning = show
        yield


def _help() -> str:
    lines = [
        "Usage: polymode COMMAND [OPTIONS]",
        "",
        "Train, evaluate and use language models that answer with a calibrated set of answers.",
    ]
    for group in dict.fromkeys(verb.group for verb in VERBS.values()):
        lines += ["", f"{group}:"]
        lines += [f"  {name:<11} {verb.summary}" for name, verb in VERBS.items() if verb.group == group]
    return "\n".join([*lines, "", "polymode COMMAND --help explains a command. To begin: polymode reproduce quick"])


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("polymode")
    except metadata.PackageNotFoundError:
        return "not installed (run from its source folder)"
