"""Recipes: what is read, and every refusal with the field, the value and the way out."""

import json
from pathlib import Path
from typing import Any

import pytest

from polymode.errors import ConfigError, DataNotFoundError, RecordError
from polymode.training.recipe import Recipe, recipe_from
from polymode.training.recipe_file import load_recipe
from polymode.training.recipe_parts import task_for, verifier_for
from polymode.verifiers.judge import JudgeVerifier
from polymode.verifiers.text import TextVerifier


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_defaults_are_the_labs() -> None:
    recipe = Recipe()
    assert (recipe.task, recipe.method, recipe.k, recipe.model) == ("clinic", "multi-rlcr", 3, None)
    assert recipe.completions_per_step == recipe.questions_per_step * recipe.num_generations
    assert recipe.scale_rewards == "none"


def test_a_recipe_is_read_with_its_types(tmp_path: Path) -> None:
    text = """
    method: multi-rlvr
    learning_rate: 1e-6         # YAML 1.1 reads this as text
    temperature: 1
    max_steps: 10.0
    model:
    data: some/folder
    task_options: {threshold: 0.05}
    report_to: [tensorboard, wandb]
    dtype: bfloat16
    device_batch: 6
    questions_per_step: 3
    num_generations: 4
    """
    recipe = load_recipe(written(tmp_path, text))
    assert recipe.learning_rate == 1e-6
    assert isinstance(recipe.temperature, float) and isinstance(recipe.max_steps, int)
    assert (recipe.max_steps, recipe.model, recipe.data) == (10, None, Path("some/folder"))
    assert recipe.task_options == {"threshold": 0.05}
    assert recipe.report_to == ("tensorboard", "wandb")
    assert (recipe.dtype, recipe.device_batch) == ("bfloat16", 6)


def test_overrides_come_last(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, "max_steps: 5\nk: 4"), {"max_steps": 7}) == Recipe(max_steps=7, k=4)


