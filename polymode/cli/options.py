"""Groups of options that several verbs share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from polymode.chat import Chat, shots_from
from polymode.cli.flags import Count, SomeCount, Temperature, Whole
from polymode.errors import ConfigError
from polymode.policy import Conditions, Policy
from polymode.policy.pooling import check_pool
from polymode.prompts import Notation, Style, style_of

NOT_SAMPLING = (
    *("base_url", "api_key_env", "timeout", "retries", "patience", "concurrency", "batch", "show_progress"),
    *("tensor_parallel_size", "gpu_memory_utilization", "max_num_seqs", "enforce_eager"),
)
"""Options of back-ends that change where and how fast a model runs, not what it says."""


@dataclass(frozen=True, kw_only=True)
class ProgramOptions:
    """Options of every verb that may run programs."""

    unsafe_local: bool = False
    """Run programs without isolation; only for programs that you trust."""


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """Options of every verb that makes prompts."""

    data: Path | None = None
    """Folder or file of the task's data."""
    style: Literal["task", "full", "brief"] = "task"
    """Prompt style; `task` is the task's own."""
    format: Notation = "tags"
    """Notation of the answers: tags; lines (1. Peru | 0.7), which take fewer tokens, for answers of one line;
    confidence-first, tags with the confidence before its answer."""
    rationale: bool = False
    """Ask with each answer for the words of the question that speak for it, in tags why1, why2, ...; style full."""
    chat_template: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the model's chat template, for example enable_thinking=false; by default those of the training that
    made the model."""
    system: str | None = None
    """System prompt; by default that of the training that made the model, if one did; "" means none."""
    shots: Path | None = None
    """Few-shot examples put before each question: a JSONL or YAML file with question and completion, the completion in
    the answer format; by default those of the training that made the model."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion, besides the model's end tokens; it ends before them. By default those of the
    training that made the model."""

    def chat_with(self, own: Chat, style: Style, ask: str) -> Chat | None:
        """How prompts are put to a model, by the flags and then by ``own``; None where no flag says anything.

        Raises:
            DataNotFoundError, RecordError, ConfigError: the file of few-shot examples is missing or wrong.
        """
        from polymode.runs import read_shots

        if not self.chat_template and not self.stop and self.system is None and self.shots is None:
            return None
        return Chat(
            template=self.chat_template or own.template,
            system=own.system if self.system is None else self.system,
            shots=own.shots if self.shots is None else shots_from(read_shots(self.shots), style, ask=ask),
            stop=self.stop or own.stop,
        )


@dataclass(frozen=True, kw_only=True)
class ModelOptions(PromptOptions):
    """Options of every verb that prompts a model."""

    task: str = "clinic"
    """Task whose questions or prompt style are used; `polymode tasks` lists the tasks."""
    max_tokens: Count = 1536
    """Longest completion in tokens; longer ones are truncated."""
    temperature: Temperature = 1.0
    """Sampling temperature; 0 always takes the most likely token."""
    backend: str = "transformers"
    """What runs the model: transformers, vllm, openai (a server) or module:Name; `polymode doctor` lists the names."""
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the back-end, for example generation_config=model, which applies the model's own repetition penalty
    and cut-offs; openai needs base_url, and sends those that it does not know with each request, for example top_k=0
    min_p=0, where null removes a field."""

    def prompt_style(self, task: Any = None) -> Style:
        """The style that the flags name, else that of ``task``, which is opened when it is not given."""
        from polymode.tasks import check_notation, open_task

        check_notation(self.task if task is None else task, self.format)
        if task is None and self.style == "task":
            task = open_task(self.task, data=self.data)
        of_task = task.prompt_style if task is not None else "full"
        return style_of(self.style, self.format, of_task, rationale=self.rationale)

    def ask(self) -> str:
        """What the task asks for several answers with; empty means the usual sentence."""
        from polymode.tasks import ask_of

        return ask_of(self.task)

    def check_backend(self, model: str) -> None:
        """Refuse a back-end that does not exist, and options that it does not have; loads nothing."""
        from polymode.generate import GENERATORS

        if self.backend not in GENERATORS:
            raise ConfigError(
                f"--backend {self.backend!r} is not known: use one of {', '.join(GENERATORS)}, or module:Name"
            )
        GENERATORS.check(self.backend, {"model": model, **self.backend_options})

    def open_generator(self, model: str, **hints: Any) -> Any:
        """The back-end with the model; ``hints`` as in `polymode.generate.open_generator`."""
        from polymode.generate import open_generator

        self.check_backend(model)
        chat = self._chat(self._own_chat(model))
        return open_generator(self.backend, model, self.backend_options, chat=chat, **hints)

    def conditions(self, model: str, k: int, prompts: Iterable[str], style: Style, **more: Any) -> Conditions:
        """What these options make completions with; a model of a name should be in the Hub's cache by now.

        Args:
            model: name or folder, as for `open_generator`.
            k: answers asked for.
            prompts: texts of the prompts for the question ``{question}``.
            style: prompt style.
            more: further fields of `Conditions`.
        """
        from polymode.fingerprints import model_fingerprint
        from polymode.verifiers.description import without_secrets

        is_served = self.backend == "openai"
        options = without_secrets(self.backend_options)
        own = self._own_chat(model)
        return Conditions(
            model=f"{model} at {options.get('base_url')}" if is_served else model,
            fingerprint="" if is_served else model_fingerprint(model),
            task=self.task,
            style=style,
            prompts=tuple(sorted(set(prompts))),
            chat=(self._chat(own) or own).to_json(),
            k=k,
            temperature=float(self.temperature),
            max_tokens=self.max_tokens,
            sampling={name: value for name, value in sorted(options.items()) if name not in NOT_SAMPLING},
            **more,
        )

    def _own_chat(self, model: str) -> Chat:
        from polymode.generate import chat_of

        return Chat() if self.backend == "openai" else chat_of(model)

    def _chat(self, own: Chat) -> Chat | None:
        return self.chat_with(own, self.prompt_style() if self.shots is not None else "full", self.ask())


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(ModelOptions):
    """Options of every verb that runs a model and does not train it."""

    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """What the model computes in; auto: bfloat16 where the machine is fast at it and the model is not small (vllm: the
    model's own)."""

    def __post_init__(self) -> None:
        """Pass the dtype on to the back-end."""
        if self.dtype != "auto":
            object.__setattr__(self, "backend_options", with_dtype(self.backend, self.backend_options, self.dtype))


