"""Completions to metrics, end to end on answers small enough to judge by eye; and files people really write."""

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError, PolymodeError, RecordError, VerifierFault
from polymode.evaluation import (
    Evaluation,
    compare,
    evaluate,
    evaluate_groups,
    read_completions,
)
from polymode.types import Completion, Example, ParseStatus, Reference
from polymode.verifiers.scripted import ScriptedVerifier

FLU_OR_COLD = Example("a", "fever?", (Reference("flu", ("influenza",)), Reference("cold")))
ONE_OF_THREE = Example(
    "b",
    "cough?",
    (Reference("cold"),),
    distribution={"cold": 0.5, "flu": 0.3, "asthma": 0.2},
    p_correct={"Cold": 0.5, "flu": 0.3, "asthma": 0.2},
    exclusive=True,
)


def text(*answers: str | tuple[str, float]) -> str:
    out = "<think>hm</think>"
    for i, answer in enumerate(answers, 1):
        tag = "" if len(answers) == 1 else str(i)
        name, q = answer if isinstance(answer, tuple) else (answer, None)
        out += f"<answer{tag}>{name}</answer{tag}>"
        out += "" if q is None else f"<confidence{tag}>{q}</confidence{tag}>"
    return out


def completion(example: Example, *answers: str | tuple[str, float], sample: int = 0, **options: Any) -> Completion:
    stated = isinstance(answers[0], tuple)
    return Completion(
        example, text(*answers), len(answers), stated, sample=sample, n_tokens=10 * len(answers), **options
    )


def values(evaluation: Evaluation) -> dict[str, float]:
    return {name: estimate.value for name, estimate in evaluation.metrics.items()}


def test_sets_with_confidences() -> None:
    evaluation = evaluate(
        [
            completion(FLU_OR_COLD, ("Influenza", 0.8), ("cold", 0.6)),  # both found
            completion(ONE_OF_THREE, ("flu", 0.3), ("cold", 0.6)),  # one found, the surer one
        ],
        n_boot=50,
    )
    v = values(evaluation)
    assert v["coverage"] == (2 + 1) / 2
    assert v["recall"] == 1.0
    assert v["pass@1"] == 1.0
    assert v["coverage@1"] == 1.0
    assert v["brier"] == pytest.approx((0.04 + 0.16 + 0.09 + 0.16) / 4)
    assert v["expected_hits_bias"] == pytest.approx((1.4 - 2 + 0.9 - 1) / 2)
    assert v["sum_to_one_bias"] == pytest.approx(1.4 - 2)  # only question a has two right answers
    # Best two answers: min(2, 2) references for a; .5 + .3 for b.
    assert v["best_coverage"] == pytest.approx((2 + 0.8) / 2)
    assert v["brier_floor"] == pytest.approx((0.3 * 0.7 + 0.25) / 2)  # answers of b only
    # b: p = (.3, .5, .2), q = (.3, .6, .1)
    assert v["total_variation"] == pytest.approx(0.1)
    assert v["tokens_per_reference"] == pytest.approx(40 / 3)
    assert evaluation.view["k"] == 2
    assert evaluation.view["has_confidence"]
    assert evaluation.judged[1].p_correct == (0.3, 0.5)


def test_repeats_have_probability_zero_and_are_no_hits() -> None:
    [judged] = evaluate([completion(ONE_OF_THREE, ("cold", 0.5), ("Cold.", 0.4))], n_boot=0).judged
    assert judged.p_correct == (0.5, 0.0)
    assert judged.hits == (1, 0)
    assert judged.duplicates == (None, 0)


def test_malformed_counts_as_nothing_found_but_not_as_perfectly_calibrated() -> None:
    good = completion(FLU_OR_COLD, ("flu", 0.5), ("mumps", 0.5))
    bad = dataclasses.replace(good, text="no idea", sample=1)
    evaluation = evaluate([good, bad], n_boot=0)
    v = values(evaluation)
    assert v["coverage"] == 0.5
    assert v["malformed_rate"] == 0.5
    assert v["brier"] == 0.25
    assert evaluation.metrics["brier"].n == 2
    assert evaluation.metrics["mean_hits"].value == 1.0
    assert evaluation.view["statuses"]["malformed"] == 1


