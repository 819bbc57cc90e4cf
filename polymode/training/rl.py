"""Reinforcement learning with TRL's GRPO trainer: one code path for the four methods, the lab and any causal LM.

::

    RUN/config.json      the recipe          RUN/metrics.jsonl   one line per step
    RUN/checkpoints/     to resume from, with completions/*.parquet: every completion with its terms and verdicts
    RUN/model/           the trained model, appears when training is done

A resumed run takes the same next steps as one that was never stopped: the checkpoint holds optimiser, schedule and
random states, and the questions are drawn from the seed.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PreTrainedTokenizerBase, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import SchedulerType
from trl import GRPOConfig, GRPOTrainer
from trl.import_utils import is_vllm_available

from polymode import runs
from polymode.chat import has_template
from polymode.decoding.gguf_files import is_gguf
from polymode.decoding.loading import check_vocabulary, configuration_of, load_tokenizer, loading_problem
from polymode.decoding.memory import is_out_of_memory
from polymode.decoding.precision import compute_dtype
from polymode.decoding.sampler import Sampler, neutralise
from polymode.decoding.texts import set_padding
from polymode.errors import ConfigError, DataNotFoundError, GeneratorFault, MissingExtraError, UserError, WriteError
from polymode.prompts import reasoning_opened_by
from polymode.rewards import METHODS
from polymode.tasks import Task
from polymode.training.adapters import check_adapters, model_and_adapters
from polymode.training.allocator import FreedMemory
from polymode.training.callbacks import KeepsCounts, Progress, StepMetrics
from polymode.training.credit_trainer import TermCreditTrainer
from polymode.training.expected_trainer import ExpectedCreditTrainer
from polymode.training.memory import announce
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import chat_for, style_for, task_for, verifier_for
from polymode.training.reward import ScoreLedger, make_reward_function
from polymode.training.rows import TrainingRows, check_room, longest_prompt, with_template
from polymode.training.shaping import check_questions, shaping_for
from polymode.training.sharding import check_shared, only_run, prepare_engine, save_whole
from polymode.training.shared_prompt import SharedPromptTrainer
from polymode.training.stalls import StallWarnings
from polymode.training.trl_options import SEGMENTED, checked, checkpointing_field, lora_config, renamed, trl_fields
from polymode.training.validation import validation_examples, validation_for
from polymode.training.vllm_engine import engine_options
from polymode.training.warm_start import lab_model
from polymode.verifiers import QuestionVerifier, Verifier

log = logging.getLogger(__name__)
CHECKPOINTS, MODEL = "checkpoints", "model"
FULL_BELOW = 1 << 20
"""Bytes free on a disk that counts as full."""


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    task: Task | None = None,
    verifier: Verifier | QuestionVerifier | None = None,
) -> Path:
    """Train by ``recipe`` into the run folder and return the folder of the trained model.

    A finished run is left as it is; an unfinished one goes on from its last checkpoint with ``resume``.

    Args:
        recipe: the options.
        folder: the run folder.
        resume: go on with the run that the folder holds.
        task: where the questions come from, instead of the task that the recipe names; config.json has its class as
            ``module:Name``.
        verifier: what calls an answer right, instead of the recipe's or the task's own; in config.json likewise.

    Raises:
        RunExistsError: the folder holds a run and ``resume`` is False, or another process trains into it.
        ConfigError: the folder was made with another recipe, or the recipe does not fit the task or model.
        DataNotFoundError: the task's data or the model are not there.
        WriteError: the disk is full.
    """
    processes = PartialState(cpu=not torch.cuda.is_available())
    target = folder / MODEL
    config = _config(recipe, task, verifier)
    is_begun = (folder / runs.CONFIG).exists()
    processes.wait_for_everyone()  # all have looked before one of them writes
    if is_begun:
        runs.create(folder, config, resume=resume)
        _check_same(folder, config)
        if runs.holds_model(target):
            return target
    with only_run(target):
        return _train(recipe, folder, config, resume=resume, task=task, verifier=verifier)


def _train(
    recipe: Recipe,
    folder: Path,
    config: dict[str, Any],
    *,
    resume: bool,
    task: Task | None,
    verifier: Verifier | QuestionVerifier | None,
) -> Path:
    processes, target = PartialState(), folder / MODEL
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    check_adapters(recipe)
    config_of_trl = _trl_config(recipe, folder)  # here and below: what is wrong is refused before a model is loaded
    lora_config(recipe.lora)
    if config_of_trl.use_vllm and not is_vllm_available():
        raise MissingExtraError("vllm", "vllm", "use_vllm: true")
    task = task_for(recipe) if task is None else task
    verifier = verifier_for(recipe, task) if verifier is None else verifier
    check_questions(recipe, task, verifier)
    source = recipe.model or str(lab_model(task, recipe))
    tokenizer = _load_tokenizer(source, recipe)
    chat_for(recipe, task).check(tokenizer)
    if recipe.validation_steps:
        validation_examples(recipe, task)
    set_seed(recipe.seed)
    with warnings.catch_warnings():
        # TRL 1.16 calls transformers 5 by these old names in every step.
        warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)
        trainer = build_trainer(recipe, folder, task, source, tokenizer, verifier)
        if processes.is_main_process:  # what was refused until here leaves no run behind
            runs.create(folder, config, resume=resume)
        processes.wait_for_everyone()
        check_shared(folder / runs.CONFIG)
        first_step, checkpoint = _last_checkpoint(folder / CHECKPOINTS)
        measure = validation_for(recipe, task, verifier, trainer) if recipe.validation_steps else None
        trainer.add_callback(StepMetrics(folder / runs.TRAIN_METRICS, first_step, recipe.completions_per_step, measure))
        trainer.add_callback(FreedMemory())
        part = folder / f".{MODEL}"
        prepare_engine(trainer)
        try:
            trainer.train(resume_from_checkpoint=checkpoint)
            save_whole(trainer, part)
        except Exception as exc:  # what a full disk raises depends on the library that was writing
            if shutil.disk_usage(folder).free < FULL_BELOW:
                raise WriteError(f"the disk of {folder} is full: free space, then go on with --resume") from exc
            if is_out_of_memory(exc):
                raise ConfigError(
                    f"no room on the device for a step ({str(exc).splitlines()[0][:120]}): lower device_batch and go "
                    "on with --resume, or begin again with activation_checkpointing: true or adapters (lora: {r: 16}); "
                    "polymode doctor --recipe says what each takes"
                ) from exc
            if isinstance(exc, ImportError):  # an optimiser's package, for example, is looked for now
                raise _not_installed(exc) from exc
            raise
    if trainer.is_world_process_zero():
        tokenizer.save_pretrained(part)
        runs.write_chat(part, chat_for(recipe, task))
        shutil.rmtree(target, ignore_errors=True)  # without weights, or it would have been returned above
        part.rename(target)
    trainer.accelerator.wait_for_everyone()
    return target


def _load_tokenizer(source: str, recipe: Recipe) -> PreTrainedTokenizerBase:
    if is_gguf(source) and recipe.beta > 0 and not recipe.lora:  # TRL reads the reference model anew, from a folder
        raise ConfigError(
            f"beta = {recipe.beta!r} with model = {source!r}: training towards a reference model needs a Hugging Face "
            "folder, or lora; set beta: 0, or save the model as a folder first (scripts/smollm2 does it for one)"
        )
    with _loading(source):
        tokenizer = load_tokenizer(source, padding_side="left", **_shared_options(recipe))
    if tokenizer.eos_token is None:
        raise ConfigError(
            f"model = {source!r}: its tokenizer has no end token, so no completion could end: set eos_token in "
            "tokenizer_config.json, to <|im_end|> for example"
        )
    set_padding(tokenizer)
    return tokenizer


def build_trainer(
    recipe: Recipe,
    folder: Path,
    task: Task,
    source: str,
    tokenizer: PreTrainedTokenizerBase,
    verifier: Verifier | QuestionVerifier | None = None,
) -> GRPOTrainer:
    """The TRL trainer of a recipe, before its first step; ``verifier`` is the recipe's unless given."""
    ledger = ScoreLedger()
    shaping = shaping_for(recipe)
    verifier = verifier_for(recipe, task) if verifier is None else verifier
    chat = chat_for(recipe, task)
    rows = TrainingRows(recipe, task, conversational=has_template(tokenizer))
    longest = longest_prompt(rows.first_reading(), tokenizer, recipe)
    check_room(recipe, task, tokenizer, longest, _context_of(source, recipe, tokenizer))
    config = _trl_config(recipe, folder)
    # Trained weights stay in float32 in any case: at a learning rate of 1e-6 a bfloat16 weight would round every update
    # away. The frozen weights under LoRA adapters need no such care.
    dtype = torch.bfloat16 if config.bf16 and recipe.lora else torch.float32
    if config.use_vllm and config.vllm_max_model_length is None:
        # Else vLLM keeps room for the longest text that the model could ever read.
        config.vllm_max_model_length = longest + recipe.max_completion_length
    _print_memory(recipe, source, longest, number=2 if config.bf16 else 4)
    opening = reasoning_opened_by(with_template(rows[0]["prompt"], tokenizer, recipe))
    try:
        with _loading(source, (OSError,)):
            model, peft_config = model_and_adapters(recipe, source, dtype)
        neutralise(model, tokenizer)
        sampler = Sampler(model, tokenizer, chat)
        decode = sampler.text_of
        reward = make_reward_function(
            METHODS[recipe.method],
            recipe.k,
            reward=recipe.reward,
            shaping=shaping,
            num_generations=recipe.num_generations,
            verifier=verifier,
            max_completion_length=recipe.max_completion_length,
            ledger=ledger,
            text_of=lambda ids: opening + decode(ids),
        )
        of_parts = {"recipe": recipe, "ledger": ledger, "decode": decode}
        style = style_for(recipe, task)
        kind = {
            "sequence": SharedPromptTrainer,
            **dict.fromkeys(("term", *SEGMENTED), partial(TermCreditTrainer, **of_parts)),
            "expected": partial(ExpectedCreditTrainer, **of_parts, style=style),
        }[recipe.credit]
        with engine_options(recipe.vllm):
            trainer = kind(
                model=model,
                processing_class=tokenizer,
                reward_funcs=reward,
                train_dataset=rows.as_dataset(),
                args=config,
                peft_config=peft_config,
            )
        trainer.stops = sampler.stops
    except OSError as exc:  # of TRL's client
        if isinstance(exc, UserError) or not (recipe.use_vllm and recipe.vllm_mode == "server"):
            raise
        raise GeneratorFault(
            f"the vLLM server cannot be reached ({' '.join(str(exc).split())[:160]}): start trl vllm-serve there, or "
            "correct trl: {vllm_server_base_url: ...}"
        ) from exc
    except ImportError as exc:
        raise _not_installed(exc) from exc
    except (TypeError, ValueError) as exc:
        sections = [name for name in ("model_init", "lora", "trl", "vllm") if getattr(recipe, name)]
        if not sections or isinstance(exc, UserError):
            raise
        raise ConfigError(
            f"the model or its trainer refuses {' or '.join(sections)} ({' '.join(str(exc).split())[:200]}): correct it"
        ) from exc
    for stock in (ProgressCallback, PrinterCallback):  # ours shows what matters instead
        trainer.remove_callback(stock)
    counts = [KeepsCounts(shaping.counts)] if shaping is not None and shaping.counts is not None else []
    for callback in (Progress("reward", "coverage", "brier"), StallWarnings(recipe.answers), *counts):
        trainer.add_callback(callback)
    return trainer


