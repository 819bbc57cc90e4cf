"""What several verbs check before and after their work; everything heavy is imported when the verb runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polymode.errors import ConfigError, GeneratorFault, MissingExtraError, PromptRefusedError
from polymode.prompts import Style
from polymode.types import Completion


def room_for(generator: Any, prompts: Sequence[str], k: int, confidence: bool, style: Style, max_tokens: int) -> int:
    """Most tokens of a completion, as `check_room` says it; prints when they are fewer than asked for."""
    from polymode.generate.room import check_room

    room = check_room(generator, prompts, k=k, confidence=confidence, style=style, max_tokens=max_tokens)
    if room < max_tokens:
        print(f"completions are cut off at {room:,} tokens, not {max_tokens:,}: the model reads {generator.context:,}")
    return room


@contextmanager
def hint_at_resume(part: Any, generator: Any) -> Iterator[None]:
    """Say what a server was asked, and of a failure that nothing finished is lost."""
    try:
        yield
    except GeneratorFault as exc:
        finished = (
            f"what is finished is in {part.path}, and --resume asks only for the rest"
            if part.path.exists()
            else "nothing is finished yet, and --resume goes on with the same --out"
        )
        raise GeneratorFault(str(exc), f"{exc.advice}; {finished}".removeprefix("; ")) from exc
    finally:
        if (usage := getattr(generator, "usage", None)) is not None and usage.n_replies:
            print(f"server: {usage}", flush=True)


def why_unmeasured(
    completions: Sequence[Completion], refused: Sequence[tuple[Completion, PromptRefusedError]]
) -> list[str]:
    """How many completions have no measured confidences though they are in the format, a line for each reason."""
    lines = []
    if n := sum(one.confidences is None and one.confidence_mass is not None for one in completions):
        lines.append(f"{n:,} completions have none: the compared words have probability 0 for one of their answers")
    if refused:
        (one, exc), n = refused[0], len(refused)
        lines.append(
            f"{n:,} completions have none, so that what they state counts: the model refuses them; the first, id "
            f"{one.example.id!r} sample {one.sample}: {exc}"
        )
    return lines


def check_same(options: Any, folder: Path, *, free: Sequence[str] = ()) -> None:
    """A run folder belongs to one set of options; only where, how fast and how safely it runs may change."""
    from polymode import runs

    # A folder may be older than the option.
    younger = {
        "chat_template": {},
        "format": "tags",
        "rationale": False,
        "system": None,
        "shots": None,
        "stop": [],
        "refused": "stop",
        "target": "task",
        "dtype": "auto",
    }
    stored = {**younger, **runs.read_configuration(folder).config}
    for name, value in runs.to_json(options).items():
        if name not in ("out", "resume", "unsafe_local", *free) and stored.get(name) != value:
            raise ConfigError(
                f"{name} = {value!r} differs from the run folder's {stored.get(name)!r}: resume with the same "
                f"options, or choose another --out than {folder}"
            )


_PACKAGES = {
    "train": ("training", ("torch", "transformers", "trl", "datasets")),
    "report": ("the report", ("matplotlib", "jinja2")),
    "vllm": ("generating with vLLM", ("vllm",)),
}


def need_packages(extra: str) -> None:
    """Name the extra to install before an import fails with a traceback."""
    from importlib.util import find_spec

    purpose, packages = _PACKAGES[extra]
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, extra, purpose)
