"""Hands the scores of a batch from the reward function to the trainer that credits parts of completions.

TRL calls the reward inside its own code and keeps only the totals. Whoever needs the judgements behind them takes them
from here, once for each batch, and it is checked that they belong to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from polymode.types import Score

END_THINK = "</think>"


class ScoredText(NamedTuple):
    """A completion as the reward saw it."""

    text: str
    score: Score


class ScoreLedger:
    """Holds the scored completions of one batch, from `record` to `take`."""

    def __init__(self) -> None:
        self._batch: list[ScoredText] | None = None

    def record(self, texts: Sequence[str], scores: Sequence[Score]) -> None:
        """Keep the scores of a batch; those of an earlier batch are dropped."""
        self._batch = [ScoredText(text, score) for text, score in zip(texts, scores, strict=True)]

    def take(self, decoded: Sequence[str]) -> list[ScoredText]:
        """The batch that was recorded last, which is then gone.

        Args:
            decoded: the completions by their tokens, in the batch's order.

        Raises:
            RuntimeError: nothing was recorded, or another batch was. A single text may differ, because chat templates
                may rewrite a reply; when all do, the scores are those of other completions.
        """
        batch, self._batch = self._batch, None
        if batch is None:
            raise RuntimeError("no batch was scored since the last one: give the reward function this ledger")
        if len(batch) != len(decoded):
            raise RuntimeError(f"{len(batch)} completions were scored, {len(decoded)} are to be credited")
        if batch and not any(reply_of(scored.text) in text for scored, text in zip(batch, decoded, strict=True)):
            raise RuntimeError("the completions that were scored are not those that are to be credited")
        return batch


def reply_of(text: str) -> str:
    """What follows the reasoning, without white space around it."""
    return text[text.rfind(END_THINK) + len(END_THINK) if END_THINK in text else 0 :].strip()
