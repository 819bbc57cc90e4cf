"""Run the arms of an experiment side by side, one process each, and write the report.

Every arm writes to its own folder and log; a stopped experiment goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError, PolymodeError, RunExistsError
from polymode.reproduce import devices
from polymode.reproduce.experiment import Experiment
from polymode.reproduce.plans import PRETRAINED, Arm, Plan, plans
from polymode.reproduce.smollm2 import default_folder, make_folder
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import task_for

log = logging.getLogger(__name__)
_POLL_SECONDS = 1.0


class ArmFailedError(PolymodeError, RuntimeError):
    """The process of an arm ended with an error."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How the arms of an experiment are started."""

    experiment: str
    data: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of `polymode.reproduce.experiment.Experiment`, by name."""
    workers: int = 1
    """Arms at once."""
    device: str | None = None
    """auto, cpu or cuda; None leaves the choice to torch."""
    gpus: tuple[str, ...] = ()

    def job(self, plan: Plan, arm: Arm, root: Path) -> str:
        """What the process of an arm is told."""
        values = {"experiment": self.experiment, "data": self.data, "options": self.options, "parent": os.getpid()}
        return json.dumps(runs.to_json({**values, "plan": plan.name, "arm": arm.folder, "root": root}))

    def environment(self, slot: int, *, is_awaited: bool = False) -> dict[str, str]:
        """Variables of the process in the ``slot``-th place; one that others wait for has all cores meanwhile."""
        threads = max(1, (os.cpu_count() or 1) // (1 if is_awaited else self.workers))
        own = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
        return {**os.environ, **own, **devices.environment(self.device, self.gpus, slot)}


def reproduce(
    name: str,
    out: Path,
    *,
    resume: bool = False,
    data: Path | None = None,
    workers: int = 0,
    only: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Run an experiment and return its reports.

    Args:
        name: quick, lab, harder-lab, ddxplus, paper or smollm2.
        out: folder of the experiment.
        resume: go on in an existing folder.
        data: folder of the task's data, for experiments that need one.
        workers: arms at once; 0 means one per core, or per GPU for pretrained models, where there are some.
        only: run just the plan of this task, or the arm of this name with the one that it starts from.
        options: of `polymode.reproduce.experiment.Experiment`, by name; for paper and smollm2.

    Raises:
        ConfigError: unknown experiment, part or option, or a folder made with other options.
        DataNotFoundError: the data of the task, or the model, are not there.
        RunExistsError: the folder exists and ``resume`` is False, or another process runs this experiment.
        ArmFailedError: an arm ended with an error, raised when all others are finished and on the page.
    """
    every = plans(name, data, options)
    parts = list(_parts(every, only))
    if not parts:
        raise ConfigError(f"{only!r} is not a part of {name}: use one of {', '.join(part_names(every))}")
    if out.exists() and any(out.iterdir()) and not resume:
        raise RunExistsError(f"folder {out} exists already: pass --resume to go on, or choose another --out")
    launch = Launch(name, data, dict(options or {}), workers or os.cpu_count() or 1)
    if name in PRETRAINED:
        experiment = Experiment(**(options or {}))
        gpus = devices.chosen(experiment.device)
        launch = Launch(
            name, data, launch.options, workers or len(gpus) or os.cpu_count() or 1, experiment.device, gpus
        )
        _check_same(out, {"experiment": name, "data": data, **experiment.content})
        parts = [part for part in parts if _has_data(part[0], skip=len(parts) > 1)]
        runs.create(out, {"experiment": name, "data": data, **experiment.content}, resume=True)
        if data is not None:
            _record_data(out, data)
    reports, failures = [], []
    with runs.alone(out / runs.CONFIG):
        for plan, arms in parts:
            try:
                reports.append(_run_plan(launch, plan, arms, out if len(every) == 1 else out / plan.name))
            except ArmFailedError as exc:  # the other parts do not need it
                failures.append(exc)
    if failures:
        raise failures[0]
    return reports


def part_names(every: Sequence[Plan]) -> list[str]:
    """What ``only`` may name."""
    names = [name for plan in every for name in (plan.name, plan.task)]
    return list(dict.fromkeys([*names, *(arm.name for plan in every for arm in plan.arms)]))


def _parts(every: Sequence[Plan], only: str | None) -> Iterator[tuple[Plan, tuple[Arm, ...]]]:
    """The plans to run, each with its arms to run."""
    for plan in every:
        if only in (None, plan.name, plan.task):
            yield plan, plan.arms
        elif chosen := [arm for arm in plan.arms if arm.name == only]:
            needed = {arm.starts_from for arm in chosen}
            yield plan, tuple(arm for arm in plan.arms if arm in chosen or arm.folder in needed)


def _check_same(out: Path, content: Mapping[str, Any]) -> None:
    """A folder belongs to one experiment; going on with other options would mix two."""
    if not (out / runs.CONFIG).exists():
        return
    stored = runs.read_configuration(out).config
    for name, value in runs.to_json(content).items():
        is_begun_without = name == "data" and stored.get(name) is None  # with a part that needs none
        if name in stored and stored[name] != value and not is_begun_without:
            raise ConfigError(
                f"{name} = {value!r} differs from the experiment's {stored[name]!r}: go on with the same options, or "
                f"choose another --out than {out}"
            )


def _record_data(out: Path, data: Path) -> None:
    """A folder begun without data belongs to those that it goes on with: other ones are refused from then on."""
    stored = runs.read_json(out / runs.CONFIG)
    if stored["config"].get("data") is None:
        runs.write_json(out / runs.CONFIG, {**stored, "config": {**stored["config"], "data": str(data)}})


