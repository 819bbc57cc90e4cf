"""The lab's programs: small Python functions specified by a few of their values (stands for MBPP).

A function is drawn from a grammar of about 160, and two to four of its values on the inputs 0..9 are shown::

    f(2) = 5; f(7) = 15
    Write f as one line of Python

An answer is a line such as ``f = lambda x: 2 * x + 1``. It is right when it has the drawn function's value on *all* of
0..9, judged by running it (`polymode.verifiers.programs`); the other values stay hidden, as all tests but one do in
MBPP. So a program can fit the given values and be wrong, and many that differ in more than names are right.

The probability that a program is right is exact. The inputs are sampled without looking at any value, so

    P(f | shown) ~ P(f) [f fits what is shown],    P(program is right) = P(f | shown) of the f that it equals on 0..9

``p_correct`` lists the programs of the grammar that fit. Whatever else a model writes is run on the tests of every
function that fits: the verifier's ``p_correct`` gives the probability for any text at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, pairwise
from typing import get_args

import numpy as np

from polymode.errors import ConfigError, one_of
from polymode.sandbox import Limits, Outcome, ProgramTests, Sandbox
from polymode.tasks.lab.demonstrations import FORMAT_TEXTS, write_demonstration
from polymode.tasks.lab.endless import Endless
from polymode.tasks.lab.program_grammar import INPUTS, MORE_INPUTS, Function, Grammar, program
from polymode.types import Example, Reference
from polymode.verifiers.programs import Distinct, ProgramEquality, ProgramVerifier, program_text

SHOWN, SHOWN_SHARES = (2, 3, 4), (0.2, 0.4, 0.4)
"""Values shown, and how often: fewer leave more functions that fit."""

NAMED = 2
"""Functions that a demonstration's reasoning ends with, most likely first."""

_DRAW = 512  # functions drawn at a time
_STRAY = 4  # functions, drawn from all, whose programs a demonstration may give by mistake
_REQUEST = "Write f as one line of Python"
_VALUE = r"f\(\d\) = -?\d+"
_QUESTION = re.compile(rf"({_VALUE}(?:; {_VALUE})*)\n{_REQUEST}")


