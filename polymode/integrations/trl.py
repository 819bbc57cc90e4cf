"""Rewards for stock TRL, by dotted path: `single_rlvr`, `single_rlcr`, `multi_rlvr`, `multi_rlcr` (TRL 1.16).

::

    trl grpo --model_name_or_path Qwen/Qwen3-8B --dataset_name my/data \
        --reward_funcs polymode.integrations.trl.multi_rlcr \
        --scale_rewards none --loss_type dapo --max_completion_length 1536

**TRL's default, ``--scale_rewards group``, breaks calibration**: dividing by each group's deviation makes the Brier
term reward confidences that are not the probabilities (https://arxiv.org/abs/2508.11800). Use ``none`` or ``batch``.
So does ``--multi_objective_aggregation normalize_then_sum``. The calibrated rewards (``*_rlcr``) stop such a run at
its first batch. They see the trainer through the ``log_metric`` method it hands them; a trainer that hands over none,
or a plain function, cannot be checked, and then the choice is yours alone. The prompt cannot be checked either: build
it with `polymode.prompts.build_prompt`, with ``confidence=True`` for the calibrated rewards.

The data set has the columns ``prompt``, ``references`` (a list, or the text of one: each item a string, a list of
aliases or an object) and, for the multi rewards, optionally ``k``, the answers asked for in that row (default 3).
A row whose ``references`` are an empty list has no right answer: every answer is wrong there, and honest confidences
are 0. A missing row (None, NaN, the text ``null``) is an error that names it. Of a conversation the last message is the
completion; one that the model did not write, such as the result of a tool, holds no answer.
TRL's ``--max_completion_length`` defaults to 512, too short for reasoning and K answers. Give one reward only: its
total is the sum of its terms, which the completions table (``--log_completions``) and the logs show one by one.

For other equalities, presets or K write a module of your own with `polymode.training.reward.make_reward_function`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from polymode.errors import ConfigError
from polymode.integrations.versions import check_version
from polymode.rewards import METHODS
from polymode.training.reward import RewardFunction, make_reward_function

DEFAULT_K = 3
"""Answers asked for by the multi rewards where the data set has no column ``k``."""


def _reward_for(method_name: str) -> RewardFunction:
    method = METHODS[method_name]
    name = method_name.replace("-", "_")
    made_for = cache(lambda limit: make_reward_function(method, DEFAULT_K, max_completion_length=limit, name=name))

    def reward(completions: Sequence[Any], references: Any = None, **columns: Any) -> list[float | None]:
        check_version("trl")
        trainer = getattr(columns.get("log_metric"), "__self__", None)
        if method.has_confidence:
            _check_scaling(trainer, name)
        limit = getattr(getattr(trainer, "args", None), "max_completion_length", None)
        return made_for(limit)(completions, references, **columns)

    reward.__name__ = reward.__qualname__ = name
    reward.__doc__ = f"Reward of {method_name}, preset `paper`; see the module's text for the options that it needs."
    return reward


def _check_scaling(trainer: Any, name: str) -> None:
    """Refuse a trainer that divides by a group's deviation; one that does not show its options passes."""
    if getattr(trainer, "scale_rewards", None) == "group":
        raise ConfigError(
            f"scale_rewards = 'group' (TRL's default) with reward {name}: dividing by each group's deviation breaks "
            "calibration (arXiv 2508.11800); run with --scale_rewards none"
        )
    if getattr(trainer, "multi_objective_aggregation", None) == "normalize_then_sum":
        raise ConfigError(
            f"multi_objective_aggregation = 'normalize_then_sum' with reward {name}: it divides by each group's "
            "deviation, which breaks calibration (arXiv 2508.11800); leave the option out"
        )


single_rlvr = _reward_for("single-rlvr")
single_rlcr = _reward_for("single-rlcr")
multi_rlvr = _reward_for("multi-rlvr")
multi_rlcr = _reward_for("multi-rlcr")
