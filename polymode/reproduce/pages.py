"""From the folders of an experiment to its report: which arms the page shows, and the facts beside them."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from polymode import runs
from polymode.compare.columns import columns_of, run_at
from polymode.reproduce.plans import Plan
from polymode.reproduce.published import beside_the_paper, markdown
from polymode.reproduce.temperatures import chosen_temperatures
from polymode.rewards import METHODS
from polymode.training.recipe import Recipe

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
    "hotpotqa": (
        "HotPotQA-Modified: two-hop questions with none, one or both of the needed paragraphs hidden. One answer is "
        "right; with both hidden few answers are likely, and honest confidences are low."
    ),
    "mbpp": "Short Python programs of MBPP, judged by their tests. Many programs are right.",
    "ambigqa": (
        "Questions of AmbigQA, without a text to read, that can be understood in several ways. The answer of every "
        "reading is right; a model that does not know them should say so by low confidences."
    ),
    "list-questions": (
        'Short questions such as "Name a country in South America." with all their right answers listed. Test '
        "questions ask for other combinations than those of training."
    ),
}
_SAME_START = (
    "All models of a seed start from the same warm start and train on the same number of completions, but for those at "
    "equal graded answers; they are compared at {k} answers per question on test questions that no choice was made on."
)
_HARDER = "The warm start's confidences and order of answers say nothing: what confidences know was learnt afterwards."
_PRETRAINED = (
    "untrained is the model as it is. {start} The models trained by reinforcement learning saw equally many "
    "completions; distilled saw no reward, only its own sampled answers with their shares. All are compared at {k} "
    "answers per question on test questions that no choice was made on."
)
_AS_IT_IS = (
    "{note}. untrained is the model as it is: {k} samples, the same with confidences measured by votes and, where the "
    "server allows it, by P(True), and one completion that is asked for {k} answers with confidences."
)
_WARMED_UP = "warm-up was shown the answer format by demonstrations, and every arm below it starts from there."
_SHARES = (
    "Confidences are scored against the question's distribution: a stated 0.3 says that this answer is the one with "
    "probability 0.3, not that it is among the right ones."
)
_NOT_WARMED_UP = "Every arm starts from it."


def write_page(plan: Plan, root: Path, *, command: str, seconds: float) -> Path:
    """Write ``report.html`` below ``root`` from the arms' folders."""
    from polymode.compare.comparison import TABLE, worked_examples
    from polymode.report.page import write_report
    from polymode.report.table import table_markdown

    folders = [root / arm.folder / view.name for arm in plan.arms for view in arm.views]
    columns = columns_of([run_at(folder) for folder in folders if (folder / runs.METRICS).exists()])
    arms = [column.arm for column in columns]
    published = beside_the_paper(plan, root)
    best = runs.read_metrics(arms[0].seeds[0]).metrics.get("best_coverage")
    with runs.writing(root / "table.md") as handle:
        handle.write(table_markdown(arms, TABLE) + markdown(published))
    return write_report(
        root / runs.REPORT,
        title=f"polymode: {plan.name}",
        intro=(
            _TEXT.get(plan.task, f"Task {plan.task}."),
            *([_SHARES] if _has_shares(plan.arms[0].recipe) else []),
            *([_HARDER] if plan.arms[0].recipe.warm_start_demonstrations == "uninformative" else []),
            _compared(plan),
        ),
        arms=arms,
        reference={} if best is None else {"best_coverage": best.value},
        facts={
            **_facts(plan, root, command, seconds),
            **{
                f"paper, {row.metric}, {row.arm}": f"{row.paper:g} (read off its figures); here {row.ours}"
                for row in published
            },
        },
        examples=worked_examples(columns),
    )


def _has_shares(recipe: Recipe) -> bool:
    return "distribution" in (recipe.target, recipe.task_options.get("target"))


def _compared(plan: Plan) -> str:
    """How the arms came about, and at what they are compared."""
    if not any(arm.steps for arm in plan.arms):
        return _AS_IT_IS.format(k=plan.k, note=plan.note)
    if all(arm.supervised is None for arm in plan.arms):
        return _SAME_START.format(k=plan.k)
    is_warmed_up = any(arm.starts_from is not None for arm in plan.arms)
    return _PRETRAINED.format(k=plan.k, start=_WARMED_UP if is_warmed_up else _NOT_WARMED_UP)


def _budgets(plan: Plan, root: Path) -> dict[str, str]:
    """What each arm was trained on, and the temperature that single-answer arms chose."""
    facts = {}
    for name in dict.fromkeys(
        arm.name for arm in plan.arms if arm.is_trained and arm.supervised is None and arm.ceiling is None
    ):
        seeds = [arm for arm in plan.arms if arm.name == name]
        recipe = seeds[0].recipe
        files = [path for arm in seeds if (path := root / arm.folder / runs.TRAIN_METRICS).exists()]
        tokens = [sum(row.get("tokens", 0.0) for row in runs.read_steps(path.parent)) for path in files]
        if tokens:
            n = recipe.max_steps * recipe.completions_per_step
            facts[f"training budget, {name}"] = (
                f"{n:,} completions, {n * recipe.answers:,} graded answers, "
                f"{sum(tokens) / len(tokens) * recipe.completions_per_step:,.0f} tokens"
            )
        for view in seeds[0].views:
            if heats := chosen_temperatures([root / arm.folder / view.name for arm in seeds]):
                facts[f"sampling temperature, {name}/{view.name}"] = (
                    f"{', '.join(f'{heat:g}' for heat in heats)}, chosen on validation questions among "
                    f"{', '.join(f'{heat:g}' for heat in plan.temperatures)}"
                )
    return facts


def _facts(plan: Plan, root: Path, command: str, seconds: float) -> dict[str, str]:
    recipe = plan.arms[0].recipe
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kibibytes elsewhere
    return {
        "command": command,
        "task": plan.task,
        "methods": ", ".join(
            name
            for name in METHODS
            if any(a.recipe.method == name and a.is_trained and a.supervised is None for a in plan.arms)
        ),
        "seeds": ", ".join(str(seed) for seed in sorted({arm.recipe.seed for arm in plan.arms})),
        "model": recipe.model or "lab model (Qwen3 architecture, built from a config, warm-started on demonstrations)",
        **{
            name: f"{one.steps} steps of {one.batch} demonstrations ({one.demonstrations}), rate {one.learning_rate:g}"
            for name, one in {arm.name: arm.supervised for arm in plan.arms if arm.supervised is not None}.items()
        },
        **(_training(recipe) if any(arm.steps for arm in plan.arms) else {}),
        **_budgets(plan, root),
        "test questions": f"{plan.questions:,}, of which {plan.deep_questions} with {plan.deep_answers} answers each",
        "time of this run": f"{seconds / 60:.1f} minutes (without stages finished earlier)",
        "largest process": f"{peak / unit:,.0f} MiB",
    }


def _training(recipe: Recipe) -> dict[str, str]:
    """What every arm of reinforcement learning shares."""
    return {
        "completions per arm": f"{recipe.max_steps * recipe.completions_per_step:,} "
        f"({recipe.max_steps} steps x {recipe.questions_per_step} questions x {recipe.num_generations})",
        "learning rate": f"{recipe.learning_rate:g}, {recipe.lr_scheduler_type}",
    }
