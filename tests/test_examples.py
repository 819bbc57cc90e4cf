"""The examples run as they stand, and print what they promise."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def run_python(*args: str | Path, folder: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_score_one_completion(root: Path) -> None:
    script = root / "examples" / "score_one_completion.py"
    # coverage 2 (influenza, covid); Brier ((.7 - 1)^2 + (.5 - 1)^2 + (.1 - 0)^2) / 3 = (.09 + .25 + .01) / 3 = .1167
    assert run_python(script) == (
        "status clean, total 2.8833\n"
        "  coverage +2.0000\n"
        "  brier    -0.1167\n"
        "  format   +1.0000\n"
        "  the Flu    q = 0.7  correct\n"
        "  COVID-19   q = 0.5  correct\n"
        "  influenza  q = 0.1  correct, but found already\n"
    )
    assert len(script.read_text().splitlines()) <= 20
    assert "torch" not in imported(script)


def test_the_minimal_loop_finds_the_likely_answers_and_learns_their_probabilities(root: Path) -> None:
    script = root / "examples" / "minimal_loop.py"
    assert len(script.read_text().splitlines()) < 150
    shown = run_python(script, "--steps", "200")
    steps = re.findall(r"step +(\d+)  coverage (\S+)  brier (\S+)", shown)
    assert [int(step) for step, _, _ in steps] == [50, 100, 150, 200]
    best = re.search(r"best possible  coverage (\S+)  brier (\S+)", shown)
    assert best is not None
    assert float(steps[-1][1]) > 0.9 * float(best[1])
    assert float(steps[-1][2]) < 0.65 * float(steps[0][2])
    stated = re.findall(r"(\w+) +says (\S+), true (\S+)", shown)
    assert {"flu", "covid", "asthma", "reflux", "gout"} <= {name for name, _, _ in stated}
    assert all(abs(float(said) - float(truth)) < 0.12 for _, said, truth in stated)


def test_own_task(root: Path, tmp_path: Path) -> None:
    # Test numbers 10, 20 .. 190. First text: 10 and 5 always right, 10/2 repeats 5. Second: 1 always, 4 for the 9
    # multiples of 20, 7 for 70 and 140. Coverage (19 x 2 + 19 + 9 + 2) / 38; a third of the first text is repeated.
    script = root / "examples" / "own_task.py"
    shown = run_python(script, tmp_path)
    assert shown.startswith("38 sets of 3, 19 questions, 38 completions\n")
    metrics = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert metrics["coverage"]["value"] == pytest.approx(68 / 38)
    assert metrics["uniqueness"]["value"] == pytest.approx((2 / 3 + 1) / 2)
    assert "torch" not in imported(script)


def imported(script: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names
