"""Which arms the figures draw, and the figure of K."""

from dataclasses import replace

from polymode.report.arm_selection import MAX_DRAWN, compared_k, in_curves, in_reliability, of_several_k
from polymode.report.arms import read_arm
from polymode.report.charts import assign_styles
from polymode.report.figures import build_figures


def styled(*arms):
    return list(zip(map(read_arm, arms), assign_styles([arm.method for arm in arms]), strict=True))


def labels(arms):
    return [data.arm.label for data, _ in arms]


def four(make_arm):
    samples = make_arm("samples", "single-rlvr", pooled=True, confidence=False)
    votes = replace(make_arm("votes", "single-rlvr", pooled=True), is_remeasured=True)
    three = make_arm("three", "multi-rlvr", confidence=False, seeds=2)
    five = make_arm("five", "multi-rlvr", k=5, coverage=2.9, confidence=False)
    return styled(samples, votes, three, five)


def test_curves_leave_out_other_confidences_and_other_k(make_arm):
    arms = four(make_arm)
    assert compared_k(arms) == 3
    assert labels(in_curves(arms)) == ["samples", "three"]
    assert labels(in_reliability(arms)) == ["samples", "votes", "three"]
    figures = {figure.id: figure for figure in build_figures(arms, {})}
    assert [label for label, _ in figures["recall"].legend] == ["samples", "three"]
    assert [panel.heading for panel in figures["reliability"].panels] == ["votes"]


def test_another_k_is_drawn_where_no_figure_of_k_shows_it(make_arm):
    arms = four(make_arm)
    assert labels(in_curves([arms[0], arms[3]])) == ["samples", "five"]


def test_the_figure_of_k_orders_the_models_by_k(make_arm):
    arms = four(make_arm)
    (method, same), *none = of_several_k([arms[3], *arms[:3]]).items()
    assert (method, labels(same), none) == ("multi-rlvr", ["three", "five"], [])
    figure = {figure.id: figure for figure in build_figures(arms, {})}["k"]
    assert [panel.heading for panel in figure.panels] == [
        "References found",
        "Share of the best possible",
        "Tokens per reference found",
    ]
    assert "at K = 3" in figure.panels[0].svg and "at K = 5" in figure.panels[0].svg
    assert "k" not in {figure.id for figure in build_figures(arms[:3], {})}


def test_a_figure_draws_at_most_ten_arms_and_says_so(make_arm):
    arms = styled(*(make_arm(f"arm {i}", "multi-rlvr", confidence=False) for i in range(MAX_DRAWN + 1)))
    assert len(in_curves(arms)) == MAX_DRAWN
    recall = build_figures(arms, {})[0]
    assert recall.caption.endswith("At most 10 arms are drawn; the table has all of them.")
