"""The temperature of single-answer arms: the best on validation questions, chosen once, and told."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from polymode.reproduce.temperatures import FILE, choose_temperature, chosen_temperatures
from polymode.types import Completion, Example, Reference

QUESTIONS = [Example(str(i), f"question {i}", (Reference("a"),)) for i in range(2)]


def sample(examples: Sequence[Example], heat: float) -> list[Completion]:
    return [Completion(example, f"{heat}", 1, False) for example in examples]


@pytest.mark.parametrize(
    ("reached", "best"),
    [
        ({0.7: 1.0, 1.0: 1.5, 1.3: 1.2}, 1.0),
        ({1.3: 1.5, 0.7: 1.5, 1.0: 0.2}, 0.7),  # the lowest of equal ones
        ({0.7: math.nan, 1.0: 0.0}, 1.0),
    ],
)
def test_the_best_coverage_wins(tmp_path: Path, reached: dict[float, float], best: float) -> None:
    def coverage(completions: list[Completion]) -> float:
        assert [one.example.id for one in completions] == ["0", "1"]
        return reached[float(completions[0].text)]

    assert choose_temperature(tmp_path, tuple(reached), QUESTIONS, sample, coverage) == best
    stored = json.loads((tmp_path / FILE).read_text())
    assert (stored["temperature"], stored["split"], stored["questions"]) == (best, "validation", 2)
    assert [one["temperature"] for one in stored["tried"]] == sorted(reached)
    assert [one["coverage"] for one in stored["tried"]] == [
        None if math.isnan(reached[heat]) else reached[heat] for heat in sorted(reached)
    ]


def test_it_is_chosen_once(tmp_path: Path) -> None:
    choose_temperature(tmp_path / "a", (0.7, 1.0), QUESTIONS, sample, lambda own: float(own[0].text))

    def never(completions: list[Completion]) -> float:
        raise AssertionError("it is chosen already")

    assert choose_temperature(tmp_path / "a", (0.7, 1.0), QUESTIONS, sample, never) == 1.0
    choose_temperature(tmp_path / "b", (0.7, 1.0), QUESTIONS, sample, lambda own: -float(own[0].text))
    assert chosen_temperatures([tmp_path / name for name in "abc"]) == [0.7, 1.0]
