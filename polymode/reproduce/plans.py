"""The experiments as data: which models are trained, and how each is asked for K answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from polymode.errors import ConfigError
from polymode.rewards import METHODS
from polymode.train.recipe import Recipe


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


@dataclass(frozen=True, slots=True)
class Arm:
    """One trained model of one seed, and the views it is evaluated in."""

    name: str
    """Folder name, for example multi-rlcr-k3."""
    recipe: Recipe
    views: tuple[View, ...]

    @property
    def folder(self) -> Path:
        """Folder of this arm and seed, relative to the experiment's."""
        return Path(self.name) / f"seed-{self.recipe.seed}"


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
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def task(self) -> str:
        """Name of the task all arms share."""
        return self.arms[0].recipe.task


def arm(base: Recipe, method: str, seed: int, *, k: int = 3, prompted: bool = False) -> Arm:
    """An arm of ``method``; a single-trained model is pooled over K samples and, if ``prompted``, asked for K."""
    recipe = replace(base, method=method, k=k, seed=seed)
    confidence = METHODS[method].has_confidence
    if method.startswith("multi"):
        return Arm(f"{method}-k{k}", recipe, (View("set", k, 1, confidence),))
    views = [View("samples", 1, k, confidence)]
    if prompted:
        views.append(View("prompted", k, 1, confidence))
    return Arm(method, recipe, tuple(views))


CLINIC = Recipe(
    task="clinic",
    steps=150,
    questions_per_step=8,
    group=16,
    learning_rate=5e-4,
    max_completion_tokens=96,
    device_batch=64,  # on a CPU twice as fast as the whole step at once: what one pass touches stays in the cache
    warm_start_steps=2000,
    save_every=50,
)
"""The lab's recipe; chosen on the validation split."""

DIAGNOSIS = replace(
    CLINIC,
    task="clinic-diagnosis",
    questions_per_step=64,
    group=4,
    learning_rate=4e-4,
    schedule="cosine",
    temperature=0.7,
)
"""One label per question: many questions a step, or confidences drift with the noise of the labels."""

DDXPLUS = replace(
    CLINIC,
    task="ddxplus",
    task_options={"style": "brief", "balance": True},
    max_completion_tokens=112,
)


def quick(data: Path | None = None) -> list[Plan]:
    """Single-RLVR against Multi-RLCR on the clinic, one seed."""
    base = replace(CLINIC, steps=100, warm_start_steps=1000)
    arms = (arm(base, "single-rlvr", 0, prompted=True), arm(base, "multi-rlcr", 0))
    return [Plan("quick", arms, questions=300, deep_questions=100)]


def lab(data: Path | None = None) -> list[Plan]:
    """All four methods with three seeds on both clinic tasks, and Multi-RLVR at K = 2, 4, 5."""
    differential = [arm(CLINIC, name, seed, prompted=True) for seed in range(3) for name in METHODS]
    differential += [arm(CLINIC, "multi-rlvr", 0, k=k) for k in (2, 4, 5)]
    diagnosis = [arm(DIAGNOSIS, name, seed) for seed in range(3) for name in METHODS]
    return [Plan("clinic", tuple(differential)), Plan("clinic-diagnosis", tuple(diagnosis), questions=2000)]


def ddxplus(data: Path | None = None) -> list[Plan]:
    """The four methods on real DDXPlus patients, small model from scratch: train on train, test on test."""
    base = replace(DDXPLUS, data=data)
    arms = [arm(base, name, 0, prompted=True) for name in METHODS]
    return [Plan("ddxplus", tuple(arms), questions=1306)]


PLANS: Mapping[str, Callable[[Path | None], list[Plan]]] = {"quick": quick, "lab": lab, "ddxplus": ddxplus}


def plans(name: str, data: Path | None = None) -> list[Plan]:
    """The plans of an experiment by name; raises ConfigError for an unknown one."""
    if name not in PLANS:
        raise ConfigError(f"experiment {name!r} is not known: use one of {', '.join(PLANS)}")
    return PLANS[name](data)
