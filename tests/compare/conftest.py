"""Evaluation folders of an experiment, written by hand and evaluated for real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymode import runs
from polymode.evaluation import evaluate
from polymode.types import Completion, Example, Reference

REFERENCES = {"q1": ("a", "b", "c"), "q2": ("d", "e", "f")}


def write_run(
    folder: Path,
    answers: Mapping[str, Sequence[str]],
    *,
    k: int = 1,
    pool: int = 1,
    tokens: int = 10,
    confidences: Sequence[float] | None = None,
    votes: bool = False,
) -> Path:
    """Completions with the evaluation beside them.

    Args:
        folder: where to.
        answers: by question, one text for each completion, answers separated by a blank.
        k: answers in a completion.
        pool: completions of one set.
        tokens: of every completion.
        confidences: of the answers of each completion.
        votes: confidences are shares of votes.
    """
    completions = [
        Completion(
            example=Example(id_, f"Which? {id_}", tuple(map(Reference, REFERENCES.get(id_, ("a",))))),
            text=_text(text.split(), confidences),
            k=k,
            has_confidence=confidences is not None,
            sample=sample,
            n_tokens=tokens,
        )
        for id_, texts in answers.items()
        for sample, text in enumerate(texts)
    ]
    runs.write_jsonl(folder / runs.COMPLETIONS, (runs.completion_to_row(c) for c in completions))
    how: dict[str, Any] = {"pooled": True, "k": pool} if pool > 1 else {}
    evaluate(completions, **how, confidence_from="votes" if votes else "stated", n_boot=50).write(folder)
    return folder


def write_training(folder: Path, method: str, k: int) -> Path:
    """What training leaves in ``folder`` besides the model."""
    runs.write_json(folder / runs.CONFIG, {"config": {"method": method, "k": k}})
    runs.write_jsonl(folder / runs.TRAIN_METRICS, [{"step": s, "reward": 1.0, "coverage": 1.0} for s in (1, 2)])
    return folder


def _text(answers: Sequence[str], confidences: Sequence[float] | None) -> str:
    parts = []
    for i, answer in enumerate(answers, 1):
        n = "" if len(answers) == 1 else str(i)
        parts.append(f"<answer{n}>{answer}</answer{n}>")
        if confidences is not None:
            parts.append(f"<confidence{n}>{confidences[i - 1]}</confidence{n}>")
    return "".join(parts)
