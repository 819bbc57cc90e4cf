"""Answer sets of several completions as one ranked set: evaluated, stored, compared, and what a policy makes of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode import runs
from polymode.calibrate import calibrate, read_judged
from polymode.cli import main
from polymode.compare.columns import find_runs
from polymode.errors import ConfigError, VerifierFault
from polymode.evaluation import Evaluation, compare, evaluate, evaluate_groups, evaluate_into
from polymode.parsing import parse_answers
from polymode.policy import Conditions
from polymode.policy.calibration import Calibration
from polymode.policy.claims import claim
from polymode.policy.deciding import equality
from polymode.policy.pooling import pool_sets
from polymode.types import Completion, DecisionKind, Example, Reference
from polymode.verifiers.scripted import ScriptedVerifier

FEVER = Example("a", "fever?", (Reference("flu", ("influenza",)), Reference("cold")))
Slots = Sequence[tuple[str, float | None]]


def text(slots: Slots) -> str:
    tags = enumerate(slots, 1)
    return "<think>hm</think>" + "".join(
        f"<answer{i}>{name}</answer{i}>" + ("" if q is None else f"<confidence{i}>{q}</confidence{i}>")
        for i, (name, q) in tags
    )


def completions(*sets: Slots | str, example: Example = FEVER, **options: Any) -> list[Completion]:
    """One completion of two answers for each; a text stands for itself."""
    texts = [one if isinstance(one, str) else text(one) for one in sets]
    how = {"k": 2, "has_confidence": True, "n_tokens": 10, **options}
    return [Completion(example, one, sample=i, **how) for i, one in enumerate(texts)]


def pool_of(evaluation: Evaluation, place: int = 0) -> runs.JudgedSet:
    pool = evaluation.judged[place].pool
    assert pool is not None
    return pool


FIRST: Slots = [("Flu", 0.8), ("mumps", 0.3)]
SECOND: Slots = [("cold", 0.6), ("flu", 0.4)]


def test_a_pool_is_one_set_with_average_confidences() -> None:
    evaluation = evaluate(completions(FIRST, SECOND), pool=2, n_boot=0)
    # flu (.8 + .4) / 2, cold .6 / 2, mumps .3 / 2: the first two are the set, and both are right.
    assert pool_of(evaluation).ranked == (("Flu", pytest.approx(0.6)), ("cold", 0.3))
    v = {name: estimate.value for name, estimate in evaluation.metrics.items()}
    assert v["coverage"] == 2 and v["coverage@1"] == 1 and v["precision"] == 1 and v["uniqueness"] == 1
    assert v["brier"] == pytest.approx((0.4**2 + 0.7**2) / 2)
    assert v["ece"] == pytest.approx((0.4 + 0.7) / 2)  # two bins of one answer
    assert v["mean_sum_confidence"] == pytest.approx(0.9) and v["expected_hits_bias"] == pytest.approx(-1.1)
    assert v["tokens_per_set"] == 20 and v["tokens_per_completion"] == 10
    assert v["pass@2"] == 1  # of the completions
    view = evaluation.view
    assert (view["k"], view["pool"], view["pooled"], view["n_sets"], view["n_completions"]) == (2, 2, False, 1, 2)
    assert evaluation.metrics["brier"].n == 2
    assert "1 sets of 2, each pooled from 2 completions, 1 questions, 2 completions" in evaluation.table()
    apart = evaluate(completions(FIRST, SECOND), n_boot=0)
    assert apart.metrics["coverage"].value == 1.5 and "pool" not in apart.view


BAD = "I do not know."
CUT = text(FIRST).partition("<answer2>")[0]


@pytest.mark.parametrize(
    ("sets", "ranked"),
    [
        ([BAD, BAD, BAD], []),
        ([BAD, FIRST, BAD], [("Flu", 0.8 / 3), ("mumps", 0.1)]),
        ([CUT, SECOND, CUT], [("cold", 0.2), ("flu", 0.4 / 3)]),  # its salvaged answers add nothing, as in service
        ([[("flu", None), ("cold", 0.5)], SECOND, SECOND], [("cold", 0.4), ("flu", 0.8 / 3)]),
        ([[("flu", 0.9), ("The flu", 0.7)]] * 3, [("flu", 0.9)]),
        ([[("influenza", 0.9), ("flu", 0.6)]] * 3, [("influenza", 0.9), ("flu", 0.6)]),  # equal for references alone
    ],
)
def test_what_cannot_be_used_adds_nothing_and_counts(sets: list[Any], ranked: list[tuple[str, float]]) -> None:
    own = [one if isinstance(one, str) else text(one) for one in sets]
    made = [Completion(FEVER, one, 2, True, sample=i, is_finished=one != CUT) for i, one in enumerate(own)]
    evaluation = evaluate(made, pool=3, n_boot=0)
    pool = pool_of(evaluation)
    assert pool.ranked == tuple((name, pytest.approx(q)) for name, q in ranked)
    assert (evaluation.view["n_sets"], evaluation.view["statuses"]["malformed"]) == (1, own.count(BAD))
    is_right = {name for name, _ in ranked} & {"flu", "Flu", "influenza", "cold"}
    found = {name.lower().replace("influenza", "flu") for name in is_right}
    assert evaluation.metrics["coverage"].value == len(found)  # a pool without answers finds nothing
    assert evaluation.view.get("n_empty_sets", 0) == (not ranked)
    assert evaluation.metrics["brier"].n == len(ranked)
    assert evaluation.metrics["malformed_rate"].value == pytest.approx(own.count(BAD) / 3)


class Counting:
    """Says something else each time that it is asked, and counts."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def same(self, a: str, b: str) -> bool:
        return a == b

    def matches(self, answer: str, reference: Reference) -> bool:
        self.asked[f"{answer} {reference.text}"] += 1
        return answer == reference.text and self.asked[f"{answer} {reference.text}"] == 1


