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
from typing import Protocol

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from polymode.prompts import build_prompt
from polymode.tasks import Demonstrates, Task
from polymode.train.lab_model import LabModelSize, build_model, build_tokenizer

FORMATS: tuple[tuple[int, float], ...] = ((1, 0.3), (2, 0.12), (3, 0.34), (4, 0.12), (5, 0.12))
"""Answers asked for in a demonstration, with their shares; half of each state confidences."""
_FINGERPRINT_EXAMPLES = 64
_CHUNK = 4096
_SEED_OFFSET = 1_000_000  # examples of the warm start are not those of reinforcement learning


class DemonstrationTask(Task, Demonstrates, Protocol):
    """A task that can also write demonstrations."""


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Settings of a warm start."""

    steps: int = 1000
    """Optimiser steps."""
    batch: int = 64
    """Demonstrations a step."""
    learning_rate: float = 4e-3
    """Peak learning rate; linear warm-up over 5% of the steps, then cosine to zero."""
    seed: int = 0
    """Seed of the weights, the examples and the demonstrations."""
    size: LabModelSize = field(default_factory=LabModelSize)


def cache_folder() -> Path:
    """``$POLYMODE_CACHE``, else ``~/.cache/polymode``."""
    return Path(os.environ.get("POLYMODE_CACHE") or Path.home() / ".cache" / "polymode")


def warm_start(task: DemonstrationTask, settings: WarmStart) -> Path:
    """Folder of the warm-started model and tokenizer; trains it when the cache does not hold it."""
    tokenizer = build_tokenizer(task.vocabulary())
    target = cache_folder() / "warm-start" / f"{task.name}-{_fingerprint(task, settings, tokenizer)}"
    if (target / "config.json").exists():
        return target
    rows = _demonstrations(task, settings, tokenizer, settings.steps * settings.batch)
    work = target.with_name(f".{target.name}.{os.getpid()}")
    trainer = SFTTrainer(
        model=build_model(tokenizer, settings.size, seed=settings.seed),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        args=SFTConfig(
            output_dir=str(work),
            max_steps=settings.steps,
            per_device_train_batch_size=settings.batch,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=max(1, settings.steps // 20),
            weight_decay=0.01,
            max_length=settings.size.positions,
            packing=False,
            bf16=False,
            use_cpu=not torch.cuda.is_available(),
            activation_checkpointing=False,
            save_strategy="no",
            report_to=[],
            logging_steps=max(1, settings.steps // 10),
            seed=settings.seed,
            dataloader_num_workers=0,
        ),
    )
    trainer.train()
    trainer.model.save_pretrained(work)
    tokenizer.save_pretrained(work)
    if target.exists():  # another process was faster; both hold the same model
        shutil.rmtree(work)
    else:
        work.rename(target)
    return target


def _demonstrations(
    task: DemonstrationTask, settings: WarmStart, tokenizer: PreTrainedTokenizerFast, n: int
) -> list[dict[str, list[int]]]:
    """``n`` tokenised demonstrations with a mask that leaves the prompt out of the loss."""
    prompts, completions = zip(*_texts(task, settings, n), strict=True)
    prompt_ids = tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
    completion_ids = tokenizer(list(completions), add_special_tokens=False)["input_ids"]
    return [
        {"input_ids": [*p, *c, tokenizer.eos_token_id], "completion_mask": [0] * len(p) + [1] * (len(c) + 1)}
        for p, c in zip(prompt_ids, completion_ids, strict=True)
    ]


def _texts(task: DemonstrationTask, settings: WarmStart, n: int) -> Iterator[tuple[str, str]]:
    """``n`` pairs of prompt and demonstration; the examples of a finite task come again, each time shown anew."""
    rng = np.random.default_rng([settings.seed, 1])
    ks, shares = zip(*FORMATS, strict=True)
    ks_N, confidences_N = rng.choice(ks, p=shares, size=n).tolist(), (rng.random(n) < 0.5).tolist()
    done = chunk = 0
    while done < n:
        # A chunk at a time, so that memory does not grow with the number of demonstrations.
        examples = task.examples("train", min(_CHUNK, n - done), seed=_SEED_OFFSET + 1009 * settings.seed + chunk)
        for example, k, confidence in zip(examples, ks_N[done:], confidences_N[done:], strict=False):
            prompt = build_prompt(
                example.question, k, confidence=confidence, exclusive=example.exclusive, style=task.prompt_style
            )
            yield prompt, task.demonstrate(example, k, confidence=confidence, rng=rng)
        done, chunk = done + len(examples), chunk + 1


def _fingerprint(task: DemonstrationTask, settings: WarmStart, tokenizer: PreTrainedTokenizerFast) -> str:
    content = {
        "settings": asdict(settings),
        "formats": FORMATS,
        "vocabulary": sorted(tokenizer.get_vocab()),
        "sample": list(_texts(task, settings, _FINGERPRINT_EXAMPLES)),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
