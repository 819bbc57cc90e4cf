"""The list of runs, and one question."""

from dataclasses import replace
from pathlib import Path

import pytest

from polymode import runs
from polymode.types import Completion
from polymode.web.browsing.question_view import question_of
from polymode.web.browsing.run_folders import RunFolders, home_of, list_experiments, train_of

from ..run_folders import GOOD, write_run, write_training


def test_runs_stand_under_their_experiment(tmp_path: Path) -> None:
    write_training(tmp_path / "lab" / "arm-k2" / "seed-0", seed=0)
    write_run(tmp_path / "lab" / "arm-k2" / "seed-0" / "set")
    write_run(tmp_path / "lab" / "arm-k2" / "seed-0" / "set" / "deep")
    write_run(tmp_path / "mine")
    (tmp_path / "lab" / runs.REPORT).write_text("<p>report")
    [own, lab], is_cut = list_experiments(RunFolders(tmp_path))
    assert not is_cut and (own.name, own.title, own.has_report) == ("", tmp_path.name, False)
    assert (lab.name, lab.has_report) == ("lab", True)
    [entry] = lab.entries
    assert (entry.name, entry.label) == ("lab/arm-k2/seed-0/set", "arm-k2/seed-0/set")
    assert entry.settings == {"task": "clinic", "method": "multi-rlcr", "seed": 0, "k": 2} and entry.k == 2
    assert entry.metrics is not None and entry.metrics.metrics["coverage"].n == 3
    assert train_of(RunFolders(tmp_path), entry.name) == "lab/arm-k2/seed-0"


@pytest.mark.parametrize(
    ("name", "home"),
    [("a/arm/seed-0/set", "a"), ("arm/seed-12/set/deep", ""), ("mine", ""), ("a/mine", "a"), ("seed-0/set", "seed-0")],
)
def test_home(name: str, home: str) -> None:
    assert home_of(name) == home


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "a JSON object is needed"),
        ('{"view": 3}', "view = 3 is not allowed: give an object"),
        ('{"metrics": {"coverage": 3}}', "metrics, coverage"),
        (
            '{"metrics": {"coverage": {"value": "high"}}}',
            "metrics, coverage, value = 'high' is not allowed: give a number",
        ),
        ('{"curves": {"reliability": [3]}}', "curves, reliability"),
        ('{"groups": {"a": {"metrics": [1]}}}', "groups, a, metrics = [1] is not allowed: give an object"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_damaged_metrics_are_named_and_the_list_goes_on(tmp_path: Path, content: str, said: str) -> None:
    write_run(tmp_path / "good")
    (write_run(tmp_path / "bad") / runs.METRICS).write_text(content)
    [experiment], _ = list_experiments(RunFolders(tmp_path))
    bad, good = experiment.entries
    assert good.problem == ""
    assert bad.metrics is None and said in bad.problem and bad.problem.startswith("bad/metrics.json")


Question = tuple[list[runs.JudgedCompletion], list[Completion]]


def read_question(folder: Path) -> Question:
    """The judged completions and completions of a run with one question."""
    judged = [line.judged for line in runs.judged_lines(folder / runs.JUDGED)]
    return judged, runs.read_completions(folder)


def test_a_question_with_all_that_is_known(tmp_path: Path) -> None:
    folder = write_run(tmp_path, {"q1": GOOD["q1"]}, p_correct={"flu": 0.7, "gout": 0.25})
    question = question_of(*read_question(folder))
    assert question.text == "What is it, q1?" and question.is_distribution
    [attempt] = question.attempts
    assert [(a.text, a.mark, a.confidence, a.probability) for a in attempt.answers] == [
        ("flu", "hit", 0.9, 0.7),
        ("cold", "hit", 0.4, 0.0),
    ]
    assert [(t.text, t.is_reference, t.probability, t.n_found) for t in question.truths] == [
        ("flu", True, 0.7, 1),
        ("cold", True, None, 1),
        ("gout", False, 0.25, 0),
    ]
    assert sum(attempt.judged.terms.values()) == pytest.approx(attempt.judged.score)


def test_a_text_that_was_not_judged_is_not_marked(tmp_path: Path) -> None:
    judged, [completion] = read_question(write_run(tmp_path, {"q1": GOOD["q1"]}))
    [attempt] = question_of(judged, [replace(completion, text=GOOD["q2"][0])]).attempts
    assert "other answers" in attempt.note and {segment.mark for segment in attempt.segments} == {None}


def test_a_question_without_its_completion(tmp_path: Path) -> None:
    judged, _ = read_question(write_run(tmp_path, {"q1": GOOD["q1"]}))
    question = question_of(judged, [None])
    assert question.text is None and question.truths == () and not question.is_distribution
    [attempt] = question.attempts
    assert attempt.segments == () and [answer.mark for answer in attempt.answers] == ["hit", "hit"]
