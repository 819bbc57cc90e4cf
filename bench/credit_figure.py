"""The figure of `bench/credit.py`: curves over completions with a band of one standard deviation over the seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np


def draw(path: Path, found: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], every: int) -> None:
    """``found``: of each task and figure, the curves of each credit, shape (seeds, kept models)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = {task: of for task, of in found.items() if any(len(c) for curves in of.values() for c in curves.values())}
    if not shown:
        return
    figure, axes = plt.subplots(len(shown), 2, figsize=(10, 3.4 * len(shown)), squeeze=False)
    for row, (task, of) in zip(axes, shown.items(), strict=True):
        for axis, (name, curves) in zip(row, of.items(), strict=True):
            for credit, curve in curves.items():
                steps, mean, band = every * np.arange(curve.shape[1]), curve.mean(0), curve.std(0)
                (line,) = axis.plot(steps, mean, label=f"{credit} ({len(curve)} seeds)")
                axis.fill_between(steps, mean - band, mean + band, alpha=0.2, color=line.get_color())
                if credit == "sequence":
                    axis.axhline(mean[-1], linewidth=0.8, linestyle=":", color=line.get_color())
            axis.set(title=task, xlabel="step (equal completions)", ylabel=name)
            axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"figure: {path}")
