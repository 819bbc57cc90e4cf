"""Sampling in batches, each with a seed of its own: whoever stops it goes on where it stopped (layer L4).

A batch is drawn with a seed that depends on its first completion alone, not on the batches before it. So a run that was
interrupted ends with the completions of one that was not, wherever the back-end keeps to its seed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polymode.errors import GeneratorFault, PromptRefusedError
from polymode.generate import Generated, Generator
from polymode.generate.calls import each_result
from polymode.prompts import Style, prompt_for
from polymode.types import Completion, Example


@dataclass(frozen=True, slots=True)
class Batch:
    """Completions that are sampled together."""

    questions: tuple[int, ...]
    """Numbers of the examples."""
    samples: tuple[int, ...]
    """Numbers of the samples of each."""

    def __len__(self) -> int:
        return len(self.questions) * len(self.samples)

    def seed(self, seed: int) -> int:
        """Of this batch, in 0..2^31 - 1, in a run with the seed ``seed``."""
        words = np.random.SeedSequence((seed, self.questions[0], self.samples[0])).generate_state(1)
        return int(words[0] >> 1)


def batches_of(order: Sequence[int], samples: int, size: int, present: Collection[tuple[int, int]] = ()) -> list[Batch]:
    """All completions in batches of at most ``size``, without those that are there already.

    Args:
        order: numbers of the questions, those of like length beside each other.
        samples: completions of each question.
        size: completions of a batch.
        present: question and sample of each finished completion.
    """
    together = max(1, size // samples)
    batches = []
    for start in range(0, len(order), together):
        questions = tuple(order[start : start + together])
        for first in range(0, samples, size):
            numbers = tuple(range(first, min(first + size, samples)))
            missing = {q: tuple(s for s in numbers if (q, s) not in present) for q in questions}
            if all(own == numbers for own in missing.values()):
                batches.append(Batch(questions, numbers))
            else:  # finished in part, in batches of another size
                batches += [Batch((q,), own) for q, own in missing.items() if own]
    return batches


def sample_batches(
    examples: Sequence[Example],
    generator: Generator,
    *,
    k: int,
    confidence: bool,
    samples: int,
    max_tokens: int,
    temperature: float,
    seed: int,
    style: Style,
    batch: int,
    present: Collection[tuple[str, int]] = (),
    refused: Literal["stop", "empty"] = "stop",
) -> Iterator[list[Completion]]:
    """Completions of every example, batch by batch, as they are finished.

    A generator with an attribute ``batch`` says itself how many completions make one. One that says it
    ``is_concurrent`` gets each completion as a call of its own, as many at once as its ``concurrency`` says.

    A batch that fails is left out, and the others go on; only when very many fail in a row they stop.

    Args:
        examples: the questions, each with an id of its own.
        generator: the back-end.
        k: answers asked for.
        confidence: ask for confidences.
        samples: completions of each question.
        max_tokens: longest completion.
        temperature: of the sampling.
        seed: of the run.
        style: of the prompts.
        batch: completions sampled together, where the generator does not say it.
        present: id and sample of completions that are there already.
        refused: what becomes of a prompt that the back-end refuses: a failure, or an empty completion, as soon as
            another prompt was answered; what is refused always is no fault of a prompt.

    Raises:
        GeneratorFault: some could not be generated, raised after all others; says how many, and why the first.
        UserError: what the generator says is wrong with an option; at once.
    """
    prompts = [prompt_for(example, k, confidence=confidence, style=style) for example in examples]
    number_of = {example.id: number for number, example in enumerate(examples)}
    done = {(number_of[id_], sample) for id_, sample in present if id_ in number_of}
    is_concurrent = getattr(generator, "is_concurrent", False)
    size = 1 if is_concurrent else int(getattr(generator, "batch", batch))
    order = range(len(prompts)) if is_concurrent else sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    batches = batches_of(order, samples, size, done)

    n_refused = 0

    def call(one: Batch) -> list[Completion]:
        texts_P = [prompts[i] for i in one.questions]
        try:
            generated_P_G = generator.generate(
                texts_P, n=len(one.samples), max_tokens=max_tokens, temperature=temperature, seed=one.seed(seed)
            )
        except PromptRefusedError as exc:
            nonlocal n_refused
            n_refused += 1
            if refused == "empty" and len(one) > 1:  # one of its prompts, and nobody knows which
                raise GeneratorFault(str(exc), exc.advice) from exc
            raise
        return [
            _completion(examples[i], generated, k, confidence, sample)
            for i, generated_G in zip(one.questions, generated_P_G, strict=True)
            for sample, generated in zip(one.samples, generated_G, strict=True)
        ]

    def nothing(one: Batch) -> list[Completion]:
        text = Generated("", None, True)
        return [_completion(examples[i], text, k, confidence, sample) for i in one.questions for sample in one.samples]

    n_answered = len(done)
    instead = nothing if refused == "empty" else None
    results = each_result(
        call, batches, generator, size=len, label="generate", verb="generated", n_present=len(done), instead=instead
    )
    try:
        for completions in results:
            n_answered += len(completions)
            yield completions
    except GeneratorFault as exc:
        if refused == "stop" and n_refused and n_answered:
            advice = f"--refused empty counts the {n_refused:,} refused prompts as empty completions"
            raise GeneratorFault(str(exc), f"{exc.advice}; {advice}".removeprefix("; ")) from exc
        raise


def _completion(example: Example, one: Generated, k: int, confidence: bool, sample: int) -> Completion:
    return Completion(example, one.text, k, confidence, sample, one.n_tokens, one.is_finished)
