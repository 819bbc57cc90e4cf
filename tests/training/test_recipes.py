"""The recipes that come with the package: each is valid and says how it is run; those of full-size models start."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from polymode import runs
from polymode.cli import main
from polymode.generate.transformers import TransformersGenerator
from polymode.generate.vllm import VLLMGenerator
from polymode.prompts import build_prompt
from polymode.sandbox import reason_unavailable
from polymode.tasks import mbpp
from polymode.training.recipe import Recipe
from polymode.training.recipe_file import load_recipe
from polymode.training.rl import train
from polymode.training.rows import TrainingRows, longest_prompt
from polymode.training.trainers import trl_config

from .. import vllm_loader
from ..chat_models import chat_checkpoint

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
FULL_SIZE = [name for name in NAMES if name.startswith("qwen")]
Trained = Callable[[str, pytest.FixtureRequest], Path]


def recipe(name: str, **overrides: object) -> Recipe:
    return load_recipe(RECIPES / f"{name}.yaml", overrides)


def test_there_are_recipes() -> None:
    assert {
        "clinic",
        "clinic-diagnosis",
        "ddxplus-small",
        "qwen3-8b-ddxplus-multi-rlcr",
        "qwen3-8b-ddxplus-multi-rlcr-lora",
        "qwen3-8b-hotpotqa-multi-rlcr",
        "qwen3-8b-hotpotqa-multi-rlcr-lora",
        "qwen3-8b-mbpp-multi-rlcr",
        "qwen3-8b-mbpp-multi-rlcr-lora",
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_recipe_is_valid_and_says_how_it_is_run(name: str, tmp_path: Path) -> None:
    trl_config(recipe(name, dtype="float32", use_vllm=False), tmp_path)  # TRL takes the options as well
    header = [line for line in (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines() if line[:1] == "#"]
    text = "\n".join(header)
    assert f"polymode train recipes/{name}.yaml" in text and "--out" in text
    for word in ("Hardware:", "Minutes", "xpected"):
        assert word in text, f"the header of {name}.yaml does not say {word}"
    assert all(len(line) <= 130 for line in header)


@pytest.mark.parametrize(
    ("name", "steps", "length"),
    [
        ("qwen3-8b-ddxplus-multi-rlcr", 520, 1536),
        ("qwen3-8b-hotpotqa-multi-rlcr", 520, 1536),
        ("qwen3-8b-mbpp-multi-rlcr", 156, 2048),  # ours; the rest is the paper's
    ],
)
def test_the_full_recipes_have_the_papers_hyperparameters(name: str, steps: int, length: int, tmp_path: Path) -> None:
    found = recipe(name)
    assert found.completions_per_step == 768 and (found.k, found.method) == (3, "multi-rlcr")
    config = trl_config(recipe(name, dtype="float32", use_vllm=False), tmp_path)
    assert (config.per_device_train_batch_size, config.gradient_accumulation_steps) == (6, 4 * 32)  # one process, not 4
    assert (config.num_generations, config.max_completion_length, config.max_steps) == (32, length, steps)
    assert (config.learning_rate, config.lr_scheduler_type) == (1e-6, "linear")
    assert config.get_warmup_steps(steps) == -(-steps // 20)
    assert (config.temperature, config.top_p, config.beta, config.epsilon) == (0.7, 1, 0, 0.2)
    assert (config.loss_type, config.scale_rewards, config.num_iterations, config.seed) == ("dapo", "none", 1, 43)


@pytest.mark.parametrize("name", ["qwen3-8b-mbpp-multi-rlcr", "qwen3-8b-mbpp-multi-rlcr-lora"])
def test_mbpps_questions_are_seen_ten_times(name: str) -> None:
    low, high = mbpp.RANGES["train"]
    found = recipe(name)
    assert found.max_steps * found.questions_per_step / (high - low + 1) == pytest.approx(10, abs=0.05)


@pytest.fixture(scope="module")
def thinking_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a thinking template and a tokenizer that takes about a token for a letter."""
    return chat_checkpoint(tmp_path_factory.mktemp("thinking"), positions=32_768)


