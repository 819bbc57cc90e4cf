"""verl's synchronous trainer, in which estimators see what the reward knows beyond one number (layer L4).

::

    trainer.v1.trainer_mode=polymode algorithm.adv_estimator=polymode_term    # or polymode_coverage_at_k

verl 0.9 hands a registered estimator the rewards of tokens, of which a rollout has one, and the uids of the questions.
The rows of its queue hold the rest. This trainer reads it before verl's own `compute_advantage` runs; everything else
is verl's. Importing this module registers it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from polymode.integrations.versions import check_version

check_version("verl")

import transfer_queue as tq  # pyright: ignore[reportMissingImports]
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer  # pyright: ignore[reportMissingImports]

from polymode.decoding.texts import CompletionDecoder
from polymode.errors import ConfigError
from polymode.integrations.estimators import columns_of_batch
from polymode.integrations.options import Options
from polymode.integrations.token_credit import token_advantages

MODE = "polymode"


@register_trainer(MODE)
class PolymodeTrainer(PPOTrainerSync):
    """`PPOTrainerSync` with the columns that `polymode_term` and `polymode_coverage_at_k` need."""

    def _build_replay_buffer(self) -> Any:
        self.trainer_mode = "sync"  # verl tells the ways of sampling apart by this name
        return super()._build_replay_buffer()

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        columns: dict[str, Callable[[Any], Mapping[str, Sequence[Any]]]] = {
            "polymode_coverage_at_k": self._found,
            "polymode_term": self._advantages,
        }
        read = columns.get(self.config.algorithm.adv_estimator)
        with columns_of_batch({} if read is None else read(batch)):
            return super()._compute_advantage(batch, metrics)

    def _found(self, batch: Any) -> dict[str, list[int]]:
        extra = self._rows(batch, "extra_fields")["extra_fields"]
        return {"found": [int(row["reward_extra_info"]["found"]) for row in extra]}

    def _advantages(self, batch: Any) -> dict[str, list[list[float]]]:
        """Of each token; scored again here, because the reward loop hands on numbers only."""
        rule = Options.from_mapping(dict(self.config.reward.custom_reward_function.reward_kwargs))
        if self.config.algorithm.use_kl_in_reward:
            raise ConfigError(
                "use_kl_in_reward = True with credit = 'term', which gives each token its advantage: set False"
            )
        names = [key.rsplit("_", 1)[0] for key in batch.keys]
        if len(set(names)) < len(names):
            raise ConfigError("credit = 'term' needs one output for each rollout: use the single-turn agent loop")
        rows = self._rows(batch, "uid", "responses", "reward_model", "extra_info")
        numbers = [number for number, tag in enumerate(batch.tags) if not tag.get("is_padding")]
        responses = rows["responses"].unbind()
        ids = [responses[number].tolist() for number in numbers]
        decode = CompletionDecoder(self.tokenizer, ends=self.tokenizer.all_special_ids)
        texts = [self.tokenizer.decode(own, skip_special_tokens=True) for own in ids]  # as verl's reward manager
        of_model, extra, uids = (list(rows[name]) for name in ("reward_model", "extra_info", "uid"))
        groups = [uids[number] for number in numbers]
        scores = rule.scores(
            texts,
            [of_model[number]["ground_truth"] for number in numbers],
            [extra[number] for number in numbers],
            finished=[True] * len(texts),
            groups=groups,
        )
        group = self.config.actor_rollout_ref.rollout.n
        advantages: list[list[float]] = [[]] * len(batch.keys)
        for number, values in zip(
            numbers, token_advantages(rule, scores, texts, ids, groups, group, decode), strict=True
        ):
            advantages[number] = values
        return {"advantages": advantages}

    @staticmethod
    def _rows(batch: Any, *fields: str) -> Any:
        return tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(fields))
