"""Completions to judged completions to metrics; never samples (layer L4).

    completions.jsonl -> read_completions -> evaluate_into -> judged.jsonl, then metrics.json
                                          -> evaluate -> Evaluation

The text of every completion is parsed, judged and scored by the same code as in training, with one difference: a
malformed completion may be salvaged (status PARTIAL). Judging again never generates again.
"""

from polymode.evaluation.evaluation import Evaluation, compare, evaluate
from polymode.evaluation.folder import evaluate_into
from polymode.evaluation.groups import evaluate_groups
from polymode.runs import JudgedCompletion, read_completions

__all__ = [
    "Evaluation",
    "JudgedCompletion",
    "compare",
    "evaluate",
    "evaluate_groups",
    "evaluate_into",
    "read_completions",
]
