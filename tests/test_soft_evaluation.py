"""Completions whose target is a distribution, from the file to metrics, pages and back."""

import json
import math
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from polymode import metrics, runs
from polymode.cli import main
from polymode.errors import RecordError, VerifierFault
from polymode.evaluation import Evaluation, evaluate, read_completions
from polymode.report.examples import pick_examples
from polymode.tasks.lab.clinic import Clinic
from polymode.types import Completion, Example, Reference
from polymode.uncertainty import SumStatistic
from polymode.verifiers.scripted import ScriptedVerifier
from polymode.web.browsing.question_view import question_of

VOTES = [{"text": "e", "weight": 0.5}, {"text": "n", "weight": 0.3}, {"text": "c", "weight": 0.2}]
TEXT = "<answer1>e</answer1><confidence1>0.6</confidence1><answer2>n</answer2><confidence2>0.3</confidence2>"
LINE = {"completion": TEXT, "references": VOTES, "k": 2}


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def values(evaluation: Evaluation) -> dict[str, float]:
    return {name: estimate.value for name, estimate in evaluation.metrics.items()}


def test_shares_by_hand(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", LINE)
    hard, soft = (
        values(evaluate(read_completions(path, target=target), n_boot=0)) for target in (None, "distribution")
    )
    # Answers stated at .6 and .3; verdicts 1 and 1, shares .5 and .3.
    assert hard["ece"] == pytest.approx((0.4 + 0.7) / 2)
    assert soft["ece"] == pytest.approx((0.1 + 0) / 2)
    # Expected squares: .1² + .5 x .5 and 0 + .3 x .7, of which .25 and .21 are in the question.
    assert soft["brier"] == pytest.approx((0.01 + 0.25 + 0.21) / 2)
    assert soft["brier_floor"] == pytest.approx(0.23)
    assert soft["brier_excess"] == pytest.approx(0.005)
    # The best constant is .4: .24; so of .24 - .23 half is closed.
    assert soft["brier_gap_closed"] == pytest.approx((0.24 - 0.235) / (0.24 - 0.23))
    assert soft["nll"] == pytest.approx(
        -(0.5 * math.log(0.6) + 0.5 * math.log(0.4) + 0.3 * math.log(0.3) + 0.7 * math.log(0.7)) / 2
    )
    assert soft["expected_hits_bias"] == pytest.approx(0.9 - 0.8)
    assert soft["ece_top1"] == pytest.approx(0.1)
    for found in (hard, soft):  # whatever the target: the weights are there
        assert found["total_variation"] == pytest.approx(0.1)
        assert 0.04 < found["kl"] < 0.05
        assert found["coverage"] == found["mean_hits"] + (0 if found is hard else 1.2) == 2
        assert found["pass@1"] == 1


def test_soft_metrics_are_expectations_over_drawn_labels() -> None:
    rng = np.random.default_rng(3)
    q, w = rng.integers(0, 11, size=6) / 10, rng.random(6)
    chances = [
        (np.array(y), math.prod(p if one else 1 - p for p, one in zip(w, y, strict=True)))
        for y in product((0, 1), repeat=6)
    ]
    for function in (metrics.brier, metrics.log_loss):
        assert function(q, w) == pytest.approx(sum(chance * function(q, y) for y, chance in chances))
    # Linear in the labels within a bin: the gap of the expected share.
    bins = metrics.reliability_bins(q, w)
    expected = sum(chance * np.nan_to_num(metrics.reliability_bins(q, y).frequency) for y, chance in chances)
    assert np.nan_to_num(bins.frequency) == pytest.approx(expected)
    labels, twice = np.repeat([1, 0], 6), np.concatenate([q, q])
    assert metrics.auroc(q, w) == pytest.approx(roc_auc_score(labels, twice, sample_weight=[*w, *(1 - w)]))
    assert metrics.ece([0.5, 0.5], [0.3, 0.7]) == pytest.approx(0)


def test_verdicts_and_soft_labels_in_one_file_stand_in_judged_jsonl(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", {**LINE, "id": "a", "target": "distribution"}, {**LINE, "id": "b"})
    completions = read_completions(path)
    assert [one.example.target for one in completions] == ["distribution", "verdict"]
    found = evaluate(completions, n_boot=20)
    assert [one.labels for one in found.judged] == [(0.5, 0.3), None]
    assert [one.hits for one in found.judged] == [(1, 1), (1, 1)]
    assert found.judged[0].score == pytest.approx(3 - 0.005)
    assert values(found)["ece"] == pytest.approx((abs(1.2 - 1.5) + abs(0.6 - 1.3)) / 4)
    found.write(tmp_path)
    again = Evaluation.read(tmp_path)
    assert again.judged == found.judged
    stored, measured = (one.statistics["brier"] for one in (again, found))
    assert isinstance(stored, SumStatistic) and isinstance(measured, SumStatistic)
    assert all(np.array_equal(a, b) for a, b in zip(stored.sums, measured.sums, strict=True))
    rows = [runs.completion_to_row(one) for one in completions]
    assert [row.get("target") for row in rows] == ["distribution", None]


def test_pooled_samples_and_votes_are_measured_against_shares(tmp_path: Path) -> None:
    single = {"references": VOTES, "k": 1, "confidence": False, "id": "a", "target": "distribution"}
    path = write(
        tmp_path / "c.jsonl",
        *({**single, "sample": i, "completion": f"<answer>{text}</answer>"} for i, text in enumerate("een")),
    )
    found = evaluate(read_completions(path), pooled=True, k=3, confidence_from="votes", n_boot=0)
    pool = found.judged[0].pool
    assert pool is not None
    assert pool.labels == (0.5, 0.0, 0.3)
    assert values(found)["ece"] == pytest.approx((abs(2 / 3 - 0.5) + abs(1 / 3 - 0.3)) / 2)
    assert values(found)["expected_hits_bias"] == pytest.approx(1 - 0.8)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"references": ["e", "n"]}, "line 1: target = 'distribution': the reference 'e' has no weight"),
        ({"references": VOTES[:2]}, r"line 1: target = 'distribution': the weights of the references sum to 0\.8"),
        ({"references": []}, "line 1: target = 'distribution': the question has no references"),
        ({"references": [{"text": "e", "weight": -1}]}, "line 1: references: weight -1 of 'e' must be a number from 0"),
        ({"distribution": {"e": 0.7}}, "line 1: distribution: probabilities sum to 0.7"),
        ({"target": "votes"}, "line 1.*target"),
    ],
)
def test_weights_that_are_no_distribution(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    path = write(tmp_path / "c.jsonl", {**LINE, "target": "distribution", **change})
    with pytest.raises(RecordError, match=problem):
        read_completions(path)


def test_a_verifier_that_faults_leaves_the_completion_unscored_with_the_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", {**LINE, "target": "distribution"})
    found = evaluate(read_completions(path), verifier=ScriptedVerifier({"n": VerifierFault("down")}), n_boot=0)
    assert found.view["n_unscored"] == 1
    assert "down" in found.judged[0].faults[0]
    assert math.isnan(values(found)["ece"])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "c.jsonl", LINE)
    assert main(["evaluate", str(path), "--n-boot", "0", "--target", "distribution", "--out", str(tmp_path / "o")]) == 0
    assert "ece                        0.0500" in capsys.readouterr().out
    write(path, {**LINE, "references": ["e", "n"]})
    assert main(["evaluate", str(path), "--target", "distribution", "--out", str(tmp_path / "p")]) == 2
    assert "the reference 'e' has no weight" in capsys.readouterr().err


