"""`credit: expected` in the trainer: gradients against enumeration, runs, replay, resumption, refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from polymode.errors import ConfigError
from polymode.tasks.records import Records
from polymode.training.recipe import Recipe
from polymode.training.replay import Replay
from polymode.training.replay_loss import ReplayLoss
from polymode.training.rl import train
from polymode.training.trainers import build_trainer

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


def trainer_with(
    recipe: Recipe, folder: Path, texts: list[str], values: tuple[str, ...] = VALUES, **column: str
) -> tuple[Any, dict[str, torch.Tensor]]:
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
    ids_of_values = {tokenizer(value, add_special_tokens=False)["input_ids"][0] for value in values}
    if recipe.credit == "expected":
        numbers = trainer._numbers
        numbers.pieces = {i: piece for i, piece in numbers.pieces.items() if i in ids_of_values}
        numbers.ids = np.array(sorted(numbers.pieces))
        numbers.column = {int(i): column for column, i in enumerate(numbers.ids)}
    output = trainer._generate_and_score_completions(rows)
    trainer.current_gradient_accumulation_steps = 1
    return trainer, output


def test_a_confidence_that_no_token_decides_has_its_sampled_credit(
    recipe_of: Callable[..., Recipe], tmp_path: Path
) -> None:
    texts = [SET.format("tea", "0.2", "water", "0.8"), SET.format("milk", "0.5", "tea", "0.5")] * 2
    trainer, output = trainer_with(recipe_of(), tmp_path / "expected", texts, values=("0.2", "0.8"))
    _, of_term = trainer_with(recipe_of(credit="term"), tmp_path / "term", texts)
    number = {value: trainer.processing_class(value, add_special_tokens=False)["input_ids"][0] for value in VALUES}
    ids = output["completion_ids"]
    is_undecided = ids == number["0.5"]
    is_decided = (ids == number["0.2"]) | (ids == number["0.8"])
    assert is_undecided.sum() == is_decided.sum() == 4
    torch.testing.assert_close(output["advantages"][is_undecided], of_term["advantages"][is_undecided])
    assert (output["advantages"] - of_term["advantages"])[is_decided].abs().min() > 0.01
    is_decided |= is_decided.roll(1, 1) | is_decided.roll(-1, 1)  # its tags belong to a confidence
    torch.testing.assert_close(output["advantages"][~is_decided], of_term["advantages"][~is_decided])
    assert trainer._metrics["train"]["share_sampled_confidences"] == [0.5]


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


def test_a_confidence_before_its_answer_has_no_expected_score(recipe_of: Callable[..., Recipe], tmp_path: Path) -> None:
    """Asked for tags, a model wrote it so by itself: the answer might have been another after another value."""
    behind = SET.format("tea", "0.2", "water", "0.8")
    first = re.sub(r"(<answer.>.*?</answer.>)(<confidence.>.*?</confidence.>)", r"\2\1", behind)
    trainer, output = trainer_with(recipe_of(), tmp_path, [first, behind] * 2)
    assert [len(row) for row in trainer._confidences] == [0, 2, 0, 2]
    assert len(set(output["advantages"][0, : int(output["completion_mask"][0].sum())].tolist())) == 1


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


def test_replay_in_parts_is_replay_of_the_whole_batch(
    small_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {}
    for rows in (6, 4, 1):  # 6 = 4 + 2: parts of unlike size
        monkeypatch.setattr(ReplayLoss, "_rows_at_once", lambda self, batch, rows=rows: rows)
        recipe = small_recipe(credit="expected", max_steps=1, replay={"batch": 6, "last_steps": 3})
        target = train(recipe, tmp_path / str(rows))
        weights[rows] = load_file(target / "model.safetensors")
    for name, weight in weights[6].items():
        torch.testing.assert_close(weights[4][name], weight, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("device_batch", "group", "n_prompt", "n_completion", "rows"),
    [
        (16, 8, 300, 100, 5),  # 2 x 300 + 16 x 100 tokens are 5 x 400 and something
        (16, 8, 10, 100, 14),
        (4, 8, 300, 20, 1),  # half a question's group
        (64, 8, 10, 100, 16),  # all
    ],
)
def test_replay_needs_no_more_room_than_a_step(
    device_batch: int, group: int, n_prompt: int, n_completion: int, rows: int
) -> None:
    args = SimpleNamespace(per_device_train_batch_size=device_batch, num_generations=group)
    accelerator = SimpleNamespace(gather=lambda widths: widths, device="cpu")
    replay = SimpleNamespace(_trainer=SimpleNamespace(args=args, accelerator=accelerator))
    batch = [SimpleNamespace(prompt=[0] * n_prompt, ids=[0] * n_completion)] * 16
    assert ReplayLoss._rows_at_once(replay, batch) == rows  # pyright: ignore[reportArgumentType]


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


@pytest.mark.parametrize("is_of_completions", [False, True])
def test_correction_of_vllm(is_of_completions: bool, recipe_of: Callable[..., Recipe], tmp_path: Path) -> None:
    """Ratios of tokens (mode token_truncate) leave the expectation as it is; those of completions weight it.

    TRL's default mode, sequence_mask, is of the second kind. The confidences' part is the difference of two losses that
    differ in its factor.
    """
    texts = [SET.format("tea", "0.2", "water", "0.8"), SET.format("milk", "0.5", "tea", "0.5")] * 2
    ratio_N = torch.tensor([[0.5], [2.0], [0.25], [1e-9]])
    parts = []
    for is_corrected in (False, True):
        grads = []
        for factor in (3.0, 1.0):
            trainer, output = trainer_with(recipe_of(confidence_credit=factor), tmp_path, texts)
            output["advantages"] = torch.zeros_like(output["advantages"])
            if is_corrected:
                trainer.use_vllm = True
                width = 1 if is_of_completions else output["completion_ids"].shape[1]
                output["importance_sampling_ratio"] = ratio_N.expand(-1, width)
            elif is_of_completions:  # by hand: the loss of a completion is linear in its confidences' weights
                for row, ratio in enumerate(ratio_N[:, 0].tolist()):
                    of_row = trainer._confidences[row]
                    trainer._confidences[row] = [replace(one, weight=one.weight * ratio) for one in of_row]
            trainer.model.eval()
            grads.append(gradient(trainer.model, trainer._compute_loss(trainer.model, output)))
        parts.append(grads[0] - grads[1])
    assert parts[0].norm() > 1e-4
    torch.testing.assert_close(parts[1], parts[0], rtol=1e-4, atol=1e-7)


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


def test_a_checkpoint_of_fewer_processes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "replay-0.pt").touch()
    replay = Replay.__new__(Replay)
    replay._trainer = SimpleNamespace(accelerator=SimpleNamespace(process_index=1))
    with pytest.raises(ConfigError, match=r"of a run in fewer processes \(1\): resume it in as many"):
        replay.load(tmp_path)


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


SCRIPT = """
import json, sys
from pathlib import Path
import torch
from transformers import AutoTokenizer
from polymode.tasks.records import Records
from polymode.training.recipe import Recipe
from polymode.training.trainers import build_trainer
values, texts, folder = json.loads(Path(sys.argv[1]).read_text()), json.loads(sys.argv[2]), Path(sys.argv[3])
values["data"] = Path(values["data"])
recipe = Recipe(**values)
tokenizer = AutoTokenizer.from_pretrained(recipe.model, padding_side="left")
task = Records(values["data"], style="brief", validation=0.0, test=0.0)
trainer = build_trainer(recipe, folder / "run", task, recipe.model, tokenizer)

