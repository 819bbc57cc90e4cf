"""Three splits from a data set that comes as a train file and a test file: validation is held out of train."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from polymode.errors import ConfigError, DataNotFoundError
from polymode.tasks import Split, check_request
from polymode.types import Example
from polymode.verifiers.text import TextVerifier

File = Literal["train", "test"]

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class HeldOut:
    """The splits of a data set, read on demand.

    A question belongs to one split: train questions that also occur in the test file (after normalising, see
    `verifiers.text`) are left out, and whether a train question is held out depends on its text alone.

    Args:
        read: examples of a file in its order, or None when the file is not there.
        missing: the error for a file that is not there.
        validation: share of the train questions held out, in (0, 1).

    Raises:
        ConfigError: validation out of its range.
    """

    def __init__(
        self,
        read: Callable[[File], list[Example] | None],
        missing: Callable[[File], DataNotFoundError],
        *,
        validation: float,
    ) -> None:
        if not 0 < validation < 1:
            raise ConfigError(f"validation = {validation!r} must lie between 0 and 1")
        self._read, self._missing, self._share = read, missing, validation
        self._found: dict[Split, list[Example]] = {}

    def examples(self, split: Split, n: int | None, seed: int) -> Sequence[Example]:
        """The first ``n`` examples of a split shuffled by ``seed``, at most all of them.

        Raises:
            ConfigError: unknown split or negative n.
            DataNotFoundError: the split's file is missing.
        """
        check_request(split, n)
        if split not in self._found:
            self._load("test" if split == "test" else "train")
        found = self._found[split]
        order = np.random.default_rng([seed, _SPLITS.index(split)]).permutation(len(found))[:n]
        return [found[i] for i in order]

    def _load(self, file: File) -> None:
        examples = self._read(file)
        if examples is None:
            raise self._missing(file)
        if file == "test":
            self._found["test"] = examples
            return
        if "test" not in self._found:
            self._found["test"] = self._read("test") or []
        key = TextVerifier().key
        taken = {key(asked(example)) for example in self._found["test"]}
        self._found["train"], self._found["validation"] = [], []
        for example in examples:
            text = key(asked(example))
            if text not in taken:
                self._found["validation" if _place(text) < self._share else "train"].append(example)


def asked(example: Example) -> str:
    """The question of an example, without any paragraphs before it (``meta["asked"]`` where there are any)."""
    return str(example.meta.get("asked", example.question))


def _place(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
