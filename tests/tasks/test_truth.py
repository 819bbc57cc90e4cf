"""Best coverage and true probabilities, read off an example that knows its truth."""

import pytest

from polymode.errors import ConfigError
from polymode.tasks.lab.truth import best_coverage, p_correct
from polymode.types import Example, Reference


def test_best_coverage_and_p_correct_by_hand() -> None:
    exclusive = Example("a", "?", (Reference("x"),), p_correct={"x": 0.5, "y": 0.3, "z": 0.2}, exclusive=True)
    assert [best_coverage(exclusive, k) for k in (1, 2, 3, 4)] == pytest.approx([0.5, 0.8, 1.0, 1.0])
    several = Example("b", "?", (Reference("x"), Reference("y")), p_correct={"x": 1.0, "y": 1.0})
    assert [best_coverage(several, k) for k in (1, 2, 3)] == [1, 2, 2]
    assert (p_correct(exclusive, "y"), p_correct(exclusive, "flu")) == (0.3, 0.0)
    unknown = Example("c", "?", (Reference("x"),))
    with pytest.raises(ConfigError, match="'c' carries no p_correct: the best possible coverage is not known"):
        best_coverage(unknown, 1)
    with pytest.raises(ConfigError, match="'c' carries no p_correct: true probabilities are not known"):
        p_correct(unknown, "x")
