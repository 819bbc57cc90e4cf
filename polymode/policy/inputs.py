"""Questions unlike those of the calibration, told without a model (layer L2).

Nothing here holds a text: words and groups of characters are marks in fixed tables, questions are sketches.
"""

from __future__ import annotations

import base64
import hashlib
import math
import random
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from polymode.errors import ConfigError, number_in
from polymode.types import Decision, DecisionKind

ALPHA = 0.02
"""Largest share of questions drawn like those of the calibration that may be taken for others, all checks together."""
DELTA = 0.05
"""Probability that a calibration sets a limit which more of them exceed."""
SHARES = (0.3, 0.2, 0.35, 0.15)
"""Of the calibration questions: what is known of them, how much it varies, the limit, and the test of the limit."""
LEAST = math.ceil(math.ceil(math.log(DELTA) / math.log(1 - ALPHA)) / SHARES[2])
"""Questions that are needed: below, no limit keeps the share of false alarms."""
MAX_SKETCHES = 1000
BITS = 1 << 16
"""Size of each table of marks."""
LABELS = (
    "its length is unlike theirs",
    "too many of its words are in none of them",
    "too many of its groups of three characters are in none of them",
    "it is far from all of them",
)
FLOORS = (0.05, 0.02, 0.02, 2.0)
"""Least spread of each measure, where the calibration questions hardly vary: of the log length, shares, bits."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class InputCheck:
    """How far a question may be from those of the calibration.

        score(x) = max over measures j of (m_j(x) - median_j) / spread_j,    unlike where score(x) > limit

    Measures are the deviation of the logarithm of the length, the shares of unknown words and of unknown groups of
    three characters, and the distance of the sketch (`polymode.fingerprints`) to the nearest calibration question's
    in bits. Spreads reach from the median to the 95% quantile, so that no measure with a long tail sets the limit of
    the others. The limit is the least score of questions without a part in the rest that at most a share ``ALPHA`` of
    all questions drawn like them exceeds with probability 1 - ``DELTA``: a one-sided tolerance limit without
    assumptions on the distribution (Wilks 1941, https://doi.org/10.1214/aoms/1177731788).
    """

    words: str
    """Marks of words, a table of `BITS` bits in base64."""
    groups: str
    """Marks of groups of three characters."""
    sketches: tuple[str, ...]
    length: float
    """Median logarithm of the number of characters."""
    medians: tuple[float, ...]
    spreads: tuple[float, ...]
    limit: float
    n_tested: int
    """Questions that tested the limit, with no part in it."""
    n_alarms: int
    """Of these, those that were taken for others."""

    def __post_init__(self) -> None:
        where = "conditions.inputs"
        try:
            sizes = [len(_table(text)) for text in (self.words, self.groups)]
            [int(sketch, 16) for sketch in self.sketches]
        except (ValueError, TypeError, AttributeError):
            sizes = []
        if sizes != [BITS // 8] * 2 or not self.sketches:
            raise ConfigError(f"{where}: words, groups or sketches are damaged; calibrate again")
        for name in ("medians", "spreads"):
            values = getattr(self, name)
            if len(values) != len(LABELS):
                raise ConfigError(f"{where}.{name}: {len(LABELS)} numbers are needed; calibrate again")
            for value in values:
                number_in(f"{where}.{name}", value, 0)
        number_in(f"{where}.limit", self.limit, -math.inf)
        number_in(f"{where}.length", self.length, 0)
        for name in ("n_tested", "n_alarms"):
            number_in(f"{where}.{name}", getattr(self, name), 0, whole=True)

    def difference(self, question: str) -> str:
        """How a question is unlike the calibration questions; "" where it is not."""
        scores = self.scores(question)
        worst = max(range(len(scores)), key=scores.__getitem__)
        return f"the question is unlike those of the calibration: {LABELS[worst]}" if scores[worst] > self.limit else ""

    def scores(self, question: str) -> list[float]:
        """Each measure of a question, in spreads from its median."""
        return self._scores(self.measures(question))

    def measures(self, question: str) -> tuple[float, ...]:
        """Each measure of a question, in the order of `LABELS`."""
        known = _Known(_table(self.words), _table(self.groups), [int(one, 16) for one in self.sketches], self.length)
        return known.measures(question)

    def _scores(self, measures: Sequence[float]) -> list[float]:
        return [(m - median) / s for m, median, s in zip(measures, self.medians, self.spreads, strict=True)]


def fit_input_check(texts: Iterable[str]) -> InputCheck | None:
    """The check of questions like ``texts``; None where there are fewer than `LEAST` different ones."""
    own, varied, limiting, tested = parts = parts_of(texts)
    if sum(map(len, parts)) < LEAST:
        return None
    words, groups = bytearray(BITS // 8), bytearray(BITS // 8)
    for text in own:
        for table, items in ((words, _words(text)), (groups, _groups(text))):
            for item in items:
                table[item >> 3] |= 1 << (item & 7)
    sketches = [_sketch(text) for text in own[:MAX_SKETCHES]]
    length = statistics.median(math.log(len(text)) for text in own)
    known = _Known(bytes(words), bytes(groups), sketches, length)
    columns = list(zip(*(known.measures(text) for text in varied), strict=True))
    medians = tuple(float(statistics.median(column)) for column in columns)
    spreads = tuple(
        max(floor, statistics.quantiles(column, n=20)[-1] - median)
        for column, median, floor in zip(columns, medians, FLOORS, strict=True)
    )
    check = InputCheck(
        base64.b64encode(words).decode(),
        base64.b64encode(groups).decode(),
        tuple(f"{sketch:032x}" for sketch in sketches),
        length,
        medians,
        spreads,
        limit=0.0,
        n_tested=len(tested),
        n_alarms=0,
    )
    scores = sorted(max(check._scores(known.measures(text))) for text in limiting)
    limit = scores[-1 - _allowed(len(scores))]
    n_alarms = sum(max(check._scores(known.measures(text))) > limit for text in tested)
    return replace(check, limit=limit, n_alarms=n_alarms)


def parts_of(texts: Iterable[str]) -> list[list[str]]:
    """The different questions at random in as many parts as `SHARES` names; the same ones whatever their order."""
    distinct = sorted({" ".join(text.split()) for text in texts} - {""})
    random.Random(0).shuffle(distinct)
    ends = [round(len(distinct) * sum(SHARES[:i])) for i in range(1, len(SHARES))]
    return [distinct[a:b] for a, b in zip([0, *ends], [*ends, len(distinct)], strict=True)]


def _allowed(n: int) -> int:
    """Most scores of n above a limit that proves a share of at most ``ALPHA`` with probability 1 - ``DELTA``."""
    total, k = 0.0, 0
    while (total := total + math.comb(n, k) * ALPHA**k * (1 - ALPHA) ** (n - k)) <= DELTA:
        k += 1
    return max(0, k - 1)


def screened(decision: Decision, check: InputCheck | None, question: str) -> Decision:
    """The decision, or ESCALATE where the question is unlike those of the calibration."""
    difference = check.difference(question) if check is not None else ""
    if not difference:
        return decision
    reason = f"{difference[0].upper()}{difference[1:]}, so a person takes over."
    return Decision(DecisionKind.ESCALATE, (), decision.ranked, reason)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the calibration questions, decoded."""

    words: bytes
    groups: bytes
    sketches: Sequence[int]
    length: float

    def measures(self, question: str) -> tuple[float, ...]:
        text = " ".join(question.split())
        sketch = _sketch(text)
        return (
            abs(math.log(max(1, len(text))) - self.length),
            _unknown(_words(text), self.words),
            _unknown(_groups(text), self.groups),
            float(min((sketch ^ other).bit_count() for other in self.sketches)),
        )


def _unknown(items: Sequence[int], table: bytes) -> float:
    """Share of the items without a mark; 1 where there are none."""
    return sum(not table[item >> 3] >> (item & 7) & 1 for item in items) / len(items) if items else 1.0


def _words(text: str) -> list[int]:
    return [_mark(word) for word in _WORD.findall(text.casefold()) if not word.isdecimal()]


def _groups(text: str) -> list[int]:
    plain = f" {re.sub(r'[0-9]+', '0', text.casefold())} "
    return [_mark(plain[i : i + 3]) for i in range(len(plain) - 2)]


def _mark(item: str) -> int:
    return int.from_bytes(hashlib.blake2b(item.encode("utf-8", "surrogatepass"), digest_size=2).digest())


def _sketch(text: str) -> int:
    from polymode.fingerprints import question_fingerprint  # numpy, which deciding does without

    return int(question_fingerprint(text).partition("-")[2] or "0", 16)


def _table(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
