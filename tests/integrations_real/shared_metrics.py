"""The shared completions as questions of a file, and the metrics that every evaluator is compared with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from polymode import runs
from polymode.evaluation import evaluate, read_completions
from polymode.uncertainty import Estimate

from .shared_completions import GROUP, K, rows


def write_questions(folder: Path) -> Path:
    """A folder for the task ``records``, one question for each group."""
    lines = [
        json.dumps({"question": f"Which is number {i // GROUP}?", "references": references})
        for i, (_, references) in enumerate(rows())
        if i % GROUP == 0
    ]
    (folder / "test.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def question_number(prompt: str) -> int:
    """Which question a prompt asks."""
    return int(prompt.split("Which is number ")[1].split("?")[0])


def texts_of(question: int) -> list[str]:
    """The completions of a question."""
    return [text for text, _ in rows()[question * GROUP : (question + 1) * GROUP]]


@cache
def expected_metrics() -> Mapping[str, float]:
    """What `polymode evaluate` gives for the completions by themselves."""
    folder = Path(__file__).parent
    lines = [
        {"question": f"Which is number {i // GROUP}?", "references": references, "completion": text, "k": K}
        for i, (text, references) in enumerate(rows())
    ]
    completions = [
        runs.completion_of({"id": f"q{i // GROUP}", "sample": i % GROUP, "confidence": True, **line}, str(folder))
        for i, line in enumerate(lines)
    ]
    return defined(evaluate(completions, n_boot=0).metrics)


def metrics_of_log(log: Path, folder: Path) -> Mapping[str, float]:
    """What `polymode evaluate` gives for a log."""
    imported = runs.import_log(log, folder)
    assert imported.notes == ()
    return defined(evaluate(read_completions(imported.path), n_boot=0).metrics)


def defined(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Values of the metrics that have one."""
    return {name: one.value for name, one in estimates.items() if one.n and not math.isnan(one.value)}
