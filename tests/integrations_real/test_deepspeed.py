"""DeepSpeed's ZeRO stages in two processes on a CPU, through gloo: the steps and the weights of one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..training.engines import SHARING, check_equal, launch, lines_of, write_options
from .packages import package

deepspeed = package("deepspeed", "deepspeed")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the options, with the run of one process."""
    folder = tmp_path_factory.mktemp("engines")
    done = launch("one", write_options(folder), folder / "one")
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_import() -> None:
    assert deepspeed.__version__.startswith("0.19.")


@pytest.mark.parametrize("stage", [1, 2])
def test_steps_with_whole_weights(stage: int, alone: Path) -> None:
    run = alone / f"zero{stage}"
    done = launch(run.name, alone / "options.json", run)
    assert done.returncode == 0, done.stderr[-2000:]
    check_equal(run, alone / "one", alone / "start")
    assert json.loads((run / SHARING).read_text()) == {"sampling": True, "loss": True}


def test_steps_with_spread_weights_also_when_one_of_two_dies(alone: Path) -> None:
    run = alone / "zero3"
    assert launch("zero3", alone / "options.json", run, "dies").returncode != 0
    assert [line["step"] for line in lines_of(run)] == [1, 2] and not (run / "model").exists()
    done = launch("zero3", alone / "options.json", run, "resume")
    assert done.returncode == 0, done.stderr[-2000:]
    check_equal(run, alone / "one", alone / "start")
    assert json.loads((run / SHARING).read_text()) == {"sampling": False, "loss": False}


def test_steps_with_sampled_completions_of_unequal_length(alone: Path) -> None:
    """Sampled by both ways: with shared prompts (ZeRO-2), and with weights collected for it (ZeRO-3)."""
    for stage in (2, 3):
        run = alone / f"sampled{stage}"
        done = launch(f"zero{stage}", alone / "options.json", run, "sampled")
        assert done.returncode == 0, done.stderr[-2000:]
        assert len(lines_of(run)) == 3 and (run / "model" / "model.safetensors").exists()
