"""The list of runs, and one question."""

from contextlib import suppress
from pathlib import Path

import pytest

from polymode import runs
from polymode.errors import RecordError
from polymode.web.browsing.judged import judged_from
from polymode.web.browsing.numbers import read_metrics
from polymode.web.browsing.question_view import question_of
from polymode.web.browsing.run_folders import RunFolders
from polymode.web.browsing.run_list import home_of, list_experiments, train_of

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
    assert entry.metrics is not None and entry.metrics.cells["coverage"].n == 3
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
        ('{"view": 3}', "view: an object is needed"),
        ('{"metrics": {"coverage": 3}}', "metrics, coverage"),
        ('{"metrics": {"coverage": {"value": "high"}}}', "value must be a number or null"),
        ('{"curves": {"reliability": [3]}}', "curves, reliability"),
        ('{"groups": {"a": {"metrics": [1]}}}', "groups, a: metrics: an object is needed"),
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


def test_undefined_metrics_stay_undefined(tmp_path: Path) -> None:
    (tmp_path / runs.METRICS).write_text('{"metrics": {"ece": {"value": null, "n": 0}, "kl": {"value": NaN, "n": 1}}}')
    with pytest.raises(RecordError, match="kl: value must be a number or null"):
        read_metrics(tmp_path / runs.METRICS, "x")
    (tmp_path / runs.METRICS).write_text('{"metrics": {"ece": {"value": null, "n": 0}}}')
    cell = read_metrics(tmp_path / runs.METRICS, "x").cells["ece"]
    assert cell.value != cell.value and cell.n == 0


def rows_of(folder: Path) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    return list(runs.read_jsonl(folder / runs.JUDGED)), list(runs.read_jsonl(folder / runs.COMPLETIONS))


def test_a_question_with_all_that_is_known(tmp_path: Path) -> None:
    judged, completions = rows_of(write_run(tmp_path, {"q1": GOOD["q1"]}, p_correct={"flu": 0.7, "gout": 0.25}))
    question = question_of([judged_from(judged[0], "here")], completions, ["there"])
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
    assert sum(value for _, value in attempt.judged.terms) == pytest.approx(attempt.judged.score)


def test_a_text_that_was_not_judged_is_not_marked(tmp_path: Path) -> None:
    judged, completions = rows_of(write_run(tmp_path, {"q1": GOOD["q1"]}))
    completions[0]["completion"] = GOOD["q2"][0]
    [attempt] = question_of([judged_from(judged[0], "here")], completions, ["there"]).attempts
    assert "other answers" in attempt.note and {piece.mark for piece in attempt.segments} == {None}


@pytest.mark.parametrize(("field", "value"), [("completion", 3), ("references", 3), ("references", [[1]])])
def test_a_damaged_completion_is_named(tmp_path: Path, field: str, value: object) -> None:
    judged, completions = rows_of(write_run(tmp_path, {"q1": GOOD["q1"]}))
    completions[0][field] = value
    with pytest.raises(RecordError, match=f"^there: {field}"):
        question_of([judged_from(judged[0], "here")], completions, ["there"])


@pytest.mark.parametrize("value", [None, 3, "x", [], [[]], {}, {"a": [1]}, 1e308, True])
def test_no_value_of_any_field_is_more_than_an_error(tmp_path: Path, value: object) -> None:
    judged, completions = rows_of(write_run(tmp_path, {"q1": GOOD["q1"]}, p_correct={"flu": 1.0}))
    for name in judged[0]:
        with suppress(RecordError):
            question_of([judged_from({**judged[0], name: value}, "here")], completions, ["there"])
    for name in completions[0]:
        with suppress(RecordError):
            question_of([judged_from(judged[0], "here")], [{**completions[0], name: value}], ["there"])
