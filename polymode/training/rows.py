"""The rows of a training data set: prompts as the model reads them, references and K, and whether they fit."""

from __future__ import annotations

import json
from hashlib import sha256
from itertools import count
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from polymode.chat import check_reading, has_template
from polymode.distributions import distribution_of
from polymode.errors import ConfigError
from polymode.prompts import encodable, prompt_for, style_of
from polymode.rewards import METHODS
from polymode.tasks import Task, examples_of
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import chat_for

Learns = Literal["both", "answers", "confidences"]
LEARNS = "learns"
"""Column that says what the completions of a row train (``confidence_questions``); without it both."""
_K_DRAW = 4_001
"""Tells the draw of K from other draws of the same seed."""


def rows_of(recipe: Recipe, task: Task, *, conversational: bool) -> list[dict[str, Any]]:
    """One row per question, enough for all steps; a finite task is read again, shuffled anew, when it runs out."""
    needed = recipe.max_steps * recipe.questions_per_step
    method = METHODS[recipe.method]
    style = style_of(recipe.prompt_style, recipe.format, task.prompt_style)
    chat = chat_for(recipe, task)
    # K of each question does not depend on how often a finite task is read again.
    rng = np.random.default_rng([recipe.seed, _K_DRAW])
    ks_N = rng.choice(recipe.k_choices or (recipe.k,), size=needed).tolist()
    rows: list[dict[str, Any]] = []
    has_soft = False
    visited: set[str] = set()
    for epoch in count():
        examples = examples_of(task, "train", needed - len(rows), seed=recipe.seed + 7919 * epoch, target=recipe.target)
        if not examples:
            raise ConfigError(f"task {recipe.task!r} has no training examples")
        for example, k in zip(examples, ks_N[len(rows) :], strict=False):
            prompt = prompt_for(example, method.answers(k), confidence=method.has_confidence, style=style)
            row: dict[str, Any] = {
                "prompt": chat.messages(prompt) if conversational else chat.plain(prompt),
                "references": json.dumps([{"text": ref.text, "aliases": ref.aliases} for ref in example.references]),
                "question": encodable(example.question),
                "question_id": encodable(example.id),
            }
            soft = example.target == "distribution"  # a column stands in all rows or in none
            has_soft |= soft
            row |= {"target": example.target, "distribution": json.dumps(distribution_of(example)) if soft else ""}
            if recipe.confidence_questions != "all":
                row[LEARNS] = _learns(recipe, row["question_id"], is_first=row["question_id"] not in visited)
                visited.add(row["question_id"])
            rows.append(row | ({"k": k} if recipe.k_choices else {}))
        if len(rows) >= needed:
            break
    if not has_soft:
        for row in rows:
            del row["target"], row["distribution"]
    return rows


def _learns(recipe: Recipe, question_id: str, *, is_first: bool) -> Learns:
    """What a visit of a question trains.

    Answers to questions that were trained on are right more often than others, so confidences learnt there would be too
    high elsewhere.
    """
    if recipe.confidence_questions == "first":
        return "both" if is_first else "answers"
    # By the id, so that every visit, process and resumed run agrees.
    share = int.from_bytes(sha256(f"{recipe.seed}:{question_id}".encode()).digest()[:8], "big") / 2**64
    return "confidences" if share < recipe.apart_share else "answers"


def longest_prompt(rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> int:
    """Tokens of the longest prompt, with what the chat template adds."""
    prompts = [with_template(row["prompt"], tokenizer, recipe) for row in rows]
    adds = not has_template(tokenizer)  # a chat template writes the special tokens itself
    return max(len(tokenizer.encode(text, add_special_tokens=adds)) for text in prompts)


def check_room(
    recipe: Recipe, task: Task, tokenizer: PreTrainedTokenizerBase, longest: int, context: int | None
) -> None:
    """Refuse a model that cannot read the prompts or write what they ask for, before hours are spent."""
    limit = recipe.max_completion_length
    room = check_reading(
        tokenizer,
        context,
        longest,
        k=recipe.answers,
        confidence=METHODS[recipe.method].has_confidence,
        style=style_of(recipe.prompt_style, recipe.format, task.prompt_style),
        max_tokens=limit,
        has_shots=bool(recipe.shots),
    )
    if room < limit:
        raise ConfigError(
            f"max_completion_length = {limit} after a prompt of {longest} tokens, and the model reads {context}: lower "
            f"max_completion_length to {room}, shorten the prompts, or use a model with a longer context"
        )


def with_template(prompt: Any, tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> str:
    """The text that the model goes on from."""
    if not has_template(tokenizer):
        return prompt
    template: Any = tokenizer.apply_chat_template  # a text, where tokenize is False
    return template(prompt, tokenize=False, add_generation_prompt=True, **recipe.chat_template)
