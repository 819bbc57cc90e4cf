"""The clinic's truth: its posterior against a second implementation that only reads the text, and frequencies."""

import itertools
import math
import re
from collections.abc import Sequence

import numpy as np
import pytest

from polymode.errors import ConfigError
from polymode.tasks.lab import clinic as clinic_module
from polymode.tasks.lab.clinic import Clinic
from polymode.tasks.lab.clinic_knowledge import (
    AGE_BANDS,
    BACKGROUND_RATE,
    COMMON_BACKGROUND,
    CONDITIONS,
    FINDINGS,
    Condition,
)
from polymode.types import Example
from polymode.verifiers.text import TextVerifier

QUESTION = re.compile(r"A (\d+) year old (girl|boy|woman|man) has ([^;]+)(?:; (.+))?")
RECORDS_PRESENT, RECORDS_ABSENT = 0.40, 0.025


def bayes(question: str, conditions: Sequence[Condition], findings: Sequence[str]) -> dict[str, float]:
    """P(condition | question), one factor at a time: each finding is present, absent or not mentioned."""
    match = QUESTION.fullmatch(question)
    assert match is not None, question
    age, person = int(match[1]), match[2]
    present = match[3].split(", ")
    absent = [part.removeprefix("no ") for part in match[4].split(", ")] if match[4] else []
    band = next(i for i, (_, low, high) in enumerate(AGE_BANDS) if low <= age <= high)
    weights = {}
    for condition in conditions:
        p = condition.weight * condition.ages[band]
        p *= condition.female if person in ("girl", "woman") else 2 - condition.female
        for finding in findings:
            f = condition.findings.get(finding, COMMON_BACKGROUND.get(finding, BACKGROUND_RATE))
            if finding in present:
                p *= f * RECORDS_PRESENT
            elif finding in absent:
                p *= (1 - f) * RECORDS_ABSENT
            else:
                p *= 1 - f * RECORDS_PRESENT - (1 - f) * RECORDS_ABSENT
        weights[condition.name] = p
    total = math.fsum(weights.values())
    return {name: p / total for name, p in weights.items()}


@pytest.fixture(scope="module")
def patients() -> Sequence[Example]:
    return Clinic().examples("test", 300)


def test_the_posterior_is_bayes_rule_on_the_text(patients: Sequence[Example]) -> None:
    for example in patients:
        assert example.distribution is not None
        assert example.distribution == pytest.approx(bayes(example.question, CONDITIONS, FINDINGS), abs=1e-9)
        assert math.fsum(example.distribution.values()) == pytest.approx(1, abs=1e-12)


def test_two_conditions_and_one_finding_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # x and y are equally common; a and b speak for x by (.8 / .4)^2 = 4 : 1.
    # Nothing said about c: 1 - .5 x .4 - .5 x .025 = .7875 for x and 1 - .2 x .4 - .8 x .025 = .9 for y,
    #   4 x .7875 : .9 = 3.5 : 1, so P(x) = 7/9.
    # "no c": .5 for x and .8 for y, 4 x .5 : .8 = 2.5 : 1, so P(x) = 5/7.
    x = Condition("x", 1, (1, 1, 1, 1), 1.0, {"a": 0.8, "b": 0.8, "c": 0.5})
    y = Condition("y", 1, (1, 1, 1, 1), 1.0, {"a": 0.4, "b": 0.4, "c": 0.2})
    monkeypatch.setattr(clinic_module, "CONDITIONS", (x, y))
    monkeypatch.setattr(clinic_module, "FINDINGS", ("a", "b", "c"))
    found = {example.question.split(" has ")[1]: example.distribution for example in Clinic().examples("train", 3000)}
    for findings, p_x in {"a, b": 7 / 9, "b, a": 7 / 9, "a, b; no c": 5 / 7, "b, a; no c": 5 / 7}.items():
        assert found[findings] == pytest.approx({"x": p_x, "y": 1 - p_x}, abs=1e-12)


def test_the_drawn_condition_is_distributed_as_the_posterior_says() -> None:
    # 20,000 patients: of all (patient, condition) pairs with a posterior near p, a share p was the drawn condition.
    task = Clinic("diagnosis")
    rng = np.random.default_rng(12)
    stated, drawn = [], []
    while len(stated) < 20_000:
        for _, make in task.draw(rng):
            posterior, condition = make.keywords["posterior"], make.keywords["drawn"]
            stated.append(posterior)
            drawn.append(np.eye(len(posterior))[condition])
    p_N, y_N = np.concatenate(stated), np.concatenate(drawn)
    edges = [0, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 1.0]
    bins = np.digitize(p_N, edges[1:-1])
    for b in range(len(edges) - 1):
        p, y = p_N[bins == b], y_N[bins == b]
        assert len(p) > 100
        # The hits of one patient exclude each other, which only lowers the variance below the sum of p (1 - p).
        error = math.sqrt((p * (1 - p)).sum()) / len(p)
        assert abs(y.mean() - p.mean()) < 4 * error, (edges[b], y.mean(), p.mean())


