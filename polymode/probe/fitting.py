"""Probes fitted with cross-validation over questions, and the cross-fitted probabilities of their answers (layer L2).

Answers to one question resemble each other, so folds are of whole questions: an answer is never predicted from another
one to its question. Held-out logits carry no intercept: that of a fold is high where the held-out labels are low, which
would make an uninformative probe look worse than chance. Their level comes last (`polymode.probe.levels`), from the
other folds too, as do the penalty and the layer: chosen on the labels that they are then measured on, a probe of noise
would look better than the slot's number.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polymode.errors import ConfigError, RecordError
from polymode.probe.levels import Levels, fit_levels, levels_of_folds
from polymode.probe.logistic import Floats, Standardised, penalised_path, standardise
from polymode.probe.probe import Ints, Probe, ProbeFit, log_losses, slot_rates

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
    """Probability that each answer is right, from a probe that never saw its question; shape (N,).

        p_i = sigmoid(a z_i + b_slot(i)),    z_i = x_i . w without the fold of i's question

    w minimises the penalised cross-entropy (`polymode.probe.logistic`), the penalty the held-out log loss of the other
    folds; a and b come from their held-out logits (`polymode.probe.levels`), so that the mean of p is about that of y
    in every slot. (The weights behind those logits saw i's question: that much of its label reaches a and b.)

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
    own_slot_N = None if slot_N is None else slots_N
    levels = [levels_of_folds(z_N, y_N, own_slot_N, fold_N) for z_N in z_NP.T]
    of_penalty = [_predicted(z_N, own_slot_N, own, fold_N) for z_N, own in zip(z_NP.T, levels, strict=True)]
    return _chosen_elsewhere(np.stack(of_penalty), y_N, fold_N)


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

    Its ``log_loss`` is of choices that were made without each fold in turn, so that the many which are compared do not
    make it look better than it is.

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
    losses_LP, p_LPN = np.empty((len(layers), len(penalties))), np.empty((len(layers), len(penalties), len(y_N)))
    for row, layer in enumerate(layers):
        features_NF, _, _ = _checked(features_NLF[:, row], y_N, questions_N, slot_N)
        x = standardise(features_NF)
        order, weights_DJ, z_NP = _held_out(x, y_N, fold_N, penalties, with_all=True)
        for place, penalty in enumerate(order):
            z_N = z_NP[:, place]
            levels = levels_of_folds(z_N, y_N, own_slot_N, fold_N)
            p_LPN[row, place] = _predicted(z_N, own_slot_N, levels, fold_N)
            loss = losses_LP[row, place] = log_losses(p_LPN[row, place], y_N).mean()
            if not best or loss < best[0]:
                all_levels = *levels, fit_levels(z_N, y_N, own_slot_N)
                best = loss, layer, penalty, x.mean_F, x.scale_F, x.axes_FD @ weights_DJ[place], all_levels
    _, layer, penalty, mean_F, scale_F, weights_FJ, levels_J = best
    fold_of = {question: int(fold) for question, fold in zip(questions_N, fold_N, strict=True)}
    zeros_N = np.zeros(len(y_N))
    by_slot_N = _predicted(zeros_N, slots_N, levels_of_folds(zeros_N, y_N, slots_N, fold_N), fold_N)
    p_N = _chosen_elsewhere(p_LPN.reshape(-1, len(y_N)), y_N, fold_N)
    loss, by_slot = (float(log_losses(x_N, y_N).mean()) for x_N in (p_N, by_slot_N))
    parts = (mean_F, scale_F, weights_FJ, fold_of, levels_J, slot_rates(y_N, slots_N))
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


def _predicted(z_N: Floats, slot_N: Ints | None, levels: Sequence[Levels], fold_N: Ints) -> Floats:
    """Probabilities of held-out logits, by levels without each answer's fold."""
    p_N = np.empty(len(z_N))
    for fold, of_fold in enumerate(levels):
        own_N = fold_N == fold
        p_N[own_N] = of_fold(z_N[own_N], None if slot_N is None else slot_N[own_N])
    return p_N


def _chosen_elsewhere(p_CN: Floats, y_N: Floats, fold_N: Ints) -> Floats:
    """Of each fold the probabilities (N,) of that candidate which has the least log loss on the other folds."""
    loss_CN, p_N = log_losses(p_CN, y_N), np.empty(len(y_N))
    for fold in range(int(fold_N.max()) + 1):
        own_N = fold_N == fold
        p_N[own_N] = p_CN[int(np.argmin(loss_CN[:, ~own_N].sum(1)))][own_N]
    return p_N


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
