"""TRL's GRPO trainer with an advantage for each token: ``credit: term`` (formulas in `polymode.credit`).

TRL generates, scores, logs and computes the loss as always; its loss takes advantages of shape (completions, tokens),
and only they are replaced. Statistics are over all completions of the step, of every process and accumulation step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from polymode.credit import SlotScores, term_advantages, token_parts
from polymode.rewards import Reward
from polymode.rewards.slots import slot_scores
from polymode.training.reward import ScoredText
from polymode.training.shared_prompt import SharedPromptTrainer
from polymode.training.token_starts import TokenStarts


class TermCreditTrainer(SharedPromptTrainer):
    """Gives each part of a completion the advantage of what it causes.

    Args:
        reward: weights that the scores were computed with.
        answers: most answers that a completion may hold, K.
        last: where the one reward function puts the completions that it has scored.
        factors: of the credit of the reasoning and of confidences.
        options: as for `trl.GRPOTrainer`.
    """

    def __init__(
        self,
        *,
        reward: Reward,
        answers: int,
        last: Sequence[ScoredText],
        factors: tuple[float, float] = (1.0, 1.0),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._factors = factors
        self._reward, self._answers, self._scored = reward, answers, last
        self._starts = TokenStarts(self.processing_class)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        ids, held = output["completion_ids"], output["completion_mask"].sum(1).tolist()
        first = self.accelerator.process_index * len(self._scored)
        of_parts = self._advantages_of_all(ids.device)[first : first + len(self._scored)]
        advantages = np.zeros(ids.shape, dtype=np.float32)
        for row, (scored, tokens, n) in enumerate(zip(self._scored, ids.tolist(), held, strict=True)):
            starts = self._starts(tokens[:n], scored.text)
            parts = token_parts(scored.score.answer_set, scored.text, starts, self._answers)
            advantages[row, :n] = of_parts[row, parts]
        output["advantages"] = torch.from_numpy(advantages).to(ids.device)
        return output

    def _advantages_of_all(self, device: torch.device) -> np.ndarray:
        """Advantages of the parts of all completions of the step, shape (N, 1 + 2 K), the same on every process."""
        k = self._answers
        own = slot_scores([scored.score for scored in self._scored], self._reward, k)
        columns = np.concatenate([own.total[:, None], own.coverage, own.confidence, own.hits], 1)
        every = self.accelerator.gather(torch.from_numpy(columns).to(device))
        assert isinstance(every, torch.Tensor)
        total, coverage, confidence, hits = np.split(every.cpu().numpy(), [1, 1 + k, 1 + 2 * k], axis=1)
        scores = SlotScores(total[:, 0], coverage, confidence, hits)
        reasoning, confidence = self._factors
        return term_advantages(
            scores, self.num_generations, scale=str(self.scale_rewards), reasoning=reasoning, confidence=confidence
        )
