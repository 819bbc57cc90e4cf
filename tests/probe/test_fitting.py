"""Cross-fitted probabilities: never from the same question, noise no better than chance, and refusals."""

import math
import time
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from polymode.errors import ConfigError, RecordError
from polymode.metrics.selective import auroc
from polymode.metrics.skill import auroc_within
from polymode.probe import cross_fitted, fit_probe
from polymode.probe.fitting import folds_of

RNG = np.random.default_rng(11)
QUESTION_N = np.repeat(np.arange(60), 6)
SLOT_N = np.tile([0, 1, 2], 120)


def answers(signal: float, width: int = 10) -> tuple[np.ndarray, np.ndarray]:
    x_NF = RNG.standard_normal((360, width))
    return x_NF, (RNG.random(360) < expit(signal * x_NF[:, 0] - SLOT_N)).astype(float)


def test_held_out_logits_are_those_of_scikit_learn_without_the_fold() -> None:
    x_NF, y_N = answers(2.0)
    fold_N = folds_of(QUESTION_N, 5, 0)
    standard_NF = (x_NF - x_NF.mean(0)) / x_NF.std(0)
    z_N = np.empty(360)
    for fold in range(5):
        used_N = fold_N != fold
        theirs = LogisticRegression(C=1 / (used_N.sum() * 0.1), tol=1e-10).fit(standard_NF[used_N], y_N[used_N])
        z_N[~used_N] = standard_NF[~used_N] @ theirs.coef_[0]
    design, theirs_N = np.column_stack([z_N, np.eye(3)[SLOT_N]]), np.empty(360)
    for fold in range(5):  # the levels are those of the other folds' logits
        used_N = fold_N != fold
        level = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
        theirs_N[~used_N] = level.fit(design[used_N], y_N[used_N]).predict_proba(design[~used_N])[:, 1]
    ours_N = cross_fitted(x_NF, y_N, QUESTION_N, SLOT_N, penalties=[0.1])
    assert ours_N == pytest.approx(theirs_N, abs=1e-3)


def test_a_question_is_in_one_fold_and_folds_have_like_sizes() -> None:
    fold_N = folds_of(QUESTION_N, 7, 1)
    assert all(len(set(fold_N[question == QUESTION_N])) == 1 for question in range(60))
    assert sorted(np.bincount(fold_N)) == [48] * 3 + [54] * 4  # 60 questions: 8 in three folds, 9 in four
    assert (folds_of(QUESTION_N, 7, 1) == fold_N).all() and (folds_of(QUESTION_N, 7, 2) != fold_N).any()
    assert folds_of(["a", "a", "b", "c"], 5, 0).max() == 2  # no more folds than questions


def test_labels_of_a_question_do_not_move_its_own_probabilities() -> None:
    """Only through two numbers, the level of the other folds, whose weights saw them."""
    x_NF, y_N = answers(2.0)
    own_N = QUESTION_N == 7
    before_N = cross_fitted(x_NF, y_N, QUESTION_N, penalties=[0.1])
    after_N = cross_fitted(x_NF, np.where(own_N, 1 - y_N, y_N), QUESTION_N, penalties=[0.1])
    # The change of its logits is a line in the logits: slope and intercept, to the optimiser's precision.
    logits_N, change_N = logit(before_N)[own_N], (logit(after_N) - logit(before_N))[own_N]
    line = np.polynomial.Polynomial.fit(logits_N, change_N, 1)
    assert np.abs(change_N).max() < 0.3  # taken by themselves, they moved the logits by more than 1
    assert line(logits_N) == pytest.approx(change_N, abs=1e-4)


def test_features_that_name_the_question_do_not_leak_its_verdict() -> None:
    """All answers to a question are right or all wrong, and a feature tells the question: folds of answers would give
    an AUROC of 1, folds of questions give chance."""
    right_P = RNG.permutation([0.0, 1.0] * 30)
    x_NF = np.eye(60)[QUESTION_N] + 0.01 * RNG.standard_normal((360, 60))
    p_N = cross_fitted(x_NF, right_P[QUESTION_N], QUESTION_N)
    assert auroc(p_N, right_P[QUESTION_N]) < 0.65


