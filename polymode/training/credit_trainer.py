"""TRL's GRPO trainer with an advantage for each token: ``credit: term``, ``dcpo`` and ``coca`` (`polymode.credit`).

TRL generates, scores, logs and computes the loss as always; its loss takes advantages of shape (completions, tokens),
and only they are replaced. Statistics are over all completions of the step, of every process and accumulation step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polymode.credit import SlotScores, coca_advantages, dcpo_advantages, term_advantages, token_parts
from polymode.decoding.texts import CompletionDecoder
from polymode.decoding.token_starts import TokenStarts
from polymode.rewards.slots import slot_scores
from polymode.training.recipe import Recipe
from polymode.training.reward import ScoredText, ScoreLedger
from polymode.training.shared_prompt import SharedPromptTrainer

BY_SEGMENT = {"dcpo": dcpo_advantages, "coca": coca_advantages}


@dataclass(frozen=True, slots=True, eq=False)
class StepCredit:
    """What the credit of a step is computed from; all but ``scores`` of this process's own completions."""

    inputs: list[dict[str, Any]]
    """Rows of the training data."""
    batch: list[ScoredText]
    ids_N_T: list[list[int]]
    """Tokens, without padding."""
    starts_N_T: list[list[int]]
    """First character of each token."""
    scores: SlotScores
    """Of all completions of the step."""
    first: int
    """Place of this process's first completion among them."""


class TermCreditTrainer(SharedPromptTrainer):
    """Gives each part of a completion the advantage of what it causes.

    Args:
        recipe: says how completions are scored, and how credit is weighted.
        ledger: where the one reward function records what it has scored.
        decode: how the reward function's texts came from tokens.
        options: as for `trl.GRPOTrainer`.
    """

    def __init__(self, *, recipe: Recipe, ledger: ScoreLedger, decode: CompletionDecoder, **options: Any) -> None:
        super().__init__(**options)
        self._recipe, self._ledger, self._decode = recipe, ledger, decode
        self._starts = TokenStarts(decode)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        device = output["completion_ids"].device
        lengths_N = output["completion_mask"].sum(1).tolist()
        ids_N_T = [ids_T[:length] for ids_T, length in zip(output["completion_ids"].tolist(), lengths_N, strict=True)]
        batch = self._ledger.take([self._decode(ids_T) for ids_T in ids_N_T])
        # The statistics are those of the whole step; this process has the rows of its own completions.
        first = self.accelerator.process_index * len(batch)
        scores = self._scores_of_step(batch, device)
        starts_N_T = [self._starts(ids_T, scored.text) for scored, ids_T in zip(batch, ids_N_T, strict=True)]
        step = StepCredit(inputs, batch, ids_N_T, starts_N_T, scores, first)
        parts_N = self._advantages_of_parts(scores, self._prepare_confidences(step))[first : first + len(batch)]
        advantages_N_T = np.zeros(output["completion_ids"].shape, dtype=np.float32)
        for row, (scored, starts_T) in enumerate(zip(batch, starts_N_T, strict=True)):
            part_of_token_T = token_parts(scored.score.answer_set, scored.text, starts_T, self._recipe.answers)
            advantages_N_T[row, : len(starts_T)] = parts_N[row, part_of_token_T]
        output["advantages"] = torch.from_numpy(advantages_N_T).to(device)
        self._add_credit(output, step)
        return output

    def _prepare_confidences(self, step: StepCredit) -> bool | NDArray[np.bool_]:
        """Prepare what the confidences of the step learn from.

        Returns which of them are credited with their own score as it was sampled, (N, K), or True for all.
        """
        return True

    def _add_credit(self, output: dict[str, Any], step: StepCredit) -> None:
        """For trainers that add to the credit of single tokens."""

    def _scores_of_step(self, batch: list[ScoredText], device: torch.device) -> SlotScores:
        """The scores of all completions of the step by slot, the same on every process."""
        own = slot_scores([scored.score for scored in batch], self._recipe.reward, self._recipe.answers)
        # One tensor, so that the processes exchange their scores in one call.
        gathered: Any = self.accelerator.gather(torch.from_numpy(own.to_columns()).to(device))
        return SlotScores.from_columns(gathered.cpu().numpy())

    def _advantages_of_parts(self, scores: SlotScores, own_confidence: bool | NDArray[np.bool_]) -> NDArray[np.float64]:
        """Advantages of the parts of all completions of the step, shape (N, 1 + 2 K)."""
        if self._recipe.credit in BY_SEGMENT:
            return BY_SEGMENT[self._recipe.credit](scores, self.num_generations)
        return term_advantages(
            scores,
            self.num_generations,
            scale=str(self.scale_rewards),
            reasoning=self._recipe.reasoning_credit,
            confidence=self._recipe.confidence_credit,
            own_confidence=own_confidence,
        )
