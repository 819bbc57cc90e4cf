"""The verifier that a completions file names, for `polymode evaluate` when the user names none (layer L4).

`polymode generate` writes task and verifier into each line. Files of 0.1.0 do not have them: there the config.json in
the folder, or that of the training run above it, names the task.

Whoever made a file decides little: it never has a language model asked (that would send answers, and a key from the
environment, to an address in the file), never switches the sandbox's isolation off, and loads no code by its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError, MissingExtraError
from polymode.tasks import TASKS, has_own_verifier, open_task, verifier_of
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.choice import open_verifier

AnyVerifier = Verifier | QuestionVerifier
_OF_TASK = "task:"
_WITHOUT_ASKING = ("text", "symbolic", "programs")
"""Verifiers that may be started because a file names them."""


def recorded_verifier(path: Path) -> AnyVerifier | None:
    """What judges the completions at ``path`` (file or folder), as they say themselves; None where they say nothing.

    Raises:
        ConfigError: the lines name several verifiers, or one that is only used when the user names it, or that cannot
            be had here.
        DataNotFoundError: the task's data are gone, or there is no such file.
    """
    path = runs.file_in(path, runs.COMPLETIONS)
    if not path.is_file():
        raise DataNotFoundError(f"{path} does not exist: check the path, or generate completions first")
    named = runs.named_verifiers(path)
    if len(named) > 1:
        words = ["names no verifier" if one is None else f"is judged by {one['name']}" for _, one in named[:2]]
        names = [f"line {number} {word}" for (number, _), word in zip(named, words, strict=False)]
        raise ConfigError(f"{path}: {' and '.join(names)}: judge them apart, or name what judges all with --verifier")
    line, verifier = named[0] if named else (0, None)  # what is wrong with an empty file is said when it is read
    return _of_folder(path.parent) if verifier is None else open_recorded(verifier, f"{path}, line {line}")


def open_recorded(verifier: runs.Named, where: str) -> AnyVerifier | None:
    """A verifier that a file names; None for text equality. Raises as `recorded_verifier`."""
    name = str(verifier["name"])
    if name.startswith(_OF_TASK):
        return _of_task({**verifier, "name": name.removeprefix(_OF_TASK)}, where)
    if name == "judge":
        raise ConfigError(
            f"{where}: judged by a language model, which is asked only when named: give --verifier judge and its "
            "--verifier-options, or another verifier"
        )
    if name not in _WITHOUT_ASKING:
        raise ConfigError(f"{where}: verifier {name!r} is not loaded because a file names it: give --verifier {name}")
    try:
        return open_verifier(name, **_harmless(verifier))
    except (ConfigError, MissingExtraError) as exc:
        raise ConfigError(f"{where}: {exc} (or name another verifier with --verifier)") from None


def _of_task(task: runs.Named, where: str, data: Any = None) -> AnyVerifier | None:
    name = str(task["name"])
    if name not in TASKS.entries:
        raise ConfigError(
            f"{where}: task {name!r}, which says how answers are compared, is not loaded because a file names it: give "
            "--verifier, for example text"
        )
    if not has_own_verifier(name):  # its data are not needed to judge its answers
        return None
    try:
        return verifier_of(open_task(name, data=data, **_harmless(task)))
    except (ConfigError, DataNotFoundError) as exc:
        raise type(exc)(
            f"{where}: its task {name!r} says what is right and cannot be opened ({exc}): put that right, or name what "
            "judges instead, for example --verifier programs"
        ) from None


def _harmless(named: runs.Named) -> dict[str, Any]:
    return {str(name): value for name, value in (named["options"] or {}).items() if name != "unsafe_local"}


def _of_folder(folder: Path) -> AnyVerifier | None:
    """As the config.json that belongs to a folder of 0.1.0 names it.

    The nearest config names the task. A verifier is taken from the training run above it, if that has the same task.
    """
    places = [place for place in _places(folder) if (place / runs.CONFIG).is_file()]
    configs = [runs.read_configuration(place).config for place in places]
    configs = [config for config in configs if str(config.get("task")) in TASKS.entries]
    same = [config for config in configs if config["task"] == configs[0]["task"]]
    for config in same:
        if config.get("verifier") is not None:
            return open_recorded({"name": config["verifier"], "options": config.get("verifier_options")}, str(folder))
    if not same:
        return None
    return _of_task({"name": same[0]["task"], "options": same[0].get("task_options")}, str(folder), same[0].get("data"))


def _places(folder: Path) -> Iterator[Path]:
    """Where the config may be, nearest first: the folder, its training run, the arms beside an untrained one."""
    place = folder.resolve()
    yield place
    run = place.parent.parent if place.name == "deep" else place.parent
    if runs.is_training(run):
        yield run
    elif run.name.startswith("seed-"):
        yield from filter(runs.is_training, sorted(run.parent.parent.glob("*/seed-*")))
