"""What one training run is asked to do: a flat, frozen record, from a YAML recipe or from flags.

Everything is checked here, before a model is loaded; pydantic checks the types and ranges of single fields. Defaults
are the lab's; `recipes/` holds those of full-size runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from functools import cached_property, wraps
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, Strict, ValidationError, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from polymode.chat import Chat
from polymode.errors import ConfigError, UserError
from polymode.prompts import Notation, check_k
from polymode.rewards import METHODS, Reward, check_question, term_names
from polymode.rewards.coverage import least_gain
from polymode.runs import read_shots
from polymode.training.conflicts import conflicts, objective_conflicts
from polymode.training.trl_options import (
    check_sections,
    describe,
    is_old_name,
    renamed,
    unknown_option,
    warn_of_old_names,
)
from polymode.verifiers.choice import check_verifier

Flag = Annotated[bool, Strict()]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Recipe:
    """Options of `polymode train`."""

    task: str = "clinic"
    """Task to train on; `polymode tasks` lists them. Or your own, as module:Name."""
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the task, by name."""
    data: Path | None = None
    """Folder (or file) of the task's data; lab tasks need none."""
    method: Literal["single-rlvr", "single-rlcr", "multi-rlvr", "multi-rlcr"] = "multi-rlcr"
    """single-rlvr, single-rlcr, multi-rlvr or multi-rlcr."""
    k: int = 3
    """Answers in one completion; single methods always use 1."""
    k_choices: tuple[Annotated[int, Strict()], ...] = ()
    """K of each question, sampled from these and stated in its prompt, so that one model serves them all; none: `k`."""
    preset: Literal["paper", "released"] = "paper"
    """Reward preset: paper, or released (the published code's terms and gates)."""
    coverage: Literal["count", "any", "count/K", "count/N", "vector"] = "count"
    """How references found are counted (docs/rewards.md); `vector` is the best match under random weights of them."""
    coverage_weight: float = 1.0
    """Weight of the references found."""
    coverage_alpha: float = 1.0
    """`vector` only: concentration of the weights."""
    confidence_score: str = "brier"
    """Proper score of the confidences; `other` scores the set as one forecast with "none of these"."""
    confidence_weight: float = 1.0
    """Weight of the confidences' score."""
    confidences: Literal["independent", "exclusive"] = "independent"
    """`exclusive`, where at most one answer can be right: a soft penalty when confidences sum above 1."""
    exclusive_penalty: float = 1.0
    """Weight of that penalty."""
    target: Literal["task", "verdict", "distribution"] = "task"
    """What confidences are scored against: the verdict, or the answer's mass in the reference distribution."""
    repeat_penalty: float = 0.0
    """Weight of each answer that repeats an earlier one of its set."""
    terms: Mapping[str, Annotated[float, Strict()]] = field(default_factory=dict)
    """Your own terms of the score, as module:Name, with their weights (docs/rewards.md)."""
    objective: Literal["mean", "pass@k", "coverage@k"] = "mean"
    """pass@k: one of k completions is right; coverage@k: references found by k completions together."""
    objective_k: Whole = 0
    """Completions that pass@k and coverage@k look at together, below num_generations; 0 means k."""
    exploration: Literal["none", "batch", "historical"] = "none"
    """Bonus for answers that few completions of the group gave, or few of the whole training."""
    exploration_weight: NotNegative = 0.1
    """Weight of that bonus."""
    verifier: str | None = None
    """What calls an answer right: text, symbolic, judge or programs, or your own as module:Name; none means the task's
    own."""
    verifier_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the verifier, by name."""
    model: str | None = None
    """Hugging Face model name or folder, or a GGUF file; none means the lab's model, warm-started on the task's
    demonstrations."""
    model_init: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of from_pretrained, for example attn_implementation or revision."""
    prompt_style: Literal["task", "full", "brief"] = "task"
    """Prompt style; `task` uses the task's own."""
    format: Notation = "tags"
    """Notation of the answers: tags; lines (`1. Peru | 0.7`), which take fewer tokens, for answers of one line;
    confidence-first, tags with the confidence before its answer."""
    rationale: Flag = False
    """Ask with each answer for the words of the question that speak for it (`<why1>`); style full only, no reward."""
    chat_template: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the model's chat template, for example enable_thinking."""
    system: str = ""
    """System prompt; empty means none."""
    shots: Path | tuple[Mapping[str, str], ...] = ()
    """Few-shot examples put before each question, as a list or a JSONL or YAML file: question and completion."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion, besides the model's end tokens; it ends before them."""

    max_steps: Count = 150
    """Optimiser steps, one batch of fresh completions each."""
    questions_per_step: Count = 16
    """Questions of a step (P)."""
    num_generations: Annotated[int, Field(ge=2)] = 16
    """Completions of each question (G)."""
    learning_rate: Positive = 5e-4
    """That of the lab's model; about 1e-6 for a pretrained model, 1e-5 for its adapters."""
    lr_scheduler_type: str = "constant"
    """constant, linear, cosine or another schedule of transformers, with trl: {lr_scheduler_kwargs: ...}."""
    warmup_steps: NotNegative = 0.0
    """Steps over which the learning rate rises from zero; below 1, their share of all steps."""
    weight_decay: NotNegative = 0.0
    """AdamW's decay of the weights."""
    max_grad_norm: Positive = 1.0
    """Longer gradients are shortened to this."""
    temperature: Positive = 1.0
    """Sampling temperature of the completions."""
    validation_steps: Whole = 0
    """Steps between two measurements on validation questions, greedy and sampled, from before the first; 0: none."""
    validation_questions: Count = 32
    """Validation questions of a measurement."""
    max_completion_length: Count = 96
    """Completions are cut off at this length, in tokens."""
    scale_rewards: Literal["none", "batch", "group"] = "none"
    """none or batch; group (division by each group's deviation) is refused for calibrated rewards."""
    allow_group_scale: Flag = False
    """Let group through with a calibrated reward, to measure what it breaks."""
    credit: Literal["sequence", "term", "expected", "dcpo", "coca"] = "sequence"
    """sequence: every token gets the completion's score; term: each answer and confidence the part of the score that it
    causes; expected: as term, but confidences learn from every value that they could have stated; dcpo, and coca with
    format confidence-first: of the field, to compare with (docs/credit.md)."""
    reasoning_credit: Positive = 1.0
    """`term` and `expected`: factor of the credit of tokens outside the slots, the noisiest part."""
    confidence_credit: Positive = 1.0
    """`term` and `expected`: factor of the credit of confidences; above 1 they are learnt sooner, answers later."""
    confidence_questions: Literal["all", "first", "apart"] = "all"
    """`expected` only: where confidences are learnt: on all questions, at the first visit of each, or on a share apart,
    whose answers are never trained."""
    apart_share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of the questions that are set apart with confidence_questions: apart."""
    replay: Mapping[str, Any] = field(default_factory=dict)
    """`expected` only: steps on completions judged earlier, for example {teacher: probe} (docs/credit.md)."""
    loss_type: Literal["dapo", "grpo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = "dapo"
    """Loss of TRL."""
    epsilon: Positive = 0.2
    """Clipping range of the importance ratio."""
    beta: NotNegative = 0.0
    """Weight of the KL penalty to the starting model."""
    seed: Seed = 0
    """Random seed of questions, samples and training."""

    device_batch: Count | None = None
    """Completions in one forward and backward pass on one device; none means the whole step at once."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """What is computed in; auto: bfloat16 for models from 50 million parameters where the machine is fast at it, else
    float32. Trained weights are float32 in any case."""
    activation_checkpointing: Flag = False
    """Trade compute for memory."""
    lora: Mapping[str, Any] = field(default_factory=dict)
    """Options of PEFT's LoraConfig, for example r and lora_alpha; none trains all weights."""
    use_vllm: Flag = False
    """Generate with vLLM (needs the extra `vllm` and a GPU)."""
    vllm_mode: Literal["colocate", "server"] = "colocate"
    """colocate: on the GPU that trains; server: trl vllm-serve at trl: {vllm_server_base_url: ...}."""
    vllm_gpu_memory_utilization: Share = 0.3
    """Share of GPU memory for colocated vLLM."""
    vllm: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of ``vllm.LLM`` for colocated vLLM, for example enforce_eager or kv_cache_dtype."""
    trl: Mapping[str, Any] = field(default_factory=dict)
    """Any other option of TRL's GRPOConfig, by name."""
    threads: Whole = 0
    """CPU threads of torch; 0 leaves the default."""

    save_steps: Count = 50
    """Steps between checkpoints."""
    save_total_limit: Count = 1
    """Checkpoints that are kept; older ones are deleted."""
    report_to: tuple[Literal["trackio", "tensorboard", "wandb"], ...] = ()
    """Any of trackio, tensorboard, wandb."""

    warm_start_steps: Whole = 2000
    """Supervised steps of the lab model's warm start."""
    warm_start_seed: Seed = 0
    """Random seed of the warm start."""
    warm_start_demonstrations: Literal["noisy", "uninformative"] = "noisy"
    """uninformative: random confidences and answers in random order, so that all skill of the confidences is learnt by
    reinforcement."""

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.__dataclass_fields__[str(info.field_name)].type != "Flag":
            raise ValueError("is a truth value, which is not allowed here")
        return value

    @field_validator("shots", mode="before")
    @classmethod
    def _reads_shots(cls, value: Any) -> Any:
        return read_shots(value)

    def __post_init__(self) -> None:
        """Refuse options that do not go together, in one line that names the field."""
        if self.verifier is not None:
            check_verifier(self.verifier, self.verifier_options)
        for k in (self.k, *self.k_choices):
            check_k(k)
        Chat(template=self.chat_template, stop=self.stop)
        for problem in conflicts(self):
            raise ConfigError(problem)
        check_sections(self)
        term_names(self.reward)
        for problem in objective_conflicts(self):
            raise ConfigError(problem)
        self.check_weights(1)

    def check_weights(self, n: int, target: Literal["verdict", "distribution"] = "verdict") -> None:
        """Refuse weights that on questions with n references pay for something else than right, honest answers.

        Raises:
            ConfigError: by `polymode.rewards.conditions`, or a bonus of exploration that beats a right answer.
        """
        reward = self.reward
        check_question(reward, k=self.answers, n=n, target=target)
        if self.exploration == "none" or self.objective != "mean":
            return
        novelty = self.exploration_weight / self.answers
        # Under `any` a second right answer adds nothing; there it is the first that must win.
        gain = least_gain(reward.coverage, k=self.answers, n=n, alpha=reward.coverage_alpha) or 1.0
        if novelty > reward.coverage_weight * gain:
            raise ConfigError(
                f"{self._setting('exploration_weight')} with {self._setting('coverage_weight')}: on a question with "
                f"{n} reference{'s' if n != 1 else ''} a new wrong answer would earn {novelty:.3g}, a right one that "
                f"everybody gives {reward.coverage_weight * gain:.3g}; lower exploration_weight"
            )

    def _setting(self, name: str) -> str:
        return f"{name} = {getattr(self, name)!r}"

    @property
    def completions_per_step(self) -> int:
        """P x G."""
        return self.questions_per_step * self.num_generations

    @property
    def answers(self) -> int:
        """Most answers in one completion of this method: K, or 1 for single methods."""
        return METHODS[self.method].answers(max(self.k_choices, default=self.k))

    @cached_property
    def reward(self) -> Reward:
        """What a completion is scored by: the method's reward, with the options that differ from the preset's."""
        plain = Reward()
        names = {f.name for f in fields(Reward)} & {f.name for f in fields(self)} - {"preset"}
        options = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(plain, name)}
        return METHODS[self.method].reward(self.preset, k=self.answers, **options)


