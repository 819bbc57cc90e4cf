"""Two runs beside each other, on a page."""

import json
import re
import shutil
from pathlib import Path

import pytest

from polymode import runs
from polymode.web.pages import run_reader

from ..run_folders import GOOD, POOR, answers, write_run
from .conftest import Visit, Visitor, shown_text
from .test_hostile import HOSTILE, Tags
from .test_runs import TABLES, quick_figures, shown  # noqa: F401  # the fixture acts on its own


def ready(pages: Visitor, path: str) -> str:
    """The text of a page once it is prepared."""
    for _ in range(200):
        reply = pages.get(path)
        if reply.status_code != 202:
            assert reply.status_code == 200, shown_text(reply.text)
            return reply.text
    raise AssertionError("never ready")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "good", GOOD)
    write_run(tmp_path / "poor", POOR)
    return tmp_path


@pytest.fixture
def pages(visit: Visit, folder: Path) -> Visitor:
    return visit(shown(folder))


def test_runs_are_chosen_in_a_form(pages: Visitor, folder: Path) -> None:
    write_run(folder / "good" / "deep")
    (folder / "other").mkdir()
    (folder / "other" / runs.METRICS).write_text("{}")
    page = pages.get("/compare?a=good").text
    assert re.findall(r'<option value="(\w+)"', page) == ["good", "poor", "good", "poor"]
    assert page.count("selected") == 1 and 'method="get"' in page
    assert "Choose two different runs" in pages.get("/compare?a=good&b=good").text


def test_metrics_differences_and_questions(pages: Visitor) -> None:
    page = ready(pages, "/compare?a=good&b=poor")
    text = shown_text(page)
    assert "3 questions" in text
    assert re.search(r"coverage ↑ distinct references found per set 1\.00 \[.*?\] 0\.67 \[.*?\] \+0\.33", text)
    assert re.search(r"What is it, q1\? q1 found: A 2\.00, B 1\.00 Brier: A 0\.\d\d, B 0\.\d\d", text)
    links = re.findall(r'href="(/runs/good\?question=[^"]*)"', page)
    beside = shown_text(pages.get(links[0].replace("&amp;", "&")).text)
    assert "cold ✓ correct" in beside and "gout ✗ wrong" in beside and "Back to the comparison" in beside


def test_questions_are_ordered_by_how_much_they_differ(pages: Visitor, folder: Path) -> None:
    write_run(folder / "poor", {**POOR, "q1": [answers(("gout", 0.9), ("sprain", 0.4))]})
    page = ready(pages, "/compare?a=good&b=poor")
    assert re.findall(r"What is it, (q\d)\?", page)[0] == "q1"


def test_equal_runs_do_not_differ(pages: Visitor, folder: Path) -> None:
    write_run(folder / "poor", GOOD)
    assert "No question differs" in ready(pages, "/compare?a=good&b=poor")


def test_figures_of_both(pages: Visitor) -> None:
    page = ready(pages, "/compare?a=good&b=poor&part=figures")
    [image] = re.findall(r'<img src="(/compare[^"]*)"', page)
    reply = pages.get(image.replace("&amp;", "&"))
    assert reply.headers["content-type"] == "image/svg+xml"
    assert reply.headers["content-security-policy"].endswith("; sandbox")


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("a=good&b=none", 404, "there is no such run"),
        ("a=good&b=../x", 404, "there is no such run"),
        ("a=good&b=poor&page=x", 422, "a number is not allowed"),
    ],
)
def test_what_cannot_be_compared_is_said(pages: Visitor, query: str, status: int, said: str) -> None:
    for _ in range(200):
        reply = pages.get(f"/compare?{query}")
        if reply.status_code != 202:
            break
    assert reply.status_code == status and said in shown_text(reply.text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: write_run(f, {"q9": GOOD["q2"]}), "share no question"),
        (lambda f: (f / runs.METRICS).write_text("{"), "poor/metrics.json: not valid JSON"),
        (lambda f: (f / runs.JUDGED).write_text("{\n"), "line 1: not valid JSON"),
        (lambda f: (f / runs.JUDGED).unlink(), "judged.jsonl is missing"),
        (lambda f: (f / runs.METRICS).write_text('{"schema": 2}'), "schema 2 is newer than this polymode"),
    ],
)
def test_files_that_cannot_be_compared_are_named(pages: Visitor, folder: Path, change: object, said: str) -> None:
    change(folder / "poor")  # type: ignore[operator]
    for _ in range(200):
        reply = pages.get("/compare?a=good&b=poor")
        if reply.status_code != 202:
            break
    assert reply.status_code in (404, 422) and said in shown_text(reply.text)


@pytest.mark.parametrize("name", ["programs", "judge"])
def test_stored_verdicts_are_compared_whatever_judged_them(pages: Visitor, folder: Path, name: str) -> None:
    for run in ("good", "poor"):
        metrics = json.loads((folder / run / runs.METRICS).read_text())
        metrics["view"]["verifier"] = {"name": name, "options": {}}
        (folder / run / runs.METRICS).write_text(json.dumps(metrics))
        (folder / run / runs.COMPLETIONS).unlink()  # nothing can be judged again
    text = shown_text(ready(pages, "/compare?a=good&b=poor"))
    assert re.search(r"coverage ↑ distinct references found per set 1\.00 \[.*?\] 0\.67 \[.*?\] \+0\.33", text)
    assert f"verifier {name}" in shown_text(pages.get("/runs/good").text)


def test_a_comparison_is_made_once_and_again_when_a_file_changes(
    pages: Visitor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    real = run_reader.compare_two
    monkeypatch.setattr(run_reader, "compare_two", lambda *a: (made.append(a), real(*a))[1])
    for _ in range(3):
        ready(pages, "/compare?a=good&b=poor")
    assert len(made) == 1
    write_run(folder / "poor", GOOD)
    ready(pages, "/compare?a=good&b=poor")
    assert len(made) == 2


def test_names_and_questions_are_inert(visit: Visit, tmp_path: Path) -> None:
    names = ["<b>a", '"><script>x<&script>']
    for name, texts in zip(names, (GOOD, POOR), strict=True):
        write_run(tmp_path / name, texts, questions=dict.fromkeys(GOOD, HOSTILE))
    pages = visit(shown(tmp_path))
    for path in ("/compare", "/compare?a=%3Cb%3Ea&b=%22%3E%3Cscript%3Ex%3C%26script%3E"):
        found = Tags(ready(pages, path))
        assert found.tags <= TABLES, found.tags - TABLES
        assert not {a for a in found.attributes if a.startswith("on") or a == "style"}


def test_folders_of_version_0_1_0_open(visit: Visit, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "tests" / "runs" / "made_by_0_1_0", tmp_path / "runs")
    pages = visit(shown(tmp_path / "runs"))
    multi, single = "clinic/multi-rlcr-k3/seed-0/set", "clinic/single-rlvr/seed-0/samples-votes"
    listed = shown_text(pages.get("/runs").text)
    assert "multi-rlcr, clinic" in listed and "not evaluated" not in listed
    for name in (multi, single, "programs"):
        metrics = json.loads((tmp_path / "runs" / name / runs.METRICS).read_text())["metrics"]
        assert f"coverage ↑ {metrics['coverage']['value']:.2f}" in shown_text(ready(pages, f"/runs/{name}"))
        assert "Model output" in ready(pages, f"/runs/{name}?question=1")
    assert "Metrics and paired differences" in ready(pages, f"/compare?a={multi}&b={single}")
