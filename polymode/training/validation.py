"""Validation questions during training: every n steps, in the method's own format, greedy and sampled.

The figures stand in the line of their step in metrics.jsonl, as ``validation/greedy/coverage`` and so on, the main ones
with the ends of their 95% interval (``coverage_low``, ``coverage_high``), and with what they cost: seconds, generated
tokens, questions. They change nothing of the training: the sampling has a seed of its own, so that a resumed run
measures the same, and takes nothing from the random states of the training.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from trl.models import unwrap_model_for_generation

from polymode.decoding.sampler import Sampler
from polymode.decoding.texts import opening_of
from polymode.errors import ConfigError
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.prompts import prompt_for
from polymode.rewards import METHODS, score_set
from polymode.tasks import Task, examples_of
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import chat_for, style_for
from polymode.training.reward import summarise
from polymode.training.sharding import has_whole_weights, name_of
from polymode.types import Example, Score
from polymode.uncertainty import Limits, bootstrap, mean_of_items
from polymode.verifiers import QuestionVerifier, Verifier, prepare_verifier

Measure = Callable[[int], Mapping[str, Any]]
_SEED = 7_127
"""Tells the sampling of validation from other sampling with the same seed."""
_LIMITS: Mapping[str, Limits] = {
    "coverage": (0.0, math.inf),
    "reward": (-math.inf, math.inf),
    "brier": (0.0, 1.0),
    "share_clean": (0.0, 1.0),
}
"""Least and largest possible value of the figures with intervals."""


def validation_examples(recipe: Recipe, task: Task) -> Sequence[Example]:
    """The validation questions of a recipe, the same in every measurement.

    Raises:
        ConfigError: the task has none.
        DataNotFoundError: of the task, likewise.
    """
    examples = examples_of(task, "validation", recipe.validation_questions, seed=recipe.seed, target=recipe.target)
    if not examples:
        raise ConfigError(
            f"validation_steps = {recipe.validation_steps}: task {recipe.task!r} has no validation questions; "
            "leave it out"
        )
    return examples


def validation_for(recipe: Recipe, task: Task, verifier: Verifier | QuestionVerifier, trainer: Any) -> Measure:
    """A function that measures the model of a trainer after a step, when it is its turn.

    Raises:
        ConfigError: no validation questions, or weights that are spread over processes.
    """
    if not has_whole_weights(trainer.accelerator):
        raise ConfigError(
            f"validation_steps = {recipe.validation_steps} needs the whole model in each process, not "
            f"{name_of(trainer.accelerator)}: set validation_steps: 0"
        )
    chat, tokenizer, method = chat_for(recipe, task), trainer.processing_class, METHODS[recipe.method]
    style = style_for(recipe, task)
    examples = validation_examples(recipe, task)
    choices = recipe.k_choices or (recipe.k,)
    ks = [method.answers(choices[i % len(choices)]) for i in range(len(examples))]
    prompts = [
        prompt_for(example, k, confidence=method.has_confidence, style=style)
        for example, k in zip(examples, ks, strict=True)
    ]
    ids = [chat.encode(tokenizer, prompt) for prompt in prompts]

    def sample(temperature: float, seed: int) -> list[tuple[str, int, bool]]:
        """Text, tokens and whether it is finished, of one completion of each question."""
        args = trainer.args
        kwargs = getattr(args, "activation_checkpointing_kwargs", None) or getattr(
            args, "gradient_checkpointing_kwargs", None
        )
        with (
            unwrap_model_for_generation(
                trainer.model_wrapped, trainer.accelerator, gradient_checkpointing_kwargs=kwargs
            ) as model,
            torch.random.fork_rng(),
            torch.no_grad(),
            trainer.accelerator.autocast(),
        ):
            torch.manual_seed(seed)
            was_training = model.training
            model.eval()
            sampler = Sampler(model, tokenizer, chat)
            rows = sampler.sample(ids, recipe.max_completion_length, temperature)
            model.train(was_training)
        return [
            (opening_of(tokenizer, prompt) + sampler.text_of(row), len(row), sampler.is_finished(row))
            for prompt, row in zip(ids, rows, strict=True)
        ]

    def score(texts: Sequence[tuple[str, int, bool]]) -> list[Score]:
        sets = [
            parse_answers(text, k, confidence=method.has_confidence, finished=is_finished)
            for (text, _, is_finished), k in zip(texts, ks, strict=True)
        ]
        ready = prepare_verifier(
            verifier, ((one, [answer.text for answer in s.answers]) for one, s in zip(examples, sets, strict=True))
        )
        return [score_set(judge(one, s, ready), recipe.reward) for one, s in zip(examples, sets, strict=True)]

    def measure(step: int) -> Mapping[str, Any]:
        if step % recipe.validation_steps and step != recipe.max_steps:
            return {}
        started, figures, n_tokens = time.perf_counter(), {}, 0
        for name, temperature in (("greedy", 0.0), ("sampled", recipe.temperature)):
            texts = sample(temperature, recipe.seed + _SEED)
            n_tokens += sum(n for _, n, _ in texts)
            scores = score(texts)
            own = summary_of(scores) | intervals_of(scores) | {"tokens": fmean(n for _, n, _ in texts)}
            figures |= {f"validation/{name}/{figure}": value for figure, value in own.items()}
        seconds = round(time.perf_counter() - started, 3)
        return figures | {
            "validation/questions": len(examples),
            "validation/tokens": n_tokens,
            "validation/seconds": seconds,
        }

    return measure


def summary_of(scores: Sequence[Score]) -> dict[str, float]:
    """Means over completions: reward, its terms, and what training reports of each step."""
    scored = [score for score in scores if score.total is not None]
    out = summarise(scores)
    if scored:
        out["reward"] = fmean(float(score.total or 0.0) for score in scored)
        for name in dict.fromkeys(name for score in scored for name in score.terms):
            out[f"term_{name}"] = fmean(score.terms.get(name, 0.0) for score in scored)
    return out


def intervals_of(scores: Sequence[Score]) -> dict[str, float]:
    """Ends of 95% intervals over questions of coverage, reward, Brier score and the share of clean completions.

    Args:
        scores: one of each question.
    """
    n = len(scores)
    scored = [(i, score) for i, score in enumerate(scores) if score.total is not None]
    items = {
        "coverage": [(i, float(score.judgement.coverage)) for i, score in scored],
        "reward": [(i, float(score.total or 0.0)) for i, score in scored],
        "brier": [
            (i, (answer.confidence - y) ** 2)
            for i, score in scored
            if score.answer_set.is_clean
            for answer, y in zip(score.answer_set.answers, score.judgement.labels, strict=True)
            if answer.confidence is not None and y is not None
        ],
        "share_clean": [(i, float(score.answer_set.is_clean)) for i, score in enumerate(scores)],
    }
    statistics = {
        name: mean_of_items(np.array([i for i, _ in own]), np.array([x for _, x in own]), n, limits=_LIMITS[name])
        for name, own in items.items()
        if own
    }
    estimates = bootstrap(statistics, n, rng=np.random.default_rng(0))
    ends = {f"{name}_{end}": getattr(one, end) for name, one in estimates.items() for end in ("low", "high")}
    return {name: value for name, value in ends.items() if math.isfinite(value)}
