"""From judged.jsonl to records and a policy: what is read, what is left out and counted, what is refused."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymode import runs
from polymode.calibrate import Judged, calibrate, summary
from polymode.calibrate import read_judged as read_judged_file
from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.evaluation import evaluate
from polymode.fingerprints import question_fingerprint
from polymode.policy import Policy, decide
from polymode.policy.calibration import Calibration
from polymode.policy.deciding import equality
from polymode.policy.fitting import fit_policy
from polymode.policy.pooling import pool_sets
from polymode.runs import read_policy, write_policy
from polymode.types import Answer, AnswerSet, Completion, Example, ParseStatus, Reference, Span

ROW = {
    "id": "a",
    "sample": 0,
    "k": 2,
    "status": "clean",
    "answers": ["flu", "cold"],
    "confidences": [0.3, 0.6],
    "verdicts": ["wrong", "correct"],
}
"""What a calibration reads of a line of judged.jsonl."""


@pytest.fixture
def read_judged(tmp_path: Path) -> Callable[..., Judged]:
    """Reads rows by way of a file."""

    def read(rows: Sequence[Mapping[str, Any]], **options: Any) -> Judged:
        runs.write_jsonl(tmp_path / "judged.jsonl", rows)
        return read_judged_file(tmp_path / "judged.jsonl", **options)

    return read


def test_a_question_gives_its_first_sample(read_judged) -> None:
    later = {**ROW, "sample": 1, "confidences": [0.1, 0.1]}
    judged = read_judged([later, ROW, {**ROW, "id": "b"}])
    np.testing.assert_array_equal(judged.records.q, [[0.6, 0.3]] * 2)
    np.testing.assert_array_equal(judged.records.right, [[True, False]] * 2)
    assert (judged.n_left_out, judged.n_unusable, judged.n_unscored) == (1, 0, 0)


def test_a_question_gives_its_first_samples_pooled(read_judged) -> None:
    samples = [
        ROW,
        {**ROW, "sample": 1, "answers": ["gout", "Cold"], "confidences": [0.5, 0.2], "verdicts": ["wrong", "correct"]},
        {**ROW, "sample": 2, "confidences": [1.0, 1.0]},  # one more than are pooled
    ]
    judged = read_judged([*samples[::-1], *({**one, "id": "b"} for one in samples)], pool=2)
    np.testing.assert_allclose(judged.records.q, [[0.4, 0.25]] * 2)  # flu has 0.15
    np.testing.assert_array_equal(judged.records.right, [[True, False]] * 2)
    assert (judged.records.k, judged.pool, judged.n_left_out) == (2, 2, 2)
    with pytest.raises(ConfigError, match=r"pool = 4 is too large: question 'a' has 3 samples; generate with --sampl"):
        read_judged(samples, pool=4)


def test_pooled_records_are_what_is_decided_on_in_service(read_judged) -> None:
    rng = np.random.default_rng(0)
    names, rows, sets = ["flu", "The flu", "cold", "gout"], [], {}
    for i in range(40):
        for sample in range(3):
            texts = [str(name) for name in rng.choice(names, 2, replace=False)]
            q = [float(x) for x in np.round(rng.random(2), 2)]
            is_clean = rng.random() < 0.8
            verdicts = ["correct" if text == "cold" else "wrong" for text in texts]
            own = {"id": str(i), "sample": sample, "answers": texts, "confidences": q, "verdicts": verdicts}
            malformed = {**own, "status": "malformed", "answers": [], "confidences": [], "verdicts": []}
            rows.append({**ROW, **(own if is_clean else malformed)})
            slots = [Answer(text, Span(0, 0), x) for text, x in zip(texts, q, strict=True)]
            status = ParseStatus.CLEAN if is_clean else ParseStatus.MALFORMED
            sets.setdefault(i, []).append(AnswerSet(status, tuple(slots) if is_clean else (), 2, True))
    records = read_judged(rows, pool=3).records
    for i, own in sets.items():
        ranked = decide(pool_sets(own, equality("text")), Policy(k=2)).ranked
        assert [q for q in records.q[i].tolist() if q == q] == [answer.confidence for answer in ranked]


def test_what_cannot_be_used_or_judged_is_counted(read_judged) -> None:
    malformed = {**ROW, "id": "b", "status": "malformed", "answers": [], "confidences": [], "verdicts": []}
    partial = {**ROW, "id": "c", "status": "partial", "answers": ["x"], "confidences": [None], "verdicts": ["correct"]}
    unscored = {**ROW, "id": "d", "verdicts": ["wrong", "unscored"]}
    judged = read_judged([ROW, malformed, partial, unscored])
    assert (judged.n_unusable, judged.n_unscored) == (2, 1)
    assert np.isnan(judged.records.q[1:3]).all()
    assert judged.records.right.any(axis=1).tolist() == [True, False, False, False]  # unscored counts as not right


def test_equality_of_the_policy_finds_the_repeats(read_judged) -> None:
    repeat = {**ROW, "answers": ["flu", "The flu!"]}
    assert np.isnan(read_judged([repeat]).records.q[0]).tolist() == [False, True]
    assert not np.isnan(read_judged([repeat], equality="exact").records.q).any()
    assert not np.isnan(read_judged([repeat], same=lambda a, b: False).records.q).any()


def test_a_question_under_several_ids_is_one(read_judged) -> None:
    marked = {**ROW, "question": question_fingerprint("What is it?")}
    again = {**marked, "id": "b", "question": question_fingerprint(" what IS it? "), "confidences": [0.1, 0.2]}
    other = {**ROW, "id": "c", "question": question_fingerprint("Which one is it then?")}
    judged = read_judged([marked, again, other])
    assert (len(judged.records), judged.n_repeats, judged.n_left_out) == (2, 1, 0)
    np.testing.assert_array_equal(judged.records.q, [[0.6, 0.3]] * 2)
    policy = Policy(answer_at=0.5, k=2)
    assert "1 ids left out: their questions stand under others" in summary(policy, judged)
    assert "warning" not in summary(policy, judged)
    unmarked = read_judged([marked, again, {**ROW, "id": "c"}])
    assert unmarked.n_repeats is None and len(unmarked.records) == 2
    assert "warning: some lines have no fingerprint of their question" in summary(policy, unmarked)


def test_near_repeats_are_warned_about(read_judged) -> None:
    text = "A 31 year old man has headache, tremor, dizziness; no back pain"
    texts = [text, text.replace("31", "32"), "Name a noble gas."]
    rows = [{**ROW, "id": str(i), "question": question_fingerprint(text)} for i, text in enumerate(texts)]
    judged = read_judged(rows)
    assert (judged.near, judged.n_repeats) == ((("0", "1"),), 0)
    said = "warning: 1 pair of questions is nearly the same, for example '0' and '1'"
    assert said in summary(Policy(answer_at=0.5, k=2), judged)


@pytest.mark.parametrize(("has_fingerprints", "least", "most"), [(True, 1, 18), (False, 19, 80)])
def test_repeats_under_other_ids_do_not_break_the_promise(
    read_judged, has_fingerprints: bool, least: int, most: int
) -> None:
    """80 worlds of 36 questions under 12 ids each, 21% wrong: every policy found is broken; delta = 0.1.

    P(Binomial(80, 0.1) > 18) < 0.1%. Without fingerprints the repeats count as further questions, and it breaks.
    """
    n_found = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        verdicts = ["wrong" if is_wrong else "correct" for is_wrong in rng.random(36) < 0.21]
        rows = [
            {**ROW, "id": f"{i}-{copy}", "k": 1, "answers": ["a"], "confidences": [0.9], "verdicts": [verdicts[i]]}
            | ({"question": question_fingerprint(f"question {i * 7919}?")} if has_fingerprints else {})
            for i in range(36)
            for copy in range(12)
        ]
        try:
            fit_policy(read_judged(rows).records, Calibration("answer", 0.2, 0.1, seed=seed))
        except ConfigError:
            continue
        n_found += 1
    assert least <= n_found <= most


def test_groups_need_a_field_that_every_question_has(read_judged) -> None:
    rows = [{**ROW, "id": str(i), "meta": {"risk": "low" if i else "high", "n": i}} for i in range(60)]
    assert read_judged(rows, by="risk").labels == ("high", *["low"] * 59)
    with pytest.raises(ConfigError, match="by = 'n' has more than 50 values"):
        read_judged(rows, by="n")
    with pytest.raises(ConfigError, match="question '0' has no such field in meta; it has n, risk; put it into the"):
        read_judged(rows, by="ward")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": 3}, "judged.jsonl, line 2: k = 3, lines before it have k = 2; calibrate one K at a time"),
        ({"k": None}, "line 2: k is missing; judge again"),
        ({"sample": -1}, "line 2: sample = -1 is not allowed: give 0 or more"),
        ({"id": 3}, "line 2: id = 3 is not allowed: give a text; judge again with polymode evaluate"),
        ({"confidences": [0.3, None]}, "confidences are missing; a policy ranks by them: generate with confidences"),
        ({"confidences": [0.3, 1.2]}, "confidences, 2 = 1.2 is not allowed: give 1 or less"),
        ({"confidences": [0.3, "0.2"]}, "confidences, 2 = '0.2' is not allowed: give a number"),
        ({"confidences": [0.3]}, "confidences = [0.3] is not allowed: give one entry per answer, 2"),
        ({"verdicts": None}, "verdicts = None is not allowed: give a list"),
        ({"answers": "flu"}, "answers = 'flu' is not allowed: give a list"),
        ({"answers": ["a"] * 3, "confidences": [0.1] * 3, "verdicts": ["wrong"] * 3}, "3 answers are more than k = 2"),
        (
            {"status": "fine"},
            "status = 'fine' is not allowed: give 'clean', 'partial'",
        ),
    ],
)
def test_a_bad_record_is_named(read_judged, change: dict, said: str) -> None:
    with pytest.raises(RecordError) as caught:
        read_judged([ROW, {**ROW, "id": "b", **change}])
    assert said in str(caught.value)


def test_files_that_are_not_there_or_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataNotFoundError, match="judged.jsonl does not exist: check the path, or judge the completions"
    ):
        calibrate(tmp_path, Calibration())
    (tmp_path / "judged.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(RecordError, match="holds no record: judge some completions first"):
        calibrate(tmp_path, Calibration())
    (tmp_path / "judged.jsonl").write_text("{\n", encoding="utf-8")
    with pytest.raises(RecordError, match="line 1: not valid JSON"):
        calibrate(tmp_path, Calibration())


def test_completions_become_a_policy_and_the_policy_comes_back_from_its_file(tmp_path: Path) -> None:
    text = "<answer1>flu</answer1><confidence1>0.9</confidence1><answer2>gout</answer2><confidence2>0.2</confidence2>"
    examples = [Example(str(i), f"{i}?", (Reference("flu" if i % 20 else "rash"),)) for i in range(100)]
    completions = [Completion(e, text, 2, has_confidence=True, sample=s) for e in examples for s in (0, 1)]
    evaluate(completions, n_boot=0).write(tmp_path)
    policy, judged = calibrate(tmp_path, Calibration("answer", alpha=0.2), date="2026-11-21")
    assert (len(judged.records), judged.n_left_out) == (100, 100)
    [promise] = policy.guarantees
    assert policy.answer_at == 0.9 and promise.n_shown == promise.n == 70
    assert promise.fingerprint == hashlib.sha256((tmp_path / "judged.jsonl").read_bytes()).hexdigest()
    assert "100 questions, sets of 2; 100 further samples left out\nanswer_at = 0.9: 70 of 70" in summary(
        policy, judged
    )
    write_policy(tmp_path / "policy.json", policy)
    assert read_policy(tmp_path / "policy.json") == policy


def test_a_policy_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    with pytest.raises(
        DataNotFoundError, match=r"policy .*policy.json cannot be read .*make one with polymode calibrate"
    ):
        read_policy(path)
    for text, said in (
        ("{", "not valid JSON"),
        ('{"x": 1}', "policy.json: policy: unknown field 'x'"),
        ("3", "got int"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=said):
            read_policy(path)
    path.write_text(json.dumps({**Policy(answer_at=0.5).to_json(), "answer_at": float("nan")}), encoding="utf-8")
    with pytest.raises(ConfigError, match="answer_at = nan is not allowed"):
        read_policy(path)
