"""Credit for tokens in the trainer: each token's advantage by hand, and the same from one process and from two."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoTokenizer

from polymode.credit import Order, SlotScores, coca_advantages, term_advantages
from polymode.errors import ConfigError
from polymode.parsing import parse_answers
from polymode.tasks.records import Records
from polymode.training.lab_model import LabModelSize
from polymode.training.recipe import Recipe
from polymode.training.rl import train
from polymode.training.trainers import build_trainer
from polymode.training.warm_start import WarmStart, warm_start

# TRL 1.16 calls transformers 5 by old names; `train` leaves these warnings out, here the trainer is built by hand.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

TEXTS = (
    "<think> tea </think><answer1>tea</answer1><confidence1>0.8</confidence1><answer2>milk</answer2>"
    "<confidence2>0.5</confidence2>",
    "<think> tea </think><answer1>water</answer1><confidence1>0.2</confidence1><answer2>tea</answer2>"
    "<confidence2>0.5</confidence2>",
    "<think> tea </think><answer1>tea</answer1><confidence1>0.5</confidence1><answer2>tea</answer2>"
    "<confidence2>0.2</confidence2>",
    "<think> tea tea tea",
)
"""Four completions of a question; the last one is malformed."""


def advantages(
    recipe: Recipe, folder: Path, texts: list[str], asked: list[str], template: str | None = None
) -> dict[str, torch.Tensor]:
    """What the trainer makes of given completions, ``asked`` being the questions' references as JSON.

    With a chat template ``<think>`` is a special token, which the texts that TRL hands to the reward do not show.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(str(recipe.model), padding_side="left")
    if template is not None:
        tokenizer.chat_template = template
        tokenizer.add_special_tokens({"additional_special_tokens": ["<think>"]})
    task = Records(Path(str(recipe.data)), style="brief", validation=0.0, test=0.0)
    trainer = build_trainer(recipe, folder, task, str(recipe.model), tokenizer)
    ids = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in texts]

    prompt: Any = "likes tea milk" if template is None else [{"role": "user", "content": "likes tea milk"}]

    def generate(prompts: list[Any]) -> tuple[Any, ...]:
        asked_ids = tokenizer(["likes tea milk"] * len(prompts), add_special_tokens=False)["input_ids"]
        decoded = tokenizer.batch_decode(ids, skip_special_tokens=True)
        if template is not None:
            decoded = [[{"role": "assistant", "content": one}] for one in decoded]
        return asked_ids, ids, None, decoded, None, {}, None, []

    trainer._generate = generate  # type: ignore[method-assign]
    rows = [{"prompt": prompt, "question": "likes tea milk", "references": a, "k": recipe.k} for a in asked]
    return trainer._generate_and_score_completions(rows)


