"""Training end to end on a toy task: what a run writes, resuming, refusals, and a chat model through the same code."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError, RunExistsError, WriteError
from polymode.training.recipe import Recipe
from polymode.training.rl import train
from polymode.training.trainers import load_recipe_tokenizer
from polymode.training.trl_options import OLD_NAMES
from polymode.types import Judgement, Reference

pytestmark = pytest.mark.slow


def metrics(run: Path) -> list[dict[str, Any]]:
    return list(runs.read_jsonl(run / runs.TRAIN_METRICS))


def completions(run: Path, step: int) -> dict[str, list[Any]]:
    return pq.read_table(run / "checkpoints" / "completions" / f"completions_{step:05d}.parquet").to_pydict()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def without_times(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in ("seconds", "step_time")}


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "finished"


@pytest.fixture
def run(finished_run: Path, small_recipe: Callable[..., Recipe], tmp_path: Path) -> Path:
    """A copy of one finished run of four steps with a checkpoint every two."""
    if not finished_run.exists():
        train(small_recipe(save_total_limit=2), finished_run)
    return shutil.copytree(finished_run, tmp_path / "run")


def test_a_run_leaves_metrics_a_model_and_every_completion(run: Path, drinks_model: Path) -> None:
    lines = metrics(run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["completions"] for line in lines] == [16, 32, 48, 64]
    for line in lines:
        assert {"loss", "reward", "coverage", "brier", "tokens", "share_clean", "learning_rate", "seconds"} <= set(line)
        assert line["share_clean"] > 0.2  # the warm start taught the format, so the reward has something to say
    before, after = weights(drinks_model), weights(run / "model")
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert (
        AutoTokenizer.from_pretrained(run / "model").decode(
            AutoTokenizer.from_pretrained(drinks_model)("tea")["input_ids"]
        )
        == "tea"
    )

    for step, line in enumerate(lines, 1):
        table = completions(run, step)
        assert len(table["completion"]) == 16 and set(table["step"]) == {step}
        assert {"status", "reason", "verdicts", "term_coverage", "term_brier", "term_format"} <= set(table)
        totals = [
            sum(terms) for terms in zip(table["term_coverage"], table["term_brier"], table["term_format"], strict=True)
        ]
        assert totals == pytest.approx(table["polymode"])  # TRL keeps the total in float32
        assert line["reward"] == pytest.approx(sum(totals) / 16, abs=1e-6)
        assert line["coverage"] == pytest.approx(sum(table["term_coverage"]) / 16)
        for status, verdicts in zip(table["status"], table["verdicts"], strict=True):
            assert len(verdicts.split()) == (3 if status == "clean" else 0)
            assert set(verdicts.split()) <= {"correct", "wrong", "repeated"}
        groups = [table["advantage"][i : i + 4] for i in range(0, 16, 4)]
        # Centred within the group and not divided by its deviation.
        assert [sum(group) for group in groups] == pytest.approx([0] * 4, abs=1e-5)
        assert table["advantage"][0] == pytest.approx(totals[0] - sum(totals[:4]) / 4, abs=1e-6)


def test_a_resumed_run_takes_the_same_steps(run: Path, small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    resumed = shutil.copytree(run, tmp_path / "resumed")
    shutil.rmtree(resumed / "model")
    shutil.rmtree(resumed / "checkpoints" / "checkpoint-4")
    # Step 3 was logged before the kill, step 4 only half.
    lines = (resumed / runs.TRAIN_METRICS).read_text(encoding="utf-8").splitlines()
    (resumed / runs.TRAIN_METRICS).write_text("\n".join([*lines[:3], lines[3][:40]]), encoding="utf-8")
    (resumed / "checkpoints" / "completions" / "completions_00004.parquet").unlink()

    train(small_recipe(save_total_limit=2), resumed, resume=True)

    for expected, line in zip(metrics(run), metrics(resumed), strict=True):
        assert without_times(line) == pytest.approx(without_times(expected), abs=1e-6)
    for step in (3, 4):
        assert completions(resumed, step) == completions(run, step)
    expected_weights, found_weights = weights(run / "model"), weights(resumed / "model")
    for name, value in expected_weights.items():
        torch.testing.assert_close(found_weights[name], value, rtol=0, atol=1e-6)


def test_a_checkpoint_cut_off_by_a_kill_is_left_out(run: Path, small_recipe: Callable[..., Recipe]) -> None:
    expected = [without_times(line) for line in metrics(run)]
    shutil.rmtree(run / "model")
    (run / "checkpoints" / "checkpoint-4" / "trainer_state.json").write_text('{"global_step": 4, "log_hi')
    train(small_recipe(save_total_limit=2), run, resume=True)
    assert [without_times(line) for line in metrics(run)] == [pytest.approx(line, abs=1e-6) for line in expected]


def test_a_finished_run_is_left_alone(run: Path, small_recipe: Callable[..., Recipe]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert train(small_recipe(save_total_limit=2), run, resume=True) == run / "model"
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_an_existing_folder_needs_resume(run: Path, small_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(RunExistsError, match="exists already: pass --resume"):
        train(small_recipe(), run)


def test_a_folder_belongs_to_one_recipe(run: Path, small_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(ConfigError, match=r"learning_rate = 0.5 differs from the run folder's 0.001"):
        train(small_recipe(learning_rate=0.5), run, resume=True)


def test_what_does_not_change_the_steps_may_change_on_resume(run: Path, small_recipe: Callable[..., Recipe]) -> None:
    train(small_recipe(save_total_limit=1, save_steps=1, threads=1), run, resume=True)


@pytest.mark.parametrize("method", ["single-rlvr", "single-rlcr", "multi-rlvr"])
def test_the_other_methods_go_the_same_way(method: str, small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    train(small_recipe(method=method, max_steps=1), tmp_path / "run")
    [line] = metrics(tmp_path / "run")
    table = completions(tmp_path / "run", 1)
    assert ("term_brier" in table) == ("brier" in line) == method.endswith("rlcr")
    asked = "Give 1 answer" if method.startswith("single") else "Give 3 answers"
    assert all(asked in prompt for prompt in table["prompt"])
    assert line["share_clean"] > 0.2


def test_group_scaling_is_allowed_without_confidences(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    train(small_recipe(method="multi-rlvr", scale_rewards="group", max_steps=1), tmp_path / "run")
    assert len(metrics(tmp_path / "run")) == 1


@pytest.mark.parametrize(
    "options", [{}, {"lora": {"r": 4}, "warmup_steps": 0.5, "lr_scheduler_type": "linear", "beta": 0.01}]
)
def test_a_chat_model_in_parts_of_a_step(
    options: dict[str, Any], chat_model: Path, small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = small_recipe(model=str(chat_model), prompt_style="full", max_steps=2, device_batch=8, **options)
    target = train(recipe, tmp_path / "run")
    assert (target / "adapter_config.json").exists() == bool(options)
    for step in (1, 2):
        table = completions(tmp_path / "run", step)
        assert len(table["completion"]) == 16
        [message] = table["prompt"][0]
        assert message["role"] == "user" and "write exactly:" in message["content"]
        assert {completion[0]["role"] for completion in table["completion"]} == {"assistant"}
    assert [
        line["share_clean"] + line["share_malformed"] + line["share_truncated"] for line in metrics(tmp_path / "run")
    ] == [1, 1]


def test_parts_must_fit_the_processes(
    small_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polymode.training.trainers import trl_config

    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="= 16 must be a multiple of device_batch x processes = 4 x 3"):
        trl_config(small_recipe(device_batch=4), tmp_path)


def test_a_judge_that_is_down_leaves_every_completion_unscored_and_the_run_finishes(
    small_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polymode import endpoint

    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    options = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}  # nobody listens on port 9
    recipe = small_recipe(verifier="judge", verifier_options=options, max_steps=2)
    assert (train(recipe, tmp_path / "run") / "config.json").exists()
    lines = list(runs.read_jsonl(tmp_path / "run" / runs.TRAIN_METRICS))
    assert len(lines) == 2 and all(0 < line["share_unscored"] <= 1 for line in lines)


def test_a_run_made_before_an_option_existed_goes_on(run: Path, small_recipe: Callable[..., Recipe]) -> None:
    kept = runs.read_json(run / runs.CONFIG)
    del kept["config"]["verifier"], kept["config"]["verifier_options"]
    runs.write_json(run / runs.CONFIG, kept)
    assert train(small_recipe(save_total_limit=2), run, resume=True) == run / "model"
    with pytest.raises(ConfigError, match="verifier = 'text' differs from the run folder's None"):
        train(small_recipe(save_total_limit=2, verifier="text"), run, resume=True)


def test_a_run_of_version_0_1_0_goes_on(run: Path, small_recipe: Callable[..., Recipe]) -> None:
    """Its config.json has the names of then, and none of the options that are younger."""
    before = runs.read_json(run / runs.CONFIG)
    config = before["config"]
    for old, new in OLD_NAMES.items():
        if new in config:
            config[old] = config.pop(new)
    for younger in ("terms", "trl", "model_init", "chat_template", "lora"):
        del config[younger]
    runs.write_json(run / runs.CONFIG, {**before, "config": {**config, "lora_rank": 0, "lora_alpha": 32}})
    assert train(small_recipe(save_total_limit=2), run, resume=True) == run / "model"
    with pytest.raises(ConfigError, match="num_generations = 8 differs from the run folder's 4"):
        train(small_recipe(save_total_limit=2, num_generations=8), run, resume=True)


class Shouting:
    """Equality that wants capitals: nothing that the toy model says is right."""

    def same(self, a: str, b: str) -> bool:
        return a == b

    def matches(self, answer: str, reference: Reference) -> bool:
        return answer.isupper() and answer.lower() == reference.text


def modesty(judgement: Judgement) -> list[float]:
    return [-(answer.confidence or 0.0) for answer in judgement.answer_set.answers]


def test_objects_are_taken_for_task_and_verifier_and_a_term_by_its_address(
    small_recipe: Callable[..., Recipe], drinks_task: Any, tmp_path: Path
) -> None:
    recipe = small_recipe(max_steps=1, credit="term", terms={f"{__name__}:modesty": 0.5}, trl={"adam_beta2": 0.98})
    train(recipe, tmp_path / "run", task=drinks_task, verifier=Shouting())
    config = runs.read_json(tmp_path / "run" / runs.CONFIG)["config"]
    assert config["task"].endswith(":Drinks") and config["verifier"] == f"{__name__}:Shouting"
    assert config["given_as_objects"] == ["task", "verifier"]
    table = completions(tmp_path / "run", 1)
    assert {"correct"}.isdisjoint(" ".join(table["verdicts"]).split())
    clean = [i for i, status in enumerate(table["status"]) if status == "clean"]
    assert clean and all(-0.5 <= table["term_modesty"][i] < 0 for i in clean)
    assert (
        train(recipe, tmp_path / "run", resume=True, task=drinks_task, verifier=Shouting())
        == tmp_path / "run" / "model"
    )
    with pytest.raises(ConfigError, match="task = 'records' differs from the run folder's '.*Drinks'"):
        train(recipe, tmp_path / "run", resume=True)


def test_tensorboard_gets_the_figures(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(small_recipe(report_to=["tensorboard"], max_steps=1), tmp_path / "run")
    [events] = (tmp_path / "run").rglob("events.out.tfevents.*")
    reader = EventAccumulator(str(events)).Reload()
    assert {"train/coverage", "train/brier", "train/reward"} <= set(reader.Tags()["scalars"])
    assert reader.Scalars("train/coverage")[0].value == pytest.approx(metrics(tmp_path / "run")[0]["coverage"])


def test_an_unknown_model_leaves_no_run_folder(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="model = '.*/nowhere' cannot be loaded: give a folder"):
        train(small_recipe(model=str(tmp_path / "nowhere")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_told_in_one_line(
    small_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymode.training.rl.FULL_BELOW", 1 << 62)  # as if nothing were free
    monkeypatch.setattr("trl.GRPOTrainer._save_checkpoint", lambda *_: (tmp_path / "missing" / "file").write_text(""))
    with pytest.raises(WriteError, match="is full: free space, then go on with --resume") as caught:
        train(small_recipe(), tmp_path / "run")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_step_without_room_is_told_in_one_line(
    small_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("trl.GRPOTrainer.training_step", full)
    with pytest.raises(ConfigError, match=r"no room on the device for a step \(CUDA out .*: lower device_batch"):
        train(small_recipe(), tmp_path / "run")


def test_a_model_is_needed_where_the_task_has_no_demonstrations(
    small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="model is not given and task 'records' has no demonstrations"):
        train(small_recipe(model=None), tmp_path / "run")


def test_a_short_data_set_is_read_again(small_recipe: Callable[..., Recipe], drinks_file: Path) -> None:
    from polymode.tasks import open_task
    from polymode.training.rows import TrainingRows

    recipe = small_recipe(max_steps=20)  # 80 questions of the file's 35
    task = open_task(recipe.task, data=recipe.data, **recipe.task_options)
    rows = TrainingRows(recipe, task, conversational=False)
    assert len(rows) == 80
    assert len({row["prompt"] for row in rows[:35]}) == len({row["prompt"] for row in rows[35:70]}) == 35
    assert [row["prompt"] for row in rows[:35]] != [row["prompt"] for row in rows[35:70]]
    assert all(isinstance(json.loads(row["references"]), list) for row in rows)


def test_a_reference_model_is_not_read_from_a_gguf_file() -> None:
    recipe = Recipe(task="list-questions", model="tiny.gguf", beta=0.1)
    with pytest.raises(ConfigError, match=r"beta = 0\.1 with model = 'tiny\.gguf': .* set beta: 0"):
        load_recipe_tokenizer("tiny.gguf", recipe)
    with pytest.raises(ConfigError, match="'tiny.gguf' does not exist"):  # with adapters the model is its own reference
        load_recipe_tokenizer("tiny.gguf", replace(recipe, lora={"r": 4}))
