"""Training a chat model: prompts as they are asked later, stop strings, end tokens, and validation meanwhile."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer, GenerationConfig

from polymode import reward_of, runs
from polymode.chat import Chat
from polymode.errors import ConfigError, DataNotFoundError, MissingExtraError
from polymode.generate.transformers import TransformersGenerator
from polymode.prompts import build_prompt, prompt_for
from polymode.training.recipe import Recipe, recipe_from
from polymode.training.recipe_parts import task_for
from polymode.training.rl import train

from ..chat_models import byte_level_tokenizer, chat_checkpoint

SHOT = {"question": "likes tea", "completion": "<answer1>tea</answer1><answer2>milk</answer2>"}

STOPS = "zqjbZQJKB"
"""Letters that the tokenizer has no longer tokens with."""


@pytest.fixture(scope="module")
def thinking_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generation = GenerationConfig(repetition_penalty=3.0, top_k=2, do_sample=True, eos_token_id=0, pad_token_id=0)
    return chat_checkpoint(tmp_path_factory.mktemp("thinking"), generation=generation)


@pytest.fixture
def chat_recipe(thinking_model: Path, drinks_file: Path) -> Callable[..., Recipe]:
    def build(**overrides: Any) -> Recipe:
        values = {
            "task": "records",
            "data": str(drinks_file),
            "task_options": {"test": 0.0, "validation": 0.3},
            "model": str(thinking_model),
            "method": "multi-rlvr",
            "k": 2,
            "max_steps": 1,
            "questions_per_step": 2,
            "num_generations": 2,
            "max_completion_length": 60,
        }
        return recipe_from({**values, **overrides})

    return build


def metrics(run: Path) -> list[dict[str, Any]]:
    return list(runs.read_jsonl(run / runs.TRAIN_METRICS))


@pytest.mark.slow
def test_a_model_is_trained_on_what_it_is_asked_with_later(chat_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    options = {
        "chat_template": {"enable_thinking": False},
        "system": "Be brief.",
        "shots": [SHOT],
        "stop": [*STOPS],
    }
    model = train(chat_recipe(**options), tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "checkpoints" / "completions" / "completions_00001.parquet").to_pydict()
    system, question, reply, _ = table["prompt"][0]
    assert system == {"role": "system", "content": "Be brief."}
    assert question["content"] == build_prompt("likes tea", 2, confidence=False)
    assert reply == {"role": "assistant", "content": SHOT["completion"]}

    generator = TransformersGenerator(model, show_progress=False)  # it remembers
    tokenizer = AutoTokenizer.from_pretrained(model)
    template: Any = tokenizer.apply_chat_template
    for prompt in table["prompt"]:
        shown = template(prompt, add_generation_prompt=True, return_dict=False, enable_thinking=False)
        assert generator.encode(prompt[-1]["content"]) == shown
    assert generator.chat.stop == tuple(STOPS)
    # A stop string is trained on as the model wrote it, and nothing comes behind it.
    contents = [text[0]["content"] for text in table["completion"]]
    assert any(content.endswith(tuple(STOPS)) for content in contents)
    assert not any(set(STOPS) & set(content[:-1]) for content in contents)
    stored = json.loads((model / "generation_config.json").read_text(encoding="utf-8"))
    ends = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    assert stored["eos_token_id"] == sorted(ends) and not {"repetition_penalty", "top_k"} & stored.keys()


@pytest.mark.slow
def test_validation_says_what_the_model_does_and_changes_nothing(
    small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    options = {"task_options": {"style": "brief", "validation": 0.3, "test": 0.0}}
    checked = small_recipe(**options, validation_steps=2, validation_questions=6)
    model = train(checked, tmp_path / "checked")
    train(small_recipe(**options), tmp_path / "plain")
    lines = {line["step"]: line for line in metrics(tmp_path / "checked")}
    assert list(lines) == [0, 1, 2, 3, 4]
    assert [step for step in lines if "validation/greedy/coverage" in lines[step]] == [0, 2, 4]
    for line in metrics(tmp_path / "plain"):  # the training is the one without
        assert lines[line["step"]]["reward"] == pytest.approx(line["reward"])
    assert lines[0]["validation/questions"] == 6 and lines[0]["validation/seconds"] > 0

    # The last greedy figures, from the saved model by way of the generator and `polymode.reward_of`.
    task = task_for(checked)
    examples = task.examples("validation", 6, seed=checked.seed)
    prompts = [prompt_for(one, 3, confidence=True, style="brief") for one in examples]
    generator = TransformersGenerator(model, show_progress=False)
    made = generator.generate(prompts, n=1, max_tokens=40, temperature=0.0, seed=0)
    scores = [
        reward_of(one.text, [ref.text for ref in example.references], k=3)
        for example, [one] in zip(examples, made, strict=True)
    ]
    assert lines[4]["validation/greedy/reward"] == pytest.approx(sum(one.total or 0 for one in scores) / 6, abs=1e-6)
    coverage = sum(one.judgement.coverage for one in scores) / 6
    assert lines[4]["validation/greedy/coverage"] == pytest.approx(coverage)
    clean = sum(one.answer_set.is_clean for one in scores) / 6
    assert lines[4]["validation/greedy/share_clean"] == pytest.approx(clean)
    tokens = sum(one.n_tokens or 0 for [one] in made)
    assert lines[4]["validation/greedy/tokens"] == pytest.approx(tokens / 6)
    assert lines[4]["validation/tokens"] == pytest.approx(tokens + 6 * lines[4]["validation/sampled/tokens"])

    # A run that was stopped after step 2 measures the same again.
    shutil.rmtree(tmp_path / "checked" / "model")
    shutil.rmtree(tmp_path / "checked" / "checkpoints" / "checkpoint-4", ignore_errors=True)
    again = tmp_path / "again"
    train(small_recipe(**options, validation_steps=2, validation_questions=6, save_total_limit=2), again)
    shutil.rmtree(again / "model")
    shutil.rmtree(again / "checkpoints" / "checkpoint-4")
    train(small_recipe(**options, validation_steps=2, validation_questions=6, save_total_limit=2), again, resume=True)
    resumed = metrics(again)
    assert [line["step"] for line in resumed] == [0, 1, 2, 3, 4]
    name = "validation/sampled/reward"
    assert [line[name] for line in resumed if name in line] == pytest.approx([lines[step][name] for step in (0, 2, 4)])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"max_completion_length": 5000},
            ConfigError,
            r"max_completion_length = 5000 after a prompt of \d+ tokens, and",
        ),
        ({"chat_template": {"thinking": False}}, ConfigError, "does not read 'thinking': check the spelling"),
        ({"shots": "nowhere.jsonl"}, ConfigError, "shots = 'nowhere.jsonl' is no file"),
        ({"shots": [{"question": "Q"}]}, ConfigError, "shots, number 1: completion = None is not allowed"),
        ({"stop": [""]}, ConfigError, "stop = '' is not allowed"),
        ({"stop": ["</answer2>"]}, ConfigError, "stop = '</answer2>' stands in the answer format"),
        ({"stop": ["|"], "format": "lines", "method": "multi-rlcr"}, ConfigError, "stop = '|' stands in the answer"),
        ({"stop": ["<answer>"], "k_choices": [1, 2]}, ConfigError, "stop = '<answer>' stands in the answer format"),
        ({"chat_template": {"tokenize": True}}, ConfigError, "chat_template: 'tokenize' cannot be changed"),
        (
            {"validation_steps": 1, "task_options": {"test": 0.0, "validation": 0.0}},
            DataNotFoundError,
            "the validation split is empty",
        ),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_trained(
    chat_recipe: Callable[..., Recipe], tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(chat_recipe(**options), tmp_path / "run")
    assert not (tmp_path / "run" / runs.TRAIN_METRICS).exists()


def test_a_tokenizer_without_an_end_token_is_told(chat_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    model = chat_checkpoint(tmp_path / "endless", byte_level_tokenizer(eos_token=None, pad_token=None))
    with pytest.raises(ConfigError, match="its tokenizer has no end token, so no completion could end: set eos_token"):
        train(chat_recipe(model=str(model)), tmp_path / "run")


def test_shots_of_a_file_stand_in_the_configuration(chat_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    path = tmp_path / "shots.jsonl"
    path.write_text(json.dumps(SHOT) + "\n", encoding="utf-8")
    assert runs.to_json(chat_recipe(shots=str(path)))["shots"] == [SHOT]
    assert chat_recipe(shots=str(path)) == chat_recipe(shots=[SHOT])


def test_the_lab_is_asked_as_always(small_recipe: Callable[..., Recipe], drinks_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(drinks_model)
    assert Chat().encode(tokenizer, "likes tea\n") == tokenizer("likes tea\n")["input_ids"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"use_vllm": True}, MissingExtraError, r"use_vllm: true needs the package 'vllm', .*polymode\[vllm\]"),
        ({"model_init": {"attn_implementation": "flash_attention_2"}}, ConfigError, "not installed .*: install it, or"),
        ({"trl": {"optim": "adamw_bnb_8bit"}}, ConfigError, "not installed .*: install it, or change them"),
    ],
)
def test_a_package_that_an_option_needs_is_named(
    chat_recipe: Callable[..., Recipe], tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    for package in ("vllm", "flash_attn", "bitsandbytes"):
        if find_spec(package) is not None:
            pytest.skip(f"{package} is installed here")
    with pytest.raises(error, match=message) as caught:
        train(chat_recipe(**options), tmp_path / "run")
    assert "\n" not in str(caught.value)
