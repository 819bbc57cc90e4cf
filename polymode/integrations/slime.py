"""slime 0.3: the reward, one completion or whole groups at a time, and centred advantages.

::

    --custom-rm-path polymode.integrations.slime.custom_rm                          # one completion at a time, or
    --group-rm --custom-rm-path polymode.integrations.slime.batched_custom_rm       # groups: pass@k, exploration
    --custom-reward-post-process-path polymode.integrations.slime.post_process_rewards
    --custom-advantage-function-path polymode.integrations.slime.advantages
    --custom-config-path polymode.yaml                                   # polymode: {k: 3, method: multi-rlcr}

A sample's ``label`` is its references, or JSON of an object with them; its ``metadata`` may have ``k``, ``question``,
``target`` and ``distribution``. The last two paths are needed for credit by term, ``polymode: {credit: term}``; without
them pass ``--disable-grpo-std-normalization``, because dividing by a group's deviation breaks calibration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from polymode.credit import centred_by_group
from polymode.errors import ConfigError, one_of
from polymode.integrations.options import Options, references_and_row
from polymode.integrations.token_credit import token_advantages
from polymode.integrations.versions import check_version
from polymode.types import Score


async def custom_rm(args: Any, sample: Any, **_: Any) -> float:
    """The total of one completion; its terms go into ``sample.metadata["polymode"]``."""
    rule = _options(args)
    references, row = _question(sample)
    score = await asyncio.to_thread(rule.score, sample.response, references, row, finished=_is_finished(sample))
    sample.metadata = {**(sample.metadata or {}), "polymode": rule.numbers(score)}
    return rule.total(score)


async def batched_custom_rm(args: Any, samples: Sequence[Any], **_: Any) -> list[float]:
    """The totals of one or several groups, with the objective's group view."""
    rule = _options(args)
    scores = await asyncio.to_thread(_scores, rule, samples)
    for sample, score in zip(samples, scores, strict=True):
        sample.metadata = {**(sample.metadata or {}), "polymode": rule.numbers(score)}
    return [rule.total(score) for score in scores]


def post_process_rewards(args: Any, samples: Sequence[Any]) -> tuple[list[float], list[float]]:
    """Raw rewards and centred ones; with ``credit: term`` each sample carries an advantage for each of its tokens."""
    rewards_N = [sample.reward for sample in samples]
    centred_N = centred_by_group(rewards_N, [sample.group_index for sample in samples])
    credit = _settings(args).get("credit", "sequence")
    one_of("credit", credit, ("sequence", "term"))
    if credit == "term":
        from polymode.decoding.texts import CompletionDecoder

        rule = _options(args)
        credits = token_advantages(
            rule,
            _scores(rule, samples),
            [sample.response for sample in samples],
            [list(sample.tokens[-sample.response_length :]) for sample in samples],
            [sample.group_index for sample in samples],
            args.n_samples_per_prompt,
            CompletionDecoder(_tokenizer(args)),
        )
        for sample, advantages_T in zip(samples, credits, strict=True):
            sample.train_metadata = {**(sample.train_metadata or {}), "advantages": advantages_T}
    return rewards_N, centred_N.tolist()


def advantages(args: Any, rollout_data: dict[str, Any]) -> None:
    """Write advantages and returns in place: those of each token where `post_process_rewards` left some."""
    rows = rollout_data.get("metadata") or [None] * len(rollout_data["rewards"])
    written = []
    for kl_T, reward, row in zip(rollout_data["kl"], rollout_data["rewards"], rows, strict=True):
        values = (row or {}).get("advantages")
        if values is not None and len(values) != len(kl_T):
            raise ConfigError(
                f"credit = 'term': {len(values)} advantages for {len(kl_T)} tokens; it needs --context-parallel-size 1"
            )
        written.append(kl_T.new_tensor(values) if values is not None else kl_T.new_full(kl_T.shape, float(reward)))
    rollout_data["advantages"], rollout_data["returns"] = written, [values_T.clone() for values_T in written]


def _settings(args: Any) -> Mapping[str, Any]:
    return getattr(args, "polymode", None) or {}


def _options(args: Any) -> Options:
    check_version("slime")
    return Options.from_mapping({name: value for name, value in _settings(args).items() if name != "credit"})


def _question(sample: Any) -> tuple[Any, dict[str, Any]]:
    references, row = references_and_row(sample.label)
    return references, {**(sample.metadata or {}), **row}


def _is_finished(sample: Any) -> bool:
    return sample.status.value != "truncated"


def _scores(rule: Options, samples: Sequence[Any]) -> list[Score]:
    questions = [_question(sample) for sample in samples]
    return rule.scores(
        [sample.response for sample in samples],
        [references for references, _ in questions],
        [row for _, row in questions],
        finished=[_is_finished(sample) for sample in samples],
        groups=[sample.group_index for sample in samples],
    )


def _tokenizer(args: Any) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(args.hf_checkpoint)
