"""Which columns a folder holds, read from its shape."""

from pathlib import Path

import pytest

from polymode.compare.columns import columns_of, find_runs, unfinished
from polymode.errors import ConfigError, DataNotFoundError

from .conftest import write_run, write_training


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    root = tmp_path / "exp"
    samples = {"q1": ["a", "a", "b"], "q2": ["d", "x", "x"]}
    for seed in (0, 1):
        single = write_training(root / f"single-rlvr/seed-{seed}", "single-rlvr", 3)
        write_run(single / "samples", samples, pool=3)
        write_run(single / "samples/deep", samples, pool=3)
        write_run(single / "samples-votes", samples, pool=3, votes=True)
        write_run(single / "samples-p-true", samples, pool=3)
        write_run(single / "prompted", {"q1": ["a b c"], "q2": ["d e f"]}, k=3)
    for k, answers in ((2, "a b"), (3, "a b c")):
        multi = write_training(root / f"multi-rlvr-k{k}/seed-0", "multi-rlvr", k)
        write_run(multi / "set", {"q1": [answers], "q2": [answers]}, k=k)
    write_run(root / "untrained/seed-0/prompted", {"q1": ["a b c"], "q2": ["x y z"]}, k=3)
    return root


def test_an_experiment_becomes_a_column_per_arm_and_view(experiment: Path) -> None:
    columns = columns_of(find_runs(experiment))
    assert [(c.name, c.arm.label, c.arm.method, len(c.runs)) for c in columns] == [
        ("single-rlvr/samples", "single-rlvr, 3 samples", "single-rlvr", 2),
        ("single-rlvr/prompted", "single-rlvr, asked for 3", "single-rlvr asked for 3", 2),
        ("single-rlvr/samples-votes", "single-rlvr, 3 samples, votes", "single-rlvr", 2),
        ("single-rlvr/samples-p-true", "single-rlvr, 3 samples, P(True)", "single-rlvr", 2),
        ("multi-rlvr-k2/set", "multi-rlvr, one completion of 2", "multi-rlvr", 1),
        ("multi-rlvr-k3/set", "multi-rlvr, one completion of 3", "multi-rlvr", 1),
        ("untrained/prompted", "untrained, asked for 3", "untrained asked for 3", 1),
    ]
    assert [c.arm.is_remeasured for c in columns] == [False, False, True, True, False, False, False]
    assert [run.seed for run in columns[0].runs] == [0, 1]
    assert columns[0].arm.train == tuple(experiment / f"single-rlvr/seed-{seed}" for seed in (0, 1))
    assert columns[-1].arm.train == () and columns[4].arm.k == 2


def test_any_part_of_an_experiment_is_read_in_the_same_way(experiment: Path) -> None:
    for part in ("single-rlvr", "single-rlvr/seed-1", "single-rlvr/seed-1/prompted"):
        found = columns_of(find_runs(experiment / part))
        assert found[-1].arm.label.startswith("single-rlvr, ")
    both = [
        *find_runs(experiment / "single-rlvr/seed-0/samples"),
        *find_runs(experiment / "single-rlvr/seed-1/samples"),
    ]
    (column,) = columns_of([*both, *both])  # a folder named twice is one folder
    assert len(column.runs) == 2


def test_other_folders_go_by_their_names(tmp_path: Path) -> None:
    write_run(tmp_path / "model-a", {"q1": ["a b"]}, k=2)
    train = write_training(tmp_path / "mine", "multi-rlcr", 2)
    write_run(train / "test", {"q1": ["a b"]}, k=2)
    found = [*find_runs(tmp_path / "model-a"), *find_runs(train)]
    columns = columns_of(found)
    assert [(c.name, c.arm.label, c.arm.method) for c in columns] == [
        ("model-a", "model-a", "model-a"),
        ("mine/test", "mine/test", "multi-rlcr"),
    ]


def test_equal_names_of_two_experiments_are_told_apart(tmp_path: Path) -> None:
    for root in ("one", "two"):
        write_run(tmp_path / root / "untrained/seed-0/prompted", {"q1": ["a b"]}, k=2)
    columns = columns_of(find_runs(tmp_path))
    assert [c.name for c in columns] == ["one/untrained/prompted", "two/untrained/prompted"]
    assert columns[1].arm.label == "untrained, asked for 2 (two/untrained/prompted)"


def test_a_folder_without_evaluations_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="none does not exist: check the path"):
        find_runs(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"holds no evaluation \(run polymode generate, or write completions.jsonl"):
        find_runs(tmp_path)
    folder = write_run(tmp_path / "run", {"q1": ["a"]})
    with pytest.raises(ConfigError, match="it is a file: name the folder that holds"):
        find_runs(folder / "completions.jsonl")
    (folder / "metrics.json").rename(tmp_path / "metrics.json")
    assert unfinished(tmp_path) == [folder]
    with pytest.raises(ConfigError, match=f"was not evaluated: run polymode evaluate {folder} first"):
        find_runs(tmp_path)
    (folder / "completions.jsonl").unlink()
    (folder / "judged.jsonl").unlink()
    (tmp_path / "metrics.json").rename(folder / "metrics.json")
    with pytest.raises(ConfigError, match=r"metrics.json stands without its judged.jsonl"):
        find_runs(tmp_path)
