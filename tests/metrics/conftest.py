"""One small judged table, worked by hand in the tests."""

import numpy as np
import pytest

from polymode.metrics.table import JudgedTable


@pytest.fixture
def small_table() -> JudgedTable:
    """Two questions with two sets each; set 1 is malformed; the second answer of set 3 repeats its first."""
    nan = np.nan
    return JudgedTable(
        n_questions=2,
        question=np.array([0, 0, 1, 1]),
        k=np.array([3, 3, 2, 2]),
        n_references=np.array([2, 2, 1, 1]),
        n_tokens=np.array([30.0, 10.0, nan, 20.0]),
        best=np.array([2.0, 2.0, 1.0, 1.0]),
        kl=np.array([nan, nan, 0.5, 0.1]),
        total_variation=np.full(4, nan),
        owner=np.array([0, 0, 0, 2, 2, 3, 3]),
        slot=np.array([0, 1, 2, 0, 1, 0, 1]),
        q=np.array([0.2, 0.9, 0.9, 0.6, 0.3, 0.8, 0.0]),
        y=np.array([1.0, 0, 1, 1, 0, 1, 0]),
        p=np.array([0.3, 0.1, 0.8, 0.6, 0.2, 0.6, 0.0]),
        is_duplicate=np.array([False, False, False, False, False, False, True]),
        match=np.array([0, -1, 1, 0, -1, 0, 0]),
        answer_class=np.array([0, 1, 2, 0, 1, 0, 0]),
        n_unscored=1,
    )
