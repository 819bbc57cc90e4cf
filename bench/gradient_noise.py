"""Contribution of each kind of token to the gradient noise of a step, for each credit.

    python bench/gradient_noise.py --task clinic --batches 16
    python bench/gradient_noise.py --task hops --temperature 1 --model runs/hops/model

Samples the completions of several steps from one model and decomposes the policy gradient of each step into that of
the reasoning tokens, the answers and the confidences. Over the steps::

    noise  = sqrt(E |g - E g|^2)        signal = |E g|, without what its own noise adds

Adam divides by roughly the noise of the whole gradient, so a part learns at a speed of its signal over that noise.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from polymode.credit import term_advantages, token_parts
from polymode.decoding.texts import CompletionDecoder
from polymode.decoding.token_starts import TokenStarts
from polymode.generate import sample_completions
from polymode.generate.transformers import TransformersGenerator
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.prompts import build_prompt
from polymode.reproduce.plans import CLINIC, DIAGNOSIS, HOPS
from polymode.rewards import score_set
from polymode.rewards.slots import slot_scores
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import task_for, verifier_for
from polymode.training.warm_start import lab_model
from polymode.types import Completion

TASKS = {"clinic": CLINIC, "hops": HOPS, "diagnosis": DIAGNOSIS}
FIRST_SEED = 1000
PARTS = ("reasoning", "answers", "confidences")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="clinic", choices=list(TASKS))
    parser.add_argument("--model", default=None, help="folder; the warm start by default")
    parser.add_argument("--questions", type=int, default=64, help="of a step")
    parser.add_argument("--group", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--batches", type=int, default=16, help="steps to draw")
    options = parser.parse_args()
    recipe = replace(
        TASKS[options.task],
        questions_per_step=options.questions,
        num_generations=options.group,
        temperature=options.temperature,
        device_batch=None,
    )
    generator = TransformersGenerator(options.model or lab_model(task_for(recipe), recipe), show_progress=False)
    sums: dict[tuple[str, str], torch.Tensor] = {}
    squares: dict[tuple[str, str], float] = {}
    for batch in tqdm(range(options.batches), unit="step"):
        for key, gradient in step_gradients(recipe, generator, FIRST_SEED + batch).items():
            sums[key] = sums.get(key, torch.zeros_like(gradient)) + gradient
            squares[key] = squares.get(key, 0.0) + float((gradient**2).sum())
    n = options.batches
    print(f"{'credit':10}{'tokens':13}{'noise':>10}{'signal':>10}   (of gradients x 1000, {n} steps)")
    for (credit, part), total in sums.items():
        of_mean = float(((total / n) ** 2).sum())
        variance = (squares[credit, part] / n - of_mean) * n / (n - 1)
        signal = max(of_mean - variance / n, 0.0) ** 0.5
        print(f"{credit:10}{part:13}{1000 * variance**0.5:>10.2f}{1000 * signal:>10.2f}")
    return 0


def step_gradients(recipe: Recipe, generator: TransformersGenerator, seed: int) -> dict[tuple[str, str], torch.Tensor]:
    """Gradients of one step by credit and kind of token, and of all tokens."""
    task = task_for(recipe)
    examples = task.examples("train", recipe.questions_per_step, seed=seed)
    completions = sample_completions(
        examples,
        generator,
        k=recipe.k,
        confidence=True,
        samples=recipe.num_generations,
        max_tokens=recipe.max_completion_length,
        temperature=recipe.temperature,
        seed=seed,
        style=task.prompt_style,
    )
    tokens = [generator.tokenizer.encode(one.text, add_special_tokens=False) for one in completions]
    advantages, parts = of_tokens(recipe, completions, tokens, generator.tokenizer)
    log_p = log_probabilities(recipe, generator, completions, tokens, str(task.prompt_style))
    n_tokens = sum(map(len, tokens))
    kinds = {
        "reasoning": parts == 0,
        "answers": (parts > 0) & (parts <= recipe.k),
        "confidences": parts > recipe.k,
    }
    weights = [parameter for parameter in generator.model.parameters() if parameter.requires_grad]
    out: dict[tuple[str, str], torch.Tensor] = {}
    for credit, of_credit in advantages.items():
        for kind, is_kind in kinds.items():
            loss = -(log_p * of_credit * is_kind).sum() / n_tokens
            gradients = torch.autograd.grad(loss, weights, retain_graph=True)
            out[credit, kind] = torch.cat([gradient.flatten() for gradient in gradients])
        out[credit, "all"] = torch.stack([out[credit, kind] for kind in PARTS]).sum(0)
    return out


def of_tokens(
    recipe: Recipe, completions: list[Completion], tokens: list[list[int]], tokenizer: Any
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Advantages of every token by credit, and its part (-1: padding), each of shape (completions, tokens)."""
    verifier, reward, starts = (
        verifier_for(recipe, task_for(recipe)),
        recipe.reward,
        TokenStarts(CompletionDecoder(tokenizer)),
    )
    scores = []
    for one in completions:
        answers = parse_answers(one.text, recipe.k, confidence=True, finished=one.is_finished)
        scores.append(score_set(judge(one.example, answers, verifier), reward))
    of_parts = term_advantages(slot_scores(scores, reward, recipe.k), recipe.num_generations)
    parts = np.full((len(tokens), max(map(len, tokens))), -1)
    term = np.zeros(parts.shape, dtype=np.float32)
    for row, (score, one, ids) in enumerate(zip(scores, completions, tokens, strict=True)):
        found = token_parts(score.answer_set, one.text, starts(ids, one.text), recipe.k)
        parts[row, : len(ids)], term[row, : len(ids)] = found, of_parts[row, found]
    sequence = np.broadcast_to(of_parts[:, :1], parts.shape).astype(np.float32)
    return {"sequence": torch.from_numpy(sequence), "term": torch.from_numpy(term)}, torch.from_numpy(parts)


def log_probabilities(
    recipe: Recipe, generator: TransformersGenerator, completions: list[Completion], tokens: list[list[int]], style: Any
) -> torch.Tensor:
    """Log-probability of every token at the temperature of the sampling, shape (completions, tokens)."""
    prompts = [
        generator.tokenizer.encode(
            build_prompt(one.example.question, recipe.k, confidence=True, exclusive=one.example.exclusive, style=style),
            add_special_tokens=False,
        )
        for one in completions
    ]
    longest, width = max(map(len, prompts)), max(map(len, tokens))
    pad = generator.tokenizer.pad_token_id
    ids = torch.full((len(prompts), longest + width), pad)
    mask = torch.zeros_like(ids)
    for row, (prompt, completion) in enumerate(zip(prompts, tokens, strict=True)):
        ids[row, longest - len(prompt) : longest + len(completion)] = torch.tensor(prompt + completion)
        mask[row, longest - len(prompt) : longest + len(completion)] = 1
    logits = generator.model(input_ids=ids, attention_mask=mask).logits[:, longest - 1 : -1]
    log_p = torch.log_softmax(logits / recipe.temperature, -1).gather(-1, ids[:, longest:, None])[..., 0]
    return log_p * mask[:, longest:]


if __name__ == "__main__":
    sys.exit(main())
