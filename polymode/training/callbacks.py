"""What a training run writes while it goes: one line per step, and a progress bar with the figures that matter."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerState
from transformers.trainer_callback import ExportableState, ProgressCallback

from polymode import runs
from polymode.exploration import AnswerCounts

_NAMES = {
    "completions/mean_length": "tokens",
    "completions/clipped_ratio": "share_cut_off",
    "frac_reward_zero_std": "share_equal_groups",
}


class StepCallback(TrainerCallback, ABC):
    """Calls `on_figures` for each step that is logged, in one process of several."""

    def on_log(
        self, args: Any, state: TrainerState, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Pick out a step's figures; other logs, such as the summary at the end, have no reward."""
        if logs and "reward" in logs and state.is_world_process_zero:
            figures: dict[str, Any] = {}
            for key, value in logs.items():
                if key in _NAMES or ("/" not in key and not key.startswith(("train_", "epoch", "num_", "total_"))):
                    figures[_NAMES.get(key, key)] = value
            self.on_figures(state.global_step, figures)

    @abstractmethod
    def on_figures(self, step: int, figures: dict[str, Any]) -> None:
        """What a step has measured, by the names of ``metrics.jsonl``."""


class StepMetrics(StepCallback):
    """Appends the figures of each step to a JSONL file; after a resume the file holds every step once.

    Args:
        path: the file; lines beyond ``first_step`` (of steps that will run again) are dropped first.
        first_step: last step of the checkpoint that training resumes from, 0 for a fresh start.
        completions_per_step: to count completions.
        measure: figures on validation questions after a step, empty where it is not their turn; step 0 is before the
            first. None measures nothing.
    """

    def __init__(
        self,
        path: Path,
        first_step: int,
        completions_per_step: int,
        measure: Callable[[int], Mapping[str, Any]] | None = None,
    ) -> None:
        self.path, self.first_step, self.completions_per_step = path, first_step, completions_per_step
        self._measure = measure
        self.started = time.perf_counter()
        """When training would have begun, had it never been interrupted."""

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Drop the lines of steps that will run again; only one of several processes writes."""
        self.started = time.perf_counter()
        if state.is_world_process_zero:
            steps = runs.read_steps(self.path, may_be_cut=True) if self.path.exists() else []
            lines = [step for step in steps if step["step"] <= self.first_step]
            self.started -= lines[-1]["seconds"] if lines else 0.0
            runs.write_steps(self.path, lines)
            if not lines and self._measure is not None and (figures := self._measure(0)):
                self._append(0, figures)

    def on_figures(self, step: int, figures: dict[str, Any]) -> None:
        """Write the line of the step that was just logged."""
        figures |= self._measure(step) if self._measure is not None else {}
        if {"hit_rate", "validation/sampled/hit_rate"} <= figures.keys():
            # What training has made of its own questions: confidences learnt there are too high elsewhere by this much.
            figures["validation/hit_gap"] = figures["hit_rate"] - figures["validation/sampled/hit_rate"]
        self._append(step, figures)

    def _append(self, step: int, figures: Mapping[str, Any]) -> None:
        seconds = round(time.perf_counter() - self.started, 3)
        counts = {"step": step, "completions": step * self.completions_per_step, "seconds": seconds}
        runs.append_step(self.path, {**counts, **figures})


class Progress(ProgressCallback):
    """Trainer's progress bar with a few figures beside it instead of printed dictionaries."""

    def __init__(self, *figures: str) -> None:
        super().__init__()
        self._names = figures

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **_: Any) -> None:
        """Show the latest figures beside the bar."""
        if self.training_bar is not None and logs:
            figures = {name: f"{logs[name]:.3f}" for name in self._names if logs.get(name) is not None}
            self.training_bar.set_postfix(figures, refresh=False)


class KeepsCounts(TrainerCallback, ExportableState):
    """Shares the answer counts of historical exploration between processes and keeps them in checkpoints.

    They stand in the file of the trainer's state, which is written last, so a checkpoint is never without them.
    """

    def __init__(self, counts: AnswerCounts) -> None:
        self.counts = counts

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Go on from the counts of the checkpoint, if training resumes from one."""
        states: Any = state.stateful_callbacks or {}
        self.counts.load(states.get(type(self).__name__, {}).get("attributes", {}).get("counts", {}))

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Count what the other processes have seen in this step."""
        news = self.counts.take_news()
        if args.world_size > 1:
            from accelerate.utils import gather_object

            news_of_all: Any = gather_object([(args.process_index, news)])
            for process, news in news_of_all:
                if process != args.process_index:
                    self.counts.add(news)

    def state(self) -> dict[str, Any]:
        """What the checkpoint holds."""
        return {"args": {}, "attributes": {"counts": self.counts.state()}}