def test_usable_prefix_is_salvaged() -> None:
    whole = completion(FLU_OR_COLD, ("flu", 0.5), ("cold", 0.5))
    cut = dataclasses.replace(whole, text=whole.text[: whole.text.index("<answer2>")], is_finished=False)
    [judged] = (evaluation := evaluate([cut], n_boot=0)).judged
    assert judged.status == ParseStatus.PARTIAL.value
    assert evaluation.metrics["coverage"].value == 1.0
    assert evaluation.metrics["malformed_rate"].value == 0.0


def test_a_failing_verifier_is_counted_and_left_out() -> None:
    evaluation = evaluate(
        [completion(FLU_OR_COLD, "flu", "cold"), completion(FLU_OR_COLD, "flu", "mumps", sample=1)],
        verifier=ScriptedVerifier({"mumps": VerifierFault("no idea")}),
        n_boot=0,
    )
    assert evaluation.metrics["coverage"].value == 2.0
    assert evaluation.metrics["coverage"].n_unscored == 1
    assert evaluation.view["n_unscored"] == 1
    unscored = evaluation.judged[1]
    assert unscored.score is None
    assert unscored.hits == (1, None)


def test_pools_join_answers_of_independent_completions() -> None:
    given = [("cold", 0.4), ("COLD", 0.8), ("flu", 0.3), ("asthma", 0.2), ("flu", 0.1), ("cold", 0.5), ("cold", 0.9)]
    completions = [completion(ONE_OF_THREE, answer, sample=i) for i, answer in enumerate(given)]
    evaluation = evaluate(reversed(completions), pooled=True, k=3, n_boot=0)
    v = values(evaluation)
    # Pools: cold COLD flu | asthma flu cold; the seventh is left out.
    assert evaluation.view["n_sets"] == 2
    assert v["coverage"] == 1.0
    assert v["uniqueness"] == pytest.approx((2 / 3 + 1) / 2)
    # Distinct answers only, each with the mean of what was stated: .6 + .3 | .2 + .1 + .5
    assert v["mean_sum_confidence"] == pytest.approx((0.9 + 0.8) / 2)
    assert v["tokens_per_set"] == 30
    assert v["tokens_per_completion"] == 10
    # Answers one by one: y = 1 for each cold.
    errors = [0.36, 0.04, 0.09, 0.04, 0.01, 0.25, 0.01]
    assert v["brier"] == pytest.approx(sum(errors) / 7)
    assert v["pass@2"] == pytest.approx(1 - 3 / 21)  # 3 of 7 wrong: C(3, 2) / C(7, 2)
    assert [point["answers"] for point in evaluation.curves["unique_references"]] == list(range(1, 8))


def test_votes_are_confidences_of_pools() -> None:
    completions = [completion(ONE_OF_THREE, name, sample=i) for i, name in enumerate(["flu", "cold", "cold"])]
    evaluation = evaluate(completions, pooled=True, k=3, confidence_from="votes", n_boot=0)
    v = values(evaluation)
    # flu 1/3 (wrong), cold 2/3 (right)
    assert v["brier"] == pytest.approx((1 / 9 + 1 / 9) / 2)
    assert evaluation.metrics["brier"].n == 2
    assert v["pass@1"] == 1.0
    assert v["mean_sum_confidence"] == pytest.approx(1.0)
    assert v["total_variation"] == pytest.approx(0.2)  # (1/3, 2/3, 0) against (.3, .5, .2)
    without = evaluate(completions, pooled=True, k=3, n_boot=0)
    assert not without.view["has_confidence"]
    assert math.isnan(without.metrics["brier"].value)
    assert without.metrics["pass@1"].value == 0.0  # the first answer: flu


