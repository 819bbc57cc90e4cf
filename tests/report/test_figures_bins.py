"""Points of the figures of bins: intervals by N, and the isotonic curve over seeds."""

import math
from dataclasses import replace

import numpy as np
import pytest

from polymode.report import charts
from polymode.report.arms import ArmData, read_arm
from polymode.report.charts import assign_styles
from polymode.report.figures_bins import (
    _excess,
    _reach_over_seeds,
    _steps,
    expected_hits,
    reliability,
    sum_by_n_true,
    unique_answers,
)

POINT = {"n_true": 2, "count": 40, "questions": 20, "mean_sum_confidence": 1.4, "mean_hits": 1.0}


@pytest.fixture
def arm(make_arm) -> ArmData:
    return read_arm(make_arm("M", "multi-rlcr"))


def with_points(data: ArmData, curve: str, *seeds: list[dict]) -> ArmData:
    return replace(data, curves=tuple({curve: points} for points in seeds))


def test_a_point_by_n_has_its_interval_and_its_questions(arm: ArmData) -> None:
    one = [{**POINT, "low": 0.3, "high": 0.6}, {**POINT, "n_true": 3, "questions": 1, "low": None, "high": None}]
    line = _excess(with_points(arm, "sum_by_n_true", one))
    assert line is not None and line.x.tolist() == [2, 3] and line.y == pytest.approx([0.4, 0.4])
    assert (line.low[0], line.high[0]) == pytest.approx((0.3, 0.6)) and math.isnan(line.low[1])
    figure = sum_by_n_true([(with_points(arm, "sum_by_n_true", one), assign_styles(["multi-rlcr"])[0])])
    assert figure is not None and "Questions: 20 with N = 2, 1 with N = 3." in figure.caption


def test_seeds_widen_the_interval_by_n(arm: ArmData) -> None:
    seeds = [[{**POINT, "mean_hits": hits, "low": low, "high": low + 0.2}] for hits, low in ((1.0, 0.3), (0.8, 0.5))]
    line = _excess(with_points(arm, "sum_by_n_true", *seeds))
    assert line is not None and line.y == pytest.approx([0.5])
    half = math.hypot(0.1, 12.7062 * 0.1)  # s / sqrt(2) = 0.1, and t of one degree of freedom
    assert [line.low[0], line.high[0]] == pytest.approx([0.5 - half, 0.5 + half], abs=1e-4)


def test_a_file_without_intervals_is_drawn_without(arm: ArmData) -> None:
    old = {name: value for name, value in POINT.items() if name != "questions"}
    data = with_points(arm, "sum_by_n_true", [old])
    line = _excess(data)
    assert line is not None and line.y == pytest.approx([0.4]) and np.isnan(line.low).all()
    figure = sum_by_n_true([(data, assign_styles(["multi-rlcr"])[0])])
    assert figure is not None and "Questions:" not in figure.caption


def test_isotonic_steps_of_seeds_rise(arm: ArmData) -> None:
    def point(q: float, y: float, count: int) -> dict[str, float]:
        return {"confidence": q, "hit_rate": y, "count": count}

    first, second = [point(0.2, 0.1, 3), point(0.8, 0.9, 1)], [point(0.4, 0.0, 1)]
    one = _steps(with_points(arm, "reliability_isotonic", first), "reliability_isotonic", "confidence", "hit_rate")
    assert one.tolist() == [[0.2, 0.1], [0.8, 0.9]]
    both = with_points(arm, "reliability_isotonic", first, second)
    steps = _steps(both, "reliability_isotonic", "confidence", "hit_rate")
    assert steps == pytest.approx(np.array([[(0.6 + 0.4) / 4, 0.3 / 4], [0.8, 0.9]]))  # .1 then 0: joined
    assert _steps(arm, "nothing", "confidence", "hit_rate").shape == (0, 2)


def test_the_curve_is_drawn_where_there_is_one(arm: ArmData) -> None:
    style = assign_styles(["multi-rlcr"])[0]
    without = reliability([(arm, style)])
    curve = [{"confidence": 0.2, "hit_rate": 0.1, "count": 9}, {"confidence": 0.8, "hit_rate": 0.9, "count": 9}]
    data = replace(arm, curves=({**arm.curves[0], "reliability_isotonic": curve},))
    drawn = reliability([(data, style)])
    assert without is not None and drawn is not None
    assert drawn.panels[0].svg.count("<path") > without.panels[0].svg.count("<path")


BIN = {"low": 0.0, "high": 1.5, "count": 40, "expected": 1.0, "hits": 1.2}


def test_hits_by_expected_hits_have_whiskers_where_the_file_has_intervals(arm: ArmData) -> None:
    style = assign_styles(["multi-rlcr"])[0]
    old, new = [BIN], [{**BIN, "hits_low": 0.9, "hits_high": 1.4}]
    without, drawn = (expected_hits([(with_points(arm, "expected_hits", one), style)]) for one in (old, new))
    assert without is not None and drawn is not None
    assert without.panels[0].svg != drawn.panels[0].svg
    assert "Whiskers: 95% intervals over questions" in drawn.caption
    assert _reach_over_seeds(BIN, [new]) == pytest.approx((0.3, 0.2))
    assert np.isnan(_reach_over_seeds(BIN, [old])).all()


def test_seeds_widen_the_interval_of_a_bin(arm: ArmData) -> None:
    seeds = [[{**BIN, "hits": hits, "hits_low": hits - 0.1, "hits_high": hits + 0.1}] for hits in (1.0, 1.2)]
    half = math.hypot(0.1, 12.7062 * 0.1)  # s / sqrt(2) = 0.1, and t of one degree of freedom
    assert half > 1.1  # so the lower whisker ends at no hit
    assert _reach_over_seeds(BIN, seeds) == pytest.approx((1.1, half), abs=1e-4)
    assert _reach_over_seeds(BIN, [seeds[0], [{**BIN, "low": 1.5, "hits": 9.0}]]) == pytest.approx((0.1, 0.1))


def test_distinct_answers_have_intervals_of_the_questions_of_one_seed(
    arm: ArmData, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[float] = []
    wilson = charts.wilson
    monkeypatch.setattr(charts, "wilson", lambda share, n: counts.append(n) or wilson(share, n))
    points = [{"unique": 3, "questions": 8}, {"unique": 5, "questions": 2}]
    figure = unique_answers([(with_points(arm, "unique_answers_histogram", points, points), assign_styles(["m"])[0])])
    assert figure is not None and set(counts) == {10}  # 20 values of 10 questions
    cell = arm.cell("unique_answers@30")
    assert f"mean 3.4 [{cell.low:.1f}, {cell.high:.1f}]" in str(figure.panels[0].svg)
