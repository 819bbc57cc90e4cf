"""Learning that stalls is said in plain words, once."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from polymode.training.stalls import WINDOW, StallWarnings, stalls

HEALTHY = {
    "reward": 2.0,
    "share_clean": 0.95,
    "share_malformed": 0.04,
    "share_truncated": 0.01,
    "share_unscored": 0.0,
    "share_equal_groups": 0.1,
    "coverage": 1.4,
    "confidence_spread": 0.3,
    "mean_confidence": 0.5,
}


@pytest.mark.parametrize(
    ("changes", "cause", "text"),
    [
        ({}, None, ""),
        ({"share_malformed": 0.96}, "malformed", "96% of the completions do not follow the answer format"),
        ({"share_truncated": 0.9, "share_malformed": 0.05}, "truncated", "90% .* raise max_completion_length"),
        ({"share_unscored": 1.0}, "unscored", "100% of the completions could not be scored"),
        ({"share_equal_groups": 0.95}, "equal groups", "in 95% of the groups all completions have the same score"),
        ({"share_equal_groups": 0.95, "coverage": 2.97}, "saturated", "all 3 answers are right"),
        ({"confidence_spread": 0.01}, "one confidence", r"collapsed to one value \(0.50, standard deviation 0.010\)"),
        ({"confidence_spread": None, "mean_confidence": None}, None, ""),  # a method without confidences
        ({"confidence_spread": float("nan")}, None, ""),
    ],
)
def test_each_cause_is_told_from_health(changes: dict[str, Any], cause: str | None, text: str) -> None:
    found = stalls([{**HEALTHY, **changes}] * WINDOW, answers=3)
    assert list(found) == ([] if cause is None else [cause])
    if cause is not None:
        assert re.search(text, found[cause])


def test_a_single_bad_step_is_no_stall() -> None:
    """One of ten steps all malformed: mean (9 x 0.04 + 1) / 10 = 0.136."""
    assert stalls([HEALTHY] * (WINDOW - 1) + [{**HEALTHY, "share_malformed": 1.0}], answers=3) == {}


def test_a_cause_is_said_once_until_it_was_gone() -> None:
    said: list[str] = []
    warnings = StallWarnings(3, said.append)

    def log(n: int, **changes: float) -> None:
        for _ in range(n):
            logs = {**HEALTHY, **changes}
            logs["frac_reward_zero_std"] = logs.pop("share_equal_groups")
            state: Any = SimpleNamespace(is_world_process_zero=True, global_step=len(said))
            warnings.on_log(None, state, None, logs=logs)  # type: ignore[arg-type]

    log(WINDOW - 1, share_equal_groups=1.0)
    assert said == []
    log(5, share_equal_groups=1.0)
    assert len(said) == 1 and said[0].startswith("learning stalls at step 0: in 100% of the groups")
    log(WINDOW)
    log(WINDOW, share_equal_groups=1.0)
    assert len(said) == 2
    warnings.on_log(None, SimpleNamespace(is_world_process_zero=True), None, logs={"train_runtime": 1.0})  # type: ignore[arg-type]
    assert len(said) == 2
