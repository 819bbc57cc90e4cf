"""The report of chosen runs: the page of `polymode compare`, and the questions that the runs differ in."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from polymode import runs
from polymode.compare.compare import compare_runs
from polymode.compare.reports import differing_questions, report_of_run, report_of_runs
from polymode.errors import ConfigError

from .conftest import write_run, write_training

A = {"q1": ["a b"], "q2": ["d e"]}
B = {"q1": ["a x"], "q2": ["x y"]}
C = {"q1": ["a b"], "q2": ["d x"], "q3": ["a b"]}


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Coverage by question (q1, q2): 2, 2; 1, 0; 2, 1."""
    texts = {"one": A, "two": B, "three": C}
    return [write_run(tmp_path / name, own, k=2, confidences=(0.9, 0.5)) for name, own in texts.items()]


def table(html: str) -> str:
    """The table of differences as text."""
    part = html[html.index('id="differences"') :]
    return " ".join(re.sub(r"<[^>]*>", " ", part[: part.index("</section>")]).split())


def test_three_runs_have_the_differences_of_the_command(
    three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymode.compare.reports.N_BOOT", 50)
    html = report_of_runs(three, title="Three", links=[("Runs", "/runs")])
    compare_runs(three, tmp_path / "out", against="one", n_boot=50)
    assert table(html) == table((tmp_path / "out" / runs.REPORT).read_text())
    # q1: 1 - 2, q2: 0 - 2, so -3/2 for two; 0 and -1, so -1/2 for three.
    assert re.search(r"Coverage ↑ distinct references found per set: coverage −1\.50 \[.*?\] .*?−0\.50", table(html))
    assert '<a href="/runs">Runs</a><a href="#headline">' in html


def test_questions_by_how_much_the_runs_differ(three: list[Path]) -> None:
    found = differing_questions(three)
    q2, q1 = found.questions
    assert found.n_shared == 2  # only one of them has q3
    assert (q2.id, q2.coverage) == ("q2", (2.0, 0.0, 1.0)) and (q1.id, q1.coverage) == ("q1", (2.0, 1.0, 2.0))
    assert q2.brier == pytest.approx(
        ((0.1**2 + 0.5**2) / 2, (0.9**2 + 0.5**2) / 2, (0.1**2 + 0.5**2) / 2)
    )  # the second answer of the third is wrong: 0.5 away as well


def test_without_confidences_only_coverage_tells(tmp_path: Path) -> None:
    silent = [write_run(tmp_path / "one", A, k=2), write_run(tmp_path / "two", B, k=2)]
    questions = differing_questions(silent).questions
    assert all(math.isnan(value) for question in questions for value in question.brier)
    assert not any(question.has_brier for question in questions)
    stating = write_run(tmp_path / "three", C, k=2, confidences=(0.9, 0.5))
    assert all(question.has_brier for question in differing_questions([*silent, stating]).questions)


def test_seeds_are_one_column_and_told_apart_only_by_themselves(tmp_path: Path) -> None:
    seeds = []
    for seed in (0, 1):
        home = write_training(tmp_path / "arm" / f"seed-{seed}", "multi-rlvr", 2)
        seeds.append(write_run(home / "set", A if seed else B, k=2))
    alone = report_of_runs(seeds, title="Seeds")
    assert all(f"<bdi>multi-rlvr, one completion of 2, seed {seed}</bdi>" in alone for seed in (0, 1))
    beside = report_of_runs([*seeds, write_run(tmp_path / "other", A, k=2)], title="Seeds and another")
    assert "<bdi>multi-rlvr, one completion of 2</bdi>: 2 questions, 2 seeds" in beside


def test_runs_that_programs_judged_are_compared_by_their_stored_verdicts(three: list[Path]) -> None:
    stored = runs.read_metrics(three[1])
    verifier = {"name": "programs", "options": {"distinct": "behaviour"}}
    replace(stored, view={**stored.view, "verifier": verifier}).write(three[1])
    (three[1] / runs.COMPLETIONS).unlink()  # nothing could be judged again
    assert differing_questions(three).n_shared == 2


def test_files_that_are_too_large_for_a_page_are_refused(three: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymode.compare.reports.MAX_BYTES", 10)
    with pytest.raises(ConfigError, match="too many for a page: polymode compare A B"):
        report_of_runs(three, title="")
    with pytest.raises(ConfigError, match="too many for a page"):
        differing_questions(three)


def test_one_run_has_a_report_with_its_training(tmp_path: Path) -> None:
    home = write_training(tmp_path / "arm" / "seed-0", "multi-rlvr", 2)
    html = report_of_run(write_run(home / "set", A, k=2), title="One", links=[("Runs", "/runs")])
    assert 'id="figure-training"' in html and "distinct references found per set" in html
    assert 'id="differences"' not in html and 'id="examples"' not in html
