"""Sampling in batches, each with a seed of its own: whoever stops it goes on where it stopped (layer L4).

A batch is drawn with a seed that depends on its first completion alone, not on the batches before it. So a run that was
interrupted ends with the completions of one that was not, wherever the back-end keeps to its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from tqdm import tqdm

from polymode.errors import GeneratorFault, UserError
from polymode.generate import Generated, Generator
from polymode.plugins import describe_error
from polymode.prompts import Style, prompt_for
from polymode.types import Completion, Example

MAX_FAULTS_IN_A_ROW = 16
"""After so many failed batches of each worker without one that succeeds the back-end is given up."""
_SHOW_AFTER = 2.0


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

    def call(one: Batch) -> list[Completion]:
        texts_P = [prompts[i] for i in one.questions]
        generated_P_G = generator.generate(
            texts_P, n=len(one.samples), max_tokens=max_tokens, temperature=temperature, seed=one.seed(seed)
        )
        return [
            _completion(examples[i], generated, k, confidence, sample)
            for i, generated_G in zip(one.questions, generated_P_G, strict=True)
            for sample, generated in zip(one.samples, generated_G, strict=True)
        ]

    n_missing, reason, in_a_row = 0, "", 0
    workers = int(getattr(generator, "concurrency", 1)) if is_concurrent else 1
    total = len(examples) * samples
    with tqdm(
        total=total, initial=len(done), desc="generate", unit=" completions", delay=_SHOW_AFTER, leave=False
    ) as bar:
        for one, completions in _finished(call, batches, workers, getattr(generator, "stop", None)):
            if isinstance(completions, Exception):
                n_missing, in_a_row = n_missing + len(one), in_a_row + 1
                reason = reason or _reason(completions)
                if in_a_row == workers * MAX_FAULTS_IN_A_ROW:
                    raise GeneratorFault(f"{in_a_row} batches in a row could not be generated; the first: {reason}")
                continue
            in_a_row = 0
            bar.update(len(one))
            yield completions
    if n_missing:
        raise GeneratorFault(f"{n_missing:,} of {total:,} completions could not be generated; the first: {reason}")


def _completion(example: Example, one: Generated, k: int, confidence: bool, sample: int) -> Completion:
    return Completion(example, one.text, k, confidence, sample, one.n_tokens, one.is_finished)


def _reason(exc: Exception) -> str:
    return str(exc) if isinstance(exc, GeneratorFault) else describe_error(exc)


Outcome = tuple[Batch, list[Completion] | Exception]


def _finished(
    call: Callable[[Batch], list[Completion]], batches: Sequence[Batch], workers: int, stop: Callable[[], Any] | None
) -> Iterator[Outcome]:
    """Each batch with its completions or its failure, as they are finished; raises UserError."""

    def outcome(one: Batch) -> Outcome:
        try:
            return one, call(one)
        except UserError:
            raise
        except Exception as exc:  # of a back-end of somebody else, or for want of memory: the others go on
            return one, exc

    if workers == 1:
        yield from map(outcome, batches)
        return
    waiting = iter(batches)
    with ThreadPoolExecutor(workers, "polymode-generate") as pool:
        under_way = {pool.submit(outcome, one) for one in islice(waiting, workers)}
        try:
            while under_way:
                ready, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                under_way |= {pool.submit(outcome, one) for one in islice(waiting, len(ready))}
                yield from (future.result() for future in ready)
        except BaseException as exc:  # Ctrl-C, or nobody wants more: what can be cut off is, the rest is waited for
            if stop is not None:
                stop()
            pool.shutdown(cancel_futures=True)
            if isinstance(exc, KeyboardInterrupt):
                outcomes = [future.result() for future in under_way if not future.cancelled()]
                yield from (outcome for outcome in outcomes if not isinstance(outcome[1], Exception))
            raise
