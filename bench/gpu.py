"""Everything that only a GPU can tell, in one command of under 8 minutes on one card and a bare machine.

    python bench/gpu.py --out gpu.json                       needs the extra train; nothing is downloaded
    python bench/gpu.py --model FOLDER --out gpu.json        and 60 steps of training, for example of scripts/smollm2's
    python bench/gpu.py --tiny                               the same code on small shapes, on a CPU too (tests/bench)

Parts, in this order; each is printed when it is done, and one that fails, or for which too little time is left
(--seconds), says so and leaves the others alone. Weights are random; only their shape (that of Qwen3-0.6B) matters.

    log_probs   log-probabilities of the shared-prompt path beside those of whole sequences: largest difference
    sampling    tokens a second of our sampling and of transformers' generate, 16 questions x 16 completions, prompts of
                100 and 1,000 tokens
    step        seconds of a training step, ours and stock TRL, with activation checkpointing off and on
    memory      peak memory of sampling 256 completions of 768 tokens, beside what polymode.training.memory computes
    vllm        tokens a second of vLLM on the same prompts, where it is installed
    train       60 steps of the model in FOLDER on list-questions: first and last reward, seconds a step
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from polymode import runs
from polymode.decoding.sampling import sample_tokens
from polymode.decoding.settings import Settings
from polymode.prompts import write_answers
from polymode.training.lab_model import END, PAD, build_tokenizer
from polymode.training.memory import Layout, estimate
from polymode.training.recipe import Recipe
from polymode.training.rl import train
from polymode.training.shapes import from_config
from polymode.training.shared_forward import shared_log_probs

sys.path.insert(0, str(Path(__file__).parent))
import step_time  # pyright: ignore[reportMissingImports]  # the script next to this one

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, slots=True)
class Scale:
    """How large everything is."""

    layers: int = 28
    width: int = 1024
    inner: int = 3072
    heads: int = 16
    kv_heads: int = 8
    head: int = 128
    vocabulary: int = 151_936
    questions: int = 16
    group: int = 16
    prompts: tuple[int, ...] = (100, 1000)
    tokens: int = 256
    """Of a completion, in the parts sampling and vllm."""
    step_questions: int = 4
    step_prompt: int = 400
    step_tokens: int = 128
    steps: int = 2
    """Timed steps of each trainer."""
    rows: int = 256
    """Completions of the part memory."""
    longest: int = 768
    train_steps: int = 60


TINY = Scale(2, 32, 64, 2, 1, 16, 3000, 2, 4, (6, 12), 5, 1, 12, 6, 1, 8, 12, 1)


@dataclass(slots=True)
class Bench:
    """What the parts share."""

    scale: Scale
    folder: Path
    """Holds the random model."""
    weights: Path | None
    """A real model, for the part train."""
    work: Path

    def load(self, dtype: torch.dtype) -> Any:
        """The random model."""
        model: Any = AutoModelForCausalLM.from_pretrained(self.folder, dtype=dtype)
        return model.to(DEVICE).eval()

    @property
    def dtype(self) -> torch.dtype:
        """What sampling computes in."""
        return torch.bfloat16 if DEVICE == "cuda" else torch.float32

    def prompts(self, n: int, length: int) -> list[list[int]]:
        """Random prompts, each for a group of completions."""
        rng = np.random.default_rng(length)
        questions = rng.integers(10, 1000, (n, length)).tolist()
        return [question for question in questions for _ in range(self.scale.group)]


def make_model(scale: Scale, folder: Path) -> None:
    """A random Qwen3 of the scale's shape, with a tokenizer of some words."""
    lines = write_answers(["0"] * 3, ["0.50"] * 3, "brief-lines")  # the part train checks that they can be written
    tokenizer = build_tokenizer([" ".join(step_time.WORDS), lines])
    pad, end = (tokenizer.get_vocab()[token] for token in (PAD, END))
    config = Qwen3Config(
        vocab_size=scale.vocabulary,
        hidden_size=scale.width,
        intermediate_size=scale.inner,
        num_hidden_layers=scale.layers,
        num_attention_heads=scale.heads,
        num_key_value_heads=scale.kv_heads,
        head_dim=scale.head,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        pad_token_id=pad,
        eos_token_id=end,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    with torch.device(DEVICE), torch.no_grad():
        model = Qwen3ForCausalLM(config)
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(3)  # fresh weights say nearly the same of every token
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def seconds(function: Callable[[], Any]) -> float:
    """Time of a call, the device's work included."""
    wait()
    start = time.perf_counter()
    function()
    wait()
    return time.perf_counter() - start


def wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def free() -> None:
    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak() -> int:
    """Most bytes so far: of the card's tensors, or of this process."""
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def log_probs(bench: Bench) -> dict[str, float]:
    """Largest and mean difference of log-probabilities, by dtype."""
    scale, out = bench.scale, {}
    prompts = torch.tensor(bench.prompts(2, scale.prompts[0]), device=DEVICE)
    generator = torch.Generator().manual_seed(1)
    completions = torch.randint(10, 1000, (len(prompts), scale.step_tokens), generator=generator).to(DEVICE)
    ids = torch.cat([prompts, completions], 1)
    mask = torch.ones_like(ids)
    for dtype in (torch.float32, torch.bfloat16):
        from trl.trainer.utils import add_fused_lm_head

        model = bench.load(dtype)
        add_fused_lm_head(model, temperature=1.0, outputs=("log_probs",))
        with torch.no_grad():
            shared = shared_log_probs(model, model, ids, mask, scale.step_tokens)
            assert shared is not None
            labels = ids.clone()
            labels[:, : prompts.shape[1]] = -100
            whole = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True).log_probs
        difference = (shared[0] - whole[:, -scale.step_tokens :]).abs().float()
        name = str(dtype).removeprefix("torch.")
        out |= {f"{name}, largest": float(difference.max()), f"{name}, mean": float(difference.mean())}
        del model
        free()
    return out


