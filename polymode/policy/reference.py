"""What questions and confidences of the calibration measured, to tell later whether they have changed (layer L2).

Where `polymode.policy.inputs` looks at one question, these numbers are for many: a few questions more of one kind are
no strangers, and change how often a model is right all the same.
"""

from __future__ import annotations

import math
import random
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from polymode.errors import ConfigError
from polymode.policy.inputs import InputCheck, parts_of

MAX_VALUES = 500
"""Values of each measure that a policy holds."""
N_DIRECTIONS = 5
N_WORDS = 256
INPUTS = (
    "length",
    "words that the calibration lacks",
    "characters that the calibration lacks",
    "distance to the calibration",
    *(f"mix of questions, direction {i + 1}" for i in range(N_DIRECTIONS)),
)
"""Measures of a question."""
CONFIDENCES = ("highest confidence", "confidence of all answers")
"""Measures of an answer set, as stated; -1 where it cannot be used."""
UNUSABLE = (-1.0, -1.0)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Reference:
    """Measures of the calibration, sorted; empty where there are none.

    The mix of questions is measured by which words a question has, along the directions in which the calibration
    questions vary most, their first principal components. Words are places in a small table, so that no text is held.
    """

    inputs: tuple[tuple[float, ...], ...] = ()
    """Of questions without a part in the check of inputs or the directions, for each of `INPUTS`."""
    directions: tuple[tuple[float, ...], ...] = ()
    confidences: tuple[tuple[float, ...], ...] = ()
    """For each of `CONFIDENCES`."""

    def __post_init__(self) -> None:
        sizes = {"inputs": len(INPUTS), "directions": N_DIRECTIONS, "confidences": len(CONFIDENCES)}
        for name, size in sizes.items():
            rows = getattr(self, name)
            is_number = all(
                isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)
                for row in rows
                for x in row
            )
            if not is_number or len(rows) not in (0, size) or not all(rows) or len({len(row) for row in rows}) > 1:
                raise ConfigError(f"conditions.reference.{name}: {size} lists of numbers are needed; calibrate again")
        if self.inputs and (not self.directions or len(self.directions[0]) != N_WORDS):
            raise ConfigError(f"conditions.reference.directions: {N_WORDS} numbers each are needed; calibrate again")

    @staticmethod
    def of(
        texts: Iterable[str], check: InputCheck | None, confidences: Sequence[tuple[float, float]] = ()
    ) -> Reference | None:
        """The reference of a calibration.

        Args:
            texts: the questions.
            check: fitted on the same questions; without it inputs are not measured.
            confidences: measures of each answer set (`set_measures`).

        Returns:
            None where nothing can be measured.
        """
        own: dict[str, tuple[tuple[float, ...], ...]] = {}
        if confidences:
            own["confidences"] = tuple(_sample(column) for column in zip(*confidences, strict=True))
        if check is not None:
            fitted, _, *others = parts_of(texts)
            directions = _directions(fitted)
            fresh = [_measures(text, check, directions) for part in others for text in part]
            own |= {"directions": directions, "inputs": tuple(_sample(column) for column in zip(*fresh, strict=True))}
        return Reference(**own) if own else None

    def measures(self, question: str, check: InputCheck | None) -> tuple[float, ...]:
        """Measures of a question, in the order of `INPUTS`; none without a check or a reference.

        Nor for a question that the check was fitted on: it is nearer to the calibration than any new one.
        """
        if check is None or not self.inputs:
            return ()
        own = _measures(question, check, self.directions)
        return () if own[INPUTS.index("distance to the calibration")] == 0 else own


def set_measures(confidences: Sequence[float]) -> tuple[float, float]:
    """Measures of an answer set, in the order of `CONFIDENCES`, from the stated confidences of its distinct answers."""
    return (round(max(confidences), 4), round(sum(confidences), 4)) if confidences else UNUSABLE


def _sample(values: Sequence[float]) -> tuple[float, ...]:
    """At most `MAX_VALUES` of the values, at random, sorted."""
    return tuple(sorted(random.Random(0).sample(values, min(len(values), MAX_VALUES))))


def _measures(text: str, check: InputCheck, directions: Sequence[Sequence[float]]) -> tuple[float, ...]:
    _, *others = check.measures(text)
    words = _words(text)
    along = [sum(direction[word] for word in words) for direction in directions]
    length = math.log(max(1, len(" ".join(text.split()))))
    return tuple(round(x, 4) for x in (length, *others, *along))


def _words(text: str) -> set[int]:
    """Places of a question's words among `N_WORDS`; of a number its first digit and its number of digits count."""
    words = (f"{word[0]} of {len(word)}" if word.isdecimal() else word for word in _WORD.findall(text.casefold()))
    return {zlib.crc32(word.encode("utf-8", "surrogatepass")) % N_WORDS for word in words}


def _directions(texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """The first principal components of which words are there."""
    import numpy as np  # which deciding does without

    has_word = np.zeros((len(texts), N_WORDS))
    for row, text in enumerate(texts):
        has_word[row, list(_words(text))] = 1
    _, _, rows = np.linalg.svd(has_word - has_word.mean(axis=0), full_matrices=False)
    rows *= np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])[:, None]  # either sign is a component
    return tuple(tuple(round(float(x), 3) + 0.0 for x in row) for row in rows[:N_DIRECTIONS])
