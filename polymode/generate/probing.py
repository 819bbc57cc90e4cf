"""A probe's probabilities as confidences: states of the model that wrote the completions, where it states one (L4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from polymode.errors import ConfigError, RecordError
from polymode.parsing import parse_answers
from polymode.probe import Probe, ProbeFit, fit_probe
from polymode.probe.fitting import check_labels
from polymode.prompts import Style, prompt_for
from polymode.types import AnswerSet, Completion

_TRIAL = 16
"""Completions at a time by which it is found out whether the model can have written them."""


@runtime_checkable
class StateReader(Protocol):
    """A generator that shows its hidden states."""

    def candidate_layers(self) -> list[int]:
        """Layers that a probe is tried on."""
        ...

    def confidence_states(
        self, prompts: Sequence[str], texts: Sequence[str], answers: Sequence[AnswerSet], layers: Sequence[int]
    ) -> list[NDArray[np.float32] | None]:
        """Hidden states of each text at the tokens that decide its confidences, (K, layers, F).

        None for a text that the model's tokens do not spell, or that is longer than what it reads.
        """
        ...


@dataclass(frozen=True, eq=False)
class ConfidenceStates:
    """Hidden states of all answers, flat, with where they belong."""

    states_NLF: NDArray[np.float32]
    owner_N: NDArray[np.int64]
    """Number of each answer's completion."""
    slot_N: NDArray[np.int64]


def read_states(
    completions: Sequence[Completion], model: StateReader, style: Style, layers: Sequence[int]
) -> ConfidenceStates:
    """Hidden states of the clean completions' answers where their confidences are decided; none of the others."""
    parsed = {i: _stated(one) for i, one in enumerate(completions) if one.has_confidence}
    clean = [i for i, answers in parsed.items() if answers.is_clean]
    prompts = [prompt_for(completions[i].example, completions[i].k, confidence=True, style=style) for i in clean]
    states = model.confidence_states(prompts, [completions[i].text for i in clean], [parsed[i] for i in clean], layers)
    spelled = [(i, of_set) for i, of_set in zip(clean, states, strict=True) if of_set is not None]
    width = spelled[0][1].shape[-1] if spelled else 0
    return ConfidenceStates(
        np.concatenate([np.empty((0, len(layers), width), np.float32), *(of_set for _, of_set in spelled)]),
        np.repeat([i for i, _ in spelled], [len(of_set) for _, of_set in spelled]).astype(np.int64),
        np.array([slot for _, of_set in spelled for slot in range(len(of_set))], dtype=np.int64),
    )


def check_stated(completions: Sequence[Completion], source: object) -> None:
    """Refuse completions without a token to probe, before a model is loaded.

    Raises:
        ConfigError: none states a confidence, or none is clean.
    """
    stating = [one for one in completions if one.has_confidence]
    if not stating:
        raise ConfigError(
            f"{source}: no completion states a confidence, so there is no token to probe: generate with confidences, "
            "or measure p-true or votes"
        )
    if not any(_stated(one).is_clean for one in stating):
        raise ConfigError(
            f"{source}: none of the {len(stating):,} completions is in the answer format, so there is no token to "
            "probe: teach the format first (polymode warmup), or check --k"
        )


def check_spelled(completions: Sequence[Completion], model: StateReader, style: Style, source: object) -> None:
    """Refuse completions that the model cannot have written: clean ones, some at a time, until one can be read.

    Raises:
        ConfigError: its tokenizer spells none of them as it stands.
    """
    clean = [one for one in completions if one.has_confidence and _stated(one).is_clean]
    trials = (clean[start : start + _TRIAL] for start in range(0, len(clean), _TRIAL))
    if clean and not any(len(read_states(trial, model, style, []).owner_N) for trial in trials):
        raise ConfigError(
            f"{source}: the model's tokenizer does not spell the completions as they are written, or they are longer "
            "than it reads: name the model that wrote them with --model"
        )


