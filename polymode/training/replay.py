"""Proper-score steps on judged completions of earlier steps: ``replay`` of a recipe.

Whether answer i is right, given the text up to it, does not depend on the policy, so a judged completion stays a valid
label for its confidences when the policy has moved on. A bounded buffer keeps the latest completions, and steps on
them follow, a few after each step of reinforcement learning or more after the last, with an optimiser of their own
(AdamW, whose two moments take as much memory again as those of the first)::

    loss = (sum over deciding tokens of their loss + anchor x sum over all tokens of D_t) / confidences

D_t is the divergence from the model before these steps, so that with an anchor of 1 a nat of it costs as much as a nat
of the first term. It holds the answers and the format where they are (`polymode.training.divergence`). At a token
inside a confidence it holds that any token is written which leads to one: which of them is for the first term alone,
and nothing but the anchor keeps the others out.

Labels are verdicts, and a deciding token's loss is sum_u p(u) loss(u, y_i) / tau; or with ``teacher: probe`` labels are
the probability that a linear probe of the hidden state in front of the confidence gives (`polymode.probe`), from a fit
that never saw the question, with the mean of the verdicts in each slot. It says the same on average with far less
noise; where the probe is no better than the slots' means it adds nothing. Without the noise, probabilities can be moved
by mirror descent instead of by the gradient of the expected loss (`polymode.training.expected_score.expected_losses`),
which learns far more from as many steps (docs/results.md).
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import TrainerCallback

from polymode.decoding.settings import base_of
from polymode.errors import ConfigError, RecordError
from polymode.probe import cross_fitted
from polymode.probe.fitting import check_labels
from polymode.training.allocator import return_freed_memory
from polymode.training.confidence_options import replay_options
from polymode.training.confidence_tokens import Choices, Loss, NumberTokens, Stated
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

log = logging.getLogger(__name__)
_REFIT = 4
"""Steps of reinforcement learning between two fits of the probe."""
_WARMUP_SHARE = 0.1
"""Of the last steps."""


@dataclass(slots=True, eq=False)
class JudgedCompletion:
    """What the buffer holds."""

    prompt: list[int]
    """Tokens."""
    ids: list[int]
    stated: Sequence[Stated]
    labels: Sequence[float]
    """By slot."""
    question: str
    """What it is known by, whatever its id: answers to one question are not predicted from each other."""
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """Hidden state in front of each confidence, by slot."""
    probe: dict[int, float] = field(default_factory=dict)
    """What the probe says, by slot."""
    reference: Reference | None = None
    """Probabilities of its tokens before the steps that are being taken."""

    def label(self, slot: int) -> float:
        """What the confidence is scored against: the probe's probability where there is one, else the verdict."""
        return self.probe.get(slot, self.labels[slot])


_SAVED = ("prompt", "ids", "stated", "labels", "question", "features", "probe")


