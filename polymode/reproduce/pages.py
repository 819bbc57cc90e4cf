"""From the folders of an experiment to its report: which arms the page shows, and the facts beside them."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from polymode import runs
from polymode.compare.columns import columns_of, run_at
from polymode.reproduce.plans import Plan
from polymode.rewards import METHODS

_TEXT = {
    "clinic": "Patients of the lab's clinic. Every condition whose exact posterior reaches 3% is a right answer.",
    "clinic-diagnosis": (
        "Patients of the lab's clinic with one right answer each: the condition that was drawn. The exact posterior is "
        "the true probability of every answer, so honest confidences are known."
    ),
    "hops": (
        "Two-hop questions of the lab with none, one or both of the needed facts hidden. One answer is right; with "
        "both hidden no answer is likely, and honest confidences are near 0."
    ),
    "programs": (
        "Small Python functions of the lab, asked for by a few of their values and judged by running them on all. Many "
        "programs are right; those that differ in more than the writing count as different answers."
    ),
    "ddxplus": "Synthetic patients of DDXPlus. Every condition of the differential above its threshold is right.",
}


def write_page(plan: Plan, root: Path, *, command: str, seconds: float) -> Path:
    """Write ``report.html`` below ``root`` from the arms' folders."""
    from polymode.compare.comparison import TABLE, worked_examples
    from polymode.report.page import write_report
    from polymode.report.table import table_markdown

    columns = columns_of([run_at(root / arm.folder / view.name) for arm in plan.arms for view in arm.views])
    arms = [column.arm for column in columns]
    best = runs.read_metrics(arms[0].seeds[0]).metrics.get("best_coverage")
    with runs.writing(root / "table.md") as handle:
        handle.write(table_markdown(arms, TABLE))
    return write_report(
        root / runs.REPORT,
        title=f"polymode: {plan.name}",
        intro=(
            _TEXT.get(plan.task, f"Task {plan.task}."),
            "All models start from the same warm start and train on the same number of completions; they are compared "
            f"at {plan.k} answers per question on test questions that no choice was made on.",
        ),
        arms=arms,
        reference={} if best is None else {"best_coverage": best.value},
        facts=_facts(plan, command, seconds),
        examples=worked_examples(columns),
    )


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
        "completions per arm": f"{recipe.max_steps * recipe.completions_per_step:,} "
        f"({recipe.max_steps} steps x {recipe.questions_per_step} questions x {recipe.num_generations})",
        "learning rate": f"{recipe.learning_rate:g}, {recipe.lr_scheduler_type}",
        "test questions": f"{plan.questions:,}, of which {plan.deep_questions} with {plan.deep_answers} answers each",
        "time of this run": f"{seconds / 60:.1f} minutes (without stages finished earlier)",
        "largest process": f"{peak / unit:,.0f} MiB",
    }
