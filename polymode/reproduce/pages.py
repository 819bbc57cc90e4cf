"""From the folders of an experiment to its report: which arms the page shows, and the facts beside them."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from polymode import runs
from polymode.reproduce.plans import Arm, Plan, View
from polymode.rewards import METHODS

_TEXT = {
    "clinic": "Patients of the lab's clinic. Every condition whose exact posterior reaches 3% is a right answer.",
    "clinic-diagnosis": (
        "Patients of the lab's clinic with one right answer each: the condition that was drawn. The exact posterior is "
        "the true probability of every answer, so honest confidences are known."
    ),
    "ddxplus": "Synthetic patients of DDXPlus. Every condition of the differential above its threshold is right.",
}
_TABLE = (
    *("coverage", "coverage_of_best", "recall", "precision", "pass@1", "uniqueness", "unique_answers@30"),
    *("overlap_rouge_l", "brier", "brier_constant", "brier_floor", "brier_gap_closed", "brier_gap_closed_expected"),
    *("ece", "ece_debiased", "auroc", "kl", "total_variation", "mean_sum_confidence", "mean_hits"),
    *("tokens_per_set", "tokens_per_reference", "aurc", "malformed_rate"),
)
"""Metrics of ``table.md``, the same table as text."""


def write_page(plan: Plan, root: Path, *, command: str, seconds: float) -> Path:
    """Write ``report.html`` below ``root`` from the arms' folders."""
    from polymode.report.arms import Arm as Column
    from polymode.report.examples import pick_examples
    from polymode.report.page import write_report
    from polymode.report.table import table_markdown

    grouped: dict[tuple[str, str], list[Arm]] = {}
    for arm in plan.arms:
        for view in arm.views:
            grouped.setdefault((arm.name, view.name), []).append(arm)
    columns, folders = [], {}
    for (name, view_name), arms in grouped.items():
        view = next(view for view in arms[0].views if view.name == view_name)
        seeds = tuple(root / arm.folder / view_name for arm in arms)
        columns.append(
            Column(
                label=_label(arms[0], view),
                method=_kind(arms[0], view),
                seeds=seeds,
                train=tuple(root / arm.folder for arm in arms if arm.is_trained),
                k=plan.k if view.pool > 1 else view.answers,
            )
        )
        folders[name, view_name] = seeds[0]
    multi = folders.get((f"multi-rlcr-k{plan.k}", "set"))
    single = folders.get(("single-rlvr", "samples")) or folders.get(("single-rlcr", "samples"))
    examples = pick_examples(multi, single, labels=("multi-rlcr", "single-rlvr, 3 samples")) if multi and single else []
    best = runs.read_json(next(iter(folders.values())) / runs.METRICS)["metrics"].get("best_coverage", {}).get("value")
    with runs.writing(root / "table.md") as handle:
        handle.write(table_markdown(columns, _TABLE))
    return write_report(
        root / runs.REPORT,
        title=f"polymode: {plan.name}",
        intro=(
            _TEXT.get(plan.task, f"Task {plan.task}."),
            "All models start from the same warm start and train on the same number of completions; they are compared "
            f"at {plan.k} answers per question on test questions that no choice was made on.",
        ),
        arms=columns,
        reference={} if best is None else {"best_coverage": float(best)},
        facts=_facts(plan, command, seconds),
        examples=examples,
    )


def _label(arm: Arm, view: View) -> str:
    name = arm.recipe.method if arm.is_trained else arm.name
    if view.pool > 1:
        label = f"{name}, {view.pool} samples"
        return label if view.confidence == "stated" else f"{label}, {view.confidence}"
    if name.startswith("multi"):
        return f"{name}, one completion of {view.answers}"
    return f"{name}, asked for {view.answers}"


def _kind(arm: Arm, view: View) -> str:
    """What arms are told apart by in the figures: the method, and how it is asked where that is not its own way."""
    name = arm.recipe.method if arm.is_trained else arm.name
    return name if view.pool > 1 or name.startswith("multi") else f"{name} asked for {view.answers}"


def _facts(plan: Plan, command: str, seconds: float) -> dict[str, str]:
    recipe = plan.arms[0].recipe
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kibibytes elsewhere
    return {
        "command": command,
        "task": plan.task,
        "methods": ", ".join(
            name for name in METHODS if any(a.recipe.method == name and a.is_trained for a in plan.arms)
        ),
        "seeds": ", ".join(str(seed) for seed in sorted({arm.recipe.seed for arm in plan.arms})),
        "model": recipe.model or "lab model (Qwen3 architecture, built from a config, warm-started on demonstrations)",
        "completions per arm": f"{recipe.steps * recipe.completions_per_step:,} "
        f"({recipe.steps} steps x {recipe.questions_per_step} questions x {recipe.group})",
        "learning rate": f"{recipe.learning_rate:g}, {recipe.schedule}",
        "test questions": f"{plan.questions:,}, of which {plan.deep_questions} with {plan.deep_answers} answers each",
        "time of this run": f"{seconds / 60:.1f} minutes (without stages finished earlier)",
        "largest process": f"{peak / unit:,.0f} MiB",
    }
