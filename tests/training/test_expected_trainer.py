"""`credit: expected` in the trainer: gradients against enumeration, runs, replay, resumption, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from polymode.errors import ConfigError
from polymode.tasks.records import Records
from polymode.training.recipe import Recipe
from polymode.training.rl import build_trainer, train

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

VALUES = ("0.2", "0.5", "0.8")
"""Every confidence of the toy vocabulary."""
SET = (
    "<think> tea </think><answer1>{}</answer1><confidence1>{}</confidence1>"
    "<answer2>{}</answer2><confidence2>{}</confidence2>"
)
PROMPT = "likes tea milk"


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def recipe_of(small_recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
    def build(**options: Any) -> Recipe:
        defaults = {"credit": "expected", "k": 2, "questions_per_step": 1, "num_generations": 4}
        return small_recipe(**{**defaults, **options})

    return build


def trainer_with(recipe: Recipe, folder: Path, texts: list[str], **column: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """A trainer and what it makes of given completions of one question, with the references tea and milk."""
    tokenizer: Any = AutoTokenizer.from_pretrained(str(recipe.model), padding_side="left")
    task = Records(Path(str(recipe.data)), style="brief", validation=0.0, test=0.0)
    trainer: Any = build_trainer(recipe, folder, task, str(recipe.model), tokenizer)
    ids = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in texts]

    def generate(prompts: list[Any]) -> tuple[Any, ...]:
        prompt_ids = tokenizer([PROMPT] * len(prompts), add_special_tokens=False)["input_ids"]
        return prompt_ids, ids, None, tokenizer.batch_decode(ids, skip_special_tokens=True), None, {}, None, []

    trainer._generate = generate
    references = json.dumps(["tea", "milk"])
    rows = [
        {"prompt": PROMPT, "question": PROMPT, "references": references, "k": 2, "question_id": "0", **column}
        for _ in texts
    ]
    # The toy vocabulary has digits too, of other words; here numbers are one token.
    ids_of_values = {tokenizer(value, add_special_tokens=False)["input_ids"][0] for value in VALUES}
    numbers = trainer._numbers
    numbers.pieces = {i: piece for i, piece in numbers.pieces.items() if i in ids_of_values}
    numbers.ids = np.array(sorted(numbers.pieces))
    numbers.column = {int(i): column for column, i in enumerate(numbers.ids)}
    output = trainer._generate_and_score_completions(rows)
    trainer.current_gradient_accumulation_steps = 1
    return trainer, output


def gradient(model: torch.nn.Module, loss: torch.Tensor) -> torch.Tensor:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    grads = torch.autograd.grad(loss, weights, allow_unused=True)
    return torch.cat(
        [torch.zeros_like(w).flatten() if g is None else g.flatten() for w, g in zip(weights, grads, strict=True)]
    )


def next_log_probs(model: Any, tokenizer: Any, text: str) -> torch.Tensor:
    """Log-probabilities of the token behind a text, by the model's own forward."""
    ids = torch.tensor(
        [
            tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
            + tokenizer(text, add_special_tokens=False)["input_ids"]
        ]
    )
    return torch.log_softmax(model(input_ids=ids).logits[0, -1].float(), -1)


