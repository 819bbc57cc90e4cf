"""Which answers of an item are the same, and what a reviewer's verdicts mean for all of them (layer L6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from polymode.errors import ConfigError
from polymode.policy.deciding import equality
from polymode.types import Verdict
from polymode.web.reviews.records import ReviewAnswer


def classes(answers: Sequence[ReviewAnswer], equality_name: str) -> tuple[int, ...]:
    """Per answer, the lowest number of those that are the same: equal texts, or named so by ``same_as``."""
    same = equality(equality_name)
    label = list(range(len(answers)))

    def join(a: int, b: int) -> None:
        low, high = sorted((label[a], label[b]))
        label[:] = [low if x == high else x for x in label]

    for number, answer in enumerate(answers):
        for other in range(number):
            if same(answer.text, answers[other].text):
                join(other, number)
        if answer.same_as is not None:
            join(answer.same_as, number)
    return tuple(label)


def repeats(answers: Sequence[ReviewAnswer], equality_name: str) -> tuple[int | None, ...]:
    """Per answer, the number of the earliest with an equal text; None when it is the first of its kind."""
    same = equality(equality_name)
    return tuple(
        next((other for other in range(number) if same(answer.text, answers[other].text)), None)
        for number, answer in enumerate(answers)
    )


def with_verdicts(
    answers: Sequence[ReviewAnswer],
    equality_name: str,
    verdicts: Mapping[int, Verdict],
    same_as: Mapping[int, int | None],
) -> tuple[ReviewAnswer, ...]:
    """The answers with a reviewer's verdicts; answers that are the same share one verdict.

    Args:
        answers: of the item.
        equality_name: of the item.
        verdicts: by number of the answer.
        same_as: by number, another answer that says the same; None takes that back.

    Raises:
        ConfigError: a number without an answer, or two verdicts for the same answer.
    """
    allowed = f"the item has answers 0 to {len(answers) - 1}" if answers else "the item has no answer"
    for number in [*verdicts, *same_as, *(other for other in same_as.values() if other is not None)]:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(answers):
            raise ConfigError(f"answer {number!r} does not exist: {allowed}")
    for number, other in same_as.items():
        if number == other:
            raise ConfigError(f"same_as: answer {number} cannot be the same as itself; name another")
    linked = [replace(answer, same_as=same_as.get(n, answer.same_as)) for n, answer in enumerate(answers)]
    labels = classes(linked, equality_name)
    by_label: dict[int, tuple[int, Verdict]] = {}
    for number, verdict in verdicts.items():
        if not isinstance(verdict, Verdict):
            values = ", ".join(str(value) for value in Verdict)
            raise ConfigError(f"verdict {verdict!r} of answer {number} is not allowed: use {values}")
        first, earlier = by_label.setdefault(labels[number], (number, verdict))
        if earlier is not verdict:
            raise _contradiction(answers, first, number)
    judged = [
        replace(answer, verdict=by_label[label][1]) if label in by_label else answer
        for answer, label in zip(linked, labels, strict=True)
    ]
    for number, label in enumerate(labels):
        if judged[number].verdict is not judged[label].verdict:
            raise _contradiction(answers, label, number)
    return tuple(judged)


def _contradiction(answers: Sequence[ReviewAnswer], a: int, b: int) -> ConfigError:
    return ConfigError(f"answers {answers[a].text!r} and {answers[b].text!r} are the same and must have one verdict")