def sampling(bench: Bench) -> dict[str, float]:
    """Tokens a second in bfloat16 on a GPU, float32 on a CPU."""
    scale, out = bench.scale, {}
    model = bench.load(bench.dtype)
    settings = Settings(scale.tokens, 1.0, (), scale.tokens)
    config = GenerationConfig(
        max_new_tokens=scale.tokens, min_new_tokens=scale.tokens, do_sample=True, top_k=0, top_p=1.0, pad_token_id=0
    )
    for length in scale.prompts:
        prompts = bench.prompts(scale.questions, length)
        rows = torch.tensor(prompts, device=DEVICE)
        stock = {"input_ids": rows, "attention_mask": torch.ones_like(rows), "generation_config": config}
        ways: dict[str, Callable[[], Any]] = {
            "ours": lambda prompts=prompts: sample_tokens(model, prompts, settings),
            "generate": lambda stock=stock: model.generate(**stock),
        }
        for name, way in ways.items():
            try:
                with torch.inference_mode():
                    taken = seconds(way)
                out[f"{name}, prompt {length}"] = len(prompts) * scale.tokens / taken
            except torch.OutOfMemoryError:
                out[f"{name}, prompt {length}"] = float("nan")
            free()
    return out


def step(bench: Bench) -> dict[str, float]:
    """Median seconds of a step, after an untimed one."""
    scale, out = bench.scale, {}
    rng = np.random.default_rng(0)
    steps = scale.steps + step_time.UNTIMED_STEPS
    words = [" ".join(rng.choice(step_time.WORDS, scale.step_prompt)) for _ in range(steps * scale.step_questions)]
    for is_checkpointing in (False, True):
        recipe = Recipe(
            max_steps=steps,
            questions_per_step=scale.step_questions,
            num_generations=scale.group,
            device_batch=scale.group,
            max_completion_length=scale.step_tokens,
            dtype="bfloat16" if DEVICE == "cuda" else "float32",
            activation_checkpointing=is_checkpointing,
            save_steps=10**6,
        )
        for name, kind in step_time.KINDS.items():
            case = step_time.Case(recipe, words, bench.folder)
            label = f"{name}, checkpointing {'on' if is_checkpointing else 'off'}"
            try:
                (wall, _), _ = step_time.run(kind, case, bench.work / label.replace(", ", "-"))
                out[label] = float(wall)
            except torch.OutOfMemoryError:
                out[label] = float("nan")
            free()
    return out


