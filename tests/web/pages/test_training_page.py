"""The page of a training that is going on: progress, figures with intervals, drawings, and damaged files."""

import html
import json
import re
from pathlib import Path

import pytest

from polymode import runs
from polymode.report import charts
from polymode.report.panels import Figure, Panel
from polymode.web.pages import run_reader

from ..run_folders import write_run, write_training
from .conftest import Visit, Visitor, shown_text
from .test_hostile import HOSTILE, Tags
from .test_runs import TABLES, shown

DRAWING = charts.Markup(
    '<svg class="chart" viewBox="0 0 1 1" role="img" aria-label="Rewards &lt;rise&gt;"><path/></svg>'
)


@pytest.fixture(autouse=True)
def quick_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawings that take no time."""
    figures = [Figure("training", "Training: reward", "The caption.", (Panel(DRAWING, "Reward"),))]
    monkeypatch.setattr(run_reader, "figures_of_training", lambda rows, label: figures)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_training(tmp_path / "arm" / "seed-0", max_steps=10, seed=0)
    return tmp_path


@pytest.fixture
def pages(visit: Visit, folder: Path) -> Visitor:
    return visit(shown(folder))


def test_a_training_that_goes_on_is_in_the_list(pages: Visitor) -> None:
    text = shown_text(pages.get("/runs").text)
    # Rewards 2, 3 and 4: mean 3 and t(0.975, 2) / sqrt(3) = 2.484 around it.
    assert "arm/seed-0 in training step 3 of 10, last written" in text
    assert "Reward 3.000 [0.516, 5.484]" in text and "Coverage 1.00" in text


def test_its_page_has_progress_figures_and_drawings(pages: Visitor, folder: Path) -> None:
    page = pages.get("/runs/arm/seed-0")
    text = shown_text(page.text)
    assert page.status_code == 200 and 'data-live="5"' in page.text
    for part in (
        "step 3 of 10",
        "multi-rlcr",
        "Training: reward",
        "The caption.",
        "Reward 3.000 [0.516, 5.484] 3 steps",
    ):
        assert part in text
    [image] = re.findall(r'<img src="([^"]*)"[^>]*alt="Rewards &lt;rise&gt;"', page.text)
    drawing = pages.get(html.unescape(image))
    assert drawing.headers["content-type"] == "image/svg+xml" and "prefers-color-scheme:dark" in drawing.text
    [policy] = drawing.headers.get_list("content-security-policy")
    assert policy.endswith("; sandbox") and "script" not in policy
    runs.append_step(folder / "arm" / "seed-0" / runs.TRAIN_METRICS, {"step": 4, "reward": 5.0})
    again = pages.get("/runs/arm/seed-0")
    assert "step 4 of 10" in shown_text(again.text) and image not in again.text  # another version of the drawing
    for query in ("figure=9", "figure=0&panel=9"):
        assert pages.get(f"/runs/arm/seed-0?part=drawing&{query}").status_code == 404


def test_it_stops_asking_when_the_training_is_over(pages: Visitor, folder: Path) -> None:
    runs.append_step(folder / "arm" / "seed-0" / runs.TRAIN_METRICS, {"step": 10})
    page = pages.get("/runs/arm/seed-0").text
    assert 'data-live="0"' in page and "finished" in shown_text(page)


def test_validation_has_its_questions_and_intervals(pages: Visitor, folder: Path) -> None:
    measured = {"coverage": 1.25, "coverage_low": 1.0, "coverage_high": 1.5, "brier": 0.2}
    row = {f"validation/sampled/{name}": value for name, value in measured.items()}
    path = folder / "arm" / "seed-0" / runs.TRAIN_METRICS
    runs.append_step(path, {"step": 4, "validation/questions": 32, **row})
    text = shown_text(pages.get("/runs/arm/seed-0").text)
    assert "Coverage, sampled validation 1.25 [1.00, 1.50] 32 questions" in text
    assert "Brier score, sampled validation 0.2000 32 questions" in text  # of a version without intervals
    assert "Coverage, sampled 1.25 [1.00, 1.50]" in shown_text(pages.get("/runs").text)


def test_a_run_leads_to_its_training_and_back(pages: Visitor, folder: Path) -> None:
    write_run(folder / "arm" / "seed-0" / "set")
    page = pages.get("/runs/arm/seed-0/set").text
    [link] = re.findall(r'href="([^"]*part=training)"', page)
    assert 'href="/runs/arm/seed-0/set"' in pages.get(link).text


def test_a_folder_that_is_both_shows_its_questions_first(pages: Visitor, folder: Path) -> None:
    write_run(folder / "arm" / "seed-0")
    assert "Questions" in pages.get("/runs/arm/seed-0").text
    assert "Latest figures" in pages.get("/runs/arm/seed-0?part=training").text


@pytest.mark.parametrize(
    "lines", ["", "{", '{"step": [1]}\n', "3\n", '{"schema": 99}\n', '{"step": "x", "reward": {}}\n']
)
def test_no_line_breaks_a_page(pages: Visitor, folder: Path, lines: str) -> None:
    (folder / "arm" / "seed-0" / runs.TRAIN_METRICS).write_text(lines)
    assert pages.get("/runs").status_code == 200
    assert pages.get("/runs/arm/seed-0").status_code in (200, 422)


def test_names_and_values_are_inert(visit: Visit, tmp_path: Path) -> None:
    name = "<script>alert(1)<&script>"
    write_training(tmp_path / name, method=HOSTILE, task="<b>", max_steps=9)
    runs.append_step(tmp_path / name / runs.TRAIN_METRICS, {"step": 4, "validation/questions": 2, HOSTILE: 1.0})
    pages = visit(shown(tmp_path))
    [link] = set(re.findall(r'href="(/runs/[^"?]*)"', pages.get("/runs").text))
    for path in ("/runs", link):
        found = Tags(pages.get(path).text)
        assert found.tags <= {*TABLES, "figure", "figcaption", "img"}, found.tags - TABLES
        assert not {a for a in found.attributes if a.startswith("on") or a == "style"}


def test_other_parts_of_what_is_no_training_are_refused(pages: Visitor, folder: Path) -> None:
    write_run(folder / "mine")
    assert pages.get("/runs/mine?part=training").status_code == 404
    assert pages.get("/runs/mine?part=drawing").status_code == 404
    assert pages.get("/runs/none?part=training").status_code == 404
    (folder / "arm" / "seed-0" / runs.CONFIG).write_text(json.dumps({"config": 3}))
    assert pages.get("/runs/arm/seed-0").status_code == 200
