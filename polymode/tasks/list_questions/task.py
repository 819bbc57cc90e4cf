"""List questions: "Name a country in South America." has twelve right answers, and all of them are known (layer L3).

The name is that of the TREC question answering track, whose list questions ask for different instances of one thing
(Voorhees 2001, https://trec.nist.gov/pubs/trec10); CoverageQA of verbalized sampling (arXiv 2510.01171) asks the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymode.errors import number_in
from polymode.prompts import Style
from polymode.tasks import Split, check_request, shuffled
from polymode.tasks.guesses import write_guesses
from polymode.tasks.held_out import text_hash
from polymode.tasks.lab.demonstrations import FORMAT_TEXTS
from polymode.tasks.list_questions.sets import ListQuestion, list_questions
from polymode.types import Example

_BUCKETS, _TEST, _VALIDATION = 20, 9, 2
MAX_CONDITIONS = 2
"""Most conditions of a question."""


class ListQuestions:
    """Short questions with at least five right answers, all listed with their usual other names.

    The split is decided by a hash of a question's noun and conditions: test questions are other combinations than those
    of train, and no two have the same right answers. ``meta`` holds ``topic``, ``conditions`` (how many) and
    ``complete_references``, which metrics over all right answers need.

    Args:
        conditions: use only questions with at most this many conditions, 0 to 2. Fewer are easier: "a country", "a
            country in Africa", "a country in Africa that borders Chad". A question's split does not depend on it.

    Raises:
        ConfigError: conditions out of its range.
    """

    name = "list-questions"
    meaning = "belongs on the list"
    prompt_style: Style = "full"

    def __init__(self, *, conditions: int = MAX_CONDITIONS) -> None:
        number_in("conditions", conditions, 0, MAX_CONDITIONS, whole=True)
        chosen = (question for question in list_questions() if question.n_conditions <= conditions)
        self._by_text = {question.text: question for question in chosen}

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        """The first ``n`` questions of a split shuffled by ``seed``, at most all of them.

        Raises:
            ConfigError: unknown split or negative n.
        """
        check_request(split, n)
        own = [question for question in self._by_text.values() if _split_of(question) == split]
        return [_example(question) for question in shuffled(own, split, n, seed)]

    def demonstrate(self, example: Example, k: int, *, confidence: bool, rng: np.random.Generator) -> str:
        """K distinct answers without reasoning, some of them wrong, with noisy confidences; the most confident first.

        Args:
            example: one of this task's questions.
            k: answers to give.
            confidence: state a confidence after each.
            rng: source of all randomness.
        """
        question = self._by_text[example.question]
        right = [reference.text for reference in question.references]
        return write_guesses(right, question.others, k, confidence=confidence, rng=rng)

    def vocabulary(self) -> Sequence[str]:
        """Texts that hold every word of a question, prompt or demonstration."""
        names = {name for q in self._by_text.values() for name in (*(r.text for r in q.references), *q.others)}
        return [*self._by_text, *sorted(names), *FORMAT_TEXTS]


def _split_of(question: ListQuestion) -> Split:
    bucket = text_hash(question.name, 4) % _BUCKETS
    return "test" if bucket < _TEST else "validation" if bucket < _TEST + _VALIDATION else "train"


def _example(question: ListQuestion) -> Example:
    return Example(
        f"list-{text_hash(question.name):016x}",
        question.text,
        question.references,
        meta={"topic": question.topic, "conditions": question.n_conditions, "complete_references": True},
    )
