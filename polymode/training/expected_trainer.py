"""TRL's GRPO trainer with the gradient of confidences taken over all their values: ``credit: expected``.

Answers and reasoning get their credit as with ``credit: term``. What a confidence earns by its own score comes from
`polymode.training.expected_score` instead, added to TRL's loss with the weight that TRL gives each token, so that
normalisation and accumulation are the same. It is a sum of probabilities, hence needs no importance ratio: that of
vLLM's correction stays on the tokens that were sampled. With several processes each computes it for its own
completions; DDP sums the gradients of the output embeddings as it does those of the loss.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from polymode.credit import SlotScores
from polymode.credit.group import divisor_of
from polymode.decoding.settings import base_of
from polymode.errors import ConfigError
from polymode.prompts import Style
from polymode.rewards.proper import loss_of
from polymode.training.confidence_tokens import Choices, NumberTokens, Stated, check_tokens, stated_confidences
from polymode.training.credit_trainer import TermCreditTrainer
from polymode.training.expected_score import (
    JudgedConfidence,
    choice_places,
    completion_states,
    expected_losses,
    hidden_states_of,
    mean_loss,
    token_weights,
)
from polymode.training.replay import JudgedCompletion, Replay
from polymode.training.reward import ScoredText
from polymode.training.rows import LEARNS

ROW = "row_of_step"
"""Which completion of the generated batch a row is; TRL shuffles and splits them."""


class ExpectedCreditTrainer(TermCreditTrainer):
    """Gives each confidence the expectation over all the values that could have been stated.

    Args:
        style: notation of the answers.
        options: as for `TermCreditTrainer`.

    Raises:
        ConfigError: no token decides a confidence, or this process does not hold all weights.
    """

    def __init__(self, *, style: Style, **options: Any) -> None:
        super().__init__(**options)
        if not self._has_whole_weights:
            raise ConfigError(
                "credit = 'expected' with weights spread over processes (FSDP, ZeRO-3): the output embeddings must be "
                "whole on each; use DDP, or credit: term"
            )
        self._numbers = NumberTokens(self._decode)
        check_tokens(self._numbers, self._decode, style, self._recipe.answers)
        self._loss = loss_of(self._recipe.confidence_score)
        self._confidences: list[list[JudgedConfidence]] = []
        """Of each completion of the generated batch."""
        self._replay = Replay(self, self._numbers, self._loss) if self._recipe.replay else None
        if self._replay is not None:
            self.add_callback(self._replay)

    def _with_more_credit(
        self,
        output: dict[str, Any],
        inputs: list[dict[str, Any]],
        batch: list[ScoredText],
        ids_N_T: list[list[int]],
        starts_N_T: list[list[int]],
        scores: SlotScores,
    ) -> dict[str, Any]:
        learns_N = [row.get(LEARNS, "both") for row in inputs]
        stated_N: list[list[Stated]] = [
            stated_confidences(self._numbers, ids_T, starts_T, scored.score.answer_set)
            if scored.score.total is not None and learns != "answers"
            else []
            for ids_T, starts_T, scored, learns in zip(ids_N_T, starts_N_T, batch, learns_N, strict=True)
        ]
        choices = Choices(self._numbers, [one for row in stated_N for one in row], self._loss)
        totals_PG = scores.total_N.reshape(-1, self.num_generations)
        weight = self._recipe.reward.confidence_weight * self._recipe.confidence_credit
        weight /= float(divisor_of(totals_PG, totals_PG, str(self.scale_rewards)))
        self._confidences = []
        for stated, scored in zip(stated_N, batch, strict=True):
            labels, slots = labels_of(scored), len(scored.score.answer_set.answers)
            of_row = [(choices.of(one), labels[one.slot]) for one in stated]
            self._confidences.append([JudgedConfidence(c, label, weight / slots) for c, label in of_row if c])
        for row, learns in enumerate(learns_N):
            if learns == "confidences":
                output["advantages"][row] = 0.0
        output[ROW] = torch.arange(len(batch), device=output["completion_ids"].device)
        if self._replay is not None:
            prompts = output["prompt_ids"].tolist()
            masks = output["prompt_mask"].bool().tolist()
            self._replay.begin(
                JudgedCompletion(
                    prompt=[token for token, is_token in zip(prompts[row], masks[row], strict=True) if is_token],
                    ids=ids_N_T[row],
                    stated=stated_N[row],
                    labels=labels_of(batch[row]),
                    question=str(inputs[row].get("question_id", inputs[row].get("question", row))),
                )
                if stated_N[row]
                else None
                for row in range(len(batch))
            )
        return output

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
        with hidden_states_of(causal.base_model) as states:
            if self._replay is None:
                loss = super()._compute_loss(model, inputs)
            else:
                with self._replay.watch(causal, rows, inputs):
                    loss = super()._compute_loss(model, inputs)
        confidences = [self._confidences[row] for row in rows]
        if not any(confidences):
            return loss
        places = choice_places(confidences)
        flat = [one for row in confidences for one in row]
        hidden_M_H = completion_states(states, inputs)[places]
        losses_M = expected_losses(flat, self._numbers, hidden_M_H, causal, float(self.temperature))
        self._metrics["train"]["expected_confidence_loss"].append(mean_loss(flat, losses_M))
        return loss + (token_weights(self, inputs)[places] * losses_M).sum()


def labels_of(scored: ScoredText) -> list[float]:
    """What each confidence of a completion is scored against: y_i or a soft label, in [0, 1]."""
    return [float(y or 0) for y in scored.score.judgement.labels]
