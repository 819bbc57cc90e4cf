"""Says in plain words when training has stopped learning: what is stuck, how it shows, and what helps.

Each check looks at the means of the last steps' figures (`RUN/metrics.jsonl`). A cause is said once, and again only
after it was gone in between.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from polymode.training.callbacks import figures_of

WINDOW = 10
"""Steps that are looked at together."""
MOST = 0.9
"""Share of completions or groups that counts as nearly all."""
NARROW = 0.02
"""Standard deviation below which confidences count as one value."""
FULL = 0.98
"""Share of the most that can be found that counts as all of it."""

Figures = Mapping[str, float]
"""Means of the window by name; a figure that no step has is absent."""


def stalls(lines: Sequence[Mapping[str, Any]], answers: int) -> dict[str, str]:
    """What is stuck in these steps, by cause, each a sentence with the figure and what to do.

    Args:
        lines: figures of consecutive steps, as in ``metrics.jsonl``.
        answers: answers in one completion.
    """
    names = {name for line in lines for name, value in line.items() if isinstance(value, (int, float))}
    figures: dict[str, float] = {}
    for name in names:
        values = [float(line[name]) for line in lines if isinstance(line.get(name), (int, float))]
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            figures[name] = sum(finite) / len(finite)
    found: dict[str, str] = {}
    for check in _CHECKS:
        found |= dict(check(figures, answers))
    return found


def _unreadable(figures: Figures, answers: int) -> Iterator[tuple[str, str]]:
    cut, malformed = figures.get("share_truncated", 0.0), figures.get("share_malformed", 0.0)
    if cut + malformed < MOST:
        return
    if cut > malformed:
        yield (
            "truncated",
            f"{cut:.0%} of the completions are cut off before the last answer: raise max_completion_length, or start "
            "from a model that reasons more briefly",
        )
    else:
        yield (
            "malformed",
            f"{malformed:.0%} of the completions do not follow the answer format, so nearly all score 0: look at the "
            "column `reason` of checkpoints/completions, and start from a model that knows the format (warm start)",
        )


def _unscored(figures: Figures, answers: int) -> Iterator[tuple[str, str]]:
    share = figures.get("share_unscored", 0.0)
    if share >= MOST:
        yield (
            "unscored",
            f"{share:.0%} of the completions could not be judged: the verifier fails; its faults are in the column "
            "`reason` of checkpoints/completions, and `polymode doctor` says what is missing",
        )


def _equal(figures: Figures, answers: int) -> Iterator[tuple[str, str]]:
    share = figures.get("share_equal_groups", 0.0)
    if share < MOST:
        return
    found = figures.get("coverage", 0.0)
    if found >= FULL * answers:
        yield (
            "saturated",
            f"all {answers} answers are right in nearly every completion (mean coverage {found:.2f}): there is nothing "
            "left to learn; take harder questions, or more answers (k)",
        )
    else:
        yield (
            "equal groups",
            f"in {share:.0%} of the groups all completions have the same score, which teaches nothing: raise the "
            "temperature or the group, or leave out questions that are always or never answered",
        )


def _collapsed(figures: Figures, answers: int) -> Iterator[tuple[str, str]]:
    spread, mean = figures.get("confidence_spread"), figures.get("mean_confidence", math.nan)
    if spread is not None and spread <= NARROW:
        yield (
            "one confidence",
            f"confidences have collapsed to one value ({mean:.2f}, standard deviation {spread:.3f}): they no longer "
            "tell right from wrong; mix easy and hard questions, take more completions a step, or lower learning_rate",
        )


_CHECKS: tuple[Callable[[Figures, int], Iterator[tuple[str, str]]], ...] = (_unreadable, _unscored, _equal, _collapsed)


class StallWarnings(TrainerCallback):
    """Prints what is stuck while a run goes on.

    Args:
        answers: answers in one completion.
        say: gets each sentence; prints above the progress bar by default.
    """

    def __init__(self, answers: int, say: Callable[[str], object] = tqdm.write) -> None:
        self.answers, self.say = answers, say
        self._lines: deque[dict[str, Any]] = deque(maxlen=WINDOW)
        self._said: set[str] = set()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Look at the last steps once there are enough of them."""
        figures = figures_of(logs, state)
        if figures is None:
            return
        self._lines.append(figures)
        if len(self._lines) < WINDOW:
            return
        found = stalls(self._lines, self.answers)
        for cause, sentence in found.items():
            if cause not in self._said:
                self.say(f"learning stalls at step {state.global_step}: {sentence}")
        self._said = set(found)
