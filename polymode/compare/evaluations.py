"""What differences are computed from: the stored verdicts of each folder, or those of a verifier that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from polymode import runs
from polymode.compare.columns import Run, deep_folder, with_deep
from polymode.evaluation import Evaluation, evaluate
from polymode.uncertainty import N_BOOT
from polymode.verifiers import QuestionVerifier, Verifier


@dataclass
class Evaluations:
    """Reads each folder once and keeps only what differences need."""

    verifier: Verifier | QuestionVerifier | None = None
    """Judges all completions again; None takes the verdicts that are stored."""
    own_metrics: Sequence[str] = ()
    """Own metrics that differences are computed of."""
    n_boot: int = N_BOOT
    """Bootstrap replicates of metrics that are judged again."""
    done: Callable[[], object] = lambda: None
    """Called after each folder."""
    _by_folder: dict[Path, Evaluation] = field(default_factory=dict)

    def of(self, run: Run, folder: Path | None = None) -> Evaluation:
        """The evaluation of ``run``, or of its deep ``folder``, without the judged completions.

        Raises:
            RunIncompleteError, RecordError: a file is missing or damaged.
        """
        folder = folder or run.folder
        key = folder.resolve()
        if key not in self._by_folder:
            found = (
                Evaluation.read(folder, metrics=self.own_metrics)
                if self.verifier is None
                else self._judged_again(run, folder)
            )
            self._by_folder[key] = replace(found, judged=())  # answers are most of its memory
            self.done()
        return self._by_folder[key]

    def deep(self, run: Run) -> Evaluation | None:
        """The deep folder of ``run``, or of the samples that it measures; None without one."""
        folder = deep_folder(run)
        return None if folder is None else self.of(replace(run, confidence="stated"), folder)

    def metrics(self, run: Run) -> runs.Metrics:
        """What tables show of ``run``: its metrics.json, or what the verifier that was asked for says."""
        if self.verifier is None:
            return runs.read_metrics(run.folder)
        stored, deep = self.of(run).stored(), self.deep(run)
        return stored if deep is None else with_deep(stored, deep.stored())

    def _judged_again(self, run: Run, folder: Path) -> Evaluation:
        is_pooled = run.pool > 1
        path = runs.completions_of(folder)
        says_k = next(runs.read_jsonl(path), {}).get("k") is not None
        return evaluate(
            runs.read_completions(
                path, k=None if says_k else 1 if is_pooled else run.view.get("k"), verifier=self.verifier
            ),
            verifier=self.verifier,
            pooled=is_pooled,
            k=run.pool if is_pooled else None,
            confidence_from="votes" if run.confidence == "votes" else "stated",
            metrics=self.own_metrics,
            n_boot=self.n_boot,
        )