@pytest.fixture
def pair_recipe(small_recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
    def build(**options: Any) -> Recipe:
        return small_recipe(**{"credit": "term", "k": 2, "questions_per_step": 2, "num_generations": 4, **options})

    return build


def test_every_token_has_the_advantage_of_its_part(pair_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """References tea and milk. y = 11, 01, 10 (the second tea is a repeat), malformed; the second question has twins.

    s = -(q - y)^2 / 2: (-.02, -.125), (-.02, -.125), (-.125, -.02). R = 1 + sum y + sum s = 2.855, 1.855, 1.855, 0,
    mean 1.64125. The malformed one has -1.64125 everywhere.
    """
    recipe = pair_recipe()
    references = json.dumps(["tea", "milk"])
    found = advantages(recipe, tmp_path, [*TEXTS, *TEXTS], [references] * 8)
    tokenizer = AutoTokenizer.from_pretrained(str(recipe.model))
    blank = [np.nan, np.nan]
    y, q = np.array([[1, 1], [0, 1], [1, 0], blank] * 2), np.array([[0.8, 0.5], [0.2, 0.5], [0.5, 0.2], blank] * 2)
    s, hit, miss = (-((q - label) ** 2) / 2 for label in (y, 1, 0))
    total = np.array([2.855, 1.855, 1.855, 0.0] * 2)
    parts = term_advantages(SlotScores(total, y, s, y, hit, miss, q, np.zeros(8)), 4)
    np.testing.assert_allclose(parts[:4, 0], [1.21375, 0.21375, 0.21375, -1.64125])
    for row in (0, 1, 2, 4, 5, 6):
        whole, a1, a2, q1, q2 = parts[row]
        expected = [whole] * 5 + [a1] * 3 + [q1] * 3 + [a2] * 3 + [q2] * 3 + [whole]
        tokens = found["completion_ids"][row].tolist()
        n = int(found["completion_mask"][row].sum())
        assert n == 5 + 12 + 1, tokenizer.convert_ids_to_tokens(tokens)
        np.testing.assert_allclose(found["advantages"][row, :n].numpy(), expected, atol=1e-6)
        assert not found["advantages"][row, n:].any()
    n = int(found["completion_mask"][3].sum())
    np.testing.assert_allclose(found["advantages"][3, :n].numpy(), -1.64125, atol=1e-6)


FIRST = tuple(re.sub(r"(<answer.>.*?</answer.>)(<confidence.>.*?</confidence.>)", r"\2\1", text) for text in TEXTS)
"""The same with each confidence before its answer."""


def test_confidences_before_answers_have_the_advantages_of_coca(
    pair_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """References tea and milk, y = 11, 01, 10, malformed; q as above, at the tokens in front of the answers."""
    recipe = pair_recipe(credit="coca", format="confidence-first", questions_per_step=1)
    found = advantages(recipe, tmp_path, list(FIRST), [json.dumps(["tea", "milk"])] * 4)
    blank = [np.nan, np.nan]
    y, q = np.array([[1, 1], [0, 1], [1, 0], blank]), np.array([[0.8, 0.5], [0.2, 0.5], [0.5, 0.2], blank])
    s, hit, miss = (-((q - label) ** 2) / 2 for label in (y, 1, 0))
    total = np.array([2.855, 1.855, 1.855, 0.0])
    order_N = np.array([*[Order.CONFIDENCE_FIRST] * 3, Order.INTERLEAVED], float)
    parts = coca_advantages(SlotScores(total, y, s, y, hit, miss, q, order_N), 4)
    # Rates 2/3 and 2/3. Slot 1: errors 2/15, 7/15, 1/6, so that the second is worst; slot 2: 1/6, 1/6, 7/15.
    assert parts[1, 3] < 0 < parts[2, 3] < parts[0, 3] and parts[2, 4] < 0 < parts[0, 4]
    for row in (0, 1, 2):
        whole, a1, a2, q1, q2 = parts[row]
        expected = [whole] * 5 + [q1] * 3 + [a1] * 3 + [q2] * 3 + [a2] * 3 + [whole]
        np.testing.assert_allclose(found["advantages"][row, : len(expected)].numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(found["advantages"][3, :5].numpy(), parts[3, 0], atol=1e-6)


def test_term_credit_gives_a_confidence_before_its_answer_the_whole_score(
    pair_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """A model that was asked for tags wrote so by itself: R - mean = 1.21375, .21375, .21375, -1.64125 everywhere."""
    recipe = pair_recipe(questions_per_step=1)
    found = advantages(recipe, tmp_path, [FIRST[0], *TEXTS[1:]], [json.dumps(["tea", "milk"])] * 4)
    n = int(found["completion_mask"][0].sum())
    np.testing.assert_allclose(found["advantages"][0, :n].numpy(), 1.21375, atol=1e-6)
    assert len(set(found["advantages"][1].tolist())) > 1  # the others have their parts


OPENS = "{% for m in messages %}<user>{{ m['content'] }}</user>{% endfor %}<bot><think>"
OPENS_NOT = OPENS.removesuffix("<think>")


def test_reasoning_that_the_template_opened_is_seen_and_moves_no_credit(
    pair_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """The same completions with the tag as their own first token and as the prompt's last: each has the same credit.

    The last text is clean slots inside reasoning that was never closed: where the prompt opened it they are drafts,
    worth nothing, as where the model wrote the tag.
    """
    recipe = pair_recipe(questions_per_step=1)
    asked = [json.dumps(["tea", "milk"])] * 4
    texts = [*TEXTS[:3], "<think>" + TEXTS[0].partition("</think>")[2]]
    own = advantages(recipe, tmp_path / "own", texts, asked, OPENS_NOT)
    opened = advantages(recipe, tmp_path / "opened", [one.removeprefix("<think>") for one in texts], asked, OPENS)
    for row in range(4):
        n = int(own["completion_mask"][row].sum())
        assert int(opened["completion_mask"][row].sum()) == n - 1
        torch.testing.assert_close(opened["advantages"][row, : n - 1], own["advantages"][row, 1:n])
    # As in the test above: R = 2.855, 1.855, 1.855, 0.
    np.testing.assert_allclose(opened["advantages"][3, :5].numpy(), -1.64125, atol=1e-6)


def test_a_run_from_a_warm_start_in_its_own_order(
    drinks_task: Any, small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """A model that learnt the notation answers in it, and CoCA's credit trains it a few steps."""
    size = LabModelSize(hidden=32, layers=2, heads=2, intermediate=64, positions=128)
    settings = WarmStart(steps=400, batch=32, learning_rate=1e-2, size=size, notation="confidence-first")
    model = warm_start(drinks_task, settings)
    recipe = small_recipe(credit="coca", format="confidence-first", model=str(model), max_steps=2)
    train(recipe, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and all(line["share_clean"] > 0.3 and 0 < line["grad_norm"] < np.inf for line in lines)
    tables = sorted((tmp_path / "run").rglob("completions_*.parquet"))
    texts = [text for table in tables for text in pq.read_table(table)["completion"].to_pylist()]
    clean = [text for text in texts if parse_answers(text, 3, confidence=True).is_clean]
    assert clean and all(text.index("<confidence1>") < text.index("<answer1>") for text in clean)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "multi-rlvr"},
        {"credit": "dcpo"},
        {"credit": "coca", "format": "confidence-first"},
        {"method": "single-rlcr"},
        {"scale_rewards": "batch", "device_batch": 8},
    ],
)
def test_a_run_with_term_credit_learns_and_resumes(
    options: dict[str, Any], small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = small_recipe(**{"credit": "term", "max_steps": 2, "save_steps": 1, **options})
    target = train(recipe, tmp_path / "run")
    assert (target / "model.safetensors").exists()
    assert train(recipe, tmp_path / "run", resume=True) == target
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(np.isfinite(line["grad_norm"]) for line in lines)


def test_a_chat_model_with_adapters(chat_model: Path, small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """Its completions are all malformed: no NaN comes out of that."""
    recipe = small_recipe(
        credit="term", model=str(chat_model), prompt_style="full", max_steps=1, device_batch=8, lora={"r": 4}
    )
    assert (train(recipe, tmp_path / "run") / "adapter_config.json").exists()
    [line] = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert line["share_clean"] == 0 and line["loss"] == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"credit": "token"}, "credit = 'token' is not known: use one of sequence, term, expected, dcpo or coca"),
        ({"scale_rewards": "group"}, "scale_rewards = 'group' with method = 'multi-rlcr'"),
        ({"preset": "released"}, "credit = 'term' with preset = 'released'"),
    ],
)
def test_what_cannot_be_credited_by_term_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Recipe(**{"credit": "term", **options})


SCRIPT = """
import json, sys
import torch
from accelerate import PartialState
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_credit_trainer import advantages
from polymode.training.recipe import Recipe
values, texts, asked = json.loads(Path(sys.argv[2]).read_text())
values["data"] = Path(values["data"])
state = PartialState(cpu=True)
share = len(texts) // state.num_processes
own = slice(state.process_index * share, (state.process_index + 1) * share)
found = advantages(Recipe(**values), Path(sys.argv[3]), texts[own], asked[own])
torch.save(found["advantages"], f"{sys.argv[3]}/advantages-{state.process_index}.pt")
"""


@pytest.mark.slow
def test_two_processes_give_the_same_advantages_as_one(
    pair_recipe: Callable[..., Recipe], drinks_file: Path, tmp_path: Path, launch: Callable[..., None]
) -> None:
    """A group lies in two processes: 4 completions each of 8, a group of 8."""
    recipe = pair_recipe(num_generations=8, questions_per_step=1)
    texts, asked = [*TEXTS, *reversed(TEXTS)], [json.dumps(["tea", "milk"])] * 8
    alone = advantages(recipe, tmp_path / "alone", texts, asked)["advantages"]
    values = {
        "task": "records",
        "data": str(drinks_file),
        "task_options": {"style": "brief", "validation": 0.0, "test": 0.0},
        "model": recipe.model,
        "credit": "term",
        "k": 2,
        "questions_per_step": 1,
        "num_generations": 8,
        "max_completion_length": 40,
    }
    (tmp_path / "values.json").write_text(json.dumps([values, texts, asked]))
    (tmp_path / "script.py").write_text(SCRIPT)
    launch(2, tmp_path / "script.py", Path(__file__).parent, tmp_path / "values.json", tmp_path)
    parts = [torch.load(tmp_path / f"advantages-{i}.pt") for i in (0, 1)]
    width = max(part.shape[1] for part in (*parts, alone))
    together = torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts])
    torch.testing.assert_close(together, torch.nn.functional.pad(alone, (0, width - alone.shape[1])))
