"""The lab's clinic: patients whose posterior over conditions is known exactly (stands for DDXPlus).

A patient is drawn from the knowledge base: age and sex, then a condition given both, then each finding independently
given the condition. The record is incomplete in a way that says nothing by itself: a present finding is written down
with probability ``PRESENT_RECORDED``, an absent one with probability ``ABSENT_RECORDED``, independently. So for
condition c with finding frequency f the record holds "has it" with probability f r, "does not" with (1 - f) s, and
nothing with the rest, and Bayes' rule over these three states gives the exact posterior of what the question says:

    P(c | question)  ~  P(c | age, sex)  prod_findings P(state | c)

References are either the ``differential`` (every condition whose posterior reaches the threshold: several true
answers) or the ``diagnosis`` (the one drawn condition: the posterior is the true probability of each answer).
Educational, not medical advice. Example of a question::

    A 34 year old woman has fever, cough, muscle aches; no rash, no wheeze
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np

from polymode.distributions import TARGETS
from polymode.errors import one_of
from polymode.tasks import check_share
from polymode.tasks.lab.clinic_knowledge import AGE_BANDS, BACKGROUND_RATE, COMMON_BACKGROUND, CONDITIONS, FINDINGS
from polymode.tasks.lab.demonstrations import FORMAT_TEXTS, write_demonstration
from polymode.tasks.lab.endless import Endless
from polymode.types import Example, Reference, Target

PRESENT_RECORDED = 0.40
ABSENT_RECORDED = 0.025
MIN_FINDINGS = 2
"""Records with fewer present findings are drawn again (a rule on the text, so the posterior stays exact)."""
MAX_RECORDED = 8
"""Longest record kept, present and absent findings together."""

_NUMBER_OF = {name: i for i, name in enumerate(FINDINGS)}
_DRAW = 512  # patients drawn at a time


class Clinic(Endless):
    """Patients with exact posteriors.

    Args:
        references: ``differential`` or ``diagnosis`` (see the module's text).
        threshold: smallest posterior of a condition of the differential, in (0, 1). Where no condition reaches it, the
            most likely one stands alone, because a question needs a right answer.
        target: what confidences are scored against: with ``distribution`` the posterior of each condition, also of one
            that is only listed or not, so that every number about a condition is the probability that it is the cause.
    """

    name = "clinic"
    meaning: Mapping[str, str] = {"differential": "is one of the conditions to consider", "diagnosis": "is the cause"}

    def __init__(
        self,
        references: Literal["differential", "diagnosis"] = "differential",
        *,
        threshold: float = 0.03,
        target: Target = "verdict",
    ) -> None:
        one_of("references", references, ("differential", "diagnosis"))
        one_of("target", target, TARGETS)
        check_share("threshold", threshold)
        self.references, self.threshold = references, threshold
        self.target: Target = target
        self.conditions: tuple[str, ...] = tuple(condition.name for condition in CONDITIONS)
        background = {name: COMMON_BACKGROUND.get(name, BACKGROUND_RATE) for name in FINDINGS}
        self._frequency_C_F = np.array([list((background | c.findings).values()) for c in CONDITIONS])
        present_C_F = self._frequency_C_F * PRESENT_RECORDED
        absent_C_F = (1 - self._frequency_C_F) * ABSENT_RECORDED
        self._log_state_S_C_F = np.log(np.stack([1 - present_C_F - absent_C_F, present_C_F, absent_C_F]))
        self._prior_A_S_C = _priors()
        # Findings are told apart by how much more often a condition shows them than patients at large do.
        self._lift_C_F = self._frequency_C_F / (self._prior_A_S_C.mean((0, 1)) @ self._frequency_C_F)

    def demonstrate(self, example: Example, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
        """A noisy, well-formed completion: what some findings speak for, then K distinct answers."""
        assert example.distribution is not None
        return write_demonstration(
            self._reasoning(example),
            example.distribution,
            self.conditions,
            k,
            confidence=confidence,
            rng=rng,
            threshold=None if self.references == "diagnosis" or self.target == "distribution" else self.threshold,
        )

    def vocabulary(self) -> Sequence[str]:
        """Texts that hold every word of a question, prompt or demonstration."""
        ages = range(AGE_BANDS[0][1], AGE_BANDS[-1][2] + 1)
        names = (*self.conditions, *FINDINGS)
        questions = [_render(age, sex, FINDINGS, FINDINGS) for age in ages for sex in (0, 1)]
        questions += [_render(30, 0, (name,), (name,)) for name in FINDINGS]
        thoughts = [f"<think> {name} : {name} ; so {name}, {name} </think>" for name in names]
        return [*questions, *thoughts, *names, *FORMAT_TEXTS]

    def draw(self, rng: np.random.Generator) -> Iterator[tuple[str, partial[Example]]]:
        """Questions of the acceptable ones among ``_DRAW`` patients, each with the maker of its example."""
        band_N, sex_N = rng.integers(len(AGE_BANDS), size=_DRAW), rng.integers(2, size=_DRAW)
        prior_N_C = self._prior_A_S_C[band_N, sex_N]
        condition_N = (prior_N_C.cumsum(1) > rng.random((_DRAW, 1))).argmax(1)
        has_N_F = rng.random((_DRAW, len(FINDINGS))) < self._frequency_C_F[condition_N]
        recorded_N_F = rng.random(has_N_F.shape) < np.where(has_N_F, PRESENT_RECORDED, ABSENT_RECORDED)
        state_N_F = np.where(recorded_N_F, np.where(has_N_F, 1, 2), 0)
        log_p_N_C = np.log(prior_N_C)
        for value in range(3):
            log_p_N_C = log_p_N_C + (state_N_F == value) @ self._log_state_S_C_F[value].T
        posterior_N_C = np.exp(log_p_N_C - log_p_N_C.max(1, keepdims=True))
        posterior_N_C /= posterior_N_C.sum(1, keepdims=True)
        for i in range(_DRAW):
            _, low, high = AGE_BANDS[band_N[i]]
            age = int(rng.integers(low, high + 1))
            present, absent = (rng.permutation(np.flatnonzero(state_N_F[i] == value)) for value in (1, 2))
            if len(present) < MIN_FINDINGS or len(present) + len(absent) > MAX_RECORDED:
                continue
            question = _render(age, int(sex_N[i]), [FINDINGS[f] for f in present], [FINDINGS[f] for f in absent])
            drawn = int(condition_N[i])
            yield question, partial(self._example, question=question, posterior=posterior_N_C[i], drawn=drawn)

    def _example(self, identity: str, question: str, posterior: np.ndarray, drawn: int) -> Example:
        order = np.argsort(-posterior, kind="stable")
        distribution = {self.conditions[c]: float(posterior[c]) for c in order}
        if self.references == "diagnosis":
            references = (Reference(self.conditions[drawn], weight=float(posterior[drawn])),)
            p_correct = distribution
        else:
            right = [c for c in order if posterior[c] >= self.threshold] or order[:1].tolist()
            references = tuple(Reference(self.conditions[c], weight=float(posterior[c])) for c in right)
            p_correct = {self.conditions[c]: 1.0 for c in right}
        return Example(
            identity,
            question,
            references,
            distribution=distribution,
            p_correct=p_correct,
            exclusive=self.references == "diagnosis",
            meta={"drawn": self.conditions[drawn]},
            target=self.target,
        )

    def _reasoning(self, example: Example) -> str:
        """The first three present findings, each with the condition it speaks for most, by lift times posterior."""
        assert example.distribution is not None
        posterior = np.array([example.distribution[name] for name in self.conditions])
        findings = [_NUMBER_OF[name] for name in _present(example.question)[:3]]
        named = [self.conditions[int((self._lift_C_F[:, finding] * posterior).argmax())] for finding in findings]
        return " ; ".join(f"{FINDINGS[finding]} : {name}" for finding, name in zip(findings, named, strict=True))


def _priors() -> np.ndarray:
    """P(condition | age band, sex), shape (bands, 2 sexes, conditions); sex 0 is female."""
    weight_C = np.array([c.weight for c in CONDITIONS])
    age_B_C = np.array(list(zip(*(c.ages for c in CONDITIONS), strict=True)))
    sex_S_C = np.array([[c.female for c in CONDITIONS], [2 - c.female for c in CONDITIONS]])
    raw = (weight_C * age_B_C)[:, None] * sex_S_C
    return raw / raw.sum(-1, keepdims=True)


def _render(age: int, sex: int, present: Sequence[str], absent: Sequence[str]) -> str:
    person = ("girl", "boy")[sex] if age < AGE_BANDS[1][1] else ("woman", "man")[sex]
    text = f"A {age} year old {person} has {', '.join(present)}"
    return text + "".join(f"{'; ' if i == 0 else ', '}no {name}" for i, name in enumerate(absent))


def _present(question: str) -> list[str]:
    return question.split(" has ", 1)[1].split(";", 1)[0].split(", ")
