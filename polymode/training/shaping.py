"""Scores that depend on the whole group: objectives over several completions, and bonuses for rare answers.

TRL centres rewards by the mean of their group. Pass@k needs nothing else: given each completion's mean over the subsets
that it is in, the centred rewards are the analytic advantages (`polymode.pass_at_k`). So a group's scores are changed
here, between judging and TRL, and the trainer stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from polymode.errors import ConfigError
from polymode.exploration import AnswerCounts, AnswerNames, batch_bonus
from polymode.pass_at_k import pass_at_k_values, union_values
from polymode.types import Example, Score
from polymode.verifiers import QuestionVerifier, Verifier, is_open, verifier_at


class Shaping:
    """Changes the scores of each group: a new coverage term, or a further term ``exploration``.

    Args:
        num_generations: G, completions of a question, next to each other in every batch.
        objective: ``mean``, ``pass@k`` or ``coverage@k``; by the last two the coverage term of a completion becomes
            ``coverage_weight`` times its value (`polymode.pass_at_k`). It is right when it finds a reference.
        objective_k: completions in a subset.
        coverage_weight: weight of the coverage term.
        exploration: ``none``, ``batch`` or ``historical`` (`polymode.exploration`).
        exploration_weight: weight of its bonus.
    """

    def __init__(
        self,
        num_generations: int,
        *,
        objective: Literal["mean", "pass@k", "coverage@k"] = "mean",
        objective_k: int = 2,
        coverage_weight: float = 1.0,
        exploration: Literal["none", "batch", "historical"] = "none",
        exploration_weight: float = 0.0,
    ) -> None:
        self._group, self._objective, self._k = num_generations, objective, objective_k
        self._coverage_weight, self._exploration, self._weight = coverage_weight, exploration, exploration_weight
        self.counts = AnswerCounts() if exploration == "historical" else None
        """What the historical bonus remembers; belongs into checkpoints."""

    @property
    def term_names(self) -> list[str]:
        """Terms that come on top of the reward's."""
        return ["exploration"] if self._exploration != "none" else []

    def __call__(
        self,
        scores: Sequence[Score],
        examples: Sequence[Example],
        verifier: Verifier | QuestionVerifier,
        questions: Sequence[str],
    ) -> list[Score]:
        """The scores of a batch as the objective sees them; unscored completions stay unscored and take no part.

        Args:
            scores: of whole groups.
            examples: the question of each completion.
            verifier: the equality that they were judged with.
            questions: what tells the questions apart over a training, for each completion.

        Raises:
            ConfigError: a batch that is not made of whole groups, or ``coverage@k`` where references cannot be counted.
        """
        if len(scores) % self._group:
            raise ConfigError(
                f"num_generations = {self._group} does not divide the {len(scores)} completions of a process: choose "
                "questions_per_step as a multiple of the processes, so that each has whole groups"
            )
        shaped: list[Score] = []
        for i in range(0, len(scores), self._group):
            shaped += self._shaped(scores[i : i + self._group], examples[i], verifier, questions[i])
        return shaped

    def _shaped(
        self, scores: Sequence[Score], example: Example, verifier: Verifier | QuestionVerifier, question: str
    ) -> Iterator[Score]:
        """One group."""
        terms = [dict(score.terms) for score in scores]
        equality = verifier_at(verifier, example)
        if self._objective != "mean":
            for own, value in zip(terms, self._values(scores, equality), strict=True):
                own["coverage"] = self._coverage_weight * value
        if self._exploration != "none":
            for own, bonus in zip(terms, self._bonuses(scores, equality, question), strict=True):
                own["exploration"] = self._weight * bonus
        for score, own in zip(scores, terms, strict=True):
            yield score if score.total is None else replace(score, total=sum(own.values()), terms=own)

    def _values(self, scores: Sequence[Score], verifier: Verifier) -> list[float]:
        references_G = [None if score.total is None else _references(score) for score in scores]
        if self._objective == "pass@k":
            return pass_at_k_values([None if own is None else bool(own) for own in references_G], self._k).tolist()
        if is_open(verifier):
            raise ConfigError(
                "objective = 'coverage@k' where right answers are without number: there are no references to count; "
                "use objective = 'pass@k'"
            )
        n = max(score.judgement.n_references for score in scores)
        finds_GN = np.array(
            [np.full(n, np.nan) if own is None else np.isin(np.arange(n), list(own)) for own in references_G]
        )
        return union_values(finds_GN, self._k).tolist()

    def _bonuses(self, scores: Sequence[Score], verifier: Verifier, question: str) -> list[float]:
        names = AnswerNames(verifier, self.counts.names(question) if self.counts is not None else ())
        names_G = [
            None if score.total is None else names.names(score.judgement) if score.answer_set.is_clean else []
            for score in scores
        ]
        return batch_bonus(names_G) if self.counts is None else self.counts.bonus(question, names_G)


def _references(score: Score) -> set[int]:
    """References that a completion finds."""
    judgement = score.judgement
    if not score.answer_set.is_clean:
        return set()
    return {match for match, y in zip(judgement.matches, judgement.hits, strict=True) if y and match is not None}
