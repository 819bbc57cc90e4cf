"""`polymode warmup`: teach any causal LM the answer format before reinforcement learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from polymode.cli.checks import check_same, need_packages
from polymode.cli.flags import FLAGS_OF
from polymode.cli.options import ModelOptions, ProgramOptions
from polymode.errors import ConfigError
from polymode.training.demonstrations import Warmup


@dataclass(frozen=True)
class WarmUp(ModelOptions, ProgramOptions):
    r"""Teach a pretrained model the answer format by supervised training, before `polymode train`.

    By default the demonstrations are the model's own: single answers to training questions are sampled with a plain
    prompt, grouped by the task's equality, and the most frequent ones are written as one answer set, with their shares
    as confidences. No references are needed. Train the model OUT/model then (polymode train --model OUT/model).

    Examples:
        polymode warmup --model Qwen/Qwen3-0.6B --task records --data questions.jsonl --out runs/warm
        # demonstrations that the task writes, and adapters instead of all weights
        polymode warmup --model Qwen/Qwen3-0.6B --task clinic --out runs/warm \
            --demonstrations task --lora r=16
    """

    _: KW_ONLY
    model: str
    """Hugging Face model name or folder."""
    out: Path
    """Run folder to create."""
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the task, for example question_field=prompt (records) or hub=true (ddxplus)."""
    max_tokens: int = 256
    """Longest sampled completion in tokens."""
    sample_batch: int = 64
    """Number of completions sampled at the same time."""
    resume: bool = False
    """Continue in an existing folder; finished work is not repeated."""
    changes: dict[str, Any] = field(default_factory=dict, metadata={FLAGS_OF: Warmup})
    """Options of the demonstrations and the training."""


def warm_up(options: WarmUp) -> int:
    """Warm up, and say what it changed."""
    settings = Warmup(**options.changes)
    if options.backend != "transformers":
        raise ConfigError(f"--backend {options.backend!r} cannot be trained here: leave it out (transformers)")
    need_packages("train")
    from polymode import runs
    from polymode.tasks import open_task
    from polymode.warmup import DEMONSTRATIONS, MODEL, SUMMARY, Sampling, warm_up

    task = open_task(options.task, data=options.data, **options.task_options)
    config = {name: value for name, value in runs.to_json(options).items() if name != "changes"}
    config |= runs.to_json(settings)
    if (options.out / runs.CONFIG).exists():  # refuse before a model is loaded
        runs.create(options.out, config, resume=options.resume)
        try:
            check_same(config, options.out, free=("sample_batch", "device_batch"))
        except ConfigError as exc:
            file = options.out / DEMONSTRATIONS / runs.COMPLETIONS
            if not file.exists():
                raise
            raise ConfigError(f"{exc}; its demonstrations can be used there: --demonstrations {file}") from None

    def open_model(folder: Path | None, dtype: str) -> Any:
        return options.open_generator(str(folder or options.model), batch=options.sample_batch, dtype=dtype)

    sampling = Sampling(options.prompt_style(task), options.max_tokens, options.temperature)
    with runs.alone(options.out / MODEL):
        summary = warm_up(
            task, options.out, settings, sampling, open_model, lambda: runs.create(options.out, config, resume=True)
        )
    checked = summary["checked"]
    print(
        f"{summary['demonstrations']} demonstrations of {summary['questions']} questions; clean completions of "
        f"{checked['n']} validation questions (K = {checked['k']}): {summary['clean_before']:.3f} before, "
        f"{summary['clean_after']:.3f} after"
    )
    print(f"summary: {options.out / SUMMARY}\nmodel: {options.out / MODEL}")
    return 0
