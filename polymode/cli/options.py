"""The options of the verbs in `verbs`, and the groups of options that several verbs share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Literal

from polymode.chat import Chat, shots_from
from polymode.cli.flags import Count, Temperature, Whole
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
    """Ask with each answer for the words of the question that speak for it (<why1>...</why1>); style full only."""
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
        from polymode.tasks import open_task

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
    pool: Count | None = None
    """Completions of the question that are pooled into one ranked set, with the average of their confidences; by
    default the policy's number, else 1."""
    input_check: bool = True
    """Escalate questions unlike those that the policy was calibrated on; without it they only lose the guarantee."""
    meaning: str | None = None
    """What a confidence is the probability of, in words that follow "the answer": "is the cause"; by default as the
    task says it."""

    def pool_for(self, policy: Policy | None) -> int:
        """Completions of a question that make one set, under a policy."""
        fitted = policy.conditions if policy is not None else None
        return check_pool(self.pool if self.pool is not None else fitted.pool if fitted is not None else 1)

    def meaning_of_confidences(self) -> str:
        """What the answer is with the probability that its confidence states."""
        from polymode.tasks import meaning_of

        return self.meaning or meaning_of(self.task) or ("is the one right answer" if self.exclusive else "is correct")


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


@dataclass(frozen=True)
class Generate(SamplingOptions, ProgramOptions):
    r"""Sample completions for the questions of a task and write them to OUT/completions.jsonl.

    Each finished batch is kept in OUT/completions.jsonl.part. After an interruption the same command with --resume
    goes on from there; it refuses other settings.

    Examples:
        polymode generate --model runs/mine/model --out runs/mine/test --k 3
        # go on after an interruption
        polymode generate --model runs/mine/model --out runs/mine/test --k 3 --resume
        # eight completions for each of your own questions
        polymode generate --model Qwen/Qwen3-8B --task records --data questions.jsonl \
            --samples 8 --out runs/mine
    """

    _: KW_ONLY
    model: str
    """Hugging Face model name or folder, for example RUN/model, or a GGUF file."""
    out: Path
    """Run folder that completions.jsonl is written into."""
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the task, for example question_field=prompt (records) or hub=true (ddxplus)."""
    target: Literal["task", "verdict", "distribution"] = "task"
    """What confidences will be measured against: whether the answer is a hit (verdict) or its mass in the question's
    reference distribution; task: what each question says. It is written into the lines."""
    split: Literal["train", "validation", "test"] = "test"
    """Part of the task's questions; no question is in two parts."""
    n: Count = 200
    """Number of questions."""
    k: int = 3
    """Number of answers in one completion (K)."""
    confidence: bool = True
    """Ask for a confidence with each answer."""
    samples: Count = 1
    """Number of completions for each question."""
    seed: Whole = 0
    """Random seed; the same seed gives the same completions."""
    batch: Count = 64
    """Number of completions sampled at the same time, and kept together; vllm and openai choose it themselves."""
    confidences: str | None = None
    """Confidences that are measured instead of the stated ones: answer-probability, p-true, votes, aggregation or
    module:Name; `polymode confidences` measures them later."""
    refused: Literal["stop", "empty"] = "stop"
    """What becomes of prompts that a server refuses: nothing is written until they are answered, or they count as
    empty completions."""
    resume: bool = False
    """Go on in an existing run folder: finished completions are kept, only the missing ones are generated."""