def test_without_confidences_the_sampling_distribution_is_compared() -> None:
    completions = [completion(ONE_OF_THREE, name, sample=i) for i, name in enumerate(["cold", "flu", "cold", "cold"])]
    evaluation = evaluate(completions, n_boot=0)
    # Shares (3/4, 1/4, 0) against (.5, .3, .2)
    assert evaluation.metrics["total_variation"].value == pytest.approx(0.25)
    assert evaluation.metrics["total_variation"].n == 1


def test_unique_answers_and_histogram() -> None:
    names = ["flu", "influenza", "cold", *[f"other {i % 5}" for i in range(27)]]
    completions = [completion(FLU_OR_COLD, name, sample=i) for i, name in enumerate(names)]
    evaluation = evaluate(completions, n_boot=0)
    assert evaluation.metrics["unique_answers@30"].value == 7  # flu = influenza, cold, five others
    assert evaluation.curves["unique_answers_histogram"] == [{"unique": 7, "questions": 1}]


def test_a_verifier_without_keys_gives_the_same_numbers() -> None:
    completions = [
        completion(ONE_OF_THREE, ("cold", 0.4), ("flu", 0.3)),
        completion(ONE_OF_THREE, ("flu", 0.9), ("flu", 0.2), sample=1),
    ]
    plain = dataclasses.replace(ONE_OF_THREE, p_correct=ONE_OF_THREE.distribution)
    completions = [dataclasses.replace(c, example=plain) for c in completions]
    keyed, pairwise = (values(evaluate(completions, verifier=v, n_boot=0)) for v in (None, ScriptedVerifier()))
    assert keyed == pytest.approx(pairwise, nan_ok=True)


def test_same_seed_same_file(tmp_path: Path) -> None:
    completions = [
        completion(FLU_OR_COLD, ("flu", 0.5), ("x", 0.1)),
        completion(ONE_OF_THREE, ("cold", 0.7), ("y", 0.2)),
    ]
    for name in ("one", "two"):
        evaluate(completions, n_boot=100, seed=3).write(tmp_path / name)
    for name in (runs.METRICS, runs.JUDGED):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_files_are_written_and_judging_again_gives_the_same(tmp_path: Path) -> None:
    completions = [
        completion(FLU_OR_COLD, ("flu", 0.5), ("x", 0.1)),
        completion(ONE_OF_THREE, ("cold", 0.7), ("y", 0.2)),
    ]
    runs.write_jsonl(tmp_path / runs.COMPLETIONS, map(runs.completion_to_row, completions))
    assert read_completions(tmp_path) == completions
    evaluation = evaluate(read_completions(tmp_path), n_boot=20)
    evaluation.write(tmp_path)
    stored = runs.read_json(tmp_path / runs.METRICS)
    assert stored["metrics"]["coverage"]["value"] == evaluation.metrics["coverage"].value
    assert stored["metrics"]["overlap_3gram"]["value"] is None  # one completion each: undefined, not 0
    assert stored["metrics"]["overlap_3gram"]["n"] == 0
    assert len(stored["curves"]["reliability"]) == 10
    assert [point["n"] for point in stored["curves"]["coverage_at"]] == [1, 2]
    rows = list(runs.read_jsonl(tmp_path / runs.JUDGED))
    assert [row["id"] for row in rows] == ["a", "b"]
    assert rows[0]["terms"].keys() == {"coverage", "brier", "format"}
    assert rows[0]["score"] == pytest.approx(sum(rows[0]["terms"].values()))
    assert "coverage" in evaluation.table()


def test_completions_of_several_k_are_called_so(tmp_path: Path) -> None:
    one = {"id": "a", "completion": "<answer>flu</answer>", "references": ["flu"], "k": 1}
    two = {"id": "b", "completion": "1) flu | 0.5\n2) cold | 0.4\n", "references": ["flu", "cold"], "k": 2}
    evaluation = evaluate(read_completions(write(tmp_path / "c.jsonl", one, two)), n_boot=0)
    assert evaluation.table().startswith("2 sets of 1 to 2, 2 questions")
    assert evaluation.metrics["brier"].value == pytest.approx((0.25 + 0.36) / 2)  # salvaged, confidences too


