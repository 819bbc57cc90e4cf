"""Token cost by hand."""

import numpy as np
import pytest

from polymode.metrics import cost
from polymode.uncertainty import replicate


def test_tokens_per_reference(small_table) -> None:
    # Sets with known tokens: 30 + 10 + 20 tokens, 2 + 0 + 1 references found.
    assert cost.tokens_per_reference(small_table.n_tokens, small_table.hits) == pytest.approx(20)
    statistic = cost.tokens_per_reference_statistic(small_table)
    values, _ = replicate({"t": statistic}, 2, rng=np.random.default_rng(0), n_boot=0)
    assert (values["t"], statistic.n) == (pytest.approx(20), 3)


def test_nothing_found_is_undefined() -> None:
    assert np.isnan(cost.tokens_per_reference(np.array([10.0, 20.0]), np.array([0.0, 0.0])))