@pytest.fixture(scope="module")
def trained(thinking_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Each recipe's run of one step on the tiny checkpoint, made once."""
    made: dict[str, Path] = {}

    def run_of(name: str, request: pytest.FixtureRequest) -> Path:
        if name not in made:
            one = small(name, thinking_model, request)  # skips where its data are missing, each time it is asked for
            folder = tmp_path_factory.mktemp(name)
            train(one, folder)
            made[name] = folder
        return made[name]

    return run_of


def small(name: str, model: Path, request: pytest.FixtureRequest) -> Recipe:
    """A recipe of a full-size model with one step of four short completions of a tiny one."""
    data: dict[str, object] = {}
    if set_ := next((one for one in ("ddxplus", "hotpotqa", "mbpp") if one in name), None):
        if set_ == "mbpp" and (reason := reason_unavailable()) is not None:
            pytest.skip(f"no sandbox here: {reason}")
        data = {"data": str(request.getfixturevalue("shared_data") / set_)}
        data |= {"task_options": {"limit": 200}} if set_ == "ddxplus" else {}
    tiny = {"model": str(model), "max_steps": 1, "questions_per_step": 2, "num_generations": 2}
    tiny |= {"device_batch": 2, "validation_questions": 1, "max_completion_length": 120}
    return recipe(name, **tiny, **data, dtype="float32", use_vllm=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_recipes_start_on_a_tiny_checkpoint(
    name: str, trained: Trained, thinking_model: Path, request: pytest.FixtureRequest
) -> None:
    run, used = trained(name, request), small(name, thinking_model, request)
    target = run / "model"
    assert (target / "adapter_config.json").exists() == ("lora" in name)
    *before, line = runs.read_jsonl(run / runs.TRAIN_METRICS)
    assert len(before) == ("validation/questions" in line) == bool(used.validation_steps)
    assert line["completions"] == 4
    table = pq.read_table(run / "checkpoints" / "completions" / "completions_00001.parquet").to_pydict()
    [message] = table["prompt"][0]
    assert "Give exactly 3 " in message["content"] and "<confidence3>" in message["content"]
    generator = TransformersGenerator(target, show_progress=False)  # with the recipe's arguments of the template
    [[made]] = generator.generate([message["content"]], n=1, max_tokens=4, temperature=1.0, seed=0)
    assert made.n_prompt_tokens == len(generator.encode(message["content"])) and made.n_tokens
    is_off = used.chat_template.get("enable_thinking") is False
    assert generator.tokenizer.decode(generator.encode("Q")).endswith("</think>\n\n") == is_off


@pytest.mark.slow
# PEFT calls transformers 5 by these old names.
@pytest.mark.filterwarnings(r"ignore:`\w*gradient_checkpointing\w*` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", FULL_SIZE)
def test_vllm_reads_what_full_size_recipes_train(
    name: str, trained: Trained, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(name, request) / "model"
    vllm_loader.install(monkeypatch)
    asked = {"n": 1, "max_tokens": 6, "temperature": 0.0, "seed": 0}
    prompts = ["Name a colour.", "Name a metal."]
    ours = TransformersGenerator(target, show_progress=False).generate(prompts, **asked)
    theirs = VLLMGenerator(target).generate(prompts, **asked)
    assert [(g.text, g.n_prompt_tokens) for [g] in theirs] == [(g.text, g.n_prompt_tokens) for [g] in ours]


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_what_full_size_recipes_train_is_served(
    name: str, trained: Trained, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    testclient = pytest.importorskip("fastapi.testclient", reason="the extra serve is not installed")
    target = trained(name, request) / "model"
    (tmp_path / "policy.json").write_text('{"answer_at": 0.8, "k": 3}', encoding="utf-8")
    apps: list[Any] = []
    monkeypatch.setattr("polymode.web.server.serve", lambda app, **_: apps.append(app))
    policy = str(tmp_path / "policy.json")
    assert main(["serve", "--model", str(target), "--policy", policy, "--style", "full", "--max-tokens", "40"]) == 0
    with testclient.TestClient(apps[0], base_url="http://localhost") as client:
        body = client.post("/v1/answer-sets", json={"question": "Name a colour."}).json()
    assert body["decision"] == "escalate" and body["completion_status"] != "clean"
    prompt = build_prompt("Name a colour.", 3, confidence=True, style="full")
    tokens = TransformersGenerator(target, show_progress=False).encode(prompt)
    assert body["usage"]["prompt_tokens"] == len(tokens)  # with the recipe's arguments of the template


def test_room_for_the_longest_prompt(chat_model: Path) -> None:
    from transformers import AutoTokenizer

    from polymode.tasks import open_task

    tokenizer = AutoTokenizer.from_pretrained(chat_model)
    small = recipe("qwen3-0.6b-clinic", max_steps=1)
    rows = TrainingRows(small, open_task("clinic-diagnosis"), conversational=True)
    longest = max(
        rows, key=lambda row: len(tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"])
    )
    shown = tokenizer.apply_chat_template(longest["prompt"], tokenize=False, add_generation_prompt=True)
    assert longest_prompt(rows, tokenizer, small) == len(tokenizer.encode(shown))