def test_pooled_answers_keep_the_verdicts_of_their_completions() -> None:
    verifier = Counting()
    evaluation = evaluate(completions([("flu", 0.8), ("cold", 0.3)], SECOND), verifier=verifier, pool=2, n_boot=0)
    assert pool_of(evaluation).verdicts == ("correct", "correct")
    assert set(verifier.asked.values()) == {1}


def test_pools_that_cannot_be_judged_are_counted_and_left_out() -> None:
    faulty = ScriptedVerifier({"mumps": VerifierFault("no idea")})
    evaluation = evaluate(completions(FIRST, FIRST, SECOND, SECOND), verifier=faulty, pool=2, n_boot=0)
    assert "unscored" in pool_of(evaluation).verdicts and pool_of(evaluation, 2).is_scored
    assert evaluation.metrics["coverage"].value == 2 and evaluation.view["n_sets"] == 1
    assert "n_left_out" not in evaluation.view

    class Blind(ScriptedVerifier):
        def same(self, a: str, b: str) -> bool:
            raise RuntimeError("down")

    pool = pool_of(evaluate(completions(FIRST, SECOND), verifier=Blind({}), pool=2, n_boot=0))
    assert pool.verdicts == ("unscored",) * 2
    assert "its answers cannot be compared: RuntimeError: down" in pool.faults[0]


def test_pools_are_disjoint_and_a_rest_is_counted() -> None:
    other = Example("b", "cough?", (Reference("cold"),))
    sets = [*completions(*[FIRST] * 5), *completions(SECOND, example=other)]
    evaluation = evaluate(sets, pool=2, n_boot=0)
    assert [one.pool is not None for one in evaluation.judged] == [True, False, True, False, False, False]
    assert evaluation.metrics["coverage"].n == 1 and evaluation.view["n_left_out"] == 2
    assert "(2 completions left out, fewer than 2 of a question)" in evaluation.table()


