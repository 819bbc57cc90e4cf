"""Credit per term against one advantage for a whole completion: how many completions until the same level?

    python bench/credit.py --choose                   learning rates first, on a separate seed and separate questions
    python bench/credit.py                            both tasks, five seeds, with the rates below: hours on two cores
    python bench/credit.py --tasks hops --seeds 0 1 --steps 40
    python bench/credit.py --only-report              table and figure of the finished runs

Every run is multi-rlcr by the recipe in `TASKS` and differs in credit, learning rate and seed alone. Every
``EVERY`` steps the model is saved, and afterwards each saved model answers the same ``QUESTIONS`` questions, sampled
as in training: from the validation split to choose a learning rate, from the test split to compare. So curves differ
by what was learned and not by which questions a step happened to draw.

"Reached" is where the mean curve over seeds first crosses the level of sequence's mean curve at its end, interpolated
linearly between two saved models; its interval resamples the seeds. Runs are processes of one thread; the same command
resumes after a stop.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from credit_figure import draw
from side_by_side import Job, print_failures, run_jobs

from polymode import runs
from polymode.reproduce.plans import CLINIC, HOPS
from polymode.tasks import Split
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import task_for, verifier_for
from polymode.types import Completion

TASKS: Mapping[str, Recipe] = {
    "clinic": replace(CLINIC, questions_per_step=64, num_generations=4, max_steps=60),
    "hops": replace(HOPS, temperature=1.0, max_steps=60),
}
"""The lab's recipes with 64 x 4 completions a step at temperature 1: a step of many questions, and room to learn."""
CREDITS = ("sequence", "term")


@dataclass(frozen=True, slots=True)
class Setting:
    """What may differ between the runs."""

    credit: str
    rate: float
    factor: float = 1.0
    """Of the confidences' credit (`Recipe.confidence_credit`), for credit per term."""

    @property
    def name(self) -> str:
        """Folder name."""
        return f"{self.credit}-x{self.factor:g}-{self.rate:g}" if self.factor != 1 else f"{self.credit}-{self.rate:g}"


CHOSEN: Mapping[tuple[str, str], Setting] = {
    ("clinic", "sequence"): Setting("sequence", 5e-4),
    ("clinic", "term"): Setting("term", 5e-4, 4),
    ("hops", "sequence"): Setting("sequence", 2.5e-4),
    ("hops", "term"): Setting("term", 5e-4, 4),
}
"""Those of `CANDIDATES` with the highest coverage - Brier, which is what training maximises, on validation questions.

On the clinic credit per term was as good with factor 1 (2.2485 against 2.2476); the factor is one for both tasks."""
CANDIDATES = (
    *(Setting("sequence", rate) for rate in (2.5e-4, 5e-4, 1e-3)),
    *(Setting("term", rate, 4) for rate in (2.5e-4, 5e-4, 1e-3)),
    Setting("term", 5e-4),
    Setting("term", 5e-4, 8),
)
CHOICE_SEED = 100
EVERY = 10
QUESTIONS = 600
QUESTIONS_SEED = 2
SAMPLING_SEED = 20_261
CURVE = "curve.jsonl"
EVALUATION = "set"
MEASURED = ("coverage", "brier", "brier_excess", "ece", "kl", "uniqueness", "pass@1", "malformed_rate")
LOWER_IS_BETTER = {"brier": True, "brier_excess": True, "coverage": False}
DRAWN = ("brier_excess", "coverage")
RESAMPLED = 2000

Curves = dict[str, np.ndarray]
"""Of each credit, shape (seeds, kept models)."""


def recipe_of(task: str, setting: Setting, seed: int, steps: int) -> Recipe:
    base = replace(TASKS[task], method="multi-rlcr", credit=setting.credit, learning_rate=setting.rate, seed=seed)
    base = replace(base, confidence_credit=setting.factor)
    return replace(base, max_steps=steps or base.max_steps, save_steps=EVERY, save_total_limit=1000)


