"""Rows of a training data set are made when they are read: as many questions as needed, however long the run is."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

from polymode.errors import ConfigError
from polymode.tasks import Split, open_task
from polymode.training.recipe import Recipe
from polymode.training.rows import BLOCK, TrainingRows
from polymode.types import Example, Reference


class Drinks:
    """A finite task that counts the examples it hands out."""

    name, prompt_style = "drinks", "brief"

    def __init__(self, size: int) -> None:
        self.size, self.n_drawn = size, 0

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        del split
        n = self.size if n is None else min(n, self.size)
        self.n_drawn += n
        order = [(7 * i + seed) % self.size for i in range(n)]
        return [Example(str(i), f"drink {i}", (Reference("tea"),)) for i in order]


def test_a_finite_task_is_read_again_and_a_first_visit_is_known() -> None:
    recipe = Recipe(
        max_steps=5, questions_per_step=4, credit="expected", confidence_questions="first", num_generations=2
    )
    rows = TrainingRows(recipe, Drinks(9), conversational=False)  # type: ignore[arg-type]
    assert len(rows) == 20 and len(list(rows)) == 20
    ids = [row["question_id"] for row in rows]
    assert sorted(ids[:9]) == sorted(ids[9:18]) == [str(i) for i in range(9)]
    assert ids[:9] != ids[9:18] and len(set(ids[18:])) == 2
    assert [row["learns"] for row in rows] == ["both"] * 9 + ["answers"] * 11
    assert rows[19] == rows[-1] == rows[18:][1]


class Repeated(Drinks):
    """Each question stands under two ids, with other case and white space."""

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        found = super().examples(split, n, seed=seed)
        half = self.size // 2
        texts = {one.id: f"drink {int(one.id) % half}" for one in found}
        return [
            Example(one.id, f" {texts[one.id].upper()}" if int(one.id) < half else texts[one.id], one.references)
            for one in found
        ]


@pytest.mark.parametrize("mode", ["first", "apart"])
def test_a_question_under_another_id_is_the_same_question(mode: str) -> None:
    """Confidences of a repeat would be learnt on a question that answers were trained on."""
    share: dict[str, Any] = {"apart_share": 0.5} if mode == "apart" else {}
    recipe = Recipe(
        max_steps=10,
        questions_per_step=4,
        credit="expected",
        confidence_questions=mode,  # type: ignore[arg-type]
        num_generations=2,
        **share,
    )
    rows = list(TrainingRows(recipe, Repeated(20), conversational=False))  # type: ignore[arg-type]
    learns: dict[str, list[str]] = {}
    for row in rows:
        learns.setdefault(row["question"].strip().lower(), []).append(row["learns"])
    assert len(learns) == 10 and {len(of_one) for of_one in learns.values()} == {4}
    if mode == "first":
        assert all(of_one == ["both", "answers", "answers", "answers"] for of_one in learns.values())
    else:
        assert all(len(set(of_one)) == 1 for of_one in learns.values())
        assert {of_one[0] for of_one in learns.values()} == {"answers", "confidences"}


def test_what_is_read_does_not_depend_on_the_length_of_the_run() -> None:
    counts, peaks = [], []
    for steps in (100, 1_000_000):
        task = Drinks(50)
        tracemalloc.start()
        rows = TrainingRows(Recipe(max_steps=steps), task, conversational=False)  # type: ignore[arg-type]
        data = rows.as_dataset()
        read = [data[i] for i in range(120)]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        counts.append(task.n_drawn)
        assert read == rows[:120]
    assert counts[0] == counts[1]
    assert peaks[1] - peaks[0] < 9 * len(rows)  # a number of 8 bytes a row, in Arrow


def test_a_task_without_an_end_is_drawn_in_blocks() -> None:
    recipe = Recipe(max_steps=BLOCK // 64 + 1, questions_per_step=64, k_choices=(1, 2, 3))
    rows = TrainingRows(recipe, open_task("clinic"), conversational=False)
    task = open_task("clinic")
    assert rows.n_reading == BLOCK and len(rows) == BLOCK + 64
    first, later = task.examples("train", 3, seed=0), task.examples("train", 64, seed=7919)
    assert [row["question"] for row in rows[:3]] == [one.question for one in first]
    assert [row["question"] for row in rows[BLOCK:]] == [one.question for one in later]
    assert {row["k"] for row in rows[BLOCK:]} == {1, 2, 3}
    assert rows[2]["question"] == first[2].question  # backwards too


class Endless(Drinks):
    """A task without an end that draws from few questions."""

    def examples(self, split: Split, n: int | None = None, *, seed: int = 0) -> Sequence[Example]:
        del split
        if n is None:
            raise ConfigError("n = None: say how many")
        return [Example(f"{seed}-{i}", f"drink {(7 * i + seed) % self.size}", ()) for i in range(n)]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_task_without_an_end_repeats_questions_too(monkeypatch: pytest.MonkeyPatch, backwards: bool) -> None:
    monkeypatch.setattr("polymode.training.rows.BLOCK", 8)
    recipe = Recipe(
        max_steps=12, questions_per_step=4, credit="expected", confidence_questions="first", num_generations=2
    )
    rows = TrainingRows(recipe, Endless(23), conversational=False)  # type: ignore[arg-type]
    places = range(len(rows))[:: -1 if backwards else 1]  # a resumed run begins anywhere
    read = {place: rows[place] for place in places}
    visits: dict[str, list[str]] = {}
    for place in range(len(rows)):
        visits.setdefault(read[place]["question"], []).append(read[place]["learns"])
    assert len(rows) == 48 and len(visits) > 8  # more than one block has
    assert all(of_one == ["both"] + ["answers"] * (len(of_one) - 1) for of_one in visits.values())
    assert any(len(of_one) > 1 for of_one in visits.values())


def test_a_task_without_training_questions_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no training examples"):
        TrainingRows(Recipe(max_steps=1), Drinks(0), conversational=False)  # type: ignore[arg-type]


def test_steps_in_which_no_confidence_is_learnt_are_told() -> None:
    def told(steps: int, mode: Any) -> str:
        recipe = Recipe(
            max_steps=steps, questions_per_step=4, credit="expected", confidence_questions=mode, num_generations=2
        )
        return TrainingRows(recipe, Drinks(10), conversational=False).describe_repeats()  # type: ignore[arg-type]

    # 10 questions, 4 a step: all visited in step 3
    assert "the 10 training questions have all been visited after step 3" in told(7, "first")
    assert "in the 4 steps behind it" in told(7, "first")
    assert told(2, "first") == told(7, "apart") == told(7, "all") == ""
