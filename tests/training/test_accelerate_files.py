"""The files of accelerate beside the recipes, read by accelerate's own code as far as it goes without a GPU."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

from polymode.training.memory_check import layout_of_environment
from polymode.training.recipe_file import load_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
FILES = sorted((RECIPES / "accelerate").glob("*.yaml"))
# File -> machines, processes, what `polymode doctor` computes with.
EXPECTED = {
    "one-box-fsdp2": (1, 8, "zero3"),
    "one-box-zero2": (1, 4, "zero2"),
    "two-nodes-zero3": (2, 16, "zero3"),
}


def environment_of(path: Path) -> dict[str, str]:
    """The variables that `accelerate launch --config_file` gives to the processes that it starts."""
    options = ["--config_file", str(path), "--main_process_ip", "10.0.0.1", "--machine_rank", "0"]
    args: Any
    args, *_ = _validate_launch_command(launch_command_parser().parse_args([*options, "script.py"]))
    if args.use_deepspeed:
        args.deepspeed_fields_from_accelerate_config = ""  # these are set when it launches
        return prepare_deepspeed_cmd_env(args)[1]
    return prepare_multi_gpu_env(args)


def test_each_file_is_expected() -> None:
    assert [path.stem for path in FILES] == sorted(EXPECTED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_reads_each_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines, processes, sharding = EXPECTED[path.stem]
    config = ClusterConfig.from_yaml_file(str(path))  # refuses unknown keys
    assert (config.num_machines, config.num_processes) == (machines, processes)
    for name, value in environment_of(path).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("WORLD_SIZE", str(processes))  # torchrun's
    assert layout_of_environment() == (processes, sharding)
    # The paper's step is divided without remainder: 768 completions, 6 at a time on each GPU.
    full = load_recipe(RECIPES / "qwen3-8b-ddxplus-multi-rlcr.yaml")
    assert full.completions_per_step % (int(full.device_batch or 0) * processes) == 0


def test_fsdp_is_the_second_version_with_sharded_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of(RECIPES / "accelerate" / "one-box-fsdp2.yaml").items():
        monkeypatch.setenv(name, str(value))
    plugin: Any = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert "SHARDED_STATE_DICT" in str(plugin.state_dict_type) and plugin.activation_checkpointing is False


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_gives_its_command(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert f"--config_file recipes/accelerate/{path.name}" in text and "-m polymode train RECIPE.yaml --out RUN" in text
    [test] = re.findall(r"tests/[\w/]+\.py", text)
    assert (RECIPES.parent / test).is_file()
