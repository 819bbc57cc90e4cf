"""Answer sets and judged records of known make."""

from collections.abc import Callable

import numpy as np
import pytest

from polymode.policy.records import JudgedSet, Records
from polymode.types import Answer, AnswerSet, ParseStatus, Span


def answer_set(*pairs: tuple[str, float | None]) -> AnswerSet:
    """A clean set of texts and confidences."""
    answers = tuple(Answer(text, Span(0, len(text)), q) for text, q in pairs)
    return AnswerSet(ParseStatus.CLEAN, answers, max(len(pairs), 1), has_confidence=True)


@pytest.fixture
def make_set() -> Callable[..., AnswerSet]:
    return answer_set


@pytest.fixture
def lab() -> Callable[..., tuple[Records, np.ndarray]]:
    """Lab-like records: each answer has a known probability, at most one of a set is right, confidences lie too high.

    Returns records and the probabilities (N, K) of their answers, in the same order.
    """

    def records(n: int, seed: int, k: int = 3) -> tuple[Records, np.ndarray]:
        rng = np.random.default_rng(seed)
        p = np.sort(rng.dirichlet([0.4] * k + [0.15], n)[:, :k], axis=1)[:, ::-1]
        drawn = (rng.random((n, 1)) > np.cumsum(p, axis=1)).sum(axis=1)  # k: none of them
        q = np.round(np.clip(p**0.7 + rng.normal(0, 0.05, p.shape), 0, 1) * 20) / 20
        order = np.argsort(-q, axis=1, kind="stable")
        right = np.arange(k) == drawn[:, None]
        ranked = Records(np.take_along_axis(q, order, axis=1), np.take_along_axis(right, order, axis=1))
        return ranked, np.take_along_axis(p, order, axis=1)

    return records


@pytest.fixture
def rows() -> Callable[..., Records]:
    """Records of one distinct answer each, from (confidence, is right)."""

    def records(*pairs: tuple[float, bool]) -> Records:
        return Records.of([JudgedSet(True, ["a"], [q], [right]) for q, right in pairs], k=1)

    return records