@pytest.mark.parametrize(
    ("loss_type", "score"),
    [
        *((name, "brier") for name in ("dapo", "grpo", "dr_grpo", "bnpo", "cispo")),
        ("dapo", "log"),
        ("dapo", "spherical"),
    ],
)
def test_the_gradient_is_that_of_the_enumerated_expected_score(
    loss_type: str, score: str, recipe_of: Callable[..., Recipe], tmp_path: Path
) -> None:
    """One completion differs from the others in its first confidence; everything that is sampled is cancelled.

    The difference of two losses of the same batch, with factor 3 and factor 1 of the confidences' credit, is 2 x the
    confidence part. It must equal the sum over all values of the vocabulary, written out here with the model's own
    next-token probabilities and the score's definition, times 3/4: of four completions of a question, whose mean
    shrinks all other credit so.
    """
    texts = [SET.format("tea", "0.2", "water", "0.8"), SET.format("milk", "0.5", "tea", "0.5")] * 2
    grads = []
    for factor in (3.0, 1.0):
        recipe = recipe_of(confidence_credit=factor, loss_type=loss_type, confidence_score=score)
        trainer, output = trainer_with(recipe, tmp_path / f"{factor}", texts)
        output["advantages"] = torch.zeros_like(output["advantages"])
        trainer.model.eval()
        grads.append(gradient(trainer.model, trainer._compute_loss(trainer.model, output)))
    model, tokenizer = trainer.model, trainer.processing_class
    loss = {
        "brier": lambda q, y: (q - y) ** 2,
        "log": lambda q, y: float(np.log(0.99 / (q if y else 1 - q)) / np.log(0.99 / 0.01)),
        "spherical": lambda q, y: 1 - (q if y else 1 - q) / float(np.hypot(q, 1 - q)),
    }[score]
    ids = [tokenizer(value, add_special_tokens=False)["input_ids"][0] for value in VALUES]
    lengths = output["completion_mask"].sum(1)
    expected: Any = 0.0
    for row, text in enumerate(texts):
        for part, label in zip(("<confidence1>", "<confidence2>"), (1, 0) if row % 2 == 0 else (1, 1), strict=True):
            before = text[: text.index(part) + len(part)]
            p = torch.softmax(next_log_probs(model, tokenizer, before)[ids], 0)
            values = torch.tensor([loss(float(value), label) for value in VALUES])
            weight = {
                "dapo": 1 / float(lengths.sum()),
                "cispo": 1 / float(lengths.sum()),
                "bnpo": 1 / float(lengths.sum()),
                "grpo": 1 / (4 * float(lengths[row])),
                "dr_grpo": 1 / (4 * recipe.max_completion_length),
            }[loss_type]
            expected = expected + 3 / 4 * weight * (p * values).sum() / 2
    exact = gradient(model, expected)
    torch.testing.assert_close(grads[0] - grads[1], 2 * exact, rtol=2e-3, atol=1e-6)
    assert exact.norm() > 1e-4