def check_probe(completions: Sequence[Completion], model: StateReader, style: Style, probe: Probe) -> None:
    """Refuse a probe of other states or fewer slots, by the clean completion with most answers.

    Raises:
        ConfigError: as `probed`.
    """
    clean = [one for one in completions if one.has_confidence and _stated(one).is_clean]
    probed([max(clean, key=lambda one: one.k)] if clean else [], model, style=style, probe=probe)


def labels_of(
    completions: Sequence[Completion], judged: Mapping[tuple[str, int], Sequence[float | None]]
) -> dict[tuple[int, int], float]:
    """Label of each answer of the clean completions, by number of the completion and slot; none of unscored ones."""
    labels = {}
    for number, one in enumerate(completions):
        answers, of_set = _stated(one).answers, judged.get((one.example.id, one.sample), ())
        if one.has_confidence and len(answers) == len(of_set):  # else it was judged as far as it could be read
            labels |= {(number, slot): y for slot, y in enumerate(of_set) if y is not None}
    return labels


def check_fittable(completions: Sequence[Completion], labels: Mapping[tuple[int, int], float]) -> None:
    """Refuse judged answers that no probe can be fitted to; raises RecordError."""
    check_labels(np.array([*labels.values()], dtype=float), [_question(completions[number]) for number, _ in labels])


def _stated(completion: Completion) -> AnswerSet:
    return parse_answers(
        completion.text, completion.k, confidence=completion.has_confidence, finished=completion.is_finished
    )


def _question(completion: Completion) -> str:
    """What a probe knows a question by: its text, in any file; a line without one stands alone."""
    return completion.example.question or completion.example.id


def fit_to_completions(
    completions: Sequence[Completion],
    labels: Mapping[tuple[int, int], float],
    model: StateReader,
    *,
    style: Style,
    has_slots: bool = True,
    seed: int = 0,
    model_name: str = "",
) -> ProbeFit:
    """A probe fitted to judged completions of training questions.

    Args:
        completions: with stated confidences.
        labels: y of answers, in [0, 1], by number of the completion and slot (`labels_of`).
        model: the model that wrote them.
        style: of the prompts.
        has_slots: whether each slot has a level of its own.
        seed: of the folds.
        model_name: for the record.

    Raises:
        RecordError: as `polymode.probe.fit_probe`: too few judged answers, or only one verdict.
    """
    layers = model.candidate_layers()
    states = read_states(completions, model, style, layers)
    places = list(zip(states.owner_N.tolist(), states.slot_N.tolist(), strict=True))
    labelled = [n for n, place in enumerate(places) if place in labels]
    return fit_probe(
        states.states_NLF[labelled],
        layers,
        np.array([labels[places[n]] for n in labelled], dtype=float),
        [_question(completions[places[n][0]]) for n in labelled],
        states.slot_N[labelled],
        has_slots=has_slots,
        seed=seed,
        model=model_name,
    )


def probed(completions: Sequence[Completion], model: StateReader, *, style: Style, probe: Probe) -> list[Completion]:
    """Confidence of each answer = what a linear probe reads from the state in front of its stated confidence.

    Answers to questions that the probe was fitted to are predicted without their fold (`polymode.probe.Probe`).
    Completions that are not clean or state no confidences are left as they are.

    Source: the value head of Kadavath et al. 2022, https://arxiv.org/abs/2207.05221, section 5, here linear.

    Raises:
        ConfigError: the probe reads states of another width, or has no level for a slot: it is of another model or K.
    """
    states = read_states(completions, model, style, [probe.layer])
    questions = [_question(completions[owner]) for owner in states.owner_N]
    if not questions:
        return list(completions)
    try:
        p_N = probe(states.states_NLF[:, 0], states.slot_N, questions)
    except RecordError as exc:  # of an option, not of the completions: the others would fail as well
        raise ConfigError(str(exc)) from None
    values: dict[int, list[float]] = {}
    for owner, p in zip(states.owner_N, p_N, strict=True):
        values.setdefault(int(owner), []).append(float(p))
    return [
        replace(one, confidences=tuple(values[i]), confidence_mass=None) if i in values else one
        for i, one in enumerate(completions)
    ]
