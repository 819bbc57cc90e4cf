"""`polymode train`: a recipe file, with any of its options changed by flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from polymode.cli.checks import need_packages
from polymode.cli.flags import FLAGS_OF
from polymode.cli.options import ProgramOptions
from polymode.training.recipe import Recipe
from polymode.training.recipe_file import load_recipe
from polymode.training.trl_options import unknown_option


@dataclass(frozen=True)
class Train(ProgramOptions):
    """Train a model from a recipe.

    Without a recipe file the defaults below apply: a small model on the built-in clinic task. Every option of a recipe
    is also a flag, which takes precedence over the file.

    Examples:
        # a small model on the built-in clinic task
        polymode train --out runs/mine --method multi-rlcr --k 3
        # a recipe with one option changed
        polymode train recipes/clinic.yaml --out runs/mine --max-steps 10
        # continue from the last checkpoint
        polymode train recipes/clinic.yaml --out runs/mine --resume
    """

    recipe: Path | None = None
    """YAML file with recipe options; recipes/ holds examples."""
    _: KW_ONLY
    out: Path
    """Run folder to create."""
    resume: bool = False
    """Continue from the last checkpoint of an existing run folder."""
    changes: dict[str, Any] = field(default_factory=dict, metadata={FLAGS_OF: Recipe})
    """Recipe options given as flags."""

    @staticmethod
    def explain_unknown(name: str) -> str:
        """Where an option of version 0.1.0, or of TRL, belongs."""
        names = [option.name for kind in (Recipe, Train) for option in fields(kind) if FLAGS_OF not in option.metadata]
        return unknown_option(name, names).partition("; known: ")[0]  # --help lists them


def train(options: Train) -> int:
    """Train, and say where the model is."""
    recipe = changed(Recipe() if options.recipe is None else load_recipe(options.recipe), options.changes)
    need_packages("train")
    from polymode.training import rl
    from polymode.training.sharding import leave_together

    print(f"model: {rl.train(recipe, options.out, resume=options.resume)}")
    leave_together()
    return 0


OWNED: Mapping[str, Mapping[str, Any]] = {
    "task": {"task_options": {}, "data": None},
    "verifier": {"verifier_options": {}},
}
"""What belongs to a recipe's choice and means nothing for another one, with its default."""


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with the flags' values; a mapping is completed, unless it belongs to a choice that changes too.

    Raises ConfigError where the values do not go together.
    """
    dropped: dict[str, Any] = {}
    for name, owned in OWNED.items():
        if changes.get(name, getattr(recipe, name)) != getattr(recipe, name):
            dropped |= owned
    merged = {
        name: {**dropped.get(name, getattr(recipe, name)), **value} if isinstance(value, Mapping) else value
        for name, value in changes.items()
    }
    return replace(recipe, **{**dropped, **merged})
