"""Which completions of a step go through the model together, when there is not room for all.

With each prompt read once and padding cut off, a device batch costs about

    (different prompts) x (columns of the prompts) + (rows) x (tokens of its longest completion)

so completions of a question belong together, and completions of like length. The gradient is a sum over completions and
does not depend on the arrangement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

Batch = dict[str, Any]
"""Tensors by name, or None."""


def arrange(batches: Sequence[Batch]) -> list[Batch]:
    """The same rows in batches of the same sizes, arranged to cost least: by question, or by length.

    Values without rows (scalars, None) are the same in every batch; what else is no tensor leaves all as it is.
    """
    if len(batches) < 2 or any(not isinstance(v, torch.Tensor | None) for batch in batches for v in batch.values()):
        return list(batches)
    step: Batch = {name: _together([batch[name] for batch in batches]) for name in batches[0]}
    size, width = batches[0]["prompt_ids"].shape
    _, question_N = torch.unique(torch.cat([step["prompt_ids"], step["prompt_mask"]], 1), dim=0, return_inverse=True)
    lengths_N = step["completion_mask"].sum(1)
    longest_N = torch.zeros_like(lengths_N).scatter_reduce(0, question_N, lengths_N, "amax")[question_N]
    by_length = lengths_N.argsort(stable=True)
    by_question = question_N.argsort(stable=True)
    by_question = by_question[longest_N[by_question].argsort(stable=True)]

    def cost(order: torch.Tensor) -> int:
        chunks = order.split(size)
        return sum(len(question_N[c].unique()) * width + len(c) * int(lengths_N[c].max()) for c in chunks)

    order = min((by_question, by_length), key=cost)
    return [
        {name: value if value is None or not value.ndim else value[chunk] for name, value in step.items()}
        for chunk in order.split(size)
    ]


def _together(values: Sequence[Any]) -> Any:
    """The rows of all batches, or what the batches have in common."""
    return values[0] if values[0] is None or not values[0].ndim else torch.cat([*values])