@pytest.mark.parametrize(
    ("made", "options", "complaint"),
    [
        (
            completions(FIRST),
            {"pool": 2},
            "pool = 2 is too large: the most samples that a question has are 1; g",
        ),
        (completions(FIRST, SECOND), {"pool": 0}, "pool = 0 is not allowed"),
        (completions(FIRST, SECOND), {"pool": 65}, "pool = 65"),
        (completions(FIRST, SECOND), {"pool": 2, "pooled": True, "k": 2}, "pooled = True puts single answers: leave"),
        (completions(FIRST, SECOND), {"pool": 2, "confidence_from": "votes"}, "'votes' counts single answers: leave"),
        (
            [*completions(FIRST), *completions("", "", k=3, example=Example("b", "?", (Reference("x"),)))],
            {"pool": 2},
            "pool = 2 needs completions of one K, but id 'a' asks for k = 2 and id 'b' asks for k = 3: evaluate them",
        ),
        (
            completions([("flu", None), ("cold", None)], [("flu", None), ("gout", None)], has_confidence=False),
            {"pool": 2},
            "pool = 2 averages confidences, and no completion states one: leave pool out, or measure them first",
        ),
        (
            completions(FIRST, SECOND),
            {"pooled": True, "k": 2},
            "id 'a' asks for k = 2: multi-answer completions",
        ),
    ],
)
def test_completions_that_cannot_be_pooled(
    tmp_path: Path, made: list[Completion], options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint) as whole:
        evaluate(made, **options)
    runs.write_jsonl(tmp_path / runs.COMPLETIONS, map(runs.completion_to_row, made))
    with pytest.raises(ConfigError) as streamed:
        evaluate_into(tmp_path, tmp_path / runs.COMPLETIONS, **options)
    assert str(streamed.value) == str(whole.value)


NAMES = st.sampled_from(["flu", "The flu", "influenza", "cold", "gout"])
SET = st.lists(st.tuples(NAMES, st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0])), min_size=2, max_size=2) | st.just(BAD)


@given(st.lists(SET, min_size=1, max_size=5).flatmap(lambda own: st.tuples(st.just(own), st.permutations(own))))
@settings(max_examples=30)
def test_the_order_of_completions_does_not_change_the_set_and_it_is_that_of_service(
    orders: tuple[list[Any], ...],
) -> None:
    sets, shuffled = orders
    n = len(sets)
    one, other = (evaluate(completions(*own), pool=n, n_boot=0) for own in (sets, shuffled))
    if n == 1:
        assert one.judged == evaluate(completions(*sets), n_boot=0).judged and one.judged[0].pool is None
        return
    pool = pool_of(one)
    assert replace(pool, classes=None) == replace(pool_of(other), classes=None)  # numbers in order of appearance
    parsed = [parse_answers(c.text, 2, confidence=True) for c in completions(*sets)]
    served = pool_sets(parsed, equality("text")).answers
    assert pool.ranked == tuple((answer.text, answer.confidence) for answer in served)
    names = ("coverage", "brier", "ece", "expected_hits_bias", "tokens_per_set", "pass@1")
    a, b = ([repr(evaluation.metrics[name].value) for name in names] for evaluation in (one, other))
    assert a == b


