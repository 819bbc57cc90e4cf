"""The experiments as data: which models are trained, and how each is asked for K answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from polymode.compare.columns import EQUAL_ANSWERS, Confidence, measured_view
from polymode.errors import ConfigError
from polymode.reproduce.temperatures import TEMPERATURES
from polymode.rewards import METHODS
from polymode.training.demonstrations import Warmup
from polymode.training.recipe import Recipe
from polymode.training.supervision_options import ConfidenceSupervision


@dataclass(frozen=True, slots=True)
class View:
    """One way of asking a trained model for K answers."""

    name: str
    """Folder of its evaluation inside the arm's folder."""
    answers: int
    """Answers in one completion."""
    pool: int
    """Independent completions put together to one set; 1 when a completion is a set by itself."""
    has_confidence: bool
    """Whether confidences are asked for."""
    confidence: Confidence = "stated"
    """Where confidences come from; all but ``stated`` measure the completions of another view."""
    of: str = ""
    """The view whose completions are measured, when confidences are not stated."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One trained model of one seed, and the views it is evaluated in."""

    name: str
    """Folder name, for example multi-rlcr-k3."""
    recipe: Recipe
    views: tuple[View, ...]
    is_trained: bool = True
    """False: the recipe's starting model as it is."""
    supervised: Warmup | None = None
    """Supervised training on these demonstrations instead of reinforcement learning."""
    ceiling: ConfidenceSupervision | None = None
    """Supervised training of its confidences on verdicts of its own answers instead of reinforcement learning."""
    starts_from: Path | None = None
    """Folder of the arm whose trained model it starts from, instead of the recipe's."""

    @property
    def folder(self) -> Path:
        """Folder of this arm and seed, relative to the experiment's."""
        return Path(self.name) / f"seed-{self.recipe.seed}"

    @property
    def steps(self) -> int:
        """Optimiser steps of its training."""
        if self.supervised is not None:
            return self.supervised.steps
        return self.recipe.max_steps if self.is_trained and self.ceiling is None else 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One experiment on one task."""

    name: str
    arms: tuple[Arm, ...]
    k: int = 3
    questions: int = 1000
    """Test questions on which sets are compared."""
    deep_questions: int = 150
    """The first so many of them are answered until 30 answers are there: curves over k, unique answers, overlap."""
    deep_answers: int = 30
    n_boot: int = 1000
    groups_by: str | None = None
    """Field of the questions' meta whose values are also measured by themselves."""
    backend: str = "transformers"
    """What samples the test split."""
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    """Further options of it."""
    refused: Literal["stop", "empty"] = "stop"
    """What becomes of prompts that it refuses."""
    note: str = ""
    """What the user should know before anything runs."""
    temperatures: tuple[float, ...] = ()
    """Sampling temperatures that single-answer arms choose from on validation questions; none: that of the training."""
    validation_questions: int = 200
    """On which they choose."""

    @property
    def task(self) -> str:
        """Name of the task all arms share."""
        return self.arms[0].recipe.task

    def completions(self, arm: Arm) -> int:
        """Completions that the views of an arm are made of, where the task has that many test questions."""
        deep = sum(self.deep_questions * self.deep_samples(view) for view in arm.views if not view.of)
        return deep + sum(self.questions * view.pool for view in arm.views)

    def deep_samples(self, view: View) -> int:
        """Completions of each question that hold 30 answers."""
        return math.ceil(self.deep_answers / view.answers)


def arm(
    base: Recipe, method: str, seed: int, *, k: int = 3, prompted: bool = False, measured: Sequence[Confidence] = ()
) -> Arm:
    """An arm of ``method``.

    A single-trained model is pooled over K samples and, if ``prompted``, asked for K; its samples are looked at again
    with each of the ``measured`` confidences.
    """
    recipe = replace(base, method=method, k=k, seed=seed)
    confidence = METHODS[method].has_confidence
    if method.startswith("multi"):
        credit = "" if base.credit == "sequence" else f"-{base.credit}"
        return Arm(f"{method}{credit}-k{k}", recipe, (View("set", k, 1, confidence),))
    views = [View("samples", 1, k, confidence)]
    if prompted:
        views.append(View("prompted", k, 1, confidence))
    return Arm(method, recipe, (*views, *_measured(measured, k, confidence)))


