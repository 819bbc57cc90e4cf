"""Splits of a task that generates its own questions: unlimited, and separated by a hash of the question's text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import numpy as np

from polymode.errors import ConfigError
from polymode.tasks import Split
from polymode.types import Example

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_SPLIT_OF_BUCKET: dict[int, Split] = {0: "test", 1: "validation"}  # of ten buckets of a question's hash; rest: train


def split_of(question: str) -> Split:
    """The split a question belongs to, whatever seed generated it: a tenth each for test and validation."""
    bucket = int.from_bytes(hashlib.blake2b(question.encode(), digest_size=4).digest(), "big") % 10
    return _SPLIT_OF_BUCKET.get(bucket, "train")


def draw_examples(
    task: str,
    split: Split,
    n: int | None,
    seed: int,
    draw: Callable[[np.random.Generator], Iterable[tuple[str, Callable[[str], Example]]]],
) -> list[Example]:
    """The first ``n`` questions of a split that ``draw`` makes from ``seed``.

    Args:
        task: the task's name, for identities and messages.
        split: which questions to keep.
        n: how many; required, because there is no end.
        seed: another seed gives other questions of the same split.
        draw: some questions from a random generator, each with a function from an identity to its example.

    Raises:
        ConfigError: n is None or negative, or the split is unknown.
    """
    if split not in SPLITS:
        raise ConfigError(f"split = {split!r} is not known: use 'train', 'validation' or 'test'")
    if n is None or n < 0:
        raise ConfigError(f"n = {n!r}: {task} is endless, say how many examples to draw (for example n=200)")
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    out: list[Example] = []
    while len(out) < n:
        for question, example in draw(rng):
            if len(out) < n and split_of(question) == split:
                out.append(example(f"{task}-{split}-{seed}-{len(out)}"))
    return out
