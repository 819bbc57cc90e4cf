"""What bench/credit.py measures of confidences: against numbers by hand, and against scikit-learn."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from ..bench_modules import load_bench


@pytest.fixture(scope="module")
def credit_skill() -> Any:
    return load_bench("credit_skill")


def judged(q_NK: Any, y_NK: Any) -> list[Any]:
    """Completions as judged.jsonl has them, without repeats and without true probabilities."""
    return [
        SimpleNamespace(confidences=tuple(q_K), hits=tuple(y_K), p_correct=(), duplicates=(None,) * len(q_K))
        for q_K, y_K in zip(np.asarray(q_NK).tolist(), np.asarray(y_NK).tolist(), strict=True)
    ]


def test_skill_by_hand(credit_skill: Any) -> None:
    found = credit_skill.skill(judged([[0.9, 0.6], [0.8, 0.2], [0.7, 0.4]], [[1, 0], [1, 1], [0, 1]]))
    assert found["auroc_slot"] == pytest.approx((2 * 1.0 + 2 * 0.0) / 4)  # 0.9, 0.8 > 0.7; 0.2, 0.4 < 0.6
    assert found["auroc_question"] == pytest.approx((1.0 + 0.0) / 2)  # 0.9 > 0.6, 0.7 > 0.4; all right says nothing
    assert found["order"] == pytest.approx((1.0 + 0.0) / 2)
    brier = (0.01 + 0.36 + 0.04 + 0.64 + 0.49 + 0.36) / 6
    assert found["gain_beyond"] == pytest.approx(2 / 9 - brier)  # each slot: two of three right


def test_recalibration_is_fitted_on_other_answers(credit_skill: Any) -> None:
    rng = np.random.default_rng(0)
    p_NK = np.tile([0.9, 0.5, 0.2], (400, 1))
    y_NK, own_y_NK = ((rng.random((400, 3)) < p_NK).astype(int) for _ in range(2))
    q_NK = np.clip(p_NK + rng.normal(0, 0.05, p_NK.shape), 0, 1)
    found = credit_skill.recalibrated(judged(q_NK, y_NK), judged(q_NK, own_y_NK))
    constants_NK = np.tile(y_NK.mean(0), (400, 1))
    assert found["brier_slots"] == pytest.approx(brier_score_loss(own_y_NK.ravel(), constants_NK.ravel()))
    assert found["brier_isotonic"] == pytest.approx(found["brier_slots"], abs=0.01)
    with pytest.raises(ValueError, match="needs answers with a verdict and a confidence"):
        credit_skill.recalibrated([], judged(q_NK, own_y_NK))


def test_confidences_that_are_higher_where_wrong_become_the_rate_of_hits(credit_skill: Any) -> None:
    y_NK = (np.random.default_rng(1).random((300, 2)) < 0.6).astype(int)
    q_NK = np.where(y_NK == 1, 0.3, 0.7)
    assert roc_auc_score(y_NK.ravel(), q_NK.ravel()) == 0
    found = credit_skill.recalibrated(judged(q_NK, y_NK), judged(q_NK, y_NK))
    rate = y_NK.mean()
    assert found["brier_platt"] == pytest.approx(rate * (1 - rate))
    assert found["ece_platt"] == pytest.approx(0, abs=1e-9)
