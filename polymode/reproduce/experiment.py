"""What the user may change about the experiments with pretrained models: `paper` and `smollm2`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from polymode.errors import ConfigError, number_in
from polymode.prompts import Notation

WARMUPS = ("auto", "none", "task", "self")
_OF_TRAINING = ("warmup", "steps", "seeds", "lora", "dtype", "device", "warmup_options")
_OF_TRANSPORT = ("base_url", "api_key_env", "concurrency", "timeout", "retries", "patience")
"""Options of the back-end `openai` that change no text."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Options of the experiments paper and smollm2; what is left out is the experiment's own."""

    task: str | None = None
    """paper: ddxplus, hotpotqa, mbpp, ambigqa or list-questions; another task's name works too."""
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the task, for example list_conditions=true (ddxplus)."""
    model: str | None = None
    """Hugging Face name or folder of the model, or a GGUF file; smollm2 makes its own when it is left out."""
    style: Literal["task", "full", "brief"] | None = None
    """Prompt style; `task` is the task's own."""
    format: Notation | None = None
    """Notation of the answers: tags; lines (1. Peru | 0.7), which take fewer tokens; confidence-first."""
    warmup: str = "auto"
    """Where the demonstrations come from that teach the format first: task, self (the model's samples) or a completions
    file; none starts every arm from the model as it is. auto: none for the paper's model, else the task where it
    demonstrates, else self."""
    steps: int | None = None
    """Steps of reinforcement learning of each arm."""
    questions: int | None = None
    """Test questions on which sets are compared."""
    deep_questions: int | None = None
    """So many of them are answered until 30 answers are there: unique answers, share of the modal answer, curves."""
    seeds: int = 1
    """Seeds of each trained arm, from 0."""
    lora: Mapping[str, Any] = field(default_factory=dict)
    """Options of PEFT's LoraConfig, for example r=64; none trains all weights."""
    dtype: Literal["auto", "bfloat16", "float32"] | None = None
    """What is computed in; trained weights are float32 in any case."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run; auto: on the GPUs where there are some. cuda refuses to go on without one."""
    backend: Literal["transformers", "vllm", "openai"] = "transformers"
    """What samples, in training and in evaluation; warm-up and distillation use transformers in any case. paper with
    openai measures a model behind a server, which is not trained."""
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of what samples in evaluation, as for `polymode generate`; openai needs base_url."""
    refused: Literal["stop", "empty"] = "stop"
    """What becomes of prompts that a server refuses: the experiment waits for them, or they count as empty
    completions."""
    recipe_options: Mapping[str, Any] = field(default_factory=dict)
    """Any other option of `polymode train`, for example learning_rate=1e-5 num_generations=16 credit=term."""
    warmup_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of `polymode warmup` for warm-up and distillation, for example steps=200 questions=500."""

    def __post_init__(self) -> None:
        """Refuse numbers out of their range, in one line that names the field."""
        for name in ("steps", "questions", "deep_questions", "seeds"):
            if (value := getattr(self, name)) is not None:
                number_in(name, value, 1, whole=True)
        if self.warmup not in WARMUPS and not Path(self.warmup).is_file():
            raise ConfigError(
                f"warmup = {self.warmup!r} is no file: use {', '.join(WARMUPS)}, or the path of a completions file"
            )

        if self.backend == "openai":
            self._check_server()

    def _check_server(self) -> None:
        """Refuse options of training for a model that is behind a server."""
        if not self.backend_options.get("base_url"):
            raise ConfigError(
                "backend = 'openai' needs the address of the server: add --backend-options "
                "base_url=http://localhost:8000/v1"
            )
        defaults = {one.name: one.default for one in fields(self)}
        for name in _OF_TRAINING:
            value = getattr(self, name)
            if value and value != defaults[name] and (name, value) != ("warmup", "none"):
                raise ConfigError(
                    f"{name} = {value!r} with backend = 'openai': a model behind a server is not trained; leave it out"
                )

    @property
    def content(self) -> dict[str, Any]:
        """What decides the results of an arm: all but how many there are and where they are computed."""
        values = {name: value for name, value in asdict(self).items() if name not in ("device", "seeds", "refused")}
        asked = {name: value for name, value in self.backend_options.items() if name not in _OF_TRANSPORT}
        return {**values, "backend_options": asked}
