"""`polymode evaluate --engine ray` on a local Ray cluster: the files of the local engine, and what may go wrong."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.errors import ConfigError, WorkerDiedError
from polymode.evaluation import evaluate_into

from .packages import package
from .shared_completions import GROUP, K, N, rows

ray = package("ray", "ray")


MODULE = """
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from polymode.errors import VerifierFault


@dataclass(frozen=True)
class Odd:
    # Fails on one text, or ends its process on it so many times, which it counts in the folder.
    text: str
    deaths: int = 0
    folder: Path = Path()

    def same(self, a, b):
        if self.text in (a, b):
            n = len(list(self.folder.glob("died-*")))
            if not self.deaths:
                raise VerifierFault("no idea")
            if n < self.deaths:
                (self.folder / f"died-{n}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return a == b

    def matches(self, answer, reference):
        return any(self.same(answer, name) for name in reference.names)


class Slow(Odd):
    def prepare(self, items):
        return self

    def at(self, example):
        return self
"""
"""Verifiers in a file of their own, which workers find where this process does."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "odd_verifiers.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("odd_verifiers")


@pytest.fixture
def completions(tmp_path: Path) -> Path:
    """The shared completions as a file."""
    path = tmp_path / "completions.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i, (text, references) in enumerate(rows()):
            question = {"id": f"q{i // GROUP}", "question": f"Which is number {i // GROUP}?", "references": references}
            file.write(json.dumps({**question, "sample": i % GROUP, "k": K, "completion": text}) + "\n")
    return path


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymode.evaluation.folder.BATCH", 100)
    monkeypatch.setattr("polymode.runs.completion_blocks.BLOCK", 50_000)
    monkeypatch.setenv("RAY_ADDRESS", "local")  # never a cluster that happens to run here


def files(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in (runs.JUDGED, runs.METRICS)]


def test_evaluation_gives_the_files_of_the_local_engine(tmp_path: Path, completions: Path, odd: Any) -> None:
    how = {"verifier": odd.Odd("gout"), "n_boot": 50}
    evaluate_into(tmp_path / "here", completions, **how)  # type: ignore[arg-type]
    evaluate_into(tmp_path / "ray", completions, engine="ray", workers=2, **how)  # type: ignore[arg-type]
    assert files(tmp_path / "here") == files(tmp_path / "ray")
    assert not ray.is_initialized()


def test_evaluation_goes_on_after_a_worker_that_died(tmp_path: Path, completions: Path, odd: Any) -> None:
    """Ray gives its part to another one; nothing is counted twice."""
    verifier = odd.Odd("sepsis", deaths=2, folder=tmp_path)
    evaluate_into(tmp_path / "ray", completions, engine="ray", workers=2, verifier=verifier, n_boot=50)
    assert len(list(tmp_path.glob("died-*"))) == 2
    evaluate_into(tmp_path / "here", completions, verifier=verifier, n_boot=50)
    assert files(tmp_path / "here") == files(tmp_path / "ray")


def test_evaluation_keeps_what_is_finished_when_workers_go_on_dying(
    tmp_path: Path, completions: Path, odd: Any
) -> None:
    row = {"id": "last", "question": "?", "references": ["deadly"], "k": 1, "completion": "<answer>gout</answer>"}
    with completions.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    # Ray tries a part four times.
    verifier, out = odd.Odd("deadly", deaths=4, folder=tmp_path), tmp_path / "ray"
    with pytest.raises(WorkerDiedError, match=r"died again and again .* go on with --resume") as caught:
        evaluate_into(out, completions, engine="ray", workers=2, verifier=verifier)
    assert "\n" not in str(caught.value)
    assert (out / "judged.jsonl.part").read_bytes().count(b"\n") - 1 == N
    assert not (out / runs.JUDGED).exists()
    evaluate_into(out, completions, engine="ray", workers=2, verifier=verifier, resume=True, n_boot=50)
    evaluate_into(tmp_path / "here", completions, verifier=verifier, n_boot=50)
    assert files(tmp_path / "here") == files(out)


def test_evaluation_says_what_does_not_go(
    tmp_path: Path, completions: Path, odd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="engine = 'spark' is not known"):
        evaluate_into(tmp_path / "x", completions, engine="spark")
    with pytest.raises(ConfigError, match="has workers of its own"):
        evaluate_into(tmp_path / "x", completions, engine="ray", verifier=odd.Slow("?"))

    class Local(odd.Odd):
        pass

    with pytest.raises(ConfigError, match="cannot travel to a cluster"):
        evaluate_into(tmp_path / "x", completions, engine="ray", workers=1, verifier=Local("?"))


def test_evaluation_without_a_cluster(tmp_path: Path, completions: Path) -> None:
    args = [
        sys.executable,
        "-m",
        "polymode",
        "evaluate",
        str(completions),
        "--engine",
        "ray",
        "--out",
        str(tmp_path / "x"),
    ]
    environment = {**os.environ, "RAY_ADDRESS": "127.0.0.1:9"}
    done = subprocess.run(args, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "no Ray cluster is at RAY_ADDRESS = '127.0.0.1:9'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
