"""The sampling temperature of single-answer arms, chosen on validation questions.

What K independent samples find depends on how far they differ, and a temperature that suits training is not the one
that suits K samples. So each view of a single-answer model answers validation questions at every temperature of a small
grid, and the one with the highest coverage at K is used for the test questions. ``temperature.json`` in the folder of
the view says what was tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.errors import RunIncompleteError
from polymode.types import Completion, Example

TEMPERATURES = (0.7, 1.0, 1.3, 1.6)
"""The grid."""
FILE = "temperature.json"


def choose_temperature(
    folder: Path,
    temperatures: Sequence[float],
    examples: Sequence[Example],
    sample: Callable[[Sequence[Example], float], list[Completion]],
    coverage: Callable[[list[Completion]], float],
) -> float:
    """The temperature with the highest coverage, the lowest of equal ones; written to ``folder`` and read from there.

    Args:
        folder: of the view.
        temperatures: the grid, at least one.
        examples: validation questions.
        sample: completions of questions at a temperature.
        coverage: mean coverage of completions at K; NaN is never chosen.
    """
    path = folder / FILE
    if path.exists():
        return float(runs.read_json(path)["temperature"])
    reached = {heat: coverage(sample(examples, heat)) for heat in sorted(temperatures)}
    best = max(reached, key=lambda heat: -math.inf if math.isnan(reached[heat]) else reached[heat])
    content: Mapping[str, Any] = {
        "temperature": best,
        "chosen_by": "coverage",
        "split": "validation",
        "questions": len(examples),
        "tried": [{"temperature": heat, "coverage": value} for heat, value in reached.items()],
    }
    runs.write_json(path, content)
    return best


def chosen_temperatures(folders: Sequence[Path]) -> list[float]:
    """What was chosen for views, in increasing order; empty where nothing was."""
    found = set()
    for folder in folders:
        try:
            found.add(float(runs.read_json(folder / FILE)["temperature"]))
        except (FileNotFoundError, RunIncompleteError):
            continue
    return sorted(found)
