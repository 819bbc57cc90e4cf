"""Which tokens decide a confidence, and the expected score over them against a whole enumeration."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from polymode.decoding.settings import base_of
from polymode.decoding.token_starts import TokenStarts
from polymode.errors import ConfigError
from polymode.parsing import confidence_of, parse_answers
from polymode.training.confidence_tokens import Choice, Choices, NumberTokens, Stated, check_tokens, stated_confidences
from polymode.training.expected_score import (
    JudgedConfidence,
    choice_log_probabilities,
    expected_losses,
    hidden_states_of,
    judged_confidences,
    mean_loss,
    number_logits,
    sampled_shares,
)


class Characters:
    """A tokenizer with one token for each character, and one for ``>0`` if asked."""

    def __init__(self, *more: str) -> None:
        self.pieces = [*(chr(i) for i in range(32, 127)), "\n", *more]

    def __len__(self) -> int:
        return len(self.pieces)

    def decode(self, ids: Any, **_: Any) -> str:
        return "".join(self.pieces[i] for i in ids)

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        ids = []
        while text:
            piece = max((p for p in self.pieces if text.startswith(p)), key=len)
            ids.append(self.pieces.index(piece))
            text = text[len(piece) :]
        return {"input_ids": ids}


class Decoder:
    """What `CompletionDecoder` is to the code under test."""

    silent: frozenset[int] = frozenset()

    def __init__(self, *more: str) -> None:
        self.tokenizer = Characters(*more)

    def __call__(self, ids: Any) -> str:
        return self.tokenizer.decode(ids)


def brier(q: float, y: float) -> float:
    return (q - y) ** 2


def ids_of(decode: Decoder, text: str) -> list[int]:
    return decode.tokenizer(text)["input_ids"]


@pytest.mark.parametrize(
    "text",
    [
        "<answer1>a</answer1><confidence1> 0.75</confidence1><answer2>b</answer2><confidence2>1</confidence2>",
        "1. a | 0.75\n2. b |1",
        "<think>0.5</think>\n1. a |  0.75 \n2. b | 1\n",
    ],
)
def test_stated_confidences_are_the_tokens_of_their_numbers(text: str) -> None:
    decode = Decoder()
    numbers, ids = NumberTokens(decode), ids_of(decode, text)  # type: ignore[arg-type]
    answers = parse_answers(text, 2, confidence=True)
    one, two = stated_confidences(numbers, ids, TokenStarts(decode)(ids, text), answers)  # type: ignore[arg-type]
    assert [decode(s.tokens) for s in (one, two)] == ["0.75", "1"]
    assert [text[s.first] for s in (one, two)] == ["0", "1"]
    assert two.end is None or decode([two.end]) in "<\n"


def test_what_follows_is_looked_up_in_the_same_slot_of_the_batch() -> None:
    decode = Decoder()
    numbers = NumberTokens(decode)  # type: ignore[arg-type]
    end = ids_of(decode, "<")[0]
    batch = [
        Stated(slot, 0, tuple(ids_of(decode, text)), end)
        for slot, text in [(0, "0.7"), (0, "0.75"), (0, "0.2"), (1, "0.9"), (0, "1")]
    ]
    first, point, tenths, hundredths = Choices(numbers, batch, brier).of(batch[0])
    column = {piece: numbers.column[i] for i, piece in numbers.pieces.items()}
    # First: 0 is what the three others begin with, 1 stands for itself; .5 could begin with a point, which nobody did.
    assert {p for p, c in column.items() if first.allowed_C[c]} == {"0", "1"}
    np.testing.assert_allclose(
        first.losses_CY[column["0"]], np.mean([[q**2, (1 - q) ** 2] for q in (0.7, 0.75, 0.2)], 0)
    )
    np.testing.assert_allclose(first.losses_CY[column["1"]], [1, 0])
    # Behind 0: a point, or the end, which makes 0 the number.
    assert point.allowed_C[column["."]] and point.allowed_C[-1] and point.allowed_C.sum() == 2
    np.testing.assert_allclose(point.losses_CY[-1], [0, 1])
    # Behind 0.: 7 leads to 0.7 and 0.75, 4 to itself; slot 2's 0.9 is none of this slot's.
    np.testing.assert_allclose(tenths.losses_CY[column["7"]], np.mean([[q**2, (1 - q) ** 2] for q in (0.7, 0.75)], 0))
    np.testing.assert_allclose(tenths.losses_CY[column["4"]], [0.16, 0.36])
    assert hundredths.token == len(numbers.ids)
    np.testing.assert_allclose(hundredths.losses_CY[-1], [0.49, 0.09])


def test_without_any_example_an_open_beginning_is_left_out() -> None:
    """All say 1: nothing is known about what would follow 0, and no value is put in its place."""
    decode = Decoder()
    stated = Stated(0, 0, tuple(ids_of(decode, "1")), ids_of(decode, "<")[0])
    choices = Choices(NumberTokens(decode), [stated], brier).of(stated)  # type: ignore[arg-type]
    assert all(choice.position > 0 for choice in choices)


SHARES = {"0.2": 6, "0.5": 3, "0.9": 9, "1.0": 2}
"""How often the policy states each confidence, of 20."""


@pytest.mark.parametrize("label", [0.0, 1.0, 0.3])
def test_the_mean_gradient_over_all_samples_is_that_of_the_expected_score(label: float) -> None:
    """Digits: the policy is a table of next-token logits by what is written so far.

    Everything that can be sampled is enumerated with its probability, and the batch that alternatives are looked up in
    has the policy's own shares. The mean of the gradients must be that of sum_v p(v) S(v, y), written out.
    """
    decode = Decoder()
    numbers = NumberTokens(decode)  # type: ignore[arg-type]
    end = ids_of(decode, "<")[0]
    texts = [text for text, share in SHARES.items() for _ in range(share)]
    batch = [Stated(0, 0, tuple(ids_of(decode, text)), end) for text in texts]
    contexts = sorted({text[:i] for text in SHARES for i in range(len(text) + 1)})
    size = len(decode.tokenizer)
    logits = torch.full((len(contexts), size), -60.0, dtype=torch.float32)
    for row, context in enumerate(contexts):
        for token in range(size):
            n = sum(s for t, s in SHARES.items() if (t + "<").startswith(context + decode([token])))
            logits[row, token] = float(np.log(n)) if n else -60.0
    logits.requires_grad_()
    model: Any = SimpleNamespace(
        config=SimpleNamespace(get_text_config=SimpleNamespace),
        # Hidden states are the logits themselves, the head is the identity.
        get_output_embeddings=lambda: SimpleNamespace(weight=torch.eye(size), bias=None),
    )
    mean: Any = 0.0
    choices = Choices(numbers, batch, brier)
    for text, share in SHARES.items():
        stated = Stated(0, 0, tuple(ids_of(decode, text)), end)
        of_one = choices.of(stated)
        hidden = torch.stack([logits[contexts.index(text[: choice.position])] for choice in of_one])
        judged = [JudgedConfidence(of_one, label, 1.0)]
        losses = expected_losses(judged, choice_log_probabilities(judged, numbers, hidden, model, 1.0))
        mean = mean + share / 20 * losses.sum()
    log_p = torch.log_softmax(logits, 1)
    exact: Any = 0.0
    for text in SHARES:
        steps = [(contexts.index(text[:i]), ids_of(decode, c)[0]) for i, c in enumerate(text + "<")]
        p = torch.exp(torch.stack([log_p[step] for step in steps]).sum())
        q = confidence_of(text)
        assert q is not None
        exact = exact + p * (label * (1 - q) ** 2 + (1 - label) * q**2)
    (found,) = torch.autograd.grad(mean, logits)
    (wanted,) = torch.autograd.grad(exact, logits)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert wanted.abs().max() > 0.01


def test_the_anchor_holds_that_a_number_goes_on_but_not_how() -> None:
    """Where three digits are possible behind "0.", their sum is held: what leads out of the number, as "0.</", is not.

    By enumeration: the cross-entropy of a digit less its share is -log of the probability of any of the digits.
    """
    decode = Decoder()
    numbers, end = NumberTokens(decode), ids_of(decode, "<")[0]  # type: ignore[arg-type]
    batch = [Stated(0, 0, tuple(ids_of(decode, text)), end) for text in SHARES]
    choices = Choices(numbers, batch, brier)
    size = len(decode.tokenizer)
    model: Any = SimpleNamespace(
        config=SimpleNamespace(get_text_config=SimpleNamespace),
        get_output_embeddings=lambda: SimpleNamespace(weight=torch.eye(size), bias=None),
    )
    for text, stated in zip(SHARES, batch, strict=True):
        of_one = choices.of(stated)
        judged = [JudgedConfidence(of_one, 1.0, 1.0)]
        logits = torch.randn((len(of_one), size), generator=torch.Generator().manual_seed(0), requires_grad=True)
        log_p = torch.log_softmax(logits, 1)
        inside = [(m, choice) for m, choice in enumerate(of_one) if choice.position < len(text)]
        tokens = [stated.tokens[choice.position] for _, choice in inside]
        rows = [m for m, _ in inside]
        shares = sampled_shares(judged, choice_log_probabilities(judged, numbers, logits, model, 1.0))
        anchor = shares - log_p[rows, tokens].sum()
        wanted: Any = 0.0
        for m, choice in inside:
            ids = [*numbers.ids[choice.allowed_C[:-1]].tolist(), *([end] if choice.allowed_C[-1] else [])]
            assert stated.tokens[choice.position] in ids
            wanted = wanted - log_p[m, ids].exp().sum().log()
        torch.testing.assert_close(anchor, torch.as_tensor(wanted))
        if inside:
            torch.testing.assert_close(
                *(torch.autograd.grad(one, logits, retain_graph=True)[0] for one in (anchor, wanted))
            )
    assert decode(batch[0].tokens) == "0.2" and any(choice.position == 2 for choice in choices.of(batch[0]))


def test_numbers_that_begin_inside_a_token_of_the_format_are_refused() -> None:
    check_tokens(NumberTokens(Decoder()), Decoder(), "full", 3)  # type: ignore[arg-type]
    check_tokens(NumberTokens(Decoder()), Decoder(), "lines", 3)  # type: ignore[arg-type]
    merged = Decoder(*(f">0.{i}</" for i in range(10)), *(f">0.{i:02}</" for i in range(100)))
    with pytest.raises(ConfigError, match="no token decides a confidence alone"):
        check_tokens(NumberTokens(merged), merged, "full", 3)  # type: ignore[arg-type]


GRID = np.linspace(0, 1, 11)


def choices_of_one_token(n: int, label: float, weight: float, *, is_estimate: bool) -> list[JudgedConfidence]:
    """Confidences that one of eleven tokens decides, 0.0 to 1.0."""
    losses_CY = np.append(np.stack([GRID**2, (1 - GRID) ** 2], 1), [[0.0, 0.0]], 0)
    allowed_C = np.append(np.ones(len(GRID), dtype=bool), False)
    choice = Choice(0, 0, None, allowed_C, losses_CY)
    return [JudgedConfidence([choice], label, weight, is_estimate) for _ in range(n)]


def masked_log_softmax(logits_M_C: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(torch.cat([logits_M_C, torch.full((len(logits_M_C), 1), -torch.inf)], 1), 1)


def test_an_estimate_draws_probabilities_to_a_better_target() -> None:
    """By definition: p exp(-loss / 0.02), normalised; the value stays the expected loss.

    A verdict beside it is not touched.
    """
    label, weight = 0.3, 0.5
    logits = torch.randn((2, 11), generator=torch.Generator().manual_seed(1), dtype=torch.double, requires_grad=True)
    judged = [
        *choices_of_one_token(1, label, weight, is_estimate=True),
        *choices_of_one_token(1, 1.0, weight, is_estimate=False),
    ]
    losses_M = expected_losses(judged, masked_log_softmax(logits))
    (found,) = torch.autograd.grad(losses_M.sum(), logits)
    p = torch.softmax(logits.detach(), 1).numpy()
    loss = label * (1 - GRID) ** 2 + (1 - label) * GRID**2
    assert losses_M[0].item() == pytest.approx(weight * p[0] @ loss)
    target = p[0] * np.exp(-loss / 0.02)
    np.testing.assert_allclose(found[0], weight * (p[0] - target / target.sum()), atol=1e-12)
    right = (1 - GRID) ** 2
    np.testing.assert_allclose(found[1], weight * p[1] * (right - p[1] @ right), atol=1e-12)


def test_tokens_of_equal_score_keep_their_shares() -> None:
    """So that how a number is written does not change where nothing depends on it."""
    losses_CY = np.full((12, 2), 0.25)
    allowed_C = np.append(np.ones(11, dtype=bool), False)
    judged = [JudgedConfidence([Choice(0, 0, None, allowed_C, losses_CY)], 0.5, 1.0, is_estimate=True)]
    logits = torch.tensor([[5.0, *[0.0] * 10]], dtype=torch.double, requires_grad=True)
    (found,) = torch.autograd.grad(expected_losses(judged, masked_log_softmax(logits)).sum(), logits)
    assert found.abs().max() < 1e-12


def test_a_loss_without_weight_has_no_gradient() -> None:
    logits = torch.randn((1, 11), generator=torch.Generator().manual_seed(2), requires_grad=True)
    judged = choices_of_one_token(1, 0.5, 0.0, is_estimate=True)
    (found,) = torch.autograd.grad(expected_losses(judged, masked_log_softmax(logits)).sum(), logits)
    assert found.abs().max() == 0
    both = [
        *choices_of_one_token(1, 0.5, 0.0, is_estimate=False),
        *choices_of_one_token(1, 0.5, 2.0, is_estimate=False),
    ]
    losses_M = expected_losses(both, masked_log_softmax(torch.zeros((2, 11))))
    assert mean_loss(both, losses_M) == pytest.approx(float(((GRID - 0.5) ** 2 + 0.25).mean()))  # of the second alone
    assert math.isnan(mean_loss(both[:1], losses_M[:1]))


@pytest.mark.parametrize("start", [0.5, 0.9])
def test_a_popular_value_does_not_hold_an_estimate(start: float) -> None:
    """18% right answers and 0.0 with half of the probability or more, where 0.2 would be better.

    After 300 steps of size 1 an estimate is all but stated (an excess of 0.004, where 0.0 has 0.032), while the exact
    gradient of the expected score has made 0.0 more popular.
    """
    left = {}
    for is_estimate in (True, False):
        logits = torch.log(torch.tensor([[start] + [(1 - start) / 10] * 10], dtype=torch.double)).requires_grad_()
        judged = choices_of_one_token(1, 0.18, 1.0, is_estimate=is_estimate)
        for _ in range(300):
            (step,) = torch.autograd.grad(expected_losses(judged, masked_log_softmax(logits)).sum(), logits)
            logits = (logits - step).detach().requires_grad_()
        p = torch.softmax(logits.detach(), 1)[0].numpy()
        left[is_estimate] = p[0], p @ ((GRID - 0.18) ** 2)
    assert left[True][0] < 0.1
    assert left[True][1] < 0.004
    assert left[False][0] > start


def test_an_estimate_leaves_the_beginning_of_a_number_as_it_is() -> None:
    """Of "0.7" the 7 and the end are choices, "0" and "." are none; of "1" all is, as of any number with a verdict."""
    decode = Decoder()
    numbers, end = NumberTokens(decode), ids_of(decode, "<")[0]  # type: ignore[arg-type]
    positions = {"0.7": ([0, 1, 2, 3], [2, 3]), "1": ([0], [0]), "0": ([0, 1], [0, 1])}
    batch = [Stated(0, 0, tuple(ids_of(decode, text)), end) for text in positions]
    choices = Choices(numbers, batch, brier)
    for stated, (of_verdict, of_estimate) in zip(batch, positions.values(), strict=True):
        (verdict,) = judged_confidences(choices, [stated], [1.0], 1.0)
        (estimate,) = judged_confidences(choices, [stated], [0.6], 1.0, {0})
        assert [choice.position for choice in verdict.choices] == of_verdict
        assert [choice.position for choice in estimate.choices] == of_estimate
        assert (verdict.is_estimate, estimate.is_estimate) == (False, True)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # peft 0.19 with transformers 5.23
@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings:UserWarning")  # peft 0.19, of a model that has not
@pytest.mark.parametrize("where", ["target_modules", "modules_to_save"])
def test_logits_of_numbers_are_those_of_a_head_with_adapters(where: str) -> None:
    """Adapters begin as nothing, so a check before training sees no difference."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    own = LlamaForCausalLM(LlamaConfig(vocab_size=50, num_hidden_layers=1, tie_word_embeddings=False, **shape))
    targets = ["q_proj", "lm_head"] if where == "target_modules" else ["q_proj"]
    saved = ["lm_head"] if where == "modules_to_save" else None
    model: Any = get_peft_model(own, LoraConfig(r=2, target_modules=targets, modules_to_save=saved)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.3 * torch.randn_like(weight))
    causal = base_of(model)
    with hidden_states_of(causal.base_model) as calls:
        logits_V = model(input_ids=torch.arange(8)[None]).logits[0, -1].detach()
    head, state_1_H = causal.get_output_embeddings(), calls[-1][:, -1]
    for tokens in (torch.tensor([3, 7, 49]), torch.tensor([[3, 7, 49]])):
        found = number_logits(head, causal.config, state_1_H, tokens)
        torch.testing.assert_close(found[0], logits_V[[3, 7, 49]], rtol=1e-4, atol=1e-5)
