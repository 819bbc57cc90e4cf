"""TRL's GRPO trainer with each prompt read once for all completions of its question, in sampling and in the loss.

The same distribution of samples and the same gradients as the stock trainer's (`polymode.decoding`,
`polymode.training.shared_forward`), with DDP, ZeRO-1 and ZeRO-2 too. The stock code still runs where a prompt cannot be
shared: sampling with vLLM, weights spread over processes (ZeRO-3, FSDP), recomputed activations, images, and models
with attention of another kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import torch
from trl import GRPOConfig
from trl.models import unwrap_model_for_generation

from polymode.decoding.memory import rows_that_fit, sample_in_chunks
from polymode.decoding.sampling import complete
from polymode.decoding.stops import StopStrings
from polymode.training.device_batches import arrange
from polymode.training.local_completions import LocalCompletionsTrainer
from polymode.training.sharding import has_whole_weights
from polymode.training.shared_forward import can_share_forward, shared_log_probs

_PER_BATCH_MEAN = "bnpo"
"""The loss that divides by the tokens of each device batch, so that it depends on their arrangement."""


class SharedPromptTrainer(LocalCompletionsTrainer):
    """Trains as `trl.GRPOTrainer` does, with less work."""

    args: GRPOConfig
    num_generations: int
    stops: StopStrings | None = None
    """Texts that end a completion; vLLM gets them with its own settings."""

    @cached_property
    def _fits(self) -> bool:
        return has_whole_weights(self.accelerator) and can_share_forward(self.model)

    @cached_property
    def _shares(self) -> bool:
        return self._fits and not self._checkpointing("")  # recomputing switches the cache off

    def _checkpointing(self, suffix: str) -> Any:
        """The option by the name that the installed version of transformers has for it (the newer since 5.18)."""
        older = getattr(self.args, f"gradient_checkpointing{suffix}", None)
        return getattr(self.args, f"activation_checkpointing{suffix}", older)

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, multimodal_fields: Any, *rest: Any, **options: Any
    ) -> tuple[Any, Any]:
        is_plain = not (self.use_vllm or self.use_transformers_continuous_batching or images or multimodal_fields)
        if is_plain and self._fits:
            recompute = self._checkpointing("_kwargs")
            with (
                unwrap_model_for_generation(
                    self.model_wrapped, self.accelerator, gradient_checkpointing_kwargs=recompute
                ) as model,
                self.accelerator.autocast(),
            ):  # as the loss computes them
                completions = complete(model, prompt_ids, self.generation_config, self.stops)
            if completions is not None:
                return completions, None
        stock = super()._generate_single_turn
        if is_plain and has_whole_weights(self.accelerator):  # processes that share weights must all generate as often
            most: Any = self.max_completion_length
            longest, model = max(map(len, prompt_ids), default=0), self.accelerator.unwrap_model(self.model_wrapped)

            def sample(rows: Sequence[int]) -> list[list[int]]:
                return stock([prompt_ids[i] for i in rows], None, multimodal_fields, *rest, **options)[0]

            with self.accelerator.autocast():
                at_once = rows_that_fit(model, longest, most)
            tokens_N = [len(ids) + most for ids in prompt_ids]
            completions = sample_in_chunks(model, range(len(prompt_ids)), tokens_N, at_once, sample)
            log_probs = None  # only engines tell them
        else:
            completions, log_probs = stock(prompt_ids, images, multimodal_fields, *rest, **options)
        if self.stops is not None and not self.use_vllm:
            completions = [self.stops.until_stop(row) for row in completions]
        return completions, log_probs

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **inputs: Any,
    ) -> tuple[Any, Any, Any]:
        stock = partial(
            super()._get_per_token_logps_and_entropies, logits_to_keep=logits_to_keep, compute_entropy=compute_entropy
        )
        if not self._shares or compute_aux_loss or any(value is not None for value in inputs.values()):
            return stock(
                model, input_ids, attention_mask, batch_size=batch_size, compute_aux_loss=compute_aux_loss, **inputs
            )
        size = batch_size or len(input_ids)
        parts: list[tuple[Any, Any]] = []
        for ids, mask in zip(input_ids.split(size), attention_mask.split(size), strict=True):
            with self.accelerator.autocast():
                shared = shared_log_probs(model, self.accelerator.unwrap_model(model), ids, mask, logits_to_keep)
            parts.append(stock(model, ids, mask)[:2] if shared is None else shared)
        log_probs, entropies = zip(*parts, strict=True)
        return torch.cat(log_probs), torch.cat(entropies) if compute_entropy else None, None

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        steps: Any = self.args.steps_per_generation
        # Only where the batches of a generation make up one optimiser step, whatever their order.
        if self._buffered_inputs is before or not self._shares or steps != self.args.gradient_accumulation_steps:
            return inputs
        if self.loss_type != _PER_BATCH_MEAN:
            self._buffered_inputs = arrange(self._buffered_inputs)
        return self._buffered_inputs[self._step % steps]