def test_answers_are_k_or_one() -> None:
    assert Recipe(method="multi-rlvr", k=4).answers == 4
    assert Recipe(method="single-rlcr", k=4).answers == 1
    assert Recipe(method="single-rlvr", k=1).answers == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rat": 1e-6}, "recipe: unknown option 'learning_rat'; did you mean learning_rate"),
        ({"max_steps": "many"}, "recipe: max_steps = 'many' must be a valid integer"),
        ({"max_steps": 1.5}, "max_steps = 1.5 must be a valid integer"),
        ({"max_steps": True}, "max_steps = True is a truth value, which is not allowed here"),
        ({"max_steps": float("inf")}, "max_steps = inf must be a finite number"),
        ({"max_steps": float("nan")}, "max_steps = nan must be a finite number"),
        ({"max_steps": None}, "max_steps = None must be a valid integer"),
        ({"learning_rate": "fast"}, "learning_rate = 'fast' must be a valid number"),
        ({"use_vllm": "yes please"}, "use_vllm = 'yes please' must be a valid boolean"),
        ({"use_vllm": 1}, "use_vllm = 1 must be a valid boolean"),
        ({"dtype": "float16"}, "dtype = 'float16' is not known: use one of"),
        ({"data": 3}, "data = 3 Input is not a valid path"),
        ({"model": 8}, "model = 8 must be a valid string"),
        ({"report_to": "wandb"}, "report_to = 'wandb' must be a valid tuple"),
        ({"report_to": [1]}, "report_to = 1 is not known: use one of trackio"),
        ({"task_options": ["threshold"]}, "task_options = .* must be a valid dictionary"),
        (
            {"method": "rlcr"},
            "method = 'rlcr' is not known: use one of single-rlvr, single-rlcr, multi-rlvr or multi-rlcr",
        ),
        ({"preset": "mine"}, "preset = 'mine' is not known: use one of paper or released"),
        ({"verifier": "exact"}, "verifier = 'exact' is not known: use one of text, symbolic, judge, programs"),
        ({"verifier": "judge"}, "verifier 'judge': base_url and model must be given as verifier options"),
        ({"verifier": "symbolic", "verifier_options": {"sec": 5}}, "unknown option 'sec'; known: seconds, workers"),
        ({"verifier_options": {"seconds": 5}}, "verifier_options are given without verifier: name one"),
        ({"prompt_style": "terse"}, "prompt_style = 'terse' is not known"),
        ({"vllm_mode": "remote"}, "vllm_mode = 'remote' is not known"),
        ({"loss_type": "ppo"}, "loss_type = 'ppo' is not known: use one of dapo, grpo"),
        ({"scale_rewards": "std"}, "scale_rewards = 'std' is not known: use one of none, batch or group"),
        (
            {"scale_rewards": "group"},
            "'group' with method = 'multi-rlcr': .* breaks calibration .*; use 'none' or 'batch'",
        ),
        ({"scale_rewards": "group", "method": "single-rlcr"}, "breaks calibration"),
        ({"reasoning_credit": 0.5}, "reasoning_credit = 0.5 is given without credit: add credit: term"),
        ({"credit": "term", "confidence_credit": -1.0}, "confidence_credit = -1.0 must be greater than 0"),
        (
            {"warm_start_demonstrations": "uninformative", "model": "some/model"},
            "warm_start_demonstrations = 'uninformative' with model = 'some/model': only the lab's own model",
        ),
        ({"credit": "term", "confidence_credit": 2, "method": "multi-rlvr"}, "its answers carry no confidences"),
        ({"k": 1}, "k = 1 with method = 'multi-rlcr': use the single method, or k from 2"),
        ({"k": 0}, "k = 0 is not allowed"),
        ({"k": 21}, "k = 21 is not allowed"),
        ({"max_steps": 0}, "max_steps = 0 must be greater than or equal to 1"),
        ({"questions_per_step": 0}, "questions_per_step = 0 must be greater than or equal to 1"),
        ({"num_generations": 1}, "num_generations = 1 must be greater than or equal to 2"),
        ({"save_total_limit": 0}, "save_total_limit = 0 must be greater than or equal to 1"),
        ({"learning_rate": 0}, "learning_rate = 0 must be greater than 0"),
        ({"temperature": float("nan")}, "temperature = nan must be a finite number"),
        ({"epsilon": -0.2}, "epsilon = -0.2 must be greater than 0"),
        ({"beta": -1}, "beta = -1 must be greater than or equal to 0"),
        ({"weight_decay": float("inf")}, "weight_decay = inf must be a finite number"),
        ({"warmup_steps": -1}, "warmup_steps = -1 must be greater than or equal to 0"),
        ({"seed": -1}, "seed = -1 must be greater than or equal to 0"),
        ({"seed": 2**32}, "seed = 4294967296 must be less than 4294967296"),
        ({"vllm_gpu_memory_utilization": 1.5}, "vllm_gpu_memory_utilization = 1.5 must be less than or equal to 1"),
        ({"device_batch": 7}, "device_batch = 7 must divide questions_per_step x num_generations = 256"),
        ({"device_batch": 0}, "device_batch = 0 must be greater than or equal to 1"),
        ({"report_to": ["mlflow"]}, "report_to = 'mlflow' is not known: use one of trackio, tensorboard or wandb"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        recipe_from({"questions_per_step": 16, "num_generations": 16, **options})
    assert "\n" not in str(caught.value)


def test_the_verifier_is_the_tasks_own_unless_the_recipe_names_one(tmp_path: Path) -> None:
    class Own:
        def verifier(self) -> str:
            return "its own"

    task: Any = Own()
    assert verifier_for(Recipe(), task) == "its own"
    options = {"base_url": "http://localhost/v1", "model": "m"}
    text = f"verifier: judge\nverifier_options: {options}\n"
    assert isinstance(verifier_for(load_recipe(written(tmp_path, text)), task), JudgeVerifier)
    assert verifier_for(Recipe(verifier="text"), task) == TextVerifier()


def test_records_do_not_refuse_references_that_the_recipes_verifier_can_tell_apart(tmp_path: Path) -> None:
    path = tmp_path / "roots.jsonl"
    rows = [{"question": f"x^2 = {n}?", "references": [f"\\sqrt{{{n}}}", f"-\\sqrt{{{n}}}"]} for n in range(2, 30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values = {"task": "records", "data": str(path)}
    with pytest.raises(RecordError, match="are the same answer"):
        task_for(recipe_from(values)).examples("train", 1)
    [example] = task_for(recipe_from({**values, "verifier": "symbolic"})).examples("train", 1)
    assert len(example.references) == 2
    assert task_for(recipe_from({**values, "task_options": {"verifier": "symbolic"}})).examples("train", 1)
    with pytest.raises(ConfigError, match="verifier = 'exact' is not known"):
        task_for(recipe_from({**values, "task_options": {"verifier": "exact"}}))


def test_group_scaling_is_for_rewards_without_confidences() -> None:
    assert Recipe(method="multi-rlvr", scale_rewards="group").scale_rewards == "group"
    assert Recipe(scale_rewards="group", allow_group_scale=True).method == "multi-rlcr"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- steps", "must be a mapping of option: value, got list"),
        ("", "must be a mapping of option: value, got NoneType"),
        ("max_steps: [1", "is not valid YAML"),
        ("max_steps: -2", r"recipe .*recipe.yaml: max_steps = -2 must be greater than or equal to 1"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "key"), [("task: clinic\nk: 2\ntask: hops\n", "task"), ("trl: {beta: 0.1, beta: 0.2}\n", "beta")]
)
def test_a_key_that_is_given_twice_is_named(text: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{key} is given twice, and only the last would count"):
        load_recipe(tmp_path / "r.yaml")


def test_a_file_that_holds_itself_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("task: clinic\nreward_options: &a\n  b: *a\n", encoding="utf-8")
    with pytest.raises(ConfigError):
        load_recipe(tmp_path / "r.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"recipe .*nowhere.yaml does not exist: check the path"):
        load_recipe(tmp_path / "nowhere.yaml")


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="is a folder"):
        load_recipe(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "multi-rlvr"}, "credit = 'dcpo' with method = 'multi-rlvr': no confidences to credit"),
        ({"scale_rewards": "batch"}, "scale_rewards = 'batch' with credit = 'dcpo': it divides each part by its group"),
        ({"loss_type": "luspo"}, "loss_type = 'luspo' with credit = 'dcpo'"),
        ({"preset": "released"}, "credit = 'dcpo' with preset = 'released'"),
        ({"confidence_credit": 4.0}, "confidence_credit = 4.0 is given without credit: add credit: term"),
        ({"trl": {"use_liger_kernel": True}}, "use_liger_kernel = True with credit = 'dcpo' is refused"),
        ({"confidence_score": "log"}, "confidence_score = 'log' with credit = 'dcpo': it scores confidences in its"),
        ({"confidence_weight": 0.5}, "confidence_weight = 0.5 with credit = 'dcpo': it scores confidences in its own"),
    ],
)
def test_what_dcpo_and_coca_do_not_go_with_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe(credit="dcpo", **options)
    with pytest.raises(ConfigError, match=message.replace("dcpo", "coca")):
        Recipe(credit="coca", format="confidence-first", **options)


FIRST: dict[str, Any] = {"format": "confidence-first"}


@pytest.mark.parametrize("options", [{"credit": "dcpo"}, {"credit": "coca", **FIRST}, FIRST])
@pytest.mark.parametrize("method", ["single-rlcr", "multi-rlcr"])
def test_each_order_has_its_credit(options: dict[str, Any], method: str) -> None:
    assert Recipe(**{"method": method, **options}).format == options.get("format", "tags")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"credit": "coca"}, "credit = 'coca' with format = 'tags': it is for .* use format: confidence-first"),
        ({"credit": "coca", "format": "lines"}, "credit = 'coca' with format = 'lines'"),
        *(
            ({"credit": credit, **FIRST}, f"format = 'confidence-first' with credit = '{credit}': .* use credit: coca")
            for credit in ("term", "expected", "dcpo")
        ),
        ({"format": "first"}, "format = 'first' is not known: use one of tags, lines or confidence-first"),
    ],
)
def test_credit_and_order_have_to_suit_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe(**options)


def test_answers_alone_have_no_order() -> None:
    assert Recipe(method="multi-rlvr", credit="term", **FIRST).credit == "term"
