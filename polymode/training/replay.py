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
that never saw the question. Its mean is about that of the verdicts in each slot: it says the same on average with far
less noise; where the probe is no better than the slots' means it adds nothing. Without the noise, probabilities can be
moved by mirror descent instead of by the gradient of the expected loss
(`polymode.training.expected_score.expected_losses`), which learns far more from as many steps (docs/results.md).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import TrainerCallback

from polymode.errors import ConfigError
from polymode.training.allocator import return_freed_memory
from polymode.training.confidence_options import replay_options
from polymode.training.confidence_tokens import Choices, Loss, NumberTokens
from polymode.training.expected_score import (
    completion_states,
    hidden_states_of,
)
from polymode.training.replay_buffer import SAVED, JudgedCompletion, fit_probe
from polymode.training.replay_loss import ReplayLoss

log = logging.getLogger(__name__)
_REFIT = 4
"""Steps of reinforcement learning between two fits of the probe."""
_WARMUP_SHARE = 0.1
"""Of the last steps."""


class Replay(TrainerCallback):
    """The buffer and its steps; a callback of the trainer that fills it."""

    def __init__(self, trainer: Any, numbers: NumberTokens, loss: Loss) -> None:
        recipe = trainer._recipe
        self._trainer, self._numbers, self._loss = trainer, numbers, loss
        self.options = replay_options(recipe.replay)
        self._of_batches = ReplayLoss(trainer, numbers, self.options.anchor)
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
            fit_probe(self.buffer)
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
        self._of_batches.take_references(model, batches, choices)
        for step, batch in enumerate(tqdm(batches, desc="replay", unit="step", disable=is_quiet)):
            self._optimizer.param_groups[0]["lr"] = self._share_of_rate(step, n) * self.options.learning_rate
            score = self._of_batches.add_gradients(model, batch, choices)
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

    def save(self, folder: Path) -> None:
        """Everything that the next steps depend on, into a checkpoint: one file of each process."""
        folder.mkdir(parents=True, exist_ok=True)  # the main process may not have come to it yet
        torch.save(
            {
                "buffer": [{name: getattr(one, name) for name in SAVED} for one in self.buffer],
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