def test_a_question_that_is_kept_says_no_more_than_its_text() -> None:
    # Records are drawn again by a rule on the text alone, so keeping them cannot change the posterior.
    for example in Clinic().examples("train", 500):
        match = QUESTION.fullmatch(example.question)
        assert match is not None
        present = match[3].split(", ")
        absent = match[4].split(", ") if match[4] else []
        assert len(present) >= clinic_module.MIN_FINDINGS
        assert len(present) + len(absent) <= clinic_module.MAX_RECORDED
        assert all(name.startswith("no ") for name in absent)
        assert (int(match[1]) < 16) == (match[2] in ("girl", "boy"))


def test_splits_share_no_question_whatever_the_seed() -> None:
    task = Clinic()
    questions = {
        split: {e.question for seed in (0, 1, 7) for e in task.examples(split, 400, seed=seed)}
        for split in ("train", "validation", "test")
    }
    assert all(len(found) > 1000 for found in questions.values())
    assert not questions["train"] & questions["test"]
    assert not questions["train"] & questions["validation"]
    assert not questions["validation"] & questions["test"]


def test_the_same_arguments_give_the_same_examples_and_a_smaller_n_their_beginning() -> None:
    first = Clinic().examples("validation", 50, seed=3)
    assert Clinic().examples("validation", 50, seed=3) == first
    assert Clinic().examples("validation", 20, seed=3) == first[:20]
    assert Clinic().examples("validation", 20, seed=4) != first[:20]
    assert len({example.id for example in first}) == 50


def test_both_targets_ask_about_the_same_patients(patients: Sequence[Example]) -> None:
    for one, many in zip(Clinic("diagnosis").examples("test", 300), patients, strict=True):
        assert (one.question, one.distribution, one.meta) == (many.question, many.distribution, many.meta)
        assert one.exclusive and not many.exclusive
        (reference,) = one.references
        assert one.distribution is not None
        assert reference.text == one.meta["drawn"] and reference.weight == one.distribution[reference.text]
        assert one.p_correct == one.distribution


@pytest.mark.parametrize("threshold", [0.03, 0.2])
def test_the_differential_holds_every_condition_from_the_threshold_on(threshold: float) -> None:
    n_below = 0
    for example in Clinic(threshold=threshold).examples("test", 200):
        assert example.distribution is not None
        expected = {name for name, p in example.distribution.items() if p >= threshold}
        if not expected:  # none reaches it: the most likely one, because a question needs a right answer
            expected = {next(iter(example.distribution))}
            n_below += 1
        assert {reference.text for reference in example.references} == expected
        weights = [reference.weight for reference in example.references]
        assert weights == sorted(weights, reverse=True)  # type: ignore[type-var]
        assert example.p_correct == dict.fromkeys(expected, 1.0)
    assert (n_below > 0) == (threshold == 0.2)


def test_the_task_leaves_room_for_sets_and_for_confidences(patients: Sequence[Example]) -> None:
    # Several true answers on most questions, and posteriors that are neither all sure nor all flat.
    n_true = [len(example.references) for example in patients]
    assert np.mean([n > 1 for n in n_true]) > 0.5 and 2 <= np.mean(n_true) <= 8
    top = [max((example.distribution or {}).values()) for example in patients]
    assert 0.1 < np.mean([p > 0.9 for p in top]) < 0.6 and np.mean([p < 0.5 for p in top]) > 0.1


def test_the_knowledge_base_is_well_formed() -> None:
    assert 30 <= len(CONDITIONS) <= 50 and 60 <= len(FINDINGS) <= 100
    for condition in CONDITIONS:
        assert condition.weight > 0 and 0 < condition.female < 2 and min(condition.ages) > 0
        assert all(0 < f < 1 for f in condition.findings.values()), condition.name
    assert set(COMMON_BACKGROUND) <= set(FINDINGS)
    for (_, _, high), (_, low, _) in itertools.pairwise(AGE_BANDS):
        assert low == high + 1
    key = TextVerifier().key
    names = [condition.name for condition in CONDITIONS]
    assert len(set(map(key, names))) == len(names) and len(set(map(key, FINDINGS))) == len(FINDINGS)
    # The text of a question must be readable again: no separator inside a name.
    assert not any(set(";,<>") & set(name) or name.startswith("no ") or " has " in name for name in FINDINGS)


def test_wrong_arguments_are_named() -> None:
    task = Clinic()
    with pytest.raises(ConfigError, match=r"n = None: clinic is endless, say how many examples to draw"):
        task.examples("test")
    with pytest.raises(ConfigError, match=r"n = -1: "):
        task.examples("test", -1)
    with pytest.raises(ConfigError, match=r"split = 'dev' is not known: use one of train, validation, test"):
        task.examples("dev", 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"references = 'all' is not known"):
        Clinic("all")  # type: ignore[arg-type]
    for threshold in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigError, match=r"threshold = .* must lie between 0 and 1"):
            Clinic(threshold=threshold)
    assert task.examples("test", 0) == []
