import math

import pytest

from polymode import runs
from polymode.report.arms import Cell, read_arm
from polymode.report.table import (
    explain,
    table_markdown,
    why_empty,
    write_interval,
    write_number,
    write_range,
)
from polymode.report.words import GROUPS, group_metrics, row_of, words_of


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(1.2345, 2, "1.23"), (-0.04, 3, "−0.040"), (-0.0001, 2, "0.00"), (math.nan, 2, "–"), (1234.5, 1, "1234.5")],
)
def test_numbers_have_fixed_decimals_a_real_minus_and_no_negative_zero(value, decimals, text):
    assert write_number(value, decimals) == text


def test_interval_and_seed_range():
    assert write_interval(Cell(1.0, 0.5, 1.5), 1) == "[0.5, 1.5]"
    assert write_interval(Cell(1.0), 1) == ""
    assert write_range(Cell(1.0, by_seed=(1.2, 0.8)), 1) == "0.8 to 1.2"
    assert write_range(Cell(1.0, by_seed=(1.0,)), 1) == ""
    assert write_range(Cell(1.0, by_seed=(1.01, 1.02)), 1) == ""  # both read 1.0


def test_families_sort_by_number_and_unknown_metrics_come_last():
    names = ["pass@16", "pass@2", "mystery", "coverage@10", "coverage@2", "coverage", "overlap_3gram"]
    assert group_metrics(names) == [
        ("Coverage", ["coverage", "coverage@2", "coverage@10", "pass@2", "pass@16"]),
        ("Diversity", ["overlap_3gram"]),
        ("Other", ["mystery"]),
    ]
    assert group_metrics(["x10²", "x9²"]) == [("Other", ["x9²", "x10²"])]  # a digit that is no number
    assert row_of("coverage@7").better == "↑" and row_of("mystery").label == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("coverage", "Coverage"),
        ("coverage@10", "Coverage of the top 10"),
        ("pass@1", "Pass@1"),
        ("overlap_rouge_l", "Shared text, rouge l"),
        ("wrong_above@0.5", "Wrong of those stated with 0.5 or more"),
        ("brier", "Brier score"),
        ("mystery", "mystery"),
        ("", ""),
    ],
)
def test_every_metric_has_words(name, words):
    assert words_of(name) == words


def test_no_two_metrics_are_called_the_same():
    words = [words_of(row.name) for rows in GROUPS.values() for row in rows]
    assert len(words) == len(set(words)) and all(words)


def test_empty_cells_say_why(make_arm):
    silent = read_arm(make_arm("silent", "single-rlvr", confidence=False))
    assert why_empty(silent, "brier") == "undefined: this arm states no confidences"
    assert why_empty(silent, "pass@64") == "not computed by this evaluation"
    assert explain(silent, "brier") == why_empty(silent, "brier")


def test_a_cell_explains_n_and_seeds(make_arm):
    text = explain(read_arm(make_arm("multi", "multi-rlcr", seeds=2)), "ece")
    assert text == "ece = 0.0210; n = 80; by seed 0.0210, 0.0210"


def test_markdown_table_has_a_row_per_metric_and_escapes_bars(make_arm):
    arms = [make_arm("multi | three", "multi-rlcr"), make_arm("single", "single-rlvr", confidence=False)]
    lines = table_markdown(arms, ["brier", "any_hit"]).splitlines()
    assert lines == [
        r"| metric | multi \| three | single |",
        "|---|---:|---:|",
        "| brier | 0.1300 [0.1235, 0.1365] | – |",
        "| any_hit | 0.970 [0.960, 0.980] | 0.970 [0.960, 0.980] |",
    ]


def test_a_metric_that_no_evaluation_computed_has_no_row(make_arm):
    names = ["coverage", "distinct_by_ast", "distinct_by_behaviour"]
    plain, programs = make_arm("text", "multi-rlcr"), make_arm("programs", "multi-rlvr")
    assert len(table_markdown([plain], names).splitlines()) == 3
    content = runs.read_json(programs.seeds[0] / runs.METRICS)
    content["metrics"]["distinct_by_ast"] = {"value": 1.25, "low": 1, "high": 1.5, "n": 40, "n_unscored": 0}
    content["metrics"]["distinct_by_behaviour"] = {"value": None, "low": None, "high": None, "n": 0, "n_unscored": 0}
    runs.write_json(programs.seeds[0] / runs.METRICS, content)
    assert table_markdown([plain, programs], names).splitlines()[-2:] == [
        "| distinct_by_ast | – | 1.25 [1.00, 1.50] |",
        "| distinct_by_behaviour | – | – |",
    ]
    assert group_metrics(["distinct_by_ast", "coverage"])[1] == ("Diversity", ["distinct_by_ast"])


def test_markdown_table_shows_the_seed_range(make_arm):
    arm = make_arm("multi", "multi-rlcr", seeds=3)
    values = sorted(read_arm(arm).cell("coverage").by_seed)
    row = table_markdown([arm], ["coverage"]).splitlines()[-1]
    assert row.endswith(f"] ({values[0]:.2f} to {values[-1]:.2f}) |")
