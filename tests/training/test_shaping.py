"""Scores that depend on the group: hand-worked groups through the reward function, as TRL calls it."""

import json
from typing import Any

import pytest

from polymode.credit import group_advantages
from polymode.errors import ConfigError
from polymode.exploration import AnswerCounts
from polymode.pass_at_k import pass_at_k_advantages
from polymode.rewards import METHODS, Reward
from polymode.rewards.shaping import Shaping
from polymode.training.reward import make_reward_function
from polymode.types import Reference
from polymode.verifiers.text import TextVerifier


def single(*texts: str) -> list[str]:
    return [f"<answer>{text}</answer>" for text in texts]


def two(first: str, second: str) -> str:
    return f"<answer1>{first}</answer1><answer2>{second}</answer2>"


class Columns:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}

    def __call__(self, name: str, values: list[Any]) -> None:
        self.columns[name] = values


def test_pass_at_k_takes_the_place_of_coverage() -> None:
    log = Columns()
    reward = make_reward_function(
        METHODS["single-rlvr"], 1, shaping=Shaping(objective="pass@k", objective_k=2), num_generations=4
    )
    completions = [*single("tea", "milk", "milk"), "malformed", *single("tea", "Tea", "the tea", "milk")]
    totals = reward(completions, [["tea"]] * 8, log_extra=log)
    # Group 1: the right one 1, a wrong one 1/3 (one of its three pairs holds the right one), also the malformed one,
    # which has no format. Group 2: every pair holds a right one.
    assert totals == pytest.approx([2, 4 / 3, 4 / 3, 1 / 3, 2, 2, 2, 2])
    assert log.columns["term_coverage"] == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 1, 1, 1, 1])
    assert log.columns["term_format"] == [1, 1, 1, 0, 1, 1, 1, 1]
    # Centred by TRL they are the analytic advantages, beside those of the format.
    coverage = group_advantages([log.columns["term_coverage"][:4], log.columns["term_coverage"][4:]])
    assert coverage == pytest.approx(pass_at_k_advantages([[1, 0, 0, 0], [1, 1, 1, 0]], 2))


def test_coverage_at_k_counts_references_found_together() -> None:
    shaping = Shaping(objective="coverage@k", objective_k=2)
    reward = make_reward_function(
        METHODS["multi-rlvr"],
        2,
        reward=Reward(coverage_weight=0.5, confidence_weight=0),
        shaping=shaping,
        num_generations=3,
    )
    completions = [two("tea", "milk"), two("tea", "gin"), two("gin", "rum")]
    # Pairs 1+2 find tea and milk, 1+3 both, 2+3 tea: means 2, 1.5, 1.5; half of them, format 1.
    assert reward(completions, [["tea", "milk", "cocoa"]] * 3) == pytest.approx([2, 1.75, 1.75])


class Broken(TextVerifier):
    """Cannot decide about milk."""

    def key(self, text: str) -> str:
        if text == "milk":
            raise TimeoutError
        return super().key(text)

    def matches(self, answer: str, reference: Reference) -> bool:
        return self.key(answer) in {self.key(name) for name in reference.names}


def test_unscored_completions_take_no_part() -> None:
    shaping = Shaping(objective="pass@k", objective_k=2, exploration="batch", exploration_weight=1)
    reward = make_reward_function(METHODS["single-rlvr"], 1, verifier=Broken(), shaping=shaping, num_generations=4)
    totals = reward(single("milk", "tea", "gin", "gin"), [["tea"]] * 4)
    # Three are left: each wrong one is in two pairs, one with the right one. Novelty: 1, and 1/2 for gin.
    assert totals == pytest.approx([None, 1 + 1 + 1, 1 / 2 + 1 + 1 / 2, 1 / 2 + 1 + 1 / 2])


def test_the_batch_bonus_is_a_term_of_its_own() -> None:
    log = Columns()
    shaping = Shaping(exploration="batch", exploration_weight=0.5)
    reward = make_reward_function(METHODS["multi-rlvr"], 2, shaping=shaping, num_generations=3)
    totals = reward([two("tea", "gin"), two("Chai", "rum"), "malformed"], [[["tea", "chai"]]] * 3, log_extra=log)
    # tea and chai are one answer: novelty 1/2 each, gin and rum 1: mean 3/4, times 1/2.
    assert log.columns["term_exploration"] == pytest.approx([0.375, 0.375, 0])
    assert totals == pytest.approx([2.375, 2.375, 0])


