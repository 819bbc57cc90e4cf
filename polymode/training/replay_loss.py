"""The loss of a step of replay; `polymode.training.replay` has its formula and its reasons (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from polymode.decoding.settings import base_of
from polymode.training.confidence_tokens import Choices, NumberTokens
from polymode.training.divergence import Parts, Reference, divergences, parts_of, reference_of
from polymode.training.expected_score import (
    TAU,
    JudgedConfidence,
    choice_log_probabilities,
    choice_places,
    completion_states,
    expected_losses,
    hidden_states_of,
    judged_confidences,
    mean_loss,
)
from polymode.training.replay_buffer import JudgedCompletion


class ReplayLoss:
    """Confidences' loss and the anchor's divergence, for batches of judged completions.

    Args:
        trainer: whose model, tokenizer and device batches are used.
        numbers: tokens of numbers.
        anchor: weight of the divergence.
    """

    def __init__(self, trainer: Any, numbers: NumberTokens, anchor: float) -> None:
        self._trainer, self._numbers, self._anchor = trainer, numbers, anchor

    @torch.no_grad()
    def take_references(self, model: Any, batches: Sequence[Sequence[JudgedCompletion]], choices: Choices) -> None:
        """Note what the anchor holds the completions of all these steps to."""
        completions = list({id(one): one for batch in batches for one in batch}.values())
        rows = self._rows_at_once(completions)
        # In the precision of the steps, which its wrapper sets, but without its dropout.
        inner = self._trainer.accelerator.unwrap_model(model)
        causal = base_of(inner)
        inner.eval()
        for start in range(0, len(completions), rows):
            batch = completions[start : start + rows]
            confidences = self._confidences_of(batch, choices)
            hidden_N_T_H = self._states(inner, batch)
            own = reference_of(causal, *self._tokens(hidden_N_T_H, batch, confidences), self._heat)
            sizes = [len(completion.ids) for completion in batch]
            for completion, ids_T_C, log_probs_T_C in zip(
                batch, own.ids_T_C.split(sizes), own.log_probs_T_C.split(sizes), strict=True
            ):
                completion.reference = Reference(ids_T_C.cpu(), log_probs_T_C.cpu())
        inner.train()

    def _confidences_of(self, batch: Sequence[JudgedCompletion], choices: Choices) -> list[list[JudgedConfidence]]:
        """Those of each completion, with their losses in nats: a step of mirror descent goes by score / TAU."""
        return [
            judged_confidences(
                choices,
                one.stated,
                [one.label(i) for i in range(len(one.labels))],
                1.0 if one.probe else 1.0 / TAU,
                one.probe,
            )
            for one in batch
        ]

    def add_gradients(self, model: Any, batch: Sequence[JudgedCompletion], choices: Choices) -> float | None:
        """Gradients of the loss of a batch; its mean confidence loss, if any token of it decides a confidence."""
        confidences = self._confidences_of(batch, choices)
        n_confidences = sum(map(len, confidences))
        total, rows = 0.0, self._rows_at_once(batch)
        for start in range(0, len(batch), rows):
            chunk = slice(start, start + rows)
            anchor, losses_M = self._losses(model, batch[chunk], confidences[chunk])
            ((losses_M.sum() + self._anchor * anchor) / max(n_confidences, 1)).backward()
            if flat := [one for row in confidences[chunk] for one in row]:
                total += len(flat) * mean_loss(flat, losses_M)
        return total / n_confidences if n_confidences else None

    def _rows_at_once(self, batch: Sequence[JudgedCompletion]) -> int:
        """How many completions of a batch have room together: no more tokens than the trainer's device batches have.

        Those share a prompt among the completions of a question; here each completion comes with a prompt of its own,
        so that as many rows could need several times the memory. The same number on all processes, whose passes
        through the model must go together.
        """
        args = self._trainer.args
        rows, n_prompts = args.per_device_train_batch_size, args.per_device_train_batch_size / args.num_generations
        widths = torch.tensor([[max(len(c.prompt) for c in batch), max(len(c.ids) for c in batch)]])
        widths = self._trainer.accelerator.gather(widths.to(self._trainer.accelerator.device)).amax(0)
        n_prompt, n_completion = map(int, widths)
        room = math.ceil(n_prompts) * n_prompt + rows * n_completion
        return min(len(batch), max(1, room // (n_prompt + n_completion)))

    def _losses(
        self, model: Any, batch: Sequence[JudgedCompletion], confidences: Sequence[Sequence[JudgedConfidence]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Divergence of all tokens of some completions, summed, and the losses of their choices, shape (M,)."""
        causal = base_of(self._trainer.accelerator.unwrap_model(model))
        hidden_N_T_H = self._states(model, batch)
        references: list[Any] = [one.reference for one in batch]
        reference = Reference(*(torch.cat(parts).to(hidden_N_T_H.device) for parts in zip(*references, strict=True)))
        anchor = divergences(causal, *self._tokens(hidden_N_T_H, batch, confidences), reference, self._heat).sum()
        flat = [one for row in confidences for one in row]
        if not flat:
            return anchor, anchor.new_zeros(0)
        hidden_M_H = hidden_N_T_H[choice_places(confidences)]
        log_p_M_C = choice_log_probabilities(flat, self._numbers, hidden_M_H, causal, self._heat)
        return anchor, expected_losses(flat, log_p_M_C)

    def _states(self, model: Any, batch: Sequence[JudgedCompletion]) -> torch.Tensor:
        """Last hidden states in front of each token of the completions, shape (N, T, H)."""
        inputs = self._tensors(batch)
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        with hidden_states_of(base_of(self._trainer.accelerator.unwrap_model(model)).base_model) as calls:
            model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1)  # past a wrapper of DDP
        return completion_states(calls, inputs)

    def _tokens(
        self,
        hidden_N_T_H: torch.Tensor,
        batch: Sequence[JudgedCompletion],
        confidences: Sequence[Sequence[JudgedConfidence]],
    ) -> tuple[torch.Tensor, Parts]:
        """The states in front of all tokens, one completion after the other, and the parts of the vocabulary there."""
        first_N = np.cumsum([0, *(len(completion.ids) for completion in batch)])
        states = torch.cat([own[: len(one.ids)] for own, one in zip(hidden_N_T_H, batch, strict=True)])
        places = [int(first_N[row]) + token for row, token in zip(*choice_places(confidences), strict=True)]
        flat = [one for row in confidences for one in row]
        size = len(self._trainer.processing_class)
        return states, parts_of(flat, self._numbers, places, size, states.device)

    @property
    def _heat(self) -> float:
        return float(self._trainer.temperature)

    def _tensors(self, batch: Sequence[JudgedCompletion]) -> dict[str, torch.Tensor]:
        """The batch as TRL lays it out: prompts padded on the left, completions on the right."""
        device = self._trainer.accelerator.device
        pad = self._trainer.processing_class.pad_token_id
        out = {}
        for name, side in (("prompt", "left"), ("completion", "right")):
            texts = [torch.tensor(c.prompt if name == "prompt" else c.ids, device=device) for c in batch]
            masks = [torch.ones_like(text) for text in texts]
            out[f"{name}_ids"] = torch.nn.utils.rnn.pad_sequence(texts, True, pad, padding_side=side)
            out[f"{name}_mask"] = torch.nn.utils.rnn.pad_sequence(masks, True, 0, padding_side=side)
        return out