def test_noise_ends_at_the_mean_and_signal_near_the_truth() -> None:
    x_NF, y_N = answers(3.0)
    p_N = cross_fitted(x_NF, y_N, QUESTION_N, SLOT_N)
    truth_N = expit(3 * x_NF[:, 0] - SLOT_N)
    assert np.abs(p_N - truth_N).mean() < 0.08
    for slot in range(3):
        assert p_N[slot == SLOT_N].mean() == pytest.approx(y_N[slot == SLOT_N].mean(), abs=0.02)
    noise_N = cross_fitted(RNG.standard_normal((360, 10)), y_N, QUESTION_N)
    assert np.abs(noise_N - y_N.mean()).mean() < 0.03


def test_noise_is_no_better_than_chance_however_few_answers_there_are() -> None:
    """Levels and choices on the same labels gave it an AUROC of 0.64 within questions."""
    within, losses = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        y_N = (rng.random(60) < 0.5).astype(float)
        question_N, slot_N = np.repeat(np.arange(20), 3), np.tile([0, 1, 2], 20)
        x_NLF = rng.standard_normal((60, 4, 8))
        fit = fit_probe(x_NLF, [1, 2, 3, 4], y_N, [str(i) for i in question_N], slot_N)
        within.append(auroc_within(fit.p_N, y_N, question_N))
        losses.append(fit.probe.log_loss)
        assert fit.log_loss_LP.min() <= fit.probe.log_loss
    assert np.mean(within) < 0.5 + 3 * np.std(within) / 30**0.5
    assert np.mean(losses) > math.log(2) and math.log(2) < fit.probe.slot_log_loss < 1


def test_three_thousand_answers_take_less_than_two_seconds() -> None:
    """About 0.6 s on one core; the best of three, because other programs run beside a test."""
    rng = np.random.default_rng(0)
    x_NF = rng.standard_normal((3000, 576)) @ np.diag(np.logspace(0, -2, 576))
    y_N = (rng.random(3000) < expit(x_NF[:, 0])).astype(float)

    def seconds() -> float:
        start = time.thread_time()
        cross_fitted(x_NF, y_N, np.repeat(np.arange(250), 12), np.tile([0, 1, 2], 1000))
        return time.thread_time() - start

    assert min(seconds() for _ in range(3)) < 2


def test_the_probe_takes_the_layer_that_knows() -> None:
    x_NF, y_N = answers(2.0)
    features_NLF = np.stack([RNG.standard_normal((360, 10)), x_NF, RNG.standard_normal((360, 10))], 1)
    questions_N = [f"question {i}" for i in QUESTION_N]
    fit = fit_probe(features_NLF, [3, 5, 9], y_N, questions_N, SLOT_N, model="m")
    probe = fit.probe
    assert (probe.layer, probe.n, probe.model) == (5, 360, "m")
    assert fit.log_loss_LP.shape == (3, 8) and fit.log_loss_LP.min() <= probe.log_loss < probe.slot_log_loss
    # Its own answers are predicted without their fold: the cross-fitted probabilities of its penalty. Others from all.
    own_N = cross_fitted(x_NF, y_N, QUESTION_N, SLOT_N, penalties=[probe.penalty])
    assert probe(x_NF, SLOT_N, questions_N) == pytest.approx(own_N, abs=1e-4)
    assert fit.p_N == pytest.approx(cross_fitted(x_NF, y_N, QUESTION_N, SLOT_N), abs=1e-4)
    fresh_N = probe(x_NF, SLOT_N)
    assert auroc(fresh_N, y_N) > auroc(fit.p_N, y_N)
    assert (probe(x_NF, SLOT_N, ["new"] * 360) == fresh_N).all()
    # What the slot alone says: the share of right answers.
    assert probe.slot_rate(np.array([0, 2, 5])) == pytest.approx(
        [y_N[SLOT_N == 0].mean(), y_N[SLOT_N == 2].mean(), np.nan], nan_ok=True
    )
    with pytest.raises(RecordError, match=r"features: shape \(360, 9\); the probe reads states of 10 numbers"):
        probe(x_NF[:, 1:], SLOT_N)


