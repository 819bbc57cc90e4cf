"""The metrics file after kills and resumes, and the progress bar."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from polymode.exploration import AnswerCounts
from polymode.training.callbacks import KeepsCounts, Progress, StepMetrics


@pytest.fixture
def arguments(tmp_path: Path) -> TrainingArguments:
    return TrainingArguments(output_dir=str(tmp_path / "out"), use_cpu=True, report_to=[])


def begun(path: Path, first_step: int, arguments: TrainingArguments) -> StepMetrics:
    callback = StepMetrics(path, first_step, completions_per_step=8)
    callback.on_train_begin(arguments, TrainerState(), TrainerControl())
    return callback


def log(callback: StepMetrics, arguments: TrainingArguments, step: int, **logs: Any) -> None:
    callback.on_log(arguments, TrainerState(global_step=step), TrainerControl(), logs)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_for_each_step(tmp_path: Path, arguments: TrainingArguments) -> None:
    path = tmp_path / "metrics.jsonl"
    callback = begun(path, 0, arguments)
    logs = {
        "reward": 1.5,
        "coverage": 0.5,
        "completions/mean_length": 40.0,
        "completions/clipped_ratio": 0.25,
        "frac_reward_zero_std": 0.5,
        "rewards/polymode/mean": 1.5,  # the same as reward
        "clip_ratio/high_max": 0.1,
        "num_tokens": 100,
        "epoch": 0.1,
        "brier": float("nan"),
    }
    log(callback, arguments, 1, **logs)
    log(callback, arguments, 2, reward=1.75)
    log(callback, arguments, 2, train_runtime=3.0)  # the summary at the end is no step
    first, second = lines(path)
    seconds = first.pop("seconds")
    assert first == {
        "schema": 1,
        "step": 1,
        "completions": 8,
        "reward": 1.5,
        "coverage": 0.5,
        "tokens": 40.0,
        "share_cut_off": 0.25,
        "share_equal_groups": 0.5,
        "brier": None,  # JSON has no NaN
    }
    assert (second["step"], second["completions"], second["reward"]) == (2, 16, 1.75)
    assert 0 <= seconds <= second["seconds"]


def test_steps_that_run_again_are_dropped_and_half_lines_too(tmp_path: Path, arguments: TrainingArguments) -> None:
    path = tmp_path / "metrics.jsonl"
    begun_with = [{"schema": 1, "step": step, "seconds": 10.0 * step, "reward": 1.0} for step in (1, 2, 3)]
    path.write_text("".join(json.dumps(line) + "\n" for line in begun_with) + '{"step": 4, "rew', encoding="utf-8")
    callback = begun(path, 2, arguments)
    assert lines(path) == begun_with[:2]
    log(callback, arguments, 3, reward=2.0)
    assert [line["step"] for line in lines(path)] == [1, 2, 3]
    assert lines(path)[2]["seconds"] >= 20  # time goes on from the last step that is kept


def test_a_fresh_start_empties_the_file(tmp_path: Path, arguments: TrainingArguments) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "seconds": 5.0}\n', encoding="utf-8")  # killed before the first checkpoint
    begun(path, 0, arguments)
    assert lines(path) == []


def test_one_of_several_processes_writes(tmp_path: Path, arguments: TrainingArguments) -> None:
    path = tmp_path / "metrics.jsonl"
    other = TrainerState(global_step=1, is_world_process_zero=False)
    callback = StepMetrics(path, 0, completions_per_step=8)
    callback.on_train_begin(arguments, other, TrainerControl())
    callback.on_log(arguments, other, TrainerControl(), {"reward": 1.0})
    assert not path.exists()


def test_the_bar_shows_what_is_there(arguments: TrainingArguments) -> None:
    shown: list[dict[str, str]] = []
    progress: Any = Progress("reward", "coverage", "brier")
    progress.on_log(arguments, TrainerState(), TrainerControl(), {"reward": 1.0})  # no bar yet
    progress.training_bar = SimpleNamespace(set_postfix=lambda figures, refresh: shown.append(figures))
    progress.on_log(arguments, TrainerState(), TrainerControl(), {"reward": 1.23456, "brier": None, "loss": 2.0})
    assert shown == [{"reward": "1.235"}]


def test_processes_share_the_answers_that_they_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [AnswerCounts(), AnswerCounts()]
    counts[0].bonus("q", [["flu"], ["flu"]])
    counts[1].bonus("q", [["cold"]])
    gathered = [(process, own.take_news()) for process, own in enumerate(counts)]
    monkeypatch.setattr("accelerate.utils.gather_object", lambda own: gathered)
    for process, own in enumerate(counts):
        args: Any = SimpleNamespace(world_size=2, process_index=process)
        KeepsCounts(own).on_step_end(args, TrainerState(), TrainerControl())
    assert counts[0].state() == counts[1].state() == {"q": {"flu": 2, "cold": 1}}


def test_counts_come_back_from_a_checkpoint() -> None:
    counts = AnswerCounts()
    counts.bonus("q", [["flu"]])
    state = TrainerState(stateful_callbacks=[KeepsCounts(counts)])  # type: ignore[list-item]  # as the trainer makes it
    again = AnswerCounts({"q": {"gout": 9}})
    args: Any = SimpleNamespace()
    KeepsCounts(again).on_train_begin(args, state, TrainerControl())
    assert again.state() == {"q": {"flu": 1}}
    KeepsCounts(again).on_train_begin(args, TrainerState(), TrainerControl())  # a fresh start
    assert again.state() == {}
