"""The experiments with a pretrained model: the paper's arms on one task, and the same with SmolLM2-135M on three.

Arms, each on the same test questions:

=============  ======================================================================================
untrained      the model as it is: K samples, and asked for K; behind a server the only arm
warm-up        the answer format alone, from demonstrations; every later arm starts from it
distilled      its own sampled answers with their shares, as one set of K; no reinforcement learning
single-*       reinforcement learning with one answer: K samples, and asked for K
multi-*        reinforcement learning with K answers in one completion
=============  ======================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from polymode.compare.columns import Confidence
from polymode.errors import ConfigError
from polymode.prompts import style_of
from polymode.reproduce.experiment import Experiment
from polymode.reproduce.plans import Arm, Plan, View, arm, untrained
from polymode.reproduce.published import is_papers_model
from polymode.reproduce.smollm2 import default_folder
from polymode.rewards import METHODS
from polymode.tasks import TASKS
from polymode.training.demonstrations import Warmup
from polymode.training.recipe import Recipe, recipe_from

WARM_UP, DISTILLED = "warm-up", "distilled"
_PROGRAMS = ("mbpp", "programs", "humaneval")
_LORA_FACTOR = 10
"""Adapters bear about ten times the learning rate of all weights."""
_NOT_TRAINED = (
    "is behind a server and cannot be trained: warm-up, distilled and the four methods are left out, and semantic "
    "aggregation, which needs probabilities of given texts; --backend transformers or vllm with its weights runs them"
)
_FIXED = ("task", "task_options", "data", "model", "method", "seed")
"""Options of a recipe that the experiment sets itself."""


@dataclass(frozen=True, slots=True)
class Preset:
    """An experiment before the user changes anything."""

    recipe: Recipe
    warmup: Warmup = field(default_factory=Warmup)
    distillation: Warmup = field(default_factory=Warmup)
    questions: int = 1000
    deep_questions: int = 150


PAPER = Recipe(
    max_steps=520,
    questions_per_step=24,
    num_generations=32,
    learning_rate=1e-6,
    lr_scheduler_type="linear",
    warmup_steps=0.05,
    temperature=0.7,
    max_completion_length=1536,
    device_batch=6,
    activation_checkpointing=True,
    save_steps=26,
)
"""The paper's hyperparameters."""

PAPERS: Mapping[str, Recipe] = {
    "ddxplus": replace(PAPER, task="ddxplus"),
    "hotpotqa": replace(PAPER, task="hotpotqa", task_options={"train_rows": 20000, "test_rows": 500}),
    "mbpp": replace(PAPER, task="mbpp", task_options={"distinct": "ast"}, max_steps=156, max_completion_length=2048),
    "ambigqa": replace(PAPER, task="ambigqa"),
    "list-questions": replace(PAPER, task="list-questions", max_completion_length=768),
}
"""The paper's tasks and two more; steps and length of MBPP and of the last are ours (recipes/)."""

SMOLLM2 = Recipe(
    task="list-questions",
    task_options={"conditions": 1},
    prompt_style="brief",
    format="lines",
    max_steps=40,
    questions_per_step=8,
    num_generations=8,
    learning_rate=1e-5,
    max_completion_length=48,
    credit="expected",
    confidence_credit=4.0,
    confidence_questions="first",
    replay={"teacher": "probe"},
    device_batch=16,
    save_steps=10,
)
"""SmolLM2-135M on list questions, for two CPU cores."""

_SFT = Warmup(questions=320, check=48, steps=100, batch=24, device_batch=8, learning_rate=3e-5)
_DISTILLATION = replace(_SFT, questions=200, steps=60)
SMOLLM2_PRESETS = (
    Preset(SMOLLM2, _SFT, _DISTILLATION, questions=305, deep_questions=50),
    # With reasoning completions are three times as long, and half of them lose the format (docs/results.md).
    Preset(
        replace(
            SMOLLM2,
            task="ddxplus",
            task_options={"style": "brief", "balance": True},
            max_completion_length=64,
            device_batch=8,
        ),
        replace(_SFT, reasoning=False),
        replace(_DISTILLATION, questions=100, steps=40),
        questions=200,
        deep_questions=30,
    ),
    Preset(
        replace(SMOLLM2, task="ambigqa", task_options={}, max_completion_length=64),
        replace(_SFT, steps=60),
        _DISTILLATION,
        questions=300,
        deep_questions=50,
    ),
)
"""Sizes for at most three hours each on two cores; chosen by the cost of a step, not by results."""


def paper(data: Path | None, options: Experiment) -> list[Plan]:
    """The paper's arms on one task with any model.

    Raises:
        ConfigError: task or model is missing, or options that do not go together.
    """
    for name, example in (("task", "ddxplus"), ("model", "Qwen/Qwen3-8B")):
        if getattr(options, name) is None:
            raise ConfigError(f"--{name} is missing: the experiment paper needs it, for example --{name} {example}")
    assert options.task is not None
    preset = Preset(PAPERS.get(options.task) or replace(PAPER, task=options.task))
    return [_plan(f"paper-{options.task.rpartition(':')[2].lower()}", preset, options, data)]