def at_equal_answers(own: Arm, *, k: int = 3) -> Arm:
    """A single-answer arm that is trained until as many of its answers were graded as a multi-answer arm's of K = k.

    At equal completions a multi-answer model has K graded answers for each of its own; here it trains K times as long.
    """
    return replace(
        own,
        name=f"{own.name}{EQUAL_ANSWERS}",
        recipe=replace(own.recipe, max_steps=k * own.recipe.max_steps),
        views=own.views[:2],
    )


def ceiling(of: Arm) -> Arm:
    """The model of a multi-rlcr arm with its confidences trained on verdicts: how much this model can know."""
    return Arm(f"ceiling-of-{of.name}", of.recipe, of.views, ceiling=ConfidenceSupervision(), starts_from=of.folder)


def untrained(base: Recipe, *, k: int = 3, measured: Sequence[Confidence] = ()) -> Arm:
    """The model before reinforcement learning: K samples, and one completion asked for K with their probabilities.

    The latter is verbalized sampling (https://arxiv.org/abs/2510.01171): a prompt that asks for a distribution, and no
    training. The samples are looked at again with each of the ``measured`` confidences.
    """
    recipe = replace(base, method="multi-rlcr", k=k)
    views = [View("samples", 1, k, False), View("prompted", k, 1, True)]
    return Arm("untrained", recipe, (*views, *_measured(measured, k, False)), is_trained=False)


def _measured(sources: Sequence[Confidence], k: int, has_confidence: bool) -> list[View]:
    """The samples again, with confidences of each source."""
    return [View(measured_view(source), 1, k, has_confidence, source, "samples") for source in sources]


MEASURED: Mapping[str, tuple[Confidence, ...]] = {
    "single-rlvr": ("votes", "answer probability", "P(True)"),
    "single-rlcr": ("votes",),
}
"""What a user would take as confidence of the samples of a single-answer model."""


CLINIC = Recipe(
    task="clinic",
    max_steps=150,
    questions_per_step=8,
    num_generations=16,
    learning_rate=5e-4,
    max_completion_length=96,
    device_batch=64,  # on a CPU twice as fast as the whole step at once: what one pass touches stays in the cache
    warm_start_steps=2000,
    save_steps=50,
)
"""The lab's recipe; chosen on the validation split."""

DIAGNOSIS = replace(
    CLINIC,
    task="clinic-diagnosis",
    questions_per_step=64,
    num_generations=4,
    learning_rate=4e-4,
    lr_scheduler_type="cosine",
    temperature=0.7,
)
"""One label per question: many questions a step, or confidences drift with the noise of the labels."""

HOPS = replace(DIAGNOSIS, task="hops", max_steps=100, warm_start_steps=1500)
"""One label per question, as the diagnosis."""

PROGRAMS = replace(
    DIAGNOSIS, task="programs", max_steps=100, questions_per_step=32, learning_rate=1.5e-4, max_completion_length=128
)
"""A small step: what a program is good for hangs on every digit, and a faster one unlearns the arithmetic."""

DDXPLUS = replace(
    CLINIC,
    task="ddxplus",
    task_options={"style": "brief", "balance": True},
    max_completion_length=112,
    warm_start_steps=1500,
)


HARDER: Mapping[str, Recipe] = {
    name: replace(base, warm_start_demonstrations="uninformative", max_steps=60)
    for name, base in (
        ("harder-clinic", replace(CLINIC, questions_per_step=64, num_generations=4)),
        ("harder-diagnosis", replace(DIAGNOSIS, temperature=1.0)),
        ("harder-hops", replace(HOPS, temperature=1.0)),
    )
}
"""The harder lab: the confidences and the order of a warm-started model carry no information."""


def quick(data: Path | None = None) -> list[Plan]:
    """Single-RLVR, Multi-RLCR and the model before training on the clinic, one seed.

    Answers count when the differential lists them, and a confidence is scored against the posterior: so each number on
    the page is the probability that the condition is the cause.
    """
    base = replace(
        CLINIC,
        task_options={"target": "distribution"},
        max_steps=100,
        questions_per_step=32,
        num_generations=4,
        warm_start_steps=1000,
    )
    # The posterior is known, so verdicts are without noise, and replay needs no probe as its teacher.
    replay = {"teacher": "verdicts", "last_steps": 100, "learning_rate": 5e-4}
    expected = replace(base, credit="expected", confidence_credit=4.0, replay=replay)
    arms = (untrained(base), arm(base, "single-rlvr", 0, prompted=True), arm(expected, "multi-rlcr", 0))
    return [Plan("quick", arms, questions=300, deep_questions=100, temperatures=TEMPERATURES, validation_questions=100)]