@dataclass(frozen=True)
class Evaluate(MeasureOptions):
    r"""Judge and measure completions of any model; judged.jsonl and metrics.json are written beside the file.

    The file is JSONL: one JSON object per line, with "completion" (the model's whole text) and "references" (a list of
    strings, of lists of aliases, or of objects with text, aliases and weight). Samples of one question share an "id".
    The number of answers and whether confidences were requested are given by "k" and "confidence" in each line, or by
    --k and --confidence. Neither torch nor a GPU is needed.

    Logs of inspect_ai (.eval, .json) and files of samples of lm-eval are read too, into a folder of their own name
    beside them. What a log holds that is no completion is counted.

    Examples:
        # a run folder, judged as its task does
        polymode evaluate runs/mine/test
        # completions of any model
        polymode evaluate answers.jsonl --k 3
        # what inspect_ai logged
        polymode evaluate logs/2026-11-27_task_ID.eval --k 3
        # three independent single answers pooled into one set
        polymode evaluate samples.jsonl --k 1 --pool 3
        # go on after an interruption
        polymode evaluate runs/mine/test --resume
        # on a Ray cluster whose machines share the files
        polymode evaluate runs/mine/test --engine ray
        # mathematics: 1/2 equals 0.5
        polymode evaluate answers.jsonl --verifier symbolic
        # a language model as judge
        polymode evaluate answers.jsonl --verifier judge \
            --verifier-options base_url=http://localhost:8000/v1 model=MODEL
    """

    completions: Path
    """A completions.jsonl file, a log of inspect_ai or lm-eval, or a folder that contains one."""
    _: KW_ONLY
    out: Path | None = None
    """Folder for judged.jsonl and metrics.json; by default that of the completions, or one named after the log."""
    k: int | None = None
    """Number of answers requested (K); overrides the lines of the file."""
    confidence: Literal["auto", "yes", "no"] = "auto"
    """Whether confidences were requested; `auto`: what each line says, else whether its completion contains one."""
    target: Literal["auto", "verdict", "distribution"] = "auto"
    """What confidences are measured against: whether the answer is a hit (verdict), or its mass in the reference
    distribution or the weights of the references; `auto`: what each line says in "target", else verdict."""
    pool: Count = 1
    """Combine this many independent completions of a question into one set."""
    votes: bool = False
    """With --pool: use the share of samples that gave an answer as its confidence."""
    by: str | None = None
    """Also measure each group of questions separately, grouped by this field of "meta"."""
    seed: Whole = 0
    """Random seed of the bootstrap."""
    resume: bool = False
    """Go on with an interrupted evaluation: what was judged is taken, except unscored answers."""
    workers: Count | None = None
    """Processes that judge; by default all cores where the file is large. A verifier with workers of its own is asked
    by one. The numbers do not depend on it."""
    engine: Literal["local", "ray"] = "local"
    """Where files are read and judged: in processes here, or (`ray`) on the Ray cluster that RAY_ADDRESS names or that
    runs here, else one that is started here. The numbers do not depend on it."""


@dataclass(frozen=True)
class Compare(MeasureOptions):
    """Compare runs side by side: OUT/report.html, compare.md and compare.json.

    A run is a folder with completions.jsonl and metrics.json, or the folder of a training run or experiment that
    contains some; seeds of one method share a column. Differences are paired by question. Completions are never
    generated again.

    Examples:
        # two runs over the same questions
        polymode compare runs/mine/test runs/base --out runs/compare
        # all runs of an experiment, relative to one method
        polymode compare runs/lab/clinic --out runs/compare --against single-rlcr
        # both judged by the same verifier
        polymode compare runs/a runs/b --out runs/compare --verifier symbolic
    """

    runs: tuple[Path, ...]
    """Run folders to compare."""
    _: KW_ONLY
    out: Path
    """Folder for the comparison; an earlier comparison in it is replaced."""
    against: str | None = None
    """Baseline column; by default the samples of single-rlvr, else the first column."""


@dataclass(frozen=True)
class Doctor:
    """Show what is installed, what the machine offers, and what each missing part would add.

    With --recipe: the memory that training by that recipe needs on each GPU, computed from the model's dimensions, and
    compared with the GPU that is here or with --memory. Processes and sharding are those of the command in the recipe's
    header, unless given.

    Examples:
        polymode doctor
        # does it fit into a card of 24 GB?
        polymode doctor --recipe recipes/qwen3-0.6b-clinic.yaml --memory 24
        # another model, on four GPUs with its weights spread over them
        polymode doctor --recipe recipes/qwen3-8b-ddxplus-multi-rlcr.yaml --zero-stage 3
    """

    _: KW_ONLY
    recipe: Path | None = None
    """Recipe whose memory to compute."""
    model: str | None = None
    """Model in place of the recipe's."""
    memory: float | None = None
    """Gigabytes (10^9 bytes) of one GPU; by default those of the smallest GPU that is here."""
    processes: Count | None = None
    """Number of GPUs."""
    zero_stage: Literal[0, 1, 2, 3] | None = None
    """Stage of DeepSpeed's ZeRO; 0: every GPU holds all weights."""
    prompt_tokens: Count = 512
    """Longest prompt in tokens."""
