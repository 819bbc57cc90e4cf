"""TRL's GRPO trainer with the gradient of confidences taken over all their values: ``credit: expected``.

Answers and reasoning get their credit as with ``credit: term``. What a confidence earns by its own score comes from
`polymode.training.expected_score` instead, added to TRL's loss with the weight that TRL gives each token, so that
normalisation and accumulation are the same. It is a sum of probabilities, hence needs no importance ratio of a token:
that of vLLM's correction stays on the tokens that were sampled, and one of a whole completion is on both. With several
processes each computes it for its own completions; DDP sums the gradients of the output embeddings as it does those of
the loss.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polymode.credit.group import divisor_of, shrink_of
from polymode.credit.slots import Order
from polymode.decoding.settings import base_of
from polymode.errors import ConfigError
from polymode.prompts import Style
from polymode.rewards.proper import loss_of
from polymode.training.confidence_tokens import Choices, NumberTokens, Stated, check_tokens, stated_confidences
from polymode.training.credit_trainer import StepCredit, TermCreditTrainer
from polymode.training.expected_score import (
    JudgedConfidence,
    check_logits,
    choice_log_probabilities,
    choice_places,
    completion_states,
    expected_losses,
    hidden_states_of,
    judged_confidences,
    mean_loss,
    token_weights,
)
from polymode.training.replay import Replay
from polymode.training.replay_buffer import JudgedCompletion
from polymode.training.reward import ScoredText
from polymode.training.rows import LEARNS, question_key
from polymode.training.sharding import has_whole_weights, name_of

ROW = "row_of_step"
"""Which completion of the generated batch a row is; TRL shuffles and splits them."""


def _labels_of(scored: ScoredText) -> list[float]:
    """What the confidences of a completion are scored against, 0 where an answer is unscored."""
    return [float(y or 0) for y in scored.score.judgement.labels]


class ExpectedCreditTrainer(TermCreditTrainer):
    """Gives each confidence the expectation over all the values that could have been stated.

    Args:
        style: notation of the answers.
        options: as for `TermCreditTrainer`.

    Raises:
        ConfigError: no token decides a confidence, the model makes its logits in a way of its own, or this process does
            not hold all weights.
    """

    def __init__(self, *, style: Style, **options: Any) -> None:
        super().__init__(**options)
        if self.is_deepspeed_enabled or not has_whole_weights(self.accelerator):
            raise ConfigError(
                f"credit = 'expected' with {name_of(self.accelerator)}: the output embeddings must be whole in each "
                "process, and the steps its own; use DDP, or credit: term"
            )
        self._numbers = NumberTokens(self._decode)
        check_tokens(self._numbers, self._decode, style, self._recipe.answers)
        check_logits(base_of(self.accelerator.unwrap_model(self.model)), self._numbers)
        self._loss = loss_of(self._recipe.confidence_score)
        self._confidences: list[list[JudgedConfidence]] = []
        """Of each completion of the generated batch."""
        self._stated_N: list[list[Stated]] = []
        """Likewise, those too that no token decides."""
        self._replay = Replay(self, self._numbers, self._loss) if self._recipe.replay else None
        if self._replay is not None:
            self.add_callback(self._replay)

    def _prepare_confidences(self, step: StepCredit) -> NDArray[np.bool_]:
        """Read the choices that the loss and replay take for the completions of the step.

        Returns as sampled those that no token decides, such as ``.5`` where ``>.`` is one token, (N, K): nothing else
        would tell their score. Of other processes' completions nothing is said; their credit is not used here.
        """
        learns_N = [row.get(LEARNS, "both") for row in step.inputs]
        # What a confidence in front of its answer would have led to is not known: the answer might have been another.
        order_N = step.scores.order_N[step.first : step.first + len(step.batch)]
        is_fixed_N = (order_N != Order.CONFIDENCE_FIRST).tolist()
        stated_N: list[list[Stated]] = [
            stated_confidences(self._numbers, ids_T, starts_T, scored.score.answer_set)
            if is_fixed and scored.score.total is not None and learns != "answers"
            else []
            for ids_T, starts_T, scored, learns, is_fixed in zip(
                step.ids_N_T, step.starts_N_T, step.batch, learns_N, is_fixed_N, strict=True
            )
        ]
        labels_N = [_labels_of(scored) for scored in step.batch]
        choices = Choices(self._numbers, [one for row in stated_N for one in row], self._loss)
        decided_N = [[one for one in row if choices.of(one)] for row in stated_N]
        self._confidences = [
            judged_confidences(choices, decided, labels, weight / max(1, len(labels)))
            for decided, labels, weight in zip(decided_N, labels_N, self._weights_of(step), strict=True)
        ]
        self._stated_N = stated_N
        is_sampled_NK = np.zeros(step.scores.labels_NK.shape, dtype=bool)
        n_stated = 0
        for row, (scored, decided, learns) in enumerate(zip(step.batch, decided_N, learns_N, strict=True), step.first):
            answers = scored.score.answer_set.answers
            slots = {slot for slot, one in enumerate(answers) if one.confidence_span is not None}
            if learns != "answers":
                is_sampled_NK[row, sorted(slots - {one.slot for one in decided})] = True
                n_stated += len(slots)
        self._metrics["train"]["share_sampled_confidences"].append(is_sampled_NK.sum() / max(1, n_stated))
        return is_sampled_NK

    def _add_credit(self, output: dict[str, Any], step: StepCredit) -> None:
        output[ROW] = torch.arange(len(step.batch), device=output["completion_ids"].device)
        for row, one in enumerate(step.inputs):
            if one.get(LEARNS) == "confidences":
                output["advantages"][row] = 0.0
        if self._replay is not None:
            prompts_N_T = [
                ids[mask.bool()].tolist() for ids, mask in zip(output["prompt_ids"], output["prompt_mask"], strict=True)
            ]
            labels_N = [_labels_of(scored) for scored in step.batch]
            rows = zip(prompts_N_T, step.ids_N_T, self._stated_N, labels_N, step.inputs, strict=True)
            self._replay.remember(
                JudgedCompletion(prompt, ids, stated, labels, question_key(row["question"], row["question_id"]))
                if stated
                else None
                for prompt, ids, stated, labels, row in rows
            )

    def _weights_of(self, step: StepCredit) -> list[float]:
        """What the loss of a confidence, summed over its set, is multiplied by, for each own completion."""
        totals_PG = step.scores.total_N.reshape(-1, self.num_generations)
        weight = self._recipe.reward.confidence_weight * self._recipe.confidence_credit
        weight /= float(divisor_of(totals_PG, totals_PG, str(self.scale_rewards)))
        weights_N = weight * np.repeat(shrink_of(totals_PG)[:, 0], self.num_generations)
        return weights_N[step.first : step.first + len(step.batch)].tolist()

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)  # before the trainer's state, so a whole checkpoint has both
        if self._replay is not None:
            self._replay.save(Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self._replay is not None and checkpoint is not None:
            self._replay.load(Path(checkpoint))

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        causal = base_of(self.accelerator.unwrap_model(model))
        rows = inputs[ROW].tolist()
        watch = nullcontext() if self._replay is None else self._replay.remember_states(causal, rows, inputs)
        with hidden_states_of(causal.base_model) as states, watch:
            loss = super()._compute_loss(model, inputs)
        confidences = [self._confidences[row] for row in rows]
        if not any(confidences):
            return loss
        places = choice_places(confidences)
        flat = [one for row in confidences for one in row]
        hidden_M_H = completion_states(states, inputs)[places]
        log_p_M_C = choice_log_probabilities(flat, self._numbers, hidden_M_H, causal, float(self.temperature))
        losses_M = expected_losses(flat, log_p_M_C)
        if any(one.weight for one in flat):
            self._metrics["train"]["expected_confidence_loss"].append(mean_loss(flat, losses_M))
        return loss + (token_weights(self, inputs)[places] * losses_M).sum()
