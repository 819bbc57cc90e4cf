"""verl 0.9: the reward function of its reward loop, and the advantage estimators under its registry.

::

    python -m verl.trainer.main_ppo reward.custom_reward_function.path=pkg://polymode.integrations.verl \
        reward.custom_reward_function.name=compute_score +reward.custom_reward_function.reward_kwargs.k=3 \
        algorithm.adv_estimator=polymode_centered algorithm.norm_adv_by_std_in_grpo=false ...

``reward_kwargs`` are the fields of `polymode.integrations.options.Options`. A row's ``reward_model.ground_truth`` holds
its references, and its ``extra_info`` may have ``k``, ``question``, ``target`` and ``distribution``. The estimators are
found by the entry point ``polymode`` of the group ``verl.plugins``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from polymode.integrations.estimators import ESTIMATORS
from polymode.integrations.options import Options
from polymode.integrations.versions import check_version
from polymode.types import Score

FROM_THE_LOOP = ("reward_router_address", "reward_model_tokenizer")
"""What the reward loop adds to the arguments where a reward model runs."""


async def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any] | None = None, **options: Any
) -> dict[str, float]:
    """The total as ``score``, and every term; verl logs all of it."""
    check_version("verl")
    rule = Options.from_mapping({name: value for name, value in options.items() if name not in FROM_THE_LOOP})
    if rule.verifier == "text":
        score = rule.score(solution_str, ground_truth, extra_info)
    else:  # which may take a while: the loop goes on with other completions
        score = await asyncio.to_thread(rule.score, solution_str, ground_truth, extra_info)
    return {"score": rule.total(score), **rule.numbers(score), "found": found(score)}


def found(score: Score) -> int:
    """The references that a completion finds, as a number: bit n for reference n; those above 62 are left out."""
    judgement = score.judgement
    if not score.answer_set.is_clean:
        return 0
    matches = (match for match, y in zip(judgement.matches, judgement.hits, strict=True) if y and match is not None)
    return sum(1 << match for match in matches if match < 63)


def register() -> None:
    """Put the estimators into verl's registry; a second call changes nothing."""
    check_version("verl")
    from verl.trainer.ppo.core_algos import register_adv_est  # pyright: ignore[reportMissingImports]

    for name, estimator in ESTIMATORS.items():
        register_adv_est(name)(estimator)
