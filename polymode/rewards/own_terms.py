"""Terms of one's own: a function of a judged answer set, named ``module:Name`` in a recipe, that adds to the score.

::

    # mypackage/terms.py                                          # recipe
    def brevity(judgement):                                       terms:
        return [1 / len(a.text) for a in                            mypackage.terms:brevity: 0.1
                judgement.answer_set.answers]

**Value.** One number from -1 to 1 for the whole set, or K numbers from -1 to 1, one for each answer, whose mean counts.
The term is the weight times that. It is called only with clean sets without an unscored answer. A term subtracts at
most its weight, so the format's weight rises by it, and malformed text stays lowest.

**Credit.** With ``credit: term`` the numbers of single answers go to the tokens of these answers and to what comes
before them, like coverage; the number of a set goes to all tokens of the completion.

**Faults.** A term that raises, or returns numbers outside the range, leaves the completion unscored: no reward, counted
in ``share_unscored``, the exception's text in `Judgement.faults` and in the column ``reason``.

What cannot be checked: a term that looks at confidences can make dishonest ones the best, and one that outweighs
``coverage_weight`` pays for something else than right answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import cast

from polymode.errors import ConfigError, RecordError
from polymode.plugins import Registry
from polymode.types import Judgement

OwnTerm = Callable[[Judgement], float | Sequence[float]]
"""What ``module:Name`` names, or a class whose instances, made without arguments, are such functions."""

OWN_TERMS: Registry[OwnTerm] = Registry("term", {})
"""Terms beside the built-in ones: entry points of the group ``polymode.terms``, and ``module:Name``."""


def open_term(name: str) -> OwnTerm:
    """The own term called ``name``, a class opened without arguments; raises ConfigError where there is none."""
    term = OWN_TERMS.load(name)
    if isinstance(term, type) and not callable(term := OWN_TERMS.open(name)):
        raise ConfigError(f"term {name!r} has no method __call__(judgement): add it, or name a function")
    return cast("OwnTerm", term)


def value_of(term: OwnTerm, judgement: Judgement) -> float | list[float]:
    """The term's value, one number or a list of K; raises RecordError for another number of values or range."""
    value, k = term(judgement), len(judgement.answer_set.answers)
    is_one = isinstance(value, Real)
    numbers = [float(value)] if is_one else [float(number) for number in value]  # type: ignore[union-attr,arg-type]
    if not is_one and len(numbers) != k:
        raise RecordError(f"{len(numbers)} values for {k} answers: return one number, or one for each answer")
    for number in numbers:
        if not -1 <= number <= 1:
            raise RecordError(f"value {number!r} is not allowed: return numbers from -1 to 1")
    return numbers[0] if is_one else numbers