def smollm2(data: Path | None, options: Experiment) -> list[Plan]:
    """The same arms with SmolLM2-135M-Instruct on list questions, DDXPlus and AmbigQA.

    ``data`` is the folder that holds ddxplus/ and ambigqa/, or that of one of them.

    Raises:
        ConfigError: options that do not go together.
    """
    if options.task is not None:
        raise ConfigError(f"--task {options.task} with smollm2, which has three tasks: use --only {options.task}")
    if options.backend == "openai":
        raise ConfigError("backend = 'openai' with smollm2, which trains its model: use transformers or vllm, or paper")
    options = replace(options, model=options.model or str(default_folder()))
    out = []
    for preset in SMOLLM2_PRESETS:
        task = preset.recipe.task
        needs_data = "data" in TASKS.options(task)
        own = data / task if data is not None and (data / task).is_dir() else data
        out.append(_plan(task, preset, options, own if needs_data else None))
    return out


def _plan(name: str, preset: Preset, options: Experiment, data: Path | None) -> Plan:
    recipe = _recipe(preset.recipe, options, data)
    plan = Plan(
        name,
        (),
        k=recipe.k,
        questions=options.questions or preset.questions,
        deep_questions=min(options.deep_questions or preset.deep_questions, options.questions or preset.questions),
        backend=options.backend,
        backend_options=options.backend_options,
        refused=options.refused,
    )
    if options.backend == "openai":
        return replace(plan, arms=(_behind_a_server(recipe),), note=f"{options.model} {_NOT_TRAINED}")
    return replace(plan, arms=_arms(preset, recipe, options))


def _behind_a_server(recipe: Recipe) -> Arm:
    """The one arm of a model that cannot be trained: its samples, also with votes and P(True), and asked for K."""
    # What a server tells of a reply's probabilities is its first word; `brief` would need those in its middle.
    by_server: tuple[Confidence, ...] = ("votes",) if recipe.prompt_style == "brief" else ("votes", "P(True)")
    return untrained(_without_credit(recipe), k=recipe.k, measured=by_server)


def _arms(preset: Preset, recipe: Recipe, options: Experiment) -> tuple[Arm, ...]:
    source = _demonstrations(options, recipe)
    common: dict[str, Any] = {"k": recipe.k, "lora": recipe.lora, "dtype": recipe.dtype}
    factor = _LORA_FACTOR if recipe.lora else 1
    warmup, distillation = (
        _warmup(
            replace(one, **common, learning_rate=factor * one.learning_rate),
            options.warmup_options,
        )
        for one in (preset.warmup, preset.distillation)
    )
    k = recipe.k
    both = (View("samples", 1, k, False), View("prompted", k, 1, True))
    base = replace(_without_credit(recipe), method="multi-rlcr")
    before = Arm(WARM_UP, base, both, supervised=replace(warmup, demonstrations=source))
    start = None if source == "none" else before.folder
    own_samples = replace(
        distillation,
        demonstrations="self",
        methods=("multi-rlcr",),
        sample_prompt="plain" if start is None else "format",
    )
    arms = [
        untrained(_without_credit(recipe), k=k),
        *([] if start is None else [before]),
        Arm(DISTILLED, base, (View("set", k, 1, True),), supervised=own_samples, starts_from=start),
    ]
    for seed in range(options.seeds):
        for method in METHODS:
            own = recipe if METHODS[method].has_confidence else _without_credit(recipe)
            arms.append(replace(arm(own, method, seed, k=k, prompted=True), starts_from=start))
    return tuple(arms)


def _recipe(recipe: Recipe, options: Experiment, data: Path | None) -> Recipe:
    """The preset's recipe with what the user says."""
    if refused := [name for name in options.recipe_options if name in _FIXED]:
        raise ConfigError(
            f"recipe_options has {refused[0]!r}, which the experiment sets: use its own option, or --only"
        )
    changes: dict[str, Any] = {
        "data": data,
        "model": options.model,
        "task_options": {**recipe.task_options, **options.task_options},
        # `brief` is for models that are trained on it.
        "prompt_style": options.style or ("full" if options.backend == "openai" else None),
        "format": options.format,
        "max_steps": options.steps,
        "dtype": options.dtype,
        "lora": options.lora or None,
        "learning_rate": _LORA_FACTOR * recipe.learning_rate if options.lora else None,
        "use_vllm": True if options.backend == "vllm" else None,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    merged = recipe_from({**_values(recipe), **changes, **options.recipe_options}, where="recipe_options")
    if merged.format == "lines" and merged.task in _PROGRAMS:
        raise ConfigError(f"format = 'lines' with task = {merged.task!r}: a line holds no program; use tags")
    style_of(merged.prompt_style, merged.format, "full", rationale=merged.rationale)
    return merged


def _values(recipe: Recipe) -> dict[str, Any]:
    return {one.name: getattr(recipe, one.name) for one in fields(recipe)}


def _without_credit(recipe: Recipe) -> Recipe:
    """For arms without confidences, whose score has one term alone."""
    plain = Recipe()
    names = ("credit", "reasoning_credit", "confidence_credit", "confidence_questions", "replay")
    return replace(recipe, **{name: getattr(plain, name) for name in names})


def _warmup(warmup: Warmup, changes: Mapping[str, Any]) -> Warmup:
    names = {one.name for one in fields(Warmup)} - {"demonstrations", "methods", "k", "sample_prompt"}
    if unknown := [name for name in changes if name not in names]:
        raise ConfigError(f"warmup_options has {unknown[0]!r}: use {', '.join(sorted(names))}")
    return replace(warmup, **changes)


def _demonstrations(options: Experiment, recipe: Recipe) -> str:
    """Where the warm-up's demonstrations come from; none for no warm-up."""
    if options.warmup != "auto":
        return options.warmup
    if is_papers_model(str(recipe.model)):
        return "none"
    return "task" if callable(getattr(TASKS.load(recipe.task), "demonstrate", None)) else "self"
