"""Credits for the tokens of a completion, side by side: what confidences and answers learn from equal completions.

    python bench/credit.py --choose                   learning rates first, on a separate seed and separate questions
    python bench/credit.py                            tasks, credits and five seeds, with those rates: many hours
    python bench/credit.py --tasks harder-clinic --seeds 0 --steps 20 --ceiling-questions 1000    one seed, short
    python bench/credit.py --tasks hops --credits sequence term expected --seeds 0 1
    python bench/credit.py --only-report              table and figure of the finished runs

Every run is multi-rlcr by the recipe in `TASKS` and differs in credit, learning rate and seed alone; ``--credits``
takes any credit of a recipe by name, and ``replay``, which is ``expected`` with its learning rate and steps of replay
that follow a probe (`polymode.training.replay`). ``steady-replay`` takes four of them after each step besides, at a
lower rate. ``apart`` is ``replay`` with confidences learnt on a quarter of the questions, on which no answer is trained
and which the warm start does not demonstrate: for tasks whose questions come to an end. ``long-replay`` takes twelve
times as many completions in three times as many steps. Only ``coca`` differs in its format too, hence in its warm
start. Every ``EVERY`` steps the model is saved, and afterwards each saved model answers the same ``QUESTIONS``
questions, sampled as in training: from the validation split to choose a learning rate, from the test split to compare.
So curves differ by what was learned and not by which questions a step happened to draw.

``ceiling`` is the final model of the last of the other credits, its confidences then trained with supervision on
verdicts of its own answers (`polymode.reproduce.ceiling`): what it can know at least. On the harder tasks the warm
start's confidences and order say nothing, and its seed is that of the run.

``recalibrated`` rows are of the final model's stated confidences after a map, or a constant for each slot, that was
fitted to its answers to ``QUESTIONS`` validation questions: what a user can do after any training, hence the baseline.

"Reached" is where the mean curve over seeds first crosses the level of the baseline's mean curve (the first credit's)
at its end, interpolated linearly between two saved models; its interval resamples the seeds. Runs are processes of one
thread; the same command resumes after a stop.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from credit_figure import draw
from credit_skill import RECALIBRATIONS, recalibrated, skill
from side_by_side import Job, print_failures, run_jobs

from polymode import runs
from polymode.reproduce.plans import CLINIC, DDXPLUS, DIAGNOSIS, HARDER, HOPS
from polymode.tasks import Split
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import task_for, verifier_for
from polymode.types import Completion

TASKS: Mapping[str, Recipe] = {
    "clinic": replace(CLINIC, questions_per_step=64, num_generations=4, max_steps=60),
    "hops": replace(HOPS, temperature=1.0, max_steps=60),
    "clinic-diagnosis": replace(DIAGNOSIS, temperature=1.0, max_steps=60),
    "ddxplus": replace(DDXPLUS, questions_per_step=64, num_generations=4, max_steps=60),
    **HARDER,
}
"""The lab's recipes with 64 x 4 completions a step at temperature 1: a step of many questions, and room to learn."""
CEILING = "ceiling"
CREDITS = ("sequence", "term", "expected", CEILING)
_REPLAY: Mapping[str, Any] = {
    "credit": "expected",
    "confidence_credit": 4.0,
    "replay": {"teacher": "probe", "last_steps": 200, "learning_rate": 5e-4},
}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "term": {"confidence_credit": 4.0},
    "expected": {"confidence_credit": 16.0},
    "coca": {"format": "confidence-first"},
    "replay": _REPLAY,
    "steady-replay": {**_REPLAY, "replay": {**_REPLAY["replay"], "steps": 4, "learning_rate": 2e-4}},
    "apart": {**_REPLAY, "confidence_questions": "apart"},
    "long-replay": {**_REPLAY, "replay": {**_REPLAY["replay"], "last_steps": 600, "batch": 64, "size": 6656}},
}
"""Options of a recipe that belong to a credit; those of `expected` and of replay were chosen on validation questions
of the harder clinic."""
RATES = (2.5e-4, 5e-4, 1e-3)
"""What ``--choose`` tries for every credit."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What may differ between the runs."""

    credit: str
    rate: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Folder name."""
        options = {} if "credit" in self.options else self.options  # a name of its own stands for all of them
        return f"{self.credit}{''.join(f'-{name}-{value}' for name, value in options.items())}-{self.rate:g}"


RATE: Mapping[tuple[str, str], float] = {
    ("clinic", "sequence"): 5e-4,
    ("clinic", "term"): 5e-4,
    ("hops", "sequence"): 2.5e-4,
    ("hops", "term"): 5e-4,
}
"""Those of `RATES` with the highest coverage - Brier, which is what training maximises, on validation questions."""
DEFAULT_RATE = 5e-4
CHOICE, CHOSEN = "choice", "chosen.json"
CHOICE_SEED = 100
EVERY = 10
QUESTIONS = 600
QUESTIONS_SEED = 2
SAMPLING_SEED = 20_261
CURVE, RECALIBRATED = "curve.jsonl", "recalibrated.json"
EVALUATION = "set"
MEASURED = (
    *("coverage", "order", "pass@1", "brier", "brier_excess", "gain_beyond", "share_beyond"),
    *("auroc_slot", "auroc_question", "auroc", "ece", "kl", "uniqueness", "malformed_rate", "step_seconds"),
)
LOWER_IS_BETTER = {"brier": True, "brier_excess": True, "coverage": False}
DRAWN = ("brier", "coverage")
RESAMPLED = 2000

Curves = dict[str, np.ndarray]
"""Of each credit, shape (seeds, saved models)."""


def setting_of(out: Path, task: str, credit: str) -> Setting:
    """The credit with the learning rate of ``--choose``, else the one that was measured for `RATE`."""
    path = out / CHOICE / CHOSEN
    rates = runs.read_json(path) if path.exists() else {}
    chosen = OPTIONS.get(credit, {}).get("credit", credit)
    rate = rates.get(f"{task}/{chosen}") or RATE.get((task, chosen))
    if rate is None:
        print(f"{task}, {credit}: no learning rate was chosen (--choose), taking {DEFAULT_RATE:g}")
    return Setting(credit, rate or DEFAULT_RATE, OPTIONS.get(credit, {}))


def recipe_of(task: str, setting: Setting, seed: int, size: Mapping[str, Any]) -> Recipe:
    base = TASKS[task]
    steps, data = size["steps"] or base.max_steps, size["data"]
    base = replace(
        base,
        method="multi-rlcr",
        learning_rate=setting.rate,
        seed=seed,
        data=None if data is None else Path(data),
        warm_start_seed=seed if base.warm_start_demonstrations == "uninformative" else base.warm_start_seed,
        **{"credit": setting.credit, **setting.options},  # type: ignore[arg-type]  # the recipe checks them
    )
    warm = size["warm_start_steps"] or base.warm_start_steps
    return replace(base, max_steps=steps, warm_start_steps=warm, save_steps=EVERY, save_total_limit=1000)


def folder_of(out: Path, task: str, setting: Setting, seed: int) -> Path:
    return out / task / setting.name / f"seed-{seed}"


def run_one(
    task: str,
    setting: Mapping[str, Any],
    seed: int,
    out: str,
    split: Split,
    size: Mapping[str, Any],
    is_warm_start: bool = False,
    ceiling_of: Mapping[str, Any] | None = None,
) -> None:
    """What a process does: train, then let every saved model answer the same questions; or only the warm start."""
    from lab_answers import lab_answers

    from polymode.evaluation import evaluate
    from polymode.reproduce.ceiling import train_ceiling
    from polymode.training.rl import CHECKPOINTS, MODEL, train
    from polymode.training.supervision_options import ConfidenceSupervision
    from polymode.training.warm_start import lab_model

    own = Setting(**setting)
    recipe = recipe_of(task, own if ceiling_of is None else Setting(**ceiling_of), seed, size)
    if is_warm_start:
        lab_model(task_for(recipe), recipe)
        return
    folder = folder_of(Path(out), task, own, seed)
    if ceiling_of is None:
        train(recipe, folder, resume=True)
        saved = {int(path.name.rsplit("-", 1)[1]): path for path in (folder / CHECKPOINTS).glob("checkpoint-*")}
        saved[0] = lab_model(task_for(recipe), recipe)
    else:
        model = folder_of(Path(out), task, Setting(**ceiling_of), seed) / MODEL
        start = replace(recipe, model=str(model.resolve()), warm_start_demonstrations="noisy")
        saved = {recipe.max_steps: train_ceiling(start, folder, ConfidenceSupervision(**size[CEILING]))}
    answers = partial(lab_answers, recipe, split=split, n=QUESTIONS, seed=QUESTIONS_SEED, sampling_seed=SAMPLING_SEED)
    if not (folder / CURVE).exists():
        rows = [{"step": step, **measure(recipe, answers(model=saved[step]))} for step in sorted(saved)]
        if ceiling_of is None:
            rows[-1]["step_seconds"] = median(
                row["step_time"] for row in runs.read_steps(folder) if row.get("step_time") is not None
            )
        runs.write_jsonl(folder / CURVE, rows)
    last, verifier = saved[recipe.max_steps], verifier_for(recipe, task_for(recipe))
    completions = answers(model=last)  # as `polymode compare` reads it
    runs.write_completions(folder / EVALUATION, completions)
    measured = evaluate(completions, verifier=verifier)
    measured.write(folder / EVALUATION)
    if split == "test":
        fit_on = evaluate(answers(model=last, split="validation"), verifier=verifier, n_boot=0)
        runs.write_json(folder / RECALIBRATED, recalibrated(fit_on.judged, measured.judged))


def measure(recipe: Recipe, completions: list[Completion]) -> dict[str, Any]:
    """The figures of completions, without intervals."""
    from polymode.evaluation import evaluate

    measured = evaluate(completions, verifier=verifier_for(recipe, task_for(recipe)), n_boot=0)
    own = {name: measured.metrics[name].value for name in MEASURED if name in measured.metrics}
    return own | skill(measured.judged)


def job_of(asked: Mapping[str, Any]) -> Job:
    """The process of `run_one`."""
    folder = folder_of(Path(asked["out"]), asked["task"], Setting(**asked["setting"]), asked["seed"])
    last = folder / (RECALIBRATED if asked["split"] == "test" else Path(EVALUATION) / runs.METRICS)
    done = None if asked.get("is_warm_start") else last
    return Job((__file__, "--job", json.dumps(asked)), folder / "log.txt", done)


def curves(out: Path, task: str, name: str, settings: Mapping[str, Setting], seeds: Sequence[int]) -> Curves:
    """``name`` of the finished seeds that every credit has."""
    found: dict[str, list[list[float]]] = {credit: [] for credit in settings}
    for seed in seeds:
        paths = [folder_of(out, task, setting, seed) / CURVE for setting in settings.values()]
        if all(path.exists() for path in paths):
            for credit, path in zip(settings, paths, strict=True):
                values = [row.get(name) for row in runs.read_jsonl(path)]
                found[credit].append([float("nan") if value is None else value for value in values])
    return {credit: np.array(rows, dtype=float) for credit, rows in found.items()}


def reached(curve: np.ndarray, level: float, *, lower: bool) -> float:
    """Steps until ``curve``, of models saved every `EVERY` steps, first meets ``level``; infinite if it never does."""
    gap = curve - level if lower else level - curve
    good = np.flatnonzero(gap <= 0)
    if not len(good):
        return float("inf")
    at = int(good[0])
    return float(EVERY * (at if at == 0 else at - gap[at] / (gap[at] - gap[at - 1])))


def share(base: np.ndarray, other: np.ndarray, *, lower: bool) -> tuple[float, float, float]:
    """The other's steps to the base's final level as a share of the base's steps, with a 95% interval over seeds."""
    n, total = len(base), EVERY * (base.shape[1] - 1)

    def of(chosen: np.ndarray) -> float:
        return reached(other[chosen].mean(0), base[chosen, -1].mean(), lower=lower) / total

    drawn = [of(chosen) for chosen in np.random.default_rng(0).integers(0, n, (RESAMPLED, n))]
    low, high = np.quantile(drawn, (0.025, 0.975), method="nearest")
    return of(np.arange(n)), float(low), float(high)


