"""A shard of a completions file, a few whole questions, to judged lines and their columns (layer L4).

A shard is judged by itself, in any process: what a worker is sent says where the completions stand, and what comes back
is what is written and measured. Questions that an earlier call finished are read from its part and not judged again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polymode import runs
from polymode.errors import RecordError
from polymode.evaluation.columns import Columns, columns_of
from polymode.evaluation.judged import CompletionJudge
from polymode.evaluation.losses import Losses
from polymode.evaluation.overlaps import overlap_of
from polymode.rewards import Reward
from polymode.runs import JudgedCompletion
from polymode.verifiers import QuestionVerifier, Verifier


class Shard(NamedTuple):
    """What a worker is sent."""

    questions: runs.Questions
    has_overlap_P: Any
    """Whether the texts of each question are compared with each other."""
    present_N: Any
    """Where each completion stands in the part, -1 where it was not judged."""


class JudgedShard(NamedTuple):
    """What comes back."""

    columns: Columns
    losses: Losses
    lines: bytes
    """Of what was judged now, one JSON object each."""
    size_N: Any
    """Bytes of each completion's line; 0 where the line of the part stands."""


@dataclass(frozen=True, slots=True)
class ShardJudge:
    """Judges shards; plain data that travels to workers."""

    path: Path
    stamp: runs.Stamp
    reading: runs.Reading
    part: Path
    verifier: Verifier | QuestionVerifier
    pool: int
    votes: bool
    ranked: bool = False
    reward: Reward | None = None

    def __call__(self, shard: Shard) -> JudgedShard:
        """The judged shard.

        Raises:
            ChangedError: the file has changed since it was indexed.
            OSError: it cannot be read.
        """
        present = self._present(shard)
        needed = [
            number
            for number, lines in enumerate(present)
            if lines is None or (shard.has_overlap_P[number] and lines[0].overlap is None)
        ]
        texts = shard.questions.read(self.path, self.stamp, self.reading, needed)
        judge = CompletionJudge(self.verifier, self.reward)
        judge.prepare([one for number, own in texts.items() if present[number] is None for one in own])
        judged: list[JudgedCompletion] = []
        is_new: list[bool] = []
        for number, lines in enumerate(present):
            own = judge.judged(texts[number], self.pool, ranked=self.ranked) if lines is None else lines
            news = [lines is None] * len(own)
            if shard.has_overlap_P[number] and own[0].overlap is None:
                own[0] = replace(own[0], overlap=overlap_of(texts[number]))
                news[0] = True
            judged += own
            is_new += news
        encoded = [runs.judged_line(one) if new else b"" for one, new in zip(judged, is_new, strict=True)]
        return JudgedShard(
            replace(columns_of(judged, self.pool, votes=self.votes), ids=[]),  # whoever sent the shard has them
            Losses.of(judged),
            b"".join(encoded),
            np.array([len(line) for line in encoded], dtype=np.int64),
        )

    def _present(self, shard: Shard) -> list[list[JudgedCompletion] | None]:
        """The questions of which all is judged and scored: what a verifier failed on may succeed by now."""
        found: list[list[JudgedCompletion] | None] = []
        for number in range(len(shard.questions.ids)):
            start, end = shard.questions.start[number : number + 2].tolist()
            found.append(self._finished(shard.present_N[start:end].tolist()))
        return found

    def _finished(self, offsets: Sequence[int]) -> list[JudgedCompletion] | None:
        if min(offsets) < 0:
            return None
        try:
            own = runs.judged_at(self.part, None, offsets)
        except RecordError:  # damaged: judged again
            return None
        is_scored = all(one.is_scored and (one.pool is None or one.pool.is_scored) for one in own)
        return own if is_scored else None
