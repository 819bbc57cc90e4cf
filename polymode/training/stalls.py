"""Reports when training has stopped learning: the cause, the figure that shows it, and what helps.

The means of the last steps' figures (`RUN/metrics.jsonl`) are compared with thresholds. A cause is reported once, and
again only after it was gone in between.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from tqdm import tqdm

from polymode.training.callbacks import StepCallback

WINDOW = 10
"""Steps that are looked at together."""
MOST = 0.9
"""Share of completions or groups that counts as nearly all."""
NARROW = 0.02
"""Standard deviation below which confidences count as one value."""
FULL = 0.98
"""Share of the most that can be found that counts as all of it."""


def stalls(lines: Sequence[Mapping[str, Any]], answers: int) -> dict[str, str]:
    """What is stuck in these steps, by cause, each a sentence with the figure and what to do.

    Args:
        lines: figures of consecutive steps, as in ``metrics.jsonl``.
        answers: answers in one completion.
    """
    values = defaultdict(list)
    for name, value in (item for line in lines for item in line.items()):
        if isinstance(value, (int, float)) and math.isfinite(value):
            values[name].append(value)
    return dict(_causes({name: fmean(numbers) for name, numbers in values.items()}, answers))


def _causes(means: Mapping[str, float], answers: int) -> Iterator[tuple[str, str]]:
    """From the means of the window by name; a figure that no step has is absent."""
    truncated, malformed = means.get("share_truncated", 0.0), means.get("share_malformed", 0.0)
    if truncated + malformed >= MOST and truncated > malformed:
        yield (
            "truncated",
            f"{truncated:.0%} of the completions are cut off before the last answer: raise max_completion_length, or "
            "start from a model that reasons more briefly",
        )
    elif truncated + malformed >= MOST:
        yield (
            "malformed",
            f"{malformed:.0%} of the completions do not follow the answer format, so nearly all score 0: look at the "
            "column `reason` of checkpoints/completions, and start from a model that knows the format (warm start)",
        )
    unscored = means.get("share_unscored", 0.0)
    if unscored >= MOST:
        yield (
            "unscored",
            f"{unscored:.0%} of the completions could not be scored: the verifier, or a term of your own, fails; its "
            "faults are in the column `reason` of checkpoints/completions, and `polymode doctor` lists what is missing",
        )
    equal, coverage = means.get("share_equal_groups", 0.0), means.get("coverage", 0.0)
    if equal >= MOST and coverage >= FULL * answers:
        yield (
            "saturated",
            f"all {answers} answers are right in nearly every completion (mean coverage {coverage:.2f}): there is "
            "nothing left to learn; take harder questions, or more answers (k)",
        )
    elif equal >= MOST:
        yield (
            "equal groups",
            f"in {equal:.0%} of the groups all completions have the same score, which teaches nothing: raise "
            "temperature or num_generations, or leave out questions that are always or never answered",
        )
    spread = means.get("confidence_spread", math.inf)
    if spread <= NARROW:
        yield (
            "one confidence",
            f"confidences have collapsed to one value ({means.get('mean_confidence', math.nan):.2f}, standard "
            f"deviation {spread:.3f}): they no longer tell right from wrong; mix easy and hard questions, take more "
            "completions a step, or lower learning_rate",
        )


class StallWarnings(StepCallback):
    """Prints what is stuck while a run goes on.

    Args:
        answers: answers in one completion.
        say: gets each sentence; prints above the progress bar by default.
    """

    def __init__(self, answers: int, say: Callable[[str], object] = tqdm.write) -> None:
        self.answers, self.say = answers, say
        self._lines: deque[dict[str, Any]] = deque(maxlen=WINDOW)
        self._reported: Mapping[str, str] = {}
        """The causes of the step before."""

    def on_figures(self, step: int, figures: dict[str, Any]) -> None:
        """Look at the last steps once there are enough of them."""
        self._lines.append(figures)
        if len(self._lines) < WINDOW:
            return
        sentences = stalls(self._lines, self.answers)
        for cause, sentence in sentences.items():
            if cause not in self._reported:
                self.say(f"learning stalls at step {step}: {sentence}")
        self._reported = sentences
