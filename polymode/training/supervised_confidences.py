"""Supervised training of a model's confidences on verdicts of its own answers: the ceiling of what it can know.

Reinforcement learns what to state from a few noisy scores a step. The same model, given many judged completions of its
own and the loss of every confidence that it could have stated, shows how much it knows about its answers at all::

    loss = mean over confidences of -E[S]  +  anchor x mean cross-entropy of all tokens

with E[S] the expected score over everything that could have been stated (`polymode.training.expected_score`). At the
tokens that decide a confidence the second part counts that some confidence is stated, not which. It holds the answers
where they are: at samples of the model itself, and at the temperature that they were sampled with, its expected
gradient is 0. Several learning rates are tried, and the weights with the lowest loss of confidences on validation
questions are kept; the model as it came is among them, so that training can only help there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from polymode import runs
from polymode.decoding.texts import CompletionDecoder, ends_of, opening_of
from polymode.decoding.token_starts import TokenStarts
from polymode.errors import ConfigError
from polymode.prompts import Style
from polymode.rewards.proper import loss_of
from polymode.training.allocator import return_freed_memory
from polymode.training.confidence_tokens import Choices, NumberTokens, Stated, stated_confidences
from polymode.training.expected_score import (
    JudgedConfidence,
    as_the_model,
    check_logits,
    choice_log_probabilities,
    choice_places,
    expected_losses,
    judged_confidences,
    mean_loss,
    sampled_shares,
)
from polymode.training.supervision_options import ConfidenceSupervision
from polymode.training.warmup import Encoder, row_of
from polymode.types import Completion, Judgement

CHECKS = "checks.json"
"""What was tried, with the loss of confidences on validation questions."""
_NO_LOSS = -100
_WARMUP_SHARE = 0.05


class Judged(NamedTuple):
    """A completion with the verdicts of its answers."""

    completion: Completion
    judgement: Judgement


class _Row(NamedTuple):
    ids: list[int]
    labels: list[int]
    """`ids` where the anchor counts, else `_NO_LOSS`."""
    n_prompt: int
    confidences: list[JudgedConfidence]


def supervise_confidences(
    training: Sequence[Judged],
    validation: Sequence[Judged],
    encoder: Encoder,
    folder: Path,
    options: ConfidenceSupervision,
    *,
    style: Style,
    temperature: float,
    confidence_score: str = "brier",
    seed: int = 0,
) -> Path:
    """Train the confidences of ``encoder.model`` on the verdicts into ``folder``/model, and return that folder.

    Args:
        training: completions of the model itself, judged.
        validation: the same for other questions.
        encoder: what speaks to the model.
        folder: run folder; gets checks.json with the loss of each check.
        options: how long, how fast.
        style: of the prompts.
        temperature: that completions are sampled with.
        confidence_score: proper score of single answers.
        seed: of the batches.

    Raises:
        ConfigError: no confidence that tokens decide and a verdict was reached for.
    """
    model: Any = encoder.model
    decode = CompletionDecoder(encoder.tokenizer, ends_of(model))
    numbers = NumberTokens(decode)
    check_logits(model, numbers)
    rows, check_rows = (
        _rows(judged, encoder, decode, numbers, style, confidence_score) for judged in (training, validation)
    )
    if not any(row.confidences for row in rows) or not any(row.confidences for row in check_rows):
        raise ConfigError(
            "no completion states a confidence that its tokens decide and whose answer was judged: sample more "
            "questions, or use a model that keeps the answer format"
        )
    model.float()
    started = {name: value.detach().clone() for name, value in model.state_dict().items()}
    train = _Supervision(model, numbers, int(encoder.tokenizer.pad_token_id or 0), temperature, options, seed)
    best, weights = train.loss(check_rows), started
    log: list[dict[str, Any]] = [{"step": 0, "learning_rate": None, "validation/loss": best}]
    every = max(1, options.steps // options.checks)
    with tqdm(total=options.steps * len(options.learning_rates), unit="step", desc="confidences") as bar:
        for rate in options.learning_rates:
            model.load_state_dict(started)
            for step in train.steps(rows, rate):
                bar.update()
                if step % every == 0 or step == options.steps:
                    loss = train.loss(check_rows)
                    log.append({"step": step, "learning_rate": rate, "validation/loss": loss})
                    if loss < best:
                        best, weights = loss, {n: v.detach().clone() for n, v in model.state_dict().items()}
    model.load_state_dict(weights)
    runs.write_json(folder / CHECKS, {"confidence_score": confidence_score, "checks": log})
    part, target = folder / ".model", folder / "model"
    model.save_pretrained(part)
    encoder.tokenizer.save_pretrained(part)
    runs.write_chat(part, encoder.chat)
    part.rename(target)
    return target


def _rows(
    judged: Sequence[Judged],
    encoder: Encoder,
    decode: CompletionDecoder,
    numbers: NumberTokens,
    style: Style,
    score: str,
) -> list[_Row]:
    """Tokens, labels and choices of the finished completions; malformed ones count for the anchor alone."""
    read: list[tuple[dict[str, list[int]], int, list[Stated], Judgement]] = []
    starts_of = TokenStarts(decode)
    for completion, judgement in judged:
        if completion.is_finished is False:
            continue
        row = row_of(completion, encoder, style)
        n_prompt = row["labels"].count(_NO_LOSS)
        reply = row["input_ids"][n_prompt:]
        text = opening_of(encoder.tokenizer, row["input_ids"][:n_prompt]) + decode(reply)
        is_read = judgement.answer_set.is_clean and text == completion.text
        stated = stated_confidences(numbers, reply, starts_of(reply, text), judgement.answer_set) if is_read else []
        read.append((row, n_prompt, stated, judgement))
    choices = Choices(numbers, [one for _, _, stated, _ in read for one in stated], loss_of(score))
    out = []
    for row, n_prompt, stated, judgement in read:
        labels = list(row["labels"])
        judged_ones = [one for one in stated if judgement.labels[one.slot] is not None]
        for one in stated:
            if one not in judged_ones:  # nothing is known that it could be held to
                labels[n_prompt + one.first : n_prompt + one.first + len(one.tokens)] = [_NO_LOSS] * len(one.tokens)
        confidences = judged_confidences(choices, judged_ones, [float(y or 0) for y in judgement.labels], 1.0)
        out.append(_Row(row["input_ids"], labels, n_prompt, confidences))
    return out


class _Supervision:
    """One model, and how it is trained and checked."""

    def __init__(
        self, model: Any, numbers: NumberTokens, pad: int, temperature: float, options: ConfidenceSupervision, seed: int
    ) -> None:
        self.model, self.numbers, self.pad, self.temperature = model, numbers, pad, temperature
        self.options, self.seed = options, seed

    def steps(self, rows: Sequence[_Row], rate: float) -> Iterator[int]:
        """Train, a step for each number that is taken."""
        options = self.options
        self.model.train()
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, weight_decay=0.0)
        warmup = max(1, round(_WARMUP_SHARE * options.steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda i: min((i + 1) / warmup, (options.steps - i) / max(1, options.steps - warmup))
        )
        for step, chosen in enumerate(islice(_batches(len(rows), options.batch, self.seed), options.steps), 1):
            for start in range(0, len(chosen), options.device_batch):
                part = [rows[i] for i in chosen[start : start + options.device_batch]]
                hidden, labels = self._read(part)
                flat, losses_M, shares = self._confidence_losses(part, hidden)
                loss = losses_M.sum() / max(1, len(flat)) + options.anchor * self._anchor(hidden, labels, shares)
                (loss * len(part) / len(chosen)).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            return_freed_memory()
            yield step

    @torch.no_grad()
    def loss(self, rows: Sequence[_Row]) -> float:
        """Mean loss of a confidence over all rows."""
        was_training = self.model.training
        self.model.eval()
        size, total, n = self.options.device_batch, 0.0, 0
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            flat, losses_M, _ = self._confidence_losses(part, self._read(part)[0])
            if flat:
                total, n = total + len(flat) * mean_loss(flat, losses_M), n + len(flat)
        self.model.train(was_training)
        return total / n

    def _read(self, rows: Sequence[_Row]) -> tuple[torch.Tensor, torch.Tensor]:
        """Last hidden states of the rows, and their labels, padded on the right."""
        width = max(len(row.ids) for row in rows)
        device = self.model.device
        ids, labels, mask = (
            torch.tensor([[*own(row), *[fill] * (width - len(row.ids))] for row in rows], device=device)
            for own, fill in (
                (lambda row: row.ids, self.pad),
                (lambda row: row.labels, _NO_LOSS),
                (lambda row: [1] * len(row.ids), 0),
            )
        )
        return self.model.base_model(input_ids=ids, attention_mask=mask)[0], labels

    def _anchor(self, hidden: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of the anchor's tokens; where they decide a confidence, of writing any that leads to one.

        ``shares``: `polymode.training.expected_score.sampled_shares`.
        """
        is_anchor = labels[:, 1:] != _NO_LOSS
        logits = self.model.get_output_embeddings()(hidden[:, :-1][is_anchor])
        logits = as_the_model(self.model.config.get_text_config(), logits.float())
        total = torch.nn.functional.cross_entropy(logits / self.temperature, labels[:, 1:][is_anchor], reduction="sum")
        return (total + shares) / is_anchor.sum()

    def _confidence_losses(
        self, rows: Sequence[_Row], hidden: torch.Tensor
    ) -> tuple[list[JudgedConfidence], torch.Tensor, torch.Tensor]:
        """The confidences of the rows, the expected loss at every choice, shape (M,), their `sampled_shares`."""
        flat = [one for row in rows for one in row.confidences]
        if not flat:
            return flat, hidden.new_zeros(0), hidden.new_zeros(())
        row_M, token_M = choice_places([row.confidences for row in rows])
        columns = [rows[row].n_prompt + token - 1 for row, token in zip(row_M, token_M, strict=True)]
        log_p_M_C = choice_log_probabilities(flat, self.numbers, hidden[row_M, columns], self.model, self.temperature)
        return flat, expected_losses(flat, log_p_M_C), sampled_shares(flat, log_p_M_C)


def _batches(n: int, size: int, seed: int) -> Iterator[list[int]]:
    """Batches without end, each pass over the rows in a new order."""
    rng = np.random.default_rng(seed)
    order: list[int] = []
    while True:
        while len(order) < size:
            order += rng.permutation(n).tolist()
        yield order[:size]
        order = order[size:]
