"""How the completions of a folder are judged when nobody says it: as the config.json that belongs to them names it.

`polymode generate` keeps its task beside the completions. A training run keeps its recipe and holds the folders of its
evaluations; an arm of an experiment that was never trained has the recipes of the arms beside it.

Whoever made the folder cannot take the sandbox's isolation away with its config; and `own_verifier`, which nobody asked
for a judge, sends neither answers nor a key from the environment to an address that stands there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.compare.columns import DEEP
from polymode.errors import ConfigError, DataNotFoundError
from polymode.runs.named_values import named_values
from polymode.tasks import TASKS, has_own_verifier, verifier_of
from polymode.training.recipe import Recipe, task_for
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.choice import open_verifier

AnyVerifier = Verifier | QuestionVerifier


def own_verifier(folder: Path) -> AnyVerifier | None:
    """The verifier that judged the training of this folder's model, else its task's own; None where text is compared.

    Raises:
        ConfigError: the training was judged by a language model, or the verifier cannot be had here.
        DataNotFoundError: the task's data are gone.
    """
    recipe = kept_recipe(folder)
    if recipe is None:
        return None
    if recipe.verifier == "judge":
        raise ConfigError(
            f"{folder} was trained with a language model as judge; it is asked only when named: give --verifier judge "
            "and its --verifier-options, or another verifier"
        )
    return verifier_from(recipe, folder)


def verifier_from(recipe: Recipe, folder: Path) -> AnyVerifier | None:
    """What ``recipe``, kept for ``folder``, judges with: the verifier it names, else its task's own; None for text.

    Raises:
        ConfigError: the verifier cannot be had here; DataNotFoundError: the task's data are gone.
    """
    if recipe.verifier is not None:
        return open_verifier(recipe.verifier, **recipe.verifier_options)
    if not has_own_verifier(recipe.task):  # whose data are not needed to judge its answers
        return None
    try:
        task = task_for(recipe)
    except (ConfigError, DataNotFoundError) as exc:
        raise type(exc)(
            f"{folder}: its task {recipe.task!r} says what is right and cannot be opened ({exc}): put that right, or "
            "name what judges instead, for example --verifier programs"
        ) from None
    return verifier_of(task)


def kept_recipe(folder: Path) -> Recipe | None:
    """Task and verifier that the completions of ``folder`` belong to; None where no config.json names a known task.

    The nearest config names the task. A verifier is taken from the training run above it, if that has the same task.

    Raises:
        RunIncompleteError: a config.json is broken.
        ConfigError: it names a verifier that this version does not have.
    """
    found = [recipe for recipe in map(_recipe, _places(folder)) if recipe is not None]
    same = [recipe for recipe in found if recipe.task == found[0].task]
    return next((recipe for recipe in same if recipe.verifier is not None), same[0]) if same else None


def _places(folder: Path) -> Iterator[Path]:
    """Where the config may be, nearest first."""
    place = folder.resolve()
    yield place
    run = place.parent.parent if place.name == DEEP else place.parent
    if _is_training(run):
        yield run
    elif run.name.startswith("seed-"):
        yield from filter(_is_training, sorted(run.parent.parent.glob("*/seed-*")))


def _is_training(folder: Path) -> bool:
    return (folder / runs.CONFIG).is_file() and (folder / runs.TRAIN_METRICS).is_file()


def _recipe(folder: Path) -> Recipe | None:
    kept: Any = runs.read_json(folder / runs.CONFIG) if (folder / runs.CONFIG).is_file() else None
    config: Any = kept.get("config") if isinstance(kept, Mapping) else None
    task = config.get("task") if isinstance(config, Mapping) else None
    if not isinstance(task, str) or task not in TASKS:
        return None
    data, options = config.get("data"), config.get("task_options") or {}
    return Recipe(
        task=task,
        data=None if data is None else Path(data),
        task_options=_safe(options if isinstance(options, Mapping) else named_values(options)),
        verifier=config.get("verifier"),
        verifier_options=_safe(config.get("verifier_options") or {}),
    )


def _safe(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "unsafe_local"}
