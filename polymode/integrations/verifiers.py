"""Answer sets in verifiers 0.4 (v1 only): a taskset of any polymode task, for its evaluations and for prime-rl.

::

    # answer_sets.py: verifiers names tasksets by modules that belong to no package
    from polymode.integrations.verifiers import AnswerSets
    __all__ = ["AnswerSets"]

    PYTHONPATH=. vf-eval answer_sets --env.taskset.data questions.jsonl --env.taskset.k 3

The terms of the score are rewards of their names, which verifiers sums: `reward` is the total, as in training. An
unscored completion is an error of its scoring, neither right nor wrong. prime-rl takes the taskset by the same id
and subtracts the group's mean only, which keeps confidences calibrated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from polymode.integrations.versions import check_version

check_version("verifiers")

import verifiers.v1 as vf  # pyright: ignore[reportMissingImports]  # has an environment of its own

from polymode.errors import VerifierFault
from polymode.integrations.questions import questions_of, score_row, with_verifier

__all__ = ["AnswerSets"]


class SetData(vf.TaskData):
    """A question, and its line of completions.jsonl without the completion."""

    row: dict[str, Any]


class SetTask(vf.Task[SetData]):
    """One question, answered by one completion."""

    @vf.reward
    async def terms(self, trace: vf.Trace) -> dict[str, float]:
        """Terms of the score; they sum to the total."""
        score = score_row({**self.data.row, "completion": trace.last_reply, "finished": not trace.is_truncated})
        if score.total is None:
            raise VerifierFault("; ".join(score.judgement.faults))
        trace.record_metric("hits", float(score.judgement.coverage))
        trace.record_metric("clean", float(score.answer_set.is_clean))
        return dict(score.terms)


class SetConfig(vf.TasksetConfig):
    """Which questions, and how they are asked (`polymode.integrations.questions.questions_of`)."""

    task_name: str = "records"
    data: str | None = None
    split: str = "test"
    n: int | None = None
    k: int = 3
    confidence: bool = True
    verifier: str | None = None
    verifier_options: dict[str, Any] | None = None
    options: dict[str, Any] | None = None


class AnswerSets(vf.Taskset[SetTask, SetConfig]):
    """The questions of a polymode task."""

    def load(self) -> Iterator[SetTask]:
        """One task for each question."""
        asked = {name: getattr(self.config, name) for name in ("data", "split", "n", "k", "confidence")}
        for question in questions_of(self.config.task_name, **asked, **(self.config.options or {})):
            row = with_verifier(question.row, self.config.verifier, self.config.verifier_options)
            yield SetTask(SetData(id=row["id"], prompt=question.prompt, row=row), self.config.task)
