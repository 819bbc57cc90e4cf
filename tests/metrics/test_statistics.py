"""Named metrics of the small table, worked by hand."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from polymode.metrics import calibration, scores
from polymode.metrics.statistics import of_unique_references, statistics
from polymode.uncertainty import Statistic, replicate


def values_of(statistics_of_table: Mapping[Any, Statistic], n_questions: int) -> dict[Any, float]:
    """The values without intervals."""
    resampled = replicate(statistics_of_table, n_questions, rng=np.random.default_rng(0), n_boot=0)
    return {name: one.value for name, one in resampled.items()}


@pytest.fixture
def values(small_table) -> dict[str, float]:
    found = statistics(small_table, small_table, small_table)
    return values_of(found, small_table.n_questions)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("coverage", (2 / 2 + 2 / 2) / 2),  # question 0: sets 2, 0; question 1: sets 1, 1
        ("recall", (0.5 + 1) / 2),  # 2/2, 0/2; 1/1, 1/1
        ("precision", (1 / 3 + 1 / 2) / 2),  # 2/3, 0; 1/2, 1/2
        ("any_hit", (0.5 + 1) / 2),
        ("pass@1", (0 + 1) / 2),  # the top answer of set 0 is slot 1, a miss
        ("coverage@2", (0.5 + 1) / 2),
        ("best_coverage", 1.5),
        ("coverage_of_best", 1 / 1.5),
        ("uniqueness", (1 + 0.75) / 2),
        ("pass@2", 1.0),  # both completions of each question together find something
        ("mean_sum_confidence", (2.0 + 0.9 + 0.8) / 3),  # the malformed set is left out
        ("mean_hits", 4 / 3),
        ("expected_hits_bias", (2.0 + 0.9 + 0.8 - 4) / 3),
        ("sum_to_one_bias", 0.0),  # only set 0 has two references: 2.0 - 2
        ("kl", 0.3),
        ("tokens_per_completion", 20.0),
        ("tokens_per_reference", (30 + 10 + 20) / (2 + 0 + 1)),  # without set 2, whose tokens are not known
        ("coverage@1", (0 + 1) / 2),
        ("coverage@3", (2 / 2 + 1) / 2),
        ("malformed_rate", 0.25),
        ("brier_constant", 4 / 7 * 3 / 7),
        ("brier_floor", (0.21 + 0.09 + 0.16 + 0.24 + 0.16 + 0.24 + 0) / 7),
        # (q - p)^2: .01, .64, .01, 0, .01, .04, 0
        ("brier_excess", 0.71 / 7),
    ],
)
def test_value(values: dict[str, float], name: str, expected: float) -> None:
    assert values[name] == pytest.approx(expected, abs=1e-12)


def test_gap_closed_follows_from_its_parts(values: dict[str, float]) -> None:
    constant, floor, brier = values["brier_constant"], values["brier_floor"], values["brier"]
    assert values["brier_gap_closed"] == pytest.approx((constant - brier) / (constant - floor), abs=1e-12)


def test_pooled_calibration_equals_the_plain_functions(small_table) -> None:
    q, y = np.array([0.2, 0.9, 0.9, 0.6, 0.25, 0.95, 0.0]), small_table.y  # two bins with both questions
    table = replace(small_table, q=q)
    values = values_of(statistics(table, table, table), 2)
    assert values["ece"] == pytest.approx(calibration.ece(q, y), abs=1e-12)
    assert values["ece_equal_mass"] == pytest.approx(calibration.adaptive_ece(q, y), abs=1e-12)
    assert values["ece_debiased"] == pytest.approx(
        calibration.debiased_ece(q, y, small_table.answer_question), abs=1e-12
    )
    assert values["nll"] == pytest.approx(scores.log_loss(q, y), abs=1e-12)
    parts = scores.brier_decomposition(q, y)._asdict()
    for name, part in parts.items():
        assert values[name if name == "brier" else f"brier_{name}"] == pytest.approx(part, abs=1e-12)


def test_undefined_metrics_are_nan(values: dict[str, float]) -> None:
    for name in ("total_variation", "unique_answers@30", "overlap_3gram"):
        assert np.isnan(values[name])


def test_counts_of_programs_are_means_over_questions_and_absent_without_programs(values, small_table) -> None:
    assert not any(name.startswith("distinct_by_") for name in values)
    nan = np.nan
    table = replace(small_table, by_ast=np.array([2.0, 0, 1, 2]), by_behaviour=np.array([1.0, 0, nan, nan]))
    found = statistics(table, table, table)
    counts = values_of(found, 2)
    assert counts["distinct_by_ast"] == (2 / 2 + 3 / 2) / 2
    assert (counts["distinct_by_behaviour"], found["distinct_by_behaviour"].n) == (1 / 2, 1)  # unknown for question 1
    nothing = statistics(replace(table, by_behaviour=np.full(4, nan)), table, table)
    assert nothing["distinct_by_behaviour"].n == 0


def test_u_of_one_completion_is_coverage(values: dict[str, float], small_table) -> None:
    curve = of_unique_references(small_table)
    assert list(curve) == [3, 6]  # m = 1, 2 completions of up to three answers
    found = values_of(curve, 2)
    assert found[3] == pytest.approx(values["coverage"], abs=1e-12)
    assert found[6] == pytest.approx((2 + 1) / 2, abs=1e-12)