def memory(bench: Bench) -> dict[str, float]:
    """Gigabytes at the peak of sampling beyond the weights, how many completions fit at once, and what is computed."""
    scale = bench.scale
    model = bench.load(bench.dtype)
    prompts = bench.prompts(max(1, scale.rows // scale.group), scale.prompts[0])
    free()
    before = torch.cuda.memory_allocated() if DEVICE == "cuda" else peak()
    settings = Settings(scale.longest, 1.0, (), scale.longest)
    taken = seconds(lambda: sample_tokens(model, prompts, settings))
    recipe = Recipe(
        task="clinic",
        model="random",
        questions_per_step=max(1, scale.rows // scale.group),
        num_generations=scale.group,
        max_completion_length=scale.longest,
    )
    layout = Layout(prompt_tokens=scale.prompts[0], number=model.dtype.itemsize)
    row = estimate(recipe, layout, from_config(model.config.to_dict(), "the random model")).row
    used = (peak() - before) / 1e9
    return {"GB at the peak": used, "GB computed, all at once": row * len(prompts) / 1e9, "seconds": taken}


def vllm(bench: Bench) -> dict[str, float]:
    """Tokens a second of vLLM with its defaults (CUDA graphs), after an untimed call."""
    from vllm import LLM, SamplingParams  # pyright: ignore[reportAttributeAccessIssue,reportMissingImports]

    scale = bench.scale
    engine = LLM(model=str(bench.folder), dtype="bfloat16", skip_tokenizer_init=True, max_model_len=2048)
    settings = SamplingParams(n=scale.group, max_tokens=scale.tokens, ignore_eos=True, detokenize=False)
    out = {}
    for length in scale.prompts:
        questions = [{"prompt_token_ids": ids} for ids in bench.prompts(scale.questions, length)[:: scale.group]]
        engine.generate(questions[:1], settings, use_tqdm=False)
        taken = seconds(lambda questions=questions: engine.generate(questions, settings, use_tqdm=False))
        out[f"vllm, prompt {length}"] = scale.questions * scale.group * scale.tokens / taken
    return out


def train_steps(bench: Bench) -> dict[str, float]:
    """Reward of the first and last tenth of the steps, and the median seconds of one."""
    recipe = Recipe(
        task="list-questions",
        model=str(bench.weights),
        method="multi-rlcr",
        prompt_style="brief",
        format="lines",
        max_steps=bench.scale.train_steps,
        questions_per_step=min(8, bench.scale.questions),
        num_generations=min(8, bench.scale.group),
        learning_rate=1e-5,
        max_completion_length=64 if bench.scale is not TINY else 8,
        save_steps=10**6,
    )
    folder = bench.work / "train"
    train(recipe, folder)
    lines = runs.read_steps(folder / runs.TRAIN_METRICS)
    rewards = [line["reward"] for line in lines]
    tenth = max(1, len(rewards) // 10)
    marks = [line["seconds"] for line in lines if "seconds" in line]
    gaps = np.diff([0.0, *marks]).tolist() if marks else [float("nan")]
    return {
        "reward, first steps": statistics.mean(rewards[:tenth]),
        "reward, last steps": statistics.mean(rewards[-tenth:]),
        "seconds a step": statistics.median(gaps),
    }


PARTS: dict[str, tuple[Callable[[Bench], dict[str, float]], float]] = {
    "log_probs": (log_probs, 20),
    "sampling": (sampling, 60),
    "step": (step, 90),
    "memory": (memory, 45),
    "vllm": (vllm, 100),
    "train": (train_steps, 60),
}
"""Each part and the seconds that must be left for it to begin."""


def run(bench: Bench, parts: Sequence[str], limit: float) -> dict[str, Any]:
    """The parts' figures by name; a text where a part gave none."""
    start, out = time.perf_counter(), {}
    for name in parts:
        part, needs = PARTS[name]
        left = limit - (time.perf_counter() - start)
        absent = (
            "vLLM is not installed" if name == "vllm" and find_spec("vllm") is None
            else "no --model was named" if name == "train" and bench.weights is None
            else f"{left:.0f} s left, it needs {needs:.0f}" if left < needs
            else None
        )  # fmt: skip
        if absent is None:
            try:
                out[name] = part(bench)
            except Exception as exc:  # one part's trouble must not cost the others, on a machine that is lent
                absent = f"{type(exc).__name__}: {' '.join(str(exc).split())[:200]}"
        if absent is not None:
            out[name] = f"not measured: {absent}"
        figures = out[name]
        shown = figures if isinstance(figures, str) else "; ".join(f"{key} {x:.4g}" for key, x in figures.items())
        print(f"{name}: {shown}", flush=True)
        free()
    return out


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small shapes, for a CPU")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--model", type=Path, help="folder of a real model, for the part train")
    parser.add_argument("--seconds", type=float, default=460.0, help="no part begins that would end later")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    options = parser.parse_args(arguments)
    if DEVICE == "cpu" and not options.tiny:
        parser.error("no CUDA GPU here: use --tiny, or run it where there is one")
    warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)
    scale = TINY if options.tiny else Scale()
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    print(f"{device}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        make_model(scale, Path(name) / "model")
        bench = Bench(scale, Path(name) / "model", options.model, Path(name))
        figures = run(bench, options.parts, options.seconds)
    result = {"device": device, "torch": torch.__version__, **figures}
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


if __name__ == "__main__":
    main()