def _not_installed(exc: ImportError) -> ConfigError:
    reason = " ".join(str(exc).split())[:200].rstrip(".:")
    return ConfigError(
        f"a package that the recipe's options need is not installed ({reason}): install it, or change them"
    )


def _print_memory(recipe: Recipe, source: str, prompt_tokens: int, *, number: int) -> None:
    """Say what the run needs before anything large is loaded.

    Raises:
        ConfigError: more than the GPU has.
    """
    config = configuration_of(source, **_shared_options(recipe)).to_dict()
    card = float(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None
    line = announce(recipe, config, number=number, prompt_tokens=prompt_tokens, card=card)
    if PartialState().is_main_process:
        print(line, flush=True)


def _trl_config(recipe: Recipe, folder: Path) -> GRPOConfig:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    device_batch = recipe.device_batch or recipe.completions_per_step // world
    if recipe.completions_per_step % (device_batch * world):
        raise ConfigError(
            f"questions_per_step x num_generations = {recipe.completions_per_step} must be a multiple of device_batch "
            f"x processes = {device_batch} x {world}"
        )
    trl_types = trl_fields()
    # Recipe options with the name of one of TRL's mean the same.
    options = {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__.keys() & trl_types.keys()}
    if recipe.lr_scheduler_type == "constant" and recipe.warmup_steps:
        options["lr_scheduler_type"] = "constant_with_warmup"
    options |= {
        checkpointing_field(GRPOConfig): recipe.activation_checkpointing,
        "bf16": _compute_dtype(recipe) is torch.bfloat16,
        "output_dir": str(folder / CHECKPOINTS),
        "per_device_train_batch_size": device_batch,
        "gradient_accumulation_steps": recipe.completions_per_step // (device_batch * world),
        "save_strategy": "steps",
        "logging_steps": 1,
        "log_completions": False,  # each process writes its own (`local_completions`)
        "report_to": list(recipe.report_to),
        "run_name": folder.name,
        "data_seed": recipe.seed,
        "shuffle_dataset": False,  # examples come shuffled by the seed already
        "use_cpu": not torch.cuda.is_available(),
        "chat_template_kwargs": dict(recipe.chat_template) or None,
    }
    options |= checked("trl", recipe.trl, trl_types)
    if recipe.stop and recipe.use_vllm:
        options["generation_kwargs"] = {"stop": list(recipe.stop), **(options.get("generation_kwargs") or {})}
    try:
        SchedulerType(options["lr_scheduler_type"])  # GRPOConfig takes any text
        return GRPOConfig(**options)
    except (ValueError, TypeError, NotImplementedError, ImportError) as exc:
        raise ConfigError(f"TRL cannot use the recipe: {' '.join(str(exc).split())}") from exc


def _compute_dtype(recipe: Recipe) -> torch.dtype:
    with _loading(str(recipe.model)):
        return compute_dtype(recipe.dtype, recipe.model, **_shared_options(recipe))


def _shared_options(recipe: Recipe) -> dict[str, Any]:
    """What of model_init concerns the tokenizer and the configuration too."""
    return {name: recipe.model_init[name] for name in {"revision", "trust_remote_code"} & recipe.model_init.keys()}


@contextmanager
def _loading(source: str, kinds: tuple[type[Exception], ...] = (OSError, ValueError)) -> Iterator[None]:
    """What transformers raises for a model that it cannot load, in one line."""
    try:
        yield
    except UserError:
        raise
    except kinds as exc:
        raise DataNotFoundError(loading_problem(source, exc)) from exc


def _context_of(source: str, recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Tokens that the model reads; None when its configuration does not say. Checks that the tokenizer is its own."""
    with _loading(source):
        config = configuration_of(source, **_shared_options(recipe))
    check_vocabulary(source, getattr(config.get_text_config(decoder=True), "vocab_size", None), tokenizer)
    return getattr(config, "max_position_embeddings", None)


def _last_checkpoint(folder: Path) -> tuple[int, str | None]:
    """Step and folder of the last whole checkpoint, (0, None) if there is none; a kill can leave one half-written."""
    steps = {int(path.name.rsplit("-", 1)[1]): path for path in folder.glob("checkpoint-*") if path.is_dir()}
    for step, path in sorted(steps.items(), reverse=True):
        try:
            json.loads((path / TRAINER_STATE_NAME).read_text(encoding="utf-8"))  # written last
            return step, str(path)
        except (FileNotFoundError, json.JSONDecodeError):
            log.warning("%s is incomplete and left out", path)
    return 0, None


def _config(recipe: Recipe, task: Task | None, verifier: Verifier | QuestionVerifier | None) -> dict[str, Any]:
    """What config.json says was asked for; objects that were given stand there by their class."""
    objects = {name: type(one) for name, one in (("task", task), ("verifier", verifier)) if one is not None}
    classes = {name: f"{kind.__module__}:{kind.__qualname__}" for name, kind in objects.items()}
    return runs.to_json(recipe) | classes | ({"given_as_objects": sorted(classes)} if classes else {})


def _check_same(folder: Path, config: dict[str, Any]) -> None:
    """A run folder belongs to one recipe; resuming with another would mix two experiments."""
    # Options by the names of version 0.1.0 are translated, and one that is younger than the run had its default.
    stored = {**runs.to_json(Recipe()), **renamed(runs.read_configuration(folder).config)}
    free = ("threads", "report_to", "save_steps", "save_total_limit", "device_batch")
    for name in config:
        if name not in free and stored.get(name) != config[name]:
            raise ConfigError(
                f"{name} = {config[name]!r} differs from the run folder's {stored.get(name)!r}: resume with the same "
                f"options, or choose another folder than {folder}"
            )
