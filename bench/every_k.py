"""One model for every K against one model per K: what does it cost to choose K at run time?

    python bench/every_k.py --out runs/every-k

Trains one model whose K is sampled per question from 1..5 and stated in the prompt (``k_choices``), and one model for
each K in ``--fixed``, all by the lab's clinic recipe and for equally many completions; then prompts every model for K
answers on the same test questions. A model for K = 1 is single-rlvr or single-rlcr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from side_by_side import Job, print_failures, run_jobs

from polymode import runs
from polymode.reproduce.plans import CLINIC
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import task_for, verifier_for

EVERY_K = (1, 2, 3, 4, 5)
QUESTIONS = 1000
QUESTIONS_SEED = 1
SAMPLING_SEED = 20_260
SHOWN = ("coverage", "coverage_of_best", "pass@1", "uniqueness", "brier", "ece", "malformed_rate")
RESULT = "every_k.json"


def recipe_of(method: str, k: int, seed: int, steps: int) -> Recipe:
    """A model for one K, or for all of them (k = 0)."""
    if k == 1:
        return replace(CLINIC, method=method.replace("multi", "single"), seed=seed, max_steps=steps)
    base = replace(CLINIC, method=method, seed=seed, max_steps=steps)
    return replace(base, k_choices=EVERY_K) if k == 0 else replace(base, k=k)


def run_one(folder: str, method: str, k: int, seed: int, steps: int) -> None:
    """What a process does: train, then ask for each K that the model was trained for."""
    from polymode.training.rl import train

    recipe = recipe_of(method, k, seed, steps)
    model = train(recipe, Path(folder), resume=True)
    asked = EVERY_K if k == 0 else (k,)
    runs.write_json(Path(folder) / RESULT, {str(each): measure(recipe, model, each) for each in asked})


def measure(recipe: Recipe, model: Path, k: int) -> dict[str, Any]:
    """Figures of a model that is asked for ``k`` answers."""
    from lab_answers import lab_answers

    from polymode.evaluation import evaluate

    completions = lab_answers(recipe, model, "test", QUESTIONS, seed=QUESTIONS_SEED, sampling_seed=SAMPLING_SEED, k=k)
    metrics = evaluate(completions, verifier=verifier_for(recipe, task_for(recipe))).metrics
    return {name: asdict(metrics[name]) for name in SHOWN if name in metrics}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs") / "every-k", help="folder of the runs")
    parser.add_argument("--method", default="multi-rlvr", choices=["multi-rlvr", "multi-rlcr"])
    parser.add_argument("--fixed", nargs="*", type=int, default=list(EVERY_K), help="models for one K to compare with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=CLINIC.max_steps)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at once, one thread each")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        run_one(**json.loads(options.job))
        return 0
    folders = {k: options.out / options.method / (f"k{k}" if k else "every-k") for k in (0, *options.fixed)}
    jobs = []
    for k, folder in folders.items():
        asked = {
            "folder": str(folder),
            "method": options.method,
            "k": k,
            "seed": options.seed,
            "steps": options.steps,
        }
        jobs.append(Job((__file__, "--job", json.dumps(asked)), folder / "log.txt", folder / RESULT))
    failed = run_jobs(jobs[:1], 1) or run_jobs(jobs[1:], options.workers)  # the first makes the warm start
    print(f"{'K':>2} {'model':8}" + "".join(f"{name:>26}" for name in SHOWN))
    for each in EVERY_K:
        for k, folder in folders.items():
            if (folder / RESULT).exists() and str(each) in (found := runs.read_json(folder / RESULT)):
                cells = "".join(f"{_cell(found[str(each)].get(name)):>26}" for name in SHOWN)
                print(f"{each:>2} {f'K = {k}' if k else 'every K':8}{cells}")
    print_failures(failed)
    return 1 if failed else 0


def _cell(metric: dict[str, Any] | None) -> str:
    if metric is None or metric["value"] is None:
        return "-"
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
