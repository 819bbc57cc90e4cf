"""The reward as TRL calls it: takes texts out of what TRL hands over, scores them and logs terms and verdicts.

No torch and no trl here, so the same function serves `polymode train`, stock TRL and the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from polymode.errors import ConfigError
from polymode.messages import completion_text
from polymode.prompts import encodable, reasoning_opened_by, with_reasoning_opened
from polymode.rewards import Method, Reward, rewards_of, term_names
from polymode.rewards.columns import ks_of
from polymode.rewards.shaping import Shaping
from polymode.types import Judgement, ParseStatus, Score, Verdict
from polymode.verifiers import QuestionVerifier, Verifier

RewardFunction = Callable[..., list[float | None]]


class ScoredText(NamedTuple):
    """A completion as the reward saw it."""

    text: str
    score: Score


class ScoreLedger:
    """Hands the scores of one batch from the reward function to a trainer that credits parts of completions.

    TRL calls the reward inside its own code and keeps only the totals.
    """

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
            RuntimeError: nothing was recorded, or another batch was. A text may begin with what its prompt opened.
        """
        batch, self._batch = self._batch, None
        if batch is None:
            raise RuntimeError("no batch was scored since the last one: give the reward function this ledger")
        if len(batch) != len(decoded):
            raise RuntimeError(f"{len(batch)} completions were scored, {len(decoded)} are to be credited")
        if not all(scored.text.endswith(text) for scored, text in zip(batch, decoded, strict=True)):
            raise RuntimeError("the completions that were scored are not those that are to be credited")
        return batch