def generate(prompts, *_, **__):
    first = trainer.accelerator.process_index * len(prompts)
    own = texts[first : first + len(prompts)]
    return [[*tokenizer(one, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for one in own], None

trainer._generate_single_turn = generate
trainer.args.optim = "sgd"
trainer.train()
weights = trainer.accelerator.unwrap_model(trainer.model).state_dict()
torch.save(weights, folder / f"weights-{trainer.accelerator.process_index}.pt")
"""


def group_of_8(recipe: Recipe, data: Path) -> dict[str, Any]:
    """A recipe of one step, without its learning rate."""
    return {
        **{"task": "records", "task_options": {"style": "brief", "validation": 0.0, "test": 0.0}, "k": 2},
        **{"model": recipe.model, "credit": "expected", "max_steps": 1, "data": str(data)},
        **{"questions_per_step": 1, "num_generations": 8, "device_batch": 4, "max_completion_length": 40},
    }


def texts_of_8() -> list[str]:
    draft = SET.replace("<think> tea </think>", "<think> tea milk juice </think>")
    texts = [
        *(SET.format("tea", "0.2", "water", "0.8"), draft.format("milk", "0.5", "tea", "0.5")),
        *(draft.format("water", "0.8", "milk", "0.2"), "<think> tea tea tea"),
    ]
    return [*texts, *reversed([text.replace("0.2", "0.5") for text in texts])]


@pytest.mark.slow
def test_two_processes_stay_one_model_in_replay(
    recipe_of: Callable[..., Recipe], drinks_file: Path, tmp_path: Path, launch: Callable[..., None]
) -> None:
    """Each has completions of its own, and the gradients of both move both alike."""
    (tmp_path / "script.py").write_text(SCRIPT)
    weights = {}
    for name, replay in (("with", {"replay": {"batch": 3, "last_steps": 2, "learning_rate": 1e-2}}), ("without", {})):
        folder = tmp_path / name
        folder.mkdir()
        values = {**group_of_8(recipe_of(), drinks_file), "learning_rate": 1e-6, **replay}
        (folder / "values.json").write_text(json.dumps(values))
        launch(2, tmp_path / "script.py", folder / "values.json", json.dumps(texts_of_8()), folder)
        weights[name] = [torch.load(folder / f"weights-{rank}.pt") for rank in (0, 1)]
    for name, value in weights["with"][0].items():
        torch.testing.assert_close(weights["with"][1][name], value, rtol=0, atol=0)
    moved = [(value - weights["without"][0][name]).abs().max() for name, value in weights["with"][0].items()]
    assert max(moved) > 1e-3


@pytest.mark.slow
def test_two_processes_take_the_step_of_one(
    recipe_of: Callable[..., Recipe], drinks_file: Path, tmp_path: Path, launch: Callable[..., None]
) -> None:
    """A group of 8 over two processes; plain gradient descent, and a factor that makes the confidences' part large."""
    (tmp_path / "script.py").write_text(SCRIPT)
    weights = []
    for processes in (1, 2):
        values = {
            **group_of_8(recipe_of(), drinks_file),
            **{"confidence_credit": 20.0, "learning_rate": 1.0, "max_grad_norm": 1e9},
        }
        folder = tmp_path / str(processes)
        folder.mkdir()
        (folder / "values.json").write_text(json.dumps(values))
        launch(processes, tmp_path / "script.py", folder / "values.json", json.dumps(texts_of_8()), folder)
        weights.append(torch.load(folder / "weights-0.pt"))
    start = AutoModelForCausalLM.from_pretrained(str(recipe_of().model)).state_dict()
    assert any((weights[0][name] - start[name]).abs().max() > 1e-3 for name in start)
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5)
