"""How paired differences are written."""

import math

from polymode.report.arms import Cell
from polymode.report.differences import Difference, Differences, differences_markdown, write_difference
from polymode.report.page import write_report

UP = Difference(Cell(0.314, 0.25, 0.38, 100), 3)
UNSURE = Difference(Cell(-0.02, -0.1, 0.06, 100), 1)


def test_a_difference_has_a_sign_and_a_mark_where_the_interval_excludes_zero():
    assert write_difference(UP, "coverage") == "+0.31 [0.25, 0.38] *"
    assert write_difference(UNSURE, "coverage") == "−0.02 [−0.10, 0.06]"
    assert write_difference(Difference(Cell(0.001, 0.0, 0.002), 1), "coverage") == "0.00 [0.00, 0.00]"
    assert write_difference(Difference(Cell(), 1), "coverage") == write_difference(None, "coverage") == "–"
    assert not Difference(Cell(0.5, math.nan, math.nan), 1).excludes_zero


def test_better_and_worse_follow_the_arrow_of_the_metric():
    assert UP.verdict("coverage") == "better" and UP.verdict("brier") == "worse"
    assert UP.verdict("mean_hits") == UNSURE.verdict("coverage") == ""


def test_markdown_has_a_row_per_known_metric():
    table = Differences("base", (("a", {"coverage": UP, "brier": UNSURE}), ("b | c", {"coverage": UNSURE})))
    assert differences_markdown(table, ["brier", "coverage", "ece"]).splitlines() == [
        r"| metric | a | b \| c |",
        "|---|---:|---:|",
        "| brier | −0.0200 [−0.1000, 0.0600] | – |",
        "| coverage | +0.31 [0.25, 0.38] * | −0.02 [−0.10, 0.06] |",
    ]


def test_the_page_has_a_table_of_differences_when_there_are_any(make_arm, tmp_path):
    arm, base = make_arm("a", "multi-rlvr"), make_arm("base <b>", "single-rlvr", pooled=True)
    table = Differences("base <b>", (("a", {"coverage": UP, "mean_hits": UP, "ece": UNSURE}),))
    options = {"title": "t", "intro": [], "arms": [arm, base]}
    html = write_report(tmp_path / "r.html", **options, differences=table).read_text(encoding="utf-8")
    section = html[html.index('<section id="differences">') :]
    section = section[: section.index("</section>")]
    assert "base &lt;b&gt;" in section and "[0.25, 0.38] <strong>better</strong>" in section
    assert "<strong>differs</strong>" in section and "3 pairs of seeds" in section
    assert 'href="#differences"' in html
    assert "differences" not in write_report(tmp_path / "r.html", **options).read_text(encoding="utf-8").lower()
