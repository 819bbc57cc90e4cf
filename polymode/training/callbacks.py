"""What a training run writes while it goes: one line per step, and a progress bar with the figures that matter."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState, ProgressCallback

from polymode import runs
from polymode.exploration import AnswerCounts

_NAMES = {
    "completions/mean_length": "tokens",
    "completions/clipped_ratio": "share_cut_off",
    "frac_reward_zero_std": "share_equal_groups",
}
_BESIDE_THE_BAR = ("reward", "coverage", "brier")


def figures_of(logs: dict[str, Any] | None, state: TrainerState) -> dict[str, Any] | None:
    """A step's figures by the names of ``metrics.jsonl``; None for other logs, and in all processes but one."""
    if not logs or "reward" not in logs or not state.is_world_process_zero:
        return None
    figures: dict[str, Any] = {}
    for key, value in logs.items():
        if key in _NAMES or ("/" not in key and not key.startswith(("train_", "epoch", "num_", "total_"))):
            figures[_NAMES.get(key, key)] = value
    return figures


class StepMetrics(TrainerCallback):
    """Appends the figures of each step to a JSONL file; after a resume the file holds every step once.

    Args:
        path: the file; lines beyond ``first_step`` (of steps that will run again) are dropped first.
        first_step: last step of the checkpoint that training resumes from, 0 for a fresh start.
        completions_per_step: to count completions.
    """

    def __init__(self, path: Path, first_step: int, completions_per_step: int) -> None:
        self.path, self.first_step, self.completions_per_step = path, first_step, completions_per_step
        self.started = time.perf_counter()
        self.seconds_before = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Drop the lines of steps that will run again; only one of several processes writes."""
        self.started = time.perf_counter()
        if state.is_world_process_zero:
            steps = runs.read_steps(self.path, may_be_cut=True) if self.path.exists() else []
            lines = [step for step in steps if step["step"] <= self.first_step]
            self.seconds_before = lines[-1]["seconds"] if lines else 0.0
            runs.write_steps(self.path, lines)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Write the line of the step that was just logged."""
        figures = figures_of(logs, state)
        if figures is None:
            return
        line: dict[str, Any] = {
            "step": state.global_step,
            "completions": state.global_step * self.completions_per_step,
            "seconds": round(self.seconds_before + time.perf_counter() - self.started, 3),
            **figures,
        }
        runs.append_step(self.path, line)


class Progress(ProgressCallback):
    """Trainer's progress bar with reward, coverage and Brier score instead of printed dictionaries."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Show the latest figures beside the bar."""
        bar = self.training_bar
        if bar is not None and logs:
            figures = {name: f"{logs[name]:.3f}" for name in _BESIDE_THE_BAR if logs.get(name) is not None}
            bar.set_postfix(figures, refresh=False)


class KeepsCounts(TrainerCallback, ExportableState):
    """Shares the answer counts of historical exploration between processes and keeps them in checkpoints.

    They stand in the file of the trainer's state, which is written last, so a checkpoint is never without them.
    """

    def __init__(self, counts: AnswerCounts) -> None:
        self.counts = counts

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Go on from the counts of the checkpoint, if training resumes from one."""
        states: Any = state.stateful_callbacks or {}
        self.counts.load(states.get(type(self).__name__, {}).get("attributes", {}).get("counts", {}))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Count what the other processes have seen in this step."""
        news = self.counts.take_news()
        if args.world_size > 1:
            from accelerate.utils import gather_object

            every: Any = gather_object([(args.process_index, news)])
            for process, theirs in every:
                if process != args.process_index:
                    self.counts.add(theirs)

    def state(self) -> dict[str, Any]:
        """What the checkpoint holds."""
        return {"args": {}, "attributes": {"counts": self.counts.state()}}