def _has_data(plan: Plan, *, skip: bool) -> bool:
    """Whether the task's data are there; without them it is left out, or with ``skip`` False an error."""
    try:
        task_for(plan.arms[0].recipe)
    except DataNotFoundError as exc:
        if not skip:
            raise
        log.warning("%s is left out: %s", plan.name, exc)
        return False
    return True


def _run_plan(launch: Launch, plan: Plan, arms: Sequence[Arm], root: Path) -> Path:
    from polymode.reproduce.pages import write_page

    started = time.perf_counter()
    root.mkdir(parents=True, exist_ok=True)
    model = plan.arms[0].recipe.model
    if model is None or (model == str(default_folder()) and not default_folder().exists()):
        # In a process of its own, so that its memory is free again before the arms start.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as own:
            for recipe in _warm_starts(arms):
                own.submit(_prepare, recipe).result()
    failure = _run_arms(launch, plan, arms, root)
    report = root / runs.REPORT
    if any(_is_done(root, arm) for arm in plan.arms):
        command = f"polymode reproduce {launch.experiment}{_flags(launch)}"
        report = write_page(plan, root, command=command, seconds=time.perf_counter() - started)
    if failure is not None:
        raise failure
    return report


def _warm_starts(arms: Sequence[Arm]) -> list[Recipe]:
    """A recipe of each model that arms start from; seeds may start from models of their own."""
    return list({(arm.recipe.model, arm.recipe.warm_start_seed): arm.recipe for arm in arms}.values())


def _flags(launch: Launch) -> str:
    """The options as flags, as the page shows them."""
    words = []
    for name, value in launch.options.items():
        values = [f"{key}={one}" for key, one in value.items()] if isinstance(value, Mapping) else [str(value)]
        words += [f"--{name.replace('_', '-')}", *values] if values else []
    return "".join(f" {word}" for word in words)


def _prepare(recipe: Recipe) -> None:
    """Make the model that all arms start from, once, before they need it."""
    from polymode.training.warm_start import lab_model

    if recipe.model is None:
        lab_model(task_for(recipe), recipe)
    else:
        make_folder(default_folder())


def _run_arms(launch: Launch, plan: Plan, arms: Sequence[Arm], root: Path) -> ArmFailedError | None:
    """Run the arms that are not finished; what went wrong, if anything did."""
    waiting = [arm for arm in arms if not _is_done(root, arm)]
    running: dict[int, tuple[Path, subprocess.Popen[bytes]]] = {}  # by slot
    failed: list[Path] = []
    # A model behind a server is not trained: what takes the time are its replies.
    amount, unit = (_steps_done, "step") if any(arm.steps for arm in arms) else (_completions_done, " completions")
    total = sum(arm.steps or (0 if unit == "step" else plan.completions(arm)) for arm in arms)
    with tqdm(total=total, desc=plan.name, unit=unit, initial=amount(root, arms)) as bar:
        try:
            while waiting or running:
                for slot in sorted(set(range(launch.workers)) - running.keys()):
                    if arm := next((arm for arm in waiting if _is_ready(root, arm)), None):
                        waiting.remove(arm)
                        is_awaited = any(one.starts_from == arm.folder for one in waiting)
                        running[slot] = (arm.folder, _start(launch, plan, arm, root, slot, is_awaited=is_awaited))
                if not running:  # what the others start from has failed
                    break
                time.sleep(_POLL_SECONDS)
                for slot in [slot for slot, (_, process) in running.items() if process.poll() is not None]:
                    folder, process = running.pop(slot)
                    if process.returncode:
                        failed.append(folder)
                bar.n = amount(root, arms)
                bar.set_postfix_str(", ".join(str(folder) for folder, _ in running.values()), refresh=True)
        finally:
            for _, process in running.values():
                process.terminate()
    if not failed:
        return None
    text = root / failed[0] / "log.txt"
    tail = text.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["no output"]
    others = f", {len(waiting)} start from them" if waiting else ""
    return ArmFailedError(
        f"{len(failed)} of {len(plan.arms)} arms failed{others}, first {failed[0]}: {tail[0]} (see {text})"
    )


def _start(launch: Launch, plan: Plan, arm: Arm, root: Path, slot: int, *, is_awaited: bool) -> subprocess.Popen[bytes]:
    folder = root / arm.folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("ab") as text:
        return subprocess.Popen(
            [sys.executable, "-m", "polymode.reproduce.worker", launch.job(plan, arm, root)],
            stdout=text,
            stderr=text,
            stdin=subprocess.DEVNULL,
            env=launch.environment(slot, is_awaited=is_awaited),
        )


def _is_ready(root: Path, arm: Arm) -> bool:
    """Whether the model is there that the arm starts from."""
    from polymode.warmup import MODEL

    return arm.starts_from is None or (root / arm.starts_from / MODEL).exists()


def _is_done(root: Path, arm: Arm) -> bool:
    return all((root / arm.folder / view.name / runs.METRICS).exists() for view in arm.views)


def _steps_done(root: Path, arms: Sequence[Arm]) -> int:
    files = [root / arm.folder / runs.TRAIN_METRICS for arm in arms]
    return sum(path.read_bytes().count(b"\n") for path in files if path.exists())


def _completions_done(root: Path, arms: Sequence[Arm]) -> int:
    folders = [root / arm.folder / view.name for arm in arms for view in arm.views]
    names = (runs.COMPLETIONS, f"{runs.COMPLETIONS}.part")
    files = [place / name for folder in folders for place in (folder, folder / "deep") for name in names]
    return sum(path.read_bytes().count(b"\n") for path in files if path.exists())
