"""Time of a training step compared with stock `trl.GRPOTrainer`, which processes each prompt once per completion.

    python bench/step_time.py                                about 5 minutes on two quiet cores
    python bench/step_time.py --cases long --rounds 1        a first look

Target: a step 1.2 times as fast with groups of 16 and prompts of 400 tokens (`long`). Cases:

    lab    the lab's model on clinic: 8 questions x 16 completions of exactly 70 tokens, as in recipes/clinic.yaml
    long   1 question of 400 tokens x 16 completions of exactly 64 tokens, a Qwen3 of 21 million parameters
    large  the same with a Qwen3 of 101 million parameters; a step takes a minute or two, so ask for it by name

Both trainers have the same weights, configuration, prompts and constant reward; the models are untrained, and no
completion may end before its last token, so that both do the same number of steps of the same size. The rounds
alternate between the trainers; a ratio is the median over rounds of stock to ours, each the median of a round's steps.
Other work on the machine makes the clock noisy; processor time, in which the parts of a step are given, is steadier.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import GRPOTrainer

from polymode.tasks import open_task
from polymode.training.lab_model import END, PAD, LabModelSize, build_model, build_tokenizer
from polymode.training.recipe import Recipe
from polymode.training.rows import TrainingRows
from polymode.training.shared_prompt import SharedPromptTrainer
from polymode.training.trainers import trl_config

TARGET = 1.2
UNTIMED_STEPS = 1
"""Steps at the start of a round that are left out: caches fill, memory is taken."""
PARTS = {"generation": "_generate_single_turn", "forward": "compute_loss", "backward": "backward"}
WORDS = [f"w{i}" for i in range(1300)]  # the tokenizer knows each with and without a space before it
KINDS: dict[str, type[GRPOTrainer]] = {"stock": GRPOTrainer, "ours": SharedPromptTrainer}


@dataclass(frozen=True, slots=True)
class Case:
    """What is trained on what."""

    recipe: Recipe
    prompts: list[str]
    model: Path
    """Folder of the untrained model and its tokenizer."""


def now() -> np.ndarray:
    """Seconds (wall clock, processor)."""
    return np.array([time.perf_counter(), time.process_time()])


class Clock(TrainerCallback):
    """Seconds of each step, from its start to that of the next."""

    def __init__(self) -> None:
        self.marks: list[np.ndarray] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Mark a step's start."""
        self.marks.append(now())

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Mark the last step's end."""
        self.marks.append(now())


class Timed:
    """Seconds spent in a function that it wraps, call by call."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.spent: list[np.ndarray] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function and take the time."""
        start = now()
        try:
            return self.function(*args, **kwargs)
        finally:
            self.spent.append(now() - start)


def constant(completions: list[Any], **_: Any) -> list[float | None]:
    return [0.0] * len(completions)


def lab(folder: Path, steps: int) -> Case:
    recipe = Recipe(max_steps=steps, questions_per_step=8, device_batch=64, max_completion_length=70, save_steps=10**6)
    task: Any = open_task(recipe.task)
    tokenizer = build_tokenizer(task.vocabulary())
    build_model(tokenizer, LabModelSize(), seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Case(recipe, [row["prompt"] for row in TrainingRows(recipe, task, conversational=False)], folder)


def long(folder: Path, steps: int, *, width: int = 512, layers: int = 6) -> Case:
    recipe = Recipe(max_steps=steps, questions_per_step=1, max_completion_length=64, save_steps=10**6)
    tokenizer = build_tokenizer([" ".join(WORDS)])
    pad, end = (tokenizer.get_vocab()[token] for token in (PAD, END))
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 128,
        head_dim=64,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=pad,
        eos_token_id=end,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rng = np.random.default_rng(0)
    return Case(recipe, [" ".join(rng.choice(WORDS, 400)) for _ in range(steps)], folder)


CASES: dict[str, Callable[[Path, int], Case]] = {"lab": lab, "long": long, "large": partial(long, width=768, layers=14)}


def run(kind: type[GRPOTrainer], case: Case, folder: Path) -> tuple[np.ndarray, dict[str, float]]:
    """Median seconds of a step (wall clock, processor) and the processor seconds of its parts."""
    trainer = kind(
        model=AutoModelForCausalLM.from_pretrained(case.model, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(case.model, padding_side="left"),
        reward_funcs=constant,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in case.prompts]),
        args=trl_config(case.recipe, folder),
    )
    for shown in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(shown)
    trainer.generation_config.min_new_tokens = case.recipe.max_completion_length
    clock = Clock()
    trainer.add_callback(clock)
    parts: dict[str, Timed] = {}
    for part, name in PARTS.items():
        owner = trainer.accelerator if part == "backward" else trainer
        parts[part] = Timed(getattr(owner, name))
        setattr(owner, name, parts[part])
    trainer.train()
    steps = np.diff(clock.marks, axis=0)[UNTIMED_STEPS:]
    of_parts = {}
    for part, timed in parts.items():
        first = len(timed.spent) * UNTIMED_STEPS // case.recipe.max_steps
        of_parts[part] = float(np.sum(timed.spent[first:], axis=0)[1] / len(steps))
    return np.median(steps, axis=0), of_parts


def measure(name: str, rounds: int, steps: int, folder: Path) -> str:
    """Run a case, print each round, and return the summary."""
    case = CASES[name](folder / name, steps + UNTIMED_STEPS)
    found: dict[str, list[tuple[np.ndarray, dict[str, float]]]] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        case = replace(case, recipe=replace(case.recipe, seed=number))
        for kind in list(KINDS)[:: 1 if number % 2 else -1]:
            found[kind].append(run(KINDS[kind], case, folder / f"{name}-{kind}-{number}"))
        (stock, _), (ours, _) = found["stock"][-1], found["ours"][-1]
        print(
            f"{name}, round {number + 1}: stock {stock[0]:.2f} s, ours {ours[0]:.2f} s a step; "
            f"ratio {stock[0] / ours[0]:.2f}, in processor time {stock[1] / ours[1]:.2f}",
            flush=True,
        )
    ratios = np.median([s[0] / o[0] for s, o in zip(found["stock"], found["ours"], strict=True)], axis=0)
    lines = [f"{name}: {case.recipe.completions_per_step} completions of {case.recipe.max_completion_length} tokens"]
    for kind, results in found.items():
        wall, processor = np.median([seconds for seconds, _ in results], axis=0)
        split = {part: float(np.median([parts[part] for _, parts in results])) for part in PARTS}
        rest = processor - sum(split.values())
        told = ", ".join(f"{part} {seconds:.2f}" for part, seconds in {**split, "rest": rest}.items())
        lines.append(f"  {kind:6} {wall:6.2f} s a step, {processor:6.2f} s of processor time: {told}")
    outcome = "" if name != "long" else f"   target {TARGET}: {'reached' if ratios[0] >= TARGET else 'MISSED'}"
    lines.append(f"  {ratios[0]:.2f} times as fast; in processor time {ratios[1]:.2f}{outcome}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["lab", "long"])
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs, one of each trainer")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of a run, after an untimed one")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)
    with tempfile.TemporaryDirectory() as name:
        summaries = [measure(case, options.rounds, options.steps, Path(name)) for case in options.cases]
    print("\n" + "\n".join(summaries))


if __name__ == "__main__":
    main()
