"""The rewards in stock TRL: its `trl grpo` command line on a tiny checkpoint, and what they can check of a trainer."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from polymode.errors import ConfigError, RecordError, UserError
from polymode.integrations import trl as rewards
from polymode.prompts import build_prompt
from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer

COMPLETION = (
    "<think> hm </think><answer1>tea</answer1><confidence1>0.5</confidence1>"
    "<answer2>milk</answer2><confidence2>0</confidence2><answer3>cider</answer3><confidence3>1</confidence3>"
)


class Trainer:
    """What a reward sees of TRL's trainer: the owner of the method ``log_metric``."""

    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)
        self.args = SimpleNamespace(max_completion_length=4)
        self.metrics: dict[str, float] = {}

    def log_metric(self, name: str, value: float) -> None:
        self.metrics[name] = value


def test_each_method_has_its_reward() -> None:
    # One reference of three: coverage 1, Brier -((0.5 - 1)² + (0 - 0)² + (1 - 0)²)/3 = -1.25/3, format 1.
    assert rewards.multi_rlcr([COMPLETION], [["tea", "water"]]) == pytest.approx([2 - 1.25 / 3])
    without = "<answer1>tea</answer1><answer2>milk</answer2><answer3>cider</answer3>"
    assert rewards.multi_rlvr([without], [["tea", "cider"]]) == [3]
    assert rewards.single_rlvr(["<answer>tea</answer>"], [["tea"]]) == [2]
    assert rewards.single_rlcr(["<answer>tea</answer><confidence>0.5</confidence>"], [["milk"]]) == [0.75]
    for name in ("single_rlvr", "single_rlcr", "multi_rlvr", "multi_rlcr"):
        assert getattr(rewards, name).__name__ == name  # TRL's name of the reward in logs and tables


def test_k_comes_from_the_data_set() -> None:
    two = "<answer1>tea</answer1><answer2>milk</answer2>"
    assert rewards.multi_rlvr([two, two], [["tea"], ["tea"]], k=[2, 3]) == [2, 0]
    assert rewards.single_rlvr(["<answer>tea</answer>"], [["tea"]], k=[3]) == [2]  # single methods ask for one


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale_rewards": "group"}, r"scale_rewards = 'group' .* breaks calibration .* run with --scale_rewards none"),
        ({"scale_rewards": "none", "multi_objective_aggregation": "normalize_then_sum"}, "leave the option out"),
    ],
)
def test_calibrated_rewards_stop_a_run_that_would_break_calibration(options: dict[str, str], message: str) -> None:
    trainer = Trainer(**options)
    with pytest.raises(ConfigError, match=message):
        rewards.multi_rlcr([COMPLETION], [["tea"]], log_metric=trainer.log_metric)
    with pytest.raises(ConfigError, match=message):
        rewards.single_rlcr([COMPLETION], [["tea"]], log_metric=trainer.log_metric)
    assert rewards.multi_rlvr(["x"], [["tea"]], log_metric=trainer.log_metric) == [0]


def test_what_cannot_be_seen_is_not_refused() -> None:
    seen: dict[str, float] = {}
    assert rewards.multi_rlcr(["x"], [["tea"]], log_metric=seen.__setitem__) == [0]
    assert seen["share_malformed"] == 1


def test_the_trainers_limit_tells_cut_off_from_malformed() -> None:
    trainer = Trainer(scale_rewards="none")
    rewards.multi_rlcr(
        ["<answer1>te", "nothing"],
        [["tea"], ["tea"]],
        completion_ids=[[1, 2, 3, 4], [1, 2, 3]],
        log_metric=trainer.log_metric,
    )
    assert trainer.metrics["share_truncated"] == trainer.metrics["share_malformed"] == 0.5


@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.nan, np.float32("nan"), pd.NA, pd.NaT, "null", "NaN", "", [None]]
)
def test_a_missing_reference_is_an_error_and_no_text(missing: Any) -> None:
    with pytest.raises(RecordError, match="references, row 1: .* (is|stands for a) missing|empty text") as caught:
        rewards.single_rlvr(["<answer>null</answer>"] * 2, [["null"], missing])
    assert "\n" not in str(caught.value)


def test_a_question_without_a_right_answer_earns_nothing_but_the_format_and_honesty() -> None:
    text = "<answer>tea</answer><confidence>{}</confidence>"
    for none in ([], "[]", np.array([])):
        # Brier -(q - 0)², format 1: confidence 0 is best.
        assert rewards.single_rlcr([text.format(q) for q in (0, 0.5, 1)], [none] * 3) == [1, 0.75, 0]


