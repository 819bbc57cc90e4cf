"""Confidences from how far the samples of a question agree: votes, and semantic aggregation (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from polymode.generate.scoring import Scorer, answer_probabilities, answers_of
from polymode.judging import judge
from polymode.prompts import Style
from polymode.types import Answer, AnswerSet, Completion, ParseStatus, Span, Verdict
from polymode.verifiers import QuestionVerifier, Verifier, prepare_verifier

Equality = Verifier | QuestionVerifier
Class = int | None
"""Number of the answers that are equal to each other; None for an answer that the verifier cannot compare."""


def votes(completions: Sequence[Completion], model: object = None, *, verifier: Equality) -> list[Completion]:
    """Confidence of each answer = share of its question's completions that hold an equal answer.

    Sample consistency needs no model. A completion counts once for each answer that it holds, and one that is not clean
    counts in the denominator alone, as in ``confidence_from="votes"`` of `polymode.evaluate`. Completions that are not
    clean, or hold an answer that the verifier cannot compare, are left as they are.
    """

    def confidences_of(group: Sequence[Completion], texts: Mapping[int, Sequence[str]], classes: Mapping[str, Class]):
        voters: dict[Class, set[int]] = {}
        for number, own in texts.items():
            for text in own:
                voters.setdefault(classes[text], set()).add(number)
        return {text: len(voters[classes[text]]) / len(group) for text in classes}

    return _by_question(completions, verifier, confidences_of)


def aggregated(
    completions: Sequence[Completion], model: Scorer, *, style: Style, verifier: Equality
) -> list[Completion]:
    """Confidence of each answer = probability of all sampled wordings of it together (semantic aggregation).

        q(a) = sum over distinct texts t of the question's samples with t = a (by the verifier) of p(t)

    where p(t) is the answer probability (`answer_probabilities`), its mean where several samples hold the text: behind
    sampled reasonings that mean estimates the probability without any. No mass counts twice, because each text
    counts once; sums above 1, which such estimates can have, are 1. For single answers (k = 1); in larger sets p(t)
    is conditional on the answers before it. Source: Semantic Confidence Aggregation, https://arxiv.org/abs/2602.07842.
    Completions that are not clean, or hold an answer that the verifier cannot compare, are left as they are.
    """
    scored = answer_probabilities(completions, model, style=style)
    probabilities: dict[tuple[str, int], tuple[float, ...]] = {
        (one.example.id, one.sample): one.confidences for one in scored if one.confidences is not None
    }

    def confidences_of(group: Sequence[Completion], texts: Mapping[int, Sequence[str]], classes: Mapping[str, Class]):
        of_text: dict[str, list[float]] = {}
        for number, own in texts.items():
            values = probabilities[group[number].example.id, group[number].sample] if own else ()
            for text, p in zip(own, values, strict=True):
                of_text.setdefault(text, []).append(p)
        means = {text: math.fsum(own) / len(own) for text, own in of_text.items()}
        sums: dict[Class, list[float]] = {}
        for text, p in means.items():
            sums.setdefault(classes[text], []).append(p)
        return {text: min(1.0, math.fsum(sums[classes[text]])) for text in classes}

    return _by_question(completions, verifier, confidences_of)


def _by_question(
    completions: Sequence[Completion],
    verifier: Equality,
    confidences_of: Callable[
        [Sequence[Completion], Mapping[int, Sequence[str]], Mapping[str, Class]], dict[str, float]
    ],
) -> list[Completion]:
    """The completions with the confidence that each text of each question has."""
    groups: dict[str, list[int]] = {}
    for place, one in enumerate(completions):
        groups.setdefault(one.example.id, []).append(place)
    texts_of = [[answer.text for answer in answers_of(one)] for one in completions]
    every = {id_: list(dict.fromkeys(t for i in places for t in texts_of[i])) for id_, places in groups.items()}
    of_example = [(completions[places[0]].example, every[id_]) for id_, places in groups.items()]
    ready = prepare_verifier(verifier, of_example)
    out = list(completions)
    for places, (example, distinct) in zip(groups.values(), of_example, strict=True):
        items = tuple(Answer(text, Span(0, len(text))) for text in distinct)
        judgement = judge(example, AnswerSet(ParseStatus.CLEAN, items, max(1, len(items)), False), ready)
        classes: dict[str, Class] = {
            text: None if verdict is Verdict.UNSCORED else slot if earlier is None else earlier
            for slot, (text, verdict, earlier) in enumerate(
                zip(distinct, judgement.verdicts, judgement.duplicates, strict=True)
            )
        }
        values = confidences_of([completions[i] for i in places], dict(enumerate(texts_of[i] for i in places)), classes)
        for i in places:
            own = texts_of[i]
            if own and all(classes[text] is not None for text in own):
                out[i] = replace(out[i], confidences=tuple(values[text] for text in own), confidence_mass=None)
    return out
