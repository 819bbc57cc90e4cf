"""What a recipe's objective means beyond one completion: scores that depend on the group, and improper questions.

TRL centres rewards by the mean of their group. Pass@k needs nothing else: given each completion's mean over the subsets
that it is in, the centred rewards are the analytic advantages (`polymode.pass_at_k`). So a group's scores are changed
here, between judging and TRL, and the trainer stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal

import numpy as np

from polymode.distributions import check_target
from polymode.errors import ConfigError, RecordError
from polymode.exploration import AnswerCounts, AnswerNames, batch_bonus
from polymode.pass_at_k import pass_at_k_values, union_values
from polymode.tasks import Task, examples_of
from polymode.training.recipe import Recipe
from polymode.types import Example, Score, Target
from polymode.verifiers import QuestionVerifier, Verifier, is_open, verifier_at


@dataclass(frozen=True)
class Shaping:
    """Changes the scores of each group: a new coverage term, or a further term ``exploration``."""

    num_generations: int
    """G, completions of a question, next to each other in every batch."""
    objective: Literal["mean", "pass@k", "coverage@k"] = "mean"
    """By the last two the coverage term of a completion becomes ``coverage_weight`` times its value
    (`polymode.pass_at_k`). It is right when it finds a reference."""
    objective_k: int = 2
    """Completions in a subset."""
    coverage_weight: float = 1.0
    exploration: Literal["none", "batch", "historical"] = "none"
    """Bonus for rare answers (`polymode.exploration`), with its weight."""
    exploration_weight: float = 0.0

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
        size = self.num_generations
        if len(scores) % size:
            raise ConfigError(
                f"num_generations = {size} does not divide the {len(scores)} completions of a process: choose "
                "questions_per_step as a multiple of the processes, so that each has whole groups"
            )
        shaped: list[Score] = []
        for i in range(0, len(scores), size):
            shaped += self._shaped(scores[i : i + size], verifier_at(verifier, examples[i]), questions[i])
        return shaped

    def _shaped(self, scores_G: Sequence[Score], verifier: Verifier, question: str) -> Iterator[Score]:
        """One group."""
        terms_G = [dict(score.terms) for score in scores_G]
        if self.objective != "mean":
            for terms, value in zip(terms_G, self._values(scores_G, verifier), strict=True):
                terms["coverage"] = self.coverage_weight * value
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


def shaping_for(recipe: Recipe) -> Shaping | None:
    """The recipe's shaping of groups; None when every completion is scored by itself."""
    if recipe.objective == "mean" and recipe.exploration == "none":
        return None
    options = {field.name: getattr(recipe, field.name) for field in fields(Shaping)}
    return Shaping(**{**options, "objective_k": recipe.objective_k or recipe.k})


def check_questions(recipe: Recipe, task: Task, verifier: Verifier | QuestionVerifier) -> None:
    """Refuse what is improper on a question that training would meet; nothing is looked at when nothing can be.

    Raises:
        ConfigError: with field, value, the question and what to do.
    """
    first = examples_of(task, "train", 1, seed=recipe.seed, target=recipe.target)
    is_soft = any(example.target == "distribution" for example in first)
    is_plain = (recipe.coverage, recipe.confidences, recipe.objective) == ("count", "independent", "mean")
    if (is_plain or recipe.preset != "paper") and not is_soft:
        return  # the count gains the same everywhere, so reading the recipe has settled it
    n_questions = recipe.max_steps * recipe.questions_per_step
    examples_by_n: dict[tuple[int, Target], Example] = {}
    for example in examples_of(task, "train", n_questions, seed=recipe.seed, target=recipe.target):
        unlimited = is_open(verifier_at(verifier, example))
        if unlimited and example.target == "distribution":
            raise ConfigError(
                f"target = 'distribution' on task {task.name!r}: it has no end of right answers, so no reference has a "
                "mass; leave target out"
            )
        if unlimited and recipe.objective == "coverage@k":
            raise ConfigError(
                f"objective = 'coverage@k' on task {task.name!r}: it has no end of right answers; use 'pass@k'"
            )
        try:
            check_target(example)  # of a task of one's own, which may say anything
        except RecordError as exc:
            raise ConfigError(f"task {task.name!r}, question {example.id!r}: {exc}") from None
        examples_by_n.setdefault((recipe.answers if unlimited else len(example.references), example.target), example)
    for (n, target), example in examples_by_n.items():
        try:
            recipe.check_weights(n, target)
        except ConfigError as exc:
            raise ConfigError(f"task {task.name!r}, question {example.id!r}: {exc}") from None