def report(
    out: Path, tasks: Sequence[str], settings: Mapping[str, Mapping[str, Setting]], seeds: Sequence[int]
) -> None:
    """For each task and figure: the levels, paired differences, and the share of completions that reach a level."""
    drawn: dict[str, dict[str, Curves]] = {}
    for task in tasks:
        baseline, *others = settings[task]
        print(f"\n{task}: start and end, difference to {baseline} [95%, t over seeds], share of its completions")
        for name in MEASURED:
            found = curves(out, task, name, settings[task], seeds)
            base = found[baseline]
            if not len(base):
                print(f"{name:15} n = 0: no seed is finished with every credit")
                continue
            print(f"{name:15} n = {len(base)}  start {base[:, 0].mean():.4f}  {baseline} {base[:, -1].mean():.4f}")
            for credit in others:
                line = f"{'':15} {credit:10} {found[credit][:, -1].mean():.4f}  "
                line += _difference(found[credit][:, -1] - base[:, -1])
                if name in LOWER_IS_BETTER and credit != CEILING and base.shape == found[credit].shape:
                    value, low, high = share(base, found[credit], lower=LOWER_IS_BETTER[name])
                    line += f"  {value:.2f} [{low:.2f}, {high:.2f}]"
                print(line)
        _report_recalibrated(out, task, settings[task], seeds)
        lines = {credit: setting for credit, setting in settings[task].items() if credit != CEILING}
        drawn[task] = {name: curves(out, task, name, lines, seeds) for name in DRAWN}
    draw(out / "credit.png", drawn, EVERY)
    for task in tasks:
        print(f"page: polymode compare {out / task} --out {out / task}-page")


