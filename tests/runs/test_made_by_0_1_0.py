"""Folders that polymode 0.1.0 made (commit 2cc8bf2) open everywhere, with the numbers that they had."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from polymode import runs
from polymode.calibrate import read_judged
from polymode.compare.compare import compare_runs
from polymode.compare.reports import differing_questions
from polymode.evaluation import Evaluation, evaluate, read_completions
from polymode.policy import Policy
from polymode.report.examples import pick_examples
from polymode.uncertainty import SumStatistic

MADE = Path(__file__).parent / "made_by_0_1_0"
CLINIC = MADE / "clinic"
SET, SAMPLES = CLINIC / "multi-rlcr-k3/seed-0/set", CLINIC / "single-rlvr/seed-0/samples"
VOTES = CLINIC / "single-rlvr/seed-0/samples-votes"


def test_a_comparison_has_the_differences_that_it_had(tmp_path: Path) -> None:
    stored = json.loads((MADE / "differences.json").read_text())
    comparison = compare_runs([CLINIC], tmp_path, n_boot=100)
    for name, metrics in stored.items():
        now = {
            metric: [found.cell.value, found.cell.low, found.cell.high]
            for metric, found in comparison.differences[name].items()
            if found.cell.is_defined
        }
        assert now.keys() >= metrics.keys()
        for metric, (value, _, _) in metrics.items():
            # Intervals follow other rules now: three equal differences no longer have one of width 0.
            assert now[metric][0] == pytest.approx(value, nan_ok=True), (name, metric)


@pytest.mark.parametrize(
    ("folder", "how"),
    [
        (SET, {}),
        (SAMPLES, {"pooled": True, "k": 3}),
        (VOTES, {"pooled": True, "k": 3, "confidence_from": "votes"}),
    ],
)
def test_what_is_read_is_what_judging_its_completions_gives(folder: Path, how: dict) -> None:
    stored, now = Evaluation.read(folder), evaluate(read_completions(folder), n_boot=100, **how)
    assert [replace(one, schema=0, question=None, meta=None) for one in now.judged] == list(stored.judged)
    assert now.metrics.keys() >= stored.metrics.keys()
    # Values and counts: intervals follow other rules now, ece_debiased leaves out bins of one question, and the share
    # of the gap that is closed is not reported from three of them.
    for name, then in stored.metrics.items():
        if name.startswith("brier_gap_closed"):
            assert math.isnan(now.metrics[name].value), name
            continue
        if name == "ece_debiased":
            continue
        assert now.metrics[name].value == pytest.approx(then.value, nan_ok=True), name
        assert now.metrics[name].n == then.n, name
    assert stored.view == now.view
    assert stored.statistics.keys() == now.statistics.keys()


def test_programs_are_read_without_running_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no sandbox
    found = Evaluation.read(MADE / "programs")
    values = found.statistics["coverage"]
    assert isinstance(values, SumStatistic)
    assert float(values.finish(*(part.sum() for part in values.sums))) == found.metrics["coverage"].value == 1.5
    assert "distinct_by_ast" in found.metrics and "distinct_by_ast" not in found.statistics
    assert all(one.open for one in found.judged)


def test_pages_calibration_and_examples_read_it() -> None:
    two = differing_questions([SET, MADE / "clinic/multi-rlcr-k3/seed-0/set"])
    assert two.n_shared == 3 and two.questions == ()
    judged = read_judged(SET / runs.JUDGED)
    assert len(judged.records) == 3 and not judged.n_unusable
    assert judged.records.right[:, 0].all()
    examples = pick_examples(SET, SAMPLES, n=3)
    assert len(examples) == 3 and all(example.question.startswith("A ") for example in examples)


def test_policy_configurations_and_steps_are_read() -> None:
    assert runs.read_policy(MADE / "policy.json") == Policy(k=3, answer_at=0.9, offer_at=0.5)
    stored = runs.read_configuration(MADE / "programs")
    assert stored.config["task"] == "programs" and stored.config["task_options"] == {}
    assert "numpy" in stored.versions
    assert [row["coverage"] for row in runs.read_steps(SET.parent)] == [0.5, 1.0]
    assert runs.is_training(SET.parent) and not runs.is_training(SET)


def test_options_that_were_written_as_texts_are_a_mapping(tmp_path: Path) -> None:
    config = {"task_options": ["distinct=behaviour", "threshold=0.1", "hub=true"]}
    runs.write_json(tmp_path / "config.json", {"config": config})
    options = runs.read_configuration(tmp_path).config["task_options"]
    assert options == {"distinct": "behaviour", "threshold": 0.1, "hub": True}


def test_the_class_of_a_verifier_becomes_its_name() -> None:
    assert runs.read_metrics(SET).view["verifier"] == {"name": "text", "options": {}}
    assert math.isnan(runs.read_metrics(SAMPLES).metrics["ece"].value)