def test_the_historical_bonus_counts_by_question() -> None:
    shaping = Shaping(exploration="historical", exploration_weight=1)
    reward = make_reward_function(METHODS["single-rlvr"], 1, shaping=shaping, num_generations=2)
    names = ["q", "q", "r", "r"]
    first = reward(single("gin", "gin", "gin", "rum"), [["tea"]] * 4, question_id=names)
    assert first == pytest.approx([1 + 0.5**0.5, 1 + 0.5**0.5, 2, 2])
    again = reward(single("gin", "rum", "rum", "rum"), [["tea"]] * 4, question_id=names)
    # q: gin for the third time, rum for the first; r: rum two and three times more at once, three in all.
    assert again == pytest.approx([1 + 3**-0.5, 2, 1 + 3**-0.5, 1 + 3**-0.5])
    assert shaping.counts is not None
    assert shaping.counts.state() == {"q": {"~gin": 3, "~rum": 1}, "r": {"~gin": 1, "~rum": 3}}
    # Without ids the text of the question tells them apart, and without that the references.
    other = Shaping(exploration="historical", exploration_weight=1)
    plain = make_reward_function(METHODS["single-rlvr"], 1, shaping=other, num_generations=2)
    plain(single("gin", "gin", "gin", "rum"), [["tea"]] * 2 + [["milk"]] * 2)
    assert isinstance(other.counts, AnswerCounts) and len(other.counts.state()) == 2


def test_totals_are_the_sums_of_the_logged_terms() -> None:
    log = Columns()
    weights = Reward(
        coverage="vector", confidence_weight=0.25, confidence_score="spherical", repeat_penalty=0.1, format_weight=1
    )
    shaping = Shaping(exploration="batch", exploration_weight=0.1)
    reward = make_reward_function(METHODS["multi-rlcr"], 2, reward=weights, shaping=shaping, num_generations=2)
    slots = "<answer1>tea</answer1><confidence1>0.5</confidence1><answer2>{}</answer2><confidence2>0.2</confidence2>"
    totals = reward([slots.format("tea"), slots.format("gin")], [["tea", "milk"]] * 2, log_extra=log)
    terms = [column for name, column in log.columns.items() if name.startswith("term_")]
    assert sorted(name for name in log.columns if name.startswith("term_")) == [
        "term_coverage", "term_exploration", "term_format", "term_repeat", "term_spherical",
    ]  # fmt: skip
    assert totals == pytest.approx([sum(row) for row in zip(*terms, strict=True)])
    assert log.columns["term_repeat"] == [-0.1, 0]


def test_groups_must_be_whole() -> None:
    reward = make_reward_function(
        METHODS["single-rlvr"], 1, shaping=Shaping(objective="pass@k", objective_k=2), num_generations=4
    )
    with pytest.raises(ConfigError, match="num_generations = 4 does not divide the 6 completions of a process"):
        reward(single(*["tea"] * 6), [["tea"]] * 6)


class Endless(TextVerifier):
    open = True

    def matches(self, answer: str, reference: Reference) -> bool:
        return answer.startswith("good")


def test_references_without_number_cannot_be_counted_together() -> None:
    for objective in ("coverage@k", "pass@k"):
        shaping = Shaping(objective=objective, objective_k=1)
        reward = make_reward_function(METHODS["multi-rlvr"], 2, verifier=Endless(), shaping=shaping, num_generations=2)
        batch = [two("good a", "good b"), two("bad", "worse")]
        if objective == "pass@k":
            assert reward(batch, ['["tests"]'] * 2) == [2, 1]
        else:
            with pytest.raises(ConfigError, match="there are no references to count; use objective = 'pass@k'"):
                reward(batch, ['["tests"]'] * 2)


def test_weights_that_are_improper_on_a_question_are_refused_at_the_first_batch() -> None:
    reward = make_reward_function(METHODS["multi-rlcr"], 2, reward=Reward(coverage="any"))
    slots = "<answer1>tea</answer1><confidence1>1</confidence1><answer2>gin</answer2><confidence2>0</confidence2>"
    assert reward([slots], ['["tea"]']) == [2]
    with pytest.raises(ConfigError, match="coverage = 'any' .* on a question with 2 references and 2 answers"):
        reward([slots], [json.dumps(["tea", "milk"])])
