"""OpenRLHF 0.11: the reward function that ``--reward.remote_url`` loads from a file.

::

    # my_reward.py, for --reward.remote_url my_reward.py
    from polymode.integrations.openrlhf import make_reward_func

    reward_func = make_reward_func(k=3, method="multi-rlcr")

The label of a row (``--data.label_key``) is its references, or JSON of an object ``{"references": [...], "k": 3}``.
OpenRLHF 0.11 catches whatever a reward function raises, logs it and goes on without a reward: read its log first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from polymode.errors import RecordError
from polymode.integrations.options import Options, references_and_row
from polymode.integrations.versions import check_version

ENDS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "<eos>", "</s>")
"""End tokens, which OpenRLHF leaves in the texts that it hands over."""


def make_reward_func(*, ends: Sequence[str] = ENDS, **options: Any) -> Callable[..., dict[str, Any]]:
    """A ``reward_func``: ``rewards`` for the advantages, ``scores`` for filters, ``extra_logs`` with every term.

    Args:
        ends: what is cut off the end of a completion.
        options: fields of `polymode.integrations.options.Options`.
    """
    check_version("openrlhf")
    rule = Options.from_mapping(options)

    def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any) -> dict[str, Any]:
        import torch

        scores = []
        for query, prompt, label in zip(queries, prompts, labels, strict=True):
            if not query.startswith(prompt):
                raise RecordError(f"query {query!r:.60} does not begin with its prompt {prompt!r:.60}")
            references, row = references_and_row(label)
            scores.append(rule.score(_without_ends(query[len(prompt) :], ends), references, row))
        totals = torch.tensor([rule.total(score) for score in scores])
        logs = [rule.numbers(score) for score in scores]
        return {
            "rewards": totals,
            "scores": totals.clone(),
            "extra_logs": {name: torch.tensor([log[name] for log in logs]) for name in (logs[0] if logs else ())},
        }

    return reward_func


def _without_ends(text: str, ends: Sequence[str]) -> str:
    while (end := next((end for end in ends if text.rstrip().endswith(end)), None)) is not None:
        text = text.rstrip().removesuffix(end)
    return text
