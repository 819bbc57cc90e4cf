import math

import numpy as np
import pytest
from scipy.stats import t

from polymode.errors import ConfigError, RunIncompleteError
from polymode.report.arms import Arm, combine, line_over_seeds, merge_bins, read_arm, training_line
from polymode.uncertainty import Estimate


def test_combining_seeds_keeps_each_seed_and_its_interval_includes_how_they_vary():
    cell = combine([Estimate(1.0, 0.8, 1.3, 10, 1), Estimate(2.0, 1.6, 2.5, 10)])
    assert (cell.value, cell.n, cell.n_unscored, cell.by_seed) == (1.5, 20, 1, (1.0, 2.0))
    of_seeds = t.ppf(0.975, 1) * 0.5  # s / sqrt(2) = 1/2; the seeds' own intervals reach 0.3 and 0.4 on average
    expected = 1.5 - math.hypot(0.3, of_seeds), 1.5 + math.hypot(0.4, of_seeds)
    assert (cell.low, cell.high) == pytest.approx(expected)


def test_a_mean_over_seeds_some_of_which_are_undefined_is_undefined_and_says_why():
    refused, defined = Estimate(math.nan, math.nan, math.nan, 5, reason="no gap"), Estimate(0.4, 0.3, 0.5, 5)
    cell = combine([refused, defined, refused])
    assert not cell.is_defined and cell.by_seed == (0.4,)
    assert cell.reason == "1 of 3 seeds have a value: no gap"
    assert combine([refused, refused]).reason == "no gap" and not combine([refused, refused]).is_defined
    assert combine([defined]).value == 0.4


def test_line_of_one_seed_has_its_interval_and_of_several_their_range():
    one = [{"answers": 3, "value": 1.0, "low": 0.9, "high": 1.1}, {"answers": 6, "value": None}]
    two = [{"answers": 3, "value": 2.0, "low": 1.9, "high": 2.1}, {"answers": 9, "value": 3.0}]
    line = line_over_seeds([one], "answers")
    assert line is not None and (line.x, line.y, line.low, line.high) == ([3], [1.0], [0.9], [1.1])
    both = line_over_seeds([one, two], "answers")  # only 3 is a point of both
    assert both is not None and (both.x, both.y, both.low, both.high) == ([3], [1.5], [1.0], [2.0])
    assert line_over_seeds([[{"answers": 3, "value": None}]], "answers") is None


def test_bins_of_seeds_add_counts_and_weight_means_by_them():
    bins = merge_bins(
        [
            [{"low": 0.0, "high": 0.5, "count": 1, "confidence": 0.1, "hit_rate": 0.0}],
            [{"low": 0.0, "high": 0.5, "count": 3, "confidence": 0.3, "hit_rate": 1.0},
             {"low": 0.5, "high": 1.0, "count": 0, "confidence": None, "hit_rate": None}],
        ],
        "confidence", "hit_rate",
    )  # fmt: skip
    # (1 * 0.1 + 3 * 0.3) / 4 = 0.25 and (1 * 0 + 3 * 1) / 4 = 0.75
    assert bins[0] == {"low": 0.0, "high": 0.5, "count": 4, "x": pytest.approx(0.25), "y": 0.75}
    assert bins[1]["count"] == 0 and math.isnan(bins[1]["x"])


def test_training_line_follows_the_shortest_run():
    runs = [[{"step": s, "reward": s} for s in (1, 2, 3)], [{"step": s, "reward": 3 * s} for s in (1, 2)]]
    line = training_line(runs, "step", "reward", lambda values: values)
    assert line is not None
    np.testing.assert_array_equal(line.x, [1, 2])
    np.testing.assert_array_equal(line.y, [2, 4])
    np.testing.assert_array_equal(line.high, [3, 6])
    assert training_line(runs, "step", "brier", lambda values: values) is None


def test_reading_adds_counts_over_seeds_and_later_lines_of_a_step_win(make_arm):
    arm = make_arm("multi", "multi-rlcr", seeds=2)
    path = arm.train[0] / "metrics.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"step": 120, "reward": 99}\n', encoding="utf-8")
    data = read_arm(arm)
    assert data.view["n_completions"] == 2 * 400 and data.view["statuses"]["malformed"] == 4
    assert data.k == 3 and len(data.cell("coverage").by_seed) == 2
    assert len(data.training[0]) == 120 and data.training[0][-1]["reward"] == 99


def test_an_arm_without_folders_or_metrics_says_so(tmp_path):
    with pytest.raises(ConfigError, match="seeds is empty"):
        read_arm(Arm("a", "multi-rlcr", ()))
    with pytest.raises(RunIncompleteError, match=r"metrics\.json"):
        read_arm(Arm("a", "multi-rlcr", (tmp_path,)))
