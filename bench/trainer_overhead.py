"""Overhead of our reward, logging and callbacks over the same trainer with a constant reward.

    python bench/trainer_overhead.py                        about 5 minutes on two cores
    python bench/trainer_overhead.py --rounds 3 --steps 4
    python bench/trainer_overhead.py --credit expected      that credit's step over one of credit: term

Target: at most 5% of the step. step_time.py compares a step with stock `trl.GRPOTrainer`; here both trainers
share prompts. They have the lab's model with the same weights and the same 256 completions of exactly 40 tokens a step,
and write no checkpoints. Ours parses, judges and scores each completion, logs terms and verdicts, and writes metrics
and Parquet; the stock one logs nothing but its own figures. The model is untrained, so our reward is given
demonstrations in place of its output: clean sets take longest. The rounds alternate between the two trainers; the
ratio is the median over rounds of ours to stock, each the median of a round's steps. Other work on the machine makes it
noisy, so two steadier figures are given too: the ratio of processor times, and the time inside our reward and all of
the logging (Parquet, metrics file, what the stock trainer logs as well), an upper bound.

``--credit`` compares two of our trainers on the lab's diagnosis instead, 64 x 4 completions that end where they end,
from a warm start (made once, in 10 minutes), because an untrained model states no confidence that a credit could take.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import GRPOConfig, GRPOTrainer

from polymode.reproduce.plans import DIAGNOSIS
from polymode.tasks import open_task
from polymode.training.callbacks import Progress, StepMetrics
from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import task_for
from polymode.training.rows import TrainingRows
from polymode.training.shared_prompt import SharedPromptTrainer
from polymode.training.trainers import build_trainer
from polymode.training.warm_start import lab_model

TARGET = 0.05
CREDITS = ("sequence", "expected", "dcpo")
TOKENS = 40
UNTIMED_STEPS = 1
"""Steps at the start of a round that are left out: caches fill, memory is taken."""


class Clock(TrainerCallback):
    """Seconds of each step, from its start to that of the next, because logging falls between."""

    def __init__(self) -> None:
        self.marks: list[np.ndarray] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Mark a step's start."""
        self.marks.append(np.array([time.perf_counter(), time.process_time()]))

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Mark the last step's end."""
        self.marks.append(np.array([time.perf_counter(), time.process_time()]))

    def seconds(self) -> np.ndarray:
        """Median over the timed steps, (wall clock, processor)."""
        steps = [end - start for start, end in zip(self.marks, self.marks[1:], strict=False)]
        return np.median(steps[UNTIMED_STEPS:], axis=0)


class Timed:
    """Adds up the time spent in functions that it wraps."""

    def __init__(self) -> None:
        self.total = 0.0

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.total += time.perf_counter() - start

        wrapped.__name__ = getattr(function, "__name__", "wrapped")
        return wrapped


def constant(completions: list[Any], **_: Any) -> list[float | None]:
    return [0.0] * len(completions)


def demonstrations(task: Any, recipe: Recipe) -> list[str]:
    """A clean completion for each of a step."""
    rng = np.random.default_rng(0)
    examples = task.examples("train", recipe.completions_per_step)
    return [task.demonstrate(example, recipe.k, confidence=True, rng=rng) for example in examples]


def fix_length(trainer: GRPOTrainer) -> GRPOTrainer:
    """Make every completion exactly `TOKENS` long."""
    trainer.generation_config.min_new_tokens = TOKENS
    return trainer


def ours(recipe: Recipe, folder: Path, model: Path, timed: Timed) -> GRPOTrainer:
    task = open_task(recipe.task)
    trainer = build_trainer(recipe, folder, task, str(model), AutoTokenizer.from_pretrained(model, padding_side="left"))
    reward: Any = trainer.reward_funcs[0]
    texts = demonstrations(task, recipe)
    trainer.reward_funcs = [timed(lambda **columns: reward(**{**columns, "completions": texts}))]
    trainer.add_callback(StepMetrics(folder / "metrics.jsonl", 0, recipe.completions_per_step))
    trainer.log = timed(trainer.log)  # type: ignore[method-assign]
    return trainer


