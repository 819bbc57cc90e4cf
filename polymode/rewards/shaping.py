"""Scores that depend on the group: what an objective means beyond one completion (layer L2).

Trainers centre rewards by the mean of their group. Pass@k needs nothing else: given each completion's mean over the
subsets that it is in, the centred rewards are the analytic advantages (`polymode.pass_at_k`). So a group's scores are
changed between judging and the trainer, and the trainer stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from polymode.credit.group import rows_by_group
from polymode.errors import ConfigError, number_in, one_of
from polymode.exploration import AnswerCounts, AnswerNames, batch_bonus
from polymode.pass_at_k import pass_at_k_values, union_values
from polymode.types import Example, Score
from polymode.verifiers import QuestionVerifier, Verifier, is_open, verifier_at

OBJECTIVES = ("mean", "pass@k", "coverage@k")
EXPLORATIONS = ("none", "batch", "historical")


@dataclass(frozen=True)
class Shaping:
    """Changes the scores of each group: a new coverage term, or a further term ``exploration``.

    Raises:
        ConfigError: an unknown objective or exploration, or a number out of its range.
    """

    objective: Literal["mean", "pass@k", "coverage@k"] = "mean"
    """By the last two the coverage term of a completion becomes its weight times the completion's value
    (`polymode.pass_at_k`). A completion is right when it finds a reference."""
    objective_k: int = 2
    """Completions in a subset."""
    exploration: Literal["none", "batch", "historical"] = "none"
    """Bonus for rare answers (`polymode.exploration`), with its weight."""
    exploration_weight: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is not known, in one line that names the field."""
        one_of("objective", self.objective, OBJECTIVES)
        one_of("exploration", self.exploration, EXPLORATIONS)
        number_in("objective_k", self.objective_k, 1, whole=True)
        number_in("exploration_weight", self.exploration_weight, 0)

    @cached_property
    def counts(self) -> AnswerCounts | None:
        """What the historical bonus remembers; belongs into checkpoints."""
        return AnswerCounts() if self.exploration == "historical" else None

    @property
    def term_names(self) -> list[str]:
        """Terms that come on top of the reward's."""
        return ["exploration"] if self.exploration != "none" else []

    def __call__(
        self,
        scores: Sequence[Score],
        examples: Sequence[Example],
        verifier: Verifier | QuestionVerifier,
        groups: Sequence[Hashable],
        questions: Sequence[str] | None = None,
        *,
        coverage_weight: float = 1.0,
    ) -> list[Score]:
        """The scores of a batch as the objective sees them; unscored completions stay unscored and take no part.

        Args:
            scores: of whole groups.
            examples: the question of each completion.
            verifier: the equality that they were judged with.
            groups: the group of each completion, in any order.
            questions: what tells the questions apart over a training, for each completion; else their texts, or their
                references where one has no text.
            coverage_weight: weight of the coverage term.

        Raises:
            ConfigError: ``coverage@k`` where references cannot be counted.
        """
        if questions is None and all(example.question for example in examples):
            questions = [example.question for example in examples]
        shaped: list[Score] = list(scores)
        for rows in rows_by_group(groups):
            example = examples[rows[0]]
            name = questions[rows[0]] if questions else json.dumps([ref.names for ref in example.references])
            group = self._shaped([scores[row] for row in rows], verifier_at(verifier, example), name, coverage_weight)
            for row, score in zip(rows, group, strict=True):
                shaped[row] = score
        return shaped

    def _shaped(
        self, scores_G: Sequence[Score], verifier: Verifier, question: str, coverage_weight: float
    ) -> Iterator[Score]:
        """One group."""
        terms_G = [dict(score.terms) for score in scores_G]
        if self.objective != "mean":
            for terms, value in zip(terms_G, self._values(scores_G, verifier), strict=True):
                terms["coverage"] = coverage_weight * value
        if self.exploration != "none":
            for terms, bonus in zip(terms_G, self._bonuses(scores_G, verifier, question), strict=True):
                terms["exploration"] = self.exploration_weight * bonus
        for score, terms in zip(scores_G, terms_G, strict=True):
            yield score if score.total is None else replace(score, total=sum(terms.values()), terms=terms)

    def _values(self, scores_G: Sequence[Score], verifier: Verifier) -> list[float]:
        references_G = [None if score.total is None else _references(score) for score in scores_G]
        if self.objective == "pass@k":
            rights_G = [None if references is None else bool(references) for references in references_G]
            return pass_at_k_values(rights_G, self.objective_k).tolist()
        if is_open(verifier):
            raise ConfigError(
                "objective = 'coverage@k' where right answers are without number: there are no references to count; "
                "use objective = 'pass@k'"
            )
        numbers_N = np.arange(max(score.judgement.n_references for score in scores_G))
        hits_G_N = [
            np.full(len(numbers_N), np.nan) if references is None else np.isin(numbers_N, list(references))
            for references in references_G
        ]
        return union_values(np.array(hits_G_N), self.objective_k).tolist()

    def _bonuses(self, scores_G: Sequence[Score], verifier: Verifier, question: str) -> list[float]:
        names = AnswerNames(verifier, self.counts.names(question) if self.counts is not None else ())
        names_G_K = [
            None if score.total is None else names.names(score.judgement) if score.answer_set.is_clean else []
            for score in scores_G
        ]
        return batch_bonus(names_G_K) if self.counts is None else self.counts.bonus(question, names_G_K)


def _references(score: Score) -> set[int]:
    """References that a completion finds."""
    judgement = score.judgement
    if not score.answer_set.is_clean:
        return set()
    return {match for match, y in zip(judgement.matches, judgement.hits, strict=True) if y and match is not None}
