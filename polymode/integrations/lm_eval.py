"""Answer sets in lm-eval 0.4.13: a task whose filter leaves all repeats, and metrics of all of them together.

::

    POLYMODE=$(python -c 'import polymode; print(polymode.__path__[0])')
    lm_eval --include_path "$POLYMODE/integrations/lm_eval_tasks" --tasks polymode_answer_sets \
        --metadata '{"task": "records", "data": "questions.jsonl", "k": 3, "samples": 4}' \
        --model hf --model_args pretrained=MODEL --apply_chat_template --log_samples --output_path results
    polymode evaluate results/MODEL/samples_polymode_answer_sets_TIME.jsonl

``metadata`` holds the arguments of `polymode.integrations.questions.questions_of`; ``samples``, the completions of each
question (lm-eval's ``repeats``, of which it keeps the first only where a task has no filter); and ``verifier`` with
``verifier_options``. lm-eval averages over documents, from which no ECE can be computed: these metrics are of all
completions together, and equal those of `polymode evaluate`, which has more of them, and intervals.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import datasets

from polymode.integrations.versions import check_version

check_version("lm-eval")

from lm_eval.api.filter import Filter  # pyright: ignore  # lm-eval has an environment of its own
from lm_eval.api.registry import register_filter  # pyright: ignore
from lm_eval.api.task import ConfigurableTask  # pyright: ignore

from polymode.integrations.questions import (
    Row,
    mean_of,
    mean_values,
    measure_rows,
    questions_of,
    score_rows,
    with_verifier,
)
from polymode.runs.inspect_logs import ROW

HIGHER_IS_BETTER = {
    **dict.fromkeys(("coverage", "recall", "precision", "any_hit", "pass@1", "uniqueness", "auroc"), True),
    **dict.fromkeys(("brier", "nll", "ece", "ece_debiased", "ece_top1", "aurc", "malformed_rate"), False),
}
"""Metrics that are reported, besides ``score``, ``coverage@n`` and ``pass@n``."""
_OF_LM_EVAL = ("version", "config", "config_source")


@dataclass(frozen=True, eq=False)
class Document:
    """The completions of one question; a process hands them to the one that aggregates."""

    rows: tuple[Row, ...]

    def __str__(self) -> str:
        """What lm-eval writes as a document's own value of a metric, which it has none of."""
        return "of all documents together"


@register_filter("all_repeats")
class AllRepeats(Filter):
    """All completions of each question, as they are."""

    def apply(self, resps: Iterable[Sequence[str]], docs: Sequence[Mapping[str, Any]]) -> Iterable[Sequence[str]]:
        """The repeats of every document."""
        return list(resps)


class AnswerSets(ConfigurableTask):
    """Questions of a polymode task, each asked for K answers in one completion."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        options = {name: value for name, value in (config or {}).items() if name != "class"}
        metadata = options.get("metadata") or {}
        self._asked = {name: value for name, value in metadata.items() if name not in _OF_LM_EVAL}
        options["repeats"] = self._asked.pop("samples", options.get("repeats", 1))
        self._verifier = self._asked.pop("verifier", None), self._asked.pop("verifier_options", None)
        super().__init__(config=options)
        many = [f"pass@{2**i}" for i in range(1, options["repeats"].bit_length())]
        first = [f"coverage@{n}" for n in range(1, self._asked.get("k", 3) + 1)]
        self._better = {"score": True, **HIGHER_IS_BETTER, **dict.fromkeys([*many, *first], True)}

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Open the task; ``metadata`` says which."""
        documents = []
        for question in questions_of(**{"task": "records", **self._asked}):
            row = with_verifier(question.row, *self._verifier)
            documents.append({"prompt": question.prompt, "targets": question.targets, ROW: json.dumps(row)})
        self.dataset = {"test": datasets.Dataset.from_list(documents)}

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Sequence[str]]) -> dict[str, Any]:
        """The mean total of a document, and its completions for every metric."""
        row = json.loads(doc[ROW])
        rows = tuple({**row, "completion": text, "sample": number} for number, text in enumerate(results[0]))
        values = mean_values(values for _, values in score_rows(rows, f"question {row['id']!r}"))
        return {"score": values["score"], **dict.fromkeys(list(self._better)[1:], Document(rows))}

    def aggregation(self) -> dict[str, Callable[..., float]]:
        """What makes one number of a metric's documents."""
        return {"score": mean_of} | {name: partial(_measure, name) for name in list(self._better)[1:]}

    def higher_is_better(self) -> dict[str, bool]:
        """By metric."""
        return self._better


def _measure(name: str, documents: Iterable[Document]) -> float:
    return _measured(tuple(documents)).get(name, math.nan)


@lru_cache(maxsize=1)
def _measured(documents: tuple[Document, ...]) -> dict[str, float]:
    return measure_rows([row for document in documents for row in document.rows], "lm-eval")
