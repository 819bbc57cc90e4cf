"""Run the arms of an experiment side by side, one process each, and write the report.

Every arm writes to its own folder and log; a stopped experiment goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from polymode import runs
from polymode.errors import PolymodeError, RunExistsError
from polymode.reproduce.plans import Arm, Plan, plans
from polymode.training.recipe import Recipe, task_for

_POLL_SECONDS = 1.0


class ArmFailedError(PolymodeError, RuntimeError):
    """The process of an arm ended with an error."""


def reproduce(
    name: str, out: Path, *, resume: bool = False, data: Path | None = None, workers: int = 0, only: str | None = None
) -> list[Path]:
    """Run an experiment and return its reports.

    Args:
        name: quick, lab or ddxplus.
        out: folder of the experiment.
        resume: go on in an existing folder.
        data: folder of the task's data, for experiments that need one.
        workers: arms at once, one CPU thread each; 0 means one per core.
        only: run just the plan of this task.

    Raises:
        ConfigError: unknown experiment or task.
        RunExistsError: the folder exists and ``resume`` is False.
        ArmFailedError: an arm ended with an error; the other arms' work is kept.
    """
    every = plans(name, data)
    if out.exists() and any(out.iterdir()) and not resume:
        raise RunExistsError(f"folder {out} exists already: pass --resume to go on, or choose another --out")
    return [
        _run_plan(name, plan, out if len(every) == 1 else out / plan.name, data, workers or os.cpu_count() or 1)
        for plan in every
        if only in (None, plan.name, plan.task)
    ]


def _run_plan(name: str, plan: Plan, root: Path, data: Path | None, workers: int) -> Path:
    from polymode.reproduce.pages import write_page

    started = time.perf_counter()
    root.mkdir(parents=True, exist_ok=True)
    recipe = plan.arms[0].recipe
    if recipe.model is None:
        # In a process of its own, so that its memory is free again before the arms start.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as own:
            own.submit(_warm_start, recipe).result()
    _run_arms(name, plan, root, data, workers)
    return write_page(plan, root, command=f"polymode reproduce {name}", seconds=time.perf_counter() - started)


def _warm_start(recipe: Recipe) -> None:
    """Make the shared warm start once, before the arms need it."""
    from polymode.training.rl import lab_model

    lab_model(task_for(recipe), recipe)


def _run_arms(name: str, plan: Plan, root: Path, data: Path | None, workers: int) -> None:
    waiting = deque(arm for arm in plan.arms if not _is_done(root, arm))
    running: dict[Path, subprocess.Popen[bytes]] = {}
    failed: list[Path] = []
    steps = sum(arm.recipe.max_steps for arm in plan.arms if arm.is_trained)
    with tqdm(total=steps, desc=plan.name, unit="step", initial=_steps_done(root, plan)) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    arm = waiting.popleft()
                    running[arm.folder] = _start(name, plan, arm, root, data, workers)
                time.sleep(_POLL_SECONDS)
                for folder in [folder for folder, process in running.items() if process.poll() is not None]:
                    if running.pop(folder).returncode:
                        failed.append(folder)
                bar.n = _steps_done(root, plan)
                bar.set_postfix_str(", ".join(map(str, running)), refresh=True)
        finally:
            for process in running.values():
                process.terminate()
    if failed:
        log = root / failed[0] / "log.txt"
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise ArmFailedError(f"{len(failed)} of {len(plan.arms)} arms failed, first {failed[0]}: {tail[0]} (see {log})")


def _start(name: str, plan: Plan, arm: Arm, root: Path, data: Path | None, workers: int) -> subprocess.Popen[bytes]:
    folder = root / arm.folder
    folder.mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // workers)
    job = {"experiment": name, "plan": plan.name, "arm": arm.folder, "root": root, "data": data}
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "polymode.reproduce.worker", json.dumps(runs.to_json(job))],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"},
        )


def _is_done(root: Path, arm: Arm) -> bool:
    return all((root / arm.folder / view.name / runs.METRICS).exists() for view in arm.views)


def _steps_done(root: Path, plan: Plan) -> int:
    files = [root / arm.folder / runs.TRAIN_METRICS for arm in plan.arms]
    return sum(path.read_bytes().count(b"\n") for path in files if path.exists())
