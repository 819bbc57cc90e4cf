"""Completions to judged completions, with what their question tells about each answer (layer L4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from polymode.distributions import distribution_of
from polymode.errors import VerifierFault
from polymode.fingerprints import question_fingerprint
from polymode.judging import judge
from polymode.metrics import alignment, diversity
from polymode.parsing import parse_answers
from polymode.policy.pooling import can_be_pooled, pool_sets
from polymode.rewards import METHODS, Reward, score_set
from polymode.runs import SCHEMA, JudgedCompletion, JudgedSet, grouping_fields
from polymode.types import Answer, AnswerSet, Completion, Example, Judgement, ParseStatus, Span, Verdict
from polymode.verifiers import QuestionVerifier, Verifier, is_open, prepare_verifier, verifier_at
from polymode.verifiers.faults import ask, truth
from polymode.verifiers.remembering import RememberingVerifier

SHOW_AFTER = 2.0
"""Seconds before a progress bar appears."""


class AnswerFacts(NamedTuple):
    """What the question tells about one answer."""

    class_: int
    """Number of its equivalence class; answers that match the same reference are one class."""
    p_correct: float | None
    """Probability that it is correct, 0 when it is not listed; None when the question does not tell."""
    mass: float | None
    """Mass in the reference distribution, 0 when it is not listed; None when there is none."""


class Equality:
    """The verifier's equality on one question: classes of answers, and their masses in its distributions."""

    def __init__(self, example: Example, verifier: Verifier | QuestionVerifier) -> None:
        self.example, self.verifier = example, verifier_at(verifier, example)
        self.is_open = is_open(self.verifier)
        """Whether right answers are without number; then each class of right answers counts as a reference."""
        self._key = getattr(self.verifier, "key", None)
        reason = getattr(self.verifier, "reason", None)
        self._reason = reason if callable(reason) else None
        self._classes: dict[object, int] = {}
        self._heads: list[str] = []
        self._facts: dict[tuple[str, int | None], AnswerFacts] = {}
        self._class_of_text: dict[str, int] = {}
        # Where answers are without number, the verifier may know the probability of any; the question lists only some.
        self._chance = getattr(self.verifier, "p_correct", None)
        # Of independent probabilities those of equal answers are one probability, said twice; exclusive ones add up.
        join = _added if example.exclusive else max
        self._p_correct = self._keyed(example.p_correct, join) if self._chance is None else None
        # Exclusive probabilities of being right are a distribution over answers.
        distribution = distribution_of(example)
        self._distribution = self._keyed(distribution, _added)
        if distribution is None and example.exclusive:
            self._distribution = self._p_correct
        self.has_masses = self._distribution is not None
        """Whether the question has a reference distribution."""
        self._best: dict[int, float] = {}
        self.is_complete = example.meta.get("complete_references") is True
        """Whether the references are all right answers."""

    def classes(self, texts: Sequence[str], matches: Sequence[int | None]) -> tuple[int, ...]:
        """The class of each answer, as `look_up` gives it; all that is needed of most questions."""
        of_text, of_match = self._class_of_text, self._classes.setdefault
        classes = []
        for text, match in zip(texts, (None,) * len(texts) if self.is_open else matches, strict=True):
            if match is not None:
                number = of_match(match, len(self._classes))
            elif (number := of_text.get(text)) is None:
                number = of_text[text] = self._class_of(text, None)
            classes.append(number)
        return tuple(classes)

    def look_up(self, text: str, match: int | None) -> AnswerFacts:
        """Class and masses of an answer that matches reference ``match`` (None: no reference)."""
        facts = self._facts.get((text, match))
        if facts is None:
            if self.is_open:
                match = None
            chance = self._chance_of(text) if self._chance else self._mass(text, match, self._p_correct)
            facts = AnswerFacts(self._class_of(text, match), chance, self._mass(text, match, self._distribution))
            self._facts[text, match] = facts
        return facts

    def reasons(self, judgement: Judgement) -> tuple[str | None, ...] | None:
        """Why each answer is wrong; None where no answer is, or the verifier has no method that says so."""
        if self._reason is None:
            return None
        texts = [answer.text for answer in judgement.answer_set.answers]
        is_wrong = [verdict is Verdict.WRONG for verdict in judgement.verdicts]
        reasons = tuple(self._reason_of(text) if wrong else None for text, wrong in zip(texts, is_wrong, strict=True))
        return reasons if any(reasons) else None

    def _reason_of(self, text: str) -> str | None:
        reason = _ask_or(None, self._reason, text)
        return reason or None if isinstance(reason, str) else None

    def best_coverage(self, k: int) -> float:
        """Expected coverage of the best k answers; min(N, k) when only the references are known."""
        if self.example.p_correct is None:
            return float(k if self.is_open else min(len(self.example.references), k))
        if k not in self._best:
            chances = self.example.p_correct if self._p_correct is None else self._p_correct
            self._best[k] = alignment.best_coverage(np.fromiter(chances.values(), float), k)
        return self._best[k]

    def _class_of(self, text: str, match: int | None) -> int:
        name: object = match
        if match is None and self._key is not None:
            name = self._key_of(text)
        elif match is None:
            name = next((head for head in self._heads if self._is_same(text, head)), None)
            if name is None:
                self._heads.append(name := text)
        return self._classes.setdefault(name, len(self._classes))

    # A verifier of somebody else may raise anything, also about texts that it did not fail on while judging. Answers
    # that it cannot compare stand for themselves, a probability that it cannot tell is unknown: the evaluation goes on.

    def _is_same(self, a: str, b: str) -> bool:
        return _ask_or(False, self.verifier.same, a, b)

    def _key_of(self, text: str) -> object:
        if self._key is None:
            return text
        try:
            key = self._key(text)
        except (Exception, SystemExit):  # as `ask` does, at half of its time
            key = None
        return key if isinstance(key, str) else (text,)

    def _chance_of(self, text: str) -> float | None:
        chance = _ask_or(None, self._chance, text)
        is_number = isinstance(chance, Real) and not isinstance(chance, bool)
        return float(chance) if is_number and 0 <= float(chance) <= 1 else None  # also where it is NaN: unknown

    def _mass(self, text: str, match: int | None, masses: Mapping[object, float] | None) -> float | None:
        if masses is None:
            return None
        for name in (text, *(() if match is None else self.example.references[match].names)):
            if self._key is not None:
                mass = masses.get(self._key_of(name))
            else:
                mass = next((m for listed, m in masses.items() if self._is_same(name, str(listed))), None)
            if mass is not None:
                return mass
        return 0.0

    def _keyed(
        self, masses: Mapping[str, float] | None, join: Callable[[float, float], float]
    ) -> dict[object, float] | None:
        """Masses by key; ``join`` makes one of those of equal answers."""
        if masses is None:
            return None
        joined: dict[object, float] = {}
        for name, mass in masses.items():
            key = self._key_of(name)
            joined[key] = join(joined.get(key, 0.0), mass)
        return joined