def make_reward_function(
    method: Method,
    k: int,
    *,
    preset: str = "paper",
    reward: Reward | None = None,
    shaping: Shaping | None = None,
    num_generations: int | None = None,
    verifier: Verifier | QuestionVerifier | None = None,
    max_completion_length: int | None = None,
    name: str = "polymode",
    ledger: ScoreLedger | None = None,
    text_of: Callable[[Sequence[int]], str] | None = None,
) -> RewardFunction:
    """A TRL reward function for one of the four methods.

    Args:
        method: one of `polymode.rewards.METHODS`.
        k: answers in one completion of a multi method; ignored by single methods.
        preset: reward preset.
        reward: weights of one's own instead of a preset.
        shaping: what changes scores by their group; needs all completions of a question in one call, side by side.
        num_generations: G, their number, which ``shaping`` needs.
        verifier: equality of answers; text equality when None.
        max_completion_length: length in tokens at which completions are cut off, to tell TRUNCATED from MALFORMED.
        name: what TRL calls the reward in its logs.
        ledger: takes the scored completions of each call, for credit that looks into a completion.
        text_of: the text of a completion from its tokens (`polymode.decoding.texts.CompletionDecoder`), with a
            ``<think>`` that the prompt opened in front. None: the text that TRL hands over, where a tokenizer that
            registers ``<think>`` as special has left it out; only what the prompt of a row shows is then put in front.

    Returns:
        A function of TRL's keyword arguments that gives one total per completion, None where a verifier failed. The
        data set needs a column ``references``: per row a list or the text of one, each reference a string, a list of
        aliases or an object (see `polymode.references.references_from`). A row that is an empty list has no right
        answer; a missing one is an error, as is a column of another length. A column ``k`` overrides ``k`` per row; a
        column ``question`` is what a verifier that reads the question gets to see, ``question_id`` tells questions
        apart for exploration. Where a column ``target`` says ``distribution``, confidences are scored against the
        weights of the row's references, or against the row of a column ``distribution`` (a mapping of answers to
        probabilities, or its JSON). Weights that are improper on a question (`polymode.rewards.conditions`) are
        refused.
    """
    weights = method.reward(preset) if reward is None else reward
    default_k = k
    terms = [*term_names(weights), *(shaping.term_names if shaping is not None else ())]

    def reward_function(
        completions: Sequence[Any],
        references: Sequence[Any] | None = None,
        prompts: Sequence[Any] | None = None,
        completion_ids: Sequence[Sequence[int]] | None = None,
        k: Sequence[int] | None = None,
        question: Sequence[str] | None = None,
        question_id: Sequence[str] | None = None,
        target: Sequence[str] | None = None,
        distribution: Sequence[Any] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        if text_of is not None and completion_ids is not None:
            texts = [text_of(ids) for ids in completion_ids]
        else:
            openings = [""] * len(completions) if prompts is None else [reasoning_opened_by(one) for one in prompts]
            texts = [
                with_reasoning_opened(completion_text(completion), opening)
                for completion, opening in zip(completions, openings, strict=True)
            ]
        n = len(texts)
        if shaping is not None and (not num_generations or n % num_generations):
            raise ConfigError(
                f"num_generations = {num_generations} does not divide the {n} completions of a process: choose "
                "questions_per_step as a multiple of the processes, so that each has whole groups"
            )
        scores = rewards_of(
            texts,
            references,
            k=default_k if k is None else ks_of(k, n),
            method=method,
            reward=weights,
            verifier=verifier,
            question=question,
            finished=[
                completion_ids is None
                or max_completion_length is None
                or len(completion_ids[i]) < max_completion_length
                for i in range(n)
            ],
            target=target,
            distribution=distribution,
            shaping=shaping,
            groups=[i // num_generations for i in range(n)] if num_generations else None,
            question_id=question_id,
        )
        if ledger is not None:
            ledger.record(texts, scores)
        if log_extra is not None:
            _log_columns(scores, terms, log_extra)
        if log_metric is not None:
            for metric, value in summarise(scores).items():
                log_metric(metric, value)
        return [score.total for score in scores]

    reward_function.__name__ = name
    return reward_function


def summarise(scores: Sequence[Score]) -> dict[str, float]:
    """Means over the completions of a step; only finite values, so a metric without any value is absent."""
    statuses = [score.answer_set.status for score in scores]
    # Training never salvages, so no status is PARTIAL.
    out = {f"share_{s.value}": statuses.count(s) / len(statuses) for s in ParseStatus if s is not ParseStatus.PARTIAL}
    scored = [score for score in scores if score.total is not None]
    out["share_unscored"] = 1 - len(scored) / len(scores)
    if not scored:
        return out
    out["coverage"] = fmean(score.judgement.coverage for score in scored)
    slots = [
        (answer.confidence, y, duplicate is not None)
        for j in (score.judgement for score in scored if score.answer_set.is_clean)
        for answer, y, duplicate in zip(j.answer_set.answers, j.labels, j.duplicates, strict=True)
    ]
    if not slots:
        return out
    out["share_duplicate"] = fmean(is_duplicate for _, _, is_duplicate in slots)
    stated = [(q, y) for q, y, _ in slots if q is not None and y is not None]
    if stated:
        q_N, y_N = np.array(stated).T
        out["brier"] = float(((q_N - y_N) ** 2).mean())
        out["mean_confidence"], out["hit_rate"] = float(q_N.mean()), float(y_N.mean())
        out["confidence_spread"] = float(q_N.std())
    return out


def _log_columns(scores: Sequence[Score], terms: Sequence[str], log_extra: Callable[[str, list[Any]], None]) -> None:
    """The same columns in every step: TRL would fill a column that is left out with values of an earlier step."""
    log_extra("status", [score.answer_set.status.value for score in scores])
    log_extra("reason", [encodable(score.answer_set.reason or "; ".join(score.judgement.faults)) for score in scores])
    log_extra("verdicts", [" ".join(_marks(score.judgement)) for score in scores])
    for term in terms:
        log_extra(f"term_{term}", [score.terms.get(term) for score in scores])


def _marks(judgement: Judgement) -> Iterator[str]:
    for verdict, y in zip(judgement.verdicts, judgement.hits, strict=True):
        yield "repeated" if verdict is Verdict.CORRECT and not y else verdict.value
