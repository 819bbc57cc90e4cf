"""The divergence that holds tokens in replay: against its definition, summed over parts of the vocabulary."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from polymode.training import divergence
from polymode.training.confidence_tokens import Choice
from polymode.training.divergence import TOP, divergences, parts_of, reference_of
from polymode.training.expected_score import JudgedConfidence

T, H, HEAT = 7, 5, 0.7


def model_of(size: int, seed: int) -> Any:
    head = torch.nn.Linear(H, size, bias=False)
    torch.nn.init.normal_(head.weight, std=0.8, generator=torch.Generator().manual_seed(seed))
    return SimpleNamespace(
        config=SimpleNamespace(get_text_config=SimpleNamespace),
        get_output_embeddings=lambda: head,
        weight=head.weight,
    )


def states(seed: int) -> torch.Tensor:
    return torch.randn((T, H), generator=torch.Generator().manual_seed(seed))


def confidences_at(size: int) -> tuple[list[JudgedConfidence], Any]:
    """A number of tokens 0 and 2 and its end, where tokens 0, 1, 2, then 1, 2 or the end, then any could stand."""
    numbers = SimpleNamespace(ids=np.array([0, 1, 2]))
    losses_CY = np.zeros((4, 2))
    choices = [
        Choice(1, 0, 4, np.array([True, True, True, False]), losses_CY),
        Choice(2, 2, 4, np.array([False, True, True, True]), losses_CY),
        Choice(3, 3, 4, np.array([True, True, True, True]), losses_CY),
    ]
    return [JudgedConfidence(choices, 0.5, 1.0)], numbers


def by_definition(r_V: Any, p_V: Any, together: tuple[int, ...]) -> float:
    """Sum of r log(r / p) over tokens, those of ``together`` as one."""
    alone = [u for u in range(len(r_V)) if u not in together]
    parts = [[u] for u in alone] + ([list(together)] if together else [])
    return float(sum(r_V[part].sum() * np.log(r_V[part].sum() / p_V[part].sum()) for part in parts))


def probabilities(model: Any, hidden_T_H: torch.Tensor) -> Any:
    logits = (hidden_T_H @ model.weight.T / HEAT).detach().double()
    return torch.softmax(logits, 1).numpy()


TOGETHER = {1: (0, 1, 2), 2: (1, 2, 4)}
"""What is one part, by token; behind the number the end stands for itself."""


@pytest.mark.parametrize("block", [512, 3, 2])
def test_a_small_vocabulary_is_compared_token_by_token(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divergence, "_BLOCK", block)
    size = 9
    was, now = model_of(size, 0), model_of(size, 1)
    confidences, numbers = confidences_at(size)
    parts = parts_of(confidences, numbers, [1, 2, 3], size, "cpu")
    reference = reference_of(was, states(0), parts, HEAT)
    hidden = states(2).requires_grad_()
    found_T = divergences(now, hidden, parts, reference, HEAT)
    r_T_V, p_T_V = probabilities(was, states(0)), probabilities(now, states(2))
    wanted = [by_definition(r, p, TOGETHER.get(t, ())) for t, (r, p) in enumerate(zip(r_T_V, p_T_V, strict=True))]
    np.testing.assert_allclose(found_T.detach(), wanted, rtol=2e-4, atol=1e-6)
    # Its gradient with respect to the logits of a token outside the numbers is p - r.
    (found,) = torch.autograd.grad(found_T.sum(), hidden)
    for t in (0, 3, 4, 5, 6):
        np.testing.assert_allclose(found[t], (p_T_V[t] - r_T_V[t]) @ now.weight.detach().numpy() / HEAT, atol=1e-4)


def test_of_a_large_vocabulary_the_rest_is_one_part() -> None:
    size = 4 * TOP
    was, now = model_of(size, 0), model_of(size, 1)
    parts = parts_of([], SimpleNamespace(ids=np.array([0])), [], size, "cpu")  # type: ignore[arg-type]
    found_T = divergences(now, states(2), parts, reference_of(was, states(0), parts, HEAT), HEAT)
    for t, (r, p) in enumerate(zip(probabilities(was, states(0)), probabilities(now, states(2)), strict=True)):
        rest = tuple(np.argsort(-r)[TOP:].tolist())
        assert found_T[t].item() == pytest.approx(by_definition(r, p, rest), rel=2e-4)
        assert found_T[t].item() < by_definition(r, p, ())


@pytest.mark.parametrize("size", [9, 4 * TOP])
def test_a_model_that_has_not_moved_is_not_pulled(size: int) -> None:
    model = model_of(size, 0)
    confidences, numbers = confidences_at(size)
    parts = parts_of(confidences, numbers, [1, 2, 3], size, "cpu")
    hidden = states(0).requires_grad_()
    found_T = divergences(model, hidden, parts, reference_of(model, states(0), parts, HEAT), HEAT)
    (gradient,) = torch.autograd.grad(found_T.sum(), hidden)
    assert found_T.abs().max() < 1e-5
    assert gradient.abs().max() < 1e-5


def test_which_number_is_written_is_free() -> None:
    """Only the sum over the tokens of a part counts: moving probability between them costs nothing."""
    size = 9
    model = model_of(size, 0)
    model.weight.data[:, 0] = 0.0
    moved = model_of(size, 0)
    moved.weight.data[:, 0] = torch.tensor([2.0, -2.0, 0.0, *[0.0] * 6])
    hidden = states(0)
    hidden[:, 0] = 0.0
    hidden[1, 0] = 1.0  # where token 1 is the number's first
    confidences, numbers = confidences_at(size)
    parts = parts_of(confidences, numbers, [1, 2, 3], size, "cpu")
    found_T = divergences(moved, hidden, parts, reference_of(model, hidden, parts, HEAT), HEAT)
    r, p = probabilities(model, hidden)[1], probabilities(moved, hidden)[1]
    assert found_T[1].item() == pytest.approx(by_definition(r, p, (0, 1, 2)), abs=1e-5)
    assert by_definition(r, p, ()) > 10 * found_T[1].item() or by_definition(r, p, ()) > 0.1
