"""Measured confidences, on a scripted scorer and on a tiny model."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from polymode.errors import ConfigError
from polymode.evaluation import evaluate
from polymode.generate.confidences import answer_probabilities, p_true
from polymode.generate.transformers import TransformersGenerator
from polymode.prompts import CONFIDENCE_TEXTS
from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer
from polymode.types import Completion, Example, Reference

EXAMPLE = Example("q", "what?", (Reference("red"),))
TEXT = "<think> hm </think><answer1>red</answer1><answer2>dark blue</answer2>"


class Scripted:
    """One token per character, each with log-probability -1/4 inside the answer texts, -9 elsewhere."""

    def __init__(self, next_: dict[str, float]) -> None:
        self.next_, self.seen = next_, list[tuple[str, str]]()

    def token_log_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str]
    ) -> list[list[tuple[int, int, float]]]:
        out = []
        for text in texts:
            inside = {i for name in ("red", "dark blue") for i in range(text.find(name), text.find(name) + len(name))}
            out.append([(i, i + 1, -0.25 if i in inside else -9.0) for i in range(len(text))])
        return out

    def next_token_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str], candidates: Sequence[str]
    ) -> list[list[float]]:
        self.seen += list(zip(prompts, texts, strict=True))
        return [[self.next_.get(c, 0.0) for c in candidates] for _ in texts]


def completion(text: str, k: int = 2, **options: object) -> Completion:
    return Completion(EXAMPLE, text, k, False, **options)  # type: ignore[arg-type]


def test_answer_probability_is_that_of_the_tokens_of_the_answer_alone() -> None:
    # red: 3 tokens, exp(-3/4) = 0.4724; dark blue: 9 tokens, exp(-9/4) = 0.1054.
    (clean, broken) = answer_probabilities([completion(TEXT), completion("<answer1>red")], Scripted({}), style="brief")
    assert clean.confidences == pytest.approx((math.exp(-0.75), math.exp(-2.25)))
    assert broken.confidences is None


def test_p_true_of_a_full_prompt_compares_true_and_false() -> None:
    scorer = Scripted({"True": 0.3, "False": 0.1})
    (told,) = p_true([completion(TEXT)], scorer, style="full")
    assert told.confidences == pytest.approx((0.75, 0.75))
    assert [("red" in prompt, "dark blue" in prompt, text) for prompt, text in scorer.seen] == [
        (True, False, ""),
        (False, True, ""),
    ]


def test_p_true_of_a_brief_prompt_is_the_mean_confidence_the_model_would_state() -> None:
    # 0.20 with probability .1 and 0.80 with .3, the rest elsewhere: (.02 + .24) / .4 = 0.65.
    scorer = Scripted({"0.20": 0.1, "0.80": 0.3})
    told, broken = p_true([completion(TEXT), completion("no answer")], scorer, style="brief")
    assert told.confidences == pytest.approx((0.65, 0.65))
    assert scorer.seen[1][1] == "<think> hm </think><answer>dark blue</answer><confidence>"
    assert broken.confidences is None and len(scorer.seen) == 2


def test_a_model_that_gives_no_candidate_any_mass_knows_nothing() -> None:
    (told,) = p_true([completion(TEXT)], Scripted({}), style="full")
    assert told.confidences == (0.5, 0.5)


def test_measured_confidences_take_the_place_of_stated_ones_in_evaluation() -> None:
    # Brier of (0.9, 0.2) against hits (1, 0): (0.01 + 0.04) / 2.
    evaluation = evaluate([completion(TEXT, confidences=(0.9, 0.2))], n_boot=0)
    assert evaluation.metrics["brier"].value == pytest.approx(0.025)
    assert evaluation.view["has_confidence"]


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> TransformersGenerator:
    path: Path = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(["red green blue what ?", *CONFIDENCE_TEXTS])
    build_model(
        tokenizer, LabModelSize(hidden=16, layers=1, heads=2, intermediate=32, positions=128), seed=0
    ).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return TransformersGenerator(path, batch=8, show_progress=False)


def test_token_log_probabilities_are_those_of_one_unpadded_forward(generator: TransformersGenerator) -> None:
    prompts, texts = ["what ?", "red red red red"], ["green blue", "red"]
    scored = generator.token_log_probabilities(prompts, texts)
    for prompt, text, tokens in zip(prompts, texts, scored, strict=True):
        before, ids = generator.tokenizer(prompt)["input_ids"], generator.tokenizer(text)["input_ids"]
        log_p = generator.model(torch.tensor([before + ids])).logits[0].log_softmax(-1)
        expected = [log_p[len(before) + i - 1, token].item() for i, token in enumerate(ids)]
        assert [value for _, _, value in tokens] == pytest.approx(expected, abs=1e-5)
        assert "".join(text[a:b] for a, b, _ in tokens).replace(" ", "") == text.replace(" ", "")


def test_next_token_probabilities_are_those_of_the_last_position(generator: TransformersGenerator) -> None:
    (pair,) = generator.next_token_probabilities(["what ?"], ["red"], ["green", "blue"])
    ids = generator.tokenizer("what ?")["input_ids"] + generator.tokenizer("red")["input_ids"]
    p = generator.model(torch.tensor([ids])).logits[0, -1].softmax(-1)
    expected = [p[generator.tokenizer(c)["input_ids"][0]].item() for c in ("green", "blue")]
    assert pair == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ConfigError, match="tokens of their own"):
        generator.next_token_probabilities(["what ?"], [""], ["red", "red"])
