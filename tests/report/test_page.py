import re
from html.parser import HTMLParser

import pytest

from polymode import runs
from polymode.errors import ConfigError, RunIncompleteError
from polymode.report.arms import Arm
from polymode.report.examples import pick_examples
from polymode.report.page import write_report

HOSTILE = "<script>alert(1)</script><img src=http://evil/x onerror=alert(1)> $x_{ {{ 7*7 }} \x00\x1b \u202e"


class Page(HTMLParser):
    """Tags, attributes and figure structure of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open_figures = 0
        self.figures: list[dict[str, int]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.append((tag, named))
        if tag == "figure":
            self.figures.append({"captions": 0, "named": 0, "drawings": 0})
        if self.figures:
            self.figures[-1]["captions"] += tag == "figcaption"
            is_chart = tag == "svg" and named.get("class") == "chart"
            self.figures[-1]["drawings"] += is_chart
            self.figures[-1]["named"] += is_chart and named.get("role") == "img" and bool(named.get("aria-label"))


def full_page(make_arm, tmp_path, **options) -> str:
    multi = make_arm("multi-rlcr, one completion of 3", "multi-rlcr", coverage=2.4, **options)
    single = make_arm("single-rlvr, 3 samples", "single-rlvr", coverage=1.4, pooled=True, confidence=False, **options)
    path = write_report(
        tmp_path / "report.html",
        title="Quick",
        intro=["What was done."],
        arms=[multi, single],
        reference={"best_coverage": 2.6},
        facts={"command": "polymode reproduce quick", "task": "clinic"},
        examples=pick_examples(multi.seeds[0], single.seeds[0]),
    )
    return path.read_text(encoding="utf-8")


def test_full_page_has_every_figure_named_and_captioned(make_arm, tmp_path):
    html = full_page(make_arm, tmp_path, seeds=2)
    page = Page(html)
    ids = [attrs["id"] for tag, attrs in page.tags if tag == "figure"]
    assert ids == [
        "figure-recall", "figure-coverage-at", "figure-unique-answers", "figure-reliability", "figure-expected-hits",
        "figure-sum-by-n-true", "figure-cost", "figure-risk-coverage", "figure-training",
    ]  # fmt: skip
    assert all(figure["captions"] == 1 and figure["drawings"] for figure in page.figures)
    assert all(figure["named"] == figure["drawings"] for figure in page.figures)
    assert html.count('<article class="card example">') == 10
    assert len(html.encode()) < 2_000_000


def test_the_page_loads_nothing(make_arm, tmp_path):
    page = Page(full_page(make_arm, tmp_path, hostile=HOSTILE))
    loading = ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
    targets = [attrs[name] for _, attrs in page.tags for name in loading if name in attrs]
    assert targets and all(target and target.startswith("#") for target in targets)
    assert {"script", "img", "iframe", "object", "embed", "link"}.isdisjoint(tag for tag, _ in page.tags)
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_links_inside_the_page_have_their_targets(make_arm, tmp_path):
    page = Page(full_page(make_arm, tmp_path))
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {(a.get("href") or "")[1:] for tag, a in page.tags if tag in ("a", "use")} <= ids


def test_a_plain_page_names_no_address_at_all(make_arm, tmp_path):
    html = full_page(make_arm, tmp_path)
    assert "://" not in html and "url(" not in html.replace("url(#", "") and "@import" not in html


def test_hostile_text_is_inert_everywhere(make_arm, tmp_path):
    arm = make_arm(HOSTILE, HOSTILE, hostile=HOSTILE)
    path = write_report(
        tmp_path / "r.html",
        title=HOSTILE,
        intro=[HOSTILE],
        arms=[Arm(HOSTILE, HOSTILE, arm.seeds, arm.train, note=HOSTILE)],
        facts={HOSTILE: HOSTILE, "command": HOSTILE},
        examples=pick_examples(arm.seeds[0], arm.seeds[0], labels=(HOSTILE, HOSTILE)),
    )
    html = path.read_text(encoding="utf-8")
    assert "<script" not in html and "<img" not in html and "&lt;script&gt;alert(1)" in html
    assert "{{ 7*7 }}" in html  # not evaluated
    assert not re.search("[\x00-\x08\x0b\x1b]", html)
    assert {"script", "img"}.isdisjoint(tag for tag, _ in Page(html).tags)


def test_lone_surrogates_do_not_stop_the_page(make_arm, tmp_path):
    arm = make_arm("a", "multi-rlcr")
    write_report(tmp_path / "r.html", title="broken \ud800 text", intro=[], arms=[arm])
    assert "broken \ufffd text" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_an_arm_without_confidences_has_no_reliability_panel(make_arm, tmp_path):
    html = full_page(make_arm, tmp_path)
    figure = html[html.index('id="figure-reliability"') :]
    figure = figure[: figure.index("</figure>")]
    assert "multi-rlcr" in figure and "single-rlvr" not in figure


def test_table_shows_intervals_seed_ranges_and_reasons(make_arm, tmp_path):
    html = full_page(make_arm, tmp_path, seeds=2)
    assert '<abbr class="v" title="undefined: this arm states no confidences">–</abbr>' in html
    assert "<small>[0.960, 0.980]</small></td>" in html  # seeds that agree need no range
    assert re.search(r"<small>seeds 2\.\d\d to 2\.\d\d</small>", html)


def empty_folder(folder, value=None):
    entry = {"value": value, "low": None, "high": None, "n": 0, "n_unscored": 0}
    curves = {
        "unique_references": [{"answers": 3, "value": value, "low": None, "high": None}],
        "reliability": [{"low": 0.0, "high": 1.0, "count": 0, "confidence": None, "hit_rate": None}],
        "expected_hits": [{"low": 0.0, "high": 1.0, "count": 0, "expected": None, "hits": None}],
        "unique_answers_histogram": [],
        "risk_coverage": [{"coverage": None, "risk": None}],
        "sum_by_n_true": [{"n_true": 1, "count": 0, "mean_sum_confidence": None, "mean_hits": None}],
    }
    metrics = dict.fromkeys(("coverage", "brier", "tokens_per_set", "tokens_per_reference"), entry)
    runs.write_json(folder / runs.METRICS, {"view": {}, "metrics": metrics, "curves": curves})
    return folder


def test_undefined_numbers_give_dashes_and_no_figures(tmp_path):
    arms = [Arm("m", "multi-rlcr", (empty_folder(tmp_path / "a"),)), Arm("s", "single-rlvr", (tmp_path / "a",))]
    html = write_report(tmp_path / "r.html", title="t", intro=[], arms=arms).read_text(encoding="utf-8")
    assert Page(html).figures == []
    assert "no curves to plot" in html and html.count(">–</abbr>") == 8 and "nan" not in html.lower()


def test_minimal_input_of_one_arm_with_one_metric(tmp_path):
    metric = {"coverage": {"value": 1.5, "low": 1.4, "high": 1.6, "n": 9, "n_unscored": 0}}
    runs.write_json(tmp_path / "a" / runs.METRICS, {"metrics": metric})
    html = write_report(tmp_path / "r.html", title="t", intro=[], arms=[Arm("m", "x", (tmp_path / "a",))])
    assert "m: coverage 1.50" in html.read_text(encoding="utf-8")


def test_one_point_curves_and_short_training_are_drawn(make_arm, tmp_path):
    arm = make_arm("m", "multi-rlcr", k=1)
    runs.write_jsonl(arm.train[0] / runs.TRAIN_METRICS, [{"step": 1, "reward": 0.5}])
    html = write_report(tmp_path / "r.html", title="t", intro=[], arms=[arm]).read_text(encoding="utf-8")
    assert "Reward, coverage" not in html and "by training step" in html
    assert "figure-coverage-at" not in html  # a curve of one point says nothing beyond the table


def test_mistakes_are_named(make_arm, tmp_path):
    with pytest.raises(ConfigError, match="arms is empty"):
        write_report(tmp_path / "r.html", title="t", intro=[], arms=[])
    arm = make_arm("m", "multi-rlcr")
    broken = Arm("m", "multi-rlcr", arm.seeds, (tmp_path / "nowhere",))
    with pytest.raises(RunIncompleteError, match="nowhere"):
        write_report(tmp_path / "r.html", title="t", intro=[], arms=[broken])
    assert not (tmp_path / "r.html").exists()
