"""Every objective side by side on the lab's clinic and hops: one table.

    python bench/objectives.py --out runs/objectives                       all of it, hours on two cores
    python bench/objectives.py --out runs/objectives --tasks hops --objectives multi-rlcr log other --seeds 0
    python bench/objectives.py --out runs/objectives --steps 0             no run, only the table of finished runs

Each run trains by the lab's recipe of its task with one option changed, then answers the test questions as
`polymode reproduce lab` does: OUT/TASK/OBJECTIVE/seed-S/ is a training run's folder with its evaluation in it, which
`polymode compare` reads as well. Runs are processes of one thread each. The same command resumes where it stopped;
a run that fails is named at the end and does not affect the others.

Objectives without confidences have no Brier score and no ECE. Where several answers can be right (clinic), `any`,
`count/N` and `vector` are allowed beside a calibration term only with weights that drown it, so they train multi-rlvr
there; on hops, with one right answer, they are the count.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from side_by_side import Job, print_failures, run_jobs

from polymode import runs
from polymode.errors import PolymodeError
from polymode.reproduce.plans import CLINIC, HOPS, Arm, Plan, arm
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import task_for

TASKS: Mapping[str, Recipe] = {"clinic": CLINIC, "hops": HOPS}

OBJECTIVES: Mapping[str, dict[str, Any]] = {
    "multi-rlcr": {},
    "count-per-k": {"coverage": "count/K"},
    "log": {"confidence_score": "log"},
    "spherical": {"confidence_score": "spherical"},
    "exclusive": {"confidences": "exclusive"},
    "other": {"confidences": "exclusive", "confidence_score": "other"},
    "repeat": {"repeat_penalty": 0.25},
    "explore-batch": {"exploration": "batch"},
    "explore-historical": {"exploration": "historical"},
    "multi-rlvr": {"method": "multi-rlvr"},
    "any": {"method": "multi-rlvr", "coverage": "any"},
    "count-per-n": {"method": "multi-rlvr", "coverage": "count/N"},
    "vector": {"method": "multi-rlvr", "coverage": "vector"},
    "multi-coverage-at-k": {"method": "multi-rlvr", "objective": "coverage@k"},
    "single-rlvr": {"method": "single-rlvr"},
    "single-pass-at-k": {"method": "single-rlvr", "objective": "pass@k"},
    "single-coverage-at-k": {"method": "single-rlvr", "objective": "coverage@k"},
    "batch": {"scale_rewards": "batch"},
    "group": {"scale_rewards": "group", "allow_group_scale": True},
    "term": {"credit": "term"},
    "term-x4": {"credit": "term", "confidence_credit": 4.0},
    "term-batch": {"credit": "term", "scale_rewards": "batch"},
    "term-group": {"credit": "term", "scale_rewards": "group", "allow_group_scale": True},
}
"""Options that differ from the recipe, whose method is multi-rlcr. The last six are `scale_rewards` x `credit`."""

NOT_ON: Mapping[str, frozenset[str]] = {
    "clinic": frozenset({"exclusive", "other"}),
    "hops": frozenset({"any", "count-per-n", "vector", "single-coverage-at-k"}),
}
"""Objectives that are refused on a task, or are another one there."""

METRICS = {
    "coverage": "coverage",
    "uniqueness": "uniqueness",
    "brier": "Brier",
    "ece": "ECE",
    "kl": "KL",
    "pass@1": "top-1",
}


def build_arm(task: str, objective: str, seed: int, steps: int, warm_start_steps: int) -> Arm:
    """The run of one objective; with small groups pass@k looks at two completions."""
    options = dict(OBJECTIVES[objective])
    base = TASKS[task]
    base = replace(base, max_steps=steps or base.max_steps, warm_start_steps=warm_start_steps or base.warm_start_steps)
    if "objective" in options and base.num_generations <= 4:
        options["objective_k"] = 2
    plain = arm(base, options.pop("method", "multi-rlcr"), seed)
    return replace(plain, name=objective, recipe=replace(plain.recipe, **options))


def run_one(job: Mapping[str, Any]) -> int:
    """What a process of its own does: warm start, or one arm."""
    from polymode.reproduce.arms import run_arm

    chosen = build_arm(job["task"], job["objective"], job["seed"], job["steps"], job["warm_start_steps"])
    try:
        if job["is_warm_start"]:
            from polymode.training.warm_start import lab_model

            lab_model(task_for(chosen.recipe), chosen.recipe)
        else:
            plan = Plan(
                job["task"],
                (chosen,),
                questions=job["questions"],
                deep_questions=max(1, job["questions"] // 10),
                n_boot=200,
            )
            run_arm(plan, chosen, Path(job["root"]))
    except PolymodeError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


def result_of(folder: Path) -> Path:
    """metrics.json of a run's one view."""
    view = "samples" if folder.parent.name.startswith("single") else "set"
    return folder / view / runs.METRICS


def job_of(asked: Mapping[str, Any]) -> Job:
    """The process of `run_one`."""
    arguments = (__file__, "--job", json.dumps(asked))
    if asked["is_warm_start"]:
        return Job(arguments, Path(asked["root"]) / "warm-start.txt", None)
    folder = Path(asked["folder"])
    return Job(arguments, folder / "log.txt", result_of(folder))


def print_table(out: Path, tasks: Sequence[str]) -> None:
    """Means over the seeds that are finished, with their standard deviation."""
    print(f"\n{'task':8}{'objective':22}{'seeds':>6}" + "".join(f"{name:>16}" for name in METRICS.values()))
    for task in tasks:
        for objective in OBJECTIVES:
            found = [runs.read_json(path)["metrics"] for path in _results(out / task / objective)]
            if found:
                cells = "".join(f"{_cell([one.get(name) for one in found]):>16}" for name in METRICS)
                print(f"{task:8}{objective:22}{len(found):>6}{cells}")


def _results(folder: Path) -> list[Path]:
    seeds = sorted(folder.glob("seed-*"), key=lambda path: int(path.name.removeprefix("seed-")))
    return [path for path in map(result_of, seeds) if path.exists()]


def _cell(metrics: Sequence[Mapping[str, Any] | None]) -> str:
    values = [metric["value"] for metric in metrics if metric is not None and metric["value"] is not None]
    if not values:
        return "-"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs") / "objectives", help="folder of the runs")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES), choices=list(OBJECTIVES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=None, help="of each run; default the recipe's, 0 runs nothing")
    parser.add_argument("--warm-start-steps", type=int, default=0, help="of the shared start; 0 means the recipe's")
    parser.add_argument("--questions", type=int, default=1000, help="test questions of each run")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at once, one thread each")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        return run_one(json.loads(options.job))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a kill ends the runs too
    jobs = [
        {
            "task": task,
            "objective": objective,
            "seed": seed,
            "steps": options.steps or 0,
            "warm_start_steps": options.warm_start_steps,
            "questions": options.questions,
            "root": str(options.out / task),
            "folder": str(options.out / task / objective / f"seed-{seed}"),
            "is_warm_start": False,
        }
        for seed in options.seeds  # one seed of everything before the next
        for task in options.tasks
        for objective in options.objectives
        if objective not in NOT_ON[task]
    ]
    failed: list[Path] = []
    if options.steps != 0:
        first = {job["task"]: job for job in jobs}  # a warm start is made once, before its runs need it
        failed = run_jobs([job_of({**job, "is_warm_start": True}) for job in first.values()], 1, label="warm starts")
        failed = failed or run_jobs([job_of(job) for job in jobs], options.workers)
    print_table(options.out, options.tasks)
    print_failures(failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
