"""Which completions of a step go through the model together, when there is not room for all.

With each prompt read once and padding cut off, a device batch costs about

    (different prompts) x (columns of the prompts) + (rows) x (tokens of its longest completion)

so completions of a question belong together, and completions of like length. The gradient is a sum over completions and
does not depend on the arrangement.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

Batch = dict[str, torch.Tensor | None]


def arranged(batches: Sequence[Batch]) -> list[Batch]:
    """The same rows in batches of the same sizes, arranged to cost least: by question, or by length.

    Values without rows (scalars, None) are the same in every batch; what else is no tensor leaves all as it is.
    """
    if len(batches) < 2 or any(not isinstance(v, torch.Tensor | None) for batch in batches for v in batch.values()):
        return list(batches)
    size = _rows(batches[0], "prompt_ids").shape[0]
    prompts = torch.cat([torch.cat([_rows(b, "prompt_ids"), _rows(b, "prompt_mask")], 1) for b in batches])
    lengths = torch.cat([_rows(batch, "completion_mask").sum(1) for batch in batches])
    _, question = torch.unique(prompts, dim=0, return_inverse=True)
    longest = torch.zeros_like(lengths).scatter_reduce(0, question, lengths, "amax")[question]
    by_length = lengths.argsort(stable=True)
    by_question = question.argsort(stable=True)
    by_question = by_question[longest[by_question].argsort(stable=True)]
    width = prompts.shape[1] // 2

    def cost(order: torch.Tensor) -> int:
        chunks = order.split(size)
        return sum(len(question[c].unique()) * width + len(c) * int(lengths[c].max()) for c in chunks)

    order = min((by_question, by_length), key=cost)
    return [{name: _taken(name, batches, chunk) for name in batches[0]} for chunk in order.split(size)]


def _rows(batch: Batch, name: str) -> torch.Tensor:
    value = batch[name]
    assert value is not None
    return value


def _taken(name: str, batches: Sequence[Batch], rows: torch.Tensor) -> torch.Tensor | None:
    first = batches[0][name]
    if first is None or first.ndim == 0:
        return first
    return torch.cat([_rows(batch, name) for batch in batches])[rows]
