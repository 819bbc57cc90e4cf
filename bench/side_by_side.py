"""Measurements that consist of many single-threaded processes: unfinished ones run in parallel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """One process."""

    arguments: tuple[str, ...]
    """For Python."""
    log: Path
    """What it prints is added here."""
    done: Path | None
    """A file that is there once the job is finished; None: it runs every time."""


def run_jobs(jobs: Sequence[Job], workers: int, *, label: str = "") -> list[Path]:
    """Run what is not finished, ``workers`` at once; returns the logs of what failed. An end of this ends the jobs."""
    waiting = deque(job for job in jobs if job.done is None or not job.done.exists())
    failed: list[Path] = []
    running: list[tuple[Job, subprocess.Popen[bytes]]] = []
    with tqdm(total=len(jobs), initial=len(jobs) - len(waiting), unit="run", desc=label or None) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    job = waiting.popleft()
                    running.append((job, _start(job)))
                time.sleep(POLL_SECONDS)
                for job, process in list(running):
                    if process.poll() is not None:
                        running.remove((job, process))
                        failed += [job.log] if process.returncode else []
                        bar.update()
        finally:
            for _, process in running:
                process.terminate()
    return failed


def print_failures(logs: Sequence[Path]) -> None:
    """The last line of each log."""
    for log in logs:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["no output"]
        print(f"failed: {last[0]} (see {log})", file=sys.stderr)


def _start(job: Job) -> subprocess.Popen[bytes]:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *job.arguments],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
