"""Cores and requests are counted for the machine and the run, not for each of their processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from polymode.cores import cores, n_processes_of_run
from polymode.evaluation.engines import LARGE, n_workers
from polymode.sandbox import Sandbox
from polymode.verifiers.judge import JudgeVerifier
from polymode.verifiers.text import TextVerifier

NAMES = (
    "LOCAL_WORLD_SIZE",
    "LOCAL_SIZE",  # deepspeed/launcher/launch.py of DeepSpeed 0.19.8 sets this one and not torchrun's
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "SLURM_STEP_TASKS_PER_NODE",
    "POLYMODE_PROCESSES",
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """128 cores, for this process and for its launcher."""
    for name in (*NAMES, "MV2_COMM_WORLD_LOCAL_SIZE", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(128)))
    return monkeypatch


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("processes", "expected"), [("8", 16), ("1", 128), ("3", 42), ("500", 1), ("", 128)])
def test_processes_share_the_cores_of_a_machine(
    machine: pytest.MonkeyPatch, name: str, processes: str, expected: int
) -> None:
    machine.setenv(name, processes)
    assert cores() == expected
    assert n_workers(None, LARGE, TextVerifier()) == expected


def test_tasks_of_slurm_and_what_a_person_says(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("SLURM_STEP_TASKS_PER_NODE", "4(x2),2")
    assert cores() == 32
    machine.setenv("LOCAL_WORLD_SIZE", "8")  # one task of Slurm that has started torchrun
    assert cores() == 16
    machine.setenv("POLYMODE_PROCESSES", "64")
    assert cores() == 2


def test_the_processes_that_verl_starts_share_the_cores(root: Path) -> None:
    config = yaml.safe_load((root / "examples/verl/polymode.yaml").read_text())
    variables = config["ray_kwargs"]["ray_init"]["runtime_env"]["env_vars"]
    assert variables["POLYMODE_PROCESSES"] == str(config["reward"]["num_workers"])  # Ray takes texts only


def test_a_process_that_was_bound_has_its_own_cores(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("LOCAL_WORLD_SIZE", "8")
    machine.setattr(os, "sched_getaffinity", lambda pid: set(range(16, 32)) if pid == 0 else set(range(128)))
    assert cores() == 16


def test_a_container_of_few_cores_is_shared(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("LOCAL_WORLD_SIZE", "4")
    machine.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7, 9, 11, 13, 15, 17})
    assert cores() == 2


def test_a_machine_without_affinities(machine: pytest.MonkeyPatch) -> None:
    machine.delattr(os, "sched_getaffinity")
    machine.setattr(os, "cpu_count", lambda: 12)
    machine.setenv("LOCAL_WORLD_SIZE", "4")
    assert cores() == 3
    machine.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_workers_of_a_sandbox_are_those_of_the_machine(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    machine.setenv("LOCAL_WORLD_SIZE", "2")
    with Sandbox(unsafe_local=True) as shared, Sandbox(3, unsafe_local=True) as named:
        assert (len(shared._workers), len(named._workers)) == (2, 3)


def test_requests_to_a_judge_are_those_of_the_run(machine: pytest.MonkeyPatch) -> None:
    options = {"base_url": "http://localhost:1/v1", "model": "m", "concurrency": 8, "requests_per_minute": 90}
    machine.setenv("WORLD_SIZE", "3")
    judge = JudgeVerifier(**options)
    assert (n_processes_of_run(), judge._concurrency, judge._endpoint._interval) == (3, 2, 2.0)
    machine.setenv("POLYMODE_PROCESSES", "4")
    assert JudgeVerifier(**options)._concurrency == 2
    machine.setenv("WORLD_SIZE", "64")
    assert JudgeVerifier(**options)._concurrency == 1


def test_a_launcher_says_how_many_it_starts() -> None:
    # The variable is that of torchrun, with which accelerate starts its processes.
    code = "from polymode.cores import cores; print(cores())"
    alone = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    shared = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LOCAL_WORLD_SIZE": str(alone)},
    )
    assert int(shared.stdout) == 1