def _report_recalibrated(out: Path, task: str, settings: Mapping[str, Setting], seeds: Sequence[int]) -> None:
    """Means over the seeds that every credit has."""
    folders = [[folder_of(out, task, setting, seed) for setting in settings.values()] for seed in seeds]
    rows_SC = [
        [runs.read_json(folder / RECALIBRATED) for folder in of_seed]
        for of_seed in folders
        if all((folder / RECALIBRATED).exists() for folder in of_seed)
    ]
    for name in RECALIBRATIONS if rows_SC else ():
        for figure in ("brier", "ece"):
            means = (np.mean([row_C[c][f"{figure}_{name}"] for row_C in rows_SC]) for c in range(len(settings)))
            line = "  ".join(f"{credit} {mean:.4f}" for credit, mean in zip(settings, means, strict=True))
            print(f"recalibrated, {figure} by {name:9} n = {len(rows_SC)}  {line}")


def _difference(gain_N: np.ndarray) -> str:
    """Mean of paired differences with Student's interval."""
    from scipy.stats import t

    n = len(gain_N)
    half = float(t.ppf(0.975, n - 1)) * gain_N.std(ddof=1) / n**0.5 if n > 1 else float("nan")
    return f"{gain_N.mean():+.4f} [{gain_N.mean() - half:+.4f}, {gain_N.mean() + half:+.4f}]"


