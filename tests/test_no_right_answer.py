"""Questions without a right answer, ``references: []``: the same from a file of records to a policy."""

import json
from pathlib import Path
from typing import Any

import pytest

from polymode import reward_of, runs
from polymode.calibrate import read_judged
from polymode.cli import main
from polymode.errors import ConfigError, RecordError
from polymode.evaluation import evaluate
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.policy import decide
from polymode.policy.calibration import Calibration
from polymode.policy.fitting import fit_policy
from polymode.rewards import AGGREGATIONS, METHODS, Reward, check_question, score_set
from polymode.training.reward import make_reward_function
from polymode.types import Completion, DecisionKind, Example, Reference, Verdict
from polymode.verifiers.choice import open_verifier
from polymode.verifiers.text import TextVerifier


def text(first: float, second: float) -> str:
    return (
        f"<answer1>flu</answer1><confidence1>{first}</confidence1>"
        f"<answer2>cold</answer2><confidence2>{second}</confidence2>"
    )


def test_every_answer_is_wrong_and_honest_confidence_is_0() -> None:
    scores = [reward_of(text(q, q), [], k=2) for q in (0, 0.5, 1)]
    assert [s.total for s in scores] == [1, 0.75, 0]  # 0 - q² + 1
    assert scores[0].judgement.verdicts == (Verdict.WRONG, Verdict.WRONG)
    assert (scores[0].judgement.n_references, scores[0].judgement.coverage) == (0, 0)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("loss", ["brier", "log", "spherical", "other"])
def test_honesty_is_best_under_every_reward(aggregation: str, loss: str) -> None:
    confidences = "exclusive" if loss == "other" else "independent"
    weights: dict[str, Any] = {"coverage": aggregation, "confidence_score": loss, "confidences": confidences}
    reward = Reward(**weights)
    check_question(reward, k=2, n=0)

    def total(q: float) -> float | None:
        answers = parse_answers(text(q, 0), 2, confidence=True)
        return score_set(judge(Example("", "?", ()), answers, TextVerifier()), reward).total

    assert total(0) == 1
    totals = [total(q / 10) or 0 for q in range(11)]
    assert totals == sorted(totals, reverse=True) and totals[0] > totals[1]


@pytest.mark.parametrize("name", ["text", "symbolic"])
def test_verifiers_by_name(name: str) -> None:
    pytest.importorskip("math_verify")
    assert reward_of(text(0, 0), [], k=2, verifier=name).total == 1


def test_a_judge_is_not_asked_and_programs_need_tests() -> None:
    answers = parse_answers(text(0, 0), 2, confidence=True)
    unreachable = open_verifier("judge", base_url="http://127.0.0.1:9/v1", model="m", retries=0)
    judged = judge(Example("", "?", ()), answers, unreachable)
    assert judged.verdicts == (Verdict.WRONG, Verdict.WRONG) and not judged.faults
    # Without tests nobody can say that a program is wrong.
    judged = judge(Example("p", "?", ()), answers, open_verifier("programs", unsafe_local=True))
    assert judged.verdicts == (Verdict.UNSCORED, Verdict.UNSCORED)
    assert "no reference to check it with; give the question its tests" in judged.faults[0]


def test_training_rewards_honesty_alone() -> None:
    reward = make_reward_function(METHODS["multi-rlcr"], 2, num_generations=2)
    texts = [text(0, 0), text(1, 1), text(1, 0), text(0, 0)]
    assert reward(texts, ["[]", "[]", [["flu"]], [["flu"]]]) == [1, 0, 2, pytest.approx(1.5)]


def mixed(n: int = 80) -> list[Completion]:
    """Every other question has no right answer; the model knows which, and is right about the others."""
    completions = []
    for i in range(n):
        references, q = ((Reference("flu"),), 0.9) if i % 2 else ((), 0.0)
        completions.append(Completion(Example(str(i), f"{i}?", references), text(q, 0), 2, has_confidence=True))
    return completions


def test_metrics_that_divide_by_n_leave_these_questions_out() -> None:
    metrics = evaluate(mixed(), n_boot=0).metrics
    for name in ("recall", "capped_recall"):
        assert (metrics[name].value, metrics[name].n) == (1, 40)
    # Over all 80: half of them have one hit. Best possible, too: min(N, K) is 0 or 1.
    assert (metrics["coverage"].value, metrics["coverage"].n) == (0.5, 80)
    assert (metrics["best_coverage"].value, metrics["coverage_of_best"].value) == (0.5, 1)
    # All 160 answers count: 40 errors of 0.1² and 120 of 0.
    assert (metrics["brier"].value, metrics["brier"].n) == (pytest.approx(40 * 0.01 / 160), 160)
    assert metrics["expected_hits_bias"].value == pytest.approx(-0.05)


def test_a_file_of_nothing_but_these_questions() -> None:
    metrics = evaluate([one for one in mixed() if not one.example.references], n_boot=0).metrics
    assert (metrics["coverage"].value, metrics["brier"].value, metrics["any_hit"].value) == (0, 0, 0)
    for name, n in (("recall", 0), ("capped_recall", 0), ("coverage_of_best", 40), ("auroc", 80)):
        assert str(metrics[name].value) == "nan" and metrics[name].n == n, name


def test_a_policy_keeps_its_promise_with_them(tmp_path: Path) -> None:
    evaluate(mixed(400), n_boot=0).write(tmp_path)
    judged = read_judged(tmp_path / runs.JUDGED)
    assert len(judged.records) == 400 and judged.records.right.any(axis=1).sum() == 200
    policy = fit_policy(judged.records, Calibration(target="answer", alpha=0.1))
    (guarantee,) = policy.guarantees
    assert guarantee.n_failed == 0 and 0.3 < guarantee.n_shown / guarantee.n < 0.7
    kinds = [decide(parse_answers(text(q, 0), 2, confidence=True), policy).kind for q in (0.9, 0)]
    assert kinds == [DecisionKind.ANSWER, DecisionKind.ESCALATE]
    with pytest.raises(ConfigError, match="cannot be promised for every question: .* hold no right one for 62 of 120"):
        fit_policy(judged.records, Calibration(target="conformal", alpha=0.1))


def test_where_nothing_is_ever_right_nothing_is_promised(tmp_path: Path) -> None:
    evaluate([one for one in mixed(400) if not one.example.references], n_boot=0).write(tmp_path)
    for target in ("answer", "set", "both", "conformal"):
        with pytest.raises(ConfigError, match="cannot be promised|no record of the design part can get"):
            fit_policy(read_judged(tmp_path / runs.JUDGED).records, Calibration(target=target, alpha=0.1))  # type: ignore[arg-type]


def test_from_records_to_completions_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "q.jsonl"
    data.write_text('{"question": "Who is the king of France?", "references": []}\n', encoding="utf-8")
    assert main(["tasks", "records", "--data", str(data), "--n", "1"]) == 0
    assert "no reference: every answer is wrong" in capsys.readouterr().out
    runs.write_completions(tmp_path, mixed(2))
    assert [len(one.example.references) for one in runs.read_completions(tmp_path)] == [0, 1]
    assert main(["evaluate", str(tmp_path), "--n-boot", "0"]) == 0


@pytest.mark.parametrize("line", [{}, {"references": None}, {"references": [None]}, {"references": "flu"}])
def test_a_field_that_is_missing_is_something_else(tmp_path: Path, line: dict[str, Any]) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"completion": text(0, 0), "k": 2, **line}), encoding="utf-8")
    with pytest.raises(RecordError, match=r"c\.jsonl, line 1: .*(missing|not allowed: give a list)"):
        runs.read_completions(path)