def with_dtype(backend: str, options: Mapping[str, Any], dtype: str) -> Mapping[str, Any]:
    """Options of a back-end with what it computes in.

    Raises:
        ConfigError: a server, which was started with a dtype, or options that name another.
    """
    if backend == "openai":
        raise ConfigError(f"--dtype {dtype} is not allowed with --backend openai: the server decides, leave it out")
    if (other := options.get("dtype", dtype)) != dtype:
        raise ConfigError(f"--dtype {dtype} and --backend-options dtype={other} differ: give one of them")
    return {**options, "dtype": dtype}


@dataclass(frozen=True, kw_only=True)
class DecisionOptions(SamplingOptions):
    """Options of every verb that decides what to do with answers."""

    policy: Path | None = None
    """Policy file for the decision, written by polymode calibrate."""
    k: int | None = None
    """Number of answers to request (K); by default the policy's, else 3."""
    exclusive: bool = False
    """State in the prompt that at most one answer is right (style full)."""
    pool: SomeCount = None
    """Completions of the question that are pooled into one ranked set, with the average of their confidences; by
    default the policy's number, else 1."""
    input_check: bool = True
    """Escalate questions unlike those that the policy was calibrated on; without it they only lose the guarantee."""
    meaning: str | None = None
    """What a confidence is the probability of, in words that follow "the answer": "is the cause"; by default as the
    task says it, where --task is given or the prompt is the task's own."""

    def pool_for(self, policy: Policy | None) -> int:
        """Completions of a question that make one set, under a policy."""
        fitted = policy.conditions if policy is not None else None
        return check_pool(self.pool if self.pool is not None else fitted.pool if fitted is not None else 1)

    def meaning_of_confidences(self) -> str:
        """What the answer is with the probability that its confidence states."""
        from polymode.tasks import meaning_of

        # The task of somebody who names neither it nor its prompt is a default, and says nothing of the questions.
        is_of_task = self.style == "task" or self.task != type(self).task
        of_task = meaning_of(self.task) if is_of_task else ""
        return self.meaning or of_task or ("is the one right answer" if self.exclusive else "is correct")


@dataclass(frozen=True, kw_only=True)
class VerifierOptions(ProgramOptions):
    """Options of every verb that compares answers."""

    verifier: str | None = None
    """Verifier that decides which answers are right: text, symbolic (mathematics), judge (a language model), programs
    (tests) or module:Name. By default the one recorded for each run, else text."""
    verifier_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the verifier, for example seconds=10 (symbolic) or cache=verdicts.db (judge)."""

    def open_verifier(self) -> Any:
        """The verifier that the flags name; None when they name none."""
        from polymode.verifiers.choice import open_verifier

        if self.verifier is None and self.verifier_options:
            raise ConfigError("--verifier-options are given without --verifier: name one, for example --verifier judge")
        return None if self.verifier is None else open_verifier(self.verifier, **self.verifier_options)


@dataclass(frozen=True, kw_only=True)
class MeasureOptions(VerifierOptions):
    """Options of every verb that judges and measures completions."""

    metrics: tuple[str, ...] = ()
    """Further metrics: module:Name, or the name of an installed one."""
    n_boot: Whole = 1000
    """Number of bootstrap replicates for the intervals; 0 omits the intervals."""
