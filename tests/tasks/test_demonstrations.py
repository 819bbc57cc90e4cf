"""Demonstrations: always in the format, never twice the same answer, and worse than the truth in the stated way."""

import numpy as np
import pytest

from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.prompts import CONFIDENCE_TEXTS, build_prompt
from polymode.tasks import Demonstrates
from polymode.tasks.lab import demonstrations
from polymode.tasks.lab.clinic import Clinic
from polymode.tasks.lab.demonstrations import chance_listed, write_demonstration
from polymode.verifiers.text import TextVerifier

ANSWERS = ("a", "b", "c", "d", "e")
P = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_a_demonstration_is_clean_and_its_answers_differ(k: int, confidence: bool) -> None:
    task, rng = Clinic(), np.random.default_rng(0)
    assert isinstance(task, Demonstrates)
    for example in task.examples("train", 60):
        text = task.demonstrate(example, k, confidence=confidence, rng=rng)
        answers = parse_answers(text, k, confidence=confidence)
        assert answers.is_clean, (answers.reason, text)
        assert all(duplicate is None for duplicate in judge(example, answers, TextVerifier()).duplicates)
        assert all(answer.text in task.conditions for answer in answers.answers)
        if confidence:
            stated = [a.confidence_span.slice(text) for a in answers.answers if a.confidence_span]
            assert len(stated) == k and set(stated) <= set(CONFIDENCE_TEXTS)


def test_the_reasoning_speaks_of_the_patients_findings_and_of_conditions() -> None:
    task, rng = Clinic(), np.random.default_rng(1)
    lengths = []
    for example in task.examples("train", 100):
        text = task.demonstrate(example, 3, confidence=True, rng=rng)
        reasoning = text.removeprefix("<think> ").split(" </think>")[0]
        for part in reasoning.split(" ; "):
            finding, _, conditions = part.rpartition(" : ")
            if finding:
                assert finding in example.question.split(" has ")[1].split(";")[0].split(", ")
            named = conditions.removeprefix("so ").split(", ")
            assert len(set(named)) == len(named) and set(named) <= set(task.conditions), part
        lengths.append(len(reasoning.split()))
    assert 10 <= np.mean(lengths) <= 40


def test_the_same_generator_state_gives_the_same_text() -> None:
    texts = [
        write_demonstration("r", P, ANSWERS, 3, confidence=True, rng=np.random.default_rng(seed)) for seed in (4, 4, 5)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_answers_are_drawn_from_the_blurred_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    # With T = 1/2 and a lapse of 10%: p² = .25, .09, .0225, .0025 and 0, sum .365; of it 90%, and 2% for each answer.
    monkeypatch.setattr(demonstrations, "ANSWER_TEMPERATURE", 0.5)
    monkeypatch.setattr(demonstrations, "LAPSE", 0.1)
    expected = [0.9 * square / 0.365 + 0.02 for square in (0.25, 0.09, 0.0225, 0.0025, 0)]
    rng, n = np.random.default_rng(2), 6000
    firsts = [
        parse_answers(write_demonstration("r", P, ANSWERS, 1, confidence=False, rng=rng), 1, confidence=False)
        .answers[0]
        .text
        for _ in range(n)
    ]
    for name, share in zip(ANSWERS, expected, strict=True):
        assert abs(firsts.count(name) / n - share) < 4 * np.sqrt(share * (1 - share) / n), name


def test_the_drawn_answers_are_written_most_likely_first() -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        text = write_demonstration("r", P, ANSWERS, 4, confidence=False, rng=rng)
        order = [P.get(answer.text, 0.0) for answer in parse_answers(text, 4, confidence=False).answers]
        assert order == sorted(order, reverse=True)


def test_stated_confidences_are_too_high_by_the_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demonstrations, "CONFIDENCE_BIAS", 0.5)
    monkeypatch.setattr(demonstrations, "CONFIDENCE_NOISE", 0.6)
    # The median of the noise is 0, so the median of the stated log-odds is that of the truth plus the bias.
    rng = np.random.default_rng(3)
    stated = []
    for _ in range(800):
        answers = parse_answers(
            write_demonstration("r", {"a": 0.5, "b": 0.5}, ("a", "b"), 2, confidence=True, rng=rng), 2, confidence=True
        )
        stated += [answer.confidence for answer in answers.answers]
    median = 1 / (1 + np.exp(-0.5))  # of true log-odds 0: 0.62, on the grid 0.60 or 0.65
    assert np.median([q for q in stated if q is not None]) == pytest.approx(median, abs=0.03)
    assert len(set(stated)) > 8


def test_the_chance_of_being_listed_is_one_half_at_the_threshold() -> None:
    # log(p / threshold) in units of the error 1: 0, log 2 = 0.693, -log 2, and Phi(0.693) = 0.7559.
    assert chance_listed(0.04, 0.04) == pytest.approx(0.5)
    assert chance_listed(0.08, 0.04) == pytest.approx(0.7559, abs=1e-4)
    assert chance_listed(0.02, 0.04) == pytest.approx(1 - 0.7559, abs=1e-4)
    assert chance_listed(0.0, 0.04) == 0.0


def test_where_several_answers_are_right_the_chance_of_being_listed_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demonstrations, "CONFIDENCE_BIAS", 0.0)
    monkeypatch.setattr(demonstrations, "CONFIDENCE_NOISE", 0.0)
    rng = np.random.default_rng(4)
    for threshold, expected in ((None, {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}), (0.15, {"a": 0.9, "c": 0.5})):
        # a: Phi(log(.5 / .15)) = Phi(1.204) = 0.886, on the grid 0.90; c: Phi(0) = 0.50.
        text = write_demonstration("r", P, tuple(P), 4, confidence=True, rng=rng, threshold=threshold)
        stated = {answer.text: answer.confidence for answer in parse_answers(text, 4, confidence=True).answers}
        assert {name: stated[name] for name in expected} == expected


def test_every_word_of_prompts_and_demonstrations_is_in_the_vocabulary() -> None:
    pytest.importorskip("torch")
    from polymode.training.lab_model import UNKNOWN, build_tokenizer

    task, rng = Clinic(), np.random.default_rng(5)
    tokenizer = build_tokenizer(task.vocabulary())
    unknown = tokenizer.convert_tokens_to_ids(UNKNOWN)
    for i, example in enumerate(task.examples("train", 400)):
        k, confidence = 1 + i % 5, i % 2 == 0
        prompt = build_prompt(example.question, k, confidence=confidence, style=task.prompt_style)
        for text in (prompt, task.demonstrate(example, k, confidence=confidence, rng=rng)):
            ids = tokenizer(text)["input_ids"]
            assert unknown not in ids, text
            assert tokenizer.decode(ids) == text
    assert all(unknown not in tokenizer(text)["input_ids"] for text in CONFIDENCE_TEXTS)
