"""Coverage for the tokens of one multi-answer completion, worked by hand."""

from dataclasses import replace

import pytest

from polymode.report.arms import Arm, read_arm
from polymode.report.equal_tokens import METRIC, TokenBudget, coverage_of, find_budget, with_equal_tokens
from polymode.report.table import explain, table_markdown

CURVE = [{"answers": m, "value": v, "low": v - 0.1, "high": v + 0.2, "questions": 9} for m, v in ((1, 1.0), (2, 1.6))]


def test_a_share_of_a_completion_is_interpolated():
    point = coverage_of(CURVE, 1, 1.5)  # half of 1.0 and half of 1.6
    assert (point.value, point.low, point.high) == (pytest.approx(1.3), pytest.approx(1.2), pytest.approx(1.5))
    assert coverage_of(CURVE, 1, 2.0).value == 1.6
    by_three = [{**p, "answers": 3 * p["answers"]} for p in CURVE]
    assert coverage_of(by_three, 3, 1.25).value == pytest.approx(0.75 * 1.0 + 0.25 * 1.6)


@pytest.mark.parametrize(
    ("m", "reason"),
    [
        (0.8, "the budget pays for 0.80 of a completion"),
        (2.1, "the budget pays for 2.1 completions, and the curve ends at 2"),
        (float("nan"), "completions without token counts"),
    ],
)
def test_what_the_curve_does_not_reach_has_a_reason(m, reason):
    with pytest.raises(LookupError, match=reason):
        coverage_of(CURVE, 1, m)


def arms(make_arm):
    single = make_arm("single, 3 samples", "single-rlvr", pooled=True, coverage=1.5, tokens=60, confidence=False)
    rlcr = make_arm("rlcr", "multi-rlcr", tokens=44)
    return [single, rlcr, make_arm("rlvr", "multi-rlvr", tokens=36, seeds=2, confidence=False)]


def test_multi_rlvr_sets_the_budget_else_multi_rlcr(make_arm):
    data = [read_arm(arm) for arm in arms(make_arm)]
    assert find_budget(data) == TokenBudget("rlvr", 36.0)
    assert find_budget(data[:2]) == TokenBudget("rlcr", 44.0)
    assert find_budget(data[:1]) is None and with_equal_tokens(data[:1], None) == data[:1]
    of_two = replace(data[2], arm=replace(data[2].arm, k=2))
    assert find_budget([of_two]) is None


def test_each_arm_gets_the_metric_or_a_reason(make_arm):
    data = [read_arm(arm) for arm in arms(make_arm)]
    single, rlcr, rlvr = with_equal_tokens(data, find_budget(data))
    # 36 tokens buy 1.8 samples of 20. The test's curve of a pool stands at 3, 6, ... samples only.
    assert explain(single, METRIC) == "undefined: the budget pays for 1.8 completions, and the curve ends at 30"
    assert explain(rlcr, METRIC) == "undefined: the budget pays for 0.82 of a completion"
    first = [curves["unique_references"][0]["value"] for curves in rlvr.curves]
    assert rlvr.cell(METRIC).by_seed == tuple(first) and "U(1.00), for 36.0 tokens" in explain(rlvr, METRIC)


def test_the_table_names_the_budget_and_the_reasons(make_arm):
    compared: list[Arm] = arms(make_arm)
    *table, blank, note = table_markdown(compared, [METRIC, "coverage"]).splitlines()
    assert blank == "" and table[2].startswith(f"| {METRIC} | – | – | ")
    assert note.startswith(f"{METRIC}: for 36.0 tokens a question, the mean of rlvr.")
    assert "rlcr: undefined: the budget pays for 0.82 of a completion." in note
    assert METRIC not in table_markdown(compared, ["coverage"])