def _added(a: float, b: float) -> float:
    return min(a + b, 1.0)  # rounding must not make a probability that no reader accepts


def _ask_or(default: Any, method: Any, *arguments: object) -> Any:
    try:
        return ask(method, *arguments)
    except VerifierFault:
        return default


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
            score_set(one, self._rewards[completion.has_confidence])
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


def with_overlaps(judged: Sequence[JudgedCompletion], completions: Sequence[Completion]) -> list[JudgedCompletion]:
    """The judged completions, the first of a question with the overlaps of its texts, where it has several.

    Only some questions when there are very many.
    """
    groups: dict[str, list[Completion]] = {}
    for completion in completions:
        groups.setdefault(completion.example.id, []).append(completion)
    several = [id_ for id_, group in groups.items() if len(group) > 1]
    chosen = [several[i] for i in compared(len(several))]
    bar = tqdm(chosen, desc="overlap", unit=" questions", delay=SHOW_AFTER, leave=False)
    overlaps = {id_: overlap_of(groups[id_]) for id_ in bar}
    # The first completion of a question takes its overlap.
    return [replace(one, overlap=overlaps.pop(one.id)) if one.id in overlaps else one for one in judged]


def compared(n_several: int) -> list[int]:
    """Which of the questions with several completions have their texts compared: all, or so many evenly spaced."""
    count = min(n_several, diversity.MAX_OVERLAP_QUESTIONS)
    return [i * n_several // count for i in range(count)]


def overlap_of(completions: Sequence[Completion]) -> tuple[float | None, ...]:
    """The overlaps of the texts of one question."""
    return tuple(_or_none(x) for x in diversity.text_overlaps([one.text for one in completions]))


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


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
    return _ask_or({"ast": None, "behaviour": None}, count)


def _answers(completion: Completion) -> AnswerSet:
    answers = parse_answers(
        completion.text,
        completion.k,
        confidence=completion.has_confidence,
        finished=completion.is_finished,
        salvage=True,
    )
    outside = completion.confidences
    if outside is None or len(outside) != len(answers.answers):
        return answers
    slots = tuple(replace(answer, confidence=q) for answer, q in zip(answers.answers, outside, strict=True))
    return replace(answers, answers=slots, has_confidence=True)
