"""Confidences that are not stated but measured, of completions of any origin (layer L4).

They become `Completion.confidences`, one number per slot, which evaluation takes instead of stated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from inspect import Parameter
from typing import Any

from polymode.errors import ConfigError, GeneratorFault, PromptRefusedError
from polymode.generate.calls import each_result, workers_of
from polymode.generate.p_true import Replier
from polymode.generate.probing import StateReader
from polymode.generate.scoring import Scorer
from polymode.plugins import Entry, Registry
from polymode.prompts import Style
from polymode.types import Completion

CONFIDENCES: Registry[Any] = Registry(
    "confidence",
    {
        "answer-probability": Entry(
            "polymode.generate.scoring:answer_probabilities", "probability of the answer's tokens"
        ),
        "p-true": Entry("polymode.generate.p_true:p_true", "P(True): the model is asked whether it is right"),
        "votes": Entry("polymode.generate.agreement:votes", "share of the question's samples that hold the answer"),
        "aggregation": Entry(
            "polymode.generate.agreement:aggregated", "probability of all sampled wordings of the answer together"
        ),
        "probe": Entry(
            "polymode.generate.probing:probed", "a linear probe of the hidden state where the confidence is stated"
        ),
    },
)
"""Measured confidences by name: functions of completions, the model and ``style`` that give completions.

A function whose argument ``model`` has a default needs none. One that takes ``verifier`` sees all samples of a question
at once; ``reasoning``, ``checks``, ``max_tokens`` and ``seed`` go to those that take them.
"""


def needs_model(name: str) -> bool:
    """Whether the confidences called ``name`` are measured on a model; raises ConfigError for an unknown name."""
    parameter = CONFIDENCES.options(name).get("model")
    return parameter is None or parameter.default is Parameter.empty


def measure_confidences(
    name: str, completions: Sequence[Completion], model: object, *, style: Style, **options: object
) -> list[Completion]:
    """The completions with the confidences called ``name`` and no others.

    Args:
        name: one of `CONFIDENCES`, or ``module:Name``.
        completions: all samples of each question.
        model: a generator that tells probabilities; anything where the method needs none.
        style: of the prompts that they answer.
        options: passed on where the function takes them.

    Raises:
        ConfigError: an unknown name, or a model that does not tell probabilities.
        GeneratorFault: the back-end failed.
    """
    measure, parameters = CONFIDENCES.load(name), CONFIDENCES.options(name)
    usable = {option: value for option, value in {"style": style, **options}.items() if option in parameters}
    check_model(name, model, options)
    return measure([replace(one, confidences=None, confidence_mass=None) for one in completions], model, **usable)


def is_measured(completion: Completion) -> bool:
    """Whether confidences were measured, be it without a result because nothing that is compared is likely at all."""
    return completion.confidences is not None or completion.confidence_mass is not None


def measure_in_parts(
    name: str,
    completions: Sequence[Completion],
    model: object,
    *,
    style: Style,
    batch: int,
    present: Collection[tuple[str, int]] = (),
    on_refused: Callable[[Completion, PromptRefusedError], None] = lambda *_: None,
    **options: object,
) -> Iterator[list[Completion]]:
    """`measure_confidences` part by part, as they are finished; a part that fails costs only itself.

    A completion that the model refuses, such as one that is too long for it, is left without confidences; its part is
    measured without it.

    A part is whole questions with ``batch`` completions or a few more; of a back-end that ``is_concurrent`` it is one
    question, and several are measured at once.

    Args:
        name: as for `measure_confidences`.
        completions: all samples of each question.
        model: as for `measure_confidences`.
        style: of the prompts.
        batch: completions of a part.
        present: id and sample of those that were measured before (`is_measured`).
        on_refused: called with each completion that the model refuses, from several threads where it has workers.
        options: as for `measure_confidences`.

    Raises:
        GeneratorFault: some parts failed, or every completion was refused, raised after all others.
        ConfigError: as for `measure_confidences`.
    """
    is_of_question = "verifier" in CONFIDENCES.options(name)
    groups: dict[str, list[Completion]] = {}
    for one in completions:
        groups.setdefault(one.example.id, []).append(one)
    parts: list[list[Completion]] = []
    for group in groups.values():
        missing = [one for one in group if (one.example.id, one.sample) not in present]
        own = group if is_of_question and missing else missing
        if own and parts and len(parts[-1]) < batch and workers_of(model) == 1:
            parts[-1] += own
        elif own:
            parts.append(list(own))

    def measure(part: Sequence[Completion]) -> list[Completion]:
        return measure_confidences(name, part, model, style=style, **options)

    def call(part: list[Completion]) -> list[Completion]:
        try:
            measured = measure(part)
        except PromptRefusedError as exc:
            measured = one_by_one(part) if len(part) > 1 else [refuse(part[0], exc)]
            if not any(map(is_measured, measured)):
                raise
        return missing_of(measured)

    def one_by_one(part: list[Completion]) -> list[Completion]:
        fitting: list[Completion] = []
        refused: list[Completion] = []
        for one in part:
            try:
                fitting += measure([one])
            except PromptRefusedError as exc:
                refused.append(refuse(one, exc))
        if is_of_question and fitting:  # together, as its samples are
            fitting = measure(fitting)
        return fitting + refused

    def refuse(one: Completion, exc: PromptRefusedError) -> Completion:
        refusals.append(exc)
        on_refused(one, exc)
        return replace(one, confidences=None, confidence_mass=None)

    def missing_of(part: Sequence[Completion]) -> list[Completion]:
        return [one for one in part if (one.example.id, one.sample) not in present]

    def bare(part: Sequence[Completion]) -> list[Completion]:
        return [replace(one, confidences=None, confidence_mass=None) for one in missing_of(part)]

    def size(part: Sequence[Completion]) -> int:
        return len(missing_of(part))

    refusals: list[PromptRefusedError] = []
    has_any = len(present) > 0
    n_present = len(completions) - sum(map(size, parts))
    how: dict[str, Any] = {"label": "confidences", "verb": "measured", "n_present": n_present, "instead": bare}
    for measured in each_result(call, parts, model, size=size, **how):
        has_any = has_any or any(map(is_measured, measured))
        yield measured
    if refusals and not has_any:
        first = refusals[0]
        raise GeneratorFault(f"no completion could be measured; the first: {first}", first.advice)


def check_model(name: str, model: object, options: Collection[str] = ()) -> None:
    """Refuse a model on which the confidences called ``name`` cannot be measured; those of others judge themselves.

    Args:
        name: as for `measure_confidences`.
        model: a generator.
        options: names of the options that there will be.

    Raises:
        ConfigError: the model does not tell what is needed, or an option without a default is missing.
    """
    if name == "probe":
        if "probe" not in options:
            raise ConfigError(
                "confidences 'probe' come from judged answers of other questions: generate without them, then measure "
                "them with polymode confidences RUN --from probe --fit JUDGED_RUN"
            )
        if not isinstance(model, StateReader):
            raise ConfigError(
                f"confidences 'probe' need hidden states, which {type(model).__name__} does not tell: use --backend "
                "transformers, or p-true, which works with any back-end"
            )
        return
    is_free = name not in CONFIDENCES.entries or not needs_model(name)
    if is_free or isinstance(model, Scorer) or (name == "p-true" and isinstance(model, Replier)):
        return
    raise ConfigError(
        f"confidences {name!r} need probabilities of a text, which {type(model).__name__} does not tell: use --backend "
        "transformers, or votes, which need no model (p-true works with any back-end)"
    )
