"""The expected score of confidences over everything that could have been stated: ``credit: expected``.

Once answer i is judged, the score S(v, y_i) of every confidence v is known, not only that of the one that was sampled.
So the gradient of the expected score is taken directly from the model's next-token probabilities. At each token t of a
confidence that decides its value (`polymode.training.confidence_tokens`), with p(u) the probability of token u among
those that lead to a confidence::

    E_t = sum_u p(u) Q(u)        d E_t / d weights = sum_u (d p(u) / d weights) Q(u)

Q(u) is S of what u leads to: looked up for the tokens that were not sampled, and for the one that was, the expectation
E_(t + 1) at the next token of the same confidence, or S(q_i, y_i) at the last. Q counts as a constant. Given the
answers and the text before the confidence nothing in this is sampled where one token decides, so its variance is 0; the
sampled gradient S(q_i, y_i) d log p(q_i) has the same expectation (all-action policy gradients, Sutton et al. 2001;
Ciosek & Whiteson, https://arxiv.org/abs/1706.05374). As all credit of a step it is
multiplied by (n - 1) / n of the group's n scored completions (`polymode.credit.group.shrink_of`). That a confidence is
stated at all, and what it leads to further
on, stays with the sampled credit of `polymode.credit`.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polymode.errors import ConfigError
from polymode.training.confidence_options import LOSS_TYPES
from polymode.training.confidence_tokens import Choice, Choices, NumberTokens, Stated

_LOGITS_DIFFER = 0.1
"""Log-probabilities in bfloat16 differ by less."""
TAU = 0.02
"""Of a proper score in [-1, 0]; chosen on validation questions of the harder lab (docs/results.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedConfidence:
    """A confidence with what it is scored by."""

    choices: Sequence[Choice]
    """In the order of its tokens, at least one."""
    label: float
    """y_i in [0, 1]."""
    weight: float
    """What its loss is multiplied by in the score of its completion."""
    is_estimate: bool = False
    """Whether the label is an estimated probability of being right, not a verdict; see `expected_losses`."""


@contextmanager
def hidden_states_of(decoder: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """The hidden states that every call of ``decoder`` gives, (rows, tokens, width) each, while the context is open.

    The decoder, or one of its blocks, is watched, not the model around it: PEFT calls that one's ``forward`` directly,
    past all hooks.
    """
    states: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        states.append(output if isinstance(output, torch.Tensor) else output[0])

    hook = decoder.register_forward_hook(keep)
    try:
        yield states
    finally:
        hook.remove()


def completion_states(calls: Sequence[torch.Tensor], inputs: Mapping[str, Any]) -> torch.Tensor:
    """The hidden state in front of each token of the completions, (rows, tokens, width).

    Args:
        calls: what `hidden_states_of` saw while the batch went through the model. A prompt that was read once for
            several completions is a call of its own, with fewer rows, before that of the completions, which then begins
            with the last token of the prompt; otherwise the rows are whole sequences.
        inputs: the batch as TRL has it.
    """
    rows, n_completion = inputs["completion_ids"].shape
    n_prompt = inputs["prompt_ids"].shape[1]
    hidden_N_T_H = [call for call in calls if len(call) == rows][-1]
    return hidden_N_T_H[:, n_prompt - 1 :] if hidden_N_T_H.shape[1] == n_prompt + n_completion else hidden_N_T_H


def choice_places(confidences: Sequence[Sequence[JudgedConfidence]]) -> tuple[list[int], list[int]]:
    """Row and token of every choice of a batch, in order, from the confidences of each row."""
    places = [(row, choice.position) for row, own in enumerate(confidences) for one in own for choice in one.choices]
    return [row for row, _ in places], [token for _, token in places]


def number_logits(head: Any, config: Any, hidden_M_H: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Logits of some tokens of the vocabulary, as the model's own head gives them, in float32.

    Args:
        head: output embeddings.
        config: of the model; some scale or squash their logits.
        hidden_M_H: last hidden states.
        tokens: ids, shape (C,) for all rows or (M, C) for each.
    """
    if hasattr(head, "base_layer"):  # of LoRA adapters on the head itself, whose weight is that without them
        logits = head(hidden_M_H.to(head.weight.dtype)).float()
        return as_the_model(config, logits[:, tokens] if tokens.ndim == 1 else logits.gather(1, tokens))
    weight = head.weight[tokens].float()
    hidden = hidden_M_H.float()
    logits = hidden @ weight.T if tokens.ndim == 1 else (weight @ hidden[:, :, None])[:, :, 0]
    if getattr(head, "bias", None) is not None:
        logits = logits + head.bias[tokens].float()
    return as_the_model(config, logits)


def as_the_model(config: Any, logits: torch.Tensor) -> torch.Tensor:
    """What the head gives, scaled and squashed as some models do it; `check_logits` finds the others."""
    if (scale := getattr(config, "logit_scale", None)) is not None:
        logits = logits * scale
    elif (scale := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / scale
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = cap * torch.tanh(logits / cap)
    return logits


@torch.no_grad()
def check_logits(model: Any, numbers: NumberTokens) -> None:
    """Compare `number_logits` with the model's own logits on a short text.

    Raises:
        ConfigError: they differ, so that the probabilities of confidences would be wrong.
    """
    tokens = torch.as_tensor(numbers.ids, device=model.device)
    was_training = model.training
    model.eval()
    with hidden_states_of(model.base_model) as calls:
        own = model(input_ids=tokens[None, :8]).logits[:, -1, tokens]
    model.train(was_training)
    config, head = model.config.get_text_config(), model.get_output_embeddings()
    computed = number_logits(head, config, calls[-1][:, -1], tokens)
    if not torch.allclose(computed.log_softmax(-1), own.float().log_softmax(-1), atol=_LOGITS_DIFFER):
        raise ConfigError(
            f"credit = 'expected' with a model of type {config.model_type!r}: it makes its logits in a way that "
            "polymode does not know; use credit: term"
        )


def judged_confidences(
    choices: Choices,
    stated: Sequence[Stated],
    labels: Sequence[float],
    weight: float,
    estimated: Container[int] = (),
) -> list[JudgedConfidence]:
    """The confidences of a completion that some token decides.

    Where the label is an estimate, places are left out at which a number is only begun. What another token leads to
    there is looked up in other completions that can be read, or taken as it stands, and a target that goes by it makes
    a model write ``1`` and go on as it does behind ``0``, with ``.8``.

    Args:
        choices: of the batch.
        stated: the confidences in their tokens.
        labels: by slot.
        weight: of their losses.
        estimated: slots whose label is an estimate.
    """
    own = [
        ([choice for choice in choices.of(one) if not (choice.is_open and one.slot in estimated)], one.slot)
        for one in stated
    ]
    return [JudgedConfidence(of_one, labels[slot], weight, slot in estimated) for of_one, slot in own if of_one]


def choice_log_probabilities(
    confidences: Sequence[JudgedConfidence], numbers: NumberTokens, hidden_M_H: torch.Tensor, model: Any, heat: float
) -> torch.Tensor:
    """Log p(u) of every token u at every choice, among those that lead to a confidence, shape (M, C + 1).

    Args:
        confidences: with M choices in all, in the order of ``hidden_M_H``.
        numbers: of the tokenizer.
        hidden_M_H: last hidden states at the token before each choice.
        model: the causal language model, without wrappers.
        heat: sampling temperature.
    """
    choices = [choice for confidence in confidences for choice in confidence.choices]
    device = hidden_M_H.device
    config, head = model.config.get_text_config(), model.get_output_embeddings()
    columns = torch.as_tensor(numbers.ids, device=device)
    # A number that ends its completion has no end token; its column is not allowed, so any id will do.
    ends = torch.tensor([[0 if choice.end is None else choice.end] for choice in choices], device=device)
    logits_M_C = torch.cat(
        [number_logits(head, config, hidden_M_H, columns), number_logits(head, config, hidden_M_H, ends)], 1
    )
    allowed_M_C = torch.as_tensor(np.stack([choice.allowed_C for choice in choices]), device=device)
    return torch.log_softmax((logits_M_C / heat).masked_fill(~allowed_M_C, -torch.inf), 1)


def expected_losses(confidences: Sequence[JudgedConfidence], log_p_M_C: torch.Tensor) -> torch.Tensor:
    """-E_t of every choice, shape (M,), weighted, with the gradients to descend.

    Where the label is a verdict, they are those of -E_t. Where it is an estimate, they are those of the cross-entropy
    against a target that improves on the probabilities as they are (mirror descent, a step of size 1 / tau)::

        target(u) = p(u) exp(Q(u) / tau) / sum of the same        d cross-entropy / d logit(u) = p(u) - target(u)

    The gradient of -E_t is small wherever the values that are stated score nearly alike, and a better one that is
    hardly ever stated waits for ever beside a popular one. Here the odds of two values change by the factor
    exp(difference of scores / tau), and tokens of equal score keep their shares, so that how a number is written does
    not change. With verdicts in place of probabilities the targets would run to 0 and 1, whose mean is not the target
    of the mean.
    """
    p_M_C = log_p_M_C.exp()
    losses_M_C = torch.as_tensor(
        _losses_of_tokens(confidences, p_M_C.detach().double().cpu().numpy()), device=p_M_C.device, dtype=p_M_C.dtype
    )
    expected_M = (p_M_C * losses_M_C).sum(1)
    per_choice = [(one.is_estimate, one.weight) for one in confidences for _ in one.choices]
    is_estimate_M = torch.tensor([is_estimate for is_estimate, _ in per_choice], device=p_M_C.device)
    if not is_estimate_M.any():
        return expected_M
    weights_M = torch.tensor([weight for _, weight in per_choice], device=p_M_C.device, dtype=p_M_C.dtype)
    # A weight may be 0, and so its losses: then any target will do.
    scores_M_C = -losses_M_C / weights_M.clamp(min=torch.finfo(weights_M.dtype).tiny)[:, None]
    target_M_C = torch.softmax(log_p_M_C.detach() + scores_M_C / TAU, 1)
    cross_M = -weights_M * (target_M_C * log_p_M_C.masked_fill(target_M_C == 0, 0.0)).sum(1)
    return torch.where(is_estimate_M, expected_M.detach() + cross_M - cross_M.detach(), expected_M)


def sampled_shares(confidences: Sequence[JudgedConfidence], log_p_M_C: torch.Tensor) -> torch.Tensor:
    """Sum of log p(u) of the sampled tokens among those that lead to a confidence, inside the numbers.

    Taken from the log-probability of a token inside a number, it leaves what the expected score says nothing about:
    that one of these tokens is written at all. The chain rule parts log p(u) into log p(some number goes on) and this.
    """
    choices = [choice for confidence in confidences for choice in confidence.choices]
    end = log_p_M_C.shape[1] - 1
    columns = torch.tensor([choice.token for choice in choices], dtype=torch.long, device=log_p_M_C.device)
    sampled_M = log_p_M_C.gather(1, columns[:, None])[:, 0]
    return sampled_M[columns != end].sum()


def _losses_of_tokens(confidences: Sequence[JudgedConfidence], p_M_C: NDArray[np.float64]) -> NDArray[np.float64]:
    """-Q of every token at every choice, weighted: from the last token of a confidence to its first."""
    losses_M_C = np.empty_like(p_M_C)
    start = 0
    for confidence in confidences:
        expected = None
        for m in range(start + len(confidence.choices) - 1, start - 1, -1):
            choice = confidence.choices[m - start]
            losses_C = choice.losses_CY @ (1 - confidence.label, confidence.label)
            if expected is not None:
                losses_C[choice.token] = expected
            expected = p_M_C[m] @ losses_C
            losses_M_C[m] = confidence.weight * losses_C
        start += len(confidence.choices)
    return losses_M_C


def mean_loss(confidences: Sequence[JudgedConfidence], losses_M: torch.Tensor) -> float:
    """Mean expected loss of the confidences, without weights: at the first choice of each, which all of it follows.

    Those of weight 0, of a completion that alone in its group was scored, are left out; NaN where all are.
    """
    firsts = np.cumsum([0, *(len(one.choices) for one in confidences[:-1])])
    weights = np.array([one.weight for one in confidences])
    has_weight = weights > 0
    if not has_weight.any():
        return math.nan
    losses = losses_M.detach().double().cpu().numpy()[firsts]
    return float((losses[has_weight] / weights[has_weight]).mean())


def token_weights(trainer: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the trainer's loss multiplies the loss of each token by, shape (rows, tokens): its normalisation.

    Of vLLM's correction the ratio of a whole completion, shape (rows, 1), belongs to it: a completion that the policy
    would hardly write is taken out with its confidences. The ratio of a token does not: no token was sampled for this.
    """
    mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
    return _normalised(trainer, inputs, mask) * _ratio_of_completions(inputs, mask)


def _ratio_of_completions(inputs: dict[str, torch.Tensor], mask: torch.Tensor) -> torch.Tensor | float:
    ratio = inputs.get("importance_sampling_ratio")
    return 1.0 if ratio is None or ratio.shape == mask.shape else ratio


def _normalised(trainer: Any, inputs: dict[str, torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    steps = trainer.current_gradient_accumulation_steps
    match trainer.loss_type:
        case "grpo":
            return mask / (mask.sum(1, keepdim=True).clamp(min=1.0) * len(mask) * steps)
        case "bnpo":
            return mask / (mask.sum().clamp(min=1.0) * steps)
        case "dr_grpo":
            return mask / (len(mask) * trainer.max_completion_length * steps)
        case "dapo" | "cispo":
            items = inputs["num_items_in_batch"].clamp(min=1.0) / trainer.accelerator.num_processes
            return mask / (items * steps / trainer.args.steps_per_generation)
    raise ValueError(f"loss_type = {trainer.loss_type!r} is no weighted sum over tokens: use one of {LOSS_TYPES}")
