"""The trainer that shares prompts against TRL's own: the same gradients, samples of the same model, less work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOTrainer

from polymode.errors import ConfigError
from polymode.training.credit_trainer import TermCreditTrainer
from polymode.training.recipe import Recipe
from polymode.training.shared_prompt import SharedPromptTrainer
from polymode.training.trainers import trl_config
from polymode.training.trl_options import checkpointing_field, lora_config

# TRL 1.16 calls transformers 5 by old names; `train` leaves these warnings out, here the trainer is built by hand.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

QUESTIONS = ["likes tea milk", "likes water juice cocoa", "likes cider tea", "likes milk"]
LOSSES = ("dapo", "grpo", "dr_grpo", "bnpo", "cispo", "sapo", "vespo")
WORDS = ["tea", "milk", "water", "juice"]


def count_words(completions: list[str], **_: Any) -> list[float | None]:
    return [float(len(set(text.split()))) + 0.1 * len(text) for text in completions]


def build(kind: type[GRPOTrainer], recipe: Recipe, folder: Path) -> GRPOTrainer:
    """A trainer whose completions are given: ragged, three of a group alike in nothing but the prompt."""
    tokenizer = AutoTokenizer.from_pretrained(str(recipe.model), padding_side="left")
    torch.manual_seed(0)
    trainer = kind(
        model=AutoModelForCausalLM.from_pretrained(str(recipe.model), dtype=torch.float32),
        processing_class=tokenizer,
        reward_funcs=count_words,
        train_dataset=Dataset.from_list([{"prompt": question} for question in QUESTIONS] * recipe.max_steps),
        args=trl_config(recipe, folder),
        peft_config=lora_config(recipe.lora),
    )
    return trainer


def given(trainer: GRPOTrainer) -> None:
    """Make completion i of the step the i-th of a fixed list, whatever the model says."""
    tokenizer: Any = trainer.processing_class

    def generate(prompt_ids: list[list[int]], *_: Any, **__: Any) -> tuple[Any, None]:
        first = trainer.accelerator.process_index * len(prompt_ids)
        texts = [
            " ".join(WORDS[j % 4] for j in range(i, i + 1 + (5 * i) % 7)) for i in range(first, first + len(prompt_ids))
        ]
        return [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts], None

    trainer._generate_single_turn = generate  # type: ignore[method-assign]


def gradients(trainer: GRPOTrainer) -> dict[str, torch.Tensor]:
    """The gradient of one whole step, device batch by device batch."""
    given(trainer)
    model: Any = trainer.model
    model.train()
    parts = trainer.args.gradient_accumulation_steps
    trainer.current_gradient_accumulation_steps = parts
    rows = [{"prompt": question} for question in QUESTIONS for _ in range(4)]
    for _ in range(parts):
        inputs = trainer._prepare_inputs(rows)  # type: ignore[arg-type]
        trainer.compute_loss(model, inputs).backward()
        trainer._step += 1
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("loss", "device_batch"), [*((loss, 4) for loss in LOSSES), ("dapo", 16)])
def test_gradients_are_those_of_the_stock_trainer(
    loss: str, device_batch: int, small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = small_recipe(loss_type=loss, device_batch=device_batch, temperature=0.8)
    expected = gradients(build(GRPOTrainer, recipe, tmp_path / "stock"))
    found = gradients(build(SharedPromptTrainer, recipe, tmp_path / "ours"))
    assert expected.keys() == found.keys() and any(value.abs().max() > 1e-3 for value in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)


def test_gradients_with_adapters_and_a_reference_model(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = small_recipe(lora={"r": 4}, beta=0.1, device_batch=8)
    expected = gradients(build(GRPOTrainer, recipe, tmp_path / "stock"))
    ours = build(SharedPromptTrainer, recipe, tmp_path / "ours")
    found = gradients(ours)
    assert ours._shares and expected.keys() == found.keys()  # type: ignore[attr-defined]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)


def tokens_read(trainer: GRPOTrainer) -> list[int]:
    """Tokens of each pass through the model, padding included."""
    sizes: list[int] = []
    embeddings: Any = trainer.accelerator.unwrap_model(trainer.model).get_input_embeddings()
    embeddings.register_forward_pre_hook(lambda _, args: sizes.append(args[0].numel()))
    return sizes


def test_less_is_read(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = small_recipe(device_batch=8)
    read = {}
    for kind in (GRPOTrainer, SharedPromptTrainer):
        trainer = build(kind, recipe, tmp_path / kind.__name__)
        sizes = tokens_read(trainer)
        gradients(trainer)
        read[kind] = sum(sizes)
    assert read[SharedPromptTrainer] < 0.8 * read[GRPOTrainer]


def test_completions_are_sampled_with_the_prompt_read_once(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = small_recipe()
    trainer = build(SharedPromptTrainer, recipe, tmp_path)
    prompts = [[3, 4, 5], [6, 7]] * 8
    sizes = tokens_read(trainer)
    model: Any = trainer.model
    model.train()
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        completions, log_probs = trainer._generate_single_turn(prompts, None, {}, 4)
        assert log_probs is None and model.training
        found.append(completions)
    assert sizes[0] == 2 * 3 and set(sizes[1:4]) == {16}
    assert found[0] == found[1] != found[2]
    for row in found[0]:
        assert 1 <= len(row) <= recipe.max_completion_length
        assert trainer.processing_class.eos_token_id not in row[:-1]  # type: ignore[union-attr]
        assert row[-1] == trainer.processing_class.eos_token_id or len(row) == recipe.max_completion_length  # type: ignore[union-attr]


@pytest.mark.parametrize("change", ["activation_checkpointing", "top_k"])
def test_the_stock_code_does_what_cannot_be_shared(
    change: str, small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    trainer = build(SharedPromptTrainer, small_recipe(), tmp_path)
    sizes = tokens_read(trainer)
    if change == "top_k":
        trainer.generation_config.top_k = 3
        completions, _ = trainer._generate_single_turn([[3, 4, 5]] * 4, None, {}, 4)
        assert len(completions) == 4 and sizes[0] == 4 * 3
    else:
        setattr(trainer.args, checkpointing_field(trainer.args), True)
        gradients(trainer)
        assert len(sizes) == 1  # one pass over whole sequences


def test_the_stock_code_samples_as_many_at_once_as_memory_allows(
    small_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build(SharedPromptTrainer, small_recipe(), tmp_path)
    trainer.generation_config.top_k = 1  # the likeliest token, so that the number at once does not matter
    all_at_once, _ = trainer._generate_single_turn([[3, 4, 5], [6, 7]] * 4, None, {}, 4)
    sizes = tokens_read(trainer)
    monkeypatch.setattr("polymode.training.shared_prompt.rows_that_fit", lambda *_: 3)
    assert trainer._generate_single_turn([[3, 4, 5], [6, 7]] * 4, None, {}, 4) == (all_at_once, None)
    assert sizes[0] == 3 * 3 and sizes[-1] <= 2 * 3
    model: Any = trainer.accelerator.unwrap_model(trainer.model)

    def generate(**_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "generate", generate)
    with pytest.raises(ConfigError, match="no room for one completion"):
        trainer._generate_single_turn([[3, 4, 5]] * 4, None, {}, 4)


def test_credit_by_term_shares_too() -> None:
    assert issubclass(TermCreditTrainer, SharedPromptTrainer)


SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from test_shared_prompt import SharedPromptTrainer, build, given
from polymode.training.recipe import Recipe
values, folder = json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
values["data"] = Path(values["data"])
trainer = build(SharedPromptTrainer, Recipe(**values), folder / "run")
assert trainer._shares
given(trainer)
trainer.args.optim = "sgd"
trainer.train()
if trainer.is_world_process_zero():
    torch.save(trainer.accelerator.unwrap_model(trainer.model).state_dict(), folder / "weights.pt")
"""


