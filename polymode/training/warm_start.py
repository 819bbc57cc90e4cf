"""Warm start: supervised training of the lab's model on noisy demonstrations of every format, cached by content.

The cache key is a hash of the settings, the vocabulary and a sample of the demonstrations themselves, so a change of
the task, of the prompt or of the demonstrations makes a new model and an old one is never mistaken for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerFast, Trainer, TrainingArguments

from polymode.errors import ConfigError
from polymode.format_checks import check_reading
from polymode.prompts import Notation, encodable, prompt_for, style_of
from polymode.tasks import Demonstrates, Task
from polymode.tasks.data_files import cache_folder
from polymode.training.demonstrations import rewritten
from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer
from polymode.training.recipe import Recipe
from polymode.training.rows import is_apart, question_key, size_of
from polymode.training.uninformative import check_vocabulary, without_information

FORMATS: tuple[tuple[int, float], ...] = ((1, 0.2), (2, 0.1), (3, 0.4), (4, 0.15), (5, 0.15))
"""Answers asked for in a demonstration, with their shares; half of each state confidences."""
_FINGERPRINT_EXAMPLES = 64
_CHUNK = 4096
_SORTED_BATCHES = 50
_NO_LOSS = -100
_ANY = 1_000_000
"""Tokens: no limit on a completion."""
_SEED_OFFSET = 1_000_000  # examples of the warm start are not those of reinforcement learning


class DemonstrationTask(Task, Demonstrates, Protocol):
    """A task that can also write demonstrations."""


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Settings of a warm start."""

    steps: int = 2000
    """Optimiser steps."""
    batch: int = 64
    """Demonstrations a step."""
    learning_rate: float = 4e-3
    """Peak learning rate; linear warm-up over 5% of the steps, then cosine to zero."""
    seed: int = 0
    """Seed of the weights, the examples and the demonstrations."""
    demonstrations: Literal["noisy", "uninformative"] = "noisy"
    """noisy: as the task writes them; uninformative: confidences and the order of the answers say nothing
    (`polymode.training.uninformative`)."""
    notation: Notation = "tags"
    """How their answers are written and asked for."""
    size: LabModelSize = field(default_factory=LabModelSize)
    apart: tuple[int, float] | None = None
    """Seed and share of the questions on which confidences alone will be learnt (`polymode.training.rows.is_apart`).
    None of them is demonstrated: the model would answer them better than others, and learn confidences that are too
    high elsewhere."""


def lab_model(task: Task, recipe: Recipe) -> Path:
    """Folder of the warm-started lab model of a recipe; trains it when the cache does not hold it."""
    if not isinstance(task, Demonstrates):
        raise ConfigError(
            f"model is not given and task {recipe.task!r} has no demonstrations to warm-start the lab's model with: "
            "name a model, for example model: Qwen/Qwen3-8B"
        )
    if (n := PartialState().num_processes) > 1:
        raise ConfigError(
            f"model is not given with {n} processes: the lab's model trains in one; run polymode train without "
            "accelerate launch"
        )
    has_apart = recipe.confidence_questions == "apart" and size_of(task, recipe.seed) is not None
    settings = WarmStart(
        steps=recipe.warm_start_steps,
        seed=recipe.warm_start_seed,
        demonstrations=recipe.warm_start_demonstrations,
        notation=recipe.format,
        apart=(recipe.seed, recipe.apart_share) if has_apart else None,
    )
    return warm_start(task, settings)  # type: ignore[arg-type]


