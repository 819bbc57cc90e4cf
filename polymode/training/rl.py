"""Reinforcement learning with TRL's GRPO trainer: one code path for the four methods, the lab and any causal LM.

::

    RUN/config.json      the recipe          RUN/metrics.jsonl   one line per step
    RUN/checkpoints/     to resume from, with completions/*.parquet: every completion with its terms and verdicts
    RUN/model/           the trained model, appears when training is done

Advantages are TRL's group-centred totals, one per completion (`credit: sequence`), or one for each part of it
(`credit: term`, `polymode.training.credit_trainer`), never divided by a group's deviation when confidences are scored.
A resumed run takes the same next steps as one that was never stopped: the checkpoint holds optimiser, schedule and
random states, and the questions are drawn from the seed.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import GRPOConfig, GRPOTrainer

from polymode import runs
from polymode.errors import ConfigError, DataNotFoundError, MissingExtraError, WriteError
from polymode.prompts import build_prompt
from polymode.rewards import METHODS
from polymode.tasks import Demonstrates, Task
from polymode.training.callbacks import KeepsCounts, Progress, StepMetrics
from polymode.training.credit_trainer import TermCreditTrainer
from polymode.training.objective import check_questions, reward_for, shaping_for
from polymode.training.recipe import Recipe, task_for, verifier_for
from polymode.training.reward import ScoredText, make_reward_function
from polymode.training.shared_prompt import SharedPromptTrainer
from polymode.training.stalls import StallWarnings
from polymode.training.warm_start import WarmStart, warm_start
from polymode.verifiers import QuestionVerifier, Verifier

log = logging.getLogger(__name__)
CHECKPOINTS, MODEL = "checkpoints", "model"
_K_DRAW = 4_001
"""Tells the draw of K from other draws of the same seed."""
FULL_BELOW = 1 << 20
"""Bytes free on a disk that counts as full."""


def train(recipe: Recipe, folder: Path, *, resume: bool = False) -> Path:
    """Train by ``recipe`` into the run folder and return the folder of the trained model.

    A finished run is left as it is; an unfinished one goes on from its last checkpoint with ``resume``.

    Raises:
        RunExistsError: the folder holds a run and ``resume`` is False.
        ConfigError: the folder was made with another recipe, or the recipe does not fit the task or model.
        DataNotFoundError: the task's data or the model are not there.
        WriteError: the disk is full.
    """
    processes = PartialState(cpu=not torch.cuda.is_available())
    target = folder / MODEL
    is_begun = (folder / runs.CONFIG).exists()
    processes.wait_for_everyone()  # all have looked before one of them writes
    if is_begun:
        runs.create(folder, recipe, resume=resume)
        _check_same(folder, recipe)
        if (target / "config.json").exists() or (target / "adapter_config.json").exists():
            return target
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    task = task_for(recipe)
    verifier = verifier_for(recipe, task)  # what is missing for it is said before a model is loaded
    check_questions(recipe, task, verifier)
    source = recipe.model or str(lab_model(task, recipe))
    tokenizer = _load_tokenizer(source)
    if processes.is_main_process:
        runs.create(folder, recipe, resume=resume)
    processes.wait_for_everyone()
    set_seed(recipe.seed)
    with warnings.catch_warnings():
        # TRL 1.16 calls transformers 5 by these old names in every step.
        warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)
        trainer = build_trainer(recipe, folder, task, source, tokenizer, verifier)
        first_step, checkpoint = _last_checkpoint(folder / CHECKPOINTS)
        trainer.add_callback(StepMetrics(folder / runs.TRAIN_METRICS, first_step, recipe.completions_per_step))
        part = folder / f".{MODEL}"
        try:
            trainer.train(resume_from_checkpoint=checkpoint)
            trainer.save_model(str(part))  # every process: weights may be spread over them
        except Exception as exc:  # what a full disk raises depends on the library that was writing
            if _is_full(folder):
                raise WriteError(f"the disk of {folder} is full: free space, then go on with --resume") from exc
            raise
    if trainer.is_world_process_zero():
        tokenizer.save_pretrained(part)
        part.rename(target)
    trainer.accelerator.wait_for_everyone()
    return target


def _load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
    except (OSError, ValueError) as exc:
        raise DataNotFoundError(
            f"model = {source!r} cannot be loaded: give a folder with a checkpoint and tokenizer, or a Hugging Face "
            f"model name ({str(exc).splitlines()[0]})"
        ) from exc
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _is_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < FULL_BELOW


def build_trainer(
    recipe: Recipe,
    folder: Path,
    task: Task,
    source: str,
    tokenizer: PreTrainedTokenizerBase,
    verifier: Verifier | QuestionVerifier | None = None,
) -> GRPOTrainer:
    """The TRL trainer of a recipe, before its first step; ``verifier`` is the recipe's unless given."""
    method = METHODS[recipe.method]
    scored: list[ScoredText] = []
    shaping = shaping_for(recipe)
    reward = make_reward_function(
        method,
        recipe.k,
        reward=reward_for(recipe),
        shaping=shaping,
        verifier=verifier if verifier is not None else verifier_for(recipe, task),
        max_completion_tokens=recipe.max_completion_tokens,
        last=scored,
    )
    rows = _rows(recipe, task, conversational=tokenizer.chat_template is not None)
    # Trained weights stay in float32, also with bf16: at a learning rate of 1e-6 a bfloat16 weight would round every
    # update away. The frozen weights under LoRA adapters need no such care.
    dtype = torch.bfloat16 if recipe.bf16 and recipe.lora_rank else torch.float32
    config = _trl_config(recipe, folder)
    if recipe.vllm:  # else vLLM keeps room for the longest text the model could ever read
        config.vllm_max_model_length = _longest_prompt(rows, tokenizer) + recipe.max_completion_tokens
    kind: Callable[..., GRPOTrainer] = SharedPromptTrainer
    if recipe.credit == "term":
        factors = (recipe.reasoning_credit, recipe.confidence_credit)
        kind = partial(
            TermCreditTrainer, reward=reward_for(recipe), answers=recipe.answers, last=scored, factors=factors
        )
    trainer = kind(
        model=AutoModelForCausalLM.from_pretrained(source, dtype=dtype),
        processing_class=tokenizer,
        reward_funcs=reward,
        train_dataset=Dataset.from_list(rows),
        args=config,
        peft_config=_lora(recipe),
    )
    for shown in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(shown)
    trainer.add_callback(Progress())
    trainer.add_callback(StallWarnings(recipe.answers))
    if shaping is not None and shaping.counts is not None:
        trainer.add_callback(KeepsCounts(shaping.counts))
    return trainer


