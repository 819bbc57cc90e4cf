"""Run folders that follow the contracts of metrics.json, judged.jsonl, completions.jsonl and metrics.jsonl."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.report.arms import Arm

CONDITIONS: tuple[str, ...] = (
    "influenza",
    "common cold",
    "pneumonia",
    "covid-19",
    "bronchitis",
    "asthma",
    "pulmonary embolism",
    "gerd",
)
MakeArm = Callable[..., Arm]


def evaluation_folder(
    folder: Path,
    *,
    k: int = 3,
    pooled: bool = False,
    confidence: bool = True,
    coverage: float = 2.0,
    tokens: float = 30.0,
    seed: int = 0,
    n_questions: int = 40,
    hostile: str = "",
) -> Path:
    """Write an evaluation whose numbers hang together loosely around ``coverage`` and ``tokens``."""
    rng = random.Random(f"{folder.name}{seed}")
    coverage += rng.uniform(-0.05, 0.05)

    def entry(value: float | None, spread: float = 0.05, n: int = n_questions) -> dict[str, Any]:
        if value is None:
            return {"value": None, "low": None, "high": None, "n": 0, "n_unscored": 0}
        return {"value": value, "low": value * (1 - spread), "high": value * (1 + spread), "n": n, "n_unscored": 0}

    def stated(value: float) -> dict[str, Any]:
        return entry(value if confidence else None)

    unique = 4 + 4 * coverage
    metrics = {
        "coverage": entry(coverage), "recall": entry(coverage / 3.4), "precision": entry(coverage / k),
        "any_hit": entry(0.97, 0.01), "pass@1": entry(0.8), "pass@2": entry(0.9), "pass@4": entry(0.95),
        **{f"coverage@{i}": entry(coverage * i / k) for i in range(1, k + 1)},
        "best_coverage": entry(2.6), "coverage_of_best": entry(coverage / 2.6),
        "uniqueness": entry(0.4 if pooled else 0.99, 0.01), "unique_answers@30": entry(unique),
        "overlap_3gram": entry(0.61), "overlap_jaccard": entry(0.44), "overlap_rouge_l": entry(0.58),
        "ece": stated(0.021), "ece_debiased": stated(0.012),
        "brier": stated(0.13), "brier_constant": entry(0.22),
        "brier_floor": entry(0.12), "brier_gap_closed": stated(0.89), "auroc": stated(0.87), "nll": stated(0.41),
        "kl": stated(0.08), "total_variation": stated(0.11), "expected_hits_bias": stated(-0.04), "aurc": stated(0.09),
        "mean_sum_confidence": stated(coverage * 0.98), "mean_hits": entry(coverage),
        "tokens_per_completion": entry(tokens / (k if pooled else 1)), "tokens_per_set": entry(tokens),
        "tokens_per_reference": entry(tokens / coverage), "malformed_rate": entry(0.002),
    }  # fmt: skip
    weights = {u: math.exp(-0.5 * ((u - unique) / 2.2) ** 2) for u in range(1, 31)}
    curves: dict[str, Any] = {
        "unique_references": [
            {"answers": m, **_interval(3.4 * (1 - math.exp(-m * coverage / (3.4 * k))))} for m in range(k, 31, k)
        ],
        "coverage_at": [{"n": n, **_interval(coverage * n / k)} for n in range(1, k + 1)],
        "unique_answers_histogram": [
            {"unique": u, "questions": round(n_questions * w / sum(weights.values()))} for u, w in weights.items()
        ],
        "reliability": [], "expected_hits": [], "risk_coverage": [], "sum_by_n_true": [],
    }  # fmt: skip
    if confidence:
        for b in range(10):
            count = 0 if b == 7 else round(400 * math.exp(-b / 3)) + 30
            q = b / 10 + 0.05
            curves["reliability"].append(
                {"low": b / 10, "high": (b + 1) / 10, "count": count}
                | ({"confidence": q, "hit_rate": min(1, q + rng.uniform(-0.06, 0.06))} if count else
                   {"confidence": None, "hit_rate": None})
            )  # fmt: skip
            low = k * b / 10
            curves["expected_hits"].append(
                {"low": low, "high": low + k / 10, "count": 40 * b, "expected": low + k / 20 if b else None,
                 "hits": low + k / 20 + rng.uniform(-0.1, 0.1) if b else None}
            )  # fmt: skip
        curves["risk_coverage"] = [{"coverage": c / 50, "risk": 0.3 * (c / 50) ** 2} for c in range(1, 51)]
        curves["sum_by_n_true"] = [
            {"n_true": n, "count": 60, "mean_sum_confidence": 0.6 + 0.55 * n, "mean_hits": 0.8 * n} for n in range(1, 6)
        ]
    samples = 30 // (1 if pooled else k)
    view = {
        "k": k, "pooled": pooled, "has_confidence": confidence, "n_questions": n_questions,
        "n_completions": n_questions * samples, "n_sets": n_questions * 10, "n_unscored": 0,
        "statuses": {"clean": n_questions * samples - 3, "partial": 0, "malformed": 2, "truncated": 1},
    }  # fmt: skip
    runs.write_json(folder / runs.METRICS, {"view": view, "metrics": metrics, "curves": curves})
    _write_completions(folder, rng, 1 if pooled else k, 3, confidence, n_questions, hostile)
    return folder


def training_folder(folder: Path, *, top: float = 2.0, seed: int = 0, steps: int = 120) -> Path:
    """Write a noisy rising training curve; the first line lacks its Brier score."""
    rng = random.Random(seed)
    rows = []
    for step in range(1, steps + 1):
        at = 1 - math.exp(-step / 40)
        rows.append({
            "step": step, "completions": 64 * step, "reward": top * (0.5 + at / 2) + 1 + rng.gauss(0, 0.1),
            "coverage": top * (0.5 + at / 2) + rng.gauss(0, 0.1), "brier": 0.25 - 0.1 * at + rng.gauss(0, 0.01),
            "malformed": 0.01, "tokens": 30, "seconds": step * 1.5,
        })  # fmt: skip
    del rows[0]["brier"]
    runs.write_jsonl(folder / runs.TRAIN_METRICS, rows)
    runs.write_json(
        folder / runs.CONFIG,
        {
            "config": {"method": folder.name, "steps": steps},
            "made_with": {"python": "3.11", "versions": {"torch": "2"}},
        },
    )
    return folder


def _interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.06, "high": value + 0.06}


def _write_completions(
    folder: Path, rng: random.Random, k: int, samples: int, confidence: bool, n_questions: int, hostile: str
) -> None:
    completions, judged = [], []
    for q in range(n_questions):
        order = random.Random(q).sample(CONDITIONS, len(CONDITIONS))
        raw = [0.55, 0.22, 0.12, 0.06, 0.03, 0.02, 0.0, 0.0]
        references = [{"text": name, "aliases": [], "weight": raw[i]} for i, name in enumerate(order[:3])]
        age = random.Random(q).randint(4, 88)
        question = (
            f"A patient aged {age} has fever , dry cough and muscle aches for three days ; no rash , no chest pain . "
            f"Which conditions explain this ?{hostile}"
        )
        for sample in range(samples):
            answers: list[str] = rng.choices(order[:6], weights=[9, 5, 3, 2, 1, 1], k=k)
            if k > 1:
                answers = list(dict.fromkeys(answers + order))[:k]
            answers[-1] += hostile
            found: set[int] = set()
            hits, matches, verdicts = [], [], []
            for name in answers:
                ref = order.index(name) if name in order[:3] else None
                hits.append(int(ref is not None and ref not in found))
                matches.append(ref)
                verdicts.append("correct" if ref is not None else "wrong")
                found |= {ref} if ref is not None else set()
            confidences = [round(rng.uniform(0.05, 0.95), 2) if confidence else None for _ in answers]
            text = f"<think> fever and dry cough speak for {order[0]} ; aches fit{hostile} </think> ..."
            is_bad = q == n_questions // 2 and sample == 0
            completions.append({
                "id": f"q{q:04d}", "question": question, "references": references, "exclusive": False,
                "distribution": dict(zip(order, raw, strict=True)), "completion": text, "k": k,
                "confidence": confidence, "sample": sample, "n_tokens": 34, "finished": True,
            })  # fmt: skip
            judged.append({
                "id": f"q{q:04d}", "sample": sample, "k": k, "status": "malformed" if is_bad else "clean",
                "reason": "confidence2 is missing" if is_bad else "", "answers": [] if is_bad else answers,
                "confidences": [] if is_bad else confidences, "verdicts": [] if is_bad else verdicts,
                "hits": [] if is_bad else hits, "matches": [] if is_bad else matches,
                "duplicates": [] if is_bad else [None] * k, "n_references": 3, "p_correct": None,
                "score": 0.0 if is_bad else float(sum(hits)), "terms": {}, "n_tokens": 34, "text_end": None,
            })  # fmt: skip
    runs.write_jsonl(folder / runs.COMPLETIONS, completions)
    runs.write_jsonl(folder / runs.JUDGED, judged)


def build_arm(
    root: Path, label: str, method: str, *, seeds: int = 1, trained: bool = True, hostile: str = "", **numbers: Any
) -> Arm:
    """An arm with its folders under ``root``."""
    slug = f"{re.sub(r'[^a-z-]+', '', method)[:20]}-{len(list(root.iterdir())) if root.exists() else 0}"
    return Arm(
        label=label,
        method=method,
        seeds=tuple(
            evaluation_folder(root / f"{slug}-eval{s}", seed=s, hostile=hostile, **numbers) for s in range(seeds)
        ),
        train=tuple(
            training_folder(root / f"{slug}-train{s}", top=numbers.get("coverage", 2.0), seed=s) for s in range(seeds)
        )
        if trained
        else (),
    )


@pytest.fixture
def make_arm(tmp_path: Path) -> MakeArm:
    """`build_arm` in the test's own folder."""

    def make(label: str, method: str, **numbers: Any) -> Arm:
        return build_arm(tmp_path, label, method, **numbers)

    return make
