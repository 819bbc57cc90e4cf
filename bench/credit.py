"""Credit per term against one advantage for a whole completion: how many completions until the same level?

    python bench/credit.py --out runs/credit                          both tasks, five seeds: hours on two cores
    python bench/credit.py --out runs/credit --tasks diagnosis --seeds 0 1 --steps 80
    python bench/credit.py --out runs/credit --choose                 learning rates first, on a seed of its own
    python bench/credit.py --out runs/credit --only-report            the table and figure of what is there

Every run is `polymode train` with the lab's recipe of its task, multi-rlcr, and differs in credit, learning rate and
seed alone. What is compared are the figures of the training completions, which are of questions never seen before:
Brier score and coverage, as means over ``WINDOW`` steps. "Reached" is the first step from which on the mean over seeds
is at least as good as sequence's at its end. Runs are processes of one thread; the same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from polymode import runs

RECIPES = {"diagnosis": "clinic-diagnosis", "hops": "hops"}
RATES: Mapping[tuple[str, str], float] = {
    ("diagnosis", "sequence"): 4e-4,
    ("diagnosis", "term"): 4e-4,
    ("hops", "sequence"): 4e-4,
    ("hops", "term"): 4e-4,
}
"""Learning rates, each the best of ``CANDIDATES`` on seed ``CHOICE_SEED``, whose questions no other run has."""
CANDIDATES = (2e-4, 4e-4, 8e-4)
CHOICE_SEED = 100
CREDITS = ("sequence", "term")
WINDOW = 10
LOWER_IS_BETTER = {"brier": True, "coverage": False}


def folder_of(out: Path, task: str, credit: str, rate: float, seed: int) -> Path:
    return out / task / f"{credit}-{rate:g}" / f"seed-{seed}"


def start(folder: Path, task: str, credit: str, rate: float, seed: int, steps: int | None) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    recipe = Path(__file__).resolve().parents[1] / "recipes" / f"{RECIPES[task]}.yaml"
    flags = ["--out", str(folder / "run"), "--resume", "--credit", credit]
    flags += ["--learning-rate", f"{rate:g}", "--seed", str(seed), *(["--steps", str(steps)] if steps else [])]
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "polymode", "train", str(recipe), *flags],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )


def run_all(jobs: Sequence[tuple[Path, str, str, float, int]], steps: int | None, workers: int) -> None:
    """Run what is not finished, side by side; the first run of a task goes alone, because it makes the warm start."""
    waiting = deque(job for job in jobs if not (job[0] / "run" / "model" / "config.json").exists())
    running: list[tuple[str, Path, subprocess.Popen[bytes]]] = []
    begun: set[str] = set()
    with tqdm(total=len(jobs), initial=len(jobs) - len(waiting), unit="run") as bar:
        try:
            while waiting or running:
                task = waiting[0][1] if waiting else ""
                alone = task not in begun and any(name == task for name, _, _ in running)
                if waiting and len(running) < workers and not alone:
                    folder, task, credit, rate, seed = waiting.popleft()
                    running.append((task, folder, start(folder, task, credit, rate, seed, steps)))
                    continue
                time.sleep(1)
                for name, folder, process in list(running):
                    if (folder / "run" / runs.TRAIN_METRICS).exists():
                        begun.add(name)
                    if process.poll() is not None:
                        running.remove((name, folder, process))
                        bar.update()
                        if process.returncode:
                            print(f"failed: see {folder / 'log.txt'}", file=sys.stderr)
        finally:
            for _, _, process in running:
                process.terminate()


def curves(out: Path, task: str, credit: str, rate: float, name: str, seeds: Sequence[int]) -> np.ndarray:
    """``name`` of every finished seed, smoothed over `WINDOW` steps, shape (seeds, steps)."""
    found = []
    for seed in seeds:
        folder = folder_of(out, task, credit, rate, seed) / "run"
        if (folder / "model" / "config.json").exists():
            values = np.array([line.get(name, np.nan) for line in runs.read_jsonl(folder / runs.TRAIN_METRICS)])
            found.append(np.convolve(values, np.ones(WINDOW) / WINDOW, mode="valid"))
    return np.array(found)


def reached(curve: np.ndarray, level: float, *, lower: bool) -> float:
    """Steps (end of the window) after which the curve stays at or beyond ``level``; NaN when it never does."""
    good = curve <= level if lower else curve >= level
    bad = np.flatnonzero(~good)
    first = 0 if len(bad) == 0 else int(bad[-1]) + 1
    return first + WINDOW if first < len(curve) else float("nan")


def report(out: Path, tasks: Sequence[str], seeds: Sequence[int]) -> None:
    print(
        f"{'task':10}{'figure':10}{'n':>5}{'sequence':>18}{'term':>18}{'steps':>8}{'reached by term':>18}{'share':>8}"
    )
    for task in tasks:
        rates = {credit: RATES[task, credit] for credit in CREDITS}
        for name, lower in LOWER_IS_BETTER.items():
            found = {credit: curves(out, task, credit, rates[credit], name, seeds) for credit in CREDITS}
            if not all(len(curve) for curve in found.values()):
                print(f"{task:10}{name:10}    0  not finished")
                continue
            mean = {credit: curve.mean(0) for credit, curve in found.items()}
            level, steps = mean["sequence"][-1], len(mean["sequence"]) + WINDOW - 1
            # The level itself is noisy: within one standard error of the mean over seeds counts as reached.
            n = len(found["sequence"])
            slack = found["sequence"][:, -1].std(ddof=1) / n**0.5 if n > 1 else 0.0
            at = reached(mean["term"], level + (slack if lower else -slack), lower=lower)
            ends = [curve[:, -1] for curve in found.values()]
            cells = "".join(f"{end.mean():>9.4f} ±{_error(end):>7.4f}" for end in ends)
            print(f"{task:10}{name:10}{n:>5}{cells}{steps:>8}{at:>17g}{at / steps:>8.2f}")
    draw(out, tasks, seeds)


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


def draw(out: Path, tasks: Sequence[str], seeds: Sequence[int]) -> None:
    """Curves over completions with a band of one standard deviation over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(tasks), 2, figsize=(10, 3.4 * len(tasks)), squeeze=False)
    for row, task in zip(axes, tasks, strict=True):
        for axis, name in zip(row, LOWER_IS_BETTER, strict=True):
            for credit in CREDITS:
                found = curves(out, task, credit, RATES[task, credit], name, seeds)
                if len(found):
                    steps = np.arange(found.shape[1]) + WINDOW
                    axis.plot(steps, found.mean(0), label=f"{credit} ({len(found)} seeds)")
                    axis.fill_between(steps, found.mean(0) - found.std(0), found.mean(0) + found.std(0), alpha=0.2)
            axis.set(title=task, xlabel="step (equal completions)", ylabel=name)
            axis.legend()
    figure.tight_layout()
    figure.savefig(out / "credit.png", dpi=120)
    print(f"figure: {out / 'credit.png'}")


def choose(out: Path, tasks: Sequence[str]) -> None:
    """Final Brier score and coverage of every candidate learning rate."""
    for task in tasks:
        for credit in CREDITS:
            for rate in CANDIDATES:
                last = {name: curves(out, task, credit, rate, name, [CHOICE_SEED]) for name in LOWER_IS_BETTER}
                if all(len(curve) for curve in last.values()):
                    values = ", ".join(f"{name} {curve[0, -1]:.4f}" for name, curve in last.items())
                    print(f"{task} {credit} {rate:g}: {values}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs") / "credit")
    parser.add_argument("--tasks", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=None, help="of each run; the recipe's by default")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--choose", action="store_true", help="run and show the candidate learning rates instead")
    parser.add_argument("--only-report", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [
        (folder_of(options.out, task, credit, rate, seed), task, credit, rate, seed)
        for task in options.tasks
        for seed in ([CHOICE_SEED] if options.choose else options.seeds)
        for credit in CREDITS
        for rate in (CANDIDATES if options.choose else [RATES[task, credit]])
    ]
    if not options.only_report:
        run_all(jobs, options.steps, options.workers)
    if options.choose:
        choose(options.out, options.tasks)
    else:
        report(options.out, options.tasks, options.seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