def test_columns_may_be_arrays() -> None:
    texts = ["<answer1>tea</answer1><answer2>milk</answer2>"] * 2
    frame = pd.DataFrame({"references": [np.array(["tea", "water"]), ["milk"]], "k": [2, 2]})
    assert rewards.multi_rlvr(texts, frame["references"], k=frame["k"]) == [2, 2]
    assert rewards.multi_rlvr(texts, np.array([["tea"], ["milk"]]), k=np.array([2.0, 2.0])) == [2, 2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"references": []}, "references has 0 entries for 1 completions"),
        ({"references": [["tea"], ["milk"]]}, "references has 2 entries for 1 completions"),
        ({"references": None}, "the data set has no such column"),
        ({"references": "tea"}, "references = 'tea' is not allowed; give a list with one entry for each completion"),
        ({"k": [None]}, "k, row 0: None is not allowed; give a whole number from 1 to 20 in every row"),
        ({"k": [math.nan]}, "k, row 0: nan is not allowed"),
        ({"k": [0]}, "k, row 0: 0 is not allowed"),
        ({"k": [2.5]}, "k, row 0: 2.5 is not allowed"),
        ({"k": ["2"]}, "k, row 0: '2' is not allowed"),
        ({"k": [True]}, "k, row 0: True is not allowed"),
        ({"k": 2}, "k = 2 is not allowed; give a list"),
        ({"k": [2, 2]}, "k has 2 entries for 1 completions"),
        ({"question": ["?", "?"]}, "question has 2 entries for 1 completions"),
        ({"completions": [None]}, "completion: None is not allowed; give a text, or a list of messages"),
    ],
)
def test_columns_that_cannot_be_used_are_one_line(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        rewards.multi_rlvr(**{"completions": [COMPLETION], "references": [["tea"]], **columns})
    assert "\n" not in str(caught.value)


def test_the_result_of_a_tool_is_no_answer() -> None:
    answer = {"role": "assistant", "content": [{"type": "text", "text": "<answer>tea</answer>"}]}
    tool = {"role": "tool", "content": "<answer>tea</answer>"}
    assert rewards.single_rlvr([[tool, answer], [answer, tool]], [["tea"], ["tea"]]) == [2, 0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Qwen3 checkpoint and its tokenizer."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = build_tokenizer([COMPLETION, build_prompt("Name a drink", 3, confidence=True, style="brief")])
    build_model(tokenizer, LabModelSize(16, 1, 2, 32, 128), seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trl_grpo(checkpoint: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the stock command line on three questions, offline and on the CPU."""
    data = folder / "data"
    data.mkdir(parents=True)
    rows = [
        {"prompt": build_prompt("Name a drink", k, confidence=True, style="brief"), "references": refs, "k": k}
        for k, refs in ((3, [["tea"], ["milk", "cider"]]), (2, [["water"]]), (3, [["cider"]]))
    ]
    (data / "train.json").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = [Path(sys.executable).with_name("trl"), "grpo"]
    command += ["--model_name_or_path", checkpoint, "--dataset_name", data, "--output_dir", folder / "out"]
    command += ["--max_steps", "2", "--per_device_train_batch_size", "4", "--num_generations", "4"]
    command += [
        "--max_completion_length",
        "16",
        "--learning_rate",
        "1e-3",
        "--logging_steps",
        "1",
        "--report_to",
        "none",
    ]
    command += ["--use_cpu", "true", "--bf16", "false", "--gradient_checkpointing", "false", "--save_steps", "2"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*map(str, command), *options], env=environment, cwd=folder, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_the_stock_command_line_trains_with_our_reward(checkpoint: Path, tmp_path: Path) -> None:
    options = ["--scale_rewards", "none", "--loss_type", "dapo", "--log_completions", "true"]
    done = trl_grpo(checkpoint, tmp_path, "--reward_funcs", "polymode.integrations.trl.multi_rlcr", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "model.safetensors").exists()
    state = json.loads((tmp_path / "out" / "checkpoint-2" / "trainer_state.json").read_text(encoding="utf-8"))
    steps = [line for line in state["log_history"] if "reward" in line]
    assert [line["step"] for line in steps] == [1, 2]
    for line in steps:
        assert {"coverage", "share_clean", "share_unscored", "rewards/multi_rlcr/mean"} <= set(line)
        assert line["share_clean"] + line["share_malformed"] + line["share_truncated"] == pytest.approx(1)
        assert math.isfinite(line["coverage"])
    table = pq.read_table(tmp_path / "out" / "completions" / "completions_00001.parquet").to_pydict()
    assert len(table["multi_rlcr"]) == 4
    assert {"status", "reason", "verdicts", "term_coverage", "term_brier", "term_format"} <= set(table)


@pytest.mark.slow
def test_the_stock_default_is_refused_before_the_first_step(checkpoint: Path, tmp_path: Path) -> None:
    done = trl_grpo(checkpoint, tmp_path, "--reward_funcs", "polymode.integrations.trl.multi_rlcr")
    assert done.returncode != 0
    assert "scale_rewards = 'group' (TRL's default) with reward multi_rlcr" in done.stderr
    assert not (tmp_path / "out" / "checkpoint-2").exists()


def test_a_data_set_without_references_is_told() -> None:
    with pytest.raises(RecordError, match="the data set has no such column"):
        rewards.multi_rlvr([COMPLETION])