BACK_END = f"""
from polymode.generate.scripted import ScriptedGenerator
class Fixed(ScriptedGenerator):
    def __init__(self, model):
        super().__init__([{TEXT!r}])
"""


def test_generated_lines_say_their_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fixed_back_end.py").write_text(BACK_END, encoding="utf-8")
    write(Path("votes.jsonl"), {"question": "?", "references": {"e": 5, "n": 3, "c": 2}})
    command = "generate --model m --backend fixed_back_end:Fixed --task records --data votes.jsonl --k 2 --n 1"
    options = ["--split", "train", "--task-options", "weights=counts", "validation=0", "test=0"]
    assert main([*command.split(), *options, "--target", "distribution", "--out", "run"]) == 0
    assert main(["evaluate", "run", "--n-boot", "0"]) == 0
    assert "ece                        0.0500" in capsys.readouterr().out
    assert main([*command.split(), *options, "--target", "verdict", "--out", "run", "--resume"]) == 2
    assert "target = 'verdict' differs from the run folder's 'distribution'" in capsys.readouterr().err
    write(Path("plain.jsonl"), {"question": "?", "references": ["e", "n"]})
    command = command.replace("votes.jsonl", "plain.jsonl")
    options[3] = "weights=probabilities"
    assert main([*command.split(), *options, "--target", "distribution", "--out", "other"]) == 2
    assert "task 'records', question 'record-1': target = 'distribution': the reference 'e' has no weight" in (
        capsys.readouterr().err
    )
    assert not Path("other").exists()


def clinic_completion(target: str) -> Completion:
    [example] = Clinic(target=target).examples("test", 1)  # type: ignore[arg-type]
    assert example.distribution is not None
    slots = "".join(
        f"<answer{i}>{name}</answer{i}><confidence{i}>0.5</confidence{i}>"
        for i, name in enumerate(list(example.distribution)[:3], 1)
    )
    return Completion(example, slots, 3, True)


def test_a_page_shows_one_probability_of_a_condition(tmp_path: Path) -> None:
    completion = clinic_completion("distribution")
    masses = completion.example.distribution
    assert masses is not None
    found = evaluate([completion], n_boot=0)
    runs.write_completions(tmp_path, [completion])
    found.write(tmp_path)
    [example] = pick_examples(tmp_path, tmp_path)
    truths = {truth.text: truth.probability for truth in example.truth}
    lines = question_of(found.judged, [completion]).attempts[0].answers
    for own, line in zip(example.sides[0].answers, lines, strict=True):
        assert own.probability == line.probability == pytest.approx(masses[own.text])
        assert own.text not in truths or truths[own.text] == own.probability
    # Against the verdict the same answers are "true 1.00", is listed, beside the posterior.
    other = evaluate([clinic_completion("verdict")], n_boot=0)
    assert other.judged[0].p_correct is not None and other.judged[0].p_correct[0] == 1
    assert values(other)["coverage"] == values(found)["coverage"]


def test_hand_made_questions_share_the_file_format(tmp_path: Path) -> None:
    example = Example("x", "?", (Reference("e", weight=0.25), Reference("n", weight=0.75)), target="distribution")
    one = replace(clinic_completion("verdict"), example=example, text=TEXT, k=2)
    runs.write_completions(tmp_path, [one])
    assert read_completions(tmp_path)[0].example.target == "distribution"
    assert evaluate(read_completions(tmp_path), n_boot=0).judged[0].labels == (0.25, 0.75)