def test_given_the_answers_the_value_that_was_sampled_does_not_matter(
    recipe_of: Callable[..., Recipe], tmp_path: Path
) -> None:
    """Variance 0: with one token for a value, the last confidence's gradient is the same whatever was sampled."""
    grads = []
    for value in VALUES:
        recipe = recipe_of(confidence_credit=1.0)
        trainer, output = trainer_with(recipe, tmp_path / value, [SET.format("tea", "0.2", "water", value)] * 4)
        output["advantages"] = torch.zeros_like(output["advantages"])
        trainer.model.eval()
        grads.append(gradient(trainer.model, trainer._compute_loss(trainer.model, output)))
    torch.testing.assert_close(grads[0], grads[1])
    torch.testing.assert_close(grads[0], grads[2])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "single-rlcr"},
        {"device_batch": 8, "scale_rewards": "batch"},
        {"confidence_questions": "first"},
        {"confidence_questions": "apart", "replay": {"batch": 4, "last_steps": 3}},
        {"replay": {"teacher": "probe", "batch": 4, "steps": 1, "last_steps": 0}},
        {"activation_checkpointing": True},
    ],
)
def test_a_run_goes_through_with(options: dict[str, Any], small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = small_recipe(credit="expected", max_steps=2, save_steps=1, **options)
    target = train(recipe, tmp_path / "run")
    assert (target / "model.safetensors").exists()
    lines = lines_of(tmp_path / "run")
    assert [line["step"] for line in lines] == [1, 2]
    assert all(np.isfinite(line["grad_norm"]) for line in lines)
    assert any(0 <= line.get("expected_confidence_loss", -1) <= 1 for line in lines)
    if "replay" in options:
        assert all(0 <= line["replay_confidence_loss"] <= 1 for line in lines[-1:])


def test_a_resumed_run_with_replay_takes_the_same_steps(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = small_recipe(
        credit="expected",
        max_steps=3,
        save_steps=1,
        save_total_limit=3,
        replay={"teacher": "probe", "batch": 4, "steps": 1, "last_steps": 2},
    )
    train(recipe, tmp_path / "whole")
    train(recipe, tmp_path / "cut")
    for name in ("checkpoint-2", "checkpoint-3"):
        for path in sorted((tmp_path / "cut" / "checkpoints" / name).glob("*")):
            path.unlink()
        (tmp_path / "cut" / "checkpoints" / name).rmdir()
    for path in (tmp_path / "cut" / "model").glob("*"):
        path.unlink()
    (tmp_path / "cut" / "model").rmdir()
    train(recipe, tmp_path / "cut", resume=True)
    names = ("reward", "loss", "expected_confidence_loss", "replay_confidence_loss")
    for whole, cut in zip(lines_of(tmp_path / "whole"), lines_of(tmp_path / "cut"), strict=True):
        assert [cut.get(name) for name in names] == [whole.get(name) for name in names]


def test_confidences_alone_are_learnt_on_questions_apart(recipe_of: Callable[..., Recipe], tmp_path: Path) -> None:
    """Their answers get no credit at all."""
    recipe = recipe_of(confidence_questions="apart", apart_share=0.999)
    texts = [SET.format("tea", "0.2", "water", "0.8"), SET.format("milk", "0.5", "tea", "0.5")] * 2
    trainer, output = trainer_with(recipe, tmp_path, texts)
    assert output["advantages"].abs().sum() > 0  # rows without the column train both
    _, apart = trainer_with(recipe, tmp_path / "apart", texts, learns="confidences")
    assert not apart["advantages"].any()
    rows = list(trainer.train_dataset)
    assert {row["learns"] for row in rows} == {"confidences"}  # 999 in a thousand, of 35 questions


@pytest.mark.parametrize(("learns", "is_scored"), [("both", True), ("confidences", True), ("answers", False)])
def test_confidences_are_learnt_where_the_row_says_so(
    learns: str, is_scored: bool, recipe_of: Callable[..., Recipe], tmp_path: Path
) -> None:
    texts = [SET.format("tea", "0.2", "water", "0.8"), SET.format("milk", "0.5", "tea", "0.5")] * 2
    trainer, output = trainer_with(recipe_of(confidence_questions="first"), tmp_path, texts, learns=learns)
    output["advantages"] = torch.zeros_like(output["advantages"])
    loss = trainer._compute_loss(trainer.model, output)
    assert bool(gradient(trainer.model, loss).any()) is is_scored


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": "multi-rlvr"}, "credit = 'expected' with method = 'multi-rlvr'"),
        ({"confidence_score": "other"}, "confidence_score = 'other'"),
        ({"loss_type": "vespo"}, "use one of dapo, grpo"),
        ({"preset": "released"}, "credit = 'expected' with preset = 'released'"),
        ({"confidence_weight": 0.0}, "confidence_weight = 0"),
        ({"replay": {"step": 2}}, "replay: unknown option 'step'"),
        ({"replay": {"steps": 0, "last_steps": 0}}, "replay: steps = 0 and last_steps = 0"),
        ({"replay": {"batch": 0}}, "replay: batch = 0"),
        ({"replay": {"teacher": "oracle"}}, "replay: teacher = 'oracle'"),
        ({"credit": "term", "replay": {"steps": 1}}, "replay is given without credit = 'expected'"),
        ({"credit": "sequence", "confidence_questions": "first"}, "confidence_questions is given without"),
    ],
)
def test_what_cannot_be_credited_by_expectation_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Recipe(**{"credit": "expected", **options})
