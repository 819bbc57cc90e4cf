"""Supervised training on demonstrations of the answer format, with TRL's SFT trainer (layer L4).

The loss is that of the completion alone. Prompts are tokenised exactly as generation tokenises them, so what the model
learns to continue is what it will be given.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import SFTConfig, SFTTrainer

from polymode import runs
from polymode.chat import Chat
from polymode.decoding.memory import check_memory
from polymode.decoding.precision import compute_dtype
from polymode.decoding.texts import opening_of
from polymode.errors import ConfigError, UserError
from polymode.parsing import parse_answers
from polymode.prompts import Style, prompt_for
from polymode.training.allocator import FreedMemory
from polymode.training.callbacks import Progress
from polymode.training.demonstrations import Warmup
from polymode.training.trl_options import checkpointing_field, lora_config
from polymode.types import Completion

_NO_LOSS = -100


class Encoder(Protocol):
    """What speaks to the model: the tokenizer with its chat template (`TransformersGenerator`)."""

    tokenizer: Any
    model: Any
    chat: Chat

    def encode(self, prompt: str) -> list[int]:
        """Tokens of a prompt as the model reads it."""
        ...


def train_on(
    demonstrations: Sequence[Completion], encoder: Encoder, folder: Path, options: Warmup, *, style: Style
) -> Path:
    """Train ``encoder.model`` on the demonstrations into ``folder``/model, and return that folder.

    Raises:
        ConfigError: a demonstration that with its prompt is longer than the model's context; lora that does not suit
            the model.
    """
    tokenizer, model = encoder.tokenizer, encoder.model
    rows = [row_of(one, encoder, style) for one in demonstrations]
    _check_lengths(rows, model)
    set_seed(options.seed)
    dtype = compute_dtype(options.dtype, model.name_or_path)
    is_gpu = torch.cuda.is_available()
    part = folder / ".model"
    no_checkpointing: Any = {checkpointing_field(SFTConfig): False}
    with warnings.catch_warnings():
        # TRL and PEFT call transformers 5 by these old names.
        warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")  # merging gives each its own weight
        settings = SFTConfig(
            output_dir=str(part),
            max_steps=options.steps,
            per_device_train_batch_size=options.rows_at_once,
            gradient_accumulation_steps=options.batch // options.rows_at_once,
            learning_rate=options.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=max(1, options.steps // 10),
            bf16=dtype is torch.bfloat16,
            use_cpu=not is_gpu,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            **no_checkpointing,
            save_strategy="no",
            logging_steps=1,
            report_to=[],
            seed=options.seed,
        )
        try:
            trainer = SFTTrainer(
                model=model.float().train(),
                processing_class=tokenizer,
                train_dataset=Dataset.from_list(rows),
                data_collator=DataCollatorForSeq2Seq(tokenizer),
                peft_config=lora_config(options.lora),
                callbacks=[_Losses(folder / runs.TRAIN_METRICS), FreedMemory()],
                args=settings,
            )
        except (ImportError, TypeError, ValueError) as exc:
            if not options.lora or isinstance(exc, UserError):
                raise
            raise ConfigError(f"the model refuses lora ({' '.join(str(exc).split())[:200]}): correct it") from exc
        for stock in (ProgressCallback, PrinterCallback):
            trainer.remove_callback(stock)
        trainer.add_callback(Progress("loss"))
        trainer.train()
    trainer.save_model(str(part))
    tokenizer.save_pretrained(part)
    runs.write_chat(part, encoder.chat)
    target = folder / "model"
    part.rename(target)
    return target


def check_training_memory(encoder: Encoder, options: Warmup) -> str:
    """What training takes at least, beside activations, in words.

    For each weight that is 16 bytes, of the weight, its gradient and Adam's two moments in float32, and 2 more where
    it computes in bfloat16; with LoRA 4 bytes of the weight alone.

    Raises:
        ConfigError: the machine has less.
    """
    model = encoder.model
    each, advice = 4, "take a smaller model"
    if not options.lora:
        each = 18 if compute_dtype(options.dtype, model.name_or_path) is torch.bfloat16 else 16
        advice = f"train adapters (--lora r=16), or {advice}"
    n = sum(p.numel() for p in model.parameters())
    what = "training adapters of" if options.lora else "training"
    return f"{check_memory(model.name_or_path, n, each, what=what, advice=advice)} at least, and activations"


def row_of(demonstration: Completion, encoder: Encoder, style: Style) -> dict[str, list[int]]:
    """Tokens of prompt and demonstration; labels leave the prompt out of the loss.

    Where the prompt opens the reasoning, the reply goes on inside it, and one without any closes it first.
    """
    example = demonstration.example
    prompt = encoder.encode(prompt_for(example, demonstration.k, confidence=demonstration.has_confidence, style=style))
    opening, text = opening_of(encoder.tokenizer, prompt), demonstration.text
    if opening:
        text = text.removeprefix(opening) if "</think>" in text else f"</think>{text}"
    reply = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
    reply = [*reply, end_of(encoder)]
    return {
        "input_ids": [*prompt, *reply],
        "attention_mask": [1] * (len(prompt) + len(reply)),
        "labels": [_NO_LOSS] * len(prompt) + reply,
    }


def end_of(encoder: Encoder) -> int:
    """The token that ends a turn: the tokenizer's end token where the model stops at it, else the model's first one."""
    ends = encoder.model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    end = encoder.tokenizer.eos_token_id
    if end is None and not ends:
        raise ConfigError("the model has no end token: set eos_token in its tokenizer")
    return end if end is not None and (not ends or end in ends) else ends[0]


def clean_share(completions: Sequence[Completion]) -> float:
    """Share of completions that keep the answer format; NaN of none."""
    clean = [
        parse_answers(one.text, one.k, confidence=one.has_confidence, finished=one.is_finished).is_clean
        for one in completions
    ]
    return sum(clean) / len(clean) if clean else float("nan")


class _Losses(TrainerCallback):
    """Writes the loss of each step, and says nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        runs.write_steps(self.path, [])

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "loss" in logs and state.is_world_process_zero:
            runs.append_step(self.path, {"step": state.global_step, "loss": logs["loss"]})


def _check_lengths(rows: Sequence[Mapping[str, Sequence[int]]], model: Any) -> None:
    limit = getattr(model.config, "max_position_embeddings", None)
    longest = max(len(row["input_ids"]) for row in rows)
    if limit is not None and longest > limit:
        raise ConfigError(
            f"a demonstration with its prompt has {longest} tokens, the model reads {limit}: shorten the questions, or "
            "use a model with a longer context"
        )