def write_samples(path: Path, n_questions: int, n_samples: int) -> Path:
    """Noisy confidences in one right and one wrong answer."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n_questions):
        example = Example(f"q{i}", f"Question number {i}, of many?", (Reference("flu"),), meta={"kind": i % 2})
        for sample in range(n_samples):
            right, wrong = np.round(rng.beta((8, 2), (2, 8)), 2).tolist()
            slots = [("flu", right), (str(rng.choice(["gout", "cold", "mumps"])), wrong)]
            rows.append(Completion(example, text(slots), 2, True, sample=sample, n_tokens=7))
    path.mkdir(parents=True)
    runs.write_jsonl(path / runs.COMPLETIONS, map(runs.completion_to_row, rows))
    return path


def test_from_the_command_to_a_policy_for_the_service_of_pools(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_samples(tmp_path / "run", 120, 3)
    conditions = Conditions(
        model="m", task="records", style="full", prompts=("{question}",), chat={"system": ""}, k=2, temperature=1.0,
        max_tokens=99,
    )  # fmt: skip
    runs.write_json(folder / runs.CONFIG, {"config": {}, "conditions": runs.to_json(conditions)})
    assert main(["evaluate", str(folder), "--pool", "3", "--by", "kind", "--n-boot", "20"]) == 0
    assert "120 sets of 2, each pooled from 3 completions" in capsys.readouterr().out
    metrics = runs.read_metrics(folder)
    assert (metrics.pool, metrics.view["pool"], metrics.k) == (3, 3, 2)
    assert metrics.metrics["tokens_per_set"].value == 21
    assert {part.view["pool"] for part in metrics.groups.values()} == {3}
    completions_ = runs.read_completions(folder)
    whole = evaluate(completions_, pool=3, n_boot=20)
    assert repr(Evaluation.read(folder).statistics["brier"].n) == repr(whole.statistics["brier"].n)
    assert evaluate_groups(completions_, "kind", pool=3, n_boot=0)["kind = 0"].view["n_sets"] == 60

    # What is calibrated is what was evaluated, question by question.
    stored = [one.pool for one in whole.judged if one.pool is not None]
    q = read_judged(folder / runs.JUDGED, pool=3).records.q
    assert [tuple(row[row == row].tolist()) for row in q] == [
        tuple(confidence for _, confidence in pool.ranked or ()) for pool in stored
    ]
    assert main(["calibrate", str(folder), "--target", "set", "--alpha", "0.2"]) == 0
    assert "each pooled from 3 completions" in capsys.readouterr().out
    policy = runs.read_policy(folder / runs.POLICY)
    served = policy.conditions
    assert served is not None and served.pool == 3
    of_one = calibrate(folder, Calibration("set", 0.2), pool=1)[0]
    assert of_one.conditions is not None and of_one.conditions.pool == 1
    assert of_one.digest() != policy.digest()
    question = "Question number 7, of many?"
    for pool, reason in ((3, None), (5, "the number of pooled completions is 5 instead of 3")):
        claimed = claim(policy, DecisionKind.OFFER_SET, question, served=replace(served, pool=pool))
        assert claimed.reason == reason and (claimed.guarantee is not None) == (reason is None)
    assert main(["calibrate", str(folder), "--check", str(folder / runs.POLICY), "--pool", "3"]) == 2


def test_pools_are_compared_by_their_name_and_single_answers_stay_side_by_side(tmp_path: Path) -> None:
    folder = write_samples(tmp_path / "run", 4, 3)
    for pool in ("1", "3"):
        out = folder / f"p{pool}"
        assert main(["evaluate", str(folder), "--out", str(out), "--pool", pool, "--n-boot", "0"]) == 0
    assert [(run.label, run.pool) for run in find_runs(folder)] == [("p1", 1), ("p3, 3 pooled completions", 3)]
    one, three = (Evaluation.read(folder / name) for name in ("p1", "p3"))
    assert compare(three, one, n_boot=0)["tokens_per_set"].value == 14
    out = tmp_path / "compared"
    assert main(["compare", str(folder), "--out", str(out), "--n-boot", "20"]) == 0
    assert "p3, 3 pooled completions" in (out / "compare.md").read_text()
    assert main(["evaluate", str(folder), "--out", str(folder / "v"), "--pool", "3", "--votes"]) == 2
    rows = [json.loads(line) for line in (folder / runs.COMPLETIONS).read_text().splitlines()]
    single = tmp_path / "single"
    single.mkdir()
    answer = "<answer>flu</answer><confidence>0.5</confidence>"
    runs.write_jsonl(single / runs.COMPLETIONS, ({**row, "completion": answer, "k": 1} for row in rows))
    assert main(["evaluate", str(single), "--pool", "3", "--n-boot", "0"]) == 0
    view = runs.read_metrics(single).view
    assert view["pooled"] and view["k"] == 3 and "pool" not in view
