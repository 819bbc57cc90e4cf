"""Completions stay in the process that sampled them, in TRL's GRPO trainer of several processes.

TRL gathers every prompt, every completion and every column of its table on every process, in each step, for the one
that writes the table. Here each process writes its own (`polymode.runs.step_completions`); what crosses from process to
process is numbers: rewards, lengths, and the figures of a step.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from trl import GRPOTrainer
from trl.trainer import grpo_trainer

from polymode import runs

FIGURES_OF_STEP = "loss"
"""What the logs of a step have, and others, such as the summary at the end, have not."""


class LocalCompletionsTrainer(GRPOTrainer):
    """Trains as `trl.GRPOTrainer` does; the table of completions is written part by part."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._columns: dict[str, list[Any]] = {}
        self._figures: dict[str, list[float]] = defaultdict(list)
        self._table: dict[str, list[Any]] = {}

    # The reward function calls these two, by the names that TRL gives it.

    def _log_completion_extra(self, column: str, values: list[Any]) -> None:
        self._columns[column] = values

    def _log_metric(self, name: str, value: float) -> None:
        self._figures[name].append(value)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._columns = {}
        with _texts_stay_here():
            output = super()._generate_and_score_completions(inputs)
        n, process = len(inputs), self.accelerator.process_index
        of_all = n * self.accelerator.num_processes

        def own(values: Any) -> list[Any]:
            """This process's values, of those that TRL has of all."""
            return [None if math.isnan(x) else x for x in list(values)[-of_all:][process * n : (process + 1) * n]]

        logs: Any = self._logs
        self._table = {
            "prompt": list(logs["prompt"])[-n:],
            "completion": list(logs["completion"])[-n:],
            **{name: own(values) for name, values in logs["rewards"].items()},
            **self._columns,
            "advantage": own(logs["advantages"]),
        }
        self._share_figures()
        return output

    def _share_figures(self) -> None:
        """Means of what the reward functions measured, over all processes, into the logs of the step."""
        own = {name: (math.fsum(values), len(values)) for name, values in self._figures.items()}
        self._figures.clear()
        sums: dict[str, tuple[float, int]] = {}
        for figures in gather_object([own]):
            for name, (total, n) in figures.items():
                before, n_before = sums.get(name, (0.0, 0))
                sums[name] = before + total, n_before + n
        model: Any = self.model
        mode = "train" if model.training else "eval"
        for name in sorted(sums):
            total, n = sums[name]
            self._metrics[mode][name].append(total / n)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the figures of a step, and write this process's completions."""
        super().log(logs, start_time)
        if FIGURES_OF_STEP in logs and self._table:
            step = self.state.global_step
            columns = {"step": [step] * len(self._table["prompt"]), **self._table}
            train = Path(str(self.args.output_dir)).parent
            process, n_processes = self.accelerator.process_index, self.accelerator.num_processes
            runs.write_step_completions(train, step, columns, process=process, n_processes=n_processes)


@contextmanager
def _texts_stay_here() -> Iterator[None]:
    """While a step is scored, what TRL would gather for its table is what this process has."""
    grpo_trainer.gather_object = _own
    try:
        yield
    finally:
        grpo_trainer.gather_object = gather_object


def _own(values: list[Any]) -> list[Any]:
    return values
