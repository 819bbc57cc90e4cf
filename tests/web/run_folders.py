"""Run folders for the pages, evaluated for real, small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from polymode import runs
from polymode.evaluation import evaluate
from polymode.types import Completion, Example, Reference

REFERENCES = {"q1": ("flu", "cold"), "q2": ("gout",), "q3": ("measles",)}


def answers(*pairs: tuple[str, float], thought: str = "hm") -> str:
    """A clean completion."""
    slots = "".join(
        f"<answer{i}>{a}</answer{i}><confidence{i}>{q}</confidence{i}>" for i, (a, q) in enumerate(pairs, 1)
    )
    return f"<think>{thought}</think>{slots}"


GOOD = {
    "q1": [answers(("flu", 0.9), ("cold", 0.4))],
    "q2": [answers(("sprain", 0.85), ("gout", 0.1))],
    "q3": [answers(("rubeola", 0.3), ("Rubeola", 0.2))],
}
"""Found both; a wrong answer said surely; nothing right, and a repeat."""
POOR = {
    "q1": [answers(("flu", 0.9), ("gout", 0.4))],
    "q2": [answers(("gout", 0.9), ("flu", 0.1))],
    "q3": ["no answer at all"],
}


def write_run(
    folder: Path,
    texts: Mapping[str, Sequence[str]] = GOOD,
    *,
    questions: Mapping[str, str] | None = None,
    references: Mapping[str, Sequence[str]] | None = None,
    p_correct: Mapping[str, float] | None = None,
) -> Path:
    """Completions of two answers by question, with the evaluation beside them."""
    known = {**REFERENCES, **(references or {})}
    completions = [
        Completion(
            example=Example(
                id_,
                (questions or {}).get(id_, f"What is it, {id_}?"),
                tuple(map(Reference, known.get(id_, ("flu",)))),
                p_correct=p_correct,
            ),
            text=text,
            k=2,
            has_confidence=True,
            sample=sample,
            n_tokens=20,
        )
        for id_, own in texts.items()
        for sample, text in enumerate(own)
    ]
    runs.write_jsonl(folder / runs.COMPLETIONS, (runs.completion_to_row(c) for c in completions))
    evaluate(completions, n_boot=20).write(folder)
    return folder


def write_training(folder: Path, **config: object) -> Path:
    """What training leaves in ``folder`` besides the model."""
    runs.write_json(folder / runs.CONFIG, {"config": {"method": "multi-rlcr", "task": "clinic", "k": 2, **config}})
    runs.write_jsonl(folder / runs.TRAIN_METRICS, [{"step": s, "reward": 1.0 + s, "coverage": 1.0} for s in (1, 2, 3)])
    return folder