def test_points_by_n_and_the_isotonic_curve_are_those_of_the_answers() -> None:
    judged = [
        completion(FLU_OR_COLD, ("flu", 0.5), ("x", 0.3)),  # N = 2: sums .8 and 1.5, hits 1 and 2
        completion(dataclasses.replace(FLU_OR_COLD, id="b", question="ache?"), ("flu", 0.9), ("cold", 0.6)),
        completion(dataclasses.replace(ONE_OF_THREE, id="c"), ("cold", 0.7), ("y", 0.2)),
    ]
    evaluation = evaluate(judged, n_boot=50)
    points = {point["n_true"]: point for point in evaluation.curves["sum_by_n_true"]}
    two = points[2]
    assert (two["count"], two["questions"], two["value"]) == (2, 2, pytest.approx((-0.2 - 0.5) / 2))
    assert two["low"] <= two["value"] <= two["high"]
    assert sum(point["count"] for point in points.values()) == 3
    assert not any(name.startswith("sum_minus_hits") for name in evaluation.metrics)
    steps = evaluation.curves["reliability_isotonic"]
    assert sum(step["count"] for step in steps) == 6
    rates = [step["hit_rate"] for step in steps]
    assert rates == sorted(rates) and rates[-1] == 1  # .2, .3 wrong; .5, .6, .9 right, and cold at .7


def test_hits_by_expected_hits_have_the_interval_of_their_bin() -> None:
    def one(number: int, confidence: float, answer: str) -> Completion:
        example = dataclasses.replace(FLU_OR_COLD, id=str(number), question=f"{number}?")
        return completion(example, ("flu", confidence), (answer, confidence))

    sure = [one(number, 0.95, "cold") for number in range(5)]  # sum 1.9, both right
    unsure = [one(number, 0.25, "cold" if number % 2 else "x") for number in range(10, 30)]  # sum .5
    evaluation = evaluate([*sure, *unsure], n_boot=200)
    points = {round(point["low"], 9): point for point in evaluation.curves["expected_hits"]}
    assert [low for low, point in points.items() if point["count"]] == [0.4, 1.8]
    unseen = 1 - 0.025 ** (1 / 5)  # share of other questions, of which none was among five
    assert (points[1.8]["hits_low"], points[1.8]["hits_high"]) == pytest.approx((2 * (1 - unseen), 2))
    half = 2.093 * 0.513 / 20**0.5  # a t interval for the mean of 20 hits, 1 and 2
    assert points[0.4]["hits"] == 1.5
    assert (points[0.4]["hits_low"], points[0.4]["hits_high"]) == pytest.approx((1.5 - half, 1.5 + half), abs=0.05)
    assert math.isnan(points[0.0]["hits_low"])
    assert not any(name.startswith("hits_by_expected") for name in evaluation.metrics)


