"""Completions to judged completions: parsed, judged, scored, with what their question tells (layer L4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from polymode.errors import VerifierFault
from polymode.evaluation.equality import Equality, ask_or
from polymode.fingerprints import question_fingerprint
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.policy.pooling import can_be_pooled, pool_sets
from polymode.rewards import METHODS, Reward, score_set
from polymode.runs import SCHEMA, JudgedCompletion, JudgedSet, grouping_fields
from polymode.types import Answer, AnswerSet, Completion, Example, Judgement, ParseStatus, Span, Verdict
from polymode.verifiers import QuestionVerifier, Verifier, prepare_verifier, verifier_at
from polymode.verifiers.faults import ask, truth
from polymode.verifiers.remembering import RememberingVerifier


class CompletionJudge:
    """Parses, judges and scores completions with one verifier, question by question."""

    def __init__(self, verifier: Verifier | QuestionVerifier, reward: Reward | None) -> None:
        self.verifier = self.prepared = verifier
        """As the user named it; ``prepared`` is what judges: after `prepare`, it has the results."""
        self._rewards = {
            has_confidence: reward or METHODS["multi-rlcr" if has_confidence else "multi-rlvr"].reward("paper")
            for has_confidence in (True, False)
        }

    def prepare(self, completions: Iterable[Completion]) -> None:
        """Let a slow verifier see all answers at once."""
        items = ((c.example, [a.text for a in _answers(c).answers]) for c in completions)
        self.prepared = prepare_verifier(self.verifier, items)

    def judged(
        self, completions: Sequence[Completion], pool: int = 0, *, ranked: bool = False
    ) -> list[JudgedCompletion]:
        """Parse (salvaging what can be salvaged), judge and score the completions of one question.

        Args:
            completions: in sample order.
            pool: put the answers of so many completions together as one set, stored at the first of them; 0 for none.
            ranked: make one ranked set of their answer sets, as in service, instead of a set of all answers.
        """
        example = completions[0].example
        # What is pooled has been judged already: each of its answers keeps the verdict that it has in its completion.
        verifier = RememberingVerifier(verifier_at(self.prepared, example)) if ranked else self.prepared
        equality = Equality(example, verifier)
        identity = {"question": question_fingerprint(example.question) or None, "meta": grouping_fields(example.meta)}
        # One step for all after the other, which is faster than all steps for each completion.
        sets = [_answers(completion) for completion in completions]
        judgements = [judge(example, one, equality.verifier) for one in sets]
        scores = [
            score_set(one, self._rewards[completion.has_confidence and one.answer_set.has_confidence])
            for one, completion in zip(judgements, completions, strict=True)
        ]
        facts = [self._facts(equality, score.judgement) for score in scores]  # with the faults of terms
        lines = [
            JudgedCompletion(
                id=example.id,
                **identity,
                sample=completion.sample,
                k=completion.k,
                status=one.status._value_,  # value is a slow property
                reason=one.reason,
                answers=tuple([answer.text for answer in one.answers]),
                confidences=tuple([answer.confidence for answer in one.answers]),
                score=score.total,
                terms=dict(score.terms),
                n_tokens=completion.n_tokens,
                schema=SCHEMA,
                **own,
            )
            for completion, one, score, own in zip(completions, sets, scores, facts, strict=True)
        ]
        for start in range(0, len(lines) - pool + 1, pool) if pool else ():
            members = sets[start : start + pool]
            pooled = self._ranked(equality, members) if ranked else self._joined(equality, members)
            lines[start] = replace(lines[start], pool=pooled)
        return lines

    def _joined(self, equality: Equality, members: Sequence[AnswerSet]) -> JudgedSet:
        """Single answers judged as one set."""
        answers = tuple(Answer(answer.text, Span(0, 0)) for one in members for answer in one.answers)
        status = ParseStatus.CLEAN if answers else ParseStatus.MALFORMED
        answer_set = AnswerSet(status, answers, len(members), has_confidence=False)
        return JudgedSet(**self._facts(equality, judge(equality.example, answer_set, equality.verifier)))

    def _ranked(self, equality: Equality, members: Sequence[AnswerSet]) -> JudgedSet:
        """Answer sets judged as the one set that `pool_sets` makes of them; UNSCORED where it cannot compare them."""
        answers = pool_sets(members, lambda a, b: truth(ask(equality.verifier.same, a, b)))
        first = next((one for one in members if can_be_pooled(one)), answers)
        if first.is_clean and not answers.is_clean:
            facts: dict[str, Any] = {"verdicts": (Verdict.UNSCORED.value,) * first.k, "faults": (answers.reason,)}
            answers = first
        else:
            facts = self._facts(equality, judge(equality.example, answers, equality.verifier))
        return JudgedSet(ranked=tuple((one.text, one.confidence or 0.0) for one in answers.answers), **facts)

    def _facts(self, equality: Equality, judgement: Judgement) -> dict[str, Any]:
        """The fields of a `JudgedSet`."""
        hits, matches, duplicates = judgement.hits, judgement.matches, judgement.duplicates
        facts: dict[str, Any] = {
            "verdicts": tuple([verdict._value_ for verdict in judgement.verdicts]),  # value is a slow property
            "hits": hits,
            "matches": matches,
            "duplicates": duplicates,
            "n_references": judgement.n_references,
            "faults": judgement.faults,
            "open": equality.is_open,
            "complete": equality.is_complete,
            "reasons": equality.reasons(judgement),
        }
        if not judgement.is_scored:  # its verifier may fail again
            return facts
        texts = [answer.text for answer in judgement.answer_set.answers]
        if judgement.soft_labels is not None:
            facts["labels"] = judgement.soft_labels
        has_chances = equality.example.p_correct is not None
        answers = []
        if equality.has_masses or has_chances:
            answers = [equality.look_up(text, match) for text, match in zip(texts, matches, strict=True)]
            facts["classes"] = tuple([answer.class_ for answer in answers])
        else:
            facts["classes"] = equality.classes(texts, matches)
        if equality.has_masses:
            facts["masses"] = tuple([answer.mass for answer in answers])
        if has_chances:
            # An answer whose reference was found by an earlier one can be no new hit, whatever the truth.
            facts["p_correct"] = tuple(
                0.0 if duplicate is not None or (match is not None and not hit) else answer.p_correct
                for answer, match, duplicate, hit in zip(answers, matches, duplicates, hits, strict=True)
            )
        facts["best"] = equality.best_coverage(judgement.answer_set.k)
        count_distinct = getattr(self.prepared, "count_distinct", None)  # that of programs
        if count_distinct is not None:
            facts["distinct"] = _distinct(count_distinct, equality.example, texts)
        return facts


def _distinct(count_distinct: Any, example: Example, texts: Sequence[str]) -> dict[str, int | None]:
    """Right programs of a set that differ in their syntax trees, and in what they do; None when unknown."""

    def count() -> dict[str, int | None]:
        counts = count_distinct(example, texts)
        if counts.unscored:
            raise VerifierFault(f"{counts.unscored} unscored")
        return {
            name: None if n is None else int(n)
            for name, n in (("ast", counts.by_ast), ("behaviour", counts.by_behaviour))
        }

    # Fails on a question whose tests cannot be used, and where a verifier of somebody else counts in its own way.
    return ask_or({"ast": None, "behaviour": None}, count)


def _answers(completion: Completion) -> AnswerSet:
    answers = parse_answers(
        completion.text,
        completion.k,
        confidence=completion.has_confidence,
        finished=completion.is_finished,
        salvage=True,
    )
    outside = completion.confidences
    if outside is None and completion.confidence_mass is not None:  # measured, and there was nothing to compare
        silent = tuple(replace(answer, confidence=None) for answer in answers.answers)
        return replace(answers, answers=silent, has_confidence=False)
    if outside is None or len(outside) != len(answers.answers):
        return answers
    slots = tuple(replace(answer, confidence=q) for answer, q in zip(answers.answers, outside, strict=True))
    return replace(answers, answers=slots, has_confidence=True)
