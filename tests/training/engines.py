"""Training in several processes of accelerate on a CPU, with completions that do not depend on the model.

As a program, which accelerate starts in every process: ``engines.py OPTIONS.json RUN [FLAG ...]``. Flags: ``sampled``
samples from the model, in the second process longer completions than in the first; ``dies`` ends the second process in
step 3; ``resume`` goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LAUNCH: Mapping[str, Sequence[str]] = {
    "one": ["--num_processes", "1", "--cpu"],
    "ddp": ["--multi_gpu", "--num_processes", "2"],
    "fsdp2": [
        *("--num_processes", "2", "--use_fsdp", "--fsdp_version", "2", "--fsdp_reshard_after_forward", "true"),
        *("--fsdp_state_dict_type", "SHARDED_STATE_DICT", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP"),
    ],
    **{f"zero{stage}": ["--num_processes", "2", "--use_deepspeed", "--zero_stage", str(stage)] for stage in (1, 2, 3)},
}
"""Options of `accelerate launch`; FSDP keeps sharded checkpoints, as `accelerate config` proposes."""
DRINKS = ("tea", "milk", "water", "juice", "cocoa", "cider")
QUESTIONS = (("tea", "milk"), ("water", "juice", "cocoa"), ("cider", "tea"), ("milk", "juice"))
SHARING = "sharing.json"


def write_options(folder: Path, **changes: Any) -> Path:
    """Options of three steps on a tiny model that knows nothing, as a file."""
    from polymode.prompts import build_prompt
    from polymode.training.lab_model import LabModelSize, build_model, build_tokenizer

    prompt = build_prompt("likes", 2, confidence=True, style="brief")
    tags = "<answer1></answer1><confidence1></confidence1><answer2></answer2><confidence2></confidence2>"
    tokenizer = build_tokenizer([prompt, tags, *DRINKS, "<think> </think>", "0.2 0.5 0.8"])
    build_model(tokenizer, LabModelSize(32, 2, 2, 64, 128), seed=0).save_pretrained(folder / "start")
    tokenizer.save_pretrained(folder / "start")
    rows = [{"question": f"likes {' '.join(drinks)}", "references": drinks} for drinks in QUESTIONS]
    (folder / "drinks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = {
        "task": "records",
        "data": str(folder / "drinks.jsonl"),
        "task_options": {"style": "brief", "validation": 0.0, "test": 0.0},
        "model": str(folder / "start"),
        **{"k": 2, "max_steps": 3, "questions_per_step": 4, "num_generations": 4, "device_batch": 4},
        **{"learning_rate": 1e-2, "max_completion_length": 40, "save_steps": 2, "seed": 5},
        # Adam divides by the root of the squared gradient: where that is no more than rounding, so would the step be.
        "trl": {"adam_epsilon": 1e-4},
        **changes,
    }
    (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
    return folder / "options.json"


def start(engine: str, script: Path | str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    """Run a script in the processes of an engine, which talk through gloo where there is no GPU."""
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1", "--mixed_precision", "no"),
        *("--dynamo_backend", "no", "--main_process_port", "0", *LAUNCH[engine]),
        *(str(script), *map(str, arguments)),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)


def launch(engine: str, options: Path, run: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Train with an engine; the child's own exit status and words."""
    return start(engine, __file__, options, run, *flags)


def lines_of(run: Path) -> list[dict[str, Any]]:
    """The line of each step."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def check_equal(run: Path, alone: Path, start: Path) -> None:
    """The steps and the weights are those of one process, whose weights have moved a thousand times as far."""
    import pytest
    import torch
    from transformers import AutoModelForCausalLM

    for line, expected in zip(lines_of(run), lines_of(alone), strict=True):
        for figure in ("loss", "grad_norm", "reward"):
            assert line[figure] == pytest.approx(expected[figure], rel=1e-4, abs=1e-6), (expected["step"], figure)
    found, expected, before = (
        AutoModelForCausalLM.from_pretrained(str(folder)).state_dict()
        for folder in (run / "model", alone / "model", start)
    )
    moved = max((expected[name] - before[name]).abs().max().item() for name in before)
    assert found.keys() == expected.keys() and moved > 1e-2
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.0, atol=1e-5)


def completion(step: int, i: int) -> str:
    """The i-th completion of a step: lengths, answers and confidences differ, some are malformed."""
    drinks = [DRINKS[(i + j + step) % 6] for j in range(1 + (3 * i + step) % 6)]
    slots = [
        f"<answer{k}>{DRINKS[(i + k * (1 + step)) % 6]}</answer{k}>"
        f"<confidence{k}>{('0.2', '0.5', '0.8')[(i + k) % 3]}</confidence{k}>"
        for k in (1, 2)
    ]
    return f"<think> {' '.join(drinks)} </think>{''.join(slots)}"


def _choose_backend() -> None:
    """What accelerate and DeepSpeed would not do by themselves where there is no GPU."""
    import torch

    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        import deepspeed  # type: ignore[import-not-found]

        # An extension for shared memory, compiled when first used; gloo does without.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # type: ignore[attr-defined]
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        from accelerate import DistributedType, PartialState

        # accelerate leaves FSDP out on CPUs and trains with DDP: make it take them for GPUs.
        torch.distributed.init_process_group("gloo")
        PartialState._prepare_backend = lambda self, *_, **__: ("gloo", DistributedType.MULTI_GPU)  # type: ignore
        PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))


def main(options: str, run: str, *flags: str) -> None:
    """One process of a run."""
    _choose_backend()
    from polymode.training.recipe import recipe_from
    from polymode.training.rl import train
    from polymode.training.sharding import leave_together
    from polymode.training.shared_prompt import SharedPromptTrainer

    stock = SharedPromptTrainer._generate_single_turn

    def generate(self: Any, prompt_ids: list[list[int]], *rest: Any, **named: Any) -> Any:
        process, step = self.accelerator.process_index, self.state.global_step
        if process == 0:
            sharing = {"sampling": self._fits, "loss": self._shares}
            Path(run, SHARING).write_text(json.dumps(sharing), encoding="utf-8")
        if "dies" in flags and process == 1 and step == 2:
            os._exit(1)
        if "sampled" in flags:
            self.generation_config.max_new_tokens = 8 + 4 * process
            return stock(self, prompt_ids, *rest, **named)
        tokenizer, first = self.processing_class, process * len(prompt_ids)
        texts = [completion(step, i) for i in range(first, first + len(prompt_ids))]
        return [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts], None

    SharedPromptTrainer._generate_single_turn = generate  # type: ignore[method-assign]
    recipe = recipe_from(json.loads(Path(options).read_text(encoding="utf-8")))
    train(recipe, Path(run), resume="resume" in flags)
    leave_together()


if __name__ == "__main__":
    main(*sys.argv[1:])