class Programs(Endless):
    """Small functions specified by a few values; see the module docstring.

    ``meta`` holds ``kind`` and ``drawn`` (the function, plainly written), ``shown`` (number of values) and ``fits``
    (number of functions that have them).

    Args:
        distinct: what makes two programs the same answer, see `polymode.verifiers.programs`.
        workers: programs that run at once; by default one for each core.
        unsafe_local: run programs without isolation, only for programs that you trust; None: as set in the environment.

    Raises:
        ConfigError: an option out of its range.
    """

    name = "programs"

    def __init__(
        self, *, distinct: Distinct = "ast", workers: int | None = None, unsafe_local: bool | None = None
    ) -> None:
        one_of("distinct", distinct, get_args(Distinct))
        self.grammar = Grammar()
        self._distinct: Distinct = distinct
        self._workers, self._unsafe_local = workers, unsafe_local
        self._verifier: PosteriorVerifier | None = None

    def verifier(self) -> PosteriorVerifier:
        """Programs are run; the same sandbox for the whole task. Raises ConfigError where there can be none."""
        if self._verifier is None:
            sandbox = Sandbox(self._workers, limits=Limits(cpu_seconds=1), unsafe_local=self._unsafe_local)
            self._verifier = PosteriorVerifier(self.grammar, sandbox, distinct=self._distinct)
        return self._verifier

    def demonstrate(self, example: Example, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
        """A noisy, well-formed completion: steps between the values, likely functions, then K distinct programs.

        Raises:
            ConfigError: the example does not come from this task.
        """
        values = read_values(example)
        p_F = self.grammar.posterior(values)
        likely = np.argsort(-p_F, kind="stable")[:NAMED]
        named = [self.grammar.functions[i].expressions[0] for i in likely if p_F[i] > 0]
        p_correct = self._p_correct(p_F)
        stray = rng.choice(len(p_F), size=_STRAY, replace=False)
        return write_demonstration(
            _steps(values),
            p_correct,
            list(dict.fromkeys([*p_correct, *(text for i in stray for text in _texts(self.grammar.functions[i]))])),
            k,
            confidence=confidence,
            rng=rng,
            conclusion=" or ".join(named),
            popularity=self.grammar.popularity,
        )

    def vocabulary(self) -> Sequence[str]:
        """Texts that hold every word of a question, prompt or demonstration."""
        values = {y for function in self.grammar.functions for y in function.values}
        steps = {y - y0 for function in self.grammar.functions for y0, y in combinations(function.values, 2)}
        return [
            *(_render({x: y}) for x in INPUTS for y in sorted(values)),
            *(f"<think> {dx} : {dy} ; so x or x </think>" for dx in INPUTS for dy in sorted(steps)),
            *self.grammar.number_of,
            *FORMAT_TEXTS,
        ]

    def draw(self, rng: np.random.Generator) -> Iterator[tuple[str, partial[Example]]]:
        """Questions of ``_DRAW`` functions, each with a function that creates its example."""
        number = rng.choice(len(self.grammar.functions), p=self.grammar.prior, size=_DRAW)
        n_shown = rng.choice(SHOWN, p=SHOWN_SHARES, size=_DRAW)
        order = rng.random((_DRAW, len(INPUTS))).argsort(1)
        for i in range(_DRAW):
            function = self.grammar.functions[number[i]]
            places = sorted(order[i, : n_shown[i]])
            values = {INPUTS[place]: function.values[place] for place in places}
            question = _render(values)
            yield question, partial(self._example, question=question, values=values, function=function)

    def _example(self, identity: str, question: str, values: Mapping[int, int], function: Function) -> Example:
        p_F = self.grammar.posterior(values)
        meta = {
            "kind": function.kind,
            "drawn": program(function.expressions[0]),
            "shown": len(values),
            "fits": int((p_F > 0).sum()),
        }
        reference = Reference(hidden_tests(function).to_json())
        return Example(identity, question, (reference,), p_correct=self._p_correct(p_F), meta=meta)

    def _p_correct(self, p_F: np.ndarray) -> dict[str, float]:
        """The probability of each program of the grammar that fits, most likely first."""
        order = np.argsort(-p_F, kind="stable")
        return {text: float(p_F[i]) for i in order if p_F[i] > 0 for text in _texts(self.grammar.functions[i])}


class PosteriorVerifier(ProgramVerifier):
    """A `ProgramVerifier` that also knows, on a question of this task, how likely any program is right.

    Args:
        grammar: the functions that a question may have come from.
        sandbox: where programs run.
        distinct: what makes two programs the same answer.
    """

    name = "task:programs"
    """How files name it: the task opens it."""

    def __init__(self, grammar: Grammar, sandbox: Sandbox, *, distinct: Distinct = "ast") -> None:
        super().__init__(sandbox, distinct=distinct)
        self.grammar = grammar

    def at(self, example: Example) -> PosteriorEquality:
        """The equality on one question."""
        return PosteriorEquality(self.sandbox, example, self.distinct, self.results, self.grammar)


@dataclass(frozen=True, slots=True)
class PosteriorEquality(ProgramEquality):
    """Equality of programs on one question, with the probability that each is right."""

    grammar: Grammar | None = None

    def p_correct(self, text: str) -> float:
        """Exact probability that a program passes the hidden tests, given the question alone; NaN after a fault.

        A program that the grammar does not have is run on the tests of each function that fits.

        Raises:
            ConfigError: the question does not come from this task.
        """
        assert self.grammar is not None
        p_F = self.grammar.posterior(read_values(self.example))
        number = self.grammar.number_of.get(text)
        if number is not None:
            return float(p_F[number])
        fits = np.flatnonzero(p_F)
        runs = [(program_text(text), hidden_tests(self.grammar.functions[i])) for i in fits]
        outcomes = [result.outcome for result in self.sandbox.run(runs)]
        if Outcome.FAULT in outcomes:
            return math.nan
        return float(sum(p_F[i] for i, outcome in zip(fits, outcomes, strict=True) if outcome is Outcome.PASS))


def hidden_tests(function: Function) -> ProgramTests:
    """The values on `INPUTS`; the same for every question about the function, so that results can be cached."""
    return ProgramTests(
        asserts=tuple(f"assert f({x}) == {y}" for x, y in zip(INPUTS, function.values, strict=True)),
        entry="f",
        inputs=tuple(f"f({x})" for x in MORE_INPUTS),
    )


def read_values(example: Example) -> dict[int, int]:
    """The values given in a question, by input.

    Raises:
        ConfigError: the example does not come from this task.
    """
    match = _QUESTION.fullmatch(example.question)
    if match is None:
        raise ConfigError(f"example {example.id!r} does not come from programs: it shows no values of f")
    values = (value.removeprefix("f(").split(") = ") for value in match[1].split("; "))
    return {int(x): int(y) for x, y in values}


def _render(values: Mapping[int, int]) -> str:
    return "; ".join(f"f({x}) = {y}" for x, y in values.items()) + f"\n{_REQUEST}"


def _steps(values: Mapping[int, int]) -> str:
    """From each value to the next, ``5 : 10 ; 1 : 2``: how far the input moves, and the value with it."""
    return " ; ".join(f"{x - x0} : {y - y0}" for (x0, y0), (x, y) in pairwise(values.items()))


def _texts(function: Function) -> list[str]:
    return [program(expression) for expression in function.expressions]