def _trl_config(recipe: Recipe, folder: Path) -> GRPOConfig:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    device_batch = recipe.device_batch or recipe.completions_per_step // world
    if recipe.completions_per_step % (device_batch * world):
        raise ConfigError(
            f"questions_per_step x group = {recipe.completions_per_step} must be a multiple of device_batch x processes"
            f" = {device_batch} x {world}"
        )
    return GRPOConfig(
        output_dir=str(folder / CHECKPOINTS),
        max_steps=recipe.steps,
        per_device_train_batch_size=device_batch,
        gradient_accumulation_steps=recipe.completions_per_step // (device_batch * world),
        num_generations=recipe.group,
        max_completion_length=recipe.max_completion_tokens,
        temperature=recipe.temperature,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule if recipe.warmup_share == 0 else _with_warmup(recipe.schedule),
        warmup_steps=round(recipe.warmup_share * recipe.steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        loss_type=recipe.loss,
        scale_rewards=recipe.scale_rewards,
        epsilon=recipe.clip,
        beta=recipe.kl,
        bf16=recipe.bf16,
        activation_checkpointing=recipe.activation_checkpointing,
        use_vllm=recipe.vllm,
        vllm_mode=recipe.vllm_mode,
        vllm_gpu_memory_utilization=recipe.vllm_memory,
        save_strategy="steps",
        save_steps=recipe.save_every,
        save_total_limit=recipe.keep_checkpoints,
        logging_steps=1,
        log_completions=True,
        num_completions_to_print=0,  # the table goes to Parquet, not to the terminal
        report_to=list(recipe.report_to),
        run_name=folder.name,
        seed=recipe.seed,
        data_seed=recipe.seed,
        shuffle_dataset=False,  # examples come shuffled by the seed already
        use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=0,
    )


def _with_warmup(schedule: str) -> str:
    return "constant_with_warmup" if schedule == "constant" else schedule


def _rows(recipe: Recipe, task: Task, *, conversational: bool) -> list[dict[str, Any]]:
    """One row per question, enough for all steps; a finite task is read again, shuffled anew, when it runs out."""
    needed = recipe.steps * recipe.questions_per_step
    method = METHODS[recipe.method]
    style = task.prompt_style if recipe.prompt_style == "task" else recipe.prompt_style
    # K of each question does not depend on how often a finite task is read again.
    drawn = np.random.default_rng([recipe.seed, _K_DRAW]).choice(recipe.k_choices or (recipe.k,), size=needed).tolist()
    rows: list[dict[str, Any]] = []
    epoch = 0
    while len(rows) < needed:
        examples = task.examples("train", needed - len(rows), seed=recipe.seed + 7919 * epoch)
        if not examples:
            raise ConfigError(f"task {recipe.task!r} has no training examples")
        for example in examples:
            k = drawn[len(rows)]
            prompt = build_prompt(
                example.question,
                method.answers(k),
                confidence=method.has_confidence,
                exclusive=example.exclusive,
                style=style,
            )
            references = [[*reference.names] for reference in example.references]
            rows.append(
                {
                    "prompt": [{"role": "user", "content": prompt}] if conversational else prompt,
                    "references": json.dumps(references),
                    "question": example.question,
                    "question_id": example.id,
                    **({"k": k} if recipe.k_choices else {}),
                }
            )
        epoch += 1
    return rows


def _longest_prompt(rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of the longest prompt, with what the chat template adds."""
    longest = 0
    for row in rows:
        text: Any = row["prompt"]
        if tokenizer.chat_template is not None:
            text = tokenizer.apply_chat_template(text, tokenize=False, add_generation_prompt=True)
        longest = max(longest, len(tokenizer.encode(text, add_special_tokens=False)))
    return longest


def _last_checkpoint(folder: Path) -> tuple[int, str | None]:
    """Step and folder of the last whole checkpoint, (0, None) if there is none; a kill can leave one half-written."""
    found = {int(path.name.rsplit("-", 1)[1]): path for path in folder.glob("checkpoint-*") if path.is_dir()}
    for step in sorted(found, reverse=True):
        try:
            json.loads((found[step] / TRAINER_STATE_NAME).read_text(encoding="utf-8"))  # written last
        except (FileNotFoundError, json.JSONDecodeError):
            log.warning("%s is incomplete and left out", found[step])
            continue
        return step, str(found[step])
    return 0, None


def lab_model(task: Task, recipe: Recipe) -> Path:
    """Folder of the warm-started lab model of a recipe; trains it when the cache does not hold it."""
    if not isinstance(task, Demonstrates):
        raise ConfigError(
            f"model is not given and task {recipe.task!r} has no demonstrations to warm-start the lab's model with: "
            "name a model, for example model: Qwen/Qwen3-8B"
        )
    if PartialState().num_processes > 1:
        raise ConfigError(
            f"model is not given with {PartialState().num_processes} processes: the lab's model trains in one; run "
            "polymode train without accelerate launch"
        )
    return warm_start(task, WarmStart(steps=recipe.warm_start_steps, seed=recipe.warm_start_seed))  # type: ignore[arg-type]


def _lora(recipe: Recipe) -> Any:
    if not recipe.lora_rank:
        return None
    try:
        from peft import LoraConfig
    except ImportError:
        raise MissingExtraError("peft", "train", "lora_rank > 0") from None
    return LoraConfig(
        r=recipe.lora_rank, lora_alpha=recipe.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _check_same(folder: Path, recipe: Recipe) -> None:
    """A run folder belongs to one recipe; resuming with another would mix two experiments."""
    # An option that is younger than the run had its default.
    kept = {**runs.to_json(Recipe()), **runs.read_json(folder / runs.CONFIG)["config"]}
    asked = runs.to_json(recipe)
    free = ("threads", "report_to", "save_every", "keep_checkpoints", "device_batch")
    changed = [name for name in asked if name not in free and kept.get(name) != asked[name]]
    if changed:
        name = changed[0]
        raise ConfigError(
            f"{name} = {asked[name]!r} differs from the run folder's {kept.get(name)!r}: resume with the same options, "
            f"or choose another folder than {folder}"
        )
