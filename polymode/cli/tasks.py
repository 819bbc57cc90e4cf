"""`polymode tasks`: what tasks there are, what they ask, and exactly what a model reads of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from polymode.cli.flags import Count
from polymode.cli.options import ProgramOptions, PromptOptions
from polymode.errors import ConfigError, DataNotFoundError, UserError
from polymode.types import Example


@dataclass(frozen=True)
class Tasks(PromptOptions, ProgramOptions):
    """List the tasks, or show sample questions of one with their references and a demonstration, or as prompts.

    Examples:
        polymode tasks
        # two questions with references and a demonstration
        polymode tasks clinic
        # check how your own records are read
        polymode tasks records --data questions.jsonl
        # exactly what a model reads: chat template, system prompt, few-shot examples
        polymode tasks mbpp --prompt --model Qwen/Qwen3-8B --k 3
    """

    name: str | None = None
    """Task to show; without it all tasks are listed."""
    _: KW_ONLY
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the task, for example question_field=prompt (records) or hub=true (ddxplus)."""
    n: Count = 2
    """Number of questions to show, of the first split that the task has: train, if it is for training."""
    prompt: bool = False
    """Show the questions as prompts: with --model exactly what the model reads, special tokens included."""
    model: str | None = None
    """With --prompt: Hugging Face model name or folder, or a GGUF file; only its tokenizer is loaded."""
    k: int = 3
    """With --prompt: number of answers asked for (K)."""
    confidence: bool = True
    """With --prompt: ask for a confidence with each answer."""


def run_tasks(options: Tasks) -> int:
    """List the tasks, or show questions of one."""
    from polymode.tasks import TASKS, Split, open_task

    if options.model is not None and not options.prompt:
        raise ConfigError("--model is given without --prompt: add --prompt to see what the model reads")
    if options.name is None:
        if options.prompt:
            raise ConfigError("--prompt is given without a task: name one, for example polymode tasks clinic --prompt")
        lines = TASKS.summaries()
        width = max(map(len, lines))
        print("\n".join(f"{name:<{width}}  {text}" for name, text in lines.items()))
        return 0
    task = open_task(options.name, data=options.data, **options.task_options)
    splits: tuple[Split, ...] = getattr(task, "splits", ("train",))  # a task made for evaluation has no train split
    examples = task.examples(splits[0], options.n)
    if not examples:
        raise DataNotFoundError(
            f"task {options.name!r} has no question of the {splits[0]} split that can be used: check its data"
        )
    if options.prompt:
        _show_prompts(options, task, list(examples))
        return 0
    if (sizes := _sizes(task, splits)) is not None:
        counts = ", ".join(f"{split} {size:,}" for split, size in zip(splits, sizes, strict=True))
        print(f"questions: {counts}; here are some of {splits[0]}")
    for example in examples:
        _show(example, task)
    return 0


def _sizes(task: Any, splits: Sequence[str]) -> list[int] | None:
    """Questions of each split; None for a task without an end, which wants to know how many to draw."""
    try:
        return [len(task.examples(split, None)) for split in splits]
    except (ConfigError, DataNotFoundError):
        return None


def _show(example: Example, task: Any) -> None:
    import numpy as np

    from polymode.tasks import Demonstrates

    print(f"{example.id}: {example.question}")
    for reference in example.references:
        weight = "" if reference.weight is None else f"  (probability {reference.weight:.3f})"
        print(f"  reference: {' = '.join(reference.names)}{weight}")
    if not example.references:
        print("  no reference: every answer is wrong")
    if isinstance(task, Demonstrates):
        text = task.demonstrate(example, 3, confidence=True, rng=np.random.default_rng(0))
        print(f"  demonstration: {text}")


def _show_prompts(options: Tasks, task: Any, examples: list[Example]) -> None:
    from polymode.prompts import check_k, prompt_for, style_of
    from polymode.tasks import ask_of

    check_k(options.k)
    style = style_of(options.style, options.format, task.prompt_style, rationale=options.rationale)
    prompts = [prompt_for(one, options.k, confidence=options.confidence, style=style) for one in examples]
    if options.model is None:
        for example, prompt in zip(examples, prompts, strict=True):
            print(f"--- {example.id}\n{prompt}")
        return
    from polymode.cli.checks import need_packages

    need_packages("train")
    from polymode.decoding.loading import load_tokenizer, loading_problem
    from polymode.generate import chat_of

    own = chat_of(options.model)
    chat = options.chat_with(own, style, ask_of(task)) or own
    try:
        tokenizer = load_tokenizer(options.model)
    except UserError:
        raise
    except (OSError, ValueError) as exc:
        raise ConfigError(loading_problem(options.model, exc)) from exc
    chat.check(tokenizer)
    for example, prompt in zip(examples, prompts, strict=True):
        ids = chat.encode(tokenizer, prompt)
        print(f"--- {example.id}: {len(ids):,} tokens\n{tokenizer.decode(ids, skip_special_tokens=False)}")
    if chat.stop:
        print(f"--- a completion ends before any of {list(chat.stop)}")