def folder_of(out: Path, task: str, setting: Setting, seed: int) -> Path:
    return out / task / setting.name / f"seed-{seed}"


def run_one(
    task: str, setting: Mapping[str, Any], seed: int, steps: int, out: str, split: Split, is_warm_start: bool = False
) -> None:
    """What a process does: train, then let every kept model answer the same questions; or only the warm start."""
    from lab_answers import lab_answers

    from polymode.evaluation import evaluate
    from polymode.runs import write_completions
    from polymode.training.rl import CHECKPOINTS, lab_model, train

    recipe = recipe_of(task, Setting(**setting), seed, steps)
    if is_warm_start:
        lab_model(task_for(recipe), recipe)
        return
    folder = folder_of(Path(out), task, Setting(**setting), seed)
    train(recipe, folder, resume=True)
    kept = {int(path.name.rsplit("-", 1)[1]): path for path in (folder / CHECKPOINTS).glob("checkpoint-*")}
    kept[0] = lab_model(task_for(recipe), recipe)
    answers = partial(lab_answers, recipe, split=split, n=QUESTIONS, seed=QUESTIONS_SEED, sampling_seed=SAMPLING_SEED)
    if not (folder / CURVE).exists():
        rows = [{"step": step, **measure(recipe, answers(model=kept[step]))} for step in sorted(kept)]
        runs.write_jsonl(folder / CURVE, rows)
    last = answers(model=kept[recipe.max_steps])  # as `polymode compare` reads it
    write_completions(folder / EVALUATION, last)
    evaluate(last, verifier=verifier_for(recipe, task_for(recipe))).write(folder / EVALUATION)


def job_of(asked: Mapping[str, Any]) -> Job:
    """The process of `run_one`."""
    folder = folder_of(Path(asked["out"]), asked["task"], Setting(**asked["setting"]), asked["seed"])
    done = None if asked.get("is_warm_start") else folder / EVALUATION / runs.METRICS
    return Job((__file__, "--job", json.dumps(asked)), folder / "log.txt", done)


def measure(recipe: Recipe, completions: list[Completion]) -> dict[str, Any]:
    """The figures of completions, without intervals."""
    from polymode.evaluation import evaluate

    metrics = evaluate(completions, verifier=verifier_for(recipe, task_for(recipe)), n_boot=0).metrics
    return {name: metrics[name].value for name in MEASURED if name in metrics}


def curves(out: Path, task: str, name: str, seeds: Sequence[int]) -> Curves:
    """``name`` of the finished seeds that both credits have."""
    found: dict[str, list[list[float]]] = {credit: [] for credit in CREDITS}
    for seed in seeds:
        paths = [folder_of(out, task, CHOSEN[task, credit], seed) / CURVE for credit in CREDITS]
        if all(path.exists() for path in paths):
            for credit, path in zip(CREDITS, paths, strict=True):
                found[credit].append([row[name] for row in runs.read_jsonl(path)])
    return {credit: np.array(rows, dtype=float) for credit, rows in found.items()}


def reached(curve: np.ndarray, level: float, *, lower: bool) -> float:
    """Steps until ``curve``, of models kept every `EVERY` steps, first meets ``level``; infinite when it never does."""
    gap = curve - level if lower else level - curve
    good = np.flatnonzero(gap <= 0)
    if not len(good):
        return float("inf")
    at = int(good[0])
    return float(EVERY * (at if at == 0 else at - gap[at] / (gap[at] - gap[at - 1])))


def share(found: Curves, *, lower: bool) -> tuple[float, float, float]:
    """Term's steps to sequence's final level as a share of sequence's steps, with a 95% interval over seeds."""
    sequence, term = (found[credit] for credit in CREDITS)
    n, total = len(sequence), EVERY * (sequence.shape[1] - 1)

    def of(chosen: np.ndarray) -> float:
        return reached(term[chosen].mean(0), sequence[chosen, -1].mean(), lower=lower) / total

    drawn = [of(chosen) for chosen in np.random.default_rng(0).integers(0, n, (RESAMPLED, n))]
    low, high = np.quantile(drawn, (0.025, 0.975), method="nearest")
    return of(np.arange(n)), float(low), float(high)


