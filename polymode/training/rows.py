"""The rows of a training data set: prompts as the model reads them, references and K, and whether they fit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, overload

import numpy as np
import pyarrow as pa
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from polymode.chat import has_template
from polymode.distributions import distribution_of
from polymode.errors import ConfigError
from polymode.fingerprints import plain_text
from polymode.format_checks import check_reading
from polymode.prompts import Style, encodable, prompt_for
from polymode.rewards import METHODS
from polymode.tasks import Task, examples_of
from polymode.training.recipe import Recipe
from polymode.training.recipe_parts import chat_for, style_for
from polymode.types import Example

Row = dict[str, Any]
ROW = "row"
"""Column of the numbers of rows that are not yet made."""
BLOCK = 16_384
"""Questions that are drawn at a time from a task without an end."""
Learns = Literal["both", "answers", "confidences"]
LEARNS = "learns"
"""Column that says what the completions of a row train (``confidence_questions``); without it both."""
_K_DRAW = 4_001
"""Tells the draw of K from other draws of the same seed."""


class TrainingRows(Sequence[Row]):
    """One row per question, enough for all steps, each made when it is read.

    A finite task is read again, shuffled anew, when it runs out; one without an end is drawn in blocks of `BLOCK`. Only
    the examples of two readings are held at a time, so neither memory nor the time before the first step depends on how
    long the run is.

    Args:
        recipe: names the questions, how many, and what is asked of each.
        task: whose training questions they are.
        conversational: whether prompts are messages.

    Raises:
        ConfigError: the task has no training questions; or, while reading, what its questions raise.
    """

    def __init__(self, recipe: Recipe, task: Task, *, conversational: bool) -> None:
        self._recipe, self._task, self._is_conversational = recipe, task, conversational
        self._method = METHODS[recipe.method]
        self._style: Style = style_for(recipe, task)
        self._chat = chat_for(recipe, task)
        self._n = recipe.max_steps * recipe.questions_per_step
        self._size = size_of(task, recipe.seed)
        if self._size == 0:
            raise ConfigError(f"task {recipe.task!r} has no training examples")
        self.n_reading = self._size or BLOCK
        """Rows after which a finite task begins anew, or the next block is drawn."""
        self._readings: dict[int, _Reading] = {}
        self._keys: set[int] = set()
        """Hashes of the questions of all blocks so far, for `_firsts`."""
        self._first_places: list[frozenset[int]] = []
        # A column stands in all rows or in none.
        self._has_soft = any(example.target == "distribution" for example in self._reading(0).examples)

    def __getstate__(self) -> dict[str, Any]:
        """What datasets makes a fingerprint of: not the questions, which may be millions."""
        return {"recipe": self._recipe, "conversational": self._is_conversational}

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        places = range(self._n)[index]
        return self._row(places) if isinstance(places, int) else [self._row(place) for place in places]

    def first_reading(self) -> Iterator[Row]:
        """Every row before a question can come again."""
        return (self._row(place) for place in range(min(self._n, self.n_reading)))

    def describe_repeats(self) -> str:
        """A warning where verdicts stop to train confidences before the run ends, else ""."""
        recipe = self._recipe
        if recipe.confidence_questions != "first" or self._size is None or self._n <= self._size:
            return ""
        last = -(-self._size // recipe.questions_per_step)
        return (
            f"warning: confidence_questions = first: the {self._size:,} training questions have all been visited after "
            f"step {last:,}, so no verdict trains confidences in the {recipe.max_steps - last:,} steps behind it, and "
            "what they state may drift: train that many steps, give confidence_questions: apart, or end with replay"
        )

    def columns(self, batch: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        """The rows whose numbers stand in the column `ROW`, for `datasets.Dataset.with_transform`."""
        rows = [self._row(place) for place in batch[ROW]]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def as_dataset(self) -> Dataset:
        """What TRL takes: the numbers of the rows, which become rows when they are read."""
        table = pa.table({ROW: np.arange(self._n)})
        # Its own fingerprint would be made from a copy of the whole table.
        return Dataset(table, fingerprint=f"{ROW}-{self._n}").with_transform(self.columns)

    def _reading(self, number: int) -> _Reading:
        if number not in self._readings:
            recipe = self._recipe
            n = min(self.n_reading, self._n - number * self.n_reading)
            seed = recipe.seed + 7919 * number
            examples = examples_of(self._task, "train", n, seed=seed, target=recipe.target)
            rng = np.random.default_rng([recipe.seed, _K_DRAW, *([number] if number else [])])
            ks_N = rng.choice(recipe.k_choices or (recipe.k,), size=n).tolist()
            self._readings.pop(number - 2, None)  # a batch may lie in two readings
            self._readings[number] = _Reading(examples, ks_N)
        return self._readings[number]

    def _firsts(self, number: int) -> frozenset[int]:
        """Places in a reading whose question stands nowhere before, under no id; also in a task without an end."""
        if self._size is not None and number:  # the first reading had every question of a finite task
            return frozenset()
        for block in range(len(self._first_places), number + 1):
            keys = [hash(question_key(one.question, one.id)) for one in self._reading(block).examples]
            first_of = {key: place for place, key in reversed(list(enumerate(keys))) if key not in self._keys}
            self._keys.update(first_of)
            self._first_places.append(frozenset(first_of.values()))
        return self._first_places[number]

    def _row(self, place: int) -> Row:
        number, index = divmod(place, self.n_reading)
        reading, recipe = self._reading(number), self._recipe
        example, k = reading.examples[index], reading.ks_N[index]
        prompt = prompt_for(example, self._method.answers(k), confidence=self._method.has_confidence, style=self._style)
        row: Row = {
            "prompt": self._chat.messages(prompt) if self._is_conversational else self._chat.plain(prompt),
            "references": json.dumps([{"text": ref.text, "aliases": ref.aliases} for ref in example.references]),
            "question": encodable(example.question),
            "question_id": encodable(example.id),
        }
        if self._has_soft:
            soft = example.target == "distribution"
            row |= {"target": example.target, "distribution": json.dumps(distribution_of(example)) if soft else ""}
        if recipe.confidence_questions != "all":
            is_first = recipe.confidence_questions == "first" and index in self._firsts(number)
            row[LEARNS] = learns(recipe, question_key(example.question, row["question_id"]), is_first=is_first)
        return row | ({"k": k} if recipe.k_choices else {})


@dataclass(frozen=True)
class _Reading:
    """One pass over a finite task, or a block of one without an end."""

    examples: Sequence[Example]
    ks_N: list[int]


def question_key(question: str, question_id: str) -> str:
    """What a question is known by, whatever its id: its text; the id of one without."""
    return plain_text(question) or question_id


def is_apart(key: str, seed: int, share: float) -> bool:
    """Whether a question belongs to the ``share`` apart, on which confidences alone are learnt.

    By its key (`question_key`), so that every visit, process and resumed run agrees, and a repeat under another id.
    """
    digest = sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def size_of(task: Task, seed: int) -> int | None:
    """Training questions of a finite task; None for one without an end, which wants to know how many to draw."""
    try:
        return len(task.examples("train", None, seed=seed))
    except ConfigError:
        return None


def learns(recipe: Recipe, key: str, *, is_first: bool) -> Learns:
    """What a visit of a question trains.

    Answers to questions that were trained on are right more often than others, so confidences learnt there would be too
    high elsewhere.
    """
    if recipe.confidence_questions == "first":
        return "both" if is_first else "answers"
    return "confidences" if is_apart(key, recipe.seed, recipe.apart_share) else "answers"


def longest_prompt(rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> int:
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
        style=style_for(recipe, task),
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
