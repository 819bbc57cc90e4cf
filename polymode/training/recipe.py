"""What one training run is asked to do: a flat, frozen record, from a YAML recipe or from flags.

Everything is checked here, before a model is loaded. Defaults are the lab's; `recipes/` holds those of full-size runs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from polymode.credit import CREDITS, SCALES
from polymode.errors import ConfigError, DataNotFoundError
from polymode.prompts import check_k
from polymode.rewards import METHODS, PRESETS
from polymode.tasks import Task, open_task, verifier_of
from polymode.training.objective import check_options
from polymode.verifiers import QuestionVerifier, Verifier
from polymode.verifiers.choice import check_verifier, open_verifier

LOSSES = ("dapo", "grpo", "dr_grpo", "bnpo", "cispo", "sapo")
"""TRL's losses that need no further option."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Options of `polymode train`."""

    task: str = "clinic"
    """Task to train on; `polymode tasks` lists them."""
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the task, by name."""
    data: Path | None = None
    """Folder (or file) of the task's data; lab tasks need none."""
    method: str = "multi-rlcr"
    """single-rlvr, single-rlcr, multi-rlvr or multi-rlcr."""
    k: int = 3
    """Answers in one completion; single methods always use 1."""
    k_choices: tuple[int, ...] = ()
    """K of each question, drawn from these and said in its prompt, so that one model serves them all; none: `k`."""
    preset: str = "paper"
    """Reward preset: paper, or released (the published code's terms and gates)."""
    coverage: Literal["count", "any", "count/K", "count/N", "vector"] = "count"
    """How references found are counted (docs/rewards.md); `vector` is the best match under random weights of them."""
    coverage_weight: float = 1.0
    coverage_alpha: float = 1.0
    """`vector` only: concentration of the weights."""
    confidence_score: str = "brier"
    """Proper score of the confidences; `other` scores the set as one forecast with "none of these"."""
    confidence_weight: float = 1.0
    confidences: Literal["independent", "exclusive"] = "independent"
    """`exclusive`, where at most one answer can be right: a soft penalty when confidences sum above 1."""
    exclusive_penalty: float = 1.0
    repeat_penalty: float = 0.0
    """Weight of each answer that repeats an earlier one of its set."""
    objective: Literal["mean", "pass@k", "coverage@k"] = "mean"
    """pass@k: one of k completions is right; coverage@k: references found by k completions together."""
    objective_k: int = 0
    """Completions that pass@k and coverage@k look at together, below group; 0 means k."""
    exploration: Literal["none", "batch", "historical"] = "none"
    """Bonus for answers that few completions of the group gave, or few of the whole training."""
    exploration_weight: float = 0.1
    verifier: str | None = None
    """What calls an answer right: text, symbolic, judge or programs; none means the task's own."""
    verifier_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the verifier, by name."""
    model: str | None = None
    """Hugging Face model name or folder; none means the lab's model, warm-started on the task's demonstrations."""
    prompt_style: Literal["task", "full", "brief"] = "task"
    """Prompt style; `task` uses the task's own."""

    steps: int = 150
    """Optimiser steps, one batch of fresh completions each."""
    questions_per_step: int = 16
    """Questions of a step (P)."""
    group: int = 16
    """Completions of each question (G)."""
    learning_rate: float = 5e-4
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_share: float = 0.0
    """Share of the steps over which the learning rate rises from zero."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    temperature: float = 1.0
    """Sampling temperature of the completions."""
    max_completion_tokens: int = 96
    """Completions are cut off at this length."""
    scale_rewards: str = "none"
    """none or batch; group (division by each group's deviation) is refused for calibrated rewards."""
    allow_group_scale: bool = False
    """Let group through with a calibrated reward, to measure what it breaks."""
    credit: str = "sequence"
    """sequence: every token of a completion gets its score; term: each token what it causes (`polymode.credit`)."""
    reasoning_credit: float = 1.0
    """`term` only: factor of the credit of tokens outside the slots; below 1 the noisiest part weighs less."""
    confidence_credit: float = 1.0
    """`term` only: factor of the credit of confidences; above 1 they are learnt sooner, at no cost to the answers."""
    loss: str = "dapo"
    """TRL's loss_type: dapo, grpo, dr_grpo, bnpo, cispo or sapo."""
    clip: float = 0.2
    """Clipping range of the importance ratio."""
    kl: float = 0.0
    """Weight of the KL penalty to the starting model (TRL's beta)."""
    seed: int = 0

    device_batch: int | None = None
    """Completions in one forward and backward pass on one device; none means the whole step at once."""
    bf16: bool = False
    """Train in bfloat16 (GPUs)."""
    activation_checkpointing: bool = False
    """Trade compute for memory."""
    lora_rank: int = 0
    """Rank of LoRA adapters; 0 trains all weights."""
    lora_alpha: int = 32
    vllm: bool = False
    """Generate with vLLM (needs the extra `vllm` and a GPU)."""
    vllm_mode: Literal["colocate", "server"] = "colocate"
    vllm_memory: float = 0.3
    """Share of GPU memory for colocated vLLM."""
    threads: int = 0
    """CPU threads of torch; 0 leaves the default."""

    save_every: int = 50
    """Steps between checkpoints."""
    keep_checkpoints: int = 1
    """Checkpoints kept; older ones are deleted."""
    report_to: tuple[str, ...] = ()
    """Any of trackio, tensorboard, wandb."""

    warm_start_steps: int = 2000
    """Supervised steps of the lab model's warm start."""
    warm_start_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work, in one line that names the field."""
        _one_of("method", self.method, METHODS)
        _one_of("preset", self.preset, PRESETS)
        _one_of("scale_rewards", self.scale_rewards, SCALES)
        _one_of("credit", self.credit, CREDITS)
        _one_of("loss", self.loss, LOSSES)
        _one_of("prompt_style", self.prompt_style, ("task", "full", "brief"))
        _one_of("schedule", self.schedule, ("constant", "linear", "cosine"))
        _one_of("vllm_mode", self.vllm_mode, ("colocate", "server"))
        if self.verifier is not None:
            check_verifier(self.verifier, self.verifier_options)
        elif self.verifier_options:
            raise ConfigError("verifier_options are given without verifier: name one, for example verifier: judge")
        check_k(self.k)
        if self.method.startswith("multi") and self.k == 1:
            raise ConfigError(f"k = 1 with method = {self.method!r}: use the single method, or k from 2")
        self._check_k_choices()
        if self.scale_rewards == "group" and METHODS[self.method].has_confidence and not self.allow_group_scale:
            raise ConfigError(
                f"scale_rewards = 'group' with method = {self.method!r}: dividing by each group's deviation breaks "
                "calibration (arXiv 2508.11800); use 'none' or 'batch' (allow_group_scale: true lets it through, to "
                "measure that)"
            )
        for name in ("reasoning_credit", "confidence_credit"):
            factor = getattr(self, name)
            if not (math.isfinite(factor) and factor > 0):
                raise ConfigError(f"{name} = {factor!r} must be a positive number")
            if factor != 1 and self.credit != "term":
                raise ConfigError(f"{name} = {factor!r} is given without credit: add credit: term")
        if self.confidence_credit != 1 and not METHODS[self.method].has_confidence:
            raise ConfigError(
                f"confidence_credit = {self.confidence_credit!r} with method = {self.method!r}: its answers carry no "
                "confidences; use single-rlcr or multi-rlcr"
            )
        if self.credit == "term" and self.preset != "paper":
            raise ConfigError(
                f"credit = 'term' with preset = {self.preset!r}: its gates look at the whole set; use preset 'paper', "
                "or credit 'sequence'"
            )
        for name in ("steps", "questions_per_step", "max_completion_tokens", "save_every", "keep_checkpoints"):
            _at_least(name, getattr(self, name), 1)
        _at_least("group", self.group, 2)
        for name in ("lora_rank", "threads", "warm_start_steps"):
            _at_least(name, getattr(self, name), 0)
        _at_least("lora_alpha", self.lora_alpha, 1)
        for name in ("learning_rate", "temperature", "max_grad_norm", "clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be a positive number")
        for name in ("weight_decay", "kl"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be a number, at least 0")
        for name in ("seed", "warm_start_seed"):
            _at_least(name, getattr(self, name), 0)
            if getattr(self, name) >= 2**32:
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be below 2**32")
        if not 0 < self.vllm_memory <= 1:
            raise ConfigError(f"vllm_memory = {self.vllm_memory!r} must be a share, above 0 and at most 1")
        if not 0 <= self.warmup_share < 1:
            raise ConfigError(f"warmup_share = {self.warmup_share!r} must be from 0 to below 1")
        if self.device_batch is not None and (self.device_batch < 1 or self.completions_per_step % self.device_batch):
            raise ConfigError(
                f"device_batch = {self.device_batch!r} must divide questions_per_step x group = "
                f"{self.completions_per_step}"
            )
        check_options(self)
        unknown = set(self.report_to) - {"trackio", "tensorboard", "wandb"}
        if unknown:
            raise ConfigError(f"report_to = {sorted(unknown)} is not known: use trackio, tensorboard or wandb")

    def _check_k_choices(self) -> None:
        if not self.k_choices:
            return
        for k in self.k_choices:
            check_k(k)
        if len(set(self.k_choices)) != len(self.k_choices):
            raise ConfigError(f"k_choices = {self.k_choices!r} names a number twice: name each once")
        for name, plain in (("coverage", "count"), ("objective", "mean"), ("exploration", "none"), ("preset", "paper")):
            if getattr(self, name) != plain:
                raise ConfigError(
                    f"k_choices with {name} = {getattr(self, name)!r}: its conditions are of one k; use k, or {name} = "
                    f"{plain!r}"
                )
        if not self.method.startswith("multi"):
            raise ConfigError(f"k_choices with method = {self.method!r}: a single method asks for one answer; use k")

    @property
    def completions_per_step(self) -> int:
        """P x G."""
        return self.questions_per_step * self.group

    @property
    def answers(self) -> int:
        """Most answers in one completion of this method: K, or 1 for single methods."""
        return METHODS[self.method].answers(max(self.k_choices, default=self.k))


def task_for(recipe: Recipe) -> Task:
    """The recipe's task."""
    options = dict(recipe.task_options)
    if recipe.task == "records" and recipe.verifier is not None:
        options.setdefault("verifier", recipe.verifier)
    return open_task(recipe.task, data=recipe.data, **options)


def verifier_for(recipe: Recipe, task: Task) -> Verifier | QuestionVerifier:
    """The recipe's verifier, or the task's own when it names none."""
    if recipe.verifier is None:
        return verifier_of(task)
    return open_verifier(recipe.verifier, **recipe.verifier_options)


def load_recipe(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a YAML recipe; unknown keys and wrong types are refused.

    Raises:
        DataNotFoundError: no such file.
        ConfigError: not a YAML mapping, an unknown key, or a value that is not allowed.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataNotFoundError(f"recipe {path} does not exist: check the path (recipes/ holds examples)") from None
    except IsADirectoryError:
        raise DataNotFoundError(f"recipe {path} is a folder: name the YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"recipe {path} is not valid YAML: {str(exc).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"recipe {path} must be a mapping of option: value, got {type(content).__name__}")
    return recipe_from({**content, **(overrides or {})}, where=f"recipe {path}")


def recipe_from(values: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """A recipe from plain values, types checked; `where` starts the error message."""
    known = {f.name: f for f in fields(Recipe)}
    out: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown option {key!r}; known: {', '.join(sorted(known))}")
        out[key] = _typed(key, value, str(known[key].type), where)
    try:
        return Recipe(**out)
    except ConfigError as exc:
        raise ConfigError(f"{where}: {exc}") from None


def _typed(key: str, value: Any, kind: str, where: str) -> Any:
    """``value`` as the field's type, for the few types that recipes use."""
    optional = kind.endswith("| None")
    base = kind.removesuffix("| None").strip()
    if value is None and optional:
        return None
    if base == "float" and isinstance(value, str):  # YAML reads 1e-6 as text
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if base == "float":
            return float(value)
        if base == "int" and (isinstance(value, int) or value.is_integer()):  # 1e3 is a whole number, .inf is none
            return int(value)
    if base == "bool" and isinstance(value, bool):
        return value
    if base == "Path" and isinstance(value, (str, Path)):
        return Path(value)
    if (base == "str" or base.startswith("Literal")) and isinstance(value, str):
        return value
    if base.startswith("tuple") and isinstance(value, (list, tuple)):
        kind_of_item = int if "int" in base else str
        if all(isinstance(v, kind_of_item) and not isinstance(v, bool) for v in value):
            return tuple(value)
    if base.startswith("Mapping") and isinstance(value, Mapping):
        return dict(value)
    raise ConfigError(f"{where}: {key} = {value!r} is not a {base}")


def _one_of(name: str, value: Any, allowed: Any) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} = {value!r} is not known: use one of {', '.join(allowed)}")


def _at_least(name: str, value: Any, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ConfigError(f"{name} = {value!r} must be a whole number, at least {low}")
