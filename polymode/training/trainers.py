"""The TRL trainer of a recipe: model, tokenizer, options, and everything that is refused before a first step (L4)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import SchedulerType
from trl import GRPOConfig, GRPOTrainer

from polymode.chat import Chat, has_template
from polymode.decoding.gguf_files import is_gguf
from polymode.decoding.loading import check_vocabulary, configuration_of, load_tokenizer, loading_problem
from polymode.decoding.memory import total_memory
from polymode.decoding.precision import compute_dtype
from polymode.decoding.sampler import Sampler, neutralise
from polymode.decoding.texts import set_padding
from polymode.errors import ConfigError, DataNotFoundError, GeneratorFault, UserError
from polymode.prompts import reasoning_opened_by
from polymode.rewards import METHODS
from polymode.tasks import Task
from polymode.training.adapters import model_and_adapters
from polymode.training.callbacks import KeepsCounts, Progress
from polymode.training.credit_trainer import TermCreditTrainer
from polymode.training.expected_trainer import ExpectedCreditTrainer
from polymode.training.memory_check import announce
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import chat_for, style_for, verifier_for
from polymode.training.reward import ScoreLedger, make_reward_function
from polymode.training.rows import TrainingRows, check_room, longest_prompt, with_template
from polymode.training.shaping import shaping_for
from polymode.training.shared_prompt import SharedPromptTrainer
from polymode.training.stalls import StallWarnings
from polymode.training.trl_options import SEGMENTED, checked, checkpointing_field, trl_fields
from polymode.training.vllm_engine import engine_options
from polymode.verifiers import QuestionVerifier, Verifier

CHECKPOINTS = "checkpoints"


def load_recipe_tokenizer(source: str, recipe: Recipe) -> PreTrainedTokenizerBase:
    """The tokenizer of the model that a recipe starts from; raises ConfigError where no completion could end."""
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
    check_room(recipe, task, tokenizer, longest, _context_of(source, recipe, tokenizer, chat))
    config = trl_config(recipe, folder)
    # Trained weights stay in float32 in any case: at a learning rate of 1e-6 a bfloat16 weight would round every update
    # away. The frozen weights under LoRA adapters need no such care.
    dtype = torch.bfloat16 if config.bf16 and recipe.lora else torch.float32
    if config.use_vllm and config.vllm_max_model_length is None:
        # Else vLLM keeps room for the longest text that the model could ever read.
        config.vllm_max_model_length = longest + recipe.max_completion_length
    _print_memory(recipe, source, longest, number=2 if config.bf16 else 4)
    if PartialState().is_main_process and (warning := rows.describe_repeats()):
        print(warning, flush=True)
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
        raise not_installed(exc) from exc
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


def not_installed(exc: ImportError) -> ConfigError:
    """The error for a package that is missing."""
    reason = " ".join(str(exc).split())[:200].rstrip(".:")
    return ConfigError(
        f"a package that the recipe's options need is not installed ({reason}): install it, or change them"
    )


def _print_memory(recipe: Recipe, source: str, prompt_tokens: int, *, number: int) -> None:
    """Say what the run needs before anything large is loaded.

    Raises:
        ConfigError: more than the GPU has, or the machine where it has none.
    """
    config = configuration_of(source, **_shared_options(recipe)).to_dict()
    card, ram = total_memory()
    line = announce(recipe, config, number=number, prompt_tokens=prompt_tokens, card=card, ram=ram)
    if PartialState().is_main_process:
        print(line, flush=True)


def trl_config(recipe: Recipe, folder: Path) -> GRPOConfig:
    """TRL's options for a run in ``folder``; raises ConfigError for those that it cannot use."""
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


def _context_of(source: str, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> int | None:
    """Tokens that the model reads; None when its configuration does not say. Checks that the tokenizer is its own."""
    with _loading(source):
        config = configuration_of(source, **_shared_options(recipe))
    rows = getattr(config.get_text_config(decoder=True), "vocab_size", None)
    check_vocabulary(source, rows, tokenizer)
    chat.check(tokenizer, rows)
    return getattr(config, "max_position_embeddings", None)