def warm_start(task: DemonstrationTask, settings: WarmStart) -> Path:
    """Folder of the warm-started model and tokenizer; trains it when the cache does not hold it."""
    tokenizer = build_tokenizer(task.vocabulary())
    if settings.demonstrations == "uninformative":
        check_vocabulary(tokenizer, task.name)
    if settings.notation != "tags":  # its words may be missing; the task itself writes tags
        style = style_of("task", settings.notation, task.prompt_style)
        check_reading(tokenizer, None, 0, k=1, confidence=True, style=style, max_tokens=_ANY, has_shots=True)
    target = cache_folder() / "warm-start" / f"{task.name}-{_fingerprint(task, settings, tokenizer)}"
    if (target / "config.json").exists():
        return target
    work = target.with_name(f".{target.name}.{os.getpid()}")
    model = build_model(tokenizer, settings.size, seed=settings.seed)
    Trainer(
        model=model,
        train_dataset=Dataset.from_list(_demonstrations(task, settings, tokenizer)),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        args=TrainingArguments(
            output_dir=str(work),
            max_steps=settings.steps,
            per_device_train_batch_size=settings.batch,
            train_sampling_strategy="sequential",  # the rows come in batches already
            learning_rate=settings.learning_rate,
            adam_beta2=0.98,
            lr_scheduler_type="cosine",
            warmup_steps=max(1, settings.steps // 20),
            weight_decay=0.01,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_steps=max(1, settings.steps // 20),
            report_to=[],
            seed=settings.seed,
        ),
    ).train()
    model.save_pretrained(work)
    tokenizer.save_pretrained(work)
    if target.exists():  # another process was faster; both hold the same model
        shutil.rmtree(work)
    else:
        work.rename(target)
    return target


def _demonstrations(
    task: DemonstrationTask, settings: WarmStart, tokenizer: PreTrainedTokenizerFast
) -> list[dict[str, list[int]]]:
    """Tokenised demonstrations in training order; labels leave the prompt out of the loss.

    A batch holds demonstrations of like length, so that little is padded; the batches come in random order.
    """
    texts = zip(*_texts(task, settings, settings.steps * settings.batch), strict=True)
    prompts, completions = (tokenizer(list(column), add_special_tokens=False)["input_ids"] for column in texts)
    end: Any = tokenizer.eos_token_id
    rows: list[dict[str, list[int]]] = [
        {"input_ids": [*p, *c, end], "labels": [_NO_LOSS] * len(p) + [*c, end]}
        for p, c in zip(prompts, completions, strict=True)  # type: ignore[arg-type]
    ]
    block = _SORTED_BATCHES * settings.batch
    order = sorted(range(len(rows)), key=lambda i: (i // block, len(rows[i]["input_ids"])))
    batches = np.array(order).reshape(settings.steps, settings.batch)
    shuffled = np.random.default_rng([settings.seed, 2]).permutation(batches)
    return [rows[i] for i in shuffled.ravel()]


def _texts(task: DemonstrationTask, settings: WarmStart, n: int) -> Iterator[tuple[str, str]]:
    """``n`` pairs of prompt and demonstration; the examples of a finite task come again, each time shown anew."""
    rng = np.random.default_rng([settings.seed, 1])
    style = style_of("task", settings.notation, task.prompt_style)
    ks, shares = zip(*FORMATS, strict=True)
    ks_N, has_confidence_N = rng.choice(ks, p=shares, size=n).tolist(), (rng.random(n) < 0.5).tolist()
    start = chunk = 0
    while start < n:
        # A chunk at a time, so that memory does not grow with the number of demonstrations. Where questions are left
        # out, all questions at a time, because every question of a chunk might be one of these.
        size = None if settings.apart is not None else min(_CHUNK, n - start)
        examples = task.examples("train", size, seed=_SEED_OFFSET + 1009 * settings.seed + chunk)
        if settings.apart is not None:
            keys = (question_key(one.question, encodable(one.id)) for one in examples)
            examples = [one for one, key in zip(examples, keys, strict=True) if not is_apart(key, *settings.apart)]
            examples = examples[: n - start]
        if not examples:
            raise ConfigError(f"task {task.name!r} has no training examples to demonstrate: check its data")
        for example, k, confidence in zip(examples, ks_N[start:], has_confidence_N[start:], strict=False):
            prompt = prompt_for(example, k, confidence=confidence, style=style)
            text = task.demonstrate(example, k, confidence=confidence, rng=rng)
            if settings.demonstrations == "uninformative":
                text = without_information(text, k, confidence=confidence, rng=rng)
            if style != task.prompt_style:
                text = rewritten(text, k, confidence=confidence, style=style)
            yield prompt, text
        start, chunk = start + len(examples), chunk + 1


def _fingerprint(task: DemonstrationTask, settings: WarmStart, tokenizer: PreTrainedTokenizerFast) -> str:
    options = asdict(settings)
    del options["demonstrations"], options["notation"]  # the sample tells them apart
    if settings.apart is None:
        del options["apart"]
    content = {
        "settings": options,
        "formats": FORMATS,
        "vocabulary": sorted(tokenizer.get_vocab()),
        "sample": list(_texts(task, settings, _FINGERPRINT_EXAMPLES)),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
