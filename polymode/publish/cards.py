"""The text of cards: README.md with the hub's metadata in front (layer L5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from polymode.report.table import EMPTY, write_number
from polymode.report.words import group_metrics, row_of
from polymode.runs import Metrics

NOT_STATED = "not stated"
_HEADLINE = ("coverage", "brier", "ece", "auroc")
"""Metrics that the hub's own table shows."""


def card(metadata: Mapping[str, Any], title: str, parts: Sequence[str]) -> str:
    """A whole README.md; parts are sections in Markdown."""
    front = yaml.safe_dump({k: v for k, v in metadata.items() if v}, sort_keys=False, allow_unicode=True, width=110)
    return f"---\n{front}---\n\n# {one_line(title)}\n\n" + "\n\n".join(part.strip() for part in parts) + "\n"


def license_of(text: str) -> str:
    """The license that the metadata of a card names; "" for none."""
    front = text[4:].partition("\n---\n")[0] if text.startswith("---\n") else ""
    try:
        metadata = yaml.safe_load(front)
    except yaml.YAMLError:
        return ""
    return str(metadata.get("license") or "") if isinstance(metadata, Mapping) else ""


def metrics_section(label: str, metrics: Metrics) -> str:
    """The table of one evaluation: value, 95% interval, n, unscored ones; why a value is missing."""
    lines = [
        f"### {one_line(label)}",
        "",
        _view(metrics),
        "",
        "| metric | | value | 95% interval | n | unscored |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for group, names in group_metrics(list(metrics.metrics)):
        for name in names:
            one, row = metrics.metrics[name], row_of(name)
            has_interval = math.isfinite(one.low) and math.isfinite(one.high)
            ends = [write_number(end, row.decimals) for end in (one.low, one.high)]
            interval = f"{ends[0]} to {ends[1]}" if has_interval else EMPTY
            value = write_number(one.value, row.decimals)
            label_of = cell(row.label or group)
            lines.append(f"| {cell(name)} | {label_of} | {value} | {interval} | {one.n:,} | {one.n_unscored:,} |")
    return "\n".join(lines)


def model_index(name: str, evaluations: Mapping[str, Metrics], task: str) -> list[dict[str, Any]]:
    """The headline numbers in the hub's own form; undefined ones are left out."""
    results = []
    for label, metrics in evaluations.items():
        numbers = [
            {"type": key, "name": row_of(key).label or key, "value": round(metrics.metrics[key].value, 6)}
            for key in _HEADLINE
            if key in metrics.metrics and math.isfinite(metrics.metrics[key].value)
        ]
        if numbers:
            data = {"name": f"{task}: {label}", "type": task}
            results.append({"task": {"type": "text-generation"}, "dataset": data, "metrics": numbers})
    return [{"name": name, "results": results}] if results else []


def _view(metrics: Metrics) -> str:
    view = metrics.view
    named = {"n_questions": "questions", "n_completions": "completions"}
    counts = [f"{view[name]:,} {what}" for name, what in named.items() if isinstance(view.get(name), int)]
    verifier = view.get("verifier")
    judged = verifier.get("name") if isinstance(verifier, Mapping) else verifier
    parts = [f"K = {view['k']}" if view.get("k") else "", *counts, f"verifier {judged}" if judged else ""]
    if view.get("pooled"):
        how = "samples of one answer, pooled"
    else:
        how = f"sets pooled from {metrics.pool} completions" if metrics.pool > 1 else "sets of one completion"
    return cell(", ".join(part for part in [how, *parts] if part)) + "."


def one_line(text: str) -> str:
    """White space of any kind as single blanks."""
    return " ".join(str(text).split())


def cell(text: str) -> str:
    """A text for a cell of a table: neither ends it nor is read as HTML."""
    return one_line(text).replace("|", "\\|").replace("<", "&lt;")
