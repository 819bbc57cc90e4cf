"""Probes fitted with cross-validation over questions, and the cross-fitted probabilities of their answers (layer L2).

Answers to one question resemble each other, so folds are of whole questions: an answer is never predicted from another
one to its question. Held-out logits carry no intercept: that of a fold is high where the held-out labels are low, which
would make an uninformative probe look worse than chance. Their level comes last (`polymode.probe.levels`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polymode.errors import ConfigError, RecordError
from polymode.probe.logistic import Floats, Standardised, penalised_path, standardise
from polymode.probe.probe import Ints, Probe, ProbeFit, levelled, log_loss, slot_rates

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""Penalties that are tried, falling; at the first almost nothing but the direction between the means is left."""
FOLDS = 5
LEAST = 20
"""Fewest answers that a probe is fitted to."""


def cross_fitted(
    features_NF: ArrayLike,
    y_N: ArrayLike,
    question_N: Sequence[Hashable] | NDArray[Any],
    slot_N: ArrayLike | None = None,
    *,
    penalties: Sequence[float] = PENALTIES,
    folds: int = FOLDS,
    seed: int = 0,
) -> Floats:
    """Probability that each answer is right, from a probe that never saw its question; shape (N,), mean that of y.

        p_i = sigmoid(a z_i + b_slot(i)),    z_i = x_i . w without the fold of i's question

    w minimises the penalised cross-entropy (`polymode.probe.logistic`), the penalty the held-out log loss; a and b come
    from the held-out logits (`polymode.probe.levels`), so that the mean of p equals the mean of y in every slot.

    Args:
        features_NF: hidden states, shape (N, F).
        y_N: labels in [0, 1]; soft ones are fine, NaN is not.
        question_N: question of each answer, as numbers or texts.
        slot_N: slot of each answer, from 0, for a level of its own; None: one level for all.
        penalties: tried, the strongest first.
        folds: of questions; as many as questions where there are fewer.
        seed: of the folds.

    Raises:
        RecordError: shapes that do not belong together, numbers that are not finite, labels outside [0, 1], fewer than
            two questions or `LEAST` answers, or labels that are all 0 or all 1.
        ConfigError: penalties that are not positive, or fewer than two folds.

    Source: https://arxiv.org/abs/2207.05221; cross-fitting: https://arxiv.org/abs/1608.00060.
    """
    features_NF, y_N, slots_N = _checked(features_NF, y_N, question_N, slot_N)
    fold_N = folds_of(question_N, folds, seed)
    _, _, z_NP = _held_out(standardise(features_NF), y_N, fold_N, penalties)
    fits = [levelled(z_N, y_N, None if slot_N is None else slots_N) for z_N in z_NP.T]
    return min(fits, key=lambda fit: fit[2])[1]


def fit_probe(
    features_NLF: ArrayLike,
    layers: Sequence[int],
    y_N: ArrayLike,
    questions_N: Sequence[str],
    slot_N: ArrayLike,
    *,
    has_slots: bool = True,
    penalties: Sequence[float] = PENALTIES,
    folds: int = FOLDS,
    seed: int = 0,
    model: str = "",
) -> ProbeFit:
    """The probe of the layer and penalty with the least held-out log loss, fitted to all answers.

    Args:
        features_NLF: hidden states, shape (N, layers, F).
        layers: numbers of the layers.
        y_N: labels in [0, 1].
        questions_N: text of each answer's question.
        slot_N: slot of each answer, from 0.
        has_slots: whether each slot has a level of its own.
        penalties: tried, the strongest first.
        folds: of questions.
        seed: of the folds.
        model: whose states they are.

    Raises:
        RecordError, ConfigError: as `cross_fitted`.
    """
    features_NLF = np.asarray(features_NLF)
    if features_NLF.ndim != 3 or features_NLF.shape[1] != len(layers) or not layers:
        raise RecordError(f"features: shape {features_NLF.shape}; give (answers, {len(layers)} layers, numbers)")
    _, y_N, slots_N = _checked(features_NLF[:, 0], y_N, questions_N, slot_N)
    own_slot_N = slots_N if has_slots else None
    fold_N = folds_of(questions_N, folds, seed)
    best: tuple[Any, ...] = ()
    losses_LP = np.empty((len(layers), len(penalties)))
    for row, layer in enumerate(layers):
        features_NF, _, _ = _checked(features_NLF[:, row], y_N, questions_N, slot_N)
        x = standardise(features_NF)
        order, weights_DJ, z_NP = _held_out(x, y_N, fold_N, penalties, with_all=True)
        for place, penalty in enumerate(order):
            levels, p_N, loss = levelled(z_NP[:, place], y_N, own_slot_N)
            losses_LP[row, place] = loss
            if not best or loss < best[0]:
                best = loss, layer, penalty, x.mean_F, x.scale_F, x.axes_FD @ weights_DJ[place], levels, p_N
    loss, layer, penalty, mean_F, scale_F, weights_FJ, levels, p_N = best
    rate_K = slot_rates(y_N, slots_N)
    fold_of = {question: int(fold) for question, fold in zip(questions_N, fold_N, strict=True)}
    by_slot = log_loss(rate_K[slots_N], y_N)
    parts = (mean_F, scale_F, weights_FJ, fold_of, levels, rate_K)
    return ProbeFit(Probe(layer, penalty, *parts, len(y_N), loss, by_slot, model), p_N, losses_LP)


