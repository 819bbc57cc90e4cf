"""Your own questions, your own definition of "the same answer", and an evaluation. Needs no torch.

    python examples/own_task.py [FOLDER]       writes the run folder there (a temporary one by default)

A task is any object with a name, a prompt style and `examples`. (Questions in a file need no class:
``polymode.tasks.open_task("records", data="questions.jsonl")``.) A verifier is any object with `same` and `matches`; a
`key` makes judging faster. The generator is scripted here; `TransformersGenerator` or `VLLMGenerator` can take
its place.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from polymode import Example, Reference, evaluate
from polymode.errors import ConfigError
from polymode.generate import sample_completions
from polymode.generate.scripted import ScriptedGenerator
from polymode.prompts import Style
from polymode.runs import write_completions
from polymode.tasks import Split


class Divisors:
    """Asks for divisors of n: as many right answers as n has divisors."""

    name = "divisors"
    prompt_style: Style = "full"
    numbers = range(2, 200)

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """Numbers go to a split by their last digit, so splits share no question."""
        if n is not None and n < 0:
            raise ConfigError(f"n = {n!r} must not be negative")
        digits = {"test": (0,), "validation": (1,), "train": range(2, 10)}[split]
        mine = [number for number in self.numbers if number % 10 in digits]
        order = np.random.default_rng(seed).permutation(len(mine))
        return [self._example(mine[i]) for i in order[:n]]

    def _example(self, number: int) -> Example:
        divisors = [d for d in range(1, number + 1) if number % d == 0]
        references = tuple(Reference(str(d)) for d in divisors)
        return Example(f"divisors-{number}", f"Name a divisor of {number}.", references)


@dataclass(frozen=True)
class NumberVerifier:
    """Numbers are the same answer when their values are: ``4``, ``4.0`` and ``8/2`` are one."""

    def key(self, text: str) -> str:
        """The value in lowest terms; a text that is no number is only equal to itself."""
        try:
            return str(Fraction(text.strip()))
        except (ValueError, ZeroDivisionError):
            return text

    def same(self, a: str, b: str) -> bool:
        """Equal values."""
        return self.key(a) == self.key(b)

    def matches(self, answer: str, reference: Reference) -> bool:
        """Equal to one of the reference's names."""
        return any(self.same(answer, name) for name in reference.names)


SCRIPT = [  # what a model might say, whatever the question
    "<think>Ten always works.</think>"
    "<answer1>10</answer1><confidence1>1</confidence1>"
    "<answer2>5.0</answer2><confidence2>1.0</confidence2>"
    "<answer3>10/2</answer3><confidence3>0.2</confidence3>",  # the second answer again: a duplicate
    "<answer1>1</answer1><confidence1>1</confidence1>"
    "<answer2>4</answer2><confidence2>0.5</confidence2>"
    "<answer3>7</answer3><confidence3>0.1</confidence3>",
]


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="polymode-"))
    completions = sample_completions(
        Divisors().examples("test"),
        ScriptedGenerator(SCRIPT),
        k=3,
        confidence=True,
        samples=2,
        max_tokens=200,
        temperature=1.0,
        seed=0,
        style=Divisors.prompt_style,
    )
    write_completions(folder, completions)
    evaluation = evaluate(completions, verifier=NumberVerifier(), n_boot=500)
    evaluation.write(folder)
    print(evaluation.table())
    print(f"run folder: {folder}")


if __name__ == "__main__":
    main()