_validate = Recipe.__init__


@wraps(_validate)
def _init(self: Recipe, **values: Any) -> None:
    try:
        _validate(self, **values)
    except ValidationError as exc:
        raise ConfigError(_one_line(exc)) from None


Recipe.__init__ = _init


def _one_line(invalid: ValidationError) -> str:
    first = invalid.errors()[0]
    details = first.get("ctx", {})
    if isinstance(details.get("error"), UserError):
        return str(details["error"])
    name = str(first["loc"][0])
    if first["type"] == "unexpected_keyword_argument":
        return unknown_option(name, (f.name for f in fields(Recipe)))
    if first["type"] == "literal_error":
        allowed = details["expected"].replace("'", "")
        return f"{name} = {first['input']!r} is not known: use one of {allowed}"
    return f"{name} = {first['input']!r} {describe(first)}"


def recipe_from(
    values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, *, where: str = "recipe"
) -> Recipe:
    """A recipe from plain values, types checked; `where` starts the error message, ``overrides`` come last."""
    options = [values, overrides or {}]
    warn_of_old_names([name for one in options for name, value in one.items() if is_old_name(name, value)], where)
    try:
        return Recipe(**{str(name): value for one in options for name, value in renamed(one).items()})
    except ConfigError as exc:
        raise ConfigError(f"{where}: {exc}") from None