@pytest.mark.slow
def test_two_processes_take_the_step_of_one(
    small_recipe: Callable[..., Recipe], drinks_file: Path, tmp_path: Path, launch: Callable[..., None]
) -> None:
    """Groups of 4 over two processes of 8 completions, in two device batches each; plain gradient descent."""
    (tmp_path / "script.py").write_text(SCRIPT)
    weights = []
    for processes in (1, 2):
        recipe = small_recipe(max_steps=1, device_batch=4, learning_rate=1.0, max_grad_norm=1e9)
        values = {
            name: getattr(recipe, name)
            for name in (
                *("task", "task_options", "model", "max_steps", "questions_per_step", "num_generations"),
                *("learning_rate", "max_completion_length", "device_batch", "max_grad_norm", "seed"),
            )
        }
        folder = tmp_path / str(processes)
        folder.mkdir()
        (folder / "values.json").write_text(json.dumps({**values, "data": str(drinks_file)}))
        launch(processes, tmp_path / "script.py", Path(__file__).parent, folder / "values.json", folder)
        weights.append(torch.load(folder / "weights.pt"))
    start = AutoModelForCausalLM.from_pretrained(str(small_recipe().model)).state_dict()
    assert any((weights[0][name] - start[name]).abs().max() > 1e-3 for name in start)
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5)
