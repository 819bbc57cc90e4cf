"""Chosen runs beside each other: the form, their report, the questions that they differ in."""

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
from .test_runs import TABLES, quick_reports, shown  # noqa: F401  # the fixture acts on its own


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
    page = pages.get("/compare?run=good&part=choose").text
    assert re.findall(r'name="run" value="(\w+)"', page) == ["good", "poor"]
    assert page.count(" checked") == 1 and 'method="get"' in page and "Choose at least two" not in page
    assert "Choose at least two different runs" in pages.get("/compare?run=good&run=good").text
    many = "&".join(f"run={number}" for number in range(13))
    assert pages.get(f"/compare?{many}").status_code == 422


COVERAGE = r"Coverage ↑ distinct references found per set: coverage"


def test_three_runs_have_one_report_with_differences(pages: Visitor, folder: Path) -> None:
    write_run(folder / "third", {**GOOD, "q2": POOR["q2"]})
    page = ready(pages, "/compare?run=good&run=poor&run=third")
    text = shown_text(page)
    assert re.search(rf"{COVERAGE} 1\.00 \[.*?\] 0\.67 \[.*?\] 1\.00 \[", text)
    assert re.search(rf"{COVERAGE} −0\.33 \[.*?\] 0\.00 \[", text) and "minus the baseline, good" in text
    turned = shown_text(ready(pages, "/compare?run=good&run=poor&run=third&against=poor"))
    assert "minus the baseline, poor" in turned and re.search(rf"{COVERAGE} \+0\.33 \[.*?\] \+0\.33 \[", turned)
    links = [link.replace("&amp;", "&") for link in re.findall(r'<a href="(/[^"]*)"', page)]
    assert links[0] == "/runs" and links[1] == "/compare?run=good&run=poor&run=third&part=questions"
    choose = pages.get(links[2]).text
    assert choose.count(" checked") == 3 and 'value="good" selected' not in choose
    questions = shown_text(ready(pages, links[1]))
    assert "found: A 2.00, B 1.00, C 2.00" in questions


def test_questions_that_differ(pages: Visitor) -> None:
    page = ready(pages, "/compare?run=good&run=poor&part=questions")
    text = shown_text(page)
    assert "3 questions" in text
    assert re.search(r"What is it, q1\? q1 found: A 2\.00, B 1\.00 Brier score: A 0\.\d\d, B 0\.\d\d", text)
    links = re.findall(r'href="(/runs/good\?question=[^"]*)"', page)
    beside = shown_text(pages.get(links[0].replace("&amp;", "&")).text)
    assert "cold ✓ correct" in beside and "gout ✗ wrong" in beside and "Back to the comparison" in beside


def test_questions_are_ordered_by_how_much_they_differ(pages: Visitor, folder: Path) -> None:
    write_run(folder / "poor", {**POOR, "q1": [answers(("gout", 0.9), ("sprain", 0.4))]})
    page = ready(pages, "/compare?run=good&run=poor&part=questions")
    assert re.findall(r"What is it, (q\d)\?", page)[0] == "q1"


def test_equal_runs_do_not_differ(pages: Visitor, folder: Path) -> None:
    write_run(folder / "poor", GOOD)
    assert "No question differs" in ready(pages, "/compare?run=good&run=poor&part=questions")


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("run=good&run=none", 404, "there is no such run"),
        ("run=good&run=../x", 404, "there is no such run"),
        ("run=good&against=../x", 404, "there is no such run"),
        ("run=good&run=poor&part=questions&page=x", 422, "a number is not allowed"),
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
    for part in ("", "questions"):
        for _ in range(200):
            reply = pages.get(f"/compare?run=good&run=poor&part={part}")
            if reply.status_code != 202:
                break
        if part != "questions" or said != "share no question":  # then there is nothing to list
            assert reply.status_code in (404, 422) and said in shown_text(reply.text)


@pytest.mark.parametrize("name", ["programs", "judge"])
def test_stored_verdicts_are_compared_whatever_judged_them(pages: Visitor, folder: Path, name: str) -> None:
    for run in ("good", "poor"):
        metrics = json.loads((folder / run / runs.METRICS).read_text())
        metrics["view"]["verifier"] = {"name": name, "options": {}}
        (folder / run / runs.METRICS).write_text(json.dumps(metrics))
        (folder / run / runs.COMPLETIONS).unlink()  # nothing can be judged again
    text = shown_text(ready(pages, "/compare?run=poor&run=good"))
    assert re.search(rf"{COVERAGE} 0\.67 \[.*?\] 1\.00 \[", text) and re.search(rf"{COVERAGE} \+0\.33", text)
    assert f"verifier {name}" in shown_text(pages.get("/runs/good").text)


def test_a_comparison_is_made_once_and_again_when_a_file_changes(
    pages: Visitor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    real = run_reader.report_of_runs
    monkeypatch.setattr(run_reader, "report_of_runs", lambda *a, **o: (made.append(a), real(*a, **o))[1])
    for _ in range(3):
        ready(pages, "/compare?run=good&run=poor")
    assert len(made) == 1
    write_run(folder / "poor", GOOD)
    ready(pages, "/compare?run=good&run=poor")
    assert len(made) == 2


def test_names_and_questions_are_inert(visit: Visit, tmp_path: Path) -> None:
    names = ["<b>a", '"><script>x<&script>']
    for name, texts in zip(names, (GOOD, POOR), strict=True):
        write_run(tmp_path / name, texts, questions=dict.fromkeys(GOOD, HOSTILE))
    pages = visit(shown(tmp_path))
    both = "/compare?run=%3Cb%3Ea&run=%22%3E%3Cscript%3Ex%3C%26script%3E"
    assert "<b>" not in ready(pages, both) and "<script" not in ready(pages, both)
    for path in ("/compare", f"{both}&part=choose", f"{both}&part=questions"):
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
        assert f"Coverage ↑ {metrics['coverage']['value']:.2f}" in shown_text(ready(pages, f"/runs/{name}"))
        assert "Model output" in ready(pages, f"/runs/{name}?question=1")
    assert "Table of paired differences" in ready(pages, f"/compare?run={multi}&run={single}")