def test_compare_pairs_on_shared_questions() -> None:
    both = [completion(FLU_OR_COLD, ("flu", 0.5), ("cold", 0.5)), completion(ONE_OF_THREE, ("cold", 0.7), ("y", 0.2))]
    worse = [completion(ONE_OF_THREE, ("flu", 0.5), ("x", 0.1)), completion(FLU_OR_COLD, ("flu", 0.5), ("x", 0.1))]
    extra = completion(dataclasses.replace(FLU_OR_COLD, id="c"), ("x", 0.5), ("z", 0.5))
    difference = compare(evaluate(both, n_boot=0), evaluate([*worse, extra], n_boot=0), n_boot=50)["coverage"]
    assert difference.value == 1.0  # 2 - 1 and 1 - 0
    unseen = 1 - 0.025 ** (1 / 2)  # share of questions with another difference, from 0 - 5/3 to 3/2 - 0 hits
    assert (difference.low, difference.high) == pytest.approx((1 - unseen * (1 + 5 / 3), 1 + unseen * (1.5 - 1)))
    assert difference.n == 2
    with pytest.raises(ConfigError, match="share no question id"):
        compare(evaluate(both, n_boot=0), evaluate([extra], n_boot=0))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"pooled": True}, "k is missing"),
        ({"pooled": True, "k": 3}, "too large"),
        ({"confidence_from": "votes"}, "pooled=True"),
        ({"confidence_from": "tokens"}, "'stated' or 'votes'"),
        ({"n_boot": -1}, "n_boot = -1"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        evaluate([completion(FLU_OR_COLD, "flu")], **options)


def test_nothing_or_the_wrong_thing_to_evaluate() -> None:
    with pytest.raises(ConfigError, match="completions is empty"):
        evaluate([])
    with pytest.raises(ConfigError, match="single-answer completions"):
        evaluate([completion(FLU_OR_COLD, "flu", "cold")], pooled=True, k=2)


def test_one_id_for_two_questions() -> None:
    other = dataclasses.replace(ONE_OF_THREE, id="a")
    with pytest.raises(ConfigError, match="id 'a' stands for two different questions"):
        evaluate([completion(FLU_OR_COLD, "flu"), completion(other, "flu", sample=1)])


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_the_shortest_file(tmp_path: Path) -> None:
    line = {"completion": text("flu", "cold"), "references": ["flu", ["cold", "a cold"]]}
    path = write(tmp_path / "c.jsonl", line, "", line | {"question": "fever?"}, line | {"question": "fever?"})
    found = read_completions(path, k=2)
    assert [(c.example.id, c.sample, c.k, c.has_confidence) for c in found] == [
        ("1", 0, 2, False),
        ("3", 0, 2, False),
        ("3", 1, 2, False),
    ]
    assert found[0].example.references[1] == Reference("cold", ("a cold",))
    assert evaluate(found, n_boot=0).metrics["coverage"].value == 2.0


def test_confidences_are_noticed(tmp_path: Path) -> None:
    line = {"references": ["flu"], "k": 1}
    path = write(tmp_path / "c.jsonl", line | {"completion": text(("flu", 0.5))}, line | {"completion": "broken"})
    assert [c.has_confidence for c in read_completions(path)] == [True, False]
    assert [c.has_confidence for c in read_completions(path, confidence=False)] == [False, False]


def test_each_line_says_for_itself_whether_it_has_confidences(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mention inside one line's reasoning once made all the others malformed."""
    line = {"references": ["flu", "cold"], "k": 2}
    mention = "<think>no <confidence1> is asked for</think>"
    alike = [line | {"completion": text("flu", "cold")}] * 3 + [line | {"completion": mention + text("flu", "cold")}]
    found = read_completions(write(tmp_path / "alike.jsonl", *alike))
    assert [c.has_confidence for c in found] == [False] * 4
    assert {one.status for one in evaluate(found, n_boot=0).judged} == {"clean"}
    assert not caplog.messages
    stated = line | {"completion": text(("flu", 0.5), ("cold", 0.25))}
    others = [line | {"completion": "nothing"}, line | {"completion": text("flu", "cold"), "confidence": True}]
    path = write(tmp_path / "mixed.jsonl", alike[0], stated, stated, *others)
    found = read_completions(path)
    assert [c.has_confidence for c in found] == [False, True, True, False, True]
    [message] = caplog.messages
    assert message.startswith(
        f"{path}: confidences are stated in 2 (first: line 2) of the lines without the field 'confidence' and not in "
        "1 (first: line 1); each line is read as it is."
    )
    metrics = evaluate(found, n_boot=0).metrics
    # y = 1, 1 in both lines: ((0.5 - 1)^2 + (0.25 - 1)^2) / 2 = (0.25 + 0.5625) / 2
    assert (metrics["brier"].value, metrics["coverage"].value) == (0.40625, (2 + 2 + 2 + 0 + 2) / 5)
    caplog.clear()
    read_completions(path, confidence=True)
    assert not caplog.messages


@pytest.mark.parametrize("prompt", ["Q<think>\n", [{"role": "assistant", "content": "<think>\n"}]])
def test_what_the_prompt_of_a_line_opened_stands_in_front(tmp_path: Path, prompt: object) -> None:
    line = {"references": ["flu"], "k": 1, "prompt": prompt}
    path = write(
        tmp_path / "c.jsonl",
        line | {"completion": "<answer>cold</answer> hm", "finished": False},
        line | {"completion": "<answer>cold</answer>", "finished": False},
        line | {"completion": "<answer>cold</answer> no</think><answer>flu</answer>"},
        line | {"completion": "<think>\n<answer>cold</answer></think><answer>flu</answer>"},
    )
    found = read_completions(path)
    assert [c.text.count("<think>") for c in found] == [1] * 4
    assert [one.status for one in evaluate(found, n_boot=0).judged] == ["truncated", "truncated", "clean", "clean"]
    stamp = runs.stamp_of(path)
    assert runs.completions_at(path, stamp, runs.completion_offsets(path).values()) == [
        dataclasses.replace(one, example=dataclasses.replace(one.example, id="0")) for one in found
    ]


def test_odd_confidences_leave_the_answers_measured() -> None:
    """Calibration is that of the other lines: (0.5 - 1)^2 = 0.25."""
    odd = "<answer>flu</answer><confidence>85%</confidence>"
    found = evaluate(
        [Completion(FLU_OR_COLD, odd, 1, True, 0), Completion(FLU_OR_COLD, text(("flu", 0.5)), 1, True, 1)],
        n_boot=0,
    )
    assert [one.status for one in found.judged] == ["partial", "clean"]
    assert [one.confidences for one in found.judged] == [(None,), (0.5,)]
    assert (found.metrics["coverage"].value, found.metrics["brier"].value, found.metrics["brier"].n) == (1.0, 0.25, 1)


GOOD = {"completion": "x", "references": ["flu"], "k": 1}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[1]", "a JSON object is needed"),
        ({"references": ["flu"], "k": 1}, "completion is missing"),
        (GOOD | {"completion": 3}, "completion = 3"),
        ({"completion": "x", "k": 1}, "references is missing"),
        (GOOD | {"references": "flu"}, "references = 'flu'"),
        (GOOD | {"references": [" "]}, "empty text"),
        (GOOD | {"references": ["flu", "The flu."]}, "are the same answer"),
        (GOOD | {"references": [{"text": "flu", "weight": math.nan}]}, "weight nan of 'flu'"),
        (GOOD | {"references": [{"text": "flu", "weight": 2}]}, "weight 2 of 'flu'"),
        ({"completion": "x", "references": ["flu"]}, "k is missing"),
        (GOOD | {"k": 0}, "k = 0"),
        (GOOD | {"k": "3"}, "k = '3'"),
        (GOOD | {"confidence": "yes"}, "confidence = 'yes'"),
        (GOOD | {"sample": -1}, "sample = -1"),
        (GOOD | {"n_tokens": 1.5}, "n_tokens = 1.5"),
        (GOOD | {"id": ["x"]}, "id = "),
        (GOOD | {"distribution": {"flu": math.nan}}, "distribution, flu = nan"),
        (GOOD | {"distribution": {"flu": 0.5}}, "sum to 0.5"),
        (GOOD | {"p_correct": {"flu": -1}}, "p_correct, flu = -1"),
        (GOOD | {"p_correct": [1]}, "p_correct = "),
        (GOOD | {"meta": 1}, "meta = 1"),
        (GOOD | {"id": "first", "sample": 0}, "sample 0 of id 'first' stands in line 1"),
        (GOOD | {"id": "first", "references": ["cold"]}, "id 'first' stands in line 1 with another question"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, row: dict[str, Any] | str, complaint: str) -> None:
    path = write(tmp_path / "c.jsonl", GOOD | {"id": "first"}, row)
    with pytest.raises(RecordError, match=rf"(?s)line 2: .*{complaint}") as caught:
        read_completions(path)
    assert "\n" not in str(caught.value)


def test_missing_empty_and_undecodable_files(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="does not exist"):
        read_completions(tmp_path / "none.jsonl")
    with pytest.raises(RecordError, match="no completions"):
        read_completions(write(tmp_path / "empty.jsonl", ""))
    (tmp_path / "mark.jsonl").write_bytes(b"\xef\xbb\xbf\n")  # a byte order mark, as Windows editors write it
    with pytest.raises(RecordError, match="no completions"):
        read_completions(tmp_path / "mark.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"completion": "\xe9"}')
    with pytest.raises(RecordError, match="not UTF-8"):
        read_completions(tmp_path / "latin.jsonl")
    with pytest.raises(PolymodeError, match="k = 99"):
        read_completions(tmp_path / "latin.jsonl", k=99)


class Multiples:
    """A question verifier without a number of right answers: multiples of the question's reference."""

    def __init__(self) -> None:
        self.prepared: list[tuple[str, list[str]]] = []

    def prepare(self, items: Iterable[tuple[Example, Sequence[str]]]) -> "Multiples":
        self.prepared += [(example.id, list(texts)) for example, texts in items]
        return self

    def at(self, example: Example) -> "MultiplesOf":
        return MultiplesOf(int(example.references[0].text))


class MultiplesOf:
    open = True

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor

    def same(self, a: str, b: str) -> bool:
        return int(a) == int(b)

    def matches(self, answer: str, reference: Reference) -> bool:
        return int(answer) % self.divisor == 0


def test_right_answers_without_number_are_told_apart_by_the_verifier() -> None:
    verifier, even = Multiples(), Example("e", "an even number?", (Reference("2"),))
    # Sample 0 finds 2 and 4, sample 1 finds 4 again (written 04) and 8: 2 + 2 hits, three different ones together.
    sets = [completion(even, "2", "4", "3"), completion(even, "04", "8", "08", sample=1)]
    evaluation = evaluate(sets, verifier=verifier, n_boot=10)
    assert [judged.classes for judged in evaluation.judged] == [(0, 1, 2), (1, 3, 3)]
    assert verifier.prepared == [("e", ["2", "4", "3"]), ("e", ["04", "8", "08"])]
    assert evaluation.metrics["coverage"].value == 2
    assert evaluation.metrics["recall"].value == pytest.approx(2 / 3)  # of K = 3, the most one set can find
    # U in answers: one completion (3 answers) finds 2 on average, both together 2, 4 and 8.
    points = {point["answers"]: point["value"] for point in evaluation.curves["unique_references"]}
    assert (points[3], points[6]) == (2, 3)


def test_parts_of_the_questions_are_measured_by_themselves(tmp_path: Path) -> None:
    easy = dataclasses.replace(FLU_OR_COLD, meta={"rare": False})
    rare = dataclasses.replace(ONE_OF_THREE, meta={"rare": True})
    # Two hits on the common question, none on the rare one.
    completions = [completion(easy, "flu", "cold"), completion(rare, "flu", "asthma")]
    groups = evaluate_groups(completions, "rare", n_boot=10)
    assert list(groups) == ["rare = false", "rare = true"]
    assert [group.metrics["coverage"].value for group in groups.values()] == [2, 0]
    assert [group.metrics["coverage"].n for group in groups.values()] == [1, 1]
    evaluate(completions, n_boot=10).write_metrics(tmp_path, groups=groups)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["metrics"]["coverage"]["value"] == 1
    assert content["groups"]["rare = true"]["metrics"]["coverage"]["value"] == 0
    with pytest.raises(ConfigError, match=r"by = 'age': question 'a' has no such field in meta; it has rare"):
        evaluate_groups(completions, "age")


def test_equal_names_of_independent_probabilities_are_one_probability(tmp_path: Path) -> None:
    # "flu" and "Flu" are one answer with probability 0.9, not 1.8; with "cold" the best two answers find 0.9 + 0.1.
    example = Example("q", "", (Reference("flu"), Reference("cold")), p_correct={"flu": 0.9, "Flu": 0.9, "cold": 0.1})
    text = "<answer1>flu</answer1><answer2>cold</answer2>"
    evaluation = evaluate([Completion(example, text, 2, False)], n_boot=0)
    assert evaluation.judged[0].p_correct == (0.9, 0.1)
    assert evaluation.metrics["best_coverage"].value == pytest.approx(1.0)
    evaluation.write(tmp_path)
    assert Evaluation.read(tmp_path).judged == evaluation.judged