def report(out: Path, tasks: Sequence[str], seeds: Sequence[int]) -> None:
    """Levels at the end, their paired difference, and the share of the completions that term needs."""
    print(
        f"{'task':10}{'figure':15}{'n':>3}{'start':>8}{'sequence':>10}{'term':>8}{'term - sequence':>28}{'share':>20}"
    )
    for task in tasks:
        for name in MEASURED:
            found = curves(out, task, name, seeds)
            sequence, term = (found[credit] for credit in CREDITS)
            if not len(sequence):
                print(f"{task:10}{name:15}  0  not finished")
                continue
            n, gain = len(sequence), term[:, -1] - sequence[:, -1]
            # Student's t of the paired differences, 95%.
            half = _t(n) * gain.std(ddof=1) / n**0.5 if n > 1 else float("nan")
            line = f"{task:10}{name:15}{n:>3}{sequence[:, 0].mean():>8.4f}{sequence[:, -1].mean():>10.4f}"
            interval = f"[{gain.mean() - half:+.4f}, {gain.mean() + half:+.4f}]"
            line += f"{term[:, -1].mean():>8.4f}{gain.mean():>+9.4f} {interval}"
            if name in LOWER_IS_BETTER:
                value, low, high = share(found, lower=LOWER_IS_BETTER[name])
                line += f"{value:>8.2f} [{low:.2f}, {high:.2f}]"
            print(line)
    found_of = {task: {name: curves(out, task, name, seeds) for name in DRAWN} for task in tasks}
    draw(out / "credit.png", found_of, EVERY)
    for task in tasks:
        print(f"page: polymode compare {out / task} --out {out / task}-page")


def _t(n: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1))


def choose(out: Path, tasks: Sequence[str]) -> None:
    """What each candidate reaches on validation questions."""
    for task in tasks:
        for setting in CANDIDATES:
            path = folder_of(out, task, setting, CHOICE_SEED) / CURVE
            if path.exists():
                last = list(runs.read_jsonl(path))[-1]
                print(
                    f"{task:10}{setting.name:20} coverage {last['coverage']:.4f}, Brier {last['brier']:.4f}, "
                    f"coverage - Brier {last['coverage'] - last['brier']:.4f}, ECE {last['ece']:.4f}"
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs") / "credit", help="folder of the runs")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=0, help="of each run; 0 means the recipe's")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at once, one thread each")
    parser.add_argument("--choose", action="store_true", help="run and show the candidate learning rates instead")
    parser.add_argument("--only-report", action="store_true")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        run_one(**json.loads(options.job))
        return 0
    out: Path = options.out / ("choice" if options.choose else "comparison")
    split, seeds = ("validation", [CHOICE_SEED]) if options.choose else ("test", options.seeds)
    asked = [
        {
            "task": task,
            "setting": asdict(setting),
            "seed": seed,
            "steps": options.steps,
            "out": str(out),
            "split": split,
        }
        for seed in seeds  # one seed of everything before the next
        for task in options.tasks
        for setting in (CANDIDATES if options.choose else [CHOSEN[task, credit] for credit in CREDITS])
    ]
    failed: list[Path] = []
    if not options.only_report:
        first = {one["task"]: one for one in asked}  # a warm start is made once, before its runs need it
        failed = run_jobs([job_of({**one, "is_warm_start": True}) for one in first.values()], 1, label="warm starts")
        failed = failed or run_jobs([job_of(one) for one in asked], options.workers)
    if options.choose:
        choose(out, options.tasks)
    else:
        report(out, options.tasks, options.seeds)
    print_failures(failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
