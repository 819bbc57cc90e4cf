"""The pure core of every reward: completions and references in, totals and named terms out.

`reward_of` scores one completion, `rewards_of` a batch, with the group view that objectives over a group need. The
trainers and evaluators that polymode serves (`polymode.training`, `polymode.integrations`) call one of the two. Nothing
here has a state: what is remembered about references only saves reading them again. Arguments and results can be
pickled, so that any executor, pool or Ray actor can run it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from polymode.errors import ConfigError, RecordError
from polymode.judging import judge
from polymode.messages import completion_text
from polymode.parsing import parse_answers
from polymode.references import plain
from polymode.rewards.columns import column, examples_of, ks_of
from polymode.rewards.conditions import check_question, improper_objective
from polymode.rewards.methods import Method, find_method
from polymode.rewards.questions import Equality, question_from
from polymode.rewards.reward import Reward
from polymode.rewards.terms import score_set
from polymode.types import Score, Target
from polymode.verifiers import depends_on_question, prepare_verifier
from polymode.verifiers.text import TextVerifier

if TYPE_CHECKING:
    from polymode.rewards.shaping import Shaping  # which loads NumPy; scoring a completion does not need it

_TEXT = TextVerifier()


def reward_of(
    text: Any,
    references: Any,
    *,
    k: int,
    method: str | Method = "multi-rlcr",
    preset: str = "paper",
    reward: Reward | None = None,
    verifier: Equality | str | None = None,
    question: str = "",
    finished: bool = True,
    target: Target | None = None,
    distribution: Any = None,
) -> Score:
    """Parse, judge and score one completion: its total and named terms, which sum to the total.

    Args:
        text: the model's whole text, or a conversation whose last message is it (`polymode.messages`).
        references: the right answers: each a string, a list of aliases, an object or a `Reference`; also the text of
            such a list. A bare string is one reference; with an empty list no answer is right, and honest confidences
            are 0. Or the question itself, an `Example` of a task.
        k: answers asked for; 1 for the single methods.
        method: one of `METHODS`.
        preset: ``paper`` or ``released``.
        reward: weights of one's own instead of a preset.
        verifier: equality of answers, for example a task's own, ``task.verifier()``, or the name of one without
            options; `TextVerifier` when None.
        question: text of the question, for a verifier that reads it.
        finished: False when generation was cut off.
        target: ``distribution`` scores confidences against ``distribution``, or the weights of the references, which
            then must sum to 1 (`polymode.soft_labels`). None: what the `Example` says, else ``verdict``.
        distribution: reference distribution, a mapping of answers to probabilities.

    Returns:
        A `Score`; its total is None where the verifier failed (``judgement.faults`` says why): neither right nor wrong.

    Raises:
        ConfigError: unknown method, preset, target or verifier, k out of range, k > 1 with a single method, or weights
            that are improper on this question.
        RecordError: references that are missing, unreadable, or only aliases of each other, or whose weights are no
            distribution; a completion that is no text.

    >>> text = "<answer1>flu</answer1><confidence1>0.5</confidence1><answer2>cold</answer2><confidence2>0</confidence2>"
    >>> reward_of(text, ["the flu", ["Covid", "COVID-19"]], k=2).terms
    {'coverage': 1.0, 'brier': -0.125, 'format': 1.0}
    """
    chosen = method if isinstance(method, Method) else find_method(method)
    if text.__class__ is not str:
        text = completion_text(text)
    if k.__class__ is not int:
        k = plain(k)  # NumPy's whole numbers
    answers = parse_answers(text, k, confidence=chosen.has_confidence, finished=finished)
    if k != 1 and not chosen.is_multi:
        raise ConfigError(f"k = {k!r} with method = {chosen.name!r}: a single method asks for one answer; use k = 1")
    equality = _TEXT if verifier is None else _named(verifier) if isinstance(verifier, str) else verifier
    example = question_from(references, equality, question=question, target=target, distribution=distribution)
    if depends_on_question(equality):
        equality = prepare_verifier(equality, [(example, [answer.text for answer in answers.answers])])
    judgement = judge(example, answers, equality)
    if reward is not None:
        _check(reward, k, judgement.n_references, example.target)
    return score_set(judgement, _reward(chosen, preset) if reward is None else reward)


def rewards_of(
    texts: Sequence[Any],
    references: Any,
    *,
    k: int | Sequence[int],
    method: str | Method = "multi-rlcr",
    preset: str = "paper",
    reward: Reward | None = None,
    verifier: Equality | str | None = None,
    question: Sequence[str] | None = None,
    finished: bool | Sequence[bool] = True,
    target: Sequence[str] | None = None,
    distribution: Sequence[Any] | None = None,
    shaping: Shaping | None = None,
    groups: Sequence[Hashable] | None = None,
    question_id: Sequence[str] | None = None,
) -> list[Score]:
    """`reward_of` for N completions, with slow verifiers working on all of them at once, and objectives over groups.

    Args:
        texts: as in `reward_of`.
        references: a list or a column with one row for each completion, each as in `reward_of`.
        k: answers asked for, of all completions or of each; single methods always ask for one.
        method: as in `reward_of`.
        preset: as in `reward_of`.
        reward: as in `reward_of`.
        verifier: as in `reward_of`.
        question: as in `reward_of`, of each completion.
        finished: of all completions or of each.
        target: of each completion.
        distribution: of each completion.
        shaping: what changes scores by their group: pass@k, coverage@k, exploration (`polymode.Shaping`).
        groups: which group each completion belongs to: anything that is the same for the completions of one question
            and different for others, in any order. Needed by ``shaping``; `polymode.credit.centred_by_group` makes
            advantages from totals and the same groups.
        question_id: tells questions apart for exploration over a whole training; else their texts do.

    Raises:
        ConfigError: as in `reward_of`; ``shaping`` without groups, or with an objective other than the mean where
            confidences are scored.
        RecordError: as in `reward_of`, with the row; a column of another length.
    """
    chosen = method if isinstance(method, Method) else find_method(method)
    weights = _reward(chosen, preset) if reward is None else reward
    equality = _TEXT if verifier is None else _named(verifier) if isinstance(verifier, str) else verifier
    n = len(texts)
    if groups is not None and len(groups) != n:
        raise RecordError(f"groups has {len(groups)} entries for {n} completions; give one for each")
    k, finished = plain(k), plain(finished)  # NumPy's scalars
    if isinstance(k, int) and not isinstance(k, bool):
        ks = [chosen.answers(k)] * n
    else:
        ks = [chosen.answers(k_of_row) for k_of_row in ks_of(k, n)]
    are_finished = [finished] * n if isinstance(finished, bool) else column("finished", finished, n)
    examples = examples_of(references, n, equality, question=question, target=target, distribution=distribution)
    answers_N = [
        parse_answers(
            text if text.__class__ is str else completion_text(text),
            ks[i],
            confidence=chosen.has_confidence,
            finished=bool(are_finished[i]),
        )
        for i, text in enumerate(texts)
    ]
    prepared = prepare_verifier(
        equality,
        (
            (example, [answer.text for answer in answers.answers])
            for example, answers in zip(examples, answers_N, strict=True)
        ),
    )
    judgements = [judge(example, answers, prepared) for example, answers in zip(examples, answers_N, strict=True)]
    for judgement, example in zip(judgements, examples, strict=True):
        _check(weights, judgement.answer_set.k, judgement.n_references, example.target)
    scores = [score_set(judgement, weights) for judgement in judgements]
    if shaping is None:
        return scores
    if shaping.objective != "mean" and weights.confidence_weight:
        raise ConfigError(improper_objective(shaping.objective, chosen.name))
    if groups is None:
        raise ConfigError("groups is missing: shaping needs to know which completions belong to one question")
    names = None if question_id is None else [str(name) for name in column("question_id", question_id, n)]
    return shaping(scores, examples, prepared, groups, names, coverage_weight=weights.coverage_weight)


@lru_cache
def _named(verifier: str) -> Equality:
    from polymode.verifiers.choice import open_verifier

    return open_verifier(verifier)


@lru_cache
def _reward(method: Method, preset: str) -> Reward:
    return method.reward(preset)  # checking its weights takes longer than scoring a set


@lru_cache(maxsize=1024)
def _check(reward: Reward, k: int, n: int, target: Target) -> None:
    check_question(reward, k=k, n=n, target=target)
