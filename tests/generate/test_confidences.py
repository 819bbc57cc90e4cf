"""Measured confidences, on a scripted scorer and on a tiny model."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from polymode.errors import ConfigError, GeneratorFault, PromptRefusedError
from polymode.evaluation import evaluate
from polymode.generate import Generated
from polymode.generate.confidences import CONFIDENCES, measure_confidences, measure_in_parts, needs_model
from polymode.generate.p_true import EMPTY_REASONING, p_true
from polymode.generate.scoring import answer_probabilities
from polymode.generate.scripted import ScriptedGenerator
from polymode.generate.transformers import TransformersGenerator
from polymode.prompts import CONFIDENCE_TEXTS
from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer
from polymode.types import Completion, Example, Reference
from polymode.verifiers.text import TextVerifier

EXAMPLE = Example("q", "what?", (Reference("red"),))
TEXT = "<think> hm </think><answer1>red</answer1><answer2>dark blue</answer2>"


class Scripted:
    """One token per character, each with log-probability -1/4 inside the answer texts, -9 elsewhere."""

    def __init__(self, next_: dict[str, float]) -> None:
        self.next_, self.seen = next_, list[tuple[str, str]]()
        self.opening, self.reply = "", ""

    def generate(self, prompts: Sequence[str], **_: object) -> list[list[Generated]]:
        return [[Generated(self.reply, 1, True)] for _ in prompts]

    def openings(self, prompts: Sequence[str]) -> list[str]:
        return [self.opening for _ in prompts]

    def token_log_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str]
    ) -> list[list[tuple[int, int, float]]]:
        out = []
        for text in texts:
            inside = {i for name in ("red", "dark blue") for i in range(text.find(name), text.find(name) + len(name))}
            out.append([(i, i + 1, -0.25 if i in inside else -9.0) for i in range(len(text))])
        return out

    def continuation_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str], groups: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """`next_` says for each spelling, or for text + spelling where it names that, how likely it is."""
        self.seen += list(zip(prompts, texts, strict=True))
        return [
            [
                sum(
                    self.next_.get(text + c, 0.0 if text.startswith("<think>\n") else self.next_.get(c, 0.0))
                    for c in group
                )
                for group in groups
            ]
            for text in texts
        ]


def completion(text: str, k: int = 2, **options: object) -> Completion:
    return Completion(EXAMPLE, text, k, False, **options)  # type: ignore[arg-type]


def test_answer_probability_is_that_of_the_tokens_of_the_answer_alone() -> None:
    # red: 3 tokens, exp(-3/4) = 0.4724; dark blue: 9 tokens, exp(-9/4) = 0.1054.
    (clean, broken) = answer_probabilities([completion(TEXT), completion("<answer1>red")], Scripted({}), style="brief")
    assert clean.confidences == pytest.approx((math.exp(-0.75), math.exp(-2.25)))
    assert broken.confidences is None


def test_p_true_of_a_full_prompt_compares_true_and_false_in_all_spellings() -> None:
    # (0.25 + 0.05) / (0.25 + 0.05 + 0.1) = 0.75, and all of them hold 0.4.
    scorer = Scripted({"True": 0.25, " TRUE": 0.05, "\nfalse": 0.1, "Tru": 0.3})
    (measured,) = p_true([completion(TEXT)], scorer, style="full")
    assert measured.confidences == pytest.approx((0.75, 0.75))
    assert measured.confidence_mass == pytest.approx((0.4, 0.4))
    assert [("red" in prompt, "dark blue" in prompt, text) for prompt, text in scorer.seen] == [
        (True, False, ""),
        (False, True, ""),
    ]


def test_a_model_that_would_reason_is_asked_behind_an_empty_reasoning() -> None:
    # Directly True .02, False .01, <think> .97; behind <think></think> True .6, False .3:
    # P(True) = .02 + .97 x .6 = .602, P(False) = .01 + .97 x .3 = .301; q = 2/3, mass .903.
    behind = {f"{EMPTY_REASONING}True": 0.6, f"{EMPTY_REASONING}False": 0.3}
    scorer = Scripted({"True": 0.02, "False": 0.01, "<think>": 0.97, **behind})
    (measured,) = p_true([completion(TEXT)], scorer, style="full")
    assert measured.confidences == pytest.approx((2 / 3, 2 / 3))
    assert measured.confidence_mass == pytest.approx((0.903, 0.903))


def test_a_prompt_that_opens_the_reasoning_is_never_asked_inside_it() -> None:
    scorer = Scripted({"True": 0.9, f"{EMPTY_REASONING}True": 0.2, f"{EMPTY_REASONING}False": 0.6})
    scorer.opening = "<think>\n"
    (measured,) = p_true([completion(TEXT)], scorer, style="full")
    assert measured.confidences == pytest.approx((0.25, 0.25))
    assert {text for _, text in scorer.seen} == {EMPTY_REASONING}


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("<think>well</think>True", "<think>well\n</think>\n\n"),
        ("<think>well, on and", "<think>well, on and\n</think>\n\n"),  # cut off: closed for it
        ("False", EMPTY_REASONING),
    ],
)
def test_reasoning_may_be_sampled_and_is_closed(reply: str, text: str) -> None:
    scorer = Scripted({"<think>": 1.0, f"{text}True": 0.3, f"{text}False": 0.1})
    scorer.reply = reply
    (measured,) = p_true([completion(TEXT)], scorer, style="full", reasoning="sampled")
    assert measured.confidences == pytest.approx((0.75, 0.75))


def test_p_true_of_a_brief_prompt_is_the_mean_confidence_the_model_would_state() -> None:
    # 0.20 with probability .1 and 0.80 with .3, the rest elsewhere: (.02 + .24) / .4 = 0.65.
    scorer = Scripted({"0.20": 0.1, "0.80": 0.3})
    measured, broken = p_true([completion(TEXT), completion("no answer")], scorer, style="brief")
    assert measured.confidences == pytest.approx((0.65, 0.65))
    assert scorer.seen[1][1] == "<think> hm </think><answer>dark blue</answer><confidence>"
    assert broken.confidences is None and len(scorer.seen) == 2


def test_a_model_that_states_its_confidence_first_has_none_for_an_answer_that_is_named_to_it() -> None:
    text = (
        "<confidence1>0.5</confidence1><answer1>red</answer1><confidence2>0</confidence2><answer2>dark blue</answer2>"
    )
    stated = Completion(EXAMPLE, text, 2, True)
    with pytest.raises(
        ConfigError, match="p-true of a model of the brief style with format confidence-first: it states"
    ):
        p_true([stated], Scripted({}), style="brief-confidence-first")
    (measured,) = p_true([stated], Scripted({"True": 0.3, "False": 0.1}), style="confidence-first")
    assert measured.confidences == pytest.approx((0.75, 0.75))
    (measured,) = answer_probabilities([stated], Scripted({}), style="confidence-first")
    assert measured.confidences == pytest.approx((math.exp(-3 / 4), math.exp(-9 / 4)))


def test_a_model_that_gives_no_candidate_any_mass_says_nothing() -> None:
    for style in ("full", "brief"):
        (measured,) = p_true([completion(TEXT)], Scripted({}), style=style)  # type: ignore[arg-type]
        assert measured.confidences is None and measured.confidence_mass == (0.0, 0.0)


def test_one_answer_without_mass_leaves_out_the_confidences_of_its_set() -> None:
    class Half(Scripted):
        def continuation_probabilities(
            self, prompts: Sequence[str], texts: Sequence[str], groups: Sequence[Sequence[str]]
        ) -> list[list[float]]:
            return [[0.3, 0.1, 0.0] if "red" in prompt else [0.0, 0.0, 0.0] for prompt in prompts]

    first, second = p_true([completion(TEXT), completion("<answer>red</answer>", 1)], Half({}), style="full")
    assert first.confidences is None and first.confidence_mass == pytest.approx((0.4, 0.0))
    assert second.confidences == pytest.approx((0.75,))


def test_stated_confidences_do_not_count_where_measured_ones_say_nothing() -> None:
    text = "<answer>red</answer><confidence>0.9</confidence>"
    silent = Completion(EXAMPLE, text, 1, True, confidence_mass=(0.0,))
    measured = Completion(EXAMPLE, text, 1, True, 1, confidences=(0.4,), confidence_mass=(0.5,))
    metrics = evaluate([silent, measured], n_boot=0).metrics
    assert metrics["brier"].value == pytest.approx(0.36)  # (1 - 0.4)^2 of the other alone
    assert metrics["coverage"].value == 1.0


def test_the_words_may_be_bold_or_in_quotes() -> None:
    scorer = Scripted({"True": 0.1, "**True": 0.4, '"false': 0.1, "\n\nFalse": 0.1, "False": 0.1})
    (measured,) = p_true([completion(TEXT)], scorer, style="full")
    assert measured.confidences == pytest.approx((0.625, 0.625))  # .5 / .8
    assert measured.confidence_mass == pytest.approx((0.8, 0.8))


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


def test_continuation_probabilities_are_those_of_each_token_in_turn(generator: TransformersGenerator) -> None:
    [[green, pair, nothing]] = generator.continuation_probabilities(
        ["what ?"], ["red"], [["green"], ["blue green", "red"], ["nowhere"]]
    )
    ids = generator.tokenizer("what ?")["input_ids"] + generator.tokenizer("red")["input_ids"]
    [a, b], [red] = (generator.tokenizer(word)["input_ids"] for word in ("blue green", "red"))

    def p(before: list[int], token: int) -> float:
        return generator.model(torch.tensor([before])).logits[0, -1].softmax(-1)[token].item()

    assert green == pytest.approx(p(ids, generator.tokenizer("green")["input_ids"][0]), abs=1e-6)
    assert pair == pytest.approx(p(ids, a) * p([*ids, a], b) + p(ids, red), abs=1e-6)
    assert nothing == 0.0  # no word of this tokenizer
    with pytest.raises(ConfigError, match="writes 'red' and 'red' alike"):
        generator.continuation_probabilities(["what ?"], [""], [["red"], ["red"]])


def test_a_model_without_probabilities_is_refused_by_name() -> None:
    with pytest.raises(
        ConfigError, match="'aggregation' need probabilities of a text, which ScriptedGenerator does not"
    ):
        measure_confidences("aggregation", [completion(TEXT)], ScriptedGenerator(["x"]), style="full")
    assert [name for name in CONFIDENCES if not needs_model(name)] == ["votes"]


def test_confidences_of_another_method_do_not_stay() -> None:
    broken = completion("<answer1>red", confidences=(0.9, 0.9), confidence_mass=(1.0, 1.0))
    (measured,) = measure_confidences("answer-probability", [broken], Scripted({}), style="full")
    assert measured.confidences is None and measured.confidence_mass is None


def test_parts_are_whole_questions_and_measure_what_is_missing() -> None:
    examples = [Example(f"q{i}", "what?", (Reference("red"),)) for i in range(3)]
    texts = ["<answer>red</answer>", "<answer>red</answer>", "<answer>dark blue</answer>"]
    every = [Completion(example, text, 1, False, n) for example in examples for n, text in enumerate(texts)]
    present = {("q0", 0), ("q0", 1), ("q0", 2), ("q1", 1)}
    how = {"style": "full", "batch": 4, "verifier": TextVerifier(), "present": present}
    parts = list(measure_in_parts("votes", every, None, **how))  # type: ignore[arg-type]
    # The votes of q1 are those of all its samples, though one of them was measured before.
    assert [[(one.example.id, one.sample, one.confidences) for one in part] for part in parts] == [
        [("q1", 0, (2 / 3,)), ("q1", 2, (1 / 3,)), ("q2", 0, (2 / 3,)), ("q2", 1, (2 / 3,)), ("q2", 2, (1 / 3,))]
    ]
    scorer = Scripted({"True": 1.0})
    again = list(measure_in_parts("p-true", every, scorer, **how))  # type: ignore[arg-type]
    assert [len(part) for part in again] == [5] and len(scorer.seen) == 5


class Picky(Scripted):
    """Refuses what holds a long answer, as a model of a short context does."""

    def token_log_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str]
    ) -> list[list[tuple[int, int, float]]]:
        self._check(texts)
        return super().token_log_probabilities(prompts, texts)

    def continuation_probabilities(
        self, prompts: Sequence[str], texts: Sequence[str], groups: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        self._check(prompts)
        return super().continuation_probabilities(prompts, texts, groups)

    def _check(self, texts: Sequence[str]) -> None:
        if any("loong" in text for text in texts):
            raise PromptRefusedError("a prompt has 9 tokens and the model reads 8")


def in_parts(method: str, texts: Sequence[str], batch: int, **options: object) -> tuple[list[Completion], list[int]]:
    """What is measured of samples of one question, and the numbers of the refused ones."""
    every = [completion(f"<answer>{text}</answer>", 1, sample=i) for i, text in enumerate(texts)]
    refused: list[int] = []
    how = {"style": "full", "batch": batch, "verifier": TextVerifier(), **options}
    how["on_refused"] = lambda one, exc: refused.append(one.sample)
    made = measure_in_parts(method, every, Picky({"True": 0.3, "False": 0.1}), **how)  # type: ignore[arg-type]
    return sorted((one for part in made for one in part), key=lambda one: one.sample), refused


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize(
    ("method", "q"), [("p-true", 0.75), ("answer-probability", math.exp(-0.75)), ("aggregation", math.exp(-0.75))]
)
def test_a_completion_that_is_refused_costs_the_others_nothing(method: str, q: float, batch: int) -> None:
    measured, refused = in_parts(method, ["loong", "red", "loong red", "red"], batch)
    assert [one.confidences and one.confidences[0] for one in measured] == [
        None,
        pytest.approx(q),
        None,
        pytest.approx(q),
    ]
    assert sorted(refused) == [0, 2] and measured[0].confidence_mass is None


def test_wordings_are_added_up_over_the_samples_that_are_not_refused() -> None:
    # red and Red are equal, so each has exp(-3/4) + exp(-27): Red is spelled with three tokens of -9.
    measured, _ = in_parts("aggregation", ["red", "Red", "loong"], 64)
    both = math.exp(-0.75) + math.exp(-27)
    assert [one.confidences for one in measured] == [(pytest.approx(both),), (pytest.approx(both),), None]


@pytest.mark.parametrize("batch", [1, 64])
def test_where_all_are_refused_it_is_an_error(batch: int) -> None:
    with pytest.raises(GeneratorFault, match="reads 8"):
        in_parts("p-true", ["loong"] * 40, batch)
    with pytest.raises(GeneratorFault, match="reads 8"):  # what is not in the format was not measured either
        in_parts("p-true", ["", "loong", ""], batch)
    measured, refused = in_parts("p-true", ["loong"] * 40 + ["red"], batch)
    assert len(measured) == 41 and len(refused) == 40 and measured[-1].confidences == pytest.approx((0.75,))
    # One of them was measured before.
    measured, refused = in_parts("p-true", ["red", "loong"], batch, present={("q", 0)})
    assert [one.confidences for one in measured] == [None] and refused == [1]
