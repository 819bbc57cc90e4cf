"""Two runs beside each other: the numbers of `polymode compare`, and the questions they differ in."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from polymode import runs
from polymode.compare.figures import figures_of
from polymode.compare.two_runs import compare_two
from polymode.errors import ConfigError
from polymode.evaluation import compare, evaluate, read_completions

from .conftest import write_run, write_training

A = {"q1": ["a b"], "q2": ["d e"]}
B = {"q1": ["a x"], "q2": ["x y"]}


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return (
        write_run(tmp_path / "one", A, k=2, confidences=(0.9, 0.5)),
        write_run(tmp_path / "two", B, k=2, confidences=(0.9, 0.5)),
    )


def test_the_numbers_are_those_of_a_paired_comparison(two: tuple[Path, Path]) -> None:
    found = compare_two(*two, n_boot=50)
    one, other = (evaluate(read_completions(folder), n_boot=0) for folder in two)
    theirs = compare(one, other, n_boot=50)
    metrics = {metric.name: metric for _, group in found.groups for metric in group}
    assert found.labels == ("one", "two") and found.n_shared == 2
    assert metrics["coverage"].first.value == 2 and metrics["coverage"].second.value == 0.5
    for name in ("coverage", "brier", "recall", "tokens_per_set"):
        difference = metrics[name].difference
        assert difference is not None
        assert (difference.cell.value, difference.cell.low, difference.cell.high) == pytest.approx(
            (theirs[name].value, theirs[name].low, theirs[name].high), nan_ok=True
        )


def test_questions_by_how_much_they_differ(two: tuple[Path, Path]) -> None:
    q2, q1 = compare_two(*two, n_boot=0).questions
    assert (q2.id, q2.coverage) == ("q2", (2.0, 0.0)) and (q1.id, q1.coverage) == ("q1", (2.0, 1.0))
    assert q2.brier == pytest.approx(((0.1**2 + 0.5**2) / 2, (0.9**2 + 0.5**2) / 2))


def test_without_confidences_only_coverage_tells(tmp_path: Path) -> None:
    found = compare_two(write_run(tmp_path / "one", A, k=2), write_run(tmp_path / "two", B, k=2), n_boot=0)
    assert all(math.isnan(value) for question in found.questions for value in question.brier)


def test_seeds_of_one_arm_are_told_apart(tmp_path: Path) -> None:
    folders = []
    for seed in (0, 1):
        home = write_training(tmp_path / "arm" / f"seed-{seed}", "multi-rlvr", 2)
        folders.append(write_run(home / "set", A if seed else B, k=2))
    first, second = compare_two(*folders, n_boot=0).labels
    assert first.startswith("A: multi-rlvr") and second.startswith("B: multi-rlvr")


def test_a_run_that_programs_judged_is_compared_by_its_stored_verdicts(two: tuple[Path, Path]) -> None:
    stored = runs.read_metrics(two[1])
    verifier = {"name": "programs", "options": {"distinct": "behaviour"}}
    replace(stored, view={**stored.view, "verifier": verifier}).write(two[1])
    (two[1] / runs.COMPLETIONS).unlink()  # nothing could be judged again
    assert compare_two(*two, n_boot=0).n_shared == 2


def test_a_file_that_is_too_large_for_a_page_is_refused(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymode.compare.two_runs.MAX_BYTES", 10)
    with pytest.raises(ConfigError, match="one has .* too many for a page: polymode compare A B"):
        compare_two(*two)


def test_drawings_are_files_of_their_own(tmp_path: Path) -> None:
    home = write_training(tmp_path / "arm" / "seed-0", "multi-rlvr", 2)
    figures = figures_of(write_run(home / "set", A, k=2), write_run(tmp_path / "two", B, k=2))
    assert {"training", "recall"} <= {figure.id for figure in figures}
    recall = next(figure for figure in figures if figure.id == "recall")
    assert len(recall.legend) == 2 and all(url.startswith("data:image/svg+xml,%3Csvg") for _, url in recall.legend)
    for panel in recall.panels:
        assert 'xmlns="http://www.w3.org/2000/svg"' in panel.svg and "prefers-color-scheme:dark" in panel.svg
        assert panel.alt.startswith("Line chart.")
