"""Answer sets in inspect_ai 0.3.285: a task, a scorer for tasks of your own, and every metric of `polymode evaluate`.

::

    inspect eval polymode/answer_sets -T task=records -T data=questions.jsonl -T k=3 --epochs 4 --model openai/MODEL
    polymode evaluate logs/2026-11-27T05-00-00+00-00_answer-sets_ID.eval

`answer_sets` asks the questions of any polymode task. A task of your own gets ``scorer=set_score(k=3)``, and asks with
`polymode.prompts.build_prompt`: each target of a sample is one right answer, ``metadata["references"]`` (as in a
completions file) overrides them. Verifiers are named as in `polymode evaluate`.

Metrics read every epoch by itself (``scores="unreduced"``): reduced scores are means, from which neither coverage of
several samples nor calibration can be computed. Values are those of `polymode evaluate` on the log. Several choices of
one reply (``num_choices``) are several completions.
"""

# pyright: reportCallIssue=false, reportGeneralTypeIssues=false
# Where inspect_ai is not installed, the checker takes this module for it.
from __future__ import annotations

from threading import Lock
from typing import Any

import anyio

from polymode.integrations.versions import check_version

check_version("inspect-ai")

from inspect_ai import Task, task  # pyright: ignore  # inspect_ai has an environment of its own
from inspect_ai.dataset import MemoryDataset, Sample  # pyright: ignore
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer  # pyright: ignore
from inspect_ai.solver import TaskState, generate  # pyright: ignore

from polymode.integrations.questions import mean_values, measure_rows, questions_of, score_rows, with_verifier
from polymode.runs.inspect_logs import ROW, Unusable, rows_of_sample

_ONE_AT_A_TIME = Lock()
"""Verifiers with worker processes are not made for several threads."""


@metric(scores="unreduced")
def set_metrics() -> Metric:
    """Metrics of all completions, by the names of docs/metrics.md, and the mean ``score``."""

    def compute(scores: list[SampleScore]) -> Value:
        rows = [row for one in scores for row in (one.score.metadata or {}).get(ROW, ())]
        totals = [one.score.value["score"] for one in scores if isinstance(one.score.value, dict)]
        scored = [total for total in totals if total == total]
        mean = {"score": sum(scored) / len(scored)} if scored else {}
        return {**mean, "n_unscored": len(totals) - len(scored), **measure_rows(rows, "inspect_ai")}

    return compute


@scorer(metrics=[set_metrics()])
def set_score(
    k: int | None = None,
    confidence: bool | None = None,
    verifier: str | None = None,
    verifier_options: dict[str, Any] | None = None,
) -> Scorer:
    """Total and terms of each answer set; NaN where a verifier failed.

    Args:
        k: answers asked for, where the sample does not say (``metadata["k"]``).
        confidence: whether confidences were asked for; where nobody says, whether the completion states some.
        verifier: name of the verifier, instead of the task's.
        verifier_options: its options.
    """
    defaults = {name: value for name, value in (("k", k), ("confidence", confidence)) if value is not None}

    def judged(sample: dict[str, Any]) -> Score:
        where = f"sample {sample['id']!r}, epoch {sample['epoch']}"
        rows = rows_of_sample(sample, where)
        if isinstance(rows, Unusable):
            return Score.unscored(reason="no_response", explanation=f"{where}: {rows.reason}")
        rows = [{**defaults, **with_verifier(row, verifier, verifier_options)} for row in rows]
        with _ONE_AT_A_TIME:
            scored = score_rows(rows, where)
        text = "\n\n".join(completion.text for completion, _ in scored)
        return Score(value=mean_values(values for _, values in scored), explanation=text, metadata={ROW: rows})

    async def score(state: TaskState, target: Target) -> Score:
        sample = {
            "id": state.sample_id,
            "epoch": state.epoch,
            "input": state.input_text,
            "target": list(target),
            "metadata": state.metadata,
            "output": state.output.model_dump(mode="json"),
        }
        return await anyio.to_thread.run_sync(judged, sample)

    return score


@task
def answer_sets(
    task: str = "records",
    data: str | None = None,
    split: str = "test",
    n: int | None = None,
    k: int = 3,
    confidence: bool = True,
    verifier: str | None = None,
    verifier_options: dict[str, Any] | None = None,
    style: str = "task",
    options: dict[str, Any] | None = None,
) -> Task:
    """The questions of a polymode task, each asked for K answers in one completion.

    Args:
        task: name of the task, as `polymode tasks` lists them.
        data: its file or folder.
        split: train, validation or test.
        n: number of questions.
        k: answers asked for.
        confidence: ask for confidences too.
        verifier: name of the verifier, instead of the task's.
        verifier_options: its options.
        style: full, brief or `task` (the task's own).
        options: of the task.
    """
    how = {"data": data, "split": split, "n": n, "k": k, "confidence": confidence, "style": style}
    samples = []
    for question in questions_of(task, **how, **(options or {})):
        metadata = {ROW: with_verifier(question.row, verifier, verifier_options)}
        samples.append(Sample(question.prompt, target=question.targets, id=question.row["id"], metadata=metadata))
    return Task(dataset=MemoryDataset(samples, name=task), solver=generate(), scorer=set_score())