def lab(data: Path | None = None) -> list[Plan]:
    """The three regimes: all four methods with three seeds, the model before training and the usual confidences.

    On the clinic's differential also Multi-RLVR at K = 2, 4, 5; where one answer is right
    also Multi-RLCR with credit per term.
    """
    by_term = {
        base.task: [arm(replace(base, credit="term"), "multi-rlcr", seed) for seed in range(3)]
        for base in (DIAGNOSIS, HOPS)
    }
    differential = (*_compared(CLINIC), *(arm(CLINIC, "multi-rlvr", 0, k=k) for k in (2, 4, 5)))
    return [
        Plan("clinic", differential, temperatures=TEMPERATURES),
        Plan(
            "clinic-diagnosis",
            (*_compared(DIAGNOSIS), *by_term["clinic-diagnosis"]),
            questions=2000,
            temperatures=TEMPERATURES,
        ),
        Plan("hops", (*_compared(HOPS), *by_term["hops"]), groups_by="answerable", temperatures=TEMPERATURES),
        Plan("programs", tuple(_compared(PROGRAMS)), temperatures=TEMPERATURES),
    ]


def harder_lab(data: Path | None = None) -> list[Plan]:
    """Confidences learnt by reinforcement alone: credit by sequence and by term, and the ceiling of both models.

    Three seeds, each of the warm start too, so that intervals over seeds hold both.
    """
    return [Plan(name, tuple(_harder(base)), temperatures=TEMPERATURES) for name, base in HARDER.items()]


def _harder(base: Recipe) -> Iterator[Arm]:
    for seed in range(3):
        own = replace(base, warm_start_seed=seed)
        yield replace(untrained(own), recipe=replace(own, method="multi-rlcr", seed=seed))
        yield arm(own, "single-rlcr", seed, prompted=True)
        for credit in (own, replace(own, credit="term", confidence_credit=4.0)):
            trained = arm(credit, "multi-rlcr", seed)
            yield from (trained, ceiling(trained))


def ddxplus(data: Path | None = None) -> list[Plan]:
    """The four methods on real DDXPlus patients, small model from scratch: train on train, test on test."""
    base = replace(DDXPLUS, data=data)
    arms = [arm(base, name, 0, prompted=True) for name in METHODS]
    return [Plan("ddxplus", tuple(arms), questions=1306, temperatures=TEMPERATURES)]


def _compared(base: Recipe) -> list[Arm]:
    arms = [
        arm(base, name, seed, prompted=True, measured=MEASURED.get(name, ())) for seed in range(3) for name in METHODS
    ]
    longer = [at_equal_answers(one) for one in arms if one.recipe.method.startswith("single")]
    return [*arms, *longer, untrained(base)]


PLANS: Mapping[str, Callable[[Path | None], list[Plan]]] = {
    "quick": quick,
    "lab": lab,
    "harder-lab": harder_lab,
    "ddxplus": ddxplus,
}
"""Experiments with the lab's small model."""
PRETRAINED = ("paper", "smollm2")
"""Experiments with a pretrained model (`polymode.reproduce.paper`)."""


def plans(name: str, data: Path | None = None, options: Mapping[str, Any] | None = None) -> list[Plan]:
    """The plans of an experiment by name.

    Args:
        name: one of `PLANS` or `PRETRAINED`.
        data: folder of the data.
        options: of `polymode.reproduce.experiment.Experiment`, by name; `PRETRAINED` only.

    Raises:
        ConfigError: an unknown experiment, or options that it does not have.
    """
    if name in PRETRAINED:
        from polymode.reproduce.experiment import Experiment
        from polymode.reproduce.paper import paper, smollm2

        return {"paper": paper, "smollm2": smollm2}[name](data, Experiment(**(options or {})))
    if name not in PLANS:
        raise ConfigError(f"experiment {name!r} is not known: use one of {', '.join((*PLANS, *PRETRAINED))}")
    if options:
        given = ", ".join(f"--{option.replace('_', '-')}" for option in options)
        raise ConfigError(
            f"{given} with the experiment {name}: leave it out (it belongs to {' and '.join(PRETRAINED)})"
        )
    return PLANS[name](data)
