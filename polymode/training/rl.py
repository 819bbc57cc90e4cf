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
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import set_seed
from transformers.trainer import TRAINER_STATE_NAME
from trl.import_utils import is_vllm_available

from polymode import runs
from polymode.decoding.memory import is_out_of_memory
from polymode.errors import ConfigError, MissingExtraError, WriteError
from polymode.format_checks import check_stops
from polymode.rewards import METHODS
from polymode.tasks import Task
from polymode.training.adapters import check_adapters
from polymode.training.allocator import FreedMemory
from polymode.training.callbacks import StepMetrics
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import chat_for, style_for, task_for, verifier_for
from polymode.training.shaping import check_questions
from polymode.training.sharding import check_shared, only_run, prepare_engine, save_whole
from polymode.training.trainers import CHECKPOINTS, build_trainer, load_recipe_tokenizer, not_installed, trl_config
from polymode.training.trl_options import lora_config, renamed
from polymode.training.validation import validation_examples, validation_for
from polymode.training.warm_start import lab_model
from polymode.verifiers import QuestionVerifier, Verifier

log = logging.getLogger(__name__)
MODEL = "model"
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
    config_of_trl = trl_config(recipe, folder)  # here and below: what is wrong is refused before a model is loaded
    lora_config(recipe.lora)
    if config_of_trl.use_vllm and not is_vllm_available():
        raise MissingExtraError("vllm", "vllm", "use_vllm: true")
    task = task_for(recipe) if task is None else task
    verifier = verifier_for(recipe, task) if verifier is None else verifier
    check_questions(recipe, task, verifier)
    method, style = METHODS[recipe.method], style_for(recipe, task)
    for k in (recipe.k, *recipe.k_choices):
        check_stops(recipe.stop, k=method.answers(k), confidence=method.has_confidence, style=style)
    source = recipe.model or str(lab_model(task, recipe))
    tokenizer = load_recipe_tokenizer(source, recipe)
    chat_for(recipe, task).check(tokenizer)
    if recipe.validation_steps:
        validation_examples(recipe, task)
    set_seed(recipe.seed)
    with warnings.catch_warnings():
        # TRL 1.16 calls transformers 5 by these old names in every step.
        warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")  # merging gives each its own weight
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
                raise not_installed(exc) from exc
            raise
    if trainer.is_world_process_zero():
        tokenizer.save_pretrained(part)
        runs.write_chat(part, chat_for(recipe, task))
        shutil.rmtree(target, ignore_errors=True)  # without weights, or it would have been returned above
        part.rename(target)
    trainer.accelerator.wait_for_everyone()
    return target


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
