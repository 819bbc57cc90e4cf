"""Judges evaluation folders again, the way each was evaluated; nothing is generated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from polymode import runs
from polymode.compare.columns import DEEP, Run
from polymode.compare.kept import AnyVerifier, kept_recipe, verifier_from
from polymode.errors import ConfigError
from polymode.evaluation import Evaluation, evaluate, read_completions
from polymode.training.recipe import Recipe
from polymode.verifiers.choice import open_verifier

_NAMES = {
    "TextVerifier": "text",
    "SymbolicVerifier": "symbolic",
    "ProgramVerifier": "programs",
    "JudgeVerifier": "judge",
}
"""Names of verifiers by the class that metrics.json keeps; other classes belong to a task."""
_TOLERANCE = 1e-9


@dataclass
class Judges:
    """Judges each folder once and keeps only what differences need."""

    verifier: AnyVerifier | None = None
    """For all folders; None means the one that each was evaluated with."""
    done: Callable[[], object] = lambda: None
    """Called after each folder."""
    changed: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Coverage before and now, of folders whose metrics.json says something else than judging again."""
    _kept: dict[Path, Evaluation] = field(default_factory=dict)
    _verifiers: dict[str, AnyVerifier] = field(default_factory=dict)

    def evaluation(self, run: Run, folder: Path | None = None) -> Evaluation:
        """The completions of ``run`` (or of its deep ``folder``) judged again."""
        folder = folder or run.folder
        key = folder.resolve()
        if key not in self._kept:
            self._kept[key] = self._judged(run, folder)
            self.done()
        return self._kept[key]

    def deep(self, run: Run) -> Evaluation | None:
        """The deep folder of ``run``, or of the samples that it measures; None without one."""
        folder = deep_folder(run)
        return None if folder is None else self.evaluation(replace(run, confidence="stated"), folder)

    def _judged(self, run: Run, folder: Path) -> Evaluation:
        path, verifier = folder / runs.COMPLETIONS, self._verifier_of(run)
        says_k = next(iter(runs.read_jsonl(path)), {}).get("k") is not None
        asked = None if says_k else 1 if run.pool > 1 else run.view.get("k")
        evaluation = evaluate(
            read_completions(path, k=asked, verifier=verifier),
            verifier=verifier,
            pooled=run.pool > 1,
            k=run.pool if run.pool > 1 else None,
            confidence_from="votes" if run.confidence == "votes" else "stated",
            n_boot=0,
        )
        now, kept = evaluation.metrics["coverage"].value, runs.read_json(folder / runs.METRICS)["metrics"]
        before = (kept.get("coverage") or {}).get("value")
        if before is not None and abs(before - now) > _TOLERANCE:
            self.changed[str(folder)] = (before, now)
        return replace(evaluation, judged=())  # texts are most of its memory

    def _verifier_of(self, run: Run) -> AnyVerifier:
        if self.verifier is not None:
            return self.verifier
        name = run.view.get("verifier") or "TextVerifier"
        recipe = None if name == "TextVerifier" else kept_recipe(run.folder)
        key = f"{name} {recipe}"
        if key not in self._verifiers:
            self._verifiers[key] = _open(name, recipe, run.folder)
        return self._verifiers[key]


def deep_folder(run: Run) -> Path | None:
    """Where fewer questions of ``run`` (or of the samples that it measures) have 30 answers each."""
    places = [run.folder / DEEP, run.folder.parent / "samples" / DEEP]
    found = [p for p in places[: 1 if run.confidence == "stated" else 2] if (p / runs.COMPLETIONS).is_file()]
    return found[0] if found else None


def _open(name: str, recipe: Recipe | None, folder: Path) -> AnyVerifier:
    """The verifier of the class ``name``, with the options of the recipe or task that the folder belongs to."""
    named = _NAMES.get(name)
    if recipe is not None and (named in (None, recipe.verifier) or (named == "programs" and recipe.verifier is None)):
        found = verifier_from(recipe, folder)
        if found is not None:
            return found
    if named not in (None, "judge"):
        return open_verifier(named)
    raise ConfigError(
        f"{folder} was evaluated with {name}, whose options are not kept: give them with --verifier and "
        "--verifier-options"
    )
