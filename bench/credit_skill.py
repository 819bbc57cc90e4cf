"""What confidences know beyond the number of their slot, and the order of answers: figures of `credit.py`.

Also what they come to when they are recalibrated after training, the baseline of every credit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from polymode.errors import ConfigError
from polymode.metrics import brier, ece
from polymode.policy.maps import fit_map
from polymode.runs import JudgedCompletion

Floats = NDArray[np.float64]
RECALIBRATIONS = ("slots", "platt", "isotonic")
"""Ways of `recalibrated`: a constant for each slot, and maps of the stated confidence."""


def skill(judged: Iterable[JudgedCompletion]) -> dict[str, float]:
    """Figures of judged completions, NaN where undefined.

    ::

        auroc_slot       AUROC of the confidences within slot i, averaged over the slots by their pairs right x wrong
        auroc_question   the same within each completion
        share_beyond     (C - B) / (C - F), C the Brier score of the best constant for each slot, B that of the
                         confidences, F the Bayes floor; NaN without exact probabilities
        gain_beyond      C - B, which needs none
        order            AUROC of "stands earlier" within each completion: 1 where right answers come first; without
                         repeats, which stand behind what they repeat and are wrong
    """
    rows = [row for owner, one in enumerate(judged) for row in _answers(owner, one)]
    if not rows:
        return dict.fromkeys(("auroc_slot", "auroc_question", "share_beyond", "gain_beyond", "order"), float("nan"))
    owner_A, slot_A, q_A, y_A, p_A, is_repeat_A = np.array(rows, dtype=float).T
    is_first_A = is_repeat_A == 0
    rate_A = np.zeros_like(y_A)
    for slot in np.unique(slot_A):
        rate_A[slot_A == slot] = y_A[slot_A == slot].mean()
    constant = float(((rate_A - y_A) ** 2).mean())
    brier = float(((q_A - y_A) ** 2).mean())
    # The floor of this sample: what true probabilities would have scored on the same verdicts.
    floor = float(((p_A - y_A) ** 2).mean())
    return {
        "auroc_slot": _auroc_within(slot_A, q_A, y_A),
        "auroc_question": _auroc_within(owner_A, q_A, y_A),
        "share_beyond": (constant - brier) / (constant - floor) if constant > floor else float("nan"),
        "gain_beyond": constant - brier,
        "order": _auroc_within(owner_A[is_first_A], -slot_A[is_first_A], y_A[is_first_A]),
    }


def recalibrated(fit_on: Iterable[JudgedCompletion], judged: Iterable[JudgedCompletion]) -> dict[str, float]:
    """Brier score and ECE of ``judged`` with recalibrated confidences, by each of `RECALIBRATIONS`.

    Nothing is fitted on the completions that are measured: rates and maps come from ``fit_on``, which answers other
    questions. ``slots`` states the rate of hits of the answer's slot, whatever the model states.

    Raises:
        ValueError: one of the two has no answer with a verdict and a confidence.
    """
    fit_A4, own_A4 = (
        np.array([row[:4] for owner, one in enumerate(completions) for row in _answers(owner, one)], dtype=float)
        for completions in (fit_on, judged)
    )
    if not len(fit_A4) or not len(own_A4):
        raise ValueError("recalibration needs answers with a verdict and a confidence, to fit and to measure")
    _, slot_A, q_A, y_A = fit_A4.T
    _, own_slot_A, own_q_A, own_y_A = own_A4.T
    rates = {slot: float(y_A[slot_A == slot].mean()) for slot in np.unique(slot_A)}
    maps = {name: _map_of(name, q_A, y_A) for name in RECALIBRATIONS[1:]}
    stated = {"slots": [rates.get(slot, float(y_A.mean())) for slot in own_slot_A]}
    stated |= {name: [map_(q) for q in own_q_A] for name, map_ in maps.items()}
    return {
        f"{figure.__name__}_{name}": float(figure(stated[name], own_y_A))
        for name in RECALIBRATIONS
        for figure in (brier, ece)
    }


def _map_of(name: str, q_A: Floats, y_A: Floats) -> Callable[[float], float]:
    """The map, or the rate of hits for every confidence where no map fits: wrong answers have the higher ones."""
    try:
        return fit_map(name, q_A, y_A)
    except ConfigError:
        return lambda q: float(y_A.mean())


def _answers(owner: int, one: JudgedCompletion) -> Iterator[tuple[float, ...]]:
    """Completion, slot, q, y, true probability and whether it repeats, of each answer with a verdict and confidence."""
    for slot, (q, y) in enumerate(zip(one.confidences, one.hits, strict=True)):
        p = one.p_correct[slot] if one.p_correct else None
        if q is not None and y is not None:
            yield owner, slot, q, y, float("nan") if p is None else p, one.duplicates[slot] is not None


def _auroc_within(group_A: Floats, score_A: Floats, y_A: Floats) -> float:
    """AUROC of pairs of the same group, each group weighing as many pairs of a right and a wrong answer as it has."""
    total = weight = 0.0
    order = np.argsort(group_A, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(group_A[order])) + 1):
        pairs = y_A[own].sum() * (1 - y_A[own]).sum()
        if pairs:
            total += pairs * float(roc_auc_score(y_A[own], score_A[own]))
            weight += pairs
    return total / weight if weight else float("nan")
