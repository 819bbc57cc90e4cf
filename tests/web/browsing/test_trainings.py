"""Training runs as their files say: how far, how fast, what they measured last, and which are listed."""

import os
import time
from pathlib import Path

import pytest

from polymode import runs
from polymode.web.browsing.run_folders import RunFolders
from polymode.web.browsing.trainings import is_training, list_trainings, training_of

from ..run_folders import write_run, write_training


def rows(n: int) -> list[dict[str, float]]:
    """Steps of ten seconds whose rewards are 1, 2, ..., n."""
    return [{"step": i, "seconds": 10.0 * i, "reward": float(i), "share_clean": 1.0} for i in range(1, n + 1)]


def date(path: Path, seconds_ago: float) -> None:
    """Have a file written so long ago."""
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


def train(folder: Path, n: int, *, seconds_ago: float = 0.0, **config: object) -> Path:
    write_training(folder, **config)
    path = folder / runs.TRAIN_METRICS
    runs.write_jsonl(path, rows(n))
    date(path, seconds_ago)
    return folder


def finish(folder: Path) -> None:
    (folder / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / "model" / name).write_text("{}")


@pytest.fixture
def folders(tmp_path: Path) -> RunFolders:
    return RunFolders(tmp_path)


@pytest.mark.parametrize(
    ("n", "seconds_ago", "max_steps", "state"),
    [
        (4, 5, 40, "training"),
        (4, 110, 40, "training"),  # two minutes are not long
        (4, 130, 40, "stopped"),
        (40, 5, 40, "finished"),
        (4, 5, None, "training"),
        (4, 5, "many", "training"),
        (4, 5, -1, "training"),
        (0, 5, 40, "training"),
    ],
)
def test_the_state_of_a_training(
    folders: RunFolders, tmp_path: Path, n: int, seconds_ago: float, max_steps: object, state: str
) -> None:
    train(tmp_path / "one", n, seconds_ago=seconds_ago, max_steps=max_steps)
    found = training_of(folders, "one")
    assert (found.state, found.step) == (state, n)
    assert found.max_steps == (40 if max_steps == 40 else None)
    assert 0 <= found.seconds_since - seconds_ago < 60


def test_slow_steps_are_waited_for_longer(folders: RunFolders, tmp_path: Path) -> None:
    train(tmp_path / "one", 4, seconds_ago=1000, max_steps=40)
    runs.write_jsonl(tmp_path / "one" / runs.TRAIN_METRICS, [{"step": 4, "seconds": 800.0}])  # 200 s a step
    date(tmp_path / "one" / runs.TRAIN_METRICS, 1000)
    assert training_of(folders, "one").state == "training"


def test_a_model_ends_a_training(folders: RunFolders, tmp_path: Path) -> None:
    finish(train(tmp_path / "one", 4, max_steps=40))
    found = training_of(folders, "one")
    assert found.state == "finished" and found.seconds_left is None


def test_what_it_measured_last(folders: RunFolders, tmp_path: Path) -> None:
    train(tmp_path / "one", 60, max_steps=100)
    found = training_of(folders, "one")
    assert found.seconds_left == 40 * 10.0
    reward = found.figure("reward")
    # The last six of sixty: mean 57.5, s = sqrt(3.5), t(0.975, 5) = 2.5706.
    assert reward is not None and (reward.value, reward.n) == (57.5, 6)
    assert (reward.low, reward.high) == pytest.approx(
        (57.5 - 2.5706 * (3.5 / 6) ** 0.5, 57.5 + 2.5706 * (3.5 / 6) ** 0.5), abs=1e-3
    )
    clean = found.figure("share_clean")
    assert clean is not None and clean.low != clean.low  # steps that do not differ have no interval
    assert found.figure("brier") is None


def test_half_a_line_is_left_out(folders: RunFolders, tmp_path: Path) -> None:
    folder = train(tmp_path / "one", 3)
    with (folder / runs.TRAIN_METRICS).open("a") as handle:
        handle.write('{"step": 4, "rewa')
    assert training_of(folders, "one").step == 3


def test_only_open_trainings_and_those_without_runs_are_listed(folders: RunFolders, tmp_path: Path) -> None:
    train(tmp_path / "b-under-way", 4, max_steps=40)
    write_run(tmp_path / "b-under-way" / "validation")
    finish(train(tmp_path / "a-finished", 4, max_steps=4))
    finish(train(tmp_path / "c-evaluated", 4, max_steps=4))
    write_run(tmp_path / "c-evaluated" / "set")
    train(tmp_path / "d-stopped", 4, seconds_ago=5000, max_steps=40)
    train(tmp_path / "e-damaged", 4)
    (tmp_path / "e-damaged" / runs.CONFIG).write_text("{")
    write_run(tmp_path / "f-no-training")
    *readable, damaged = list_trainings(folders)
    states = [(one.name, one.state) for one in readable]
    assert states == [("b-under-way", "training"), ("d-stopped", "stopped"), ("a-finished", "finished")]
    assert (damaged.name, damaged.state) == ("e-damaged", "damaged")
    assert "e-damaged/config.json: not valid JSON" in damaged.problem
    assert is_training(folders, "a-finished") and not is_training(folders, "f-no-training")


def test_no_training_is_read_outside_the_folder(
    folders: RunFolders, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = train(tmp_path_factory.mktemp("outside") / "secret", 3)
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "mine").mkdir()
    for file in (runs.CONFIG, runs.TRAIN_METRICS):
        (tmp_path / "mine" / file).symlink_to(outside / file)
    assert not is_training(folders, "link") and not is_training(folders, "mine")
    [damaged] = list_trainings(folders)
    assert (damaged.name, damaged.state, damaged.rows) == ("mine", "damaged", ())