def choose(out: Path, asked: Sequence[Mapping[str, Any]]) -> None:
    """What each candidate reaches on validation questions; the best of each task and credit goes to `CHOSEN`."""
    best: dict[str, tuple[float, float]] = {}
    for one in asked:
        setting = Setting(**one["setting"])
        path = folder_of(out, one["task"], setting, one["seed"]) / CURVE
        if path.exists():
            last = list(runs.read_jsonl(path))[-1]
            value = last["coverage"] - last["brier"]
            print(f"{one['task']:16}{setting.name:32} coverage - Brier {value:.4f}, ECE {last['ece']:.4f}")
            key = f"{one['task']}/{setting.credit}"
            best[key] = max(best.get(key, (-np.inf, 0.0)), (value, setting.rate))
    stored = runs.read_json(out / CHOSEN) if (out / CHOSEN).exists() else {}
    runs.write_json(out / CHOSEN, stored | {key: rate for key, (_, rate) in best.items()})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs") / "credit", help="folder of the runs")
    parser.add_argument("--tasks", nargs="+", default=["harder-clinic", "harder-hops"], choices=list(TASKS))
    parser.add_argument("--credits", nargs="+", default=list(CREDITS), help="the first is the baseline")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=0, help="of each run; 0 means the recipe's")
    parser.add_argument("--warm-start-steps", type=int, default=0, help="0 means the recipe's")
    parser.add_argument("--ceiling-questions", type=int, default=6000, help="whose verdicts the ceiling learns from")
    parser.add_argument("--data", help="folder of the task's data, for ddxplus")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at once, one thread each")
    parser.add_argument("--choose", action="store_true", help="run and show the candidate learning rates instead")
    parser.add_argument("--only-report", action="store_true")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        run_one(**json.loads(options.job))
        return 0
    credits = list(dict.fromkeys(credit for credit in options.credits if credit != CEILING))
    if not credits:
        parser.error("--credits: name at least one credit to start the ceiling from")
    has_ceiling = CEILING in options.credits and not options.choose
    out: Path = options.out / (CHOICE if options.choose else "comparison")
    settings = {task: {credit: setting_of(options.out, task, credit) for credit in credits} for task in options.tasks}
    if has_ceiling:
        for own in settings.values():
            own[CEILING] = Setting(CEILING, own[credits[-1]].rate, {"of": credits[-1]})

    supervision = {"questions": options.ceiling_questions, "steps": -(-options.ceiling_questions // 20)}
    size = {"steps": options.steps, "data": options.data, "warm_start_steps": options.warm_start_steps}
    size[CEILING] = supervision  # three passes over the questions, 64 a step

    def ask(task: str, setting: Setting, seed: int) -> dict[str, Any]:
        split = "validation" if options.choose else "test"
        own = {"task": task, "setting": asdict(setting), "seed": seed, "out": str(out), "split": split}
        return {**own, "size": size}

    seeds = [CHOICE_SEED] if options.choose else options.seeds
    asked, ceilings = [], []
    for seed in seeds:  # one seed of everything before the next
        for task in options.tasks:
            for credit in credits:
                chosen = settings[task][credit]
                candidates = [replace(chosen, rate=rate) for rate in RATES] if options.choose else [chosen]
                asked += [ask(task, setting, seed) for setting in candidates]
            if has_ceiling:
                start = asdict(settings[task][credits[-1]])
                ceilings.append({**ask(task, settings[task][CEILING], seed), "ceiling_of": start})
    failed: list[Path] = []
    if not options.only_report:
        # Made once, before the runs need them.
        demonstrated = ("format", "confidence_questions")  # what a warm start depends on
        first = {(one["task"], one["seed"], *map(one["setting"]["options"].get, demonstrated)): one for one in asked}
        warm = [job_of({**one, "is_warm_start": True}) for one in first.values()]
        failed = run_jobs(warm, options.workers, label="warm starts")
        failed = failed or run_jobs([job_of(one) for one in asked], options.workers, label="runs")
        failed = failed or run_jobs([job_of(one) for one in ceilings], options.workers, label="ceilings")
    if options.choose:
        choose(out, asked)
    else:
        report(out, options.tasks, settings, seeds)
    print_failures(failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
