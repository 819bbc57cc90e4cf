"""Engines that spread weights over processes; `tests/integrations_real/test_deepspeed.py` tests those of DeepSpeed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from accelerate import Accelerator

from polymode.errors import ConfigError, GeneratorFault, RunIncompleteError
from polymode.runs import holds_model
from polymode.training import rl, sharding, trainers
from polymode.training.recipe import Recipe
from polymode.training.sharding import check_shared, has_whole_weights, name_of, save_whole

from .engines import SHARING, check_equal, launch, lines_of, write_options


@pytest.mark.parametrize(
    ("kind", "zero", "fsdp", "is_whole", "name"),
    [
        ("NO", None, None, True, "NO"),
        ("MULTI_GPU", None, None, True, "MULTI_GPU"),
        ("DEEPSPEED", 1, None, True, "DeepSpeed ZeRO-1"),
        ("DEEPSPEED", 2, None, True, "DeepSpeed ZeRO-2"),
        ("DEEPSPEED", 3, None, False, "DeepSpeed ZeRO-3"),
        ("FSDP", None, 1, False, "FSDP1"),
        ("FSDP", None, 2, False, "FSDP2"),
        ("MEGATRON_LM", None, None, False, "MEGATRON_LM"),
    ],
)
def test_who_holds_all_weights(kind: str, zero: int | None, fsdp: int | None, is_whole: bool, name: str) -> None:
    from accelerate import DistributedType

    state = SimpleNamespace(
        deepspeed_plugin=None if zero is None else SimpleNamespace(zero_stage=zero),
        fsdp_plugin=None if fsdp is None else SimpleNamespace(fsdp_version=fsdp),
    )
    accelerator: Any = SimpleNamespace(distributed_type=DistributedType[kind], state=state)
    assert has_whole_weights(accelerator) is is_whole
    assert name_of(accelerator) == name


def test_a_model_without_weights_is_an_error(tmp_path: Path) -> None:
    """What an earlier attempt has left is not taken for it."""

    def save_model(folder: str) -> None:
        Path(folder).mkdir()
        (Path(folder) / "config.json").touch()

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").touch()
    trainer = SimpleNamespace(accelerator=Accelerator(cpu=True), save_model=save_model)
    with pytest.raises(RunIncompleteError, match=r"^no weights were saved with NO: .* go on with --resume"):
        save_whole(trainer, tmp_path / "model")


def test_nodes_without_a_common_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "SHARED_SECONDS", 0.2)
    monkeypatch.setattr(sharding, "gather_object", lambda own: [True, True, *own])
    with pytest.raises(ConfigError, match=r"is not seen by process 2 of 3: all nodes need one file system"):
        check_shared(tmp_path / "config.json")
    (tmp_path / "config.json").touch()
    check_shared(tmp_path / "config.json")


def test_a_vllm_server_that_is_not_there_is_one_line(
    small_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trainer:
        def __init__(self, **_: Any) -> None:
            raise requests.ConnectionError("The vLLM server can't be reached at http://gpu:8000 after 240 seconds.")

    monkeypatch.setattr(trainers, "SharedPromptTrainer", Trainer)
    for module in (rl, trainers):
        monkeypatch.setattr(module, "trl_config", lambda *_: SimpleNamespace(bf16=False, use_vllm=False))
    recipe = small_recipe(use_vllm=True, vllm_mode="server")
    with pytest.raises(GeneratorFault, match=r"^the vLLM server cannot be reached \(The vLLM .* start trl vllm-serve"):
        rl.train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the options, with the run of one process."""
    folder = tmp_path_factory.mktemp("engines")
    done = launch("one", write_options(folder), folder / "one")
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.slow
def test_ddp_takes_the_steps_of_one_process(alone: Path) -> None:
    done = launch("ddp", alone / "options.json", alone / "ddp")
    assert done.returncode == 0, done.stderr[-2000:]
    check_equal(alone / "ddp", alone / "one", alone / "start")
    assert json.loads((alone / "ddp" / SHARING).read_text()) == {"sampling": True, "loss": True}


@pytest.mark.slow
def test_fsdp2_takes_the_steps_of_one_process_also_when_one_of_two_dies(alone: Path) -> None:
    """In step 3, with a checkpoint of step 2; a folder of version 0.1.0, which held no weights, is in the way."""
    run = alone / "fsdp2"
    assert launch("fsdp2", alone / "options.json", run, "dies").returncode != 0
    assert [line["step"] for line in lines_of(run)] == [1, 2] and not (run / "model").exists()
    (run / "model").mkdir()
    (run / "model" / "tokenizer.json").touch()
    done = launch("fsdp2", alone / "options.json", run, "resume")
    assert done.returncode == 0, done.stderr[-2000:]
    check_equal(run, alone / "one", alone / "start")
    assert json.loads((run / SHARING).read_text()) == {"sampling": False, "loss": False}
    assert not list((run / "checkpoints" / "checkpoint-3").glob("model*.safetensors"))  # sharded, as was chosen


@pytest.mark.slow
def test_fsdp2_samples_completions_of_unequal_length(alone: Path) -> None:
    """Every step of one process's sampling collects weights from the other, which has stopped four tokens before."""
    done = launch("fsdp2", alone / "options.json", alone / "sampled", "sampled")
    assert done.returncode == 0, done.stderr[-2000:]
    assert holds_model(alone / "sampled" / "model") and len(lines_of(alone / "sampled")) == 3