def folds_of(question_N: Sequence[Hashable] | NDArray[Any], folds: int, seed: int) -> Ints:
    """Fold of each answer: questions at random into folds of equal size, one more or less."""
    if folds < 2:
        raise ConfigError(f"folds = {folds} is not allowed: give at least 2")
    number_of = {question: i for i, question in enumerate(dict.fromkeys(question_N))}
    fold_P = np.random.default_rng(seed).permutation(len(number_of)) % min(folds, len(number_of))
    return fold_P[[number_of[question] for question in question_N]]


def check_labels(y_N: Floats, question_N: Sequence[Hashable] | NDArray[Any]) -> None:
    """Refuse labels that no probe can be fitted to; raises RecordError."""
    n, n_questions = len(y_N), len(set(question_N))
    if n < LEAST:
        raise RecordError(f"{n} judged answers are too few for a probe: give at least {LEAST}, better thousands")
    if not ((y_N >= 0) & (y_N <= 1)).all():  # NaN too
        raise RecordError("y: give labels from 0 to 1; leave unscored answers out")
    if y_N.min() == y_N.max() and y_N[0] in (0, 1):
        raise RecordError(f"all {n} answers are {'right' if y_N[0] else 'wrong'}: a probe needs both verdicts")
    if n_questions < 2:
        raise RecordError(f"{n_questions} question with judged answers: a probe needs at least 2, better hundreds")


def _held_out(
    x: Standardised, y_N: Floats, fold_N: Ints, penalties: Sequence[float], with_all: bool = False
) -> tuple[list[float], list[Floats], Floats]:
    """Penalties in falling order, weights (D, J) of each, and held-out logits (N, penalties)."""
    if not penalties or not all(0 < penalty < np.inf for penalty in penalties):
        raise ConfigError(f"penalties = {list(penalties)!r:.80} are not allowed: give at least one, each above 0")
    order = sorted(map(float, penalties), reverse=True)
    is_used_NJ = fold_N[:, None] != np.arange(fold_N.max() + 1 + with_all)  # no answer is in the last one, "all"
    weights = list(penalised_path(x.scores_ND, y_N, is_used_NJ, order))
    each_N = np.arange(len(y_N))
    z_NP = np.stack([(x.scores_ND @ weights_DJ)[each_N, fold_N] for weights_DJ in weights], 1)
    return order, weights, z_NP


def _checked(
    features_NF: ArrayLike, y_N: ArrayLike, question_N: Any, slot_N: ArrayLike | None
) -> tuple[Floats, Floats, Ints]:
    features_NF, y_N = np.asarray(features_NF, dtype=float), np.asarray(y_N, dtype=float)
    n = len(y_N) if y_N.ndim == 1 else -1
    slots_N = np.zeros(max(n, 0), int) if slot_N is None else np.asarray(slot_N)
    if features_NF.ndim != 2 or not len(features_NF) == n == len(question_N) or slots_N.shape != y_N.shape:
        raise RecordError(
            f"features, y, question and slot: shapes {features_NF.shape}, {y_N.shape}, ({len(question_N)},) and "
            f"{slots_N.shape}; give (N, F), and one label, question and slot for each answer"
        )
    if not np.isfinite(features_NF).all():
        raise RecordError("features: a hidden state is not finite; use dtype float32 or bfloat16")
    check_labels(y_N, question_N)
    if slots_N.dtype.kind not in "iu" or slots_N.min() < 0:
        raise RecordError("slot: give whole numbers from 0")
    return features_NF, y_N, slots_N.astype(int)