def test_without_slots_there_is_one_level() -> None:
    x_NF, y_N = answers(2.0)
    fit = fit_probe(x_NF[:, None], [1], y_N, [str(i) for i in QUESTION_N], SLOT_N, has_slots=False)
    assert {len(levels.intercept_K) for levels in fit.probe.levels_J} == {1}
    assert fit.p_N == pytest.approx(cross_fitted(x_NF, y_N, QUESTION_N), abs=1e-4)
    assert fit.probe(x_NF, SLOT_N + 7).shape == (360,)  # a slot that it never saw


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_N": np.ones(360)}, "all 360 answers are right: a probe needs both verdicts"),
        ({"y_N": np.zeros(360)}, "all 360 answers are wrong"),
        ({"y_N": np.full(360, np.nan)}, "y: give labels from 0 to 1"),
        ({"y_N": np.full(360, 1.5)}, "y: give labels from 0 to 1"),
        ({"y_N": np.ones((360, 1))}, r"features, y, question and slot: shapes \(360, 10\), \(360, 1\)"),
        ({"question_N": np.zeros(360)}, "1 question with judged answers: a probe needs at least 2"),
        ({"question_N": [0]}, r"question and slot: shapes \(360, 10\), \(360,\), \(1,\)"),
        ({"slot_N": np.full(360, -1)}, "slot: give whole numbers from 0"),
        ({"slot_N": np.full(360, 0.5)}, "slot: give whole numbers from 0"),
        ({"features_NF": np.full((360, 10), np.inf)}, "a hidden state is not finite"),
        ({"features_NF": np.zeros((360, 2, 5))}, "shapes"),
    ],
)
def test_what_cannot_be_fitted_is_named(changes: dict[str, Any], message: str) -> None:
    x_NF, y_N = answers(1.0)
    with pytest.raises(RecordError, match=message):
        cross_fitted(**{"features_NF": x_NF, "y_N": y_N, "question_N": QUESTION_N, "slot_N": SLOT_N, **changes})


def test_too_few_answers_and_impossible_options_are_refused() -> None:
    x_NF, y_N = answers(1.0)
    with pytest.raises(RecordError, match="19 judged answers are too few for a probe: give at least 20"):
        cross_fitted(x_NF[:19], y_N[:19], QUESTION_N[:19])
    with pytest.raises(ConfigError, match="folds = 1 is not allowed"):
        cross_fitted(x_NF, y_N, QUESTION_N, folds=1)
    for penalties in ([0.0], [-1.0], [np.nan], []):
        with pytest.raises(ConfigError, match="penalties = .* are not allowed: give at least one, each above 0"):
            cross_fitted(x_NF, y_N, QUESTION_N, penalties=penalties)


def test_soft_labels_are_taken() -> None:
    x_NF, _ = answers(1.0)
    soft_N = expit(x_NF[:, 0])
    p_N = cross_fitted(x_NF, soft_N, QUESTION_N)
    assert np.abs(p_N - soft_N).mean() < 0.02
    assert p_N.mean() == pytest.approx(soft_N.mean(), abs=0.01)


def test_more_features_than_answers_are_no_problem() -> None:
    x_NF, y_N = answers(2.0, width=500)
    p_N = cross_fitted(x_NF, y_N, QUESTION_N, SLOT_N)
    assert p_N.shape == (360,) and 0 < p_N.min() < p_N.max() < 1