class Replay(TrainerCallback):
    """The buffer and its steps; a callback of the trainer that fills it."""

    def __init__(self, trainer: Any, numbers: NumberTokens, loss: Loss) -> None:
        recipe = trainer._recipe
        self._trainer, self._numbers, self._loss = trainer, numbers, loss
        self.options = replay_options(recipe.replay)
        self.buffer: deque[JudgedCompletion] = deque(maxlen=self.options.size)
        self._batch: list[JudgedCompletion | None] = []
        self._rng = np.random.default_rng([recipe.seed, trainer.accelerator.process_index])
        self._optimizer: torch.optim.Optimizer | None = None

    def remember(self, completions: Iterable[JudgedCompletion | None]) -> None:
        """The judged completions of a step, None for one without usable confidences."""
        self._batch = list(completions)
        self.buffer.extend(one for one in self._batch if one is not None)

    @contextmanager
    def remember_states(self, causal: Any, rows: Sequence[int], inputs: Mapping[str, Any]) -> Iterator[None]:
        """While some rows of the step go through the model, take the states in front of their confidences."""
        if self.options.teacher != "probe":
            yield
            return
        with hidden_states_of(self._layer(causal)) as calls:
            yield
        items = [
            (index, one, completion)
            for index, row in enumerate(rows)
            if (completion := self._batch[row]) is not None
            for one in completion.stated
        ]
        places = [index for index, _, _ in items], [one.first for _, one, _ in items]
        states_M_H = completion_states(calls, inputs).detach()[places].float().cpu().numpy()
        for (_, one, completion), state_H in zip(items, states_M_H, strict=True):
            completion.features[one.slot] = state_H

    def _layer(self, causal: Any) -> torch.nn.Module:
        """The block whose output the probe reads; the whole decoder where its blocks are not found."""
        decoder = causal.base_model
        n = causal.config.get_text_config().num_hidden_layers
        blocks = next((m for m in decoder.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == n), None)
        return decoder if blocks is None else blocks[max(1, round(self.options.layer * n)) - 1]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the steps of replay; all processes or none."""
        trainer = self._trainer
        least = torch.tensor([len(self.buffer)], device=trainer.accelerator.device)
        if (n_judged := int(trainer.accelerator.gather(least).min())) < self.options.batch:
            if state.global_step >= state.max_steps:
                log.warning("replay: only %d completions could be read; no step was taken", n_judged)
            return
        is_last = state.global_step >= state.max_steps
        n = self.options.steps + (self.options.last_steps if is_last else 0)
        if not n:
            return
        if self.options.teacher == "probe" and (is_last or (state.global_step - 1) % _REFIT == 0):
            self._fit_probe()
        model = trainer.model_wrapped
        if self._optimizer is None:
            self._optimizer = self._make_optimizer(model)
        model.train()
        choices = Choices(self._numbers, [one for c in self.buffer for one in c.stated], self._loss)
        is_quiet = not is_last or not trainer.is_world_process_zero()
        batches = [
            [self.buffer[i] for i in self._rng.choice(len(self.buffer), self.options.batch, replace=False)]
            for _ in range(n)
        ]
        self._take_references(model, batches, choices)
        for step, batch in enumerate(tqdm(batches, desc="replay", unit="step", disable=is_quiet)):
            self._optimizer.param_groups[0]["lr"] = self._share_of_rate(step, n) * self.options.learning_rate
            score = self._add_gradients(model, batch, choices)
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
            self._optimizer.step()
            model.zero_grad()
            return_freed_memory()
            if score is not None:
                trainer._metrics["train"]["replay_confidence_loss"].append(score)
        for completion in self.buffer:
            completion.reference = None

    def _share_of_rate(self, step: int, n: int) -> float:
        """Of the last steps: up over the first of them, since Adam's are as long as the rate allows, then down to 0."""
        if step < self.options.steps:
            return 1.0
        last = self.options.last_steps
        rising = max(1, round(_WARMUP_SHARE * last))
        return min((step - self.options.steps + 1) / rising, (n - step) / last)

    def _make_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        return torch.optim.AdamW(weights, lr=self.options.learning_rate, weight_decay=0.0)

    @torch.no_grad()
    def _take_references(self, model: Any, batches: Sequence[Sequence[JudgedCompletion]], choices: Choices) -> None:
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

    def _add_gradients(self, model: Any, batch: Sequence[JudgedCompletion], choices: Choices) -> float | None:
        """Gradients of the loss of a batch; its mean confidence loss, if any token of it decides a confidence."""
        confidences = self._confidences_of(batch, choices)
        n_confidences = sum(map(len, confidences))
        total, rows = 0.0, self._rows_at_once(batch)
        for start in range(0, len(batch), rows):
            chunk = slice(start, start + rows)
            anchor, losses_M = self._losses(model, batch[chunk], confidences[chunk])
            ((losses_M.sum() + self.options.anchor * anchor) / max(n_confidences, 1)).backward()
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

    def _fit_probe(self) -> None:
        """Cross-fitted probabilities for all answers of the buffer whose states are there; verdicts where it cannot."""
        items = [(c, slot) for c in self.buffer for slot in c.features]
        for c in self.buffer:
            c.probe = {}
        labels_N = np.array([c.labels[slot] for c, slot in items])
        questions_N = [c.question for c, _ in items]
        try:
            check_labels(labels_N, questions_N)
        except RecordError:  # too few answers yet, or all of one verdict
            return
        features_NF = np.stack([c.features[slot] for c, slot in items])
        slots_N = np.array([slot for _, slot in items])
        p_N = cross_fitted(features_NF, labels_N, questions_N, slots_N)
        for (c, slot), p in zip(items, p_N, strict=True):
            c.probe[slot] = float(p)

    def save(self, folder: Path) -> None:
        """Everything that the next steps depend on, into a checkpoint: one file of each process."""
        folder.mkdir(parents=True, exist_ok=True)  # the main process may not have come to it yet
        torch.save(
            {
                "buffer": [{name: getattr(one, name) for name in _SAVED} for one in self.buffer],
                "rng": self._rng.bit_generator.state,
                "optimizer": None if self._optimizer is None else self._optimizer.state_dict(),
            },
            self._file(folder),
        )

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ConfigError: it has no file of this process, since there were fewer.
        """
        path = self._file(folder)
        if not path.exists():
            n = len([*folder.glob("replay-*.pt")])
            raise ConfigError(
                f"{folder} is of a run in fewer processes ({n}): resume it in as many, or start a new run"
            )
        content = torch.load(path, weights_only=False, map_location="cpu")
        self.buffer.clear()
        self.buffer.extend(JudgedCompletion(**one) for one in content["buffer"])
        self._rng.bit_generator.state = content["rng"]
        if content["optimizer"] is not None:
            self._optimizer = self._make_optimizer(self._trainer.model_wrapped)
            self._optimizer.load_state_dict(content["optimizer"])

    def _file(self, folder: Path) -> Path:
        return folder / f"replay-{self._trainer.accelerator.process_index}.pt"