def stock(recipe: Recipe, folder: Path, model: Path) -> GRPOTrainer:
    rows = TrainingRows(recipe, open_task(recipe.task), conversational=False)
    trainer = SharedPromptTrainer(
        model=str(model),
        reward_funcs=constant,
        train_dataset=rows.as_dataset(),
        args=GRPOConfig(
            output_dir=str(folder),
            max_steps=recipe.max_steps,
            per_device_train_batch_size=recipe.completions_per_step,
            num_generations=recipe.num_generations,
            max_completion_length=recipe.max_completion_length,
            temperature=recipe.temperature,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type=recipe.lr_scheduler_type,
            loss_type=recipe.loss_type,
            scale_rewards=recipe.scale_rewards,
            bf16=False,
            activation_checkpointing=False,
            save_strategy="no",
            logging_steps=1,
            report_to=[],
            seed=recipe.seed,
            shuffle_dataset=False,
            use_cpu=not torch.cuda.is_available(),
            model_init_kwargs={"dtype": "float32"},
        ),
    )
    for shown in (ProgressCallback, PrinterCallback):  # the same bar for both
        trainer.remove_callback(shown)
    trainer.add_callback(Progress())
    return trainer


def step_seconds(trainer: GRPOTrainer) -> np.ndarray:
    clock = Clock()
    trainer.add_callback(clock)
    fix_length(trainer).train()
    return clock.seconds()


def compare_credits(credit: str, rounds: int, steps: int, folder: Path) -> None:
    """Print the ratio of a step with ``credit`` to one with credit: term, for each round and their median."""
    recipe = replace(DIAGNOSIS, temperature=1.0, questions_per_step=64, num_generations=4)
    recipe = replace(recipe, max_steps=steps + UNTIMED_STEPS, save_steps=10**6)
    task = task_for(recipe)
    model = str(lab_model(task, recipe))
    ratios = []
    for number in range(rounds):
        found = {}
        for name in (credit, "term") if number % 2 else ("term", credit):
            own = replace(recipe, credit=name, seed=number)
            tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
            trainer, clock = build_trainer(own, folder / f"{name}-{number}", task, model, tokenizer), Clock()
            trainer.add_callback(clock)
            trainer.train()
            found[name] = clock.seconds()
        ratios.append(found[credit] / found["term"])
        told = ", ".join(f"{name} {seconds[0]:.3f} s" for name, seconds in found.items())
        print(f"round {number + 1}: {told} a step", flush=True)
    wall, processor = np.median(ratios, axis=0)
    told = f"from {np.min(ratios, axis=0)[0]:.3f} to {np.max(ratios, axis=0)[0]:.3f}"
    print(f"\n{credit} over term: {wall:.3f} (rounds {told}); in processor time {processor:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs, one of each trainer")
    parser.add_argument("--steps", type=int, default=6, help="timed steps of a run, after an untimed one")
    parser.add_argument("--credit", choices=CREDITS, help="compare this credit with term instead")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)
    if options.credit:
        with tempfile.TemporaryDirectory() as name:
            compare_credits(options.credit, options.rounds, options.steps, Path(name))
        return
    recipe = Recipe(
        max_steps=options.steps + UNTIMED_STEPS,
        questions_per_step=16,
        num_generations=16,
        max_completion_length=TOKENS,
        save_steps=10**6,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task: Any = open_task(recipe.task)
        tokenizer = build_tokenizer(task.vocabulary())
        build_model(tokenizer, LabModelSize(), seed=0).save_pretrained(folder / "start")
        tokenizer.save_pretrained(folder / "start")
        ratios, shares = [], []
        for number in range(options.rounds):
            timed = Timed()
            recipe = replace(recipe, seed=number)
            runs = [
                ("ours", lambda: step_seconds(ours(recipe, folder / f"ours-{number}", folder / "start", timed))),  # noqa: B023
                ("stock", lambda: step_seconds(stock(recipe, folder / f"stock-{number}", folder / "start"))),  # noqa: B023
            ]
            found = {kind: run() for kind, run in (runs if number % 2 else reversed(runs))}
            ratios.append(found["ours"] / found["stock"])
            shares.append(timed.total / recipe.max_steps / found["ours"][0])
            print(
                f"round {number + 1}: ours {found['ours'][0]:.3f} s, stock {found['stock'][0]:.3f} s a step, ratio "
                f"{ratios[-1][0]:.3f}; processor ratio {ratios[-1][1]:.3f}; reward and logging {shares[-1]:.2%}",
                flush=True,
            )
    wall, processor = np.median(ratios, axis=0) - 1
    outcome = "reached" if wall <= TARGET else "MISSED"
    print(f"\n{recipe.completions_per_step} completions of {TOKENS} tokens a step, medians of {options.rounds} rounds")
    print(f"overhead over stock   {wall:7.2%}   target {TARGET:.0%}: {outcome}")
    print(f"in processor time     {processor:7.2%}")
    print(f"reward and logging    {np.median(shares):7.2%}   of the step, timed inside it")


if __name__ == "__main__":
    main()
